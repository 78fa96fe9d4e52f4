"""Pooling: the largest value or the mean of each window."""

from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.network.layers import AveragePool, GlobalAveragePool, MaxPool
from accelsim.training.ops.base import Op, Phase


class GlobalAveragePoolOp(Op):
    """Mean over the image."""

    def __init__(self, _layer: GlobalAveragePool, *args: Any):
        super().__init__(*args)
        self.y = self.new(self.xs[0].shape[1], 1, 1)
        self.area = np.float32(self.xs[0].shape[2] * self.xs[0].shape[3])

    def forward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            self.y[b] = self.xs[0][b].sum(axis=(1, 2), keepdims=True) / self.area

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            self.dx(b)[...] = self.dy[b] / self.area

        return [Phase(run)]


def _extent(layer: MaxPool | AveragePool, height: int, width: int) -> tuple[int, int]:
    """Size of the padded image: all that a window reaches."""
    P, Q, _ = layer.output_shape(((height, width, 1),))
    H, W = (
        max((out - 1) * s + k, size + p)
        for out, s, k, size, p in zip((P, Q), layer.stride, layer.kernel, (height, width), layer.padding, strict=True)
    )
    return H, W


class MaxPoolOp(Op):
    """The largest value of each window: over the columns of each row first, then over the rows.

    The padded image is held by column modulo stride, so that every tap of a window is a view with
    long runs; a few channels at a time, so that it stays in the cache.
    """

    cached_floats = 1 << 16  # of the padded image

    def __init__(self, layer: MaxPool, *args: Any):
        super().__init__(*args)
        C, H, W = self.xs[0].shape[1:4]
        P, Q, _ = layer.output_shape(((H, W, C),))
        self.y = self.new(C, P, Q)
        self.kernel = layer.kernel
        self.stride = layer.stride
        self.padding = layer.padding
        self.size = (P, Q)
        height, width = _extent(layer, H, W)
        s = layer.stride[1]
        most = max(1, self.cached_floats // (height * width * self.images))
        c = max(n for n in range(1, C + 1) if C % n == 0 and n <= most)
        self.parts = [slice(first, first + c) for first in range(0, C, c)]
        self.padded = self.scratch("max pool", (c, height, s, -(-width // s), self.images), layer)
        for padded in self.padded:
            padded[...] = -np.inf  # what lies outside the image stays so
        self.columns = self.scratch("max of columns", (c, height, Q, self.images))

    def allocate_gradients(self, wanted: list[bool]) -> None:
        super().allocate_gradients(wanted)
        self.d_padded = self.scratch("max pool gradient", self.padded[0].shape)
        self.d_columns = self.scratch("max of columns gradient", self.columns[0].shape)

    def _phases(self, padded: Array, image: Array) -> list[tuple[Array, Array]]:
        """The part of ``padded`` that lies inside the image, and the image's.

        For each column modulo stride.
        """
        p_h, p_w = self.padding
        s = self.stride[1]
        _, H, W, _ = image.shape
        pairs = []
        for phase in range(s):
            column = (phase - p_w) % s  # the first one of the image
            first = (column + p_w) // s
            count = len(range(column, W, s))
            pairs.append((padded[:, p_h : p_h + H, phase, first : first + count], image[:, :, column::s]))
        return pairs

    def _column_taps(self, padded: Array) -> list[Array]:
        Q = self.size[1]
        s = self.stride[1]
        return [padded[:, :, j % s, j // s : j // s + Q] for j in range(self.kernel[1])]

    def _row_taps(self, columns: Array) -> list[Array]:
        P = self.size[0]
        s = self.stride[0]
        return [columns[:, i : i + (P - 1) * s + 1 : s] for i in range(self.kernel[0])]

    def forward(self) -> list[Phase]:
        return [Phase(self._forward)]

    def backward(self) -> list[Phase]:
        return [Phase(self._backward)]

    def _maximum(self, taps: list[Array], out: Array) -> None:
        if len(taps) == 1:
            out[...] = taps[0]
            return
        self.xp.maximum(taps[0], taps[1], out=out)
        for tap in taps[2:]:
            self.xp.maximum(tap, out, out=out)

    def _fill(self, x: Array, t: int) -> None:
        for inside, image in self._phases(self.padded[t], x):
            inside[...] = image
        self._maximum(self._column_taps(self.padded[t]), self.columns[t])

    def _forward(self, b: int, t: int) -> None:
        for part in self.parts:
            self._fill(self.xs[0][b, part], t)
            self._maximum(self._row_taps(self.columns[t]), self.y[b, part])

    def _share(
        self,
        taps: list[Array],
        largest: Array,
        d_taps: list[Array],
        d_largest: Array,
    ) -> None:
        """Add the gradient of the largest to the first tap that equals it.

        Rows, then columns: as in PyTorch.
        """
        left = self.xp.ones(largest.shape, bool)
        for tap, d_tap in zip(taps, d_taps, strict=True):
            hit = tap == largest
            hit &= left
            left ^= hit
            d_tap += d_largest * hit

    def _backward(self, b: int, t: int) -> None:
        dx = self.dx(b)
        columns = self.columns[t]
        padded = self.padded[t]
        d_columns = self.d_columns[t]
        d_padded = self.d_padded[t]
        for part in self.parts:
            self._fill(self.xs[0][b, part], t)
            d_columns[...] = 0
            taps = self._row_taps(columns)
            self._share(taps, self.y[b, part], self._row_taps(d_columns), self.dy[b, part])
            d_padded[...] = 0
            taps = self._column_taps(padded)
            self._share(taps, columns, self._column_taps(d_padded), d_columns)
            for inside, image in self._phases(d_padded, dx[part]):
                image[...] = inside


class SubsampleOp(Op):
    """Max-pooling of 1 x 1 windows: every so many pixels of the image."""

    def __init__(self, layer: MaxPool, *args: Any):
        super().__init__(*args)
        C, H, W = self.xs[0].shape[1:4]
        P, Q, _ = layer.output_shape(((H, W, C),))
        self.y = self.new(C, P, Q)
        self.taken = (..., slice(0, H, layer.stride[0]), slice(0, W, layer.stride[1]), slice(None))

    def allocate_gradients(self, wanted: list[bool]) -> None:
        # its own: the pixels that are not taken stay zero
        self.dxs = [self.xp.zeros_like(self.xs[0])]

    def forward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            self.y[b] = self.xs[0][b][self.taken]

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            self.dx(b)[self.taken] = self.dy[b]

        return [Phase(run)]


def max_pool_op(layer: MaxPool, *args: Any) -> Op:
    """The operation that suits the window."""
    single = layer.kernel == (1, 1) and layer.padding == (0, 0)
    return (SubsampleOp if single else MaxPoolOp)(layer, *args)


class AveragePoolOp(Op):
    """The mean of each window: one strided view of the padded image for each position in it."""

    def __init__(self, layer: AveragePool, *args: Any):
        super().__init__(*args)
        C, H, W = self.xs[0].shape[1:4]
        P, Q, _ = layer.output_shape(((H, W, C),))
        self.y = self.new(C, P, Q)
        self.size = (P, Q)
        self.stride = layer.stride
        self.taps = [(i, j) for i in range(layer.kernel[0]) for j in range(layer.kernel[1])]
        p_h, p_w = layer.padding
        self.inside = (slice(None), slice(p_h, p_h + H), slice(p_w, p_w + W))
        self.padded = [self.xp.zeros((C, *_extent(layer, H, W), self.images), np.float32) for _ in range(self.workers)]
        area = np.multiply.outer(*layer.counts((H, W)))[:, :, None]
        self.share = self.xp.asarray((1 / area).astype(np.float32))  # (P, Q, 1)

    def _views(self, padded: Array) -> list[Array]:
        P, Q = self.size
        s_h, s_w = self.stride
        return [padded[:, i : i + (P - 1) * s_h + 1 : s_h, j : j + (Q - 1) * s_w + 1 : s_w] for i, j in self.taps]

    def forward(self) -> list[Phase]:
        return [Phase(self._forward)]

    def backward(self) -> list[Phase]:
        return [Phase(self._backward)]

    def _forward(self, b: int, t: int) -> None:
        padded = self.padded[t]
        y = self.y[b]
        padded[...] = 0
        padded[self.inside] = self.xs[0][b]
        first, *others = self._views(padded)
        y[...] = first
        for view in others:
            y += view
        y *= self.share

    def _backward(self, b: int, t: int) -> None:
        padded = self.padded[t]
        padded[...] = 0
        share = self.dy[b] * self.share
        for view in self._views(padded):
            view += share
        self.dx(b)[...] = padded[self.inside]
