"""Forward and backward of every layer kind, as phases that a ``Plan`` strings together.

An activation is held as blocks: (B, C, H, W, N) float32, B blocks of N images (a vector is (B, F, N)).  An op emits
*block phases*, which touch one block only and so can run in any thread and while that block is in the cache, and
*batch phases*, which need all blocks (batch statistics, fully-connected products).  Sums over the batch are taken per
block and then added in block order, so the result does not depend on the number of threads.

Source of the batch-norm gradient: Ioffe & Szegedy 2015.  Running statistics follow PyTorch (unbiased variance).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    Relu,
)
from accelsim.training import kernels
from accelsim.training.kernels import Array, Geometry


@dataclass(frozen=True)
class Phase:
    """One piece of work: ``run(block, worker)`` for every block, or, if ``whole``, ``run(0, 0)`` once."""

    run: Callable[[int, int], None]
    whole: bool = False


class Op:
    """One layer in a plan.  ``xs``: its input activations, ``y``: its output; ``dxs[i]`` may be None (not wanted).

    ``params`` and ``grads`` hold the node's own arrays by short name; ``grads`` are overwritten, not added to.
    """

    def __init__(self, xs: list[Array], params: dict[str, Array], grads: dict[str, Array], relu: bool, context: Any):
        self.xs, self.params, self.grads, self.relu = xs, params, grads, relu
        self.xp, self.workers, self.training = context.xp, context.workers, context.training
        self.scratch: Callable[..., list[Array]] = context.scratch
        self.blocks, self.images = xs[0].shape[0], xs[0].shape[-1]
        self.y: Array = xs[0]
        self.dy: Array = xs[0]
        self.dxs: list[Array | None] = []

    def new(self, *shape: int) -> Array:
        """Zeroed blocks of the given image shape."""
        return self.xp.zeros((self.blocks, *shape, self.images), np.float32)  # type: ignore[no-any-return]

    def allocate_gradients(self, wanted: list[bool]) -> None:
        """Make ``dxs``; called once ``dy`` is known.  An op may hand on ``dy`` itself: gradients are never changed."""
        self.dxs = [
            self.xp.zeros(x.shape, np.float32) if want else None for x, want in zip(self.xs, wanted, strict=True)
        ]

    def prepare(self) -> None:
        """Work before the step's first phase that depends on parameters only."""

    def finish(self) -> None:
        """Work after the step's last phase: sums over blocks."""

    def forward(self) -> list[Phase]:
        raise NotImplementedError

    def backward(self) -> list[Phase]:
        raise NotImplementedError


class ConvOp(Op):
    """Convolution by ``kernels``; the bias, if any, is added in the same phase."""

    def __init__(self, layer: Conv, *args: Any):
        super().__init__(*args)
        _, _, H, W, N = self.xs[0].shape
        self.g = g = Geometry.of(layer, H, W, N)
        self.y = self.new(g.K, g.P, g.Q)
        self.bias = layer.bias
        self.rows = self.scratch("rows", g.rows_shape, g)
        self.product = self.scratch("product", (g.K // g.G, g.P * g.Q * g.N))

    def allocate_gradients(self, wanted: list[bool]) -> None:
        super().allocate_gradients(wanted)
        g, r = self.g, self.g.reversed
        self.partial = self.xp.zeros((self.blocks, g.R, g.G, g.S * (g.C // g.G), g.K // g.G), np.float32)
        self.partial_bias = self.xp.zeros((self.blocks, g.K), np.float32)
        if self.dxs[0] is None:
            return
        if g.reversible:
            self.back_rows = self.scratch("rows", r.rows_shape, r)
            self.back_product = self.scratch("product", (g.C // g.G, g.H * g.W * g.N))
        else:
            self.back_rows = self.scratch("fold", g.rows_shape)
            self.back_product = self.scratch("product", (g.S * (g.C // g.G), g.P * g.Q * g.N))

    def prepare(self) -> None:
        self.packed = kernels.pack_weights(self.params["weight"], self.g, self.xp)
        if self.dxs and self.dxs[0] is not None and self.g.reversible:
            self.packed_back = kernels.pack_reversed(self.params["weight"], self.g, self.xp)

    def finish(self) -> None:
        self.grads["weight"][...] = kernels.unpack_gradient(self.partial.sum(axis=0), self.g)
        if self.bias:
            self.grads["bias"][...] = self.partial_bias.sum(axis=0)

    def forward(self) -> list[Phase]:
        return [Phase(self._forward)]

    def backward(self) -> list[Phase]:
        return [Phase(self._backward)]

    def _forward(self, b: int, t: int) -> None:
        rows = kernels.gather_rows(self.xs[0][b], self.g, self.rows[t])
        kernels.convolve(rows, self.packed, self.g, self.y[b], self.product[t], self.xp)
        if self.bias:
            self.y[b] += self.params["bias"][:, None, None, None]

    def _backward(self, b: int, t: int) -> None:
        dy, dx = self.dy[b], self.dxs[0]
        rows = kernels.gather_rows(self.xs[0][b], self.g, self.rows[t])
        kernels.weight_gradient(rows, dy, self.g, self.partial[b], self.xp)
        if self.bias:
            self.partial_bias[b] = dy.sum(axis=(1, 2, 3))
        if dx is None:
            return
        if self.g.reversible:
            back = kernels.gather_rows(dy, self.g.reversed, self.back_rows[t])
            kernels.convolve(back, self.packed_back, self.g.reversed, dx[b], self.back_product[t], self.xp)
        else:
            kernels.input_gradient(dy, self.packed, self.g, self.back_rows[t], dx[b], self.back_product[t], self.xp)


class LinearOp(Op):
    """y = W x + b on the whole batch at once, so that the weights are read once."""

    def __init__(self, layer: Linear, *args: Any):
        super().__init__(*args)
        self.bias = layer.bias
        self.y = self.new(layer.out_features)

    def forward(self) -> list[Phase]:
        return [Phase(self._forward, whole=True)]

    def backward(self) -> list[Phase]:
        return [Phase(self._backward, whole=True)]

    @staticmethod
    def _joined(x: Array) -> Array:
        return x.transpose(1, 0, 2).reshape(x.shape[1], -1)  # (F, B N)

    def _split(self, x: Array, out: Array) -> None:
        out[...] = x.reshape(-1, self.blocks, self.images).transpose(1, 0, 2)

    def _forward(self, _b: int, _t: int) -> None:
        y = self.params["weight"] @ self._joined(self.xs[0])
        if self.bias:
            y += self.params["bias"][:, None]
        self._split(y, self.y)

    def _backward(self, _b: int, _t: int) -> None:
        dy = self._joined(self.dy)
        self.xp.matmul(dy, self._joined(self.xs[0]).T, out=self.grads["weight"])
        if self.bias:
            self.grads["bias"][...] = dy.sum(axis=1)
        if self.dxs[0] is not None:
            self._split(self.params["weight"].T @ dy, self.dxs[0])


class BatchNormOp(Op):
    """Batch normalisation, with the ReLU that follows fused in.  In inference by the running statistics."""

    momentum = 0.1

    def __init__(self, layer: BatchNorm, *args: Any):
        super().__init__(*args)
        self.eps, C = layer.eps, layer.channels
        self.y = self.xp.zeros_like(self.xs[0])
        self.sums = self.xp.zeros((self.blocks, 2, C), np.float32)
        self.count = self.xs[0].size // C
        self.update_statistics = True

    def prepare(self) -> None:
        if not self.training:
            inverse = 1 / self.xp.sqrt(self.params["running_var"] + np.float32(self.eps))
            self._set_scale(self.params["running_mean"], inverse)

    def _set_scale(self, mean: Array, inverse: Array) -> None:
        self.mean, self.inverse = mean, inverse
        self.scale = (self.params["weight"] * inverse)[:, None]
        self.shift = self.params["bias"][:, None] - mean[:, None] * self.scale

    def forward(self) -> list[Phase]:
        apply = Phase(self._apply)
        return [Phase(self._statistics), Phase(self._combine, whole=True), apply] if self.training else [apply]

    def backward(self) -> list[Phase]:
        return [Phase(self._sums), Phase(self._combine_gradients, whole=True), Phase(self._gradient)]

    def _statistics(self, b: int, _t: int) -> None:
        x = self.xs[0][b].reshape(self.xs[0].shape[1], -1)
        self.sums[b, 0] = x.sum(axis=1)
        self.sums[b, 1] = self.xp.einsum("cl,cl->c", x, x)

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

    def _apply(self, b: int, _t: int) -> None:
        x = self.xs[0][b].reshape(self.xs[0].shape[1], -1)
        y = self.y[b].reshape(x.shape)
        self.xp.multiply(x, self.scale, out=y)
        y += self.shift
        if self.relu:
            self.xp.maximum(y, np.float32(0), out=y)

    def allocate_gradients(self, wanted: list[bool]) -> None:
        # The input's gradient is always made: it holds the gradient through the ReLU between the phases.
        super().allocate_gradients([True])
        self.temporary = self.scratch("product", (self.xs[0].shape[1], self.xs[0][0, 0].size))

    def _masked(self, b: int) -> Array:
        """The output's gradient before the ReLU, (C, L)."""
        dy: Array = self.dy[b].reshape(self.dy.shape[1], -1)
        if not self.relu:
            return dy
        out: Array = self.dxs[0][b].reshape(dy.shape)  # type: ignore[index]
        self.xp.multiply(dy, self.y[b].reshape(dy.shape) > 0, out=out)
        return out

    def _sums(self, b: int, _t: int) -> None:
        g = self._masked(b)
        self.sums[b, 0] = g.sum(axis=1)
        self.sums[b, 1] = self.xp.einsum("cl,cl->c", g, self.xs[0][b].reshape(g.shape))

    def _combine_gradients(self, _b: int, _t: int) -> None:
        total, product = self.sums.sum(axis=0, dtype=np.float64)
        mean, inverse = self.mean.astype(np.float64), self.inverse.astype(np.float64)
        d_weight = (product - mean * total) * inverse
        self.grads["weight"][...] = d_weight
        self.grads["bias"][...] = total
        # dx = scale (g - mean(g) - x_hat mean(g x_hat)) = a g + b x + c
        slope = -self.scale[:, 0] * inverse * d_weight / self.count
        offset = -self.scale[:, 0] * total / self.count - slope * mean
        self.coefficients = slope.astype(np.float32)[:, None], offset.astype(np.float32)[:, None]

    def _gradient(self, b: int, t: int) -> None:
        dx: Array = self.dxs[0][b].reshape(self.xs[0].shape[1], -1)  # type: ignore[index]
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
            dy, C = self.dy[b], self.dy.shape[1]
            self.partial[b, 0] = (dy * self.xs[0][b]).reshape(C, -1).sum(axis=1)
            self.partial[b, 1] = dy.reshape(C, -1).sum(axis=1)
            if self.dxs[0] is not None:
                self.xp.multiply(dy, self._columns(self.params["weight"]), out=self.dxs[0][b])

        return [Phase(run)]


class ReluOp(Op):
    """max(x, 0), where it is not fused into the layer before."""

    def __init__(self, _layer: Relu, *args: Any):
        super().__init__(*args)
        self.y = self.xp.zeros_like(self.xs[0])

    def forward(self) -> list[Phase]:
        return [Phase(lambda b, _t: self.xp.maximum(self.xs[0][b], np.float32(0), out=self.y[b]))]

    def backward(self) -> list[Phase]:
        return [Phase(lambda b, _t: self.xp.multiply(self.dy[b], self.y[b] > 0, out=self.dxs[0][b]))]  # type: ignore[index]


class AddOp(Op):
    """Sum of the inputs, with the ReLU that follows fused in."""

    def __init__(self, _layer: Add, *args: Any):
        super().__init__(*args)
        self.y = self.xp.zeros_like(self.xs[0])

    def allocate_gradients(self, wanted: list[bool]) -> None:
        shared = self.xp.zeros_like(self.y) if self.relu else self.dy
        self.dxs = [shared] * len(self.xs)

    def forward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            y = self.y[b]
            self.xp.add(self.xs[0][b], self.xs[1][b], out=y)
            for x in self.xs[2:]:
                y += x[b]
            if self.relu:
                self.xp.maximum(y, np.float32(0), out=y)

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        if not self.relu:
            return []
        return [Phase(lambda b, _t: self.xp.multiply(self.dy[b], self.y[b] > 0, out=self.dxs[0][b]))]  # type: ignore[index]


class ConcatOp(Op):
    """Channels of the inputs, one after the other."""

    def __init__(self, _layer: Concat, *args: Any):
        super().__init__(*args)
        sizes = [x.shape[1] for x in self.xs]
        ends = np.cumsum(sizes).tolist()
        self.parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self.y = self.new(ends[-1], *self.xs[0].shape[2:-1])

    def allocate_gradients(self, wanted: list[bool]) -> None:
        super().allocate_gradients(wanted)

    def forward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            for part, x in zip(self.parts, self.xs, strict=True):
                self.y[b, part] = x[b]

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            for part, dx in zip(self.parts, self.dxs, strict=True):
                if dx is not None:
                    dx[b] = self.dy[b, part]

        return [Phase(run)]


class PadChannelsOp(Op):
    """Zero channels before and after; they stay zero from the start."""

    def __init__(self, layer: PadChannels, *args: Any):
        super().__init__(*args)
        C, H, W = self.xs[0].shape[1:4]
        self.part = slice(layer.before, layer.before + C)
        self.y = self.new(layer.before + C + layer.after, H, W)

    def forward(self) -> list[Phase]:
        return [Phase(lambda b, _t: self.y[b].__setitem__(self.part, self.xs[0][b]))]

    def backward(self) -> list[Phase]:
        return [Phase(lambda b, _t: self.dxs[0][b].__setitem__(..., self.dy[b, self.part]))]  # type: ignore[index]


class FlattenOp(Op):
    """(C, H, W) -> (C H W,): the same memory under another shape."""

    def __init__(self, _layer: Flatten, *args: Any):
        super().__init__(*args)
        self.y = self.xs[0].reshape(self.blocks, -1, self.images)

    def allocate_gradients(self, wanted: list[bool]) -> None:
        self.dxs = [self.dy.reshape(self.xs[0].shape)]

    def forward(self) -> list[Phase]:
        return []

    def backward(self) -> list[Phase]:
        return []


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
        return [Phase(lambda b, _t: self.dxs[0][b].__setitem__(..., self.dy[b] / self.area))]  # type: ignore[index]


class PoolOp(Op):
    """Max or average pooling: one strided view of the padded image for each position of the window."""

    def __init__(self, layer: MaxPool | AveragePool, *args: Any):
        super().__init__(*args)
        C, H, W = self.xs[0].shape[1:4]
        P, Q, _ = layer.output_shape(((H, W, C),))
        self.y = self.new(C, P, Q)
        self.size, self.largest = (P, Q), isinstance(layer, MaxPool)
        self.taps = [(i, j) for i in range(layer.kernel[0]) for j in range(layer.kernel[1])]
        self.stride, self.corner = layer.stride, layer.padding
        extent = [
            max((out - 1) * s + k, size + p)
            for out, s, k, size, p in zip((P, Q), layer.stride, layer.kernel, (H, W), layer.padding, strict=True)
        ]
        self.inside = (
            slice(None),
            slice(self.corner[0], self.corner[0] + H),
            slice(self.corner[1], self.corner[1] + W),
        )
        self.padded = [self.xp.zeros((C, *extent, self.images), np.float32) for _ in range(self.workers)]
        counts = [
            np.minimum(np.arange(out) * s + k, size + 2 * p) - np.arange(out) * s
            for out, s, k, size, p in zip((P, Q), layer.stride, layer.kernel, (H, W), layer.padding, strict=True)
        ]
        area = np.multiply.outer(counts[0], counts[1])[:, :, None]
        self.share = self.xp.asarray((1 / area).astype(np.float32))  # (P, Q, 1)

    def _views(self, padded: Array) -> list[Array]:
        (P, Q), (s_h, s_w) = self.size, self.stride
        return [padded[:, i : i + (P - 1) * s_h + 1 : s_h, j : j + (Q - 1) * s_w + 1 : s_w] for i, j in self.taps]

    def forward(self) -> list[Phase]:
        return [Phase(self._forward)]

    def backward(self) -> list[Phase]:
        return [Phase(self._backward)]

    def _forward(self, b: int, t: int) -> None:
        padded, y = self.padded[t], self.y[b]
        if len(self.taps) > 1:
            padded[...] = -np.inf if self.largest else 0
        padded[self.inside] = self.xs[0][b]
        first, *others = self._views(padded)
        y[...] = first
        for view in others:
            if self.largest:
                self.xp.maximum(y, view, out=y)
            else:
                y += view
        if not self.largest:
            y *= self.share

    def _backward(self, b: int, t: int) -> None:
        padded, dy, dx = self.padded[t], self.dy[b], self.dxs[0]
        assert dx is not None
        if not self.largest or len(self.taps) == 1:
            padded[...] = 0
            share = dy if self.largest else dy * self.share
            for view in self._views(padded):
                view += share
            dx[b] = padded[self.inside]
            return
        padded[...] = -np.inf
        padded[self.inside] = self.xs[0][b]
        # The first of equal maxima takes the gradient, as in PyTorch.
        left = self.xp.ones(dy.shape, bool)
        masks = []
        for view in self._views(padded):
            hit = (view == self.y[b]) & left
            left &= ~hit
            masks.append(hit)
        padded[...] = 0
        for view, hit in zip(self._views(padded), masks, strict=True):
            view += dy * hit
        dx[b] = padded[self.inside]


class LocalResponseNormOp(Op):
    """x / (k + alpha / size * sum of squares over neighbouring channels)^beta (Krizhevsky et al. 2012)."""

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
            half, L = self.layer.size // 2, self.layer
            x = self.xs[0][b]
            self.base[b] = np.float32(L.k) + np.float32(L.alpha / L.size) * self._neighbours(
                x * x, half, L.size - 1 - half
            )
            self.y[b] = x * self.base[b] ** np.float32(-L.beta)

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            half, L = self.layer.size // 2, self.layer
            x, dy, base, dx = self.xs[0][b], self.dy[b], self.base[b], self.dxs[0]
            assert dx is not None
            inner = self._neighbours(dy * self.y[b] / base, L.size - 1 - half, half)
            dx[b] = dy * base ** np.float32(-L.beta) - np.float32(2 * L.alpha * L.beta / L.size) * x * inner

        return [Phase(run)]


OPS: dict[type, Callable[..., Op]] = {
    Conv: ConvOp,
    Linear: LinearOp,
    BatchNorm: BatchNormOp,
    Affine: AffineOp,
    Relu: ReluOp,
    MaxPool: PoolOp,
    AveragePool: PoolOp,
    GlobalAveragePool: GlobalAveragePoolOp,
    LocalResponseNorm: LocalResponseNormOp,
    Add: AddOp,
    Concat: ConcatOp,
    PadChannels: PadChannelsOp,
    Flatten: FlattenOp,
}
