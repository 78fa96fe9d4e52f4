"""Only the last layers are trained: what goes into them is computed once.

The layers before a node stay as they are, so that every image (and, if the recipe flips, its mirror
image) always enters the last ones with the same values, and the teacher always says the same of it.
Both are kept, the values as float16; a step then costs what the last layers cost.  In a ResNet
these hold most of the weights, and few multiplies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Ints
from accelsim.network.graph import INPUT, Graph, Network, Node, Preprocessing
from accelsim.training.compiled import CompiledNetwork, Execution, Learning
from accelsim.training.datasets import Source
from accelsim.training.losses import Guide

BATCH = 16


@dataclass(frozen=True)
class Features:
    """What enters the last layers; with mirror images for V = 2 views of each image, else 1."""

    values: NDArray[np.float16]  # (V, N, H, W, C)
    labels: Ints  # (N,)
    guide: Array | None  # (V, N, classes), the teacher's outputs, if there is one
    hint: NDArray[np.float16] | None = None  # (V, N, ...), its hints, if asked for

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Ints, rng: np.random.Generator) -> tuple[Array, Ints, Guide | None]:
        """(values (n, H, W, C) float32, labels, guide) of the images at ``index``.

        Each is as it is, or mirrored.
        """
        view = rng.integers(0, len(self.values), len(index))
        hint = None if self.hint is None else self.hint[view, index].astype(np.float32)
        guide = None if self.guide is None else Guide(self.guide[view, index], hint)
        return self.values[view, index].astype(np.float32), self.labels[index], guide


def split(graph: Graph, name: str) -> tuple[Graph, Graph]:
    """The layers before the node, and the node with those after it.

    They are joined by the one value that the node reads.

    Raises ValueError if there is no such node, or if later layers read others of the layers before
    it.
    """
    names = [node.name for node in graph.nodes]
    if name not in names[1:]:
        raise ValueError(f"no node {name!r} with others before it, expected one of {', '.join(names[1:])}")
    at = names.index(name)
    joint = graph.nodes[at].inputs[0]
    if names[at - 1] != joint:
        raise ValueError(f"node {name!r} reads {joint!r}, expected one that reads the node before it")
    tail = []
    for node in graph.nodes[at:]:
        inputs = tuple(INPUT if source == joint else source for source in node.inputs)
        if set(node.inputs) & {INPUT, *names[: at - 1]}:
            fault = f"node {node.name!r} reads a layer before {joint!r}"
            raise ValueError(f"{fault}, expected a node where all pass one value")
        tail.append(Node(name=node.name, layer=node.layer, inputs=inputs))
    shape = graph.shapes[joint]
    if len(shape) != 3:
        raise ValueError(f"node {name!r} reads a vector, expected one that reads an image")
    head = Graph(
        name=graph.name, input_shape=graph.input_shape, nodes=graph.nodes[:at], preprocessing=graph.preprocessing
    )
    after = Graph(
        name=graph.name,
        input_shape=shape,
        nodes=tuple(tail),
        preprocessing=Preprocessing(scale=1.0),
    )
    return head, after


def features(
    head: Network,
    images: Source,
    flip: bool,
    teacher: Network | None,
    workers: int,
    hint: str | None = None,
) -> Features:
    """What the layers before make of the images, and what the teacher says of them.

    At the node ``hint``, too.
    """
    count = len(images)
    views = 2 if flip else 1
    execution = Execution(workers=workers)
    compiled = CompiledNetwork(head.graph, head.arrays, BATCH, execution=execution)
    values = np.empty((views, count, *_output(head.graph)), np.float16)
    guide = hints = compiled_teacher = None
    if teacher is not None:
        compiled_teacher = CompiledNetwork(
            teacher.graph, teacher.arrays, BATCH, learning=Learning(hint=hint), execution=execution
        )
        guide = np.empty((views, count, *_output(teacher.graph)), np.float32)
        hints = None if hint is None else np.empty((views, count, *teacher.graph.shapes[hint]), np.float16)
    for first in range(0, count, BATCH):
        # the last batch is filled up with its last image
        index = np.arange(first, first + BATCH).clip(max=count - 1)
        some = slice(first, min(first + BATCH, count))
        pixels = images.take(index)
        for view in range(views):
            x = head.graph.preprocessing.apply(pixels[:, :, ::-1] if view else pixels)
            values[view, some] = compiled.forward(x)[: some.stop - first]
            if guide is not None and compiled_teacher is not None:
                guide[view, some] = compiled_teacher.forward(x)[: some.stop - first]
                if hints is not None:
                    hints[view, some] = compiled_teacher.hinted()[: some.stop - first]
    compiled.close()
    if compiled_teacher is not None:
        compiled_teacher.close()
    return Features(values, images.labels, guide, hints)


def _output(graph: Graph) -> tuple[int, ...]:
    return graph.shapes[graph.nodes[-1].name]
