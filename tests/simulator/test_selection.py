"""Operand windows against a simulation of every cycle in plain Python, and laws of machines that have them."""

from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.hardware.energy import areas, prices
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.selection import serve, served
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork, layer_works
from tests.laws import law
from tests.small_dual import ROOT

from .random_layers import changed, layer, layers, spatial, winograd
from .random_machines import choosing_machines


def walk(streams: list[list[int]], banks: int) -> tuple[int, int]:
    """Cycles and vectors read of one window, cycle by cycle: each bank gives the first position asked for."""
    left = [list(stream) for stream in streams]
    held: list[int | None] = [None] * len(left)
    cycles = fetches = 0
    while any(left):
        cycles += 1
        heads = [stream[0] if stream else None for stream in left]
        for bank in range(banks):
            asked = [h for h, own in zip(heads, held, strict=True) if h is not None and h != own and h % banks == bank]
            if not asked:
                continue
            fetches += 1
            for j, head in enumerate(heads):
                if head == min(asked) and held[j] != head:
                    held[j] = head
        for j, head in enumerate(heads):
            if head is not None and held[j] == head:
                left[j].pop(0)
    return cycles, fetches


WINDOWS = st.integers(0, 1 << 32).map(np.random.default_rng)


@law(100)
@given(WINDOWS, st.integers(1, 6), st.integers(1, 40), st.integers(1, 3), st.floats(0, 1), st.data())
def test_windows_are_served_as_cycle_by_cycle(rng, columns, positions, each, density, data):
    banks = data.draw(st.integers(1, positions))
    asked = (rng.random((3, each, columns, positions)) < density).sum(axis=1).astype(np.uint8)
    cycles, fetches = serve(asked, banks)
    expected = [walk([list(np.repeat(np.arange(positions), column)) for column in window], banks) for window in asked]
    assert cycles.tolist() == [of_window for of_window, _ in expected]
    assert fetches == sum(read for _, read in expected)


@law(60)
@given(WINDOWS, st.integers(1, 6), st.integers(1, 20), st.floats(0, 1))
def test_one_bank_reads_each_used_position_once_and_a_bank_a_position_never_waits(rng, columns, positions, density):
    asked = (rng.random((4, columns, positions)) < density).astype(np.uint8)
    cycles, fetches = serve(asked, 1)
    assert cycles.tolist() == asked.any(axis=1).sum(axis=1).tolist()
    assert fetches == cycles.sum()
    cycles, fetches = serve(asked, positions)
    assert cycles.tolist() == asked.sum(axis=2).max(axis=1).tolist()
    assert fetches <= asked.sum()


def windows_of(channels: int, positions_each: int, size: int) -> list[range]:
    """Windows of the positions of a filter: within blocks of 16 channels, or of several whole ones."""
    block = 16 * positions_each
    granule = max(1, size // block) * block
    total = channels * positions_each
    found = []
    for low in range(0, total, granule):
        high = min(low + granule, total)
        step = min(size, granule)
        found += [range(start, min(start + step, high)) for start in range(low, high, step)]
    return found


@law(60)
@given(layers(), st.booleans(), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2, 16]), st.data())
def test_the_lanes_take_what_is_counted_window_by_window(
    work: LayerWork, in_winograd: bool, rows: int, cols: int, taps: int, data: st.DataObject
) -> None:
    """One step of the whole layer: each window of each group of filters and taps, from the weights themselves."""
    size = data.draw(st.sampled_from([1, 5, 16, 40, 160]))
    banks = data.draw(st.integers(1, min(size, 6)))
    each = data.draw(st.integers(1, 3))
    keys = {
        "operand_window": {"positions": size, "banks": banks},
        "filters_per_lane": each,
        "pe_array__rows": rows,
        "pe_array__cols": cols,
    }
    machine = winograd(**keys, pe_array__taps=taps) if in_winograd else spatial(**keys)
    mode = machine.modes(work)[0]
    P, Q, K = work.out_height, work.out_width, work.out_channels
    plan = tiled_schedule(mode, Tiling(work.batch, P, Q, K, work.in_channels // work.groups, False), machine)
    m = mode.m
    if m > 1:
        mask = work.nonzeros(m) > 0
    else:
        assert work.weights is not None
        mask = (work.weights != 0).reshape(1, K, -1)
    per_group = K // work.groups
    cycles = fetches = 0
    tap_lanes = mode.lanes.taps
    of_window = windows_of(work.in_channels // work.groups, 1 if m > 1 else work.kernel[0] * work.kernel[1], size)
    for g, first, tap, window in product(
        range(work.groups), range(0, per_group, cols * each), range(0, len(mask), tap_lanes), of_window
    ):
        own = range(first, min(first + cols * each, per_group))
        slowest = 1
        for side in mask[tap : tap + tap_lanes]:
            streams = [
                sorted(p - window[0] for k in own[j::cols] for p in window if side[g * per_group + k, p])
                for j in range(min(cols, len(own)))
            ]
            taken, read = walk(streams, banks)
            slowest = max(slowest, taken)
            fetches += read
        cycles += slowest
    tiles = work.batch * ceil(P / m) * ceil(Q / m)
    assert plan.compute_cycles.tolist() == [cycles * ceil(tiles / mode.lanes.positions) + 6]
    assert served(mode).fetches == fetches
    assert plan.actions["window_fetch_bit"] == fetches * tiles * (10 if m > 1 else 8)


@law(40)
@given(layers(), choosing_machines())
def test_waiting_and_useful_slots_are_never_more_than_the_lanes_have(work, machine):
    schedule = machine.schedule(work)
    assert schedule.waiting_slots >= -1e-6
    assert schedule.useful_slots <= schedule.compute_cycles.sum() * machine.lanes + 1e-6
    assert set(schedule.actions) <= set(prices(machine))
    assert all(area.mm2 >= 0 for area in areas(machine).values())


@law(40)
@given(layers(), choosing_machines())
def test_both_engines_agree_on_them(work, machine):
    by_event, by_fast = (run([work], machine, engine=engine).total["cycles"] for engine in ("event", "fast"))
    assert by_event == by_fast


@law(40)
@given(layers(), choosing_machines(), st.floats(0.2, 4))
def test_more_bandwidth_never_costs_them_cycles(work, machine, more):
    assume(machine.dram.type != "ideal")
    schedule = machine.schedule(work)
    faster = changed(machine, dram__bandwidth_gbs=machine.dram.timing.bandwidth_gbs * (1 + more))
    now = pipeline_cycles(durations(schedule, machine))
    assert pipeline_cycles(durations(schedule, faster)) <= now


def test_more_banks_take_fewer_cycles_on_the_shipped_model():
    works = layer_works(read_dual(ROOT / "models" / "resnet20-cifar10.dual"))
    cycles = []
    for banks in (1, 2, 4, 16):
        machine = load_hardware("spatial-16x16", ["operand_window.positions=16", f"operand_window.banks={banks}"])
        cycles.append(run(works, machine, engine="fast").total["compute_cycles"])
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[-1]


def test_a_lane_of_several_filters_reads_its_inputs_for_all_of_them():
    """Dense, 8 filters, 2 columns: 4 groups of filters, or 2 where each lane sums up two."""
    work = layer(8, 16, 4, 1, padding=0, density=1.0)
    for each, groups in ((1, 4), (2, 2), (4, 1)):
        machine = spatial(zero_handling="none", filters_per_lane=each, pe_array={"rows": 4, "cols": 2})
        plan = tiled_schedule(machine.modes(work)[0], Tiling(1, 4, 4, 8, 16, False), machine)
        assert plan.actions["input_read"] == groups * 16 * 16 * 8
        assert plan.actions["mac"] == 16 * 16 * 8
        assert plan.compute_cycles.tolist() == [4 * 4 * 16 + 6]


def test_a_lane_of_several_outputs_reads_its_weights_for_all_of_them():
    """16 outputs on 4 rows are 4 rounds: 4 reads of 8 x 16 weights, or 2 where each lane sums up two, or 1 for four."""
    work = layer(8, 16, 4, 1, padding=0, density=1.0)
    for each, reads in ((1, 4), (2, 2), (4, 1), (3, 2)):
        machine = spatial(
            zero_handling="none", weight_format="dense", outputs_per_lane=each, pe_array={"rows": 4, "cols": 2}
        )
        plan = tiled_schedule(machine.modes(work)[0], Tiling(1, 4, 4, 8, 16, False), machine)
        assert plan.actions["weight_read"] == reads * 8 * 16 * 8


@pytest.mark.parametrize(
    ("machine", "settings_", "fault"),
    [
        (
            "spatial-16x16",
            ["operand_window={positions: 4, banks: 8}"],
            "operand_window.banks 8, expected at most its 4",
        ),
        (
            "spatial-16x16",
            ["operand_window={positions: 4, banks: 4}", "dataflow=weight_stationary"],
            "operand_window expects dataflow output_stationary",
        ),
        ("spatial-16x16", ["filters_per_lane=2", "window=2"], "filters_per_lane over 1 expects window 1"),
        (
            "spatial-16x16",
            ["outputs_per_lane=2", "zero_handling=skip_both"],
            "expects zero_handling none, gate or skip",
        ),
        ("winograd-16x16", ["input_transform=streamed"], "expects buffers.transformed_kb 0"),
        ("winograd-16x16", ["input_transform=streamed", "buffers.transformed_kb=0"], "expects an operand_window"),
        ("winograd-16x16", ["tiles=[]"], "expected at least one tile size"),
    ],
)
def test_what_does_not_go_together_is_refused(machine, settings_, fault):
    with pytest.raises(InputError, match=fault):
        load_hardware(machine, settings_)
