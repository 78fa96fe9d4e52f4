"""Layers that multiply by a matrix of weights.

Convolution by blocks, fully connected by the whole batch.
"""

from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.network.layers import Conv, Linear
from accelsim.training.kernels import by_rows
from accelsim.training.kernels.geometry import Geometry
from accelsim.training.kernels.winograd import WinogradKernel
from accelsim.training.ops.base import Context, Op, Phase


def conv_op(
    layer: Conv,
    xs: list[Array],
    params: Any,
    grads: Any,
    relu: bool,
    context: Context,
) -> Op:
    """The faster of two operations, where the network is trained.

    Inference is by the definition of a convolution.
    """
    _, _, H, W, N = xs[0].shape
    by_winograd = context.differentiable and WinogradKernel.pays(Geometry.of_layer(layer, H, W, N))
    return (WinogradConvOp if by_winograd else ConvOp)(layer, xs, params, grads, relu, context)


class ConvolutionOp(Op):
    """What both ways of convolving share: the sizes, the output, and the bias, if there is one."""

    def __init__(self, layer: Conv, *args: Any):
        super().__init__(*args)
        _, _, H, W, N = self.xs[0].shape
        self.g = Geometry.of_layer(layer, H, W, N)
        self.y = self.new(self.g.K, self.g.P, self.g.Q)
        self.bias = layer.bias

    def allocate_gradients(self, wanted: list[bool]) -> None:
        super().allocate_gradients(wanted)
        self.partial_bias = self.xp.zeros((self.blocks, self.g.K), np.float32)

    def finish(self) -> None:
        if self.bias:
            self.grads["bias"][...] = self.partial_bias.sum(axis=0)

    def forward(self) -> list[Phase]:
        return [Phase(self._forward)]

    def backward(self) -> list[Phase]:
        return [Phase(self._backward)]

    def _forward(self, b: int, t: int) -> None:
        self._convolve(b, t)
        if self.bias:
            self.y[b] += self.params["bias"][:, None, None, None]

    def _backward(self, b: int, t: int) -> None:
        self._weight_gradient(b, t)
        if self.bias:
            self.partial_bias[b] = self.dy[b].sum(axis=(1, 2, 3))
        if self.dxs[0] is not None:
            self._input_gradient(b, t, self.dxs[0][b])

    def _convolve(self, b: int, t: int) -> None:
        """Make the output of block b, as worker t."""
        raise NotImplementedError

    def _weight_gradient(self, b: int, t: int) -> None:
        """Make block b's part of the weights' gradient, as worker t."""
        raise NotImplementedError

    def _input_gradient(self, b: int, t: int, dx: Array) -> None:
        """Make dx, the gradient of block b's input, as worker t."""
        raise NotImplementedError


class ConvOp(ConvolutionOp):
    """Convolution by ``kernels.by_rows``."""

    def __init__(self, layer: Conv, *args: Any):
        super().__init__(layer, *args)
        self.rows = self.scratch("rows", self.g.rows_shape, self.g)
        self.product = self.scratch("product", (self.g.scratch_size,))

    def allocate_gradients(self, wanted: list[bool]) -> None:
        super().allocate_gradients(wanted)
        g = self.g
        shape = (g.R, g.G, g.S * (g.C // g.G), g.K // g.G)
        self.partial = self.xp.zeros((self.blocks, *shape), np.float32)
        if self.dxs[0] is None:
            return
        if g.reversible:
            back = g.reversed
            self.back_rows = self.scratch("rows", back.rows_shape, back)
            self.back_product = self.scratch("product", (back.scratch_size,))
        else:
            self.back_rows = self.scratch("fold", g.rows_shape)
            self.back_product = self.scratch("product", (shape[2], g.P * g.Q * g.N))

    def prepare(self) -> None:
        self.packed = by_rows.pack_weights(self.params["weight"], self.g, self.xp)
        if self.dxs and self.dxs[0] is not None and self.g.reversible:
            self.packed_back = by_rows.pack_reversed(self.params["weight"], self.g, self.xp)

    def finish(self) -> None:
        total = self.partial[0] if self.blocks == 1 else self.partial.sum(axis=0)
        self.grads["weight"][...] = by_rows.unpack_gradient(total, self.g)
        super().finish()

    def _convolve(self, b: int, t: int) -> None:
        rows = by_rows.gather_rows(self.xs[0][b], self.g, self.rows[t])
        by_rows.convolve(rows, self.packed, self.g, self.y[b], self.product[t], self.xp)

    def _weight_gradient(self, b: int, t: int) -> None:
        rows = by_rows.gather_rows(self.xs[0][b], self.g, self.rows[t])
        by_rows.weight_gradient(rows, self.dy[b], self.g, self.partial[b], self.product[t], self.xp)

    def _input_gradient(self, b: int, t: int, dx: Array) -> None:
        dy = self.dy[b]
        rows = self.back_rows[t]
        product = self.back_product[t]
        if self.g.reversible:
            back = by_rows.gather_rows(dy, self.g.reversed, rows)
            by_rows.convolve(back, self.packed_back, self.g.reversed, dx, product, self.xp)
        else:
            by_rows.row_gradient(dy, self.packed, self.g, rows, product, self.xp)
            by_rows.scatter_rows(rows, self.g, dx)


class WinogradConvOp(ConvolutionOp):
    """Convolution by ``kernels.winograd``."""

    def __init__(self, layer: Conv, *args: Any):
        super().__init__(layer, *args)
        g = self.g
        self.kernel = WinogradKernel(g, self.xp)
        self.U = self.xp.empty((self.kernel.taps, g.K, g.C), np.float32)
        self.x_read = self.kernel.read_windows(self.xs[0])
        self.y_made = self.kernel.made_windows(self.y)
        self.temporaries = self._temporaries(self.kernel)

    def _temporaries(self, kernel: WinogradKernel) -> list[tuple[Array, ...]]:
        """Of each worker (half transformed, V, M)."""
        half = self.scratch("half", (kernel.half_size,))
        V = self.scratch("V", (kernel.size,))
        M = self.scratch("M", (kernel.size,))
        return list(zip(half, V, M, strict=True))

    def allocate_gradients(self, wanted: list[bool]) -> None:
        super().allocate_gradients(wanted)
        g = self.g
        self.partial = self.xp.zeros((self.blocks, *self.U.shape), np.float32)
        self.dy_made = self.kernel.made_windows(self.dy)
        if self.dxs[0] is not None:
            self.back = WinogradKernel(g.reversed, self.xp)
            self.U_back = self.xp.empty((self.back.taps, g.C, g.K), np.float32)
            self.dy_read = self.back.read_windows(self.dy)
            self.dx_made = self.back.made_windows(self.dxs[0])
            self.back_temporaries = self._temporaries(self.back)

    def prepare(self) -> None:
        weight = self.params["weight"]
        self.kernel.pack(weight, self.U)
        if self.dxs and self.dxs[0] is not None:
            self.back.pack(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), self.U_back)

    def finish(self) -> None:
        self.grads["weight"][...] = self.kernel.unpack_gradient(self.partial)
        super().finish()

    def _convolve(self, b: int, t: int) -> None:
        self.kernel.convolve(self.x_read[b], self.U, self.y_made[b], self.temporaries[t])

    def _weight_gradient(self, b: int, t: int) -> None:
        dU = self.partial[b]
        self.kernel.weight_gradient(self.x_read[b], self.dy_made[b], dU, self.temporaries[t])

    def _input_gradient(self, b: int, t: int, dx: Array) -> None:
        made = self.dx_made[b]  # a view of dx
        self.back.convolve(self.dy_read[b], self.U_back, made, self.back_temporaries[t])


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
