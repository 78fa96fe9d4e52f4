"""Made again until it keeps to its budgets.

What weights or a file come to is known once they are there.  Where they miss a budget, the next are
made to so much more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from accelsim.arrays import Floats

TRIES = 3  # until one keeps to the budgets
SPARE = 0.98  # of a budget that was missed, for the next of them

Thing = TypeVar("Thing")
Say = Callable[[str], None]  # takes a line of progress


@dataclass(frozen=True)
class Share:
    """What something has of one budget: 1 and more keeps to it.  told: that in words."""

    had: float
    told: str


@dataclass(frozen=True)
class Made(Generic[Thing]):
    """Something that was made, and what it has of each budget."""

    thing: Thing
    shares: Sequence[Share]

    @property
    def had(self) -> Floats:
        """(budgets,) of each, 1 and more keeps to it."""
        return np.array([share.had for share in self.shares])

    @property
    def keeps(self) -> bool:
        """Whether it keeps to every budget."""
        return bool((self.had >= 1).all())

    @property
    def told(self) -> str:
        """What it has, in words."""
        return ", ".join(share.told for share in self.shares)

    def warn(self, say: Say) -> None:
        """Say so if it misses a budget."""
        if not self.keeps:
            say(f"warning: it came to {self.told}, less than asked for")


def keeping(make: Callable[[Floats], Made[Thing] | None], budgets: int, say: Say) -> Made[Thing]:
    """The first that keeps to all its budgets, or the last of ``TRIES``.

    make: something made to each budget so many times, (budgets,) from 1; None where none can be
    had, which then ends it.  say: told of each that misses a budget.
    """
    strain = np.ones(budgets)
    found = make(strain)
    assert found is not None
    for _ in range(TRIES - 1):
        if found.keeps:
            break
        say(f"it came to {found.told}: again with less")
        strain = np.where(found.had < 1, strain / (SPARE * found.had), strain)
        again = make(strain)
        if again is None:
            break
        found = again
    return found


def times_smaller(had: float, asked: float) -> Share:
    """Of a ratio of sizes."""
    return Share(had / asked, f"{had:.2f} times smaller")


def times_fewer(had: float, asked: float) -> Share:
    """Of a reduction of multiplies."""
    return Share(had / asked, f"{had:.2f} times fewer multiplies")
