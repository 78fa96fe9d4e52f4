"""What an operation of a ``CompiledNetwork`` is: one layer's forward and backward as phases.

An activation is held as blocks: (B, C, H, W, N) float32, B blocks of N images (a vector is (B, F,
N)).  An op emits *block phases*, which touch one block only and so can run in any thread and while
that block is in the cache, and *batch phases*, which need all blocks (batch statistics,
fully-connected products).  Sums over the batch are taken per block and then added in block order,
so the result does not depend on the number of threads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.training.ops.buffers import ScratchArrays


@dataclass(frozen=True)
class Phase:
    """One piece of work, on each block or on all of them together."""

    run: Callable[[int, int], None]  # takes (block, worker)
    whole: bool = False  # whether it is called once, with (0, 0), for the whole batch


@dataclass(frozen=True)
class Context:
    """What the operations of one compiled network have in common."""

    xp: Any  # the array module
    workers: int  # threads
    training: bool  # whether batch-norm uses the batch's statistics
    differentiable: bool  # whether gradients are wanted
    buffers: ScratchArrays


class Op:
    """One layer of a compiled network.

    xs: its input activations.  y: its output.  dy, dxs: the loss's gradients with respect to them;
    dxs[i] is None where it is not wanted.  params, grads: the node's own arrays by short name;
    grads are overwritten, not added to.
    """

    def __init__(
        self,
        xs: list[Array],
        params: dict[str, Array],
        grads: dict[str, Array],
        relu: bool,
        context: Context,
    ):
        self.xs = xs
        self.params = params
        self.grads = grads
        self.relu = relu
        self.xp = context.xp
        self.workers = context.workers
        self.training = context.training
        self.scratch = context.buffers.scratch
        self.gradient = context.buffers.gradient
        self.blocks = xs[0].shape[0]
        self.images = xs[0].shape[-1]
        self.y: Array = xs[0]
        self.dy: Array = xs[0]
        self.dxs: list[Array | None] = []

    def new(self, *shape: int) -> Array:
        """Zeroed blocks of the given image shape."""
        blocks: Array = self.xp.zeros((self.blocks, *shape, self.images), np.float32)
        return blocks

    def dx(self, b: int) -> Array:
        """Block b of the first input's gradient, which is wanted."""
        gradient = self.dxs[0]
        assert gradient is not None
        block: Array = gradient[b]
        return block

    def allocate_gradients(self, wanted: list[bool]) -> None:
        """Make ``dxs``; called once ``dy`` is known.

        An op may hand on ``dy`` itself: gradients do not change before their last reader is done,
        and may hold anything after that.
        """
        self.dxs = [self.gradient(x.shape) if want else None for x, want in zip(self.xs, wanted, strict=True)]

    def prepare(self) -> None:
        """Work before the step's first phase that depends on parameters only."""

    def finish(self) -> None:
        """Work after the step's last phase: sums over blocks."""

    def forward(self) -> list[Phase]:
        raise NotImplementedError

    def backward(self) -> list[Phase]:
        raise NotImplementedError
