"""Planar arrays of Cartesian products: a recount in plain Python, and the laws of every machine."""

from dataclasses import replace
from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.hardware.machine import SpatialMachine
from accelsim.simulator.event import event
from accelsim.simulator.pipeline import durations, fast
from accelsim.simulator.run import plan, run
from accelsim.workload import LayerWork

from .random_layers import layer, layers, spatial


def machine(**changes: object) -> SpatialMachine:
    return spatial(
        **{
            "dataflow": "cartesian",
            "zero_handling": "skip_both",
            "weight_format": "bitmask",
            "pe_array": {"rows": 2, "cols": 2},
            "cartesian": {"weights": 4, "inputs": 4, "accumulators": 4096},
            **changes,
        }
    )


@st.composite
def machines(draw: st.DrawFn) -> SpatialMachine:
    return machine(
        zero_handling=draw(st.sampled_from(["none", "skip_both"])),
        pe_array={"rows": draw(st.integers(1, 4)), "cols": draw(st.integers(1, 4))},
        cartesian={
            "weights": draw(st.integers(1, 5)),
            "inputs": draw(st.integers(1, 5)),
            "accumulators": draw(st.sampled_from([256, 1024, 4096])),
        },
        weight_format=draw(st.sampled_from(["dense", "bitmask", "run_length"])),
        activation_format=draw(st.sampled_from(["dense", "bitmask", "run_length"])),
        buffers__weight_kb=draw(st.sampled_from([1, 64])),
        dram__type=draw(st.sampled_from(["ideal", "LPDDR4-3200", "HBM2"])),
    )


@settings(max_examples=100, deadline=None)
@given(layers(), machines())
def test_laws_of_every_machine(work: LayerWork, array: SpatialMachine) -> None:
    schedule = plan(work, array)
    d = durations(schedule, array)
    assert fast(d) == event(d)
    total = run([work], array, engine="fast").total
    parts = ("useful", "imbalance", "edge", "transform", "dram")
    assert total["cycles"] == sum(total[f"{part}_cycles"] for part in parts)
    assert min(total[f"{part}_cycles"] for part in parts) >= 0
    assert total["cycles"] >= total["roofline_cycles"]
    assert array.lanes * total["compute_cycles"] >= total["effectual_macs"]
    assert total["dram_output_bytes"] >= work.outputs * min(1.0, work.output_density) * 0.99 - 1
    if array.weight_format == "dense":
        assert total["dram_weight_bytes"] >= work.weights.size
    if array.zero_handling == "none":
        assert total["effectual_macs"] == work.dense_macs


@settings(max_examples=60, deadline=None)
@given(layers(), st.integers(1, 3))
def test_more_multipliers_never_cost_compute_cycles(work: LayerWork, times: int) -> None:
    """In one region with all inputs non-zero: more of either operand meet in a cycle."""
    work = replace(work, input_density=np.ones(work.in_channels, np.float32))
    few, many = (
        machine(cartesian={"weights": n, "inputs": n, "accumulators": 1 << 16}, dram__type="ideal")
        for n in (2, 2 * times)
    )
    assert plan(work, many).compute_cycles.sum() <= plan(work, few).compute_cycles.sum()


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 1, 1), (1, 1, 1), (5, 1, 2), (3, 2, 1), (4, 2, 2)])
def test_cycles_recounted_for_dense_inputs(kernel: int, stride: int, groups: int) -> None:
    """Every channel, phase and group of filters by itself; the inputs of the fullest PE all there."""
    work = layer(8, 6, 8, kernel, stride=stride, padding=0, groups=groups, density=0.4, seed=1)
    array = machine(cartesian={"weights": 4, "inputs": 4, "accumulators": 1 << 16})
    expected = 0
    per_group, C = 8 // groups, 6 // groups
    for g in range(groups):
        weights = work.weights[g * per_group : (g + 1) * per_group]
        for c, a, b in product(range(C), range(stride), range(stride)):
            pixels = len(range(a, 4, stride)) * len(range(b, 4, stride))  # of 4 x 4 a PE
            expected += ceil(pixels / 4) * ceil(np.count_nonzero(weights[:, c, a::stride, b::stride]) / 4)
        expected += 2  # to hand over the accumulators
    assert int(plan(work, array).compute_cycles.sum()) == expected


def test_the_dense_twin_takes_dot_products() -> None:
    work = layer(8, 6, 8, 3, density=1.0)
    array = machine(
        zero_handling="none", weight_format="dense", cartesian={"weights": 4, "inputs": 4, "accumulators": 1 << 16}
    )
    assert int(plan(work, array).compute_cycles.sum()) == 4 * 4 * 8 * ceil(6 * 9 / 16) + 2


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"cartesian\.accumulators 1 .*layer layer"):
        plan(layer(8, 6, 8, 3), machine(cartesian={"weights": 4, "inputs": 4, "accumulators": 1}))
