"""Convolution forward and backward on one block of images.

It is computed as few large matrix products on data that stays in cache.

A block is (C, H, W, N): channels first, the few images of the block innermost.  Shifting an image
by one pixel is then a copy of long runs, and shifting it by one row is no copy at all but an
offset.  So of the R x S shifted copies that im2col makes, only S are made here ("rows"), and the
convolution is R products

    y = sum_i  w_i (K, S C) @ rows[:, offset_i : offset_i + P Q N].

Rows of a strided convolution are stored by phase (row index modulo stride), so that they too are
plain offsets.
The columns of these products are cut into pieces that BLAS multiplies as they lie: OpenBLAS copies
both matrices of a product into an order of its own first, unless the product has at most a million
multiplications, and for few channels that copy takes as long as the product (16 channels, AMD EPYC
9004: 39 GFLOP/s whole, 83 in pieces).
Large kernels on few input channels (a network's first layer) make thin products that only move y
about; there the R tap rows are copied one below the other, strip by strip of the columns, for one
product.
Leaves out: anything that a block larger than the cache would need (cut the batch into smaller
blocks instead).
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.training.kernels.geometry import Geometry

# multiplications of the largest product that OpenBLAS computes without packing
UNPACKED = 1_000_000


def pack_weights(weight: Array, g: Geometry, xp: Any = np) -> Array:
    """The matrices that ``convolve`` multiplies with.

    weight: (K, C / G, R, S) -> (R, G, K / G, S C / G).
    """
    w = weight.reshape(g.G, g.K // g.G, g.C // g.G, g.R, g.S).transpose(3, 0, 1, 4, 2)
    packed: Array = xp.ascontiguousarray(w).reshape(g.R, g.G, g.K // g.G, -1)
    return packed


def pack_reversed(weight: Array, g: Geometry, xp: Any = np) -> Array:
    """weight: (K, C / G, R, S) -> the matrices of ``g.reversed``: (R, G, C / G, S K / G)."""
    w = weight.reshape(g.G, g.K // g.G, g.C // g.G, g.R, g.S)[..., ::-1, ::-1].transpose(3, 0, 2, 4, 1)
    packed: Array = xp.ascontiguousarray(w).reshape(g.R, g.G, g.C // g.G, -1)
    return packed


def unpack_gradient(packed: Array, g: Geometry) -> Array:
    """packed: (R, G, S C / G, K / G) -> (K, C / G, R, S)."""
    w = packed.reshape(g.R, g.G, g.S, g.C // g.G, g.K // g.G).transpose(1, 4, 3, 0, 2)
    return w.reshape(g.K, g.C // g.G, g.R, g.S)


def _spans(g: Geometry, phase: int, s: int) -> tuple[slice, slice, slice, slice]:
    """Where tap column s of a phase reads the image.

    (rows stored, rows read, columns stored, columns read).
    """
    spans = []
    for first, step, size, count in (
        (phase - g.padding[0], g.stride[0], g.H, g.stored_rows),
        (s * g.dilation[1] - g.padding[1], g.stride[1], g.W, g.Q),
    ):
        low = max(0, -(first // step))  # the first index that falls inside the image
        high = max(low, min(count, -((first - size) // step)))
        spans += [slice(low, high), slice(first + low * step, max(0, first + (high - 1) * step + 1), step)]
        if high == low:
            spans[-1] = slice(0, 0)
    return spans[0], spans[1], spans[2], spans[3]


def gather_rows(x: Array, g: Geometry, rows: Array) -> Array:
    """Fill ``rows``, whose padding already is zero, from x, and return it.

    rows: ``g.rows_shape``.  x: (C, H, W, N).
    """
    if g.is_matrix:
        return x.reshape(g.rows_shape)
    image = x.reshape(g.G, g.C // g.G, g.H, g.W, g.N)
    for phase in range(g.stride[0]):
        for s in range(g.S):
            to_h, from_h, to_w, from_w = _spans(g, phase, s)
            rows[phase, :, s, :, to_h, to_w] = image[:, :, from_h, from_w]
    return rows


@cache
def _pieces(columns: int, multiplications: int, least: int) -> int:
    """Columns a product: the most that stay ``UNPACKED``, or all of them if under least.

    At so many multiplications a column.
    """
    most = max(n for n in range(1, columns + 1) if columns % n == 0 and (n == 1 or n * multiplications <= UNPACKED))
    return most if most >= least else columns


def _cut(matrix: Array, columns: int) -> Array:
    """A view of (M, L) as (L / columns, M, columns).

    One ``matmul`` on it makes many small products.
    """
    return matrix.reshape(len(matrix), -1, columns).transpose(1, 0, 2)


def _tap(rows: Array, g: Geometry, i: int, group: int) -> Array:
    """The matrix (S C / G, P Q N) that tap row i multiplies: a view."""
    offset, phase = divmod(i * g.dilation[0], g.stride[0])
    flat: Array = rows[phase, group].reshape(g.S * (g.C // g.G), -1)
    return flat[:, offset * g.Q * g.N : (offset + g.P) * g.Q * g.N]


def _stacked(rows: Array, g: Geometry, group: int, scratch: Array) -> Iterator[tuple[slice, Array]]:
    """Strip by strip, its columns, and all tap rows one below the other.

    The latter (R S C / G, columns), copied into scratch.
    """
    taps = [_tap(rows, g, i, group) for i in range(g.R)]
    copy = scratch[: g.R * len(taps[0]) * g.strip].reshape(g.R, -1, g.strip)
    for first in range(0, g.P * g.Q * g.N, g.strip):
        columns = slice(first, first + g.strip)
        for i, tap in enumerate(taps):
            copy[i] = tap[:, columns]
        yield columns, copy.reshape(-1, g.strip)


def convolve(
    rows: Array,
    packed: Array,
    g: Geometry,
    out: Array,
    scratch: Array,
    xp: Any = np,
) -> None:
    """out (K, P, Q, N) = the convolution of gathered rows.

    packed: ``pack_weights``; scratch: (g.scratch_size,).
    """
    y = out.reshape(g.G, g.K // g.G, -1)
    if g.is_thin:
        for group in range(g.G):
            w = xp.ascontiguousarray(packed[:, group].transpose(1, 0, 2)).reshape(g.K // g.G, -1)
            for columns, stack in _stacked(rows, g, group, scratch):
                xp.matmul(w, stack, out=y[group][:, columns])
        return
    n = _pieces(y.shape[2], packed[0, 0].size, 32)
    product = scratch[: y[0].size].reshape(y[0].shape)
    for group in range(g.G):
        xp.matmul(packed[0, group], _cut(_tap(rows, g, 0, group), n), out=_cut(y[group], n))
        for i in range(1, g.R):
            xp.matmul(packed[i, group], _cut(_tap(rows, g, i, group), n), out=_cut(product, n))
            y[group] += product


def weight_gradient(
    rows: Array,
    dy: Array,
    g: Geometry,
    out: Array,
    scratch: Array,
    xp: Any = np,
) -> None:
    """out (R, G, S C / G, K / G) = the gradient of the weights.

    dy: (K, P, Q, N); scratch: (g.scratch_size,).

    BLAS is faster with the longer side (S C / G) first.
    """
    d = dy.reshape(g.G, g.K // g.G, -1)
    if g.is_thin:
        out[...] = 0
        for group in range(g.G):
            for columns, stack in _stacked(rows, g, group, scratch):
                out[:, group] += xp.matmul(stack, d[group][:, columns].T).reshape(g.R, -1, g.K // g.G)
        return
    n = _pieces(d.shape[2], out[0, 0].size, 256)
    for group in range(g.G):
        for i in range(g.R):
            tap = _tap(rows, g, i, group)
            if n == d.shape[2]:
                xp.matmul(tap, d[group].T, out=out[i, group])
            else:
                xp.matmul(_cut(tap, n), _cut(d[group], n).transpose(0, 2, 1)).sum(axis=0, out=out[i, group])


def row_gradient(
    dy: Array,
    packed: Array,
    g: Geometry,
    rows: Array,
    scratch: Array,
    xp: Any = np,
) -> None:
    """Fill rows (``g.rows_shape``) with the gradient of the tap rows.

    The transpose of ``convolve``.

    scratch: (S C / G, P Q N).  Where ``g.reversible``, the reversed convolution is faster.
    """
    d = dy.reshape(g.G, g.K // g.G, -1)
    n = _pieces(d.shape[2], packed[0, 0].size, 32)
    rows[...] = 0
    for group in range(g.G):
        for i in range(g.R):
            xp.matmul(packed[i, group].T, _cut(d[group], n), out=_cut(scratch, n))
            _tap(rows, g, i, group)[...] += scratch


def scatter_rows(rows: Array, g: Geometry, dx: Array) -> None:
    """dx (C, H, W, N) = the gradient of the input from that of its tap rows.

    The transpose of ``gather_rows``, for any stride.
    """
    image = dx.reshape(g.G, g.C // g.G, g.H, g.W, g.N)
    image[...] = 0
    for phase in range(g.stride[0]):
        for s in range(g.S):
            to_h, from_h, to_w, from_w = _spans(g, phase, s)
            image[:, :, from_h, from_w] += rows[phase, :, s, :, to_h, to_w]
