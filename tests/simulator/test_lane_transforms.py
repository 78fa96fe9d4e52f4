"""Transforms between buffer and lanes and in the lanes, several tile sizes: counted by hand on small dense layers."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.energy import areas, prices, static_mw
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.simulator.time.objective import measured
from accelsim.transforms.adders import exact_bits, serial_inverse_additions
from tests.laws import law

from .random_layers import layer, winograd

# 8 x 8 outputs of 8 filters from 16 channels: 16 tiles of 2 x 2.
WORK = layer(8, 16, 8, 3, density=1.0, threshold=0.0)
STREAMED = {
    "input_transform": "streamed",
    "operand_window": {"positions": 16, "banks": 1},
    "buffers__transformed_kb": 0,
}


def plan_of(machine, tiling):
    return tiled_schedule(machine.modes(WORK)[0], tiling, machine)


def test_widths_of_exact_transforms():
    """Lavin & Gray's matrices: rows of B^T sum up to 2 and to 10 at most, so 4 and 100 times an input in two passes."""
    assert exact_bits(2, (3, 3), 8) == 10
    assert exact_bits(4, (3, 3), 8) == 15
    assert exact_bits(4, (3, 3), 4) == 11


def test_additions_of_taps_one_after_the_other():
    """A^T of F(2, 3) has 6 entries in 2 rows: 4 rows of 6 - 2, then 2 columns of 6 - 2; of F(4, 3) 18 in 4 rows."""
    assert serial_inverse_additions(2, (3, 3)) == 4 * 4 + 2 * 4
    assert serial_inverse_additions(4, (3, 3)) == 6 * 14 + 4 * 14


def test_lanes_that_transform_results_store_outputs_and_no_taps():
    machine = winograd(inverse="lane")
    plan = plan_of(machine, Tiling(1, 8, 8, 8, 16, False))
    outputs = 8 * 8 * 8
    assert plan.actions["lane_inverse_add"] == 16 * 8 * 24
    assert plan.actions["output_write"] == plan.actions["output_read"] == outputs * 8
    assert plan.inverse_cycles.sum() == 0
    unit = plan_of(winograd(), Tiling(1, 8, 8, 8, 16, False))
    assert (plan.compute_cycles - unit.compute_cycles).tolist() == [2]
    assert unit.actions["output_write"] == outputs * 8 + 16 * 8 * 16 * 24


def test_partial_results_leave_as_outputs_where_the_channels_are_cut():
    work = layer(8, 32, 8, 3, density=1.0, threshold=0.0)
    machine = winograd(inverse="lane")
    plan = tiled_schedule(machine.modes(work)[0], Tiling(1, 8, 8, 8, 16, False), machine)
    assert plan.actions["output_write"] == 8 * 8 * 8 * (8 + 24)
    assert plan.actions["lane_inverse_add"] == 2 * 16 * 8 * 24


def test_streamed_inputs_are_read_and_transformed_for_each_group_of_filters_and_taps():
    """4 rows take a row of 4 tiles: 4 x 10 pixels; 2 groups of filters, 16 taps one by one or all at once."""
    for taps, passes in ((1, 2 * 16), (16, 2)):
        machine = winograd(**STREAMED, zero_handling="none", pe_array__taps=taps)
        plan = plan_of(machine, Tiling(1, 8, 8, 8, 16, False))
        assert plan.actions["stream_add"] == 16 * 16 * passes * 32
        assert plan.actions["input_read"] == 16 * 16 * passes * 8 * (4 * 10 / 4)
        assert not {"transformed_read", "transformed_write"} & set(plan.actions)
        assert plan.transform_cycles.sum() == 0


@pytest.mark.parametrize(("rate", "fill"), [(1, 66), (4, 18), (16, 6)])
def test_a_window_takes_as_long_as_the_next_one_is_filled(rate, fill):
    """16 channels of 4 rows at the rate, and 2 cycles for the two passes; dense lanes take 16 cycles a window."""
    machine = winograd(**STREAMED, zero_handling="none", transform_rate=rate, pe_array__taps=16)
    plan = plan_of(machine, Tiling(1, 8, 8, 8, 16, False))
    rounds, groups = 4, 2
    assert plan.compute_cycles.tolist() == [rounds * groups * max(16, fill) + 6 + fill]


def test_a_lane_adds_the_sums_of_its_filters_one_a_cycle():
    """Filters of one channel: a tap takes as many cycles as a lane has sums, with the weights of as many filters."""
    work = layer(8, 1, 4, 3, density=0.0, threshold=0.0)
    for each, cycles in ((1, 1), (2, 2)):
        machine = winograd(inverse="lane", filters_per_lane=each, pe_array={"rows": 4, "cols": 4, "taps": 1})
        plan = tiled_schedule(machine.modes(work)[0], Tiling(1, 4, 4, 8, 1, False), machine)
        groups = ceil(8 / (4 * each))
        assert plan.compute_cycles.tolist() == [groups * 16 * cycles + 8]


@pytest.mark.parametrize(("each", "cycles"), [(1, 2), (2, 2), (3, 3)])
def test_a_tap_takes_that_long_with_all_its_windows(each, cycles):
    """Two empty windows of a tap take a cycle each, and a third only where the sums of three filters are added."""
    work = layer(8, 32, 4, 3, density=0.0, threshold=0.0)
    keys = {"filters_per_lane": each, "operand_window": {"positions": 16, "banks": 4}}
    machine = winograd(inverse="lane", pe_array={"rows": 4, "cols": 4, "taps": 1}, **keys)
    plan = tiled_schedule(machine.modes(work)[0], Tiling(1, 4, 4, 8, 32, False), machine)
    groups = ceil(8 / (4 * each))
    assert plan.compute_cycles.tolist() == [groups * 16 * cycles + 8]


def test_lanes_of_several_tile_sizes_are_as_wide_as_the_largest_needs_and_priced_by_what_they_multiply():
    machine = winograd(tiles=(2, 4))
    assert machine.operand_bits == 15
    table = prices(machine)
    assert table["mac"].pj == table["mac_f4"].pj > table["mac_f2"].pj > table["mac_direct"].pj
    assert table["mac_f2"].pj == prices(winograd())["mac"].pj
    assert areas(machine)["lanes"].mm2 > areas(winograd())["lanes"].mm2
    capped = winograd(tiles=(2, 4), arithmetic__transformed_bits=10)
    assert prices(capped)["mac_f4"].pj == prices(capped)["mac_f2"].pj


@law(30)
@given(st.sampled_from(["cycles", "energy", "edp"]), st.integers(0, 50), st.floats(0.1, 1))
def test_a_choice_of_tile_sizes_is_never_worse_than_any_of_them(objective, seed, density):
    work = layer(8, 16, 14, 3, density=density, threshold=0.3, seed=seed)
    found = {}
    for tiles in ((2,), (4,), (2, 4)):
        # As wide as F(4, 3) needs, so that the machines differ in the choice alone.
        machine = winograd(tiles=tiles, objective=objective, arithmetic__transformed_bits=15)
        found[tiles] = measured(machine.schedule(work), machine)
    if objective == "cycles":
        assert found[2, 4] == min(found[(2,)], found[(4,)])
    else:
        assert found[2, 4] <= found[(4,)]


def test_the_areas_of_lanes_that_transform_results():
    unit, lanes = areas(winograd()), areas(winograd(inverse="lane"))
    assert "inverse_transform" in unit
    assert "inverse_transform" not in lanes
    # 6 registers and 6 adders of 24 bits a lane, in the area of Nangate's flip-flop and full adder, at 28 nm.
    assert lanes["lane_inverse"].mm2 == pytest.approx(16 * 6 * 24 * (3.23 + 3.04) * 1.4 * 0.377 / 1e6)


def test_what_stands_around_the_lanes_has_static_power_by_its_area():
    """30 mW over the 12.25 mm2 of Eyeriss's core."""
    plain, lanes = winograd(), winograd(inverse="lane", filters_per_lane=2)
    more = areas(lanes)["lane_inverse"].mm2 + areas(lanes)["lane_sums"].mm2
    assert static_mw(lanes) - static_mw(plain) == pytest.approx(more * 30 / 12.25)


def test_the_shipped_model_runs_with_every_choice_at_once():
    machine = load_hardware(
        "winograd-16x16",
        [
            "input_transform=streamed", "buffers.transformed_kb=0", "inverse=lane", "weight_transform=on_chip",
            "tiles=[2, 4]", "operand_window={positions: 16, banks: 4}", "filters_per_lane=2", "outputs_per_lane=2",
        ],
    )  # fmt: skip
    assert {mode.name for mode in machine.modes(WORK)} == {"winograd-f2", "winograd-f4"}
    schedule = machine.schedule(WORK)
    assert set(schedule.actions) <= set(prices(machine))
