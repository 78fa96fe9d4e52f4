"""Layers that compute nothing with weights: ReLU, sums, joining and reshaping of channels."""

from typing import Any

import numpy as np

from accelsim.network.layers import Add, Concat, Flatten, PadChannels, Relu
from accelsim.training.ops.base import Op, Phase


def masked(op: Op) -> Phase:
    """The gradient passes where the output is positive."""

    def run(b: int, _t: int) -> None:
        op.xp.multiply(op.dy[b], op.y[b] > 0, out=op.dx(b))

    return Phase(run)


class ReluOp(Op):
    """max(x, 0), where it is not fused into the layer before."""

    def __init__(self, _layer: Relu, *args: Any):
        super().__init__(*args)
        self.y = self.xp.zeros_like(self.xs[0])

    def forward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            self.xp.maximum(self.xs[0][b], np.float32(0), out=self.y[b])

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        return [masked(self)]


class AddOp(Op):
    """Sum of the inputs, with the ReLU that follows fused in."""

    def __init__(self, _layer: Add, *args: Any):
        super().__init__(*args)
        self.y = self.xp.zeros_like(self.xs[0])

    def allocate_gradients(self, wanted: list[bool]) -> None:
        shared = self.gradient(self.y.shape) if self.relu else self.dy
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
        return [masked(self)] if self.relu else []


class ConcatOp(Op):
    """Channels of the inputs, one after the other."""

    def __init__(self, _layer: Concat, *args: Any):
        super().__init__(*args)
        sizes = [x.shape[1] for x in self.xs]
        ends = np.cumsum(sizes).tolist()
        self.parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self.y = self.new(ends[-1], *self.xs[0].shape[2:-1])

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
        def run(b: int, _t: int) -> None:
            self.y[b, self.part] = self.xs[0][b]

        return [Phase(run)]

    def backward(self) -> list[Phase]:
        def run(b: int, _t: int) -> None:
            self.dx(b)[...] = self.dy[b, self.part]

        return [Phase(run)]


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
