"""Exact integer execution of a convolution in pieces by Winograd, as ``transforms.decomposition`` cuts it.

Each piece runs through F(m x m, its size) on its own image, the outputs are added up.  The matrices
of F(m, r) hold fractions; each is multiplied by the common denominator of its entries, so that
everything is a whole number, and the outputs divide by the product of the denominators without
remainder.  So the result is the direct convolution's, digit for digit, whatever the stride and the
kernel.

Left out: rounding to a machine's word widths (``accelsim.datapath.integer`` has those for F(2, r)
and F(4, 3)).
"""

from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.transforms.decomposition import KernelPiece, pieces
from accelsim.transforms.winograd import cook_toom

Whole = NDArray[np.object_]


def convolve_in_pieces(
    x: NDArray[Any],
    w: NDArray[Any],
    m: int,
    stride: tuple[int, int],
    padding: tuple[int, int],
    largest: int | None = None,
) -> NDArray[np.int64]:
    """Correlate at a stride by Winograd.

    x: (N, H, W, C) integer, w: (K, C, R, S) integer -> (N, P, Q, K) int64.

    largest: taps a side that a piece has at most.  Python's whole numbers throughout, so slow and
    without overflow.  Raises ValueError if an output would be empty, or F(m, r) of a piece lacks
    interpolation points.
    """
    kernel = (w.shape[2], w.shape[3])
    padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    size = [(n - r) // s + 1 for n, r, s in zip(padded.shape[1:3], kernel, stride, strict=True)]
    if min(size) < 1:
        raise ValueError(f"an input of {x.shape[1:3]} with padding {padding} is smaller than the kernel {kernel}")
    total = np.zeros((len(x), *size, len(w)), object)
    for piece in pieces(kernel, stride, largest):
        total += _piece(padded, w, m, piece, (size[0], size[1]))
    return total.astype(np.int64)


def _piece(
    padded: NDArray[Any],
    w: NDArray[Any],
    m: int,
    piece: KernelPiece,
    size: tuple[int, int],
) -> Whole:
    """One piece's share of the outputs: (N, P, Q, K)."""
    (A_h, G_h, B_h), scale_h = _whole(m, piece.size[0])
    (A_w, G_w, B_w), scale_w = _whole(m, piece.size[1])
    n_h = len(B_h)
    n_w = len(B_w)
    tiles = [-(-outputs // m) for outputs in size]
    image = padded[:, piece.start[0] :: piece.step[0], piece.start[1] :: piece.step[1]]
    # Zeros beyond the image until whole tiles cover it; inputs beyond the last tile are not needed.
    high, wide = (t * m + r - 1 for t, r in zip(tiles, piece.size, strict=True))
    covered = np.zeros((len(image), high, wide, image.shape[3]), object)
    taken = image[:, :high, :wide]
    covered[:, : taken.shape[1], : taken.shape[2]] = taken
    # (N, T, U, C, n, n)
    d = np.lib.stride_tricks.sliding_window_view(covered, (n_h, n_w), axis=(1, 2))[:, ::m, ::m]
    V = B_h @ d @ B_w.T
    W = G_h @ w[:, :, *piece.window].astype(object) @ G_w.T
    M = np.stack([(V * filters).sum(axis=3) for filters in W], axis=3)  # (N, T, U, K, n, n)
    y = A_h @ M @ A_w.T
    N, T, U, K = y.shape[:4]
    whole = y.transpose(0, 1, 4, 2, 5, 3).reshape(N, T * m, U * m, K)[:, : size[0], : size[1]]
    quotient = whole // (scale_h * scale_w)
    if (quotient * (scale_h * scale_w) != whole).any():
        raise ArithmeticError(f"F({m}, r) of a piece {piece} left a remainder")
    return np.asarray(quotient)


def _whole(m: int, r: int) -> tuple[tuple[Whole, Whole, Whole], int]:
    """A^T, G, B^T of F(m, r) as whole numbers, and the product of what they were multiplied by."""
    t = cook_toom(m, r)
    scale = 1
    matrices = []
    for matrix in (t.A_T, t.G, t.B_T):
        denominator = lcm(*(entry.denominator for row in matrix for entry in row))
        scale *= denominator
        matrices.append(np.array([[int(Fraction(entry) * denominator) for entry in row] for row in matrix], object))
    return (matrices[0], matrices[1], matrices[2]), scale
