"""The nearest point of a lattice, of many lattices at once.

Babai's nearest plane: with A = L L^T the coordinates are rounded one after another, each where the
errors of those before it put its best value (which is what Frantar et al., arXiv:2210.17323, do for
all channels in one order and without zeros); the coordinates of the largest diagonal come first,
and some sweeps of single improvements last.  With a price on bits (``bitprice``) a coordinate may
be zero, too, where that saves more than it spoils; zeros of a whole basis's coordinates keep those
of the filters.

Coordinates go by spans: within one each hears of those before it at once, the others of the whole
span together, so that most of the work is products of matrices.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from accelsim.arrays import Flags, Ints
from accelsim.sparsity.bitprice import CONTEXTS, Reals, RunningCounts

SWEEPS = 5
SPAN = 64


def nearest_point(
    A: Reals,
    b: Reals,
    price: float = 0.0,
    counts: RunningCounts | None = None,
    real: Flags | None = None,
) -> Reals:
    """Whole z, each (d,), for which z^T A z - 2 b^T z is small.

    A: (K, d, d) positive definite, b: (K, d), float32 or float64.  price: of a bit of z, where the
    error of a whole step of one coordinate, as they are on average, costs 1; then each is floor,
    ceil or zero of its best value.  counts: to go on with.  real: (K, d) which coordinates there
    are; by default all.
    """
    each = np.arange(len(b))[:, None]
    order = np.argsort(np.diagonal(A, axis1=1, axis2=2), axis=1, kind="stable")
    real = np.ones(b.shape, np.bool_) if real is None else real[each, order]
    A = A[each[:, :, None], order[:, :, None], order[:, None, :]]
    found = np.empty_like(b)
    found[each, order] = nearest(factored(A, real), b[each, order], price, counts or RunningCounts())
    return found


@dataclass(frozen=True)
class Lattice:
    """The matrices of some filters, coordinates in the order of a growing diagonal."""

    A: Reals  # (K, d, d)
    L: Reals  # (K, d, d), lower triangles, A = L L^T; above them anything
    counted: Flags  # (K, d) which coordinates there are
    context: Ints  # (K, d)


def factored(A: Reals, real: Flags) -> Lattice:
    """The lattices of these matrices, (K, d, d), coordinates in the order of a growing diagonal.

    real: as for ``nearest_point``.
    """
    L = np.empty_like(A)
    for own, factor in zip(A, L, strict=True):
        factor[...] = _factor(own)
    return Lattice(A, L, real, _contexts(real))


def nearest(lattice: Lattice, b: Reals, price: float, counts: RunningCounts) -> Reals:
    """As ``nearest_point``, of lattices that are factored."""
    stiffness = np.diagonal(lattice.L, axis1=1, axis2=2) ** 2
    real = lattice.counted
    bits = _Bits(price * float(stiffness[real].mean()) if real.any() else 0.0, counts)
    z = _nearest_plane(lattice, bits, b)
    for _ in range(SWEEPS):
        if not _improve(lattice, bits, b, z):
            break
    return z


@dataclass(frozen=True)
class _Bits:
    """What the bits of a number cost in error."""

    cost: float  # of one, or 0
    counts: RunningCounts


def _nearest_plane(lattice: Lattice, bits: _Bits, b: Reals) -> Reals:
    """Coordinates rounded one after another, from the last to the first: (K, d)."""
    L = lattice.L
    counted = lattice.counted
    context = lattice.context
    rest = np.stack([_solved(own, of) for own, of in zip(L, b, strict=True)])
    z = np.zeros_like(b)
    for last in range(b.shape[1], 0, -SPAN):
        first = max(0, last - SPAN)
        near = L[:, first:last, first:last].copy()
        there = rest[:, first:last].copy()
        for i in reversed(range(last - first)):
            at = first + i
            wanted = there[:, i] / near[:, i, i]
            if bits.cost:
                value = bits.counts.cheapest(wanted, near[:, i, i] ** 2, context[:, at], bits.cost)
                bits.counts.add(value[counted[:, at]], context[counted[:, at], at])
            else:
                value = np.rint(wanted)
            z[:, at] = value
            there[:, :i] -= near[:, i, :i] * value[:, None]
        rest[:, :first] -= (z[:, None, first:last] @ L[:, first:last, :first])[:, 0]
    return z


def _improve(lattice: Lattice, bits: _Bits, b: Reals, z: Reals) -> bool:
    """Move each coordinate in turn to where it is best, the others as they are; in place.

    Whether one moved.
    """
    A = lattice.A
    diagonal = np.diagonal(A, axis1=1, axis2=2)
    slope = b - (A @ z[:, :, None])[:, :, 0]
    moved = False
    for first in range(0, b.shape[1], SPAN):
        here = slice(first, first + SPAN)
        if not bits.cost and (np.abs(slope[:, here]) <= 0.5 * diagonal[:, here]).all():
            continue
        moves = _moves(lattice, bits, slope, z, here)
        for k in np.flatnonzero(moves.any(axis=1)):
            moved = True
            some = np.flatnonzero(moves[k])
            slope[k] -= moves[k, some] @ A[k, first + some]
        z[:, here] += moves
    return moved


def _moves(lattice: Lattice, bits: _Bits, slope: Reals, z: Reals, here: slice) -> Reals:
    """How far each coordinate of a span moves, one after another: (K, span)."""
    near = lattice.A[:, here, here].copy()
    there = slope[:, here].copy()
    at = z[:, here]
    moves = np.zeros_like(there)
    for i in range(there.shape[1]):
        move = there[:, i] / near[:, i, i]
        if bits.cost:
            context = lattice.context[:, here.start + i]
            move = bits.counts.cheapest(at[:, i] + move, near[:, i, i], context, bits.cost) - at[:, i]
        else:
            move = np.rint(move)
        if move.any():
            moves[:, i] = move
            there -= near[:, i] * move[:, None]
    return moves


def _factor(A: Reals) -> Reals:
    """L of A = L L^T in the lower triangle, rows contiguous; above it anything.

    Raises ValueError if A is not positive definite.
    """
    fault = 1
    if A.dtype == np.float32:
        U, fault = linalg.lapack.spotrf(A.T, lower=0, clean=0)
    if fault:  # inputs much alike: float32 loses the smallest pivots
        U, fault = linalg.lapack.dpotrf(A.T.astype(np.float64), lower=0, clean=0)
    if fault:
        raise ValueError("the moments of a layer's inputs are not positive definite")
    return np.asarray(U.T)


def _solved(L: Reals, b: Reals) -> Reals:
    """x of L x = b."""
    if not b.size:  # which older releases of SciPy hand on to LAPACK, which refuses it
        return b
    return np.asarray(linalg.solve_triangular(L, b, lower=True, check_finite=False))


def _contexts(counted: Flags) -> Ints:
    """The context of each coordinate: how far it comes in its filter's order.

    counted: (K, d) which coordinates there are, in the order of a growing diagonal.
    """
    rank: Ints = np.cumsum(counted, axis=1, dtype=np.int64) - counted
    length = np.maximum(counted.sum(axis=1, keepdims=True, dtype=np.int64), 1)
    return np.asarray(np.minimum(rank * CONTEXTS // length, CONTEXTS - 1))
