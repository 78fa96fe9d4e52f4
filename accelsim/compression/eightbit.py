"""A network at 8 bits a weight, each filter by its own largest, nothing pruned.

Ready to be simulated.

A ``.dual`` file has one cell D for an array.  Filter k, whose own cell is D_k, is stored in units
of it, as integers times the array's D, and the scale behind the layer makes up for it:
f_k = D_k / D.  Where batch normalisation follows, it takes the scale up; elsewhere a scale and
shift of their own follow, which ride on the layer's output path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats, Levels
from accelsim.compression.calibrate import input_density
from accelsim.compression.fold import fold_batch_norm
from accelsim.compression.quantize import winograd_tiles
from accelsim.dual.file import CompressedNetwork
from accelsim.dual.quantizer import Quantizer
from accelsim.network import Graph, Network, Node
from accelsim.network.count import parameters
from accelsim.network.layers import Affine, Conv, Linear

LARGEST_INDEX = 127
VALUE_BITS = 20  # of biases and scales, among them those of single filters
BLOCK = 1 << 18  # weights that are rounded together
WINOGRAD_M = 2


@dataclass
class _Scaled:
    """The graph and arrays on their way."""

    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)
    indices: dict[str, Levels] = field(default_factory=dict)
    cells: dict[str, float] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)  # a layer -> the scale behind it


def eight_bit(
    network: Network,
    provenance: Mapping[str, str],
    images: Array | None = None,
    tile: int = WINOGRAD_M,
) -> CompressedNetwork:
    """The network as a file takes it.

    provenance: free text by key.  images: (N, H, W, C) float32 preprocessed, on which input
    densities are measured.
    tile: m of F(m, r) for the layers that Winograd serves.
    """
    folded = fold_batch_norm(network)
    density = {} if images is None else input_density(folded, images)
    graph = folded.graph
    arrays = folded.arrays
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for source in node.inputs:
            readers.setdefault(source, []).append(node)
    state = _Scaled()
    for node in graph.nodes:
        inputs = tuple(state.renamed.get(source, source) for source in node.inputs)
        moved = Node(name=node.name, layer=node.layer, inputs=inputs)
        if isinstance(node.layer, Conv | Linear):
            behind = readers.get(node.name, [])
            alone = len(behind) == 1 and isinstance(behind[0].layer, Affine) and node.name not in graph.outputs
            _weights(state, moved, arrays, absorbed=behind[0].name if alone else None)
            continue
        state.nodes.append(moved)
        for key in node.layer.parameters():
            name = f"{node.name}.{key}"
            state.values[name] = arrays[name] * state.values.pop(name, np.float32(1))
    outputs = tuple(state.renamed.get(name, name) for name in graph.outputs)
    whole = Graph(
        name=graph.name,
        input_shape=graph.input_shape,
        nodes=tuple(state.nodes),
        preprocessing=graph.preprocessing,
        outputs=outputs,
    )
    return CompressedNetwork(
        graph=whole,
        indices=state.indices,
        quantizer=Quantizer(state.cells, np.zeros(0)),
        values={name: state.values[name] for name in whole.parameters if name in state.values},
        winograd_m=winograd_tiles(whole, tile),
        winograd_threshold=0.0,
        input_density=density,
        provenance=provenance,
        parameters=parameters(network.graph),
        value_bits=VALUE_BITS,
    )


def _weights(state: _Scaled, node: Node, arrays: Mapping[str, Array], absorbed: str | None) -> None:
    """A layer's weights as integers, and its filters' scales.

    absorbed: the scale and shift that follows, if one does.

    A filter's factor multiplies that scale before it is seen (``state.values``).
    """
    name = f"{node.name}.weight"
    weight = arrays[name]
    flat = weight.reshape(len(weight), -1)
    largest = np.maximum(flat.max(axis=1, initial=0), -flat.min(axis=1, initial=0)).astype(np.float64)
    cells = np.where(largest > 0, largest, largest.max(initial=0) or 1.0) / LARGEST_INDEX
    D = float(np.float32(cells.max(initial=0)))
    factor = (cells / D).astype(np.float32)
    state.indices[name] = _rounded(weight, cells)
    state.cells[name] = D
    bias = arrays.get(f"{node.name}.bias")
    layer = node.layer
    assert isinstance(layer, Conv | Linear)
    plain = bool((factor == 1).all())
    if absorbed is not None or plain:
        if bias is not None:
            state.values[f"{node.name}.bias"] = bias / factor
        if absorbed is not None:
            state.values[f"{absorbed}.weight"] = factor
        state.nodes.append(node)
        return
    state.nodes.append(
        Node(
            name=node.name,
            layer=layer.model_copy(update={"bias": False}),
            inputs=node.inputs,
        )
    )
    scale = f"{node.name}.scale"[-200:]
    state.nodes.append(Node(name=scale, layer=Affine(channels=len(weight)), inputs=(node.name,)))
    state.values[f"{scale}.weight"] = factor
    state.values[f"{scale}.bias"] = np.zeros_like(factor) if bias is None else bias
    state.renamed[node.name] = scale


def _rounded(weight: Array, cells: Floats) -> NDArray[Any]:
    """The nearest whole multiple of each filter's cell: int8, a block at a time."""
    flat = weight.reshape(len(weight), -1)
    indices = np.empty(flat.shape, np.int8)
    each = max(1, BLOCK // max(1, flat.shape[1]))
    for first in range(0, len(flat), each):
        part = slice(first, first + each)
        indices[part] = np.rint(flat[part] / cells[part, None].astype(np.float32))
    return indices.reshape(weight.shape)
