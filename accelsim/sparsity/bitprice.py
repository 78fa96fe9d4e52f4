"""What a whole number costs in bits, by running counts.

So far as one can know it while the numbers are being chosen.

A coder that adapts gives a number -log2 of the share that its like had so far, among those in the
same context, and one bit for a sign.  Here the context is how much a weight's input matters in its
filter: those that matter little are zero more often.  Magnitudes from ``LARGEST`` on share one
count.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Floats, Ints

Reals = NDArray[np.floating[Any]]
CONTEXTS = 8
LARGEST = 15
FIRST = 8.0  # numbers that the first guess counts for: half zeros, a quarter ones, and so on


class RunningCounts:
    """Counts of one layer's numbers, as they are chosen."""

    def __init__(self) -> None:
        self._counts = np.tile(FIRST * 0.5 ** np.arange(1, LARGEST + 2), (CONTEXTS, 1))
        self._bits = np.zeros(0)  # (CONTEXTS x magnitudes,) of each, or none since the last count

    def bits(self, z: Reals, context: Ints) -> Floats:
        """Of each whole number in its context; the same shape."""
        if not self._bits.size:
            bits = -np.log2(self._counts / self._counts.sum(axis=1, keepdims=True))
            bits[:, 1:] += 1  # a sign
            self._bits = bits.ravel()
        return self._bits.take(_places(z, context))

    def add(self, z: Reals, context: Ints) -> None:
        """Count these numbers, too."""
        np.add.at(self._counts.reshape(-1), _places(z, context), 1)
        self._bits = self._bits[:0]

    def cheapest(self, wanted: Reals, stiffness: Reals, context: Ints, price: float) -> Reals:
        """Of floor, ceil and zero the one of least stiffness (z - wanted)^2 + price bits.

        All of one shape.
        """
        candidates = np.zeros((3, *wanted.shape), wanted.dtype)
        np.floor(wanted, out=candidates[0])
        np.ceil(wanted, out=candidates[1])
        errors = candidates - wanted
        errors *= errors
        errors *= stiffness
        costs = self.bits(candidates, context)
        costs *= price
        costs += errors
        best = costs.reshape(3, -1).argmin(axis=0)
        return np.asarray(candidates.reshape(3, -1)[best, np.arange(len(best))].reshape(wanted.shape))


def _places(z: Reals, context: Ints) -> Ints:
    """Where each number's count is: context after context."""
    places = np.minimum(np.abs(z), LARGEST).astype(np.int64)
    places += context * (LARGEST + 1)
    return places
