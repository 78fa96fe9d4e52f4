"""A network compiled for one batch size.

Arrays are made once; then forward and backward are a short list of phases.

Consecutive block phases run block by block, so that a block passes through several layers while it
is in the cache; phases that need the whole batch are barriers.  A thread takes the next block when
it is free: what a block adds to a sum over the batch has its own place, so results do not depend on
the threads, and NumPy releases the interpreter lock in its products and copies.  ``xp`` is the
array module (NumPy, or CuPy passed by the caller).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array
from accelsim.errors import InputError, NumericalError
from accelsim.network.graph import INPUT, Graph
from accelsim.network.layers import Add, BatchNorm, Relu
from accelsim.training.ops import OPS, BatchNormOp, Context, Op, Phase, ScratchArrays

FEWEST = 8  # images in a block
MOST = 32  # images in a block
# of a block's largest activation, unless that takes fewer than ``FEWEST`` images
BLOCK_FLOATS = 1 << 19


@dataclass(frozen=True)
class Execution:
    """How a network is run: a matter of speed, not of results."""

    workers: int = 1
    """Threads, the calling one among them."""
    block: int | None = None
    """Images that pass through the layers together, cut to the largest divisor of the batch.
    Default: as many as suit the kernels."""
    xp: Any = np
    """The array module."""


@dataclass(frozen=True, eq=False)
class Learning:
    """What a network is run for beside its output."""

    gradients: Mapping[str, Array] | None = None
    """Arrays by the names of the network's, overwritten by ``backward``.  Default: it only infers."""
    training: bool = False
    """Whether batch-norm uses the batch's statistics."""
    hint: str | None = None
    """A node whose output a loss reads, too (``hinted``, ``backward``)."""


def _without_warnings() -> None:
    """Let a thread's arithmetic leave the finite numbers without a word; ``check_finite`` finds them."""
    np.seterr(all="ignore")


class CompiledNetwork:
    """Forward and backward of ``graph`` on batches of ``batch`` images, block by block.

    arrays: the network's arrays by name; read at every step (batch-norm statistics are updated in
    place).
    learning: by default the network only infers.
    operations: replaces the operation of the named nodes (Winograd inference), as (layer, inputs,
    ...) -> Op.
    """

    def __init__(
        self,
        graph: Graph,
        arrays: Mapping[str, Array],
        batch: int,
        *,
        learning: Learning = Learning(),
        execution: Execution = Execution(),
        operations: Mapping[str, Callable[..., Op]] | None = None,
    ):
        xp = execution.xp
        workers = execution.workers
        gradients = learning.gradients
        self.graph = graph
        self.xp = xp
        self._buffers = ScratchArrays(xp, workers)
        self._context = Context(
            xp=xp,
            workers=workers,
            training=learning.training,
            differentiable=gradients is not None,
            buffers=self._buffers,
        )
        most = execution.block or _block(graph, gradients is not None)
        self.images = max(n for n in range(1, min(most, batch) + 1) if batch % n == 0)
        self.blocks = batch // self.images
        H, W, C = graph.input_shape
        self.input: Array = xp.zeros((self.blocks, C, H, W, self.images), np.float32)
        # beside the calling thread, whose warnings are the caller's to want
        self.pools = [ThreadPoolExecutor(1, initializer=_without_warnings) for _ in range(workers - 1)]
        self._build_forward(arrays, gradients or {}, operations or {}, learning.hint)
        if gradients is not None:
            self._build_backward(learning.hint)

    def _build_forward(
        self,
        arrays: Mapping[str, Array],
        gradients: Mapping[str, Array],
        operations: Mapping[str, Callable[..., Op]],
        hint: str | None,
    ) -> None:
        nodes = self.graph.nodes
        readers = Counter(source for node in nodes for source in node.inputs)
        only_reader = {source: node for node in nodes for source in node.inputs if readers[source] == 1}
        self.ops: dict[str, Op] = {}
        self.alias: dict[str, str] = {}  # a fused ReLU -> the node that does its work
        values = {INPUT: self.input}
        for node in nodes:
            if node.name in self.alias:
                continue
            reader = only_reader.get(node.name)
            fused = None  # the ReLU that the operation does, too
            if isinstance(node.layer, BatchNorm | Add) and node.name != hint:
                fused = reader if reader is not None and isinstance(reader.layer, Relu) else None
            names = {key: f"{node.name}.{key}" for key in node.layer.parameters()}
            own = {key: arrays[name] for key, name in names.items()}
            own_gradients = {key: gradients[name] for key, name in names.items() if name in gradients}
            inputs = [values[source] for source in node.inputs]
            if type(node.layer) not in OPS:
                raise InputError(f"{self.graph.name}: node {node.name}: {node.layer.op} is not known to the trainer")
            make = operations.get(node.name, OPS[type(node.layer)])
            op = make(node.layer, inputs, own, own_gradients, fused is not None, self._context)
            self.ops[node.name] = op
            values[node.name] = op.y
            if fused is not None:
                self.alias[fused.name] = node.name
                values[fused.name] = op.y
        self.output = values[nodes[-1].name]
        self._hint = None if hint is None else values[hint]
        self._forward = [(name, op.forward()) for name, op in self.ops.items()]

    def _build_backward(self, hint: str | None) -> None:
        self.d_output: Array = self.xp.zeros_like(self.output)
        last = self.graph.nodes[-1].name
        incoming: dict[str, list[Array]] = {self.alias.get(last, last): [self.d_output]}
        self._d_hint: Array | None = None
        if hint is not None:
            self._d_hint = self.xp.zeros_like(self._hint)
            incoming.setdefault(self.alias.get(hint, hint), []).append(self._d_hint)
        self._backward: list[tuple[str, list[Phase]]] = []
        for node in reversed(self.graph.nodes):
            if node.name in self.alias or node.name not in incoming:
                continue
            op = self.ops[node.name]
            phases = []
            parts = incoming.pop(node.name)
            shaped = [part.reshape(op.y.shape) for part in parts]
            op.dy = shaped[0]
            if len(parts) > 1:
                op.dy = self._buffers.gradient(op.y.shape)
                phases.append(Phase(_sum_into(op.dy, shaped, self.xp)))
            op.allocate_gradients([source != INPUT for source in node.inputs])
            self._backward.append((node.name, phases + op.backward()))
            for source, dx in zip(node.inputs, op.dxs, strict=True):
                if source != INPUT and dx is not None:
                    incoming.setdefault(self.alias.get(source, source), []).append(dx)
            waiting = [array for arrays in incoming.values() for array in arrays]
            self._buffers.release([*parts, op.dy], waiting)

    def _run(self, steps: list[tuple[str, list[Phase]]]) -> None:
        phases = [phase for _, part in steps for phase in part]
        for whole, group in groupby(phases, key=lambda phase: phase.whole):
            runs = [phase.run for phase in group]
            if whole:
                for run in runs:
                    run(0, 0)
            else:
                self._run_blocks(runs)

    def _each(self, count: int, work: Callable[[int, int], None]) -> None:
        """work(i, worker) for all i below count, by all threads."""
        left = iter(range(count))

        def take(worker: int) -> None:
            for i in left:
                work(i, worker)

        others = [pool.submit(take, worker) for worker, pool in enumerate(self.pools, 1)]
        take(0)
        for other in others:
            other.result()

    def _run_blocks(self, runs: list[Callable[[int, int], None]]) -> None:
        def work(block: int, worker: int) -> None:
            for run in runs:
                run(block, worker)

        self._each(self.blocks, work)

    def forward(self, x: NDArray[Any]) -> Array:
        """The output, (batch, F) or (batch, H, W, C) float32.

        x: (batch, H, W, C) float32, preprocessed.
        """
        self._spread(self.xp.asarray(x), self.input)
        ops = list(self.ops.values())
        self._each(len(ops), lambda i, _worker: ops[i].prepare())
        self._run(self._forward)
        return self._joined(self.output)

    def hinted(self) -> Array:
        """The hint's output of the last ``forward``, (batch, F) or (batch, H, W, C) float32."""
        assert self._hint is not None
        return self._joined(self._hint)

    def backward(self, dy: Array, d_hint: Array | None = None) -> None:
        """Fill the gradients.

        dy: the loss's gradient with respect to ``forward``'s output (same shape).

        d_hint: with respect to the hint's output, beside what reaches it by dy.
        """
        self._spread(dy, self.d_output)
        if d_hint is not None and self._d_hint is not None:
            self._spread(d_hint, self._d_hint)
        self._run(self._backward)
        self._each(len(self._backward), lambda i, _worker: self.ops[self._backward[i][0]].finish())

    def _joined(self, y: Array) -> Array:
        """Blocks (blocks, C, ..., images) as one batch (batch, ..., C)."""
        joined = y.transpose(0, y.ndim - 1, *range(2, y.ndim - 1), 1)
        return joined.reshape(self.blocks * self.images, *joined.shape[2:])

    def _spread(self, y: Array, out: Array) -> None:
        """The way back of ``_joined``."""
        split = y.reshape(self.blocks, self.images, *y.shape[1:])
        out[...] = split.transpose(0, split.ndim - 1, *range(2, split.ndim - 1), 1)

    def batch_norms(self) -> list[BatchNormOp]:
        """The batch-norm operations, in the order of the network."""
        return [op for op in self.ops.values() if isinstance(op, BatchNormOp)]

    def check_finite(self) -> None:
        """Raise NumericalError that names the first node whose output is not finite."""
        for name, op in self.ops.items():
            if not bool(self.xp.isfinite(op.y).all()):
                raise NumericalError(f"layer {name}: the output is not finite")

    def close(self) -> None:
        """End the threads and let go of all buffers: operations and network refer to each other."""
        for pool in self.pools:
            pool.shutdown()
        self.ops.clear()
        self._forward.clear()


def _block(graph: Graph, trained: bool) -> int:
    """Images a block at most, as suits the kernels."""
    if not trained:
        return FEWEST
    largest = max(map(prod, graph.shapes.values()))
    return min(max(FEWEST, BLOCK_FLOATS // largest), MOST)


def to_host(array: Array) -> Array:
    """A copy that NumPy owns, whichever array module the array is of."""
    get: Callable[[], Array] | None = getattr(array, "get", None)  # CuPy's way back to the host
    return get() if get is not None else array.copy()


def _sum_into(out: Array, parts: list[Array], xp: Any) -> Callable[[int, int], None]:
    def run(b: int, _t: int) -> None:
        xp.add(parts[0][b], parts[1][b], out=out[b])
        for part in parts[2:]:
            out_b = out[b]
            out_b += part[b]

    return run
