"""When the zeros of a network that trains are chosen anew, and when they stay (``accelsim.sparsity.moving``).

Their share grows by the cubic law of Zhu & Gupta (2017) up to a moment of the training; the choice
of that moment is the last.
"""

from collections.abc import Mapping

import numpy as np

from accelsim.arrays import Array
from accelsim.sparsity.moving import MovingZeros
from accelsim.sparsity.recipe import Joint
from accelsim.sparsity.zero_patterns import ZeroPattern
from accelsim.training.schedules import growing


class Mover:
    """The zeros of one run.

    joint: what the recipe says.  total: steps of the whole training.
    """

    def __init__(self, zeros: MovingZeros, joint: Joint, total: int) -> None:
        assert joint.moving is not None
        self.zeros = zeros
        self._joint = joint
        self._total = total
        self._every = joint.moving.every
        self._kept = np.float32(1 - joint.moving.pull)
        self._last = min(int(np.ceil(joint.grow_until * total)), total - 1)  # the step that they are last chosen before

    def share(self, done: int) -> float:
        """The share of all zeros that a choice after so many steps makes."""
        if done >= self._last:
            return 1.0
        return growing(done / self._total, self._joint.grow_from, 1.0, self._joint.grow_until)

    def targets(self, done: int) -> tuple[float, float]:
        """The shares of the weights, in either domain, that are zero in the step after so many."""
        share = self.share(done)
        return share * self.zeros.shares[0], share * self.zeros.shares[1]

    def stay(self, done: int) -> bool:
        """Whether the zeros of the last of so many steps are there for good."""
        return done > self._last

    def choose(self, done: int, weights: Mapping[str, Array], squares: Mapping[str, Array]) -> None:
        """Choose zeros for the step after so many, if it is time.

        weights, squares: as ``MovingZeros.choose``.
        """
        if done == self._last or (done < self._last and done % self._every == 0):
            self.zeros.choose(weights, squares, self.share(done))

    def apply(self, values: Array, arrays: Mapping[str, Array]) -> Array:
        """Put the zeros into the weights; what of them is to be given back before they move.

        values: all that is trained, (P,), of which arrays, by name, are views.
        """
        taken = values.copy()
        project(arrays, self.zeros.patterns)
        taken -= values
        taken *= self._kept
        return taken


def project(arrays: Mapping[str, Array], patterns: Mapping[str, ZeroPattern]) -> None:
    """Put zeros into arrays, in place, both by name."""
    for name, pattern in patterns.items():
        pattern.project(arrays[name])
