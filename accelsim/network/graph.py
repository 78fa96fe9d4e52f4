"""A network: nodes in topological order, each one layer applied to named earlier nodes, and the arrays they use."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from accelsim.network.layers import Layer
from accelsim.network.record import Shape, Size
from accelsim.settings import Section

INPUT = "input"  # the name by which nodes refer to the network's input
MAX_ELEMENTS = 1 << 36  # of one image's map, as in a table of layers: no memory of today holds more

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.\-/]+$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


MOST_PIXEL = 1e9  # that a pixel may become: what a layer makes of more leaves float32


class Preprocessing(Section):
    """How uint8 pixels become the network's input.

    (x / scale - mean) / std, channels in the order given.  Black and white become numbers of at
    most ``MOST_PIXEL``.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 255.0
    mean: tuple[Finite, ...] = (0.0,)
    std: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = (1.0,)
    order: Literal["rgb", "bgr"] = "rgb"

    @model_validator(mode="after")
    def _within_float32(self) -> "Preprocessing":
        with np.errstate(all="ignore"):
            ends = np.array([[0.0], [255.0]]) / self.scale - np.array(self.mean)
            whole = ends[:, :, None] / np.array(self.std)  # each mean with each std
        if not (np.float32(self.scale) > 0 and np.abs(whole).max() <= MOST_PIXEL):  # NaN is not
            raise ValueError(f"scale, mean and std make pixels numbers beyond {MOST_PIXEL:g}, expected less")
        return self

    def apply(self, pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """pixels: (N, H, W, C) uint8, or float32 on the same scale, RGB -> the same shape, float32."""
        x = pixels[..., ::-1] if self.order == "bgr" else pixels
        mean = np.array(self.mean, np.float32)
        std = np.array(self.std, np.float32)
        return np.asarray((x.astype(np.float32) / np.float32(self.scale) - mean) / std)


class Node(Section):
    """One layer of the graph.

    Its name, what it does, and the nodes (or ``input``) that it reads.
    """

    name: Name
    layer: Layer
    inputs: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]


class Graph(Section):
    """The layers of a network in topological order.

    The last node is its output, or one of its ``outputs``.

    Construction checks names, order and shapes; pydantic's ValidationError says which node is wrong
    and why.
    """

    name: Name
    input_shape: tuple[Size, Size, Size]
    nodes: Annotated[tuple[Node, ...], Field(min_length=1, max_length=10_000)]
    preprocessing: Preprocessing = Preprocessing()
    outputs: Annotated[tuple[Name, ...], Field(max_length=256)] = ()
    """The nodes that are outputs, where there are others than the last one."""

    @model_validator(mode="after")
    def _check(self) -> "Graph":
        seen = {INPUT}
        for node in self.nodes:
            if node.name in seen:
                raise ValueError(f"node {node.name}: the name is used twice")
            for source in node.inputs:
                if source not in seen:
                    raise ValueError(f"node {node.name}: reads {source!r}, which is no earlier node")
            seen.add(node.name)
        if unknown := [name for name in self.outputs if name not in seen - {INPUT}]:
            raise ValueError(f"output {unknown[0]!r} is no node")
        _ = self.shapes
        return self

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Output shape of each node, and of ``input``.

        Raises ValueError naming the node that does not fit.
        """
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for node in self.nodes:
            try:
                shape = node.layer.output_shape(tuple(shapes[source] for source in node.inputs))
            except ValueError as error:
                raise ValueError(f"node {node.name}: {error}") from None
            if prod(shape) > MAX_ELEMENTS:
                raise ValueError(f"node {node.name}: {prod(shape)} numbers an image, expected at most {MAX_ELEMENTS}")
            shapes[node.name] = shape
        return shapes

    @cached_property
    def parameters(self) -> dict[str, Shape]:
        """Name and shape of every array the network stores, in order: ``NODE.weight`` and so on."""
        return {f"{node.name}.{key}": shape for node in self.nodes for key, shape in node.layer.parameters().items()}

    def node(self, name: str) -> Node:
        """The node of that name.  Raises KeyError."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def with_input_shape(self, shape: tuple[int, int, int]) -> "Graph":
        """A graph of these layers on images of another size.

        Raises pydantic's ValidationError if they do not fit.
        """
        return Graph(
            name=self.name,
            input_shape=shape,
            nodes=self.nodes,
            preprocessing=self.preprocessing,
            outputs=self.outputs,
        )


@dataclass(frozen=True)
class Network:
    """A graph and its arrays, float32, by the names of ``graph.parameters``.

    Raises ValueError if an array is missing, superfluous, of the wrong shape, or a variance that is
    negative.
    """

    graph: Graph
    arrays: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        expected = self.graph.parameters
        if missing := sorted(expected.keys() - self.arrays.keys()):
            raise ValueError(f"{self.graph.name}: array {missing[0]!r} is missing ({len(missing)} in all)")
        if extra := sorted(self.arrays.keys() - expected.keys()):
            raise ValueError(f"{self.graph.name}: array {extra[0]!r} belongs to no layer ({len(extra)} in all)")
        for name, shape in expected.items():
            if self.arrays[name].shape != shape:
                raise ValueError(
                    f"{self.graph.name}: array {name!r} has shape {self.arrays[name].shape}, expected {shape}"
                )
            if name.endswith(".running_var") and not (self.arrays[name] >= 0).all():
                raise ValueError(f"{self.graph.name}: array {name!r} holds a negative variance")
