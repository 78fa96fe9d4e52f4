"""Winograd (Cook-Toom) convolution: exact transforms for any F(m, r), and the convolution itself.

F(m, r) computes m outputs of an r-tap correlation with n = m + r - 1 multiplies (Winograd 1980;
Lavin & Gray, CVPR 2016).  With the filter g (r,) and the input tile d (n,),

    y = A^T [ (G g) * (B^T d) ],

and nested in two dimensions Y = A^T [ (G g G^T) * (B^T d B) ] A.

The matrices come from n - 1 finite interpolation points a_0, a_1, ... and the point at infinity:

    A^T[k, i] = a_i^k,                      and 1 at [m-1, n-1];
    G[i, k]   = a_i^k / |N_i|,              N_i = prod_{j != i} (a_i - a_j),  and 1 at [n-1, r-1];
    B^T[i]    = sign(N_i) * coefficients of prod_{j != i} (x - a_j),
    B^T[n-1]  = coefficients of prod_j (x - a_j).

The row scaling of G is a convention (any row of G may be multiplied by s if the same row of B^T is
divided by s) and a pruning threshold in the Winograd domain depends on it.  This is the scaling of
Lavin & Gray: for F(2, 3), G = [[1, 0, 0], [1/2, 1/2, 1/2], [1/2, -1/2, 1/2], [0, 0, 1]].

Rounding follows N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, section
3.1 (gamma_k), applied to these transforms as in B. Barabasz et al., Error Analysis and Improving
the Accuracy of Winograd Convolution for Deep Neural Networks, ACM TOMS 46(4), 2020; see
``error_bound``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import lcm, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Small and symmetric points keep the matrices' entries, and so the rounding errors, small.  The
# first five are those of Lavin & Gray for F(2, 3) and F(4, 3); the two quarters and fours were
# chosen among fractions of 1..4 for the smallest ``amplification`` at n = 9..12.  Up to n = 12 all
# are powers of two, so A and B hold no rounding error of their own.
POINTS = (
    *(Fraction(p) for p in (0, 1, -1, 2, -2)),
    *(Fraction(p) for p in ("1/2", "-1/2", "4", "-1/4", "-4", "1/4")),
    *(Fraction(p) for p in ("3/2", "-2/3", "-3/2", "2/3")),
)

Points = tuple[Fraction, ...]

# Winograd-domain values of a block of tiles stay in a core's cache.
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Transforms:
    """The three matrices of F(m, r): A_T (m, n), G (n, r),
    B_T (n, n), n = m + r - 1, as rows of Fractions.
    """

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
def cook_toom(m: int, r: int, points: Points | None = None) -> Transforms:
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
    G = []
    B_T = []
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
def matrices(
    m: int, r: int, dtype: np.dtype[Any], points: Points | None = None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (A_T (m, n), G (n, r), B_T (n, n)) of F(m, r), rounded to dtype and read-only."""
    t = cook_toom(m, r, points)
    rounded = tuple(np.array(rows, dtype=np.float64).astype(dtype) for rows in (t.A_T, t.G, t.B_T))
    for matrix in rounded:
        matrix.flags.writeable = False
    return rounded[0], rounded[1], rounded[2]


def transformed_bits(m: int, kernel: tuple[int, int], bits: int, points: Points | None = None) -> NDArray[np.int64]:
    """Bits that no transformed input of F(m x m, R x S) is beyond, scaled so that all are whole.

    (n_h, n_w).

    bits: of an input.  They grow by log2 of the sum of a row's magnitudes, for rows and for
    columns.  Raises ValueError as ``whole_transforms``.
    """
    gains = np.multiply.outer(*(whole_transforms(m, r, points).gains for r in kernel))
    return np.asarray([[bits + (int(gain) - 1).bit_length() for gain in row] for row in gains])


def transform_filters(w: NDArray[Any], m: int) -> NDArray[Any]:
    """G w G^T of each 2-D slice.

    w: (K, C, R, S) float -> (K, C, m + R - 1, m + S - 1), same dtype.
    """
    G_h, G_w = (matrices(m, r, w.dtype)[1] for r in w.shape[2:])
    return _filters(w, G_h, G_w)


def transform_inputs(
    x: NDArray[Any], m: int, r: tuple[int, int], padding: tuple[int, int], points: Points | None = None
) -> NDArray[Any]:
    """B^T d B of each tile.  x: (N, H, W, C) float -> (n_h, n_w, N, T_h, T_w, C), same dtype.

    The T_h x T_w = ceil(P / m) x ceil(Q / m) tiles step by m and overlap by r - 1; beyond the image
    they read zeros.
    """
    B_h, B_w = (matrices(m, taps, x.dtype, points)[2] for taps in r)
    return _transform_tiles(_pad_to_tiles(x, m, r, padding), m, B_h, B_w)


def transform_outputs(Y: NDArray[Any], m: int, r: tuple[int, int], size: tuple[int, int]) -> NDArray[Any]:
    """A^T Y A of each tile.

    Y: (n_h, n_w, N, T_h, T_w, K) float -> (N, P, Q, K), same dtype, cut to size (P, Q).
    """
    A_h, A_w = (matrices(m, taps, Y.dtype)[0] for taps in r)
    return np.ascontiguousarray(_inverse_tiles(Y, A_h, A_w)[:, : size[0], : size[1]])


def convolve(x: NDArray[Any], w: NDArray[Any], m: int, padding: tuple[int, int] = (0, 0)) -> NDArray[Any]:
    """Correlate x with w at stride 1 by F(m x m, R x S).

    x: (N, H, W, C) float, w: (K, C, R, S) float -> (N, P, Q, K), P = H + 2 padding - R + 1, Q
    likewise.
    Raises ValueError if an output would be empty, channels differ, or x or w is not floating point.
    """
    return convolve_transformed(x, transform_filters(_float(w), m), m, (w.shape[2], w.shape[3]), padding)


def convolve_transformed(
    x: NDArray[Any],
    W: NDArray[Any],
    m: int,
    r: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    points: Points | None = None,
) -> NDArray[Any]:
    """``convolve`` with r = (R, S) filters that are transformed already,
    and perhaps pruned: W (K, C, n_h, n_w) float.

    Raises ValueError as ``convolve`` does.
    """
    A, B = ([matrices(m, taps, _float(x).dtype, points)[i] for taps in r] for i in (0, 2))
    return _convolve(x, _float(W), m, padding, (A[0], A[1]), (B[0], B[1]))


def error_bound(x: NDArray[Any], w: NDArray[Any], m: int, padding: tuple[int, int] = (0, 0)) -> NDArray[np.float64]:
    """Largest rounding error of ``convolve(x, w, m, padding)``,
    for each output, whatever the order of its sums.

    |computed - exact| <= gamma_k sum_c |A^T| ( |G| |g| |G^T| * |B^T| |d| |B| ) |A|,    gamma_k = k
    u / (1 - k u),

    with u = eps / 2 of x's dtype.  k counts the roundings that any one product g d may pass
    through: R + S in the two filter transforms and 2 n_h + 2 n_w in the input and inverse
    transforms (a dot product of length l has one multiply and l - 1 adds), C for the element-wise
    product and the sum over channels, and 7 for the entries of the six matrices (one more than six,
    as float32 entries are rounded twice, by way of float64).  The matrices' norms make it grow with
    m (``amplification``).  Underflow is left out.

    x: (N, H, W, C) float, w: (K, C, R, S) float, one dtype -> (N, P, Q, K).  Raises ValueError as
    ``convolve`` does.
    """
    C = w.shape[1]
    R, S = w.shape[2:]
    k = R + S + 2 * (m + R - 1) + 2 * (m + S - 1) + C + 7
    ku = k * float(np.finfo(_float(x).dtype).eps) / 2
    (A_h, G_h, B_h), (A_w, G_w, B_w) = (
        [np.abs(matrix) for matrix in matrices(m, r, np.dtype(np.float64))] for r in (R, S)
    )
    W = _filters(np.abs(w.astype(np.float64)), G_h, G_w)
    magnitude = _convolve(np.abs(x.astype(np.float64)), W, m, padding, (A_h, A_w), (B_h, B_w))
    return np.asarray(magnitude * (ku / (1 - ku)))


def amplification(m: int, r: int, points: Points | None = None) -> Fraction:
    """max over outputs of |A^T| (|G| 1 * |B^T| 1):
    how much F(m, r) can enlarge the rounding error of data up to 1.

    The direct form has r.  Nested in two dimensions it is the product of both.  ``error_bound`` of
    all ones over gamma_k C equals it.
    """
    t = cook_toom(m, r, points)
    products = [sum(map(abs, g)) * sum(map(abs, b)) for g, b in zip(t.G, t.B_T, strict=True)]
    return max(sum((abs(a) * p for a, p in zip(row, products, strict=True)), start=Fraction(0)) for row in t.A_T)


def _float(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "f":
        raise ValueError(f"the transforms need floating-point arrays, got {array.dtype}")
    return array


def _filters(w: NDArray[Any], G_h: NDArray[Any], G_w: NDArray[Any]) -> NDArray[Any]:
    """G_h w G_w^T of each 2-D slice, as products with all slices at once."""
    K, C, R, S = w.shape
    columns = G_h @ w.transpose(2, 3, 0, 1).reshape(R, -1)
    W = G_w @ columns.reshape(len(G_h), S, K * C)
    return np.asarray(W.reshape(len(G_h), len(G_w), K, C).transpose(2, 3, 0, 1))


def _convolve(
    x: NDArray[Any],
    W: NDArray[Any],
    m: int,
    padding: tuple[int, int],
    A: tuple[NDArray[Any], NDArray[Any]],
    B: tuple[NDArray[Any], NDArray[Any]],
) -> NDArray[Any]:
    """The convolution on transformed filters W (K, C, n_h, n_w), n = m + r - 1."""
    K, C, n_h, n_w = W.shape
    r = (n_h - m + 1, n_w - m + 1)
    if x.shape[3] != C:
        raise ValueError(f"the input has {x.shape[3]} channels, the filters {C}")
    taps = np.ascontiguousarray(W.transpose(2, 3, 1, 0)).reshape(n_h * n_w, C, K)

    def multiply(V: NDArray[Any]) -> NDArray[Any]:
        Y = V.reshape(n_h * n_w, -1, C) @ taps
        return np.asarray(Y.reshape(*V.shape[:-1], K))

    out = np.empty((len(x), *output_size(x.shape, r, padding), K), np.result_type(x, W))
    return convolve_tiles(x, m, padding, (A, B), multiply, out)


def output_size(shape: tuple[int, ...], r: tuple[int, int], padding: tuple[int, int]) -> tuple[int, int]:
    """(P, Q) of a correlation at stride 1 of images (N, H, W, C).

    Raises ValueError if it would be empty.
    """
    P, Q = (size + 2 * pad - taps + 1 for size, pad, taps in zip(shape[1:3], padding, r, strict=True))
    if min(P, Q) < 1:
        size = f"{shape[1]} x {shape[2]}"
        kernel = f"{r[0]} x {r[1]}"
        raise ValueError(f"a {size} input padded by {padding} is smaller than the {kernel} filter")
    return P, Q


def convolve_tiles(
    x: NDArray[Any],
    m: int,
    padding: tuple[int, int],
    matrices_2d: tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]],
    multiply: Callable[[NDArray[Any]], NDArray[Any]],
    out: NDArray[Any],
) -> NDArray[Any]:
    """A correlation whose taps are multiplied by ``multiply``, block by block of images and rows of tiles, into out.

    x: (N, H, W, C).  matrices_2d: ((A_T of the height, of the width), (B_T of the height, of the
    width)).
    multiply: transformed inputs (n_h, n_w, N, T_h, T_w, C) -> taps' sums (n_h, n_w, N, T_h, T_w,
    K).
    out: (N, P, Q, K), which is filled and returned.
    """
    A, B = matrices_2d
    n_h = len(B[0])
    n_w = len(B[1])
    r = (n_h - m + 1, n_w - m + 1)
    padded = _pad_to_tiles(x, m, r, padding)
    P, Q, K = out.shape[1:]
    T_h = -(-P // m)
    T_w = -(-Q // m)
    row_bytes = n_h * n_w * T_w * max(x.shape[3], K) * out.itemsize
    rows = max(1, min(T_h, BLOCK_BYTES // row_bytes))
    images = max(1, BLOCK_BYTES // (row_bytes * rows)) if rows == T_h else 1
    for first in range(0, len(x), images):
        for top in range(0, T_h, rows):
            bottom = min(top + rows, T_h)
            band = padded[first : first + images, top * m : bottom * m + r[0] - 1]
            y = _inverse_tiles(multiply(_transform_tiles(band, m, *B)), *A)
            part = out[first : first + images, top * m : bottom * m]
            part[...] = y[:, : part.shape[1], :Q]
    return out


@dataclass(frozen=True, eq=False)
class WholeTransforms:
    """The matrices of F(m, r) that act on data, as whole numbers.

    What a machine of shifts and adders computes.

    Row i of B^T is 2^input_exponents[i] times cook_toom's, column i of A^T 2^output_exponents[i]
    times.
    """

    A_T: NDArray[np.int64]  # (m, n)
    B_T: NDArray[np.int64]  # (n, n)
    input_exponents: NDArray[np.int64]  # (n,)
    output_exponents: NDArray[np.int64]  # (n,)

    @property
    def gains(self) -> NDArray[np.int64]:
        """How many times the largest input each entry of B^T x can be: (n,)."""
        return np.asarray(np.abs(self.B_T).sum(axis=1))


@lru_cache(maxsize=256)
def whole_transforms(m: int, r: int, points: Points | None = None) -> WholeTransforms:
    """A^T and B^T of F(m, r) with each tap scaled by the least power of two that makes both whole.

    Raises ValueError if a denominator is no power of two: no shift makes up for it.
    """
    t = cook_toom(m, r, points)
    exponents = np.zeros((2, t.n), np.int64)
    A_T = np.zeros((m, t.n), np.int64)
    B_T = np.zeros((t.n, t.n), np.int64)
    for i in range(t.n):
        column = [row[i] for row in t.A_T]
        scales = [lcm(*(entry.denominator for entry in entries)) for entries in (column, t.B_T[i])]
        if any(scale & (scale - 1) for scale in scales):
            raise ValueError(f"F({m}, {r}) has points whose denominators are no powers of two")
        A_T[:, i] = [int(entry * scales[0]) for entry in column]
        B_T[i] = [int(entry * scales[1]) for entry in t.B_T[i]]
        exponents[:, i] = [scale.bit_length() - 1 for scale in scales]
    return WholeTransforms(A_T, B_T, input_exponents=exponents[1], output_exponents=exponents[0])


def _pad_to_tiles(x: NDArray[Any], m: int, r: tuple[int, int], padding: tuple[int, int]) -> NDArray[Any]:
    """x with its padding, and zeros to the right and below until whole tiles cover it."""
    N, H, W, C = x.shape
    pad_h, pad_w = padding
    R, S = r
    T_h = -(-(H + 2 * pad_h - R + 1) // m)
    T_w = -(-(W + 2 * pad_w - S + 1) // m)
    padded = np.zeros((N, T_h * m + R - 1, T_w * m + S - 1, C), x.dtype)
    padded[:, pad_h : pad_h + H, pad_w : pad_w + W] = x
    return padded


def _transform_tiles(padded: NDArray[Any], m: int, B_h: NDArray[Any], B_w: NDArray[Any]) -> NDArray[Any]:
    """B_h d B_w^T of the tiles of padded:
    (N, T_h m + R - 1, T_w m + S - 1, C) -> (n_h, n_w, N, T_h, T_w, C).
    """
    n_h = len(B_h)
    n_w = len(B_w)
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (n_h, n_w), axis=(1, 2))[:, ::m, ::m]
    d = np.ascontiguousarray(tiles.transpose(4, 5, 0, 1, 2, 3))
    columns = B_h @ d.reshape(n_h, -1)
    return np.asarray(B_w @ columns.reshape(n_h, n_w, -1)).reshape(d.shape)


def _inverse_tiles(Y: NDArray[Any], A_h: NDArray[Any], A_w: NDArray[Any]) -> NDArray[Any]:
    """A_h Y A_w^T of each tile.  Y: (n_h, n_w, N, T_h, T_w, K) -> (N, T_h m, T_w m, K)."""
    n_h, n_w, N, T_h, T_w, K = Y.shape
    m = len(A_h)
    columns = A_w @ Y.reshape(n_h, n_w, -1)
    y = np.asarray(A_h @ columns.reshape(n_h, -1)).reshape(m, m, N, T_h, T_w, K)
    return y.transpose(2, 3, 0, 4, 1, 5).reshape(N, T_h * m, T_w * m, K)
