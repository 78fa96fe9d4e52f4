"""Winograd (Cook-Toom) convolution: exact transforms for any F(m, r), and the convolution itself.

F(m, r) computes m outputs of an r-tap correlation with n = m + r - 1 multiplies (Winograd 1980; Lavin & Gray,
CVPR 2016).  With the filter g (r,) and the input tile d (n,),

    y = A^T [ (G g) * (B^T d) ],

and nested in two dimensions Y = A^T [ (G g G^T) * (B^T d B) ] A.

The matrices come from n - 1 finite interpolation points a_0, a_1, ... and the point at infinity:

    A^T[k, i] = a_i^k,                      and 1 at [m-1, n-1];
    G[i, k]   = a_i^k / |N_i|,              N_i = prod_{j != i} (a_i - a_j),  and 1 at [n-1, r-1];
    B^T[i]    = sign(N_i) * coefficients of prod_{j != i} (x - a_j),
    B^T[n-1]  = coefficients of prod_j (x - a_j).

The row scaling of G is a convention (any row of G may be multiplied by s if the same row of B^T is divided by s) and
a pruning threshold in the Winograd domain depends on it.  This is the scaling of Lavin & Gray: for F(2, 3),
G = [[1, 0, 0], [1/2, 1/2, 1/2], [1/2, -1/2, 1/2], [0, 0, 1]].
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Small and symmetric points keep the matrices' entries, and so the rounding errors, small.
POINTS = tuple(
    Fraction(p)
    for p in (
        "0",
        "1",
        "-1",
        "2",
        "-2",
        "1/2",
        "-1/2",
        "3/2",
        "-3/2",
        "2/3",
        "-2/3",
        "3",
        "-3",
        "1/3",
        "-1/3",
    )
)


@dataclass(frozen=True)
class Transforms:
    """The three matrices of F(m, r): A_T (m, n), G (n, r), B_T (n, n), n = m + r - 1, as rows of Fractions."""

    m: int
    r: int
    A_T: tuple[tuple[Fraction, ...], ...]
    G: tuple[tuple[Fraction, ...], ...]
    B_T: tuple[tuple[Fraction, ...], ...]

    @property
    def n(self) -> int:
        """Inputs a tile, and multiplies a 1-D tile: m + r - 1."""
        return self.m + self.r - 1


@lru_cache(maxsize=256)
def cook_toom(m: int, r: int, points: tuple[Fraction, ...] | None = None) -> Transforms:
    """Return the exact matrices of F(m, r).

    points: the n - 1 finite interpolation points, distinct; by default the first of ``POINTS``.
    Raises ValueError if m or r is below 1, or the points are too few or not distinct.
    """
    if m < 1 or r < 1:
        raise ValueError(f"F(m, r) needs m >= 1 and r >= 1, got F({m}, {r})")
    n = m + r - 1
    a = (POINTS if points is None else points)[: n - 1]
    if len(a) < n - 1 or len(set(a)) < len(a):
        raise ValueError(f"F({m}, {r}) needs {n - 1} distinct points, got {len(set(a))}")
    A_T = tuple(tuple(x**k for x in a) + (Fraction(k == m - 1),) for k in range(m))
    G, B_T = [], []
    for i, x in enumerate(a):
        others = a[:i] + a[i + 1 :]
        N = prod((x - y for y in others), start=Fraction(1))
        G.append(tuple(x**k / abs(N) for k in range(r)))
        B_T.append(tuple((1 if N > 0 else -1) * c for c in (*_polynomial(others), Fraction(0))))
    G.append(tuple(Fraction(k == r - 1) for k in range(r)))
    B_T.append(_polynomial(a))
    return Transforms(m, r, A_T, tuple(G), tuple(B_T))


def _polynomial(roots: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Coefficients of prod (x - root), lowest power first."""
    c = [Fraction(1)]
    for root in roots:
        c = [low - root * high for low, high in zip([Fraction(0), *c], [*c, Fraction(0)], strict=True)]
    return tuple(c)


@lru_cache(maxsize=256)
def matrices(m: int, r: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (A_T (m, n), G (n, r), B_T (n, n)) of F(m, r), rounded to dtype and read-only."""
    t = cook_toom(m, r)
    rounded = tuple(np.array(rows, dtype=np.float64).astype(dtype) for rows in (t.A_T, t.G, t.B_T))
    for matrix in rounded:
        matrix.flags.writeable = False
    return rounded[0], rounded[1], rounded[2]


def transform_filters(w: NDArray[Any], m: int) -> NDArray[Any]:
    """G w G^T of each 2-D slice.  w: (K, C, R, S) float -> (K, C, m + R - 1, m + S - 1), same dtype."""
    G_h, G_w = (matrices(m, r, w.dtype)[1] for r in w.shape[2:])
    return np.asarray(G_h @ w @ G_w.T)


def transform_inputs(x: NDArray[Any], m: int, r: tuple[int, int], padding: tuple[int, int]) -> NDArray[Any]:
    """B^T d B of each tile.  x: (N, H, W, C) float -> (n_h, n_w, N, T_h, T_w, C), same dtype.

    The T_h x T_w = ceil(P / m) x ceil(Q / m) tiles step by m and overlap by r - 1; beyond the image they read zeros.
    """
    N, H, W, C = x.shape
    (n_h, n_w), (pad_h, pad_w) = (m + r[0] - 1, m + r[1] - 1), padding
    T_h, T_w = -(-(H + 2 * pad_h - r[0] + 1) // m), -(-(W + 2 * pad_w - r[1] + 1) // m)
    padded = np.zeros((N, T_h * m + r[0] - 1, T_w * m + r[1] - 1, C), x.dtype)
    height, width = min(H, padded.shape[1] - pad_h), min(W, padded.shape[2] - pad_w)
    padded[:, pad_h : pad_h + height, pad_w : pad_w + width] = x[:, :height, :width]
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (n_h, n_w), axis=(1, 2))[:, ::m, ::m]
    B_h, B_w = matrices(m, r[0], x.dtype)[2], matrices(m, r[1], x.dtype)[2]
    rows = np.tensordot(B_h, tiles, axes=(1, 4))  # (n_h, N, T_h, T_w, C, n_w)
    return np.moveaxis(rows @ B_w.T, -1, 1)


def transform_outputs(Y: NDArray[Any], m: int, r: tuple[int, int], size: tuple[int, int]) -> NDArray[Any]:
    """A^T Y A of each tile.  Y: (n_h, n_w, N, T_h, T_w, K) float -> (N, P, Q, K), same dtype, cut to size (P, Q)."""
    A_h, A_w = matrices(m, r[0], Y.dtype)[0], matrices(m, r[1], Y.dtype)[0]
    y = np.tensordot(A_h, np.tensordot(A_w, Y, axes=(1, 1)), axes=(1, 1))  # (m, m, N, T_h, T_w, K)
    _, _, N, T_h, T_w, K = y.shape
    y = y.transpose(2, 3, 0, 4, 1, 5).reshape(N, T_h * m, T_w * m, K)
    return np.ascontiguousarray(y[:, : size[0], : size[1]])


def convolve(
    x: NDArray[Any],
    w: NDArray[Any],
    m: int,
    padding: tuple[int, int] = (0, 0),
    prune: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> NDArray[Any]:
    """Correlate x with w at stride 1 by F(m x m, R x S), optionally on pruned Winograd-domain filters.

    x: (N, H, W, C) float, w: (K, C, R, S) float -> (N, P, Q, K), P = H + 2 padding - R + 1, Q likewise.
    prune: maps the transformed filters (K, C, n_h, n_w) to the ones that are used; by default all of them.
    Raises ValueError if an output would be empty.
    """
    r = (w.shape[2], w.shape[3])
    size = (x.shape[1] + 2 * padding[0] - r[0] + 1, x.shape[2] + 2 * padding[1] - r[1] + 1)
    if min(size) < 1:
        raise ValueError(f"a {x.shape[1]} x {x.shape[2]} input padded by {padding} is smaller than the {r} filter")
    W = transform_filters(w, m)
    if prune is not None:
        W = prune(W)
    V = transform_inputs(x, m, r, padding)
    n_h, n_w, N, T_h, T_w, C = V.shape
    Y = V.reshape(n_h, n_w, N * T_h * T_w, C) @ W.transpose(2, 3, 1, 0)
    return transform_outputs(Y.reshape(n_h, n_w, N, T_h, T_w, -1), m, r, size)


def additions(matrix: tuple[tuple[Fraction, ...], ...]) -> int:
    """Adders that one matrix-vector product needs, row by row: non-zero entries less one (shifts are wiring)."""
    return sum(sum(entry != 0 for entry in row) - 1 for row in matrix)
