"""Normalisation and scaling of channels, in few passes over each block.

Sources: batch-norm and its gradient, Ioffe & Szegedy 2015; running statistics follow PyTorch
(unbiased variance); local response normalisation, Krizhevsky et al. 2012.
"""

from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.network.layers import Affine, BatchNorm, LocalResponseNorm
from accelsim.training.ops.base import Op, Phase


class BatchNormOp(Op):
    """Batch normalisation, with the ReLU that follows fused in.

    In inference by the running statistics.
    """

    momentum = 0.1

    def __init__(self, layer: BatchNorm, *args: Any):
        super().__init__(*args)
        self.eps = layer.eps
        C = layer.channels
        self.y = self.xp.zeros_like(self.xs[0])
        self.sums = self.xp.zeros((self.blocks, 2, C), np.float32)
        self.count = self.xs[0].size // C
        self.update_statistics = True
        self.ones = self.xp.ones(self.xs[0][0, 0].size, np.float32)
        self.temporary = self.scratch("product", (C, self.xs[0][0, 0].size))

    def prepare(self) -> None:
        if not self.training:
            inverse = 1 / self.xp.sqrt(self.params["running_var"] + np.float32(self.eps))
            self._set_scale(self.params["running_mean"], inverse)

    def _set_scale(self, mean: Array, inverse: Array) -> None:
        self.mean = mean
        self.inverse = inverse
        self.scale = (self.params["weight"] * inverse)[:, None]
        self.shift = self.params["bias"][:, None] - mean[:, None] * self.scale
        if self.relu:
            self.half_scale = self.scale / 2
            self.half_shift = self.shift / 2

    def forward(self) -> list[Phase]:
        apply = Phase(self._apply)
        return [Phase(self._statistics), Phase(self._combine, whole=True), apply] if self.training else [apply]

    def backward(self) -> list[Phase]:
        return [Phase(self._sums), Phase(self._combine_gradients, whole=True), Phase(self._gradient)]

    def _statistics(self, b: int, _t: int) -> None:
        x = self.xs[0][b].reshape(self.xs[0].shape[1], -1)
        self._sum(x, x, b)

    def _sum(self, g: Array, x: Array, b: int) -> None:
        """Each channel's sums of g and of g x over the block.

        g, x: (C, L), as products that BLAS computes.
        """
        self.xp.matmul(g, self.ones, out=self.sums[b, 0])
        self.sums[b, 1] = self.xp.matmul(g[:, None, :], x[:, :, None])[:, 0, 0]

    def _combine(self, _b: int, _t: int) -> None:
        mean, square = self.sums.sum(axis=0, dtype=np.float64) / self.count
        variance = self.xp.maximum(square - mean * mean, 0)
        inverse = 1 / self.xp.sqrt(variance + self.eps)
        self._set_scale(mean.astype(np.float32), inverse.astype(np.float32))
        if self.update_statistics:
            unbiased = variance * (self.count / max(self.count - 1, 1))
            for name, value in (("running_mean", mean), ("running_var", unbiased)):
                running = self.params[name]
                running += np.float32(self.momentum) * (value.astype(np.float32) - running)

    def _apply(self, b: int, t: int) -> None:
        x = self.xs[0][b].reshape(self.xs[0].shape[1], -1)
        y = self.y[b].reshape(x.shape)
        if not self.relu:
            self.xp.multiply(x, self.scale, out=y)
            y += self.shift
            return
        # max(2 h, 0) = h + |h|, to the last bit, and NumPy is twice as fast at it
        self.xp.multiply(x, self.half_scale, out=y)
        y += self.half_shift
        self.xp.abs(y, out=self.temporary[t])
        y += self.temporary[t]

    def allocate_gradients(self, wanted: list[bool]) -> None:
        # The input's gradient is always made: it holds the gradient through the ReLU between the
        # phases.
        super().allocate_gradients([True])

    def _masked(self, b: int) -> Array:
        """The output's gradient before the ReLU, (C, L)."""
        dy: Array = self.dy[b].reshape(self.dy.shape[1], -1)
        if not self.relu:
            return dy
        out = self.dx(b).reshape(dy.shape)
        self.xp.multiply(dy, self.y[b].reshape(dy.shape) > 0, out=out)
        return out

    def _sums(self, b: int, _t: int) -> None:
        g = self._masked(b)
        self._sum(g, self.xs[0][b].reshape(g.shape), b)

    def _combine_gradients(self, _b: int, _t: int) -> None:
        total, product = self.sums.sum(axis=0, dtype=np.float64)
        mean = self.mean.astype(np.float64)
        inverse = self.inverse.astype(np.float64)
        d_weight = (product - mean * total) * inverse
        self.grads["weight"][...] = d_weight
        self.grads["bias"][...] = total
        # dx = scale (g - mean(g) - x_hat mean(g x_hat)) = a g + b x + c
        slope = -self.scale[:, 0] * inverse * d_weight / self.count
        offset = -self.scale[:, 0] * total / self.count - slope * mean
        self.coefficients = slope.astype(np.float32)[:, None], offset.astype(np.float32)[:, None]

    def _gradient(self, b: int, t: int) -> None:
        dx = self.dx(b).reshape(self.xs[0].shape[1], -1)
        g = dx if self.relu else self.dy[b].reshape(dx.shape)
        slope, offset = self.coefficients
        self.xp.multiply(g, self.scale, out=dx)
        self.xp.multiply(self.xs[0][b].reshape(dx.shape), slope, out=self.temporary[t])
        dx += self.temporary[t]
        dx += offset


class AffineOp(Op):
    """A trainable scale and shift for each channel."""

    def __init__(self, _layer: Affine, *args: Any):
        super().__init__(*args)
        self.y = self.xp.zeros_like(self.xs[0])
        self.partial = self.xp.zeros((self.blocks, 2, self.xs[0].shape[1]), np.float32)

    def _columns(self, parameter: Array) -> Array:
        return parameter.reshape(-1, *[1] * (self.xs[0].ndim - 2))

    def finish(self) -> None:
        self.grads["weight"][...], self.grads["bias"][...] = self.partial.sum(axis=0)

    def forward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            self.xp.multiply(self.xs[0][b], self._columns(self.params["weight"]), out=self.y[b])
            self.y[b] += self._columns(self.params["bias"])

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            dy = self.dy[b]
            C = self.dy.shape[1]
            self.partial[b, 0] = (dy * self.xs[0][b]).reshape(C, -1).sum(axis=1)
            self.partial[b, 1] = dy.reshape(C, -1).sum(axis=1)
            if self.dxs[0] is not None:
                self.xp.multiply(dy, self._columns(self.params["weight"]), out=self.dxs[0][b])

        return [Phase(run)]


class LocalResponseNormOp(Op):
    """Each value over a power of the squares around it (Krizhevsky et al. 2012).

    y = x / (k + alpha / size * sum of squares over neighbouring channels)^beta.
    """

    def __init__(self, layer: LocalResponseNorm, *args: Any):
        super().__init__(*args)
        self.layer = layer
        self.y = self.xp.zeros_like(self.xs[0])
        self.base = self.xp.zeros_like(self.xs[0])

    def _neighbours(self, x: Array, before: int, after: int) -> Array:
        total = x.copy()
        C = len(x)
        for d in range(1, before + 1):
            if d < C:
                total[d:] += x[: C - d]
        for d in range(1, after + 1):
            if d < C:
                total[: C - d] += x[d:]
        return total

    def forward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            half = self.layer.size // 2
            L = self.layer
            x = self.xs[0][b]
            squares = self._neighbours(x * x, half, L.size - 1 - half)
            self.base[b] = np.float32(L.k) + np.float32(L.alpha / L.size) * squares
            self.y[b] = x * self.base[b] ** np.float32(-L.beta)

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            half = self.layer.size // 2
            L = self.layer
            x = self.xs[0][b]
            dy = self.dy[b]
            base = self.base[b]
            inner = self._neighbours(dy * self.y[b] / base, L.size - 1 - half, half)
            scale = np.float32(2 * L.alpha * L.beta / L.size)
            self.dx(b)[...] = dy * base ** np.float32(-L.beta) - scale * x * inner

        return [Phase(run)]
