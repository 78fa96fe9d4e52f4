"""Laws of the row-stationary array, and a recount of small layers pass by pass in plain Python."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.hardware.energy import power_mw, prices
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.machines.row_stationary.machine import RowStationaryMachine
from accelsim.simulator.machines.row_stationary.passes import PassMapping, kernel_part
from accelsim.simulator.machines.row_stationary.search import choose_mapping
from accelsim.simulator.machines.row_stationary.steps import schedule_passes
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import changed, layer, layers, spatial
from .random_machines import IDEAL, row_machines

LAW = law(60)


def row_machine(**changes: Any) -> RowStationaryMachine:
    """A small row-stationary machine."""
    base = {
        "dataflow": "row_stationary",
        "zero_handling": "none",
        "weight_format": "dense",
        "row_stationary": {
            "filter_words": 30, "input_words": 10, "psum_words": 6, "filter_bus_bits": 32, "input_bus_bits": 8,
            "psum_bus_bits": 48, "bank_kb": 0.5,
        },
        "pe_array__rows": 6,
        "pe_array__cols": 7,
        **{f"buffers__{name}_kb": 8 for name in ("weight", "input", "output")},
    }  # fmt: skip
    return spatial(**{**base, **changes})


def multiplied(schedule: Schedule) -> float:
    """Multiplies that are not gated, whatever the energy table tells apart."""
    return sum(count for name, count in schedule.actions.items() if name.startswith(("mac", "signed_")))


@LAW
@given(layers(), row_machines())
def test_parts_sum_and_counts_are_those_of_the_layer(work: LayerWork, machine: RowStationaryMachine) -> None:
    total = run([work], machine, engine="fast").total
    parts = [total[f"{part}_cycles"] for part in ("useful", "imbalance", "edge", "transform", "dram")]
    assert total["cycles"] == sum(parts)
    assert min(parts) >= 0
    assert machine.lanes * total["compute_cycles"] >= total["dense_macs"]
    if machine.zero_handling == "none":
        assert total["effectual_macs"] == total["dense_macs"]
    else:
        assert work.weights is not None
        positions = work.outputs // work.out_channels
        expected = round(float(np.count_nonzero(work.weights) * work.input_density[0])) * positions
        assert total["effectual_macs"] == pytest.approx(expected, abs=positions)
    actions, table = schedule_layer(work, machine).actions, prices(machine)
    dynamic = sum(count * table[name].pj for name, count in actions.items())
    static = power_mw(machine) * total["cycles"] * machine.ns_per_cycle
    assert total["energy_pj"] == pytest.approx(dynamic + static, rel=1e-9, abs=0.01)


@LAW
@given(layers(), row_machines(), st.sampled_from(["filter_bus_bits", "input_bus_bits", "psum_bus_bits"]))
def test_wider_buses_never_cost_compute_cycles_at_a_fixed_mapping(
    work: LayerWork, machine: RowStationaryMachine, bus: str
) -> None:
    mapping = choose_mapping(work, machine)[0]
    assert machine.row_stationary is not None
    wider = changed(machine, **{f"row_stationary__{bus}": 2 * getattr(machine.row_stationary, bus)})
    assert isinstance(wider, RowStationaryMachine)
    before, after = (schedule_passes(work, m, mapping).compute_cycles for m in (machine, wider))
    assert (after <= before).all()


@LAW
@given(layers(), row_machines(zero_handling="gate"), st.floats(0, 1))
def test_gating_saves_energy_and_no_time(work: LayerWork, machine: RowStationaryMachine, density: float) -> None:
    sparse = replace(work, input_density=np.full(work.in_channels, density, np.float32))
    mapping = choose_mapping(work, machine)[0]
    assert choose_mapping(sparse, machine)[0] == mapping  # chosen before the data are known
    gated, plain = (schedule_passes(sparse, m, mapping) for m in (machine, changed(machine, zero_handling="none")))  # type: ignore[arg-type]
    assert (gated.compute_cycles == plain.compute_cycles).all()
    assert multiplied(plain) == pytest.approx(work.dense_macs)
    assert multiplied(gated) + gated.actions["gated_mac"] == pytest.approx(work.dense_macs)
    weights = work.weights
    assert weights is not None
    positions = work.outputs // work.out_channels
    kept = float(np.float32(density)) * np.count_nonzero(weights) * positions  # weight and input are not zero
    assert multiplied(gated) == pytest.approx(kept, abs=positions)
    # A held multiplier reads its input and nothing else: neither the weight nor, twice, the partial sum.
    a = machine.arithmetic
    saved = gated.actions["gated_mac"] * (a.weight_bits + 2 * a.accumulator_bits)
    assert gated.actions["register_bit"] == pytest.approx(plain.actions["register_bit"] - saved)


DENSE = {"activation_format": "dense", "weight_format": "dense", "zero_handling": "none"}


@LAW
@given(layers(density=1.0), row_machines(**DENSE, objective="dram"))
def test_the_score_in_bytes_is_what_the_schedule_moves(work: LayerWork, machine: RowStationaryMachine) -> None:
    """Each request rounded up to whole bytes."""
    mapping, score = choose_mapping(work, machine)
    schedule = schedule_passes(work, machine, mapping)
    assert schedule.dram_bytes == pytest.approx(score, abs=3 * len(schedule))


@LAW
@given(layers(density=1.0), row_machines(**DENSE, objective="cycles", dram=IDEAL))
def test_the_score_in_cycles_is_that_of_the_schedule(work: LayerWork, machine: RowStationaryMachine) -> None:
    """Lower by less than a cycle for each of the four transfers of a pass; higher at most as last tiles are not full.

    The sums take filters and channels as if the last pass of each had as many as the others, where a bus decides.
    """
    mapping, score = choose_mapping(work, machine)
    schedule = schedule_passes(work, machine, mapping)
    cycles = int(schedule.compute_cycles.sum())
    fold = kernel_part(work, machine)
    passes = len(schedule) * fold.parts * -(-mapping.m // (mapping.p * mapping.t))
    full = 1.0
    for size, tile in (
        (work.out_channels // work.groups, mapping.p * mapping.t),
        (work.in_channels // work.groups, mapping.q * mapping.r),
    ):
        full *= -(-size // tile) * tile / size
    assert cycles - 4 * passes <= score <= cycles * full * (1 + 1e-12)


CASES = [
    ({"K": 8, "C": 6, "size": 9}, PassMapping(8, 1, 3, 9, 4, 2, 1, 2)),
    ({"K": 10, "C": 5, "size": 10, "batch": 3}, PassMapping(6, 2, 4, 5, 3, 2, 2, 1)),
    ({"K": 8, "C": 8, "size": 11, "kernel": 5, "stride": 2, "groups": 2}, PassMapping(4, 1, 5, 5, 2, 1, 1, 1)),
    ({"K": 3, "C": 4, "size": 6, "kernel": 1, "padding": 0}, PassMapping(3, 1, 6, 6, 3, 4, 1, 1)),
]


@pytest.mark.parametrize(("shape", "mapping"), CASES)
def test_a_recount_pass_by_pass(shape: dict[str, Any], mapping: PassMapping) -> None:
    """Every pass of every tile as a plain loop, from the description at the head of row_stationary.py."""
    work, machine = layer(**shape), row_machine()
    x, a = machine.row_stationary, machine.arithmetic
    assert x is not None
    R, stride = work.kernel[0], work.stride[0]
    filters, channels = work.out_channels // work.groups, work.in_channels // work.groups

    def cuts(size: int, tile: int) -> list[int]:
        return [min(tile, size - start) for start in range(0, size, tile)]

    def bus(words: int, bits: int, width: int) -> int:
        return -(-words * bits // width)

    cycles = psums_out = psums_in = inputs_read = filters_read = 0
    p, q, r, t = mapping.p, mapping.q, mapping.r, mapping.t
    for _ in range(work.groups):
        for m in cuts(filters, mapping.m):
            in_pads = False
            for n in cuts(work.batch, mapping.n):
                for f in cuts(work.out_width, mapping.f):
                    for e in cuts(work.out_height, mapping.e):
                        for step, c in enumerate(cuts(channels, q * r)):
                            for k in cuts(m, p * t):
                                high, wide = (e - 1) * stride + R, (f - 1) * stride + R
                                multiply = n * f * p * q * R
                                sums = bus(k * e * f * n, a.accumulator_bits, x.psum_bus_bits)
                                maps = bus(n * high * wide * c, a.activation_bits, x.input_bus_bits)
                                cycles += max(multiply, sums, maps)
                                cycles += bus(high * R * c, a.activation_bits, x.input_bus_bits)
                                cycles += bus(k * e, a.accumulator_bits, x.psum_bus_bits)
                                only = len(cuts(channels, q * r)) * len(cuts(mapping.m, p * t)) == 1
                                if not (only and in_pads):
                                    cycles += bus(k * c * R * R, a.weight_bits, x.filter_bus_bits)
                                    filters_read += k * c * R * R
                                in_pads = True
                                psums_out += n * e * f * k
                                psums_in += n * e * f * k * (step > 0)
                                inputs_read += n * high * wide * c
    schedule = schedule_passes(work, machine, mapping)
    assert schedule.compute_cycles.sum() == cycles
    assert schedule.actions["output_write"] == psums_out * a.accumulator_bits
    assert schedule.actions["output_read"] == psums_in * a.accumulator_bits + work.outputs * a.activation_bits
    assert schedule.actions["input_read"] == inputs_read * a.activation_bits
    assert schedule.actions["weight_read"] == filters_read * a.weight_bits


def test_a_kernel_larger_than_the_array_is_folded() -> None:
    work = layer(4, 2, 12, kernel=9, padding=4)
    fold = kernel_part(work, row_machine())
    assert (fold.rows, fold.taps, fold.parts) == (5, 9, 2)  # 9 rows on 6 rows of PEs
    total = run([work], row_machine(), engine="fast").total
    assert total["effectual_macs"] == 12 * 12 * 81 * 4 * 2


def test_a_layer_that_does_not_fit_is_refused_by_key() -> None:
    tiny = row_machine(buffers__input_kb=0.5, buffers__output_kb=0.25)
    with pytest.raises(InputError, match=r"buffers.input_kb \+ output_kb"):
        schedule_layer(layer(4, 4, 20), tiny)


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("zero_handling=skip_weights", "zero_handling: input should be 'none' or 'gate'"),
        ("dataflow=output_stationary", "row_stationary: no key of dataflow output_stationary"),
        ("row_stationary.psum_wrods=3", "psum_words"),
        ("pe_array.feed=systolic", "pe_array.feed"),
        ("buffers.shared=true", "buffers.shared"),
    ],
)
def test_contradictions_are_refused(override: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        load_hardware("eyeriss", [override])
