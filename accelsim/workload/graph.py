"""From a model's graph to what each of its layers asks of any machine.

A layer work is a convolution, a fully connected layer (a 1 x 1 convolution of a 1 x 1 image), a
pooling, an addition or another element-wise pass.
Folded away, at no cost: ReLU, clipping, batch-norm, affine and any other function of single numbers
right behind a convolution, a linear layer, an addition or a product (they ride on its output path,
by a table where need be); what only moves numbers: flatten, reshape, transpose, slices, joins,
padding and 1 x 1 subsampling (addressing).  Softmax, layer, group and instance normalisation,
resizing and products of two maps are element-wise passes of kind ``other``.  A product of two
matrices of the image (attention) is a convolution whose weights, without zeros, are the second one.
An operator that is not known costs what it reads and writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np

from accelsim.dual.model import DualModel, winograd_eligible
from accelsim.errors import InputError
from accelsim.network import INPUT, Graph, Node
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    PadImage,
    Relu,
)
from accelsim.network.tensors import (
    Combine,
    Expand,
    FakeQuantize,
    Join,
    MatrixProduct,
    Opaque,
    Operand,
    Pad,
    Pointwise,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Standardize,
    Take,
    Transpose,
)
from accelsim.workload.layer import MAX_DRAWN_WEIGHTS, LayerWork

# Layers whose output path others ride on, those that ride, those that only move numbers.
COMPUTE = (Conv, Linear, Add, Combine, MatrixProduct, AveragePool, GlobalAveragePool)
RIDE = (Relu, Clip, Affine, BatchNorm, Pointwise, FakeQuantize, Operand)
MOVE = (Concat, Flatten, PadChannels, PadImage, Reshape, Transpose, Expand, Slice, Take, Pad, Join)
# as many in as out, or taken to be
KEEP_ZEROS = (Relu, Clip, Affine, BatchNorm, Flatten, Reshape, Transpose)


def model_works(model: DualModel, batch: int) -> tuple[LayerWork, ...]:
    """What each layer of a ``.dual`` file asks, in order, for a batch of images.

    Raises InputError if none asks anything: a network that only moves numbers.
    """
    density = _densities(model)
    graph = model.network.graph
    works = tuple(work for node in graph.nodes if (work := _node_work(model, node, density, batch)) is not None)
    if not works:
        raise InputError(
            f"{graph.name}: its {len(graph.nodes)} layers only move numbers, expected one at least that computes"
        )
    return works


def _node_work(
    model: DualModel,
    node: Node,
    density: Mapping[str, float],
    batch: int,
) -> LayerWork | None:
    """What one node of the graph asks; None if it costs nothing.  density: of ``_densities``."""
    graph = model.network.graph
    layer = node.layer
    if _costs_nothing(graph, node):
        return None
    make = _work_of_shape(model, node, density, batch)
    match layer:
        case Conv():
            return make(
                "conv",
                kernel=layer.kernel,
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
                weights=model.network.arrays[f"{node.name}.weight"],
                winograd_threshold=model.threshold_of(node.name) if winograd_eligible(node) else None,
            )
        case Linear():
            return make("linear", weights=model.network.arrays[f"{node.name}.weight"][:, :, None, None])
        case MaxPool() | AveragePool():
            return make("pool", kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
        case GlobalAveragePool():
            height, width, _ = _image(graph.shapes[node.inputs[0]])
            return make("pool", kernel=(height, width), stride=(height, width))
        case Add():
            return make("add", inputs=len(node.inputs))
        case LocalResponseNorm() | Relu() | Clip() | Affine() | BatchNorm():
            return make("other")
    if isinstance(layer, MatrixProduct):
        return _product_work(model, node, density, batch)
    if (settings := _vector_work(graph, node)) is not None:
        return make("other", **settings)
    raise TypeError(f"node {node.name}: no layer work for {type(layer).__name__}")


def _work_of_shape(
    model: DualModel,
    node: Node,
    density: Mapping[str, float],
    batch: int,
) -> Callable[..., LayerWork]:
    """A layer work with the node's name, sizes and densities, of the kind and with the rest that is given to it."""
    shapes = model.network.graph.shapes
    height, width, in_channels = _image(shapes[node.inputs[0]])
    out_height, out_width, out_channels = _image(shapes[node.name])
    input_density = model.input_density.get(node.name)
    if input_density is None:
        input_density = np.array([np.mean([density[source] for source in node.inputs])], np.float32)
    return partial(
        LayerWork,
        node.name,
        batch=batch,
        in_channels=in_channels,
        height=height,
        width=width,
        out_channels=out_channels,
        out_height=out_height,
        out_width=out_width,
        input_density=np.broadcast_to(input_density, (in_channels,)),
        output_density=density[node.name],
        coded_bits=model.coded_bits.get(node.name),
        sources=tuple(_producers(model.network.graph, node.inputs)),
    )


def _vector_work(graph: Graph, node: Node) -> dict[str, Any] | None:
    """How a layer without weights passes through the vector lanes; None if it is no such layer.

    A normalisation over other axes than the last one reads its tensor twice, first for the
    statistics.
    """
    layer = node.layer
    shapes = [graph.shapes[source] for source in node.inputs]
    match layer:
        case Pointwise() | FakeQuantize() | Operand():
            return {"inputs": 1}
        case Combine():
            return {"inputs": 2 if prod(shapes[0]) == prod(shapes[1]) else 1}
        case Softmax():
            return {"inputs": 1 if layer.axis == len(shapes[0]) - 1 else 2}
        case Standardize():
            return {"inputs": 1 if layer.axes == (len(shapes[0]) - 1,) else 2}
        case Resize():
            taps = {"nearest": 1, "linear": 2, "cubic": 4}[layer.mode]
            return {"inputs": 1, "kernel": (taps, taps), "stride": (taps, taps)}
        case Reduce():
            window = max(1, prod(shapes[0]) // prod(graph.shapes[node.name]))
            return {"inputs": 1, "kernel": (window, 1)}
        case Opaque():
            return {"inputs": len(shapes)}
    return None


def _product_work(
    model: DualModel,
    node: Node,
    density: Mapping[str, float],
    batch: int,
) -> LayerWork:
    """A product of two tensors of an image: a 1 x 1 convolution whose weights are the second tensor, of no zeros.

    Every image and every matrix of a stack is a group of its own.
    """
    graph = model.network.graph
    a, b = (graph.shapes[source] for source in node.inputs)
    stack = batch * prod(graph.shapes[node.name][:-2])
    M = a[-2]
    K = a[-1]
    N = b[-1]
    if stack * K * N > MAX_DRAWN_WEIGHTS:
        raise InputError(
            f"{graph.name}: layer {node.name} multiplies by {stack * K * N} numbers in a batch of {batch}, "
            f"expected at most {MAX_DRAWN_WEIGHTS}"
        )
    return LayerWork(
        node.name,
        "conv",
        batch=1,
        in_channels=stack * K,
        height=M,
        width=1,
        out_channels=stack * N,
        out_height=M,
        out_width=1,
        groups=stack,
        weights=np.ones((stack * N, K, 1, 1), np.float32),
        input_density=np.full(stack * K, density[node.inputs[0]], np.float32),
        output_density=density[node.name],
        sources=tuple(_producers(graph, node.inputs[:1])),
    )


def _producers(graph: Graph, names: Iterable[str]) -> Iterator[str]:
    """The layers with work of their own, or ``input``, that the named tensors come from, through what costs nothing."""
    for name in names:
        if name == INPUT:
            yield INPUT
            continue
        node = graph.node(name)
        if _costs_nothing(graph, node):
            yield from _producers(graph, node.inputs)
        else:
            yield name


def _costs_nothing(graph: Graph, node: Node) -> bool:
    """Whether a node is addressing, or rides along with the layer in front of it."""
    match node.layer:
        case MaxPool() | AveragePool():
            return node.layer.kernel == (1, 1)
    if isinstance(node.layer, RIDE):
        return _rides_along(graph, node.inputs[0])
    return isinstance(node.layer, MOVE)


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of a tensor; a vector is an image of one pixel, what has other sizes one column."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return prod(shape[:-1]), 1, prod(shape[-1:])


def _densities(model: DualModel) -> dict[str, float]:
    """Density of the input's and each node's tensor, as a layer with weights finds it there.

    1 where none does.
    """
    graph = model.network.graph
    density = dict.fromkeys([INPUT, *graph.shapes], 1.0)
    for node in reversed(graph.nodes):
        found = model.input_density.get(node.name)
        if found is not None:
            density[node.inputs[0]] = float(np.mean(found))
        elif isinstance(node.layer, KEEP_ZEROS) and density[node.inputs[0]] == 1.0:
            density[node.inputs[0]] = density[node.name]
    return density


def _rides_along(graph: Graph, producer: str) -> bool:
    """Whether an element-wise layer behind ``producer`` is done on the way out of the layer that computes."""
    while producer != INPUT:
        node = graph.node(producer)
        if isinstance(node.layer, COMPUTE):
            return True
        if not isinstance(node.layer, RIDE):
            return False
        producer = node.inputs[0]
    return False
