"""Filters in whole numbers with given zeros in both domains.

Rounding each weight for itself would lose the zeros of W (``zero_patterns``), because weights that
cancel are rounded apart: what should be zero in W becomes as large as true entries, and a threshold
on |W| takes the wrong ones.  So filters whose zeros of W need weights that cancel are rounded to
whole multiples of the cell that lie in the space themselves, near the weights: whole coefficients
of a whole basis (Babai's rounding), improved one at a time.
"""

from collections.abc import Iterator

import numpy as np

from accelsim.arrays import Array, Flags, Floats, Ints, Levels
from accelsim.sparsity.zero_patterns import BLOCK, cancelling, whole_rows

SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 24)  # that may make a basis vector whole
SWEEPS = 3


def whole_with_zeros(w: Array, zero: Flags, zero_wd: Flags, kron: Array) -> Levels:
    """Whole numbers near the weights, with the given zeros in both domains.

    w: (K, C, R, S), in cells.  zero, zero_wd, kron: as for ``zero_pattern``.  Same shape as w.
    """
    taps = kron.shape[1]
    wanted = np.where(zero, 0, w).reshape(-1, taps).astype(np.float64)
    n = np.rint(wanted)
    for block, bases in _bound_bases(zero, zero_wd, kron):
        n[block] = _nearest(wanted[block], bases)
    return n.reshape(w.shape).astype(np.int32)


def whole_bases(zero: Flags, zero_wd: Flags | None = None, kron: Array | None = None) -> Floats:
    """Of each 2-D filter a basis, in whole numbers, of the space of filters with its zeros.

    zero, zero_wd, kron: as for ``zero_pattern``.
    Result: (F, taps, taps), a basis vector in the column of each free tap, zeros elsewhere.
    """
    taps = int(np.prod(zero.shape[2:]))
    bases = np.eye(taps) * ~zero.reshape(-1, 1, taps)
    if zero_wd is not None and kron is not None:
        for block, found in _bound_bases(zero, zero_wd, kron):
            bases[block] = found
    return bases


def _bound_bases(zero: Flags, zero_wd: Flags, kron: Array) -> Iterator[tuple[Ints, Floats]]:
    """(which, bases (F, taps, taps)), of filters whose zeros of W need weights that cancel.

    Block by block.
    """
    zero_w = zero.reshape(-1, kron.shape[1])
    zero_W = zero_wd.reshape(-1, len(kron))
    needed = cancelling(zero_w, zero_W, kron)
    rows = whole_rows(kron)
    bound = np.flatnonzero(needed.any(axis=1))
    for first in range(0, len(bound), BLOCK):
        block = bound[first : first + BLOCK]
        conditions = needed[block][:, :, None] * rows * ~zero_w[block][:, None, :]
        yield block, _whole_basis(conditions, ~zero_w[block])


def _whole_basis(conditions: Floats, nonzero: Flags) -> Floats:
    """A basis of { w : conditions w = 0 } in whole numbers, by Gauss-Jordan elimination.

    conditions: (F, rows, taps), whole.  nonzero: (F, taps) where w may differ from zero.
    Result: (F, taps, taps), a basis vector in the column of each free tap, zeros elsewhere.
    """
    F, _, taps = conditions.shape
    A = conditions.astype(np.float64)
    every = np.arange(F)
    unused = np.ones(A.shape[:2], np.bool_)
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
    free = nonzero & (pivot < 0)
    basis = np.eye(taps) * free[:, None, :]
    for i in range(taps):
        has = np.flatnonzero(pivot[:, i] >= 0)
        basis[has, i] -= A[has, pivot[has, i]] * free[has]
    return _made_whole(basis, free)


def _made_whole(basis: Floats, free: Flags) -> Floats:
    """Each basis vector times the smallest of ``SCALES`` that makes it whole.

    basis: (F, taps, taps), a vector in the column of each free tap.  free: (F, taps).
    """
    whole = np.zeros_like(basis)
    missing = free.copy()
    for scale in SCALES:
        scaled = scale * basis
        good = missing & (np.abs(scaled - np.rint(scaled)).max(axis=1) < 1e-6)
        whole += np.rint(scaled) * good[:, None, :]
        missing &= ~good
    return whole


def _nearest(w: Floats, basis: Floats) -> Floats:
    """A point of each lattice near w: (F, taps).

    basis: (F, taps, taps), columns of zeros left out.
    """
    taps = w.shape[1]
    squares = (basis**2).sum(axis=1)
    gram = basis.swapaxes(1, 2) @ basis
    gram[:, np.arange(taps), np.arange(taps)] += squares == 0
    c = np.rint(np.linalg.solve(gram, np.einsum("fij,fi->fj", basis, w)[..., None])[..., 0])
    rest = w - np.einsum("fij,fj->fi", basis, c)
    for _ in range(SWEEPS):
        for j in range(taps):
            move = np.rint((basis[:, :, j] * rest).sum(axis=1) / np.maximum(squares[:, j], 1))
            rest -= basis[:, :, j] * move[:, None]
    return np.asarray(np.rint(w - rest))
