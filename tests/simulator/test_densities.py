"""What a multiply costs by the layer's own densities and signs, in every family of machines (energy_table gates)."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from accelsim.hardware import gates
from accelsim.hardware.energy import prices
from accelsim.simulator.run import schedule_layer
from accelsim.simulator.tiles.activity import multiplies
from accelsim.simulator.tiles.mode import Products
from accelsim.workload import LayerWork

from .random_layers import AnyMachine, layer, spatial, winograd

STATES = ("busy", "turning", "still")


def quarter_dense(input_density: float) -> LayerWork:
    """1 x 1 weights, one of four not zero: 2 of 8, on the second input channel; 36 positions."""
    work = layer(4, 2, 6, 1, padding=0)
    weights = np.zeros((4, 2, 1, 1), np.float32)
    weights[:2, 1] = 1
    return replace(work, weights=weights, input_density=np.full(2, input_density, np.float32))


def row_stationary(zero_handling: str) -> AnyMachine:
    words = {"filter_words": 30, "input_words": 10, "psum_words": 6}
    buses = {"filter_bus_bits": 32, "input_bus_bits": 8, "psum_bus_bits": 48, "bank_kb": 0.5}
    return spatial(
        dataflow="row_stationary", zero_handling=zero_handling, row_stationary=words | buses,
        weight_format="dense", energy_table="gates",
    )  # fmt: skip


def cartesian(zero_handling: str) -> AnyMachine:
    return spatial(
        dataflow="cartesian", zero_handling=zero_handling, energy_table="gates",
        weight_format="dense" if zero_handling == "none" else "bitmask", pe_array={"rows": 2, "cols": 2},
        cartesian={"weights": 4, "inputs": 4, "accumulators": 4096},
    )  # fmt: skip


def matrix_vector() -> AnyMachine:
    return spatial(
        dataflow="interleaved", zero_handling="skip_both", window=4, weight_format="run_length",
        pe_array={"rows": 1, "cols": 4}, energy_table="gates",
    )  # fmt: skip


def cells(zero_handling: str) -> AnyMachine:
    return winograd(
        zero_handling=zero_handling, weight_format="dense", pe_array={"rows": 1, "cols": 8, "taps": 1},
        transform_rate=64, inverse_rate=64, energy_table="gates",
        cells={"channels": 4, "channel_atom": 1, "kernel": None, "stripe": 16},
    )  # fmt: skip


@pytest.mark.parametrize("machine", [row_stationary("none"), cartesian("none"), cells("none")])
def test_dense_machines_pay_for_zeros_what_zeros_cost(machine: AnyMachine) -> None:
    """Half the inputs against a quarter of the weights: one product in eight is not zero.

    Of 64 products and those before them 1 pair has two that are not zero, 14 have one, 49 none.
    """
    actions = schedule_layer(quarter_dense(0.5), machine).actions
    macs = 36 * 8
    assert [actions[f"mac_{state}"] for state in STATES] == pytest.approx([macs * n / 64 for n in (1, 14, 49)])
    table = prices(machine)
    assert table["mac_busy"].pj > table["mac_turning"].pj > table["mac_still"].pj > 0


def either(machine: AnyMachine) -> str:
    """Multiplies of pixels of either sign: their own price where transformed inputs are wider."""
    return "direct" if machine.kind == "winograd" else "signed"


def test_pixels_of_either_sign_cost_by_their_own_width() -> None:
    """On lanes for transformed inputs of 10 bits: what 8 bits cost on a spatial array of the same lanes."""
    table = prices(cells("none"))
    assert table["signed_busy"].pj > table["direct_busy"].pj > table["mac_busy"].pj
    plain = gates.lane_energy(8, 8, cells("none").arithmetic.accumulator_bits, signed=True).busy
    wide = gates.lane_energy(8, 10, cells("none").arithmetic.accumulator_bits, signed=True).busy
    assert table["direct_busy"].pj / table["signed_busy"].pj == pytest.approx(plain / wide)


@pytest.mark.parametrize("machine", [row_stationary("none"), cartesian("none"), cells("none")])
def test_inputs_without_zeros_are_of_either_sign(machine: AnyMachine) -> None:
    """No ReLU cut them: one product in four is not zero."""
    actions = schedule_layer(quarter_dense(1.0), machine).actions
    assert [actions[f"{either(machine)}_{state}"] for state in STATES] == pytest.approx(
        [36 * 8 * n / 16 for n in (1, 6, 9)]
    )
    assert not {f"mac_{state}" for state in STATES} & set(actions)


@pytest.mark.parametrize("machine", [row_stationary("gate"), cartesian("skip_both"), matrix_vector(), cells("gate")])
@pytest.mark.parametrize("input_density", [0.5, 1.0])
def test_machines_without_zeros_multiply_what_is_not_zero(machine: AnyMachine, input_density: float) -> None:
    """2 weights at 36 positions, half or all of whose inputs are there: nothing turns or stays zero."""
    schedule = schedule_layer(quarter_dense(input_density), machine)
    sign = "mac" if input_density < 1 else either(machine)
    found = [schedule.actions[f"{sign}_{state}"] for state in STATES]
    assert found == [schedule.effectual_macs, 0, 0]
    # matrix-vector machines draw their inputs
    assert schedule.effectual_macs == pytest.approx(72 * input_density, rel=0.3 if input_density < 1 else 0)


def test_states_are_those_of_pairs_of_products() -> None:
    """One weight in two held still, or met anew: each pair of products counted."""
    products = Products(inputs=0.5, weights=0.5, action="mac")
    anew = [Fraction(1, 16), Fraction(6, 16), Fraction(9, 16)]
    held = [Fraction(1, 8), Fraction(2, 8), Fraction(5, 8)]
    assert list(multiplies(1, products).values()) == anew
    assert list(multiplies(1, products, holds_weights=True).values()) == held
    assert multiplies(7, None, "mac_f4") == {"mac_f4": 7}
