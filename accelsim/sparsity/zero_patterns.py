"""Zeros of both domains made exact: the linear space of the filters that have them.

A 2-D filter w, as a vector, has the transform W = kron w (``joint``).  Given zeros of w and of W
are zeros of both if and only if w lies in the linear space { w : w_i = 0, (kron w)_j = 0 }.
Weights projected onto it have no small Winograd-domain entries, only zeros: pruning in either
domain loses nothing.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Flags, Floats, Ints
from accelsim.threads import on_all_cores

BLOCK = 1 << 14  # filters worked on at a time


@dataclass(frozen=True)
class ZeroPattern:
    """The zeros of one layer's filters, in both domains."""

    mask: Array  # (K, C, R, S) float32, 0 where a weight is zero, else 1
    bound: Ints  # (F,) which 2-D filters have zeros of W that need weights that cancel
    projectors: Array  # (F, R S, R S) float32, onto the space of each of these

    def project(self, weights: Array) -> None:
        """Move the weights to the nearest ones with the zeros, in place.

        weights: (K, C, R, S), contiguous.
        """
        weights *= self.mask
        if len(self.bound):
            filters = weights.reshape(-1, self.projectors.shape[1])
            filters[self.bound] = np.einsum("fij,fj->fi", self.projectors, filters[self.bound])


def zero_pattern(
    zero: Flags,
    zero_wd: Flags | None = None,
    kron: Array | None = None,
) -> ZeroPattern:
    """The zeros of one layer.

    zero: (K, C, R, S) where w is zero.  zero_wd: (K, C, n_h, n_w) where W is.  kron: (n_h n_w, R
    S).
    """
    mask = (~zero).astype(np.float32)
    if zero_wd is None or kron is None:
        return ZeroPattern(mask, np.empty(0, np.int64), np.empty((0, 0, 0), np.float32))
    taps = kron.shape[1]
    zero_w = zero.reshape(-1, taps)
    zero_W = zero_wd.reshape(-1, len(kron))
    bound = np.flatnonzero(cancelling(zero_w, zero_W, kron).any(axis=1))
    rows = whole_rows(kron)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    products = np.einsum("ai,aj->aij", rows, rows).reshape(len(rows), -1)
    projectors = np.empty((len(bound), taps, taps), np.float32)

    def fill(some: slice) -> None:
        block = bound[some]
        conditions = (zero_W[block] @ products).reshape(-1, taps, taps)
        conditions[:, np.arange(taps), np.arange(taps)] += zero_w[block]
        eigenvalues, vectors = np.linalg.eigh(conditions)
        free = vectors * (eigenvalues < 1e-8)[:, None, :]
        projector = free @ free.swapaxes(1, 2)
        projectors[some] = np.where(np.abs(projector) < 1e-9, 0, projector)

    on_all_cores(fill, [slice(first, first + BLOCK) for first in range(0, len(bound), BLOCK)])
    return ZeroPattern(mask, bound, projectors)


def whole_rows(kron: Array) -> Floats:
    """The rows of kron in whole numbers, exactly.

    Each is made of products of powers of a small interpolation point, or of its inverse.
    """
    magnitudes = np.abs(kron).astype(np.float64)
    smallest = np.where(magnitudes > 0, magnitudes, np.inf).min(axis=1, keepdims=True)
    return np.asarray(np.rint(kron / smallest))


def cancelling(zero_w: Flags, zero_W: Flags, kron: Array) -> Flags:
    """Which zeros of W need weights that cancel, for a weight that is not zero enters there.

    zero_w: (F, R S) where w is zero.  zero_W: (F, n_h n_w) where W is.  Result: as zero_W.
    """
    entering = (~zero_w).astype(np.float32) @ (kron != 0).T.astype(np.float32)
    return np.asarray(zero_W & (entering > 0))
