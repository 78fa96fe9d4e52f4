"""Energy and area measured in gates: checks of the measurement, and of the model where it was not fitted.

Nothing is synthesised here: the tables that ``make rtl-energy`` writes are read.
"""

from itertools import product

import pytest

import accelsim
from accelsim.errors import InputError
from accelsim.hardware import gates
from accelsim.hardware.energy import areas, clock_pj, flip_flops, prices, static_mw
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import schedule_layer
from accelsim.workload import layer_works
from experiments.comparisons.gates import domain_ratio, ratio_layers, unseen_arrays, verdicts

MODEL = "models/resnet20-cifar10.dual"
UNITS = ("lane", "lane signed")
PAIR = ("spatial-16x16", "winograd-16x16")
LAYERS = [layer for layer in ratio_layers() if layer != "layer2.0.conv2"]  # that the fit has not seen
UNSEEN = [v for v in verdicts() if v.row["use"] == "judge"]


def _rows(unit: str, stimulus: str) -> list[gates.Row]:
    return [row for row in gates.read("logic") if row["unit"] == unit and row["stimulus"] == stimulus]


def test_an_adder_costs_what_spice_gives() -> None:
    """0.107 pJ a vector of 8 uniform bits at 1.1 V; toggles x tables stay a little below it."""
    (adder,) = (row for row in _rows("adder", "uniform") if row["a_bits"] == "8")
    assert 0.8 < float(adder["pj"]) / 0.107 < 1.05


@pytest.mark.parametrize("unit", UNITS)
def test_lanes_of_widths_and_layers_that_the_fit_has_not_seen(unit: str) -> None:
    """A lane on a real layer costs what its three states give at the layer's density."""
    for row in _rows(unit, "layer2.0.conv2"):
        measured = gates.AT_09_VOLTS * (float(row["pj"]) - float(row["clock_pj"]))
        model = gates.lane_energy(*gates.widths(row), signed=unit == "lane signed").at(float(row["density"]))
        assert model == pytest.approx(measured, rel=0.2), gates.widths(row)


def test_arrays_and_layers_that_the_fit_has_not_seen() -> None:
    errors = [abs(v.error) for v in UNSEEN]
    assert len({v.name for v in UNSEEN}) >= 20
    assert sum(errors) / len(errors) < 0.25
    assert max(errors) < 0.4


def test_areas_of_arrays_that_the_fit_has_not_seen() -> None:
    errors = [abs(v.area_error) for v in unseen_arrays()]
    assert errors
    assert sum(errors) / len(errors) < 0.15
    assert max(errors) < 0.25


@pytest.mark.parametrize("layer", LAYERS)
def test_the_winograd_array_over_the_spatial_one(layer: str) -> None:
    measured, model = domain_ratio(layer)
    assert model == pytest.approx(measured, rel=0.15)


def test_narrower_operands_cost_less() -> None:
    for signed in (False, True):
        energies = [gates.lane_energy(8, bits, 24, signed).at(0.5) for bits in (4, 6, 8, 12, 16)]
        assert energies == sorted(energies)
        assert energies[0] < 0.7 * energies[2]
    assert gates.lane_um2(4, 4, 16) < gates.lane_um2(8, 4, 24) < gates.lane_um2(8, 8, 24)
    assert gates.adder_pj(12) < gates.adder_pj(16)


def test_sums_of_widths_that_the_fit_has_not_seen() -> None:
    """Lanes in gates whose sums are narrower or wider than those of the fit."""
    sums = [(8, 8, 16), (8, 8, 20), (16, 16, 32), (8, 10, 20), (8, 10, 32)]
    rows = [row for state in ("busy", "turning") for unit in UNITS for row in _rows(unit, state)]
    judged = [row for row in rows if gates.widths(row) in sums]
    assert len(judged) == 2 * len(sums)
    for row in judged:
        assert row["use"] == "judge"
        measured = gates.AT_09_VOLTS * (float(row["pj"]) - float(row["clock_pj"]))
        model = getattr(gates.lane_energy(*gates.widths(row), row["unit"] == "lane signed"), row["stimulus"])
        assert model == pytest.approx(measured, rel=0.08), gates.widths(row)


@pytest.mark.parametrize("unit", UNITS)
def test_no_wider_word_costs_less(unit: str) -> None:
    """Neither a lane's energy nor its area, whichever of its three words has a bit more."""
    grid = list(product(range(2, 18, 3), range(2, 20, 3), range(8, 48, 5)))
    figures = [gates.lane_pj_fit(unit, state) for state in gates.STATES] + [gates.lane_um2]
    for figure, (w, x, acc) in product(figures, grid):
        own = figure(w, x, acc)
        assert min(figure(w + 1, x, acc), figure(w, x + 1, acc), figure(w, x, acc + 1)) >= own * (1 - 1e-12)


def test_a_multiplier_into_zero_costs_less_than_one_that_stays_busy() -> None:
    for signed in (False, True):
        lane = gates.lane_energy(8, 10, 24, signed)
        assert 0 < lane.still < lane.turning < lane.busy
        assert lane.at(1.0) == lane.busy
        assert lane.at(0.0) == lane.still


def test_every_multiply_is_in_one_state_and_priced() -> None:
    model = accelsim.load_model(MODEL)
    for name in PAIR:
        machine = load_hardware(name, ["energy_table=gates"])
        for work in layer_works(model):
            schedule = schedule_layer(work, machine)
            states = [n for action, n in schedule.actions.items() if action.split("_")[-1] in gates.STATES]
            assert sum(states) == pytest.approx(schedule.effectual_macs)
            assert schedule.actions.keys() <= prices(machine).keys()


def test_clock_and_leakage_are_static_power() -> None:
    """Flip-flops x energy of a clock, at the clock's rate; twice the clock adds that much again."""
    machine = load_hardware("spatial-16x16", ["energy_table=gates"])
    faster = load_hardware("spatial-16x16", ["energy_table=gates", f"clock_mhz={2 * machine.clock_mhz}"])
    clock_mw = clock_pj(machine) * machine.clock_mhz / 1000
    assert static_mw(faster) - static_mw(machine) == pytest.approx(clock_mw)
    assert flip_flops(machine) > machine.lanes * (8 + 24)


def test_the_whole_array_is_in_the_area() -> None:
    machine = load_hardware("winograd-16x16", ["energy_table=gates"])
    quoted = load_hardware("winograd-16x16", ["energy_table=horowitz"])
    parts = areas(machine)
    assert {"lanes", "streams", "control", "input_transform", "inverse_transform"} <= parts.keys()
    assert parts["lanes"].mm2 > areas(quoted)["lanes"].mm2


def test_floating_point_multiplies_are_published_ones() -> None:
    """2.1 pJ for fp16 -> fp32 at 45 nm (Horowitz)."""
    machine = load_hardware("spatial-16x16", ["energy_table=gates", "arithmetic.number=fp16", "node_nm=45"])
    table = prices(machine)
    assert table["mac_busy"].pj == table["signed_still"].pj == 2.1
    with pytest.raises(InputError, match="energy_table"):
        load_hardware("spatial-16x16", ["energy_table=spice"])
