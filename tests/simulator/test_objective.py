"""What a machine minimises: cycles, DRAM bytes, energy, energy x delay; and the choice between modes."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.hardware.energy import prices
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.search import choose_tiling, choose_tilings
from accelsim.simulator.time.objective import measured
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import AnyMachine, changed, layer, layers, spatial, where_it_fits, winograd
from .random_machines import cartesian_machines, matrix_vector_machines, tiled_machines, winograd_machines

LAW = law(40)
OBJECTIVES = ("cycles", "dram", "energy", "edp")
# Energy without what a prediction only estimates: time, and DRAM rows (as if none were open).
POWERS = ("logic_static_mw", "sram_leakage_mw", "dram_standby_mw", "dram_refresh_mw")
COUNTED = {f"energy__{key}": 0.0 for key in (*POWERS, "dram_activate_pj")}


def energy_pj(work: LayerWork, machine: AnyMachine) -> float:
    return float(run([work], machine, engine="fast").total["energy_pj"])


@LAW
@given(layers(), tiled_machines(objective="energy", **COUNTED))
def test_the_energy_that_the_search_predicts_is_the_one_counted(work: LayerWork, machine: AnyMachine) -> None:
    for mode in machine.modes(work):
        tiling, predicted = where_it_fits(lambda mode=mode: choose_tiling(mode, machine))
        steps = tiled_schedule(mode, tiling, machine)
        counted = sum(count * prices(machine)[name].pj for name, count in steps.actions.items())
        rounding = len(steps) * 3 * 8 * sum(price.pj for price in prices(machine).values() if price.unit == "pJ/bit")
        assert predicted == pytest.approx(counted, rel=1e-9, abs=rounding)


@LAW
@given(layers(), tiled_machines(**COUNTED))
def test_least_energy_is_not_above_that_of_other_objectives(work: LayerWork, machine: AnyMachine) -> None:
    least, other = (energy_pj(work, changed(machine, objective=objective)) for objective in ("energy", "cycles"))
    bits = 3 * 8 * sum(price.pj for price in prices(machine).values() if price.unit == "pJ/bit")
    assert least <= other + bits * len(schedule_layer(work, changed(machine, objective="energy")))


@LAW
@given(
    st.one_of(layers(winograd=True), layers(winograd=True), layers()),
    winograd_machines(hybrid=True, polyphase=True, largest_kernel=3),
    st.sampled_from(OBJECTIVES),
)
def test_a_machine_with_a_choice_is_never_worse_than_any_of_its_modes(
    work: LayerWork, machine: AnyMachine, objective: str
) -> None:
    machine = changed(machine, objective=objective)
    choice = machine.modes(work)
    assume(len(choice) > 1)
    alone = [
        tiled_schedule(mode, tiling, machine)
        for mode in choice
        for tiling in where_it_fits(lambda mode=mode: choose_tilings(mode, machine))
    ]
    assert measured(schedule_layer(work, machine), machine) == min(measured(steps, machine) for steps in alone)


def test_the_objectives_choose_differently() -> None:
    """Winograd saves multiplies, so cycles, at the price of traffic in the Winograd domain, so energy."""
    roomy = {f"buffers__{name}_kb": 1024 for name in ("weight", "input", "transformed", "output")}
    work = layer(64, 64, 28, 3, density=0.1, threshold=0.3)
    chosen = {}
    for objective in OBJECTIVES:
        machine = winograd(
            hybrid=True, objective=objective, pe_array__rows=8, pe_array__cols=8, transform_rate=16, inverse_rate=16,
            **roomy,
        )  # fmt: skip
        chosen[objective] = schedule_layer(work, machine).mode
    assert chosen["cycles"] == "winograd-f2"
    assert chosen["energy"] == "gemm-os"


def test_a_mode_that_does_not_fit_leaves_the_other() -> None:
    work = layer(16, 16, 16, 3)
    machine = winograd(hybrid=True, buffers__transformed_kb=0.01)
    assert schedule_layer(work, machine).mode == "gemm-os"
    assert schedule_layer(work, winograd(buffers__transformed_kb=0.01)).mode == "gemm-os"  # where none is left, too
    with pytest.raises(InputError, match="weight_kb"):
        schedule_layer(work, winograd(buffers__weight_kb=0.01))
    assert schedule_layer(replace(work, winograd_threshold=None), machine).mode == "gemm-os"


@LAW
@given(layers(), st.one_of(cartesian_machines(), matrix_vector_machines()), st.sampled_from(OBJECTIVES))
def test_no_other_objective_finds_a_better_schedule(work: LayerWork, machine: AnyMachine, objective: str) -> None:
    """On machines that schedule a layer on their own: all that they search is scored by the machine's objective."""
    chosen, other = (
        where_it_fits(lambda m=m: schedule_layer(work, m)) for m in (machine, changed(machine, objective=objective))
    )
    assert measured(chosen, machine) <= measured(other, machine)


def test_cartesian_products_are_cut_as_the_objective_says() -> None:
    work = layer(64, 64, 8, 1, stride=2, padding=0, density=0.4, input_density=0.5)
    found = {}
    for objective in OBJECTIVES:
        machine = spatial(
            dataflow="cartesian", zero_handling="skip_both", objective=objective, pe_array={"rows": 2, "cols": 2},
            cartesian={"weights": 4, "inputs": 4, "accumulators": 64},
        )  # fmt: skip
        found[objective] = schedule_layer(work, machine)
    assert found["cycles"].compute_cycles.sum() < found["dram"].compute_cycles.sum()
    assert found["dram"].dram_bytes < found["energy"].dram_bytes < found["cycles"].dram_bytes
