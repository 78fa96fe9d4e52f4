"""Results that are worth keeping for as long as what they were computed from: a bounded memory of answers by key.

``functools.lru_cache`` keeps answers for as long as the program runs; a ``Memo`` is a field of the object that the
answers belong to, and goes with it.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memo(Generic[V]):
    """Up to ``capacity`` answers by key; the one that was longest not asked for goes first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._answers: dict[Hashable, V] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The answer to ``key``: the one remembered, else what ``make`` gives."""
        answer = self._answers.pop(key) if key in self._answers else make()
        while len(self._answers) >= self._capacity:
            self._answers.pop(next(iter(self._answers)))
        self._answers[key] = answer
        return answer

    def clear(self) -> None:
        """Forget all answers."""
        self._answers.clear()

    def __len__(self) -> int:
        return len(self._answers)
