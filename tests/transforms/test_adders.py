"""Adders of the Winograd transforms: published counts, widths that hold every value, twins."""

from fractions import Fraction

import numpy as np
import pytest

from accelsim.transforms.adders import adders, additions, input_unit, inverse_unit, tile_additions, unit_bits
from accelsim.transforms.winograd import cook_toom

ALL = [(m, r) for m in range(1, 7) for r in range(2, 8)]


@pytest.mark.parametrize(
    ("m", "r", "points", "adds_in", "adds_out"),
    [
        (2, 3, None, 32, 24),
        (4, 3, None, 144, 100),
        (4, 3, ("0", "1", "-1", "1/2", "-2"), 192, 120),
        (6, 3, None, 384, 280),
        (2, 5, None, 144, 64),
    ],
)
def test_adders_of_a_tile_are_the_published_ones(m, r, points, adds_in, adds_out):
    """F(2,3): Lavin & Gray, section 4.1.1 (32 and 24 adds), the others: synthesized transforms."""
    t = cook_toom(m, r, None if points is None else tuple(map(Fraction, points)))
    assert 2 * t.n * additions(t.B_T) == adds_in
    assert (t.n + m) * additions(t.A_T) == adds_out
    if points is None:
        assert tile_additions(m, (r, r))[1:] == (adds_in, adds_out)


def test_sharing_never_needs_more_adders_than_row_by_row():
    for m, r in ALL:
        t = cook_toom(m, r)
        for matrix in (t.A_T, t.G, t.B_T):
            assert 0 <= additions(matrix) <= sum(max(sum(e != 0 for e in row) - 1, 0) for row in matrix)


@pytest.mark.parametrize(("m", "twins"), [(2, 1), (4, 2)])
def test_sums_and_differences_of_the_same_two_are_twins(m: int, twins: int) -> None:
    """x1 + x2 and x2 - x1 in F(2,3)'s B^T, x1 + x2 and x1 - x2 in its A^T; two such pairs in each of F(4,3)'s."""
    t = cook_toom(m, 3)
    for matrix in (t.B_T, t.A_T):
        assert sum(adder.twin for adder in adders(matrix)) == twins


@pytest.mark.parametrize(("m", "bits"), [(2, 10), (4, 15)])
def test_transformed_int8_inputs_take_the_bits_that_the_rtl_has(m: int, bits: int) -> None:
    """10 bits for F(2,3) and 15 for F(4,3) cut nothing off."""
    assert input_unit(m, 8, bits) == input_unit(m, 8, 64)
    assert input_unit(m, 8, bits - 3) != input_unit(m, 8, 64)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_register_between_the_passes_holds_every_first_pass(m: int) -> None:
    """Its bits are those of the extreme columns; one bit fewer for any row would not do."""
    matrix = np.array(cook_toom(m, 3).B_T, dtype=float)
    extreme = np.where(matrix > 0, 127, -128), np.where(matrix > 0, -128, 127)
    highest, lowest = (np.sum(matrix * x, axis=1) for x in extreme)
    fits = [(lowest >= -(2 ** (w - 1))) & (highest < 2 ** (w - 1)) for w in range(64)]
    needed = np.argmax(fits, axis=0)
    assert input_unit(m, 8, 64).register_bits == len(matrix) * needed.sum()


def test_an_inverse_transform_keeps_the_width_of_its_sums() -> None:
    """F(2,3): 24 adders and 2 x 4 registers of 24 bits, 4 + 2 of the adders twins of another."""
    assert inverse_unit(2, 24) == (24 * 24, 6 * 24, 8 * 24)


def test_a_unit_of_the_identity_is_a_register() -> None:
    identity = tuple(tuple(Fraction(int(i == j)) for j in range(4)) for i in range(4))
    assert unit_bits(identity, 8, 8) == (0, 0, 4 * 4 * 8)
