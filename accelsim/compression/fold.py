"""Batch normalisation with fixed statistics as a scale and a shift per channel, as machines run it.

Where a convolution's filter is all zeros its output is 0, whatever the scale; there the scale
becomes 0, too.  Such a channel's variance is 0 and its scale up to 1 / sqrt(eps) times any other:
with one precision for all scales of a layer, it would leave next to none to the others.
"""

from accelsim.network import Graph, Network, Node
from accelsim.network.forward import fold_statistics
from accelsim.network.layers import Affine, BatchNorm, Conv


def fold_batch_norm(network: Network) -> Network:
    """The network's function with each ``batch_norm`` node as an ``affine`` one of its name."""
    nodes: list[Node] = []
    arrays = dict(network.arrays)
    for node in network.graph.nodes:
        if not isinstance(node.layer, BatchNorm):
            nodes.append(node)
            continue
        parameters = {key: arrays.pop(f"{node.name}.{key}") for key in node.layer.parameters()}
        scale, arrays[f"{node.name}.bias"] = fold_statistics(node.layer, parameters)
        source = next((n for n in network.graph.nodes if n.name == node.inputs[0]), None)
        if source is not None and isinstance(source.layer, Conv) and not source.layer.bias:
            scale = scale * network.arrays[f"{source.name}.weight"].any(axis=(1, 2, 3))
        arrays[f"{node.name}.weight"] = scale
        nodes.append(
            Node(
                name=node.name,
                layer=Affine(channels=node.layer.channels),
                inputs=node.inputs,
            )
        )
    graph = network.graph
    folded = Graph(
        name=graph.name,
        input_shape=graph.input_shape,
        nodes=tuple(nodes),
        preprocessing=graph.preprocessing,
        outputs=graph.outputs,
    )
    return Network(folded, arrays)
