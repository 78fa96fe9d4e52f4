"""A network as a table of layers, without its weights: shapes are enough for speed and energy.

A row a layer that costs something, as ``accelsim.workload`` finds them in a ``.dual`` file, and
which rows it reads; products of two matrices of the image (attention) are convolutions.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.errors import InputError
from accelsim.network.graph import INPUT, Graph, Network, Node
from accelsim.network.layers import Add, AveragePool, Conv, GlobalAveragePool, Linear, LocalResponseNorm, MaxPool
from accelsim.network.table_layer import Kind, TableLayer
from accelsim.network.tables import fault_of_reads
from accelsim.network.tensors import Combine, MatrixProduct, Opaque, Reduce, Resize, Softmax, Standardize


def tabulate(network: Network, density: Mapping[str, Array]) -> list[TableLayer]:
    """The layers of a network, in order.

    density: the share of inputs that are not zero of layers with weights, by name, where it was
    measured; 1 otherwise.
    Raises InputError that names the node which a table cannot describe.
    """
    layers: dict[str, TableLayer] = {}
    made: dict[str, tuple[str, ...]] = {INPUT: (INPUT,)}  # by node: the rows that its output comes from
    for node in network.graph.nodes:
        read = tuple(name for source in node.inputs for name in made[source])
        found = _row(network.graph, node)
        if found is None:
            made[node.name] = read
            continue
        made[node.name] = (node.name,)
        kind, sizes, settings = found
        weight = network.arrays.get(f"{node.name}.weight") if kind in ("conv", "linear") else None
        kept = 1.0 if weight is None else float(np.count_nonzero(weight)) / weight.size
        active = float(np.mean(density[node.name])) if node.name in density else 1.0
        H, W, C, K = sizes
        row = TableLayer(
            name=node.name,
            kind=kind,
            in_channels=C,
            out_channels=K,
            height=H,
            width=W,
            weight_density=kept,
            activation_density=active,
            **settings,
        )
        layers[node.name] = _reading(
            row, made[node.inputs[0]] if isinstance(node.layer, MatrixProduct) else read, layers
        )
    return list(layers.values())


def _reading(row: TableLayer, read: tuple[str, ...], layers: Mapping[str, TableLayer]) -> TableLayer:
    """The row with the rows that it reads: each once where parts of one are joined, none where a table cannot say."""
    for names in (read, tuple(dict.fromkeys(read))):
        whole = replace(row, inputs=names)
        if not fault_of_reads(whole, [layers[name] for name in names if name != INPUT]):
            return whole
    return row


def _row(graph: Graph, node: Node) -> tuple[Kind, tuple[int, int, int, int], dict[str, Any]] | None:
    """Kind, (H, W, C, K) and the other cells of a node; None if it costs nothing."""
    layer = node.layer
    shapes = [graph.shapes[source] for source in node.inputs]
    H, W, C = _image(shapes[0])
    P, Q, K = _image(graph.shapes[node.name])
    match layer:
        case Conv():
            down, across = (1 if k == 1 else d for k, d in zip(layer.kernel, layer.dilation, strict=True))
            if down != across and min(layer.kernel) > 1:
                raise InputError(f"node {node.name}: dilation {layer.dilation}, a table has one for both directions")
            settings = {"kernel": layer.kernel, "groups": layer.groups, "dilation": max(down, across)}
            return "conv", (H, W, C, K), {**settings, **_moving(layer)}
        case Linear():
            return "linear", (1, 1, C, K), {}
        case MaxPool() | AveragePool() if layer.kernel != (1, 1):
            return "pool", (H, W, C, K), {"kernel": layer.kernel, **_moving(layer)}
        case GlobalAveragePool():
            return "pool", (H, W, C, K), {"kernel": (H, W)}
        case Add() | Combine():
            return "add", (P, Q, K, K), {}
        case MatrixProduct():
            a, b = shapes
            stack = prod(graph.shapes[node.name][:-2])
            return "conv", (a[-2], 1, stack * a[-1], stack * b[-1]), {"groups": stack}
        case Reduce():
            n = max(1, H * W * C // max(1, P * Q * K))
            return "pool", (n, 1, P * Q * K, P * Q * K), {"kernel": (n, 1)}
        case LocalResponseNorm() | Softmax() | Standardize() | Resize() | Opaque():
            return "other", (P, Q, K, K), {}
    return None


def _moving(layer: Conv | MaxPool | AveragePool) -> dict[str, Any]:
    """Stride and padding of a window."""
    settings: dict[str, Any] = {"stride": layer.stride[0], "padding": layer.padding[0]}
    if layer.padding[0] != layer.padding[1]:
        settings["padding_w"] = layer.padding[1]
    if layer.stride[1] != layer.stride[0]:
        settings["stride_w"] = layer.stride[1]
    return settings


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (prod(shape[:-1]), 1, prod(shape[-1:]))
