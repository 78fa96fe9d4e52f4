"""Least squares with no factor below zero, remembered.

``tables/fits_45nm.csv`` has what ``scipy.optimize.nnls`` gave for the fits of ``gates``, by a
digest of each problem: its import takes as long as many a command.  A problem that is not there is
solved anew.
"""

import csv
import hashlib
from functools import lru_cache
from importlib import resources

import numpy as np

from accelsim.arrays import Floats

NAME = "fits_45nm.csv"


def not_negative(terms: Floats, values: Floats) -> Floats:
    """The factors, none below zero, by which the terms come nearest to the values.

    terms: (n, k), values: (n,) -> (k,).
    """
    key = digest(terms, values)
    factors = solved().get(key)
    if factors is None:
        from scipy.optimize import nnls

        factors = nnls(terms, values)[0]
        solved()[key] = factors
    return factors


@lru_cache(maxsize=1)
def solved() -> dict[str, Floats]:
    """The factors of each problem that is known, by its digest."""
    with (resources.files("accelsim.hardware") / "tables" / NAME).open() as stream:
        rows = list(csv.reader(stream))[1:]
    return {key: np.array([float(factor) for factor in factors]) for key, *factors in rows}


def digest(terms: Floats, values: Floats) -> str:
    """Of the numbers to ten digits.

    Logarithms differ in the last ones from one processor to another.
    """
    numbers = [f"{x:.9e}" for x in np.column_stack([terms, values]).ravel().tolist()]
    return hashlib.sha256(f"{terms.shape} {' '.join(numbers)}".encode()).hexdigest()[:16]
