"""Fits that are remembered are those that are made anew, and what is interpolated is what scipy gives, to the bit."""

import csv
import itertools

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from accelsim.hardware import least_squares, sram
from tests.rtl.gates.fits import PATH, fitted


def test_the_table_has_the_fits_of_the_tables_beside_it():
    """None missing, none left over; scipy's versions differ in the last digits."""
    with PATH.open() as stream:
        stored = {key: [float(factor) for factor in factors] for key, *factors in list(csv.reader(stream))[1:]}
    anew = fitted()
    assert stored.keys() == anew.keys()
    for key, factors in anew.items():
        assert stored[key] == pytest.approx(factors, rel=1e-9, abs=1e-12), key


def test_no_choice_of_terms_comes_nearer():
    """Beside plain least squares by every subset of the terms."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        terms, values = rng.normal(0.3, 1, (6, 3)), rng.normal(0.3, 1, 6)
        found = least_squares.not_negative(terms, values)
        assert found.min() >= 0
        error = ((terms @ found - values) ** 2).sum()
        for size in (1, 2, 3):
            for some in itertools.combinations(range(3), size):
                factors = np.linalg.lstsq(terms[:, some], values)[0]
                if factors.min() >= 0:
                    assert error <= ((terms[:, some] @ factors - values) ** 2).sum() * (1 + 1e-9)


def test_memories_are_interpolated_as_scipy_does():
    axes, values = sram._table()
    scipy_s = RegularGridInterpolator(tuple(axes), values, bounds_error=False, fill_value=None)
    rng = np.random.default_rng(2)
    inside = rng.uniform([axis[0] for axis in axes], [axis[-1] for axis in axes], (500, 3))
    beyond = inside * rng.uniform(0.5, 1.5, (500, 3))
    nodes = np.stack([rng.choice(axis, 200) for axis in axes], axis=1)
    for query in (inside, beyond, nodes):
        np.testing.assert_array_equal(sram._interpolated(query), scipy_s(query))
