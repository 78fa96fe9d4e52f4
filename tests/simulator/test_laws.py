"""Laws of the simulator, each with the condition under which it is true."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelsim.arrays import Ints
from accelsim.errors import InputError
from accelsim.hardware.energy import power_mw, prices
from accelsim.simulator.machines import FAMILIES
from accelsim.simulator.machines.cartesian.machine import CartesianMachine
from accelsim.simulator.machines.cells import CellsMachine
from accelsim.simulator.machines.matrix_vector import MatrixVectorMachine
from accelsim.simulator.machines.row_stationary.machine import RowStationaryMachine
from accelsim.simulator.machines.row_stationary.search import choose_mapping
from accelsim.simulator.machines.stationary import StationaryMachine
from accelsim.simulator.machines.winograd import WinogradMachine
from accelsim.simulator.machines.winograd_domain import WinogradDescription
from accelsim.simulator.result import DRAM_COLUMNS
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.storage.feature_map import activation_bits
from accelsim.simulator.storage.weights import filter_bits
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.search import choose_tiling
from accelsim.simulator.tiles.tiling import input_extents
from accelsim.simulator.time.objective import own_dma, predicted
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import AnyMachine, changed, layer, layers, spatial, where_it_fits, winograd
from .random_machines import (
    BUFFERS,
    IDEAL,
    cartesian_machines,
    cell_machines,
    machines,
    matrix_vector_machines,
    row_machines,
    tiled_machines,
    tiled_spatial_machines,
    winograd_machines,
    with_one_memory,
)

LAW = law(60)
PARTS = ("useful_cycles", "imbalance_cycles", "edge_cycles", "transform_cycles", "dram_cycles")


def only_mode(work: LayerWork, machine: AnyMachine) -> Mode:
    return machine.modes(work)[0]


def lowest_score(work: LayerWork, machine: AnyMachine) -> float:
    """What the mapping found least, by the machine's objective."""
    match machine:
        case RowStationaryMachine():
            return choose_mapping(work, machine)[1]
        case CartesianMachine() | MatrixVectorMachine():
            return predicted(schedule_layer(work, machine), machine)
        case _:
            return choose_tiling(only_mode(work, machine), machine)[1]


def one_way(machine: AnyMachine) -> AnyMachine:
    """The machine without a choice of modes."""
    if isinstance(machine, WinogradMachine):
        return changed(machine, hybrid=False, polyphase=False, largest_kernel=None)
    return changed(machine, hybrid=False) if isinstance(machine, CellsMachine) else machine


def small(machines: Callable[..., st.SearchStrategy[AnyMachine]], **fixed: Any) -> st.SearchStrategy[AnyMachine]:
    """Machines whose buffers hold a few tiles of the random layers; operands on chip as they are in DRAM."""
    rooms = {"weight": [4, 20], "input": [4, 20], "output": [1, 2, 5, 40]}
    sizes = {f"buffers__{name}_kb": st.sampled_from(kb) for name, kb in rooms.items()}
    plain = {"activation_format": "dense", "decoder": None}
    return st.fixed_dictionaries(sizes).flatmap(lambda size: machines(**size, **plain, **fixed))


# Keys of the numbers that a machine computes, which change no cycle (tests/datapath), and keys whose laws draw them
# elsewhere: of networks (tests/simulator/network), of operand windows and lane transforms (test_selection.py,
# test_lane_transforms.py).
NUMBER_KEYS = (
    *("calibration", "codebook_bits", "multiplier_bits", "overflow", "percentile", "products", "scales"),
    *("tap_scales", "weight_scales"),
)
NOT_DRAWN = {
    *(f"arithmetic.{key}" for key in NUMBER_KEYS),
    *("buffers.activations", "buffers.weights", "post", "post.add", "post.pool"),
    *("filters_per_lane", "outputs_per_lane", "operand_window", "input_transform", "inverse", "tiles"),
    "points",  # laws of them: tests/transforms/test_points.py
}


@pytest.mark.slow
def test_every_key_of_the_description_is_drawn() -> None:
    """Each with more than one value, so that no law leaves a key out."""
    drawn: dict[str, set[str]] = {}

    def note(value: object, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                note(inner, f"{path}.{key}")
        drawn.setdefault(path, set()).add(repr(value))

    @settings(max_examples=2000, deadline=None, derandomize=True, database=None)
    @given(machines())
    def draw(machine: AnyMachine) -> None:
        note(machine.model_dump(), type(machine).__name__)

    draw()
    same = {path for path, values in drawn.items() if len(values) == 1}
    fixed = {
        f"{family.__name__}.{key}"
        for family in FAMILIES
        for key, field in family.model_fields.items()
        if key in {"name", "description"}
        or (get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1)
    }
    elsewhere = {path for path in same if path.partition(".")[2] in NOT_DRAWN}
    assert same - elsewhere == fixed


@LAW
@given(layers(), machines())
def test_parts_sum_to_their_wholes_exactly(work: LayerWork, machine: AnyMachine) -> None:
    result = run([work, work], machine, engine="fast")
    total = result.total
    assert (result.layers["energy_dram_pj"] == result.layers[[*DRAM_COLUMNS]].sum(axis=1)).all()
    assert (result.layers["energy_pj"] == result.layers.filter(regex=r"energy_.+_pj").sum(axis=1)).all()
    for column in ("cycles", "energy_pj", "dram_read_bytes", "effectual_macs", "energy_dram_pj", *DRAM_COLUMNS, *PARTS):
        assert total[column] == result.layers[column].sum()
    assert total["cycles"] == sum(total[part] for part in PARTS)
    assert min(total[part] for part in PARTS) >= 0
    assert total["stall_cycles"] == total["transform_cycles"] + total["dram_cycles"]
    assert total["dram_read_bytes"] == total["dram_weight_bytes"] + total["dram_input_bytes"]
    assert total["dram_write_bytes"] == total["dram_output_bytes"]


@LAW
@given(layers(), machines())
def test_cycles_are_not_below_the_roofline(work: LayerWork, machine: AnyMachine) -> None:
    total = run([work], machine, engine="fast").total
    assert total["cycles"] >= total["roofline_cycles"]
    # Nor below what the lanes could do at best (skip_both and gating execute expected counts, rounded).
    assert machine.lanes * (total["cycles"] + 1) >= total["effectual_macs"]
    assert total["utilization"] <= 1 + machine.lanes / max(1, total["cycles"])


@LAW
@given(layers(), tiled_machines(buffers__banks=None), st.sampled_from(["rows", "cols", "taps"]))
def test_doubling_the_lanes_at_a_fixed_mapping_never_costs_compute_cycles(
    work: LayerWork, machine: AnyMachine, key: str
) -> None:
    """On machines without systolic fill, where filter groups nest: a barrier after every group, whole filter tiles.

    Not with queues (windows of other filters), pairs (made for the columns) or few ports (they bound), nor for more
    rows where inputs are random (their slowest is slower) or where rows hold weights (one more is one more to load).
    """
    if key == "taps":
        assume(isinstance(machine, WinogradDescription))
        if isinstance(machine, CellsMachine) and machine.cells.kernel is not None:  # the taps of cells divide a tile's
            assume((machine.tile + machine.cells.kernel - 1) ** 2 % (2 * machine.pe_array.taps) == 0)
    if isinstance(machine, StationaryMachine):
        assume(machine.pe_array.feed == "broadcast")
        assume(not (machine.dataflow == "weight_stationary" and key == "rows"))
    if not isinstance(machine, CellsMachine):
        assume(machine.window == 1 and machine.balance != "paired")
    assume(not (machine.zero_handling == "skip_both" and key == "rows"))
    twice = changed(machine, **{f"pe_array__{key}": 2 * getattr(machine.pe_array, key)})
    before, after = only_mode(work, machine), only_mode(work, twice)
    tiling = replace(choose_tiling(before, machine)[0], filters=work.out_channels)
    plans = tiled_schedule(before, tiling, machine), tiled_schedule(after, tiling, twice)
    assert (plans[1].compute_cycles <= plans[0].compute_cycles).all()
    assert plans[1].effectual_macs == plans[0].effectual_macs


def test_lanes_that_do_not_nest_can_cost_cycles() -> None:
    """The condition above is needed: columns 2 -> 3 put other filters side by side."""
    work = layer(4, 1, 4, 4, padding=0, density=1.0)
    weights = np.zeros_like(work.weights)
    for k, nonzeros in enumerate((1, 1, 10, 10)):
        weights[k].flat[:nonzeros] = 1
    work = replace(work, weights=weights)
    cycles = [
        int(schedule_layer(work, spatial(pe_array__cols=cols, pe_array__rows=1)).compute_cycles.sum())
        for cols in (2, 3)
    ]
    assert cycles == [11 + 6, 20 + 6]  # and 6 to start and drain


@LAW
@given(layers(), machines(), st.floats(1, 8))
def test_more_bandwidth_at_a_fixed_mapping_never_costs_cycles(
    work: LayerWork, machine: AnyMachine, more: float
) -> None:
    fixed = schedule_layer(work, machine)
    assume(np.isfinite(machine.dram.timing.bandwidth_gbs))
    wider = changed(machine, dram__bandwidth_gbs=machine.dram.timing.bandwidth_gbs * more)
    channels = changed(machine, dram__channels=2 * machine.dram.channels)
    now = pipeline_cycles(durations(fixed, machine))
    assert pipeline_cycles(durations(fixed, wider)) <= now
    assert pipeline_cycles(durations(fixed, channels)) <= now


@law(100)
@given(
    layers(),
    st.one_of(machines(), small(tiled_spatial_machines), small(winograd_machines, buffers__transformed_kb=10)),
    st.sampled_from(["weight", "input", "transformed", "output"]),
    st.floats(1, 16),
    st.booleans(),
)
def test_a_larger_buffer_never_worsens_the_objective(
    work: LayerWork, machine: AnyMachine, buffer: str, more: float, one: bool
) -> None:
    """The objective is the mapping's score; the timed cycles may differ from it by fill and drain.

    At the same energies: a larger memory's accesses cost more.  The filters of a tile of interleaved rows are as many
    as the weight buffer holds, which is no choice.  one: inputs, transformed inputs and outputs in one memory.
    """
    machine = with_one_memory(machine) if one else machine
    assume(hasattr(machine.buffers, f"{buffer}_kb"))
    assume(not (isinstance(machine, MatrixVectorMachine) and buffer == "weight"))
    accesses = [f"energy__{name}_{way}_pj_per_bit" for name in BUFFERS for way in ("read", "write")]
    machine = changed(machine, energy__sram_leakage_mw=0.0, **dict.fromkeys(accesses, 1.0))
    larger = changed(machine, **{f"buffers__{buffer}_kb": more * getattr(machine.buffers, f"{buffer}_kb")})
    score = where_it_fits(lambda: lowest_score(work, machine))
    assert lowest_score(work, larger) <= score * (1 + 1e-12)


@LAW
@given(layers(), machines(dram=IDEAL, decoder=None))
def test_unlimited_bandwidth_leaves_the_lanes_alone(work: LayerWork, machine: AnyMachine) -> None:
    """Where nothing is transformed or decoded."""
    d = durations(schedule_layer(work, machine), machine)
    assume(not d.transforms and not d.weight_load.any())
    assert pipeline_cycles(d) == d.compute.sum() > 0


@LAW
@given(
    layers(winograd=True),
    winograd_machines(dram=IDEAL, decoder=None, weight_transform="off_line", hybrid=False, largest_kernel=None),
)
def test_unlimited_bandwidth_leaves_the_slowest_unit_and_fill_and_drain(work: LayerWork, machine: AnyMachine) -> None:
    """In lock-step: fill with the first transform, then the slowest unit of each step, drain with the last inverse."""
    d = durations(schedule_layer(work, machine), machine)
    assume(d.transforms)
    ahead, behind = np.append(d.transform[1:], 0), np.append(0, d.inverse[:-1])
    lock_step = d.transform[0] + np.maximum(np.maximum(ahead, d.compute), behind).sum() + d.inverse[-1]
    units = max(int(unit.sum()) for unit in (d.transform, d.compute, d.inverse))
    assert max(units, d.compute.sum() + d.transform[0] + d.inverse[-1]) <= pipeline_cycles(d) <= lock_step


@LAW
@given(layers(density=1.0), st.one_of(tiled_machines(weight_format="dense"), row_machines(weight_format="dense")))
def test_without_zeros_skipping_machines_equal_dense_ones(work: LayerWork, machine: AnyMachine) -> None:
    """At the same weight format, no input zero, no Winograd-domain weight pruned.

    Cartesian products are no dense array's: fragments of tiles fill their vectors badly (SCNN: 0.79 of its speed).
    """
    if work.winograd_threshold is not None:
        work = replace(work, winograd_threshold=0.0)
    work = replace(work, input_density=np.ones(work.in_channels, np.float32))
    handlings = ["none", "gate"]
    same: dict[str, Any] = {}
    if isinstance(machine, StationaryMachine):
        same = {"window": 1, "pe_array__feed": "broadcast", "chunk": None}
        if machine.dataflow != "input_stationary":
            handlings.append("skip_weights")
        if machine.dataflow == "output_stationary":
            handlings.append("skip_both")
    elif isinstance(machine, WinogradMachine):
        same = {"window": 1}
        handlings.append("skip_weights")
    results = [
        run([work], changed(machine, zero_handling=handling, **same), engine="fast").total for handling in handlings
    ]
    for result in results[1:]:
        assert (result.drop("mode") == results[0].drop("mode")).all()


# Multiplies by their product and the one before, which one key prices alike; what published tables know is the first.
MULTIPLIES = {
    "mac",
    *(f"{sign}_{state}" for sign in ("mac", "signed", "direct") for state in ("busy", "turning", "still")),
}


@LAW
@given(layers(), machines())
def test_energy_is_linear_in_the_counts(work: LayerWork, machine: AnyMachine) -> None:
    actions, table = schedule_layer(work, machine).actions, prices(machine)
    total = run([work], machine, engine="fast").total
    dynamic = sum(count * table[name].pj for name, count in actions.items())
    static = power_mw(machine) * total["cycles"] * machine.ns_per_cycle
    assert total["energy_pj"] == pytest.approx(dynamic + static, rel=1e-9, abs=0.01)
    doubled = changed(machine, energy__mac_pj=2 * table["mac"].pj, energy__gated_share=0.0)
    single = changed(machine, energy__mac_pj=table["mac"].pj, energy__gated_share=0.0)
    more, less = (run([work], m, engine="fast").total for m in (doubled, single))
    dearer = more["energy_mac_pj"] - less["energy_mac_pj"]
    rise = {name: price.pj - prices(single)[name].pj for name, price in prices(doubled).items()}
    assert all(pj in (0, pytest.approx(table["mac"].pj)) for pj in rise.values())
    assert {name for name, pj in rise.items() if pj} <= MULTIPLIES
    assert dearer == pytest.approx(sum(n * rise[name] for name, n in actions.items()), rel=1e-9, abs=0.01)
    assert more["energy_dram_pj"] == less["energy_dram_pj"]


def tensor_bits(work: LayerWork, machine: AnyMachine) -> tuple[float, float, float]:
    """Bits of all weights, of an input and of an output, as the machine stores them in DRAM."""
    if isinstance(machine, RowStationaryMachine | CartesianMachine | MatrixVectorMachine):
        inputs, outputs = (activation_bits(machine, density) for density in (work.input_density, work.output_density))
        return float(filter_bits(work, machine).sum()), inputs, outputs
    mode = only_mode(work, machine)
    return float(mode.dram_bits.sum()), mode.widths.input_bits, mode.widths.output_bits


@LAW
@given(layers(), machines())
def test_dram_traffic_is_not_below_the_tensors(work: LayerWork, machine: AnyMachine) -> None:
    """Where the windows leave no gap; a stride beyond the kernel skips rows that no output needs."""
    machine = one_way(machine)
    (weights, inputs, outputs), total = tensor_bits(work, machine), run([work], machine, engine="fast").total
    assert total["dram_weight_bytes"] >= np.floor(weights / 8 - 1e-6)
    assert total["dram_output_bytes"] >= np.floor(work.outputs * outputs / 8 - 1e-6)
    if work.stride[0] <= work.dilation[0] * (work.kernel[0] - 1) + 1:
        pixels = work.batch * input_extents(work, 0, work.out_height)[0] * input_extents(work, 1, work.out_width)[0]
        assert pixels == work.batch * work.height * work.width or work.padding[0] > 0
        assert total["dram_input_bytes"] >= np.floor(pixels * work.in_channels * inputs / 8 - 1e-6)


@LAW
@given(layers(), machines(objective="dram"))
def test_buffers_that_hold_the_layer_leave_the_tensors_alone(work: LayerWork, machine: AnyMachine) -> None:
    assume(work.stride[0] <= work.dilation[0] * (work.kernel[0] - 1) + 1)  # else tiles can skip rows that none needs
    names = (name for name in type(machine.buffers).model_fields if name.endswith("_kb"))
    large = changed(one_way(machine), **{f"buffers__{name}": 1 << 16 for name in names})
    if isinstance(large, CartesianMachine):  # sums are kept there
        large = changed(large, cartesian__accumulators=1 << 16)
    (weights, inputs, outputs), total = tensor_bits(work, large), run([work], large, engine="fast").total
    tiles = len(schedule_layer(work, large))  # each rounded up to whole bytes
    assert total["dram_weight_bytes"] == pytest.approx(weights / 8, abs=tiles)
    assert total["dram_output_bytes"] == pytest.approx(work.outputs * outputs / 8, abs=tiles)
    all_inputs = work.batch * work.height * work.width * work.in_channels * inputs / 8
    assert total["dram_input_bytes"] <= all_inputs + tiles


def held(n_bytes: Ints, stays: bool = False) -> int:
    """Bytes of an operand that a buffer holds: all its tiles, or the tile at work and the next."""
    loads = n_bytes[n_bytes > 0]
    return int(loads.sum() if stays or len(loads) == 1 else 2 * loads.max())


@pytest.mark.parametrize(("operand", "kernel", "room_kb"), [("input", 1, 3.0), ("weight", 3, 1.5)])
def test_an_operand_that_does_not_fit_whole_comes_tile_by_tile(operand: str, kernel: int, room_kb: float) -> None:
    """4 KB of inputs (without a halo) or 2.25 KB of weights, in a buffer that holds parts of them alone."""
    work = layer(16, 16, 16, kernel, padding=kernel // 2, density=1.0)
    machine = spatial(zero_handling="none", weight_format="dense", **{f"buffers__{operand}_kb": room_kb})
    steps = schedule_layer(work, machine)
    loads = {"input": steps.inputs, "weight": steps.weights}[operand].n_bytes
    assert np.count_nonzero(loads) > 1
    assert loads.sum() >= {"input": 4096, "weight": 2304}[operand]
    assert 2 * loads.max() <= 1024 * room_kb


@law(120)
@given(layers(), small(tiled_spatial_machines), st.booleans())
def test_buffers_hold_what_the_pipeline_holds(work: LayerWork, machine: StationaryMachine, one: bool) -> None:
    """Outputs as partial sums where these leave the lanes.  one: inputs and outputs in one memory."""
    machine = with_one_memory(machine) if one else machine
    mode = only_mode(work, machine)
    tiling, _ = where_it_fits(lambda: choose_tiling(mode, machine))
    steps, rooms = tiled_schedule(mode, tiling, machine), machine.buffers
    weights, inputs = held(steps.weights.n_bytes, tiling.weights_stay), held(steps.inputs.n_bytes, tiling.inputs_stay)
    if rooms.shared:
        assert weights + inputs <= 1024 * (rooms.weight_kb + rooms.input_kb)
    else:
        assert weights <= 1024 * rooms.weight_kb
    cut = tiling.channels < work.in_channels // work.groups
    a = machine.arithmetic
    bits = a.accumulator_bits if cut or machine.dataflow != "output_stationary" else a.activation_bits
    outputs = held(steps.outputs.n_bytes * 8 // a.activation_bits)  # elements, two more of odd tiles of 4 bits
    if one:
        assert 8 * inputs + (outputs - 2) * bits <= 8 * 1024 * (rooms.input_kb + rooms.output_kb)
    else:
        assert inputs <= 1024 * rooms.input_kb or rooms.shared
        assert (outputs - 2) * bits <= 8 * 1024 * rooms.output_kb


@law(120)
@given(
    layers(winograd=True),
    small(
        winograd_machines,
        buffers__transformed_kb=20,
        weight_transform="off_line",
        hybrid=False,
        largest_kernel=None,
    ),
    st.booleans(),
)
def test_buffers_hold_what_the_pipeline_holds_in_both_domains(
    work: LayerWork, machine: WinogradMachine, one: bool
) -> None:
    """Inputs that stay do so transformed; sums of a whole tile until the inverse transform has taken them.

    one: all of them in one memory.
    """
    machine = with_one_memory(machine) if one else machine
    mode = only_mode(work, machine)
    assume(mode.transforms)
    tiling, _ = where_it_fits(lambda: choose_tiling(mode, machine))
    steps, rooms, a, m = tiled_schedule(mode, tiling, machine), machine.buffers, machine.arithmetic, machine.tile
    weights, inputs = held(steps.weights.n_bytes, tiling.weights_stay), held(steps.inputs.n_bytes)
    if rooms.shared:
        assert weights + inputs <= 1024 * (rooms.weight_kb + rooms.input_kb)
    else:
        assert weights <= 1024 * rooms.weight_kb
    of_tile = tiling.images * -(-tiling.rows // m) * -(-tiling.cols // m)
    tiles = work.batch * -(-work.out_height // m) * -(-work.out_width // m)
    channels = tiling.channels * max(1, tiling.filters * work.groups // work.out_channels)
    transformed = of_tile * channels * (1 if np.count_nonzero(steps.inputs.n_bytes) == 1 else 2)
    if tiling.inputs_stay:
        transformed = tiles * work.in_channels
    transformed_bytes = -(-transformed * mode.taps * machine.operand_bits // 8)
    slots = 1 if np.count_nonzero(steps.outputs.n_bytes) == 1 else 2
    sums = of_tile * tiling.filters * mode.taps * a.accumulator_bits
    outputs = tiling.images * tiling.rows * tiling.cols * tiling.filters * a.activation_bits
    output_bytes = slots * (sums + outputs) // 8
    if one:
        all_kb = rooms.input_kb + rooms.transformed_kb + rooms.output_kb
        assert inputs + transformed_bytes + output_bytes <= 1024 * all_kb
    else:
        assert inputs <= 1024 * rooms.input_kb or rooms.shared
        assert transformed_bytes <= 1024 * rooms.transformed_kb
        assert output_bytes <= 1024 * rooms.output_kb


@LAW
@given(layers(), tiled_spatial_machines(dataflow="output_stationary", pe_array__feed="broadcast", buffers__banks=None))
def test_skipping_more_never_costs_compute_cycles(work: LayerWork, machine: AnyMachine) -> None:
    """At a fixed mapping: dense >= weights skipped >= weights and inputs skipped."""
    cycles = []
    tiling = None
    for handling in ("none", "skip_weights", "skip_both"):
        variant = changed(machine, zero_handling=handling, window=1, chunk=None)
        mode = only_mode(work, variant)
        tiling = tiling or replace(choose_tiling(mode, variant)[0], filters=work.out_channels)
        cycles.append(int(tiled_schedule(mode, tiling, variant).compute_cycles.sum()))
    assert cycles[0] >= cycles[1] >= cycles[2]


@LAW
@given(layers(), st.integers(1, 3), st.booleans())
def test_longer_queues_never_cost_compute_cycles(work: LayerWork, window: int, in_winograd: bool) -> None:
    """At a fixed mapping, where the windows nest: 1, w, 2 w, ..."""
    cycles = []
    tiling = None
    for w in (1, window, 2 * window, 4 * window):
        machine = winograd(window=w) if in_winograd else spatial(window=w)
        mode = only_mode(work, machine)
        tiling = tiling or choose_tiling(mode, machine)[0]
        cycles.append(int(tiled_schedule(mode, tiling, machine).compute_cycles.sum()))
    assert cycles == sorted(cycles, reverse=True)


@LAW
@given(layers(), tiled_machines(buffers__banks=None, objective="cycles"))
def test_the_score_is_close_to_the_timed_cycles(work: LayerWork, machine: AnyMachine) -> None:
    """What the mapping minimises stands for what the engines time: a pipeline's bound, fill and drain included.

    Not below what a unit needs, nor above what all of them need one after the other; up to the rounding of each piece
    to bursts and each request to cycles, tiles that all count as large as the largest, and turns of the bus that loads
    ahead save.  (Systolic arrays count from cycle 0.)  The score spreads each unit's work over all steps: a layer whose
    loads all come first may take longer, but not twice as long.
    """
    mode = only_mode(work, machine)
    tiling, score = choose_tiling(mode, machine)
    steps = tiled_schedule(mode, tiling, machine)
    d = durations(steps, machine)
    units = [int(unit.sum()) for unit in (d.compute, d.transform, d.inverse)]
    # An array that holds weights waits for them in tiles of few outputs; the score takes tiles of the average size.
    uneven = work.batch % tiling.images + work.out_height % tiling.rows + work.out_width % tiling.cols
    slack = 0.25 * score if mode.lanes.stationary == "weight" and uneven else 1e-6
    assert units[0] <= score + slack
    assert max(units) <= score + slack + len(steps)
    largest = 1.0
    for size, tile in (
        (work.batch, tiling.images),
        (work.out_height, tiling.rows),
        (work.out_width, tiling.cols),
        (work.out_channels, tiling.filters),
        (work.in_channels // work.groups, tiling.channels),
    ):
        largest *= -(-size // tile) * tile / size
    dram, dma = machine.dram.timing, own_dma(machine)
    pieces = sum(int(transfer.pieces.sum()) for transfer in steps.transfers)
    turns = int(d.output_ends.sum()) * dma.turn_cycles
    bursts = pieces * 64 / dma.bytes_per_cycle  # that pieces are taken not to fill
    assert score <= largest * (sum(units) + d.dma_cycles + bursts) + turns + 1
    in_cycles = 1 / ((1 - dram.refresh) * machine.ns_per_cycle)
    side_by_side = dram.inner_channels * machine.dram.channels
    # Not in the score: channels that move more than others, bursts of pieces that do not fill them, rows where they
    # take longer than data, the first row.
    share = steps.busiest_share
    rounding = 3 * len(steps) * 2 + 2 * pieces * dram.burst_ns * share * in_cycles
    rounding += (dram.first_row_ns + steps.dram_rows * dram.activate_gap_ns * share) * in_cycles
    assert d.dma_cycles <= 1.25 * score * share * side_by_side + rounding
    assert pipeline_cycles(d) <= 2 * score * share * side_by_side + rounding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "least"),
    [
        (tiled_spatial_machines(), 100),
        (winograd_machines(), 100),
        (small(tiled_spatial_machines), 95),
        (small(winograd_machines, buffers__transformed_kb=20), 90),
        (cell_machines(), 100),
        (row_machines(), 98),
        (cartesian_machines(), 98),
        (matrix_vector_machines(), 98),
    ],
    ids=[
        "spatial",
        "winograd",
        "small-spatial",
        "small-winograd",
        "cells",
        "row-stationary",
        "cartesian",
        "interleaved",
    ],
)
def test_nearly_every_layer_fits_its_machine(family: st.SearchStrategy[AnyMachine], least: int) -> None:
    """So that the laws, which leave out the others, leave out few: of 100 random layers."""
    fits = []

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(layers(), family)
    def draw(work: LayerWork, machine: AnyMachine) -> None:
        try:
            schedule_layer(work, machine)
        except InputError:
            fits.append(False)
        else:
            fits.append(True)

    draw()
    assert len(fits) == 100
    assert sum(fits) >= least
