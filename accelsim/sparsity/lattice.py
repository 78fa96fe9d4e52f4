"""The nearest point of a lattice, of many lattices at once.

Babai's nearest plane: with A = L L^T the coordinates are rounded one after another, each where the
errors of those before it put its best value (which is what Frantar et al., arXiv:2210.17323, do for
all channels in one order and without zeros); the coordinates of the largest diagonal come first,
and some sweeps of single improvements last.  With a price on bits (``bitprice``) a coordinate may
be zero, too, where that saves more than it spoils; zeros of a whole basis's coordinates keep those
of the filters.

Coordinates go by spans: within one each hears of those before it at once, the others of the whole
span together, so that most of the work is products of matrices.  Lattices of fewer dimensions than
others have their coordinates behind, so that the last ones of all go together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg

from accelsim.arrays import Flags, Ints
from accelsim.sparsity.bitprice import CONTEXTS, Reals, RunningCounts
from accelsim.threads import on_all_cores

SWEEPS = 5
SPAN = 64
NUDGES = (1e-13, 1e-11, 1e-9, 1e-7)  # of a diagonal: bases of large numbers are nearly dependent


def nearest_point(A: Reals, b: Reals, price: float = 0.0) -> Reals:
    """Whole z, each (d,), for which z^T A z - 2 b^T z is small.

    A: (K, d, d) positive definite, b: (K, d), float32 or float64.  price: of a bit of z, where the
    error of a whole step of one coordinate, as they are on average, costs 1; then each is floor,
    ceil or zero of its best value.
    """
    each = np.arange(len(b))[:, None]
    order = np.argsort(np.diagonal(A, axis1=1, axis2=2), axis=1, kind="stable")
    A = A[each[:, :, None], order[:, :, None], order[:, None, :]]
    found = np.empty_like(b)
    found[each, order] = nearest(factored(list(A)), b[each, order], price, RunningCounts())
    return found


@dataclass(frozen=True)
class BitPrice:
    """What the bits of a number cost in error."""

    cost: float = 0.0  # of one
    counts: RunningCounts = field(default_factory=RunningCounts)

    def best(self, wanted: Reals, stiffness: Reals, context: Ints) -> Reals:
        """The whole number to take in the place of each wanted one."""
        if self.cost:
            return self.counts.cheapest(wanted, stiffness, context, self.cost)
        return np.rint(wanted)


@dataclass(frozen=True)
class Lattice:
    """The matrices of some filters, coordinates in the order of a growing diagonal.

    Filter k has d_k of them, the last ones of d = max d_k.
    """

    A: Sequence[Reals]  # (d_k, d_k) each
    L: Sequence[Reals]  # (d_k, d_k) each, lower triangles, A = L L^T; above them anything
    first: Sequence[int]  # d - d_k
    counted: Flags  # (K, d) which coordinates there are
    context: Ints  # (K, d)
    stiffness: Reals  # (K, d) the diagonals of L squared; where there is none 1
    curvature: Reals  # (K, d) the diagonals of A; where there is none 1

    def block(self, k: int, here: slice) -> tuple[slice, slice]:
        """Which of these coordinates filter k has: (among the d, among its own)."""
        start = max(here.start, self.first[k])
        return slice(start, here.stop), slice(start - self.first[k], max(0, here.stop - self.first[k]))


def factored(matrices: Sequence[Reals]) -> Lattice:
    """The lattices of these matrices, coordinates in the order of a growing diagonal.

    Raises ValueError if a matrix is not positive definite.
    """
    factors = on_all_cores(_factor, matrices)
    d = max(len(A) for A in matrices)
    first = [d - len(A) for A in matrices]
    counted = np.arange(d) >= np.array(first)[:, None]
    stiffness = np.ones(counted.shape, matrices[0].dtype)
    curvature = np.ones(counted.shape, matrices[0].dtype)
    for k, (A, L) in enumerate(zip(matrices, factors, strict=True)):
        stiffness[k, first[k] :] = np.diagonal(L) ** 2
        curvature[k, first[k] :] = np.diagonal(A)
    return Lattice(matrices, factors, first, counted, _contexts(counted), stiffness, curvature)


def nearest(lattice: Lattice, b: Reals, price: float, counts: RunningCounts) -> Reals:
    """As ``nearest_point``, of lattices that are factored: (K, d).

    b: (K, d), zero where a filter has no coordinate.  counts: to go on with.
    """
    real = lattice.counted
    bits = BitPrice(price * float(lattice.stiffness[real].mean()) if real.any() else 0.0, counts)
    z = _nearest_plane(lattice, bits, b)
    for _ in range(SWEEPS):
        if not improve(lattice, b, z, bits):
            break
    return z


def _nearest_plane(lattice: Lattice, bits: BitPrice, b: Reals) -> Reals:
    """Coordinates rounded one after another, from the last to the first: (K, d)."""
    rest = np.zeros_like(b)
    for k, L in enumerate(lattice.L):
        own = slice(lattice.first[k], None)
        rest[k, own] = _solved(L, b[k, own])
    z = np.zeros_like(b)
    for last in range(b.shape[1], 0, -SPAN):
        here = slice(max(0, last - SPAN), last)
        near = np.zeros((len(b), last - here.start, last - here.start), b.dtype)
        near[:] = np.eye(last - here.start, dtype=b.dtype)
        for k, L in enumerate(lattice.L):
            there, own = lattice.block(k, here)
            inside = slice(there.start - here.start, None)
            near[k, inside, inside] = L[own, own]
        _round_span(lattice, bits, near, rest[:, here], z, here)
        for k, L in enumerate(lattice.L):
            there, own = lattice.block(k, here)
            before = slice(lattice.first[k], there.start)
            rest[k, before] -= z[k, there] @ L[own, : own.start]
    return z


def _round_span(lattice: Lattice, bits: BitPrice, near: Reals, rest: Reals, z: Reals, here: slice) -> None:
    """Round the coordinates of a span, the last first, into ``z``.

    near: (K, span, span) of L.  rest: (K, span) of L z, what those behind leave; it is used up.
    """
    pivots = np.ascontiguousarray(np.diagonal(near, axis1=1, axis2=2).T)
    for i in reversed(range(rest.shape[1])):
        at = here.start + i
        context = lattice.context[:, at]
        value = bits.best(rest[:, i] / pivots[i], pivots[i] ** 2, context)
        if bits.cost:
            counted = lattice.counted[:, at]
            bits.counts.add(value[counted], context[counted])
        z[:, at] = value
        rest[:, :i] -= near[:, i, :i] * value[:, None]


def improve(lattice: Lattice, b: Reals, z: Reals, bits: BitPrice) -> bool:
    """Move each coordinate in turn to where it is best, the others as they are; in place.

    Whether one moved.
    """
    slope = b.copy()
    for k, A in enumerate(lattice.A):
        own = slice(lattice.first[k], None)
        slope[k, own] -= A @ z[k, own]
    moved = False
    for first in range(0, b.shape[1], SPAN):
        here = slice(first, min(first + SPAN, b.shape[1]))
        moves = _moves(lattice, bits, slope[:, here], z[:, here], here)
        for k in np.flatnonzero(moves.any(axis=1)).tolist():
            moved = True
            some = np.flatnonzero(moves[k])
            own = slice(lattice.first[k], None)
            slope[k, own] -= moves[k, some] @ lattice.A[k][first + some - lattice.first[k]]
        z[:, here] += moves
    return moved


def _moves(lattice: Lattice, bits: BitPrice, slope: Reals, z: Reals, here: slice) -> Reals:
    """How far each coordinate of a span moves, one after another: (K, span).

    Filters know nothing of each other, and most coordinates stay: all are tried at once, and those
    behind the first one of a filter that moves again.
    """
    moves = np.zeros_like(slope)
    alive = np.arange(len(z))  # filters of which a coordinate may still move
    done = np.zeros(len(z), np.int64)  # coordinates of theirs that had their turn
    there = slope.copy()
    while alive.size:
        at = z[alive]
        curvature = lattice.curvature[alive, here]
        step = there / curvature
        step = bits.best(at + step, curvature, lattice.context[alive, here]) - at if bits.cost else np.rint(step)
        step[np.arange(z.shape[1]) < done[:, None]] = 0
        found = step.any(axis=1)
        alive = alive[found]
        step = step[found]
        there = there[found]
        place = (step != 0).argmax(axis=1)
        size = step[np.arange(len(step)), place]
        moves[alive, place] = size
        done = place + 1
        for row, k, i, move in zip(there, alive.tolist(), place.tolist(), size, strict=True):
            inside, own = lattice.block(k, here)
            row[inside.start - here.start :] -= lattice.A[k][here.start + i - lattice.first[k], own] * move
    return moves


def _factor(A: Reals) -> Reals:
    """L of A = L L^T in the lower triangle, rows contiguous; above it anything.

    Where rounding alone keeps a float64 A from being positive definite, its diagonal grows by the least of ``NUDGES``
    that mends it.  Raises ValueError if none does.
    """
    fault = 1
    if A.dtype == np.float32:
        U, fault = linalg.lapack.spotrf(A.T, lower=0, clean=0)
    if fault:  # inputs much alike: float32 loses the smallest pivots
        U, fault = linalg.lapack.dpotrf(A.T.astype(np.float64), lower=0, clean=0)
    for share in NUDGES if fault and A.dtype == np.float64 else ():
        U, fault = linalg.lapack.dpotrf(A.T + share * np.diag(np.diagonal(A)), lower=0, clean=0)
        if not fault:
            break
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

    counted: (K, d) which coordinates there are.
    """
    rank: Ints = np.cumsum(counted, axis=1, dtype=np.int64) - counted
    length = np.maximum(counted.sum(axis=1, keepdims=True, dtype=np.int64), 1)
    return np.asarray(np.minimum(rank * CONTEXTS // length, CONTEXTS - 1))
