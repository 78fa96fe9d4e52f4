"""Bit-true integer execution of one convolution.

What the registers of an int8 machine hold, in either domain.

Everything is a whole number times a power of two, so a machine needs shifts where a float datapath
has scales:

    spatial    y = 2^(e_x + e_w) sum over c, r, s of x[c, p + r, q + s] w[k, c, r, s]
    Winograd   y = 2^(e_x) A^T [ sum over c of 2^e[tap] (B^T x B)[tap, c] W[tap, k, c] ] A

x, w and W are int8; the Winograd-domain filters carry one exponent e for each tap, because the rows
of G, and with them the taps' ranges, differ by up to 36 (as tap-wise quantization does: R. Andri et
al., MICRO 2022, at 10 bits).  The transforms B^T and A^T of F(2, r) and F(4, r) hold whole numbers,
so V = B^T x B is exact: 10 bits for F(2, 3) and 15 for F(4, 3).  Each tap is accumulated at its own
scale; before the inverse transform it is shifted left by
e[tap] - min e, so that nothing is rounded before the last step, ``requantize``.

Left out: bias and activation function (they follow the array), and transforms with fractions (F(6,
3)).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Ints
from accelsim.dual.quantizer import dyadic
from accelsim.network.layers import Conv
from accelsim.transforms.winograd import cook_toom


@dataclass(frozen=True, eq=False)
class IntegerFilters:
    """Winograd-domain filters of F(m x m, R x S) as whole numbers.

    values: (K, C, n_h, n_w) int32, |values| < 2^(bits - 1).
    exponents: (n_h, n_w) int64; a tap's values stand for values 2^exponent.
    """

    m: int
    values: NDArray[np.int32]
    exponents: Ints

    @property
    def shifts(self) -> Ints:
        """Left shift of each tap's sum before the inverse transform.

        (n_h, n_w) int64, the least is 0.
        """
        return np.asarray(self.exponents - self.exponents.min())


def quantize_filters(W: NDArray[Any], m: int, bits: int = 8, spread: int = 12) -> IntegerFilters:
    """Pruned Winograd-domain filters as whole numbers, one exponent a tap.

    W: (K, C, n_h, n_w) float.  The mask is kept: zeros stay zero, non-zeros become at least one
    unit.
    spread: no tap's exponent lies further than this below the largest, which bounds the shifts.
    """
    n_h, n_w = W.shape[2:]
    exponents = np.zeros((n_h, n_w), np.int64)
    used = np.zeros((n_h, n_w), bool)
    for i, j in np.ndindex(n_h, n_w):
        used[i, j] = bool(W[:, :, i, j].any())
        exponents[i, j] = dyadic(W[:, :, i, j].astype(np.float32), bits)[1]
    largest = int(exponents[used].max()) if used.any() else 0
    exponents = np.where(used, np.maximum(exponents, largest - spread), largest)
    return IntegerFilters(m, _keep_mask(W, exponents), exponents)


def quantize_weights(w: NDArray[Any], bits: int = 8) -> tuple[NDArray[np.int32], int]:
    """Weights as whole numbers and their one exponent.

    The mask is kept as in ``quantize_filters``.
    """
    exponent = dyadic(w.astype(np.float32), bits)[1]
    return _keep_mask(w, np.int64(exponent)), exponent


def _keep_mask(w: NDArray[Any], exponents: Ints | np.int64) -> NDArray[np.int32]:
    """w / 2^exponents rounded, but no non-zero to zero."""
    scaled = w / 2.0**exponents
    rounded = np.rint(scaled)
    return np.where((rounded == 0) & (w != 0), np.sign(scaled), rounded).astype(np.int32)


def convolve(x: NDArray[Any], w: NDArray[Any], layer: Conv) -> Ints:
    """Exact integer correlation.

    x: (N, H, W, C) integer, w: (K, C / groups, R, S) integer -> (N, P, Q, K) int64.
    """
    R, S = layer.kernel
    stride_h, stride_w = layer.stride
    dil_h, dil_w = layer.dilation
    pad_h, pad_w = layer.padding
    G = layer.groups
    # Sums of integers below 2^53 are exact in float64, and BLAS is fast there.
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
    weight = w.astype(np.float64)
    H, W = padded.shape[1:3]
    P = (H - dil_h * (R - 1) - 1) // stride_h + 1
    Q = (W - dil_w * (S - 1) - 1) // stride_w + 1
    parts = []
    for x_g, w_g in zip(np.split(padded, G, axis=3), np.split(weight, G), strict=True):
        y = np.zeros((len(x), P, Q, len(w_g)))
        for r, s in np.ndindex(R, S):
            top = r * dil_h
            left = s * dil_w
            taken = x_g[
                :, top : top + (P - 1) * stride_h + 1 : stride_h, left : left + (Q - 1) * stride_w + 1 : stride_w
            ]
            y += taken @ w_g[:, :, r, s].T
        parts.append(y)
    return np.asarray(np.concatenate(parts, axis=3).astype(np.int64))


def integer_transforms(m: int, r: int) -> tuple[Ints, Ints]:
    """A^T (m, n) and B^T (n, n) of F(m, r) as whole numbers.

    Raises ValueError if they hold fractions.
    """
    t = cook_toom(m, r)
    if any(entry.denominator != 1 for matrix in (t.A_T, t.B_T) for row in matrix for entry in row):
        raise ValueError(f"the transforms of F({m}, {r}) hold fractions, so an integer machine cannot compute them")
    return np.array(t.A_T, dtype=np.int64), np.array(t.B_T, dtype=np.int64)


def convolve_winograd(
    x: NDArray[Any], filters: IntegerFilters, kernel: tuple[int, int], padding: tuple[int, int]
) -> Ints:
    """Exact integer Winograd correlation, at the scale of the smallest tap exponent.

    x: (N, H, W, C) integer -> (N, P, Q, K) int64; one unit is 2^(e_x + min exponent).
    Raises ValueError if the transforms of F(m, kernel) hold fractions.
    """
    A_h, A_w = (integer_transforms(filters.m, r)[0] for r in kernel)
    V = transform_tiles(x, filters.m, kernel, padding)
    M = accumulate_taps(V, filters)
    m = filters.m
    N, T_h, T_w, K = M.shape[2:]
    shifted = M << filters.shifts[:, :, None, None, None, None]
    y = np.einsum("ai,ijntuk,bj->ntaubk", A_h, shifted, A_w, optimize=True)
    P, Q = (x.shape[1 + axis] + 2 * padding[axis] - kernel[axis] + 1 for axis in (0, 1))
    return np.ascontiguousarray(y.reshape(N, T_h * m, T_w * m, K)[:, :P, :Q])


def transform_tiles(
    x: NDArray[Any],
    m: int,
    kernel: tuple[int, int],
    padding: tuple[int, int],
) -> Ints:
    """B^T d B of each tile.  x: (N, H, W, C) integer -> (n_h, n_w, N, T_h, T_w, C) int64."""
    N, H, W, C = x.shape
    R, S = kernel
    pad_h, pad_w = padding
    B_h = integer_transforms(m, R)[1]
    B_w = integer_transforms(m, S)[1]
    T_h = -(-(H + 2 * pad_h - R + 1) // m)
    T_w = -(-(W + 2 * pad_w - S + 1) // m)
    padded = np.zeros((N, T_h * m + R - 1, T_w * m + S - 1, C), np.int64)
    padded[:, pad_h : pad_h + H, pad_w : pad_w + W] = x
    size = (m + R - 1, m + S - 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))[:, ::m, ::m]
    return np.asarray(np.einsum("ir,ntucrs,js->ijntuc", B_h, windows, B_w, optimize=True))


def accumulate_taps(V: Ints, filters: IntegerFilters) -> Ints:
    """Sum over channels, tap by tap.

    V: (n_h, n_w, N, T_h, T_w, C) -> (n_h, n_w, N, T_h, T_w, K) int64.
    """
    taps = filters.values.transpose(2, 3, 1, 0).astype(np.float64)  # exact below 2^53
    return np.asarray((V.astype(np.float64) @ taps[:, :, None, None]).astype(np.int64))


def requantize(y: Ints, shift: int, bits: int = 8) -> NDArray[np.int8]:
    """y 2^-shift rounded half up and saturated to ``bits`` signed bits (at most 8), as an output path does.

    Raises ValueError if the shift is negative or there are more than 8 bits.
    """
    if shift < 0 or not 2 <= bits <= 8:
        raise ValueError(f"requantize by a shift of {shift} to {bits} bits, expected a shift >= 0 and 2..8 bits")
    half = (1 << shift) >> 1
    limit = 1 << (bits - 1)
    return np.asarray(np.clip((y + half) >> shift, -limit, limit - 1).astype(np.int8))


def output_shift(y: Ints, bits: int = 8) -> int:
    """The least shift after which ``requantize`` saturates nothing."""
    largest = int(np.abs(y).max(initial=0))
    shift = 0
    while (largest + ((1 << shift) >> 1)) >> shift > (1 << (bits - 1)) - 1:
        shift += 1
    return shift
