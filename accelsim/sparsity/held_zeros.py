"""Zeros of both domains held at once, exactly: the linear space of the filters that have them, and its whole points.

A 2-D filter w, as a vector, has the transform W = kron w (``joint``).  Given zeros of w and of W are zeros of both if
and only if w lies in the linear space { w : w_i = 0, (kron w)_j = 0 }.  Weights projected onto it have no small
Winograd-domain entries, only zeros: pruning in either domain loses nothing.

Rounding would lose that, because weights that cancel are rounded apart: what should be zero in W becomes as large as
true entries, and a threshold on |W| takes the wrong ones.  So filters whose zeros of W need weights that cancel are
rounded to whole multiples of the cell that lie in the space themselves, near the weights: whole coefficients of a whole
basis (Babai's rounding), improved one at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Flags, Floats, Ints, Levels

BLOCK = 1 << 14  # filters worked on at a time
SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 24)  # that may make a basis vector whole
SWEEPS = 3


@dataclass(frozen=True)
class HeldZeros:
    """The zeros of one layer's filters.

    kept: (K, C, R, S) float32, 0 where a weight is zero, else 1.  bound: (F,) which 2-D filters have zeros of W that
    need weights that cancel.  projectors: (F, R S, R S) float32, onto the space of each of these.
    """

    kept: Array
    bound: Ints
    projectors: Array

    def project(self, weights: Array) -> None:
        """Move the weights, (K, C, R, S) and contiguous, to the nearest ones with the zeros; in place."""
        weights *= self.kept
        if len(self.bound):
            filters = weights.reshape(-1, self.projectors.shape[1])
            filters[self.bound] = np.einsum("fij,fj->fi", self.projectors, filters[self.bound])


def hold(zero: Flags, zero_wd: Flags | None = None, kron: Array | None = None) -> HeldZeros:
    """The zeros of one layer.

    zero: (K, C, R, S) where w is zero.  zero_wd: (K, C, n_h, n_w) where W is.  kron: (n_h n_w, R S).
    """
    kept = (~zero).astype(np.float32)
    if zero_wd is None or kron is None:
        return HeldZeros(kept, np.empty(0, np.int64), np.empty((0, 0, 0), np.float32))
    taps = kron.shape[1]
    of_w, of_W = zero.reshape(-1, taps), zero_wd.reshape(-1, len(kron))
    bound = np.flatnonzero(_cancelling(of_w, of_W, kron).any(axis=1))
    rows = _whole_rows(kron)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    products = np.einsum("ai,aj->aij", rows, rows).reshape(len(rows), -1)
    projectors = np.empty((len(bound), taps, taps), np.float32)
    for first in range(0, len(bound), BLOCK):
        some = bound[first : first + BLOCK]
        conditions = (of_W[some] @ products).reshape(-1, taps, taps)
        conditions[:, np.arange(taps), np.arange(taps)] += of_w[some]
        eigenvalues, vectors = np.linalg.eigh(conditions)
        free = vectors * (eigenvalues < 1e-8)[:, None, :]
        projector = free @ free.swapaxes(1, 2)
        projectors[first : first + BLOCK] = np.where(np.abs(projector) < 1e-9, 0, projector)
    return HeldZeros(kept, bound, projectors)


def whole_with_zeros(w: Array, zero: Flags, zero_wd: Flags, kron: Array) -> Levels:
    """Whole numbers near the weights, with the given zeros in both domains.

    w: (K, C, R, S), in cells.  zero, zero_wd, kron: as ``hold``.  Same shape as w.
    """
    taps = kron.shape[1]
    wanted = np.where(zero, 0, w).reshape(-1, taps).astype(np.float64)
    n = np.rint(wanted)
    for some, bases in _bound_bases(zero, zero_wd, kron):
        n[some] = _nearest(wanted[some], bases)
    return n.reshape(w.shape).astype(np.int32)


def whole_bases(zero: Flags, zero_wd: Flags | None = None, kron: Array | None = None) -> Floats:
    """Of each 2-D filter a basis, in whole numbers, of the space of filters with its zeros.

    zero, zero_wd, kron: as ``hold``.  Result: (F, taps, taps), a basis vector in the column of each free tap, zeros
    elsewhere.
    """
    taps = int(np.prod(zero.shape[2:]))
    bases = np.eye(taps) * ~zero.reshape(-1, 1, taps)
    if zero_wd is not None and kron is not None:
        for some, found in _bound_bases(zero, zero_wd, kron):
            bases[some] = found
    return bases


def _bound_bases(zero: Flags, zero_wd: Flags, kron: Array) -> Iterator[tuple[Ints, Floats]]:
    """(which, bases (F, taps, taps)) of the filters whose zeros of W need weights that cancel, some at a time."""
    taps = kron.shape[1]
    of_w, of_W = zero.reshape(-1, taps), zero_wd.reshape(-1, len(kron))
    needed = _cancelling(of_w, of_W, kron)
    rows = _whole_rows(kron)
    bound = np.flatnonzero(needed.any(axis=1))
    for first in range(0, len(bound), BLOCK):
        some = bound[first : first + BLOCK]
        conditions = needed[some][:, :, None] * rows * ~of_w[some][:, None, :]
        yield some, _whole_basis(conditions, ~of_w[some])


def _whole_rows(kron: Array) -> Floats:
    """The rows in whole numbers, exactly: products of powers of a small interpolation point, or of its inverse."""
    magnitudes = np.abs(kron).astype(np.float64)
    smallest = np.where(magnitudes > 0, magnitudes, np.inf).min(axis=1, keepdims=True)
    return np.asarray(np.rint(kron / smallest))


def _cancelling(of_w: Flags, of_W: Flags, kron: Array) -> Flags:
    """Which zeros of W are none by themselves, for a weight that is not zero enters there."""
    entering = (~of_w).astype(np.float32) @ (kron != 0).T.astype(np.float32)
    return np.asarray(of_W & (entering > 0))


def _whole_basis(conditions: Floats, kept: Flags) -> Floats:
    """A basis of { w : conditions w = 0 } in whole numbers, by Gauss-Jordan elimination.

    conditions: (F, rows, taps), whole; kept: (F, taps) where w may differ from zero.  Result: (F, taps, taps), a basis
    vector in the column of each free tap, zeros elsewhere.
    """
    A, (F, _, taps) = conditions.astype(np.float64), conditions.shape
    every, unused = np.arange(F), np.ones(A.shape[:2], np.bool_)
    pivot = np.full((F, taps), -1)
    for j in range(taps):
        row = (np.abs(A[:, :, j]) * unused).argmax(axis=1)
        value = A[every, row, j]
        found = (np.abs(value) > 1e-9) & unused[every, row]
        leading = A[every, row] / np.where(found, value, 1)[:, None]
        A -= np.where(found[:, None], A[:, :, j], 0)[:, :, None] * leading[:, None, :]
        A[every[found], row[found]] = leading[found]
        unused[every[found], row[found]] = False
        pivot[found, j] = row[found]
    free = kept & (pivot < 0)
    basis = np.eye(taps) * free[:, None, :]
    for i in range(taps):
        has = np.flatnonzero(pivot[:, i] >= 0)
        basis[has, i] -= A[has, pivot[has, i]] * free[has]
    whole = np.zeros_like(basis)
    missing = free.copy()
    for scale in SCALES:
        scaled = scale * basis
        good = missing & (np.abs(scaled - np.rint(scaled)).max(axis=1) < 1e-6)
        whole += np.rint(scaled) * good[:, None, :]
        missing &= ~good
    return whole


def _nearest(w: Floats, basis: Floats) -> Floats:
    """A point of each lattice near w: (F, taps).  basis: (F, taps, taps), columns of zeros left out."""
    squares = (basis**2).sum(axis=1)
    gram = basis.swapaxes(1, 2) @ basis
    gram[:, np.arange(w.shape[1]), np.arange(w.shape[1])] += squares == 0
    c = np.rint(np.linalg.solve(gram, np.einsum("fij,fi->fj", basis, w)[..., None])[..., 0])
    rest = w - np.einsum("fij,fj->fi", basis, c)
    for _ in range(SWEEPS):
        for j in range(w.shape[1]):
            move = np.rint((basis[:, :, j] * rest).sum(axis=1) / np.maximum(squares[:, j], 1))
            rest -= basis[:, :, j] * move[:, None]
    return np.asarray(np.rint(w - rest))
