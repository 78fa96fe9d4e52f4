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

from accelsim.arrays import Ints

Reals = NDArray[np.floating[Any]]
CONTEXTS = 8
LARGEST = 15
FIRST = 8.0  # numbers that the first guess counts for: half zeros, a quarter ones, and so on


class RunningCounts:
    """Counts of one layer's numbers, as they are chosen."""

    def __init__(self) -> None:
        self.counts = np.tile(FIRST * 0.5 ** np.arange(1, LARGEST + 2), (CONTEXTS, 1))

    def bits(self, z: Reals, context: Ints) -> Reals:
        """Of each whole number in its context; the same shape."""
        magnitude = np.minimum(np.abs(z), LARGEST).astype(np.int64)
        share = self.counts[context, magnitude] / self.counts.sum(axis=1)[context]
        return np.asarray((z != 0) - np.log2(share))

    def add(self, z: Reals, context: Ints) -> None:
        """Count these numbers, too."""
        np.add.at(self.counts, (context, np.minimum(np.abs(z), LARGEST).astype(np.int64)), 1)

    def cheapest(self, wanted: Reals, stiffness: Reals, context: Ints, price: float) -> Reals:
        """Of floor, ceil and zero the one of least stiffness (z - wanted)^2 + price bits.

        All (n,).
        """
        candidates = np.stack([np.floor(wanted), np.ceil(wanted), np.zeros_like(wanted)])
        costs = stiffness * (candidates - wanted) ** 2 + price * self.bits(candidates, context[None])
        return np.asarray(np.take_along_axis(candidates, costs.argmin(axis=0)[None], axis=0)[0])
