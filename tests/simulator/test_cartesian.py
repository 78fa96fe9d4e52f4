"""Planar arrays of Cartesian products: a recount in plain Python, and the laws of every machine."""

from dataclasses import replace
from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.simulator.machines.cartesian.machine import CartesianMachine
from accelsim.simulator.run import schedule_layer
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import changed, layer, layers, spatial, where_it_fits
from .random_machines import cartesian_machines


def machine(**changes: object) -> CartesianMachine:
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


@law(60)
@given(layers(), cartesian_machines(weight_format="dense", activation_format="dense"))
def test_what_is_counted_is_the_layers(work: LayerWork, array: CartesianMachine) -> None:
    """Weights come whole, once or for every region; a tile of filters and channels is rounded to bytes."""
    schedule = where_it_fits(lambda: schedule_layer(work, array))
    assert work.weights is not None
    loads = np.count_nonzero(schedule.weights.n_bytes)
    times = schedule.weights.n_bytes.sum() * 8 / (work.weights.size * array.arithmetic.weight_bits)
    assert abs(times - round(times)) <= 8 * loads / (work.weights.size * array.arithmetic.weight_bits)
    assert times >= 1
    if array.zero_handling == "none":
        assert schedule.effectual_macs == work.dense_macs


@law(60)
@given(layers(), st.integers(1, 8))
def test_products_are_all_inputs_of_a_channel_times_all_its_weights(work: LayerWork, multipliers: int) -> None:
    """At stride 1 and in one region, also those at the image's edge that no output takes."""
    assume(work.stride == (1, 1))
    part = {"weights": multipliers, "inputs": multipliers, "accumulators": 1 << 16}
    schedule = schedule_layer(work, machine(cartesian=part, buffers__input_kb=4096, dram__type="ideal"))
    assert np.count_nonzero(schedule.inputs.n_bytes) == work.batch
    assert work.weights is not None
    pixels = work.batch * work.height * work.width
    expected = pixels * np.count_nonzero(work.weights) * float(work.input_density[0])
    assert schedule.effectual_macs == pytest.approx(expected, abs=1)


@law(60)
@given(layers(), st.integers(1, 3))
def test_more_multipliers_never_cost_compute_cycles(work: LayerWork, times: int) -> None:
    """In one region with all inputs non-zero: more of either operand meet in a cycle."""
    work = replace(work, input_density=np.ones(work.in_channels, np.float32))
    few, many = (
        machine(cartesian={"weights": n, "inputs": n, "accumulators": 1 << 16}, dram__type="ideal")
        for n in (2, 2 * times)
    )
    assert schedule_layer(work, many).compute_cycles.sum() <= schedule_layer(work, few).compute_cycles.sum()


@law(60)
@given(layers(), st.sampled_from(["none", "skip_both"]), st.sampled_from(["rows", "cols"]))
def test_doubling_the_elements_never_costs_compute_cycles(work: LayerWork, handling: str, key: str) -> None:
    """In one region with all inputs non-zero, at the same filters of a group: each holds half a tile or less."""
    work = replace(work, input_density=np.ones(work.in_channels, np.float32))
    part = {"weights": 4, "inputs": 4, "accumulators": 1 << 16}
    array = machine(zero_handling=handling, cartesian=part, buffers__input_kb=4096, dram__type="ideal")
    cycles = [schedule_layer(work, m).compute_cycles.sum() for m in (array, changed(array, **{f"pe_array__{key}": 4}))]
    assert cycles[1] <= cycles[0]


@pytest.mark.parametrize("channels", [96, 4000])
def test_channels_beyond_the_input_rams_come_in_parts(channels: int) -> None:
    """A fully connected layer on one element of 1 KB: parts of 64 channels, each once; as many products as in one."""
    work = layer(16, channels, 1, 1, padding=0, density=0.5)
    small, large = (
        machine(pe_array={"rows": 1, "cols": 1}, buffers__input_kb=kb, dram__type="ideal") for kb in (0.0625, 64)
    )
    plans = [schedule_layer(work, m) for m in (small, large)]
    assert [len(schedule) for schedule in plans] == [-(-channels // 64), 1]
    assert plans[0].inputs.n_bytes.sum() == plans[1].inputs.n_bytes.sum() == channels
    assert plans[0].effectual_macs == plans[1].effectual_macs == np.count_nonzero(work.weights)
    extra = plans[0].compute_cycles.sum() - plans[1].compute_cycles.sum()
    assert extra == 2 * (len(plans[0]) - 1)  # to hand over the sums of each part


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 1, 1), (1, 1, 1), (5, 1, 2), (3, 2, 1), (4, 2, 2)])
def test_cycles_recounted_for_dense_inputs(kernel: int, stride: int, groups: int) -> None:
    """Every channel, phase and group of filters by itself; the inputs of the fullest PE all there."""
    work = layer(8, 6, 8, kernel, stride=stride, padding=0, groups=groups, density=0.4, seed=1)
    array = machine(cartesian={"weights": 4, "inputs": 4, "accumulators": 1 << 16})
    schedule = schedule_layer(work, array)
    expected = 2 * len(schedule)  # to hand over the accumulators of each step
    per_group, C = 8 // groups, 6 // groups
    for g in range(groups):
        weights = work.weights[g * per_group : (g + 1) * per_group]
        for c, a, b in product(range(C), range(stride), range(stride)):
            pixels = len(range(a, 4, stride)) * len(range(b, 4, stride))  # of 4 x 4 a PE
            expected += ceil(pixels / 4) * ceil(np.count_nonzero(weights[:, c, a::stride, b::stride]) / 4)
    assert int(schedule.compute_cycles.sum()) == expected


def test_the_dense_twin_takes_dot_products() -> None:
    work = layer(8, 6, 8, 3, density=1.0)
    array = machine(
        zero_handling="none", weight_format="dense", cartesian={"weights": 4, "inputs": 4, "accumulators": 1 << 16}
    )
    schedule = schedule_layer(work, array)
    assert int(schedule.compute_cycles.sum()) == 4 * 4 * 8 * ceil(6 * 9 / 16) + 2 * len(schedule)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"buffers\.input_kb .*layer layer"):
        schedule_layer(layer(8, 6, 8, 3), machine(buffers__input_kb=0.001))
