"""A layer's weights in whole multiples of its cell, with given zeros, so that its output changes least.

Filters with given zeros are w = D M z: a whole basis M (``whole_filters.whole_bases``), whole
numbers z.  For one output channel,

    minimise  || X w - Y ||^2 + damping |w - w_0|^2  =  z^T A z - 2 b^T z + ...

over whole z is the search for the nearest point of a lattice (``lattice``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Floats, Ints, Levels
from accelsim.errors import NumericalError
from accelsim.sparsity.bitprice import Reals, RunningCounts
from accelsim.sparsity.lattice import Lattice, factored, nearest
from accelsim.sparsity.moments import Moments
from accelsim.threads import ahead, on_all_cores

DAMPING = 1e-3  # times the mean square of the inputs
# the same, times inputs over rows: what few images say of the least directions is chance
SCATTER = 0.15
LOST = 1e-5  # of the squares of means: what float32 loses as they are taken off
NOTHING = 1e-6  # of a diagonal of float32: a pivot this small is what rounding left of it
CHANNELS = 32  # solved at a time, at most
ROWS = 64  # of a matrix that are gathered at a time: they stay in a core's cache
MATRICES = 1 << 26  # entries of the matrices of those, at most


def whole_weights(
    moments: Moments,
    w: Array,
    cell: float,
    bases: Floats,
    price: float = 0.0,
) -> Levels:
    """Indices of a layer's weights: (K, C, taps) int32.

    moments: rows of X are (taps x channels).  w: (K, C, taps) before.  bases: (K, C, taps, taps) of
    each 2-D filter.  price: as for ``lattice.nearest_point``.
    """
    return whole_by_cell(moments, w, [cell], bases, price)[0]


def whole_by_cell(
    moments: Moments, w: Array, cells: Sequence[float], bases: Floats, price: float = 0.0
) -> list[Levels]:
    """As ``whole_weights``, for several cells, whose lattices are factored once.

    Raises NumericalError if the moments leave no lattice to search.
    """
    K, C, taps = w.shape
    H = _channels_first(moments.H, C, taps)
    H = _channels_first(H.T, C, taps)
    share = DAMPING + SCATTER * len(H) / moments.rows
    damping = np.float32(share * np.diagonal(H).mean() + LOST * np.mean(moments.x**2) + 1e-12)
    H[np.diag_indices_from(H)] += damping
    B = _channels_first(moments.B, C, taps) + damping * w.reshape(K, -1).T
    n = np.zeros((len(cells), K, C * taps))
    counts = [RunningCounts() for _ in cells]
    vectors = [_vectors(own, H) for own in bases]

    def lattice_of(block: range) -> tuple[Lattice, Reals]:
        some = [vectors[k] for k in block]
        try:
            return _lattice(some, H, B[:, block])
        except ValueError:  # vectors so long that float32 loses the smallest pivots
            pass
        try:
            return _lattice(some, H.astype(np.float64), B[:, block].astype(np.float64))
        except ValueError as error:
            raise NumericalError(f"{error}; expected inputs that differ more, or no `fit`") from None

    blocks = list(_blocks([len(own.weight) for own in vectors]))
    for block, (lattice, b) in zip(blocks, ahead(lattice_of, blocks), strict=True):
        free = b.shape[1]
        for cell, counted, rounded in zip(cells, counts, n, strict=True):
            found = nearest(lattice, b / b.dtype.type(cell), price, counted)
            for k, z in zip(block, found, strict=True):
                rounded[k] = vectors[k].combined(z[free - len(vectors[k].weight) :], C * taps)
    return list(np.rint(n).reshape(len(cells), *w.shape).astype(np.int32))


def _blocks(free: Sequence[int]) -> Iterator[range]:
    """Consecutive filters whose matrices are held at a time.

    free: coordinates of each filter.
    """
    first = 0
    largest = 0
    for k, d in enumerate(free):
        largest = max(largest, d)
        if k > first and (k - first == CHANNELS or (k + 1 - first) * largest**2 > MATRICES):
            yield range(first, k)
            first = k
            largest = d
    yield range(first, len(free))


@dataclass(frozen=True)
class _Vectors:
    """The d basis vectors of one output channel's weights, each of few entries."""

    weight: Ints  # (d, e) which weights enter
    value: Array  # (d, e) how much, 0 where fewer than e do

    def between(self, H: Reals) -> Reals:
        """M^T H M, M the vectors as columns: (d, d)."""
        d = len(self.weight)
        whole = np.empty((d, d), H.dtype)
        for first in range(0, d, ROWS):
            self._rows_between(H, slice(first, first + ROWS), whole[first : first + ROWS])
        return whole

    def _rows_between(self, H: Reals, rows: slice, found: Reals) -> None:
        """Some rows of ``between`` into ``found``."""
        weight = self.weight[rows]
        value = self.value[rows]
        half = H.take(weight[:, 0], axis=0)
        plain = bool((self.value[:, 0] == 1).all())  # most layers' vectors are weights themselves
        if not plain:
            half *= value[:, :1]
        for e in range(1, self.weight.shape[1]):
            some = np.flatnonzero(value[:, e])
            half[some] += H[weight[some, e]] * value[some, e, None]
        half.take(self.weight[:, 0], axis=1, out=found, mode="clip")  # which needs no copy
        if not plain:
            found *= self.value[:, 0]
        for e in range(1, self.weight.shape[1]):
            some = np.flatnonzero(self.value[:, e])
            found[:, some] += half.take(self.weight[some, e], axis=1) * self.value[some, e]

    def products(self, b: Reals) -> Reals:
        """The product M^T b: (d,)."""
        return np.asarray((self.value * b[self.weight]).sum(axis=1))

    def combined(self, z: Reals, count: int) -> Floats:
        """M z, of so many weights."""
        return np.asarray(np.bincount(self.weight.ravel(), (self.value * z[:, None]).ravel(), count), np.float64)


def _lattice(vectors: Sequence[_Vectors], H: Reals, B: Reals) -> tuple[Lattice, Reals]:
    """The lattices of some output channels, and M^T B of each: (K, d), d of the channel with the most vectors.

    H: (n, n), B: (n, K), both float32 or float64.  Raises ValueError if a M^T H M is not positive
    definite in these numbers, or only by chance.
    """
    lattice = factored(on_all_cores(lambda own: own.between(H), vectors))
    if H.dtype == np.float32 and (lattice.stiffness < NOTHING * lattice.curvature).any():
        raise ValueError("float32 loses the smallest pivots")
    b = np.zeros(lattice.counted.shape, H.dtype)
    for i, own in enumerate(vectors):
        b[i, lattice.first[i] :] = own.products(B[:, i])
    return lattice, b


def _vectors(bases: Floats, H: Array) -> _Vectors:
    """The basis vectors of an output channel, in the order of a growing diagonal of M^T H M.

    bases: (C, taps, taps).
    """
    taps = bases.shape[1]
    filters, column, row = np.nonzero(bases.swapaxes(1, 2))
    _, first, vector, entries = np.unique(
        filters * taps + column, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.arange(len(row)) - first[vector]
    shape = (len(first), int(entries.max(initial=1)))
    weight = np.zeros(shape, np.int64)
    value = np.zeros(shape, np.float32)
    weight[vector, place] = filters * taps + row
    value[vector, place] = bases[filters, row, column]
    among = H[weight[:, :, None], weight[:, None, :]]
    order = np.argsort(np.einsum("de,df,def->d", value, value, among), kind="stable")
    return _Vectors(weight[order], value[order])


def _channels_first(rows: Array, C: int, taps: int) -> Array:
    """Rows (taps x C) as (C x taps)."""
    return np.ascontiguousarray(rows.reshape(taps, C, -1).swapaxes(0, 1).reshape(C * taps, -1))
