"""Batch normalisation with fixed statistics as a scale and a shift per channel, as machines run it."""

from accelsim.network import Graph, Network, Node
from accelsim.network.forward import fold_statistics
from accelsim.network.layers import Affine, BatchNorm


def fold_batch_norm(network: Network) -> Network:
    """The same function with each ``batch_norm`` node an ``affine`` one of the same name."""
    nodes: list[Node] = []
    arrays = dict(network.arrays)
    for node in network.graph.nodes:
        if not isinstance(node.layer, BatchNorm):
            nodes.append(node)
            continue
        parameters = {key: arrays.pop(f"{node.name}.{key}") for key in node.layer.parameters()}
        arrays[f"{node.name}.weight"], arrays[f"{node.name}.bias"] = fold_statistics(node.layer, parameters)
        nodes.append(Node(name=node.name, layer=Affine(channels=node.layer.channels), inputs=node.inputs))
    graph = network.graph
    folded = Graph(
        name=graph.name, input_shape=graph.input_shape, nodes=tuple(nodes), preprocessing=graph.preprocessing
    )
    return Network(folded, arrays)
