"""What the contexts of ``context`` see of the weights that are coded already.

Of the same 2-D kernel those next to a weight, of the kernel, its filter and its input channel how
many are not zero, and how large they are.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Flags, Ints

NEAR = 6  # magnitudes up to it are coded position by position, and contexts see no larger ones
POSITIONS = 32  # kernel positions that contexts tell apart
_V = np.arange(-NEAR, NEAR + 1)
# Of each value from -NEAR to NEAR, the fields of ``Near``.
_TABLES = (
    np.minimum(np.abs(_V), 3),
    np.sign(_V) + 1,
    np.clip(_V, -2, 2) + 2,
    np.clip(_V, -3, 3) + 3,
)


@dataclass
class Filters:
    """What has been coded of each filter of one tensor."""

    nonzeros: Ints  # (K,)
    magnitude: Ints  # (K,) their sum
    weights: int = 0  # of each filter

    def add(self, nonzero: Flags, size: Ints) -> None:
        """Take in one kernel position of a block.  nonzero, size: (a, K)."""
        self.nonzeros += nonzero.sum(axis=0)
        self.magnitude += size.sum(axis=0)
        self.weights += len(nonzero)


class Kernels:
    """What has been coded of each 2-D kernel and input channel of a block of a channels, K filters."""

    def __init__(self, a: int, K: int) -> None:
        self.nonzeros = np.zeros((a, K), np.int64)
        self.magnitude = np.zeros((a, K), np.int64)
        self.channel_nonzeros = np.zeros((a, 1), np.int64)
        self.channel_magnitude = np.zeros((a, 1), np.int64)
        self.prefix = np.zeros((a, K), np.uint64)  # a hash of all weights so far

    def add(self, nonzero: Flags, size: Ints) -> None:
        """Take in one kernel position.  nonzero, size: (a, K)."""
        self.nonzeros += nonzero
        self.magnitude += size
        self.channel_nonzeros += nonzero.sum(axis=1, keepdims=True)
        self.channel_magnitude += size.sum(axis=1, keepdims=True)

    def extend_prefix(self, v: Ints) -> None:
        """Take one kernel position's weights into the hash.  v: (a, K), clipped to +-NEAR."""
        self.prefix = self.prefix * np.uint64(0x100000001B3) + v.astype(np.uint64) + np.uint64(1)


@dataclass(frozen=True)
class Near:
    """What contexts see of the indices v at one kernel position.

    (a, K) each, or (1, 1) outside the kernel.
    """

    size: Ints  # min(|v|, 3)
    sign: Ints  # 0..2
    clip2: Ints  # v clipped to +-2, from 0
    clip3: Ints  # v clipped to +-3, from 0

    @staticmethod
    def view(v: Ints) -> "Near":
        """v: indices clipped to +-NEAR."""
        v = v + NEAR
        return Near(*(table.take(v) for table in _TABLES))


@dataclass(frozen=True)
class Neighbours:
    """The positions of a 2-D kernel around one that is being coded, where they are coded already."""

    position: int  # the one that is being coded, in raster order
    slot: int  # the same, up to the last that contexts tell apart
    left: Near
    left2: Near
    up: Near
    up2: Near
    up_left: Near
    up_right: Near

    @staticmethod
    def around(position: int, S: int, coded: list[Near], outside: Near) -> "Neighbours":
        """coded: the positions before this one, in raster order.  S: columns of the kernel."""
        r, s = divmod(position, S)

        def at(row: int, column: int) -> Near:
            return coded[row * S + column] if 0 <= row and 0 <= column < S else outside

        return Neighbours(
            position=position,
            slot=min(position, POSITIONS - 1),
            left=at(r, s - 1),
            left2=at(r, s - 2),
            up=at(r - 1, s),
            up2=at(r - 2, s),
            up_left=at(r - 1, s - 1),
            up_right=at(r - 1, s + 1),
        )


class Picked:
    """The weights of a position that are not zero.

    Cuts contexts of all its weights down to them.
    """

    def __init__(self, flags: Flags, a: int, K: int) -> None:
        self.where = np.flatnonzero(flags)
        self.channel, self.filter = np.divmod(self.where, K)
        self._shape = (a, K)

    def pick(self, context: Ints) -> Ints | int:
        """A context (a, K), (a, 1), (1, K) or (1, 1) of these weights."""
        if context.shape == self._shape:
            return np.asarray(context.ravel().take(self.where))
        if context.shape == (1, 1):
            return int(context[0, 0])
        if context.shape[1] == 1:
            return np.asarray(context[:, 0].take(self.channel))
        return np.asarray(context[0].take(self.filter))
