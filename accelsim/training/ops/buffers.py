"""The memory that the operations of one compiled network share.

Temporaries, and gradients of activations.
"""

from collections import defaultdict
from typing import Any

import numpy as np

from accelsim.arrays import Array


class ScratchArrays:
    """Arrays made once, each handed out to all who may use it in turn.

    xp: the array module.  workers: threads, each with temporaries of its own.
    """

    def __init__(self, xp: Any, workers: int) -> None:
        self._xp = xp
        self._workers = workers
        self._scratch: dict[Any, list[Array]] = {}
        self._free: defaultdict[tuple[int, ...], list[Array]] = defaultdict(list)
        self._gradients: list[Array] = []

    def scratch(self, role: str, shape: tuple[int, ...], key: Any = None) -> list[Array]:
        """Zeroed temporaries, one for each worker; operations that ask for the same share them."""
        name = (role, shape, key)
        if name not in self._scratch:
            self._scratch[name] = [self._xp.zeros(shape, np.float32) for _ in range(self._workers)]
        return self._scratch[name]

    def gradient(self, shape: tuple[int, ...]) -> Array:
        """A block array for a gradient, perhaps one that is no longer read, whatever it holds."""
        free = self._free[shape]
        if free:
            return free.pop()
        made: Array = self._xp.zeros(shape, np.float32)
        self._gradients.append(made)
        return made

    def release(self, arrays: list[Array], waiting: list[Array]) -> None:
        """Take back gradients that were read for the last time.

        waiting: arrays that are still to be read; one that shares memory with them stays out.
        """
        for array in arrays:
            own = any(array is other for other in self._gradients)
            free = any(array is other for other in self._free[array.shape])
            read = any(self._xp.may_share_memory(array, other) for other in waiting)
            if own and not free and not read:
                self._free[array.shape].append(array)
