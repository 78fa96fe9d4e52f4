"""How much a network asks for: parameters, dense MACs, and multiplies under Winograd.

A dense MAC is one multiply-accumulate of the spatial, unpruned layer.  Only convolutions and
fully-connected layers are counted; biases, normalisation, pooling and the Winograd transforms'
additions are not.  Winograd multiplies are the element-wise ones of F(m x m, R x S), edge tiles
padded to whole ones.
"""

from collections.abc import Mapping
from math import prod

from accelsim.network.graph import INPUT, Graph
from accelsim.network.layers import Conv, Linear

WORKING_COPIES = 4


def dense_macs(graph: Graph) -> dict[str, int]:
    """Dense MACs an image of each conv and linear node, by name."""
    macs = {}
    for node in graph.nodes:
        match node.layer:
            case Conv() as layer:
                P, Q, K = graph.shapes[node.name]
                macs[node.name] = P * Q * K * (layer.in_channels // layer.groups) * prod(layer.kernel)
            case Linear() as layer:
                macs[node.name] = layer.in_features * layer.out_features
    return macs


def winograd_multiplies(graph: Graph, tiles: Mapping[str, int]) -> dict[str, int]:
    """Multiplies an image of each conv and linear node, by name, with F(m, r) on the nodes of ``tiles``.

    tiles: m by node name, for convolutions at stride 1; the other nodes count their dense MACs.
    Raises ValueError if a node of ``tiles`` is no such convolution.
    """
    counts = dense_macs(graph)
    for name, m in tiles.items():
        layer = graph.node(name).layer
        if not isinstance(layer, Conv) or layer.stride != (1, 1) or layer.dilation != (1, 1):
            raise ValueError(f"node {name}: Winograd needs a convolution at stride 1 without dilation")
        P, Q, K = graph.shapes[name]
        R, S = layer.kernel
        C = layer.in_channels // layer.groups
        counts[name] = -(-P // m) * -(-Q // m) * (m + R - 1) * (m + S - 1) * K * C
    return counts


def peak_bytes(graph: Graph) -> int:
    """Bytes that the float32 values of one image take at once in a forward pass, on the safe side.

    All values that later nodes still read, the node's output, and ``WORKING_COPIES`` of its inputs
    (padded, unfolded, transformed).
    """
    last_use = {source: i for i, node in enumerate(graph.nodes) for source in node.inputs}
    live = {INPUT: prod(graph.input_shape)}
    peak = 0
    for i, node in enumerate(graph.nodes):
        live[node.name] = prod(graph.shapes[node.name])
        padding = getattr(node.layer, "padding", (0, 0))
        copies = 0
        for source in node.inputs:
            *size, channels = graph.shapes[source]
            padded = [x + 2 * p for x, p in zip(size, padding, strict=False)]
            copies += WORKING_COPIES * prod(padded) * channels
        peak = max(peak, sum(live.values()) + copies)
        for source in set(node.inputs):
            if last_use[source] == i:
                del live[source]
    return 4 * peak


def tiles_by_kernel(graph: Graph, m: Mapping[int, int]) -> dict[str, int]:
    """The tile size of each convolution at stride 1 with a square kernel r x r in ``m`` (r to m), by node name."""
    return {
        node.name: m[node.layer.kernel[0]]
        for node in graph.nodes
        if isinstance(node.layer, Conv)
        and node.layer.stride == node.layer.dilation == (1, 1)
        and node.layer.kernel[0] == node.layer.kernel[1]
        and node.layer.kernel[0] in m
    }


def parameters(graph: Graph) -> int:
    """Trained numbers: weights, biases, and batch normalisation's scale and shift, not its running statistics."""
    return sum(
        prod(shape) for name, shape in graph.parameters.items() if not name.endswith((".running_mean", ".running_var"))
    )


def weights(graph: Graph) -> int:
    """Weights of the convolutions and fully-connected layers alone."""
    return sum(prod(node.layer.parameters()["weight"]) for node in graph.nodes if isinstance(node.layer, Conv | Linear))
