"""One threshold for all Winograd layers: weights rescaled, the network's function unchanged, so that it fits each.

A layer whose output only passes a ReLU on its way to other layers may be multiplied by c > 0 where those are divided by
c (cross-layer equalization, Nagel et al., arXiv:1906.04721).  A network with batch-norm folded into its weights has
layers of very different scales, and one threshold on all their Winograd-domain weights prunes the small-scale ones
bare.  Here every layer's own threshold, the one that LAMP scores (``reconstruction``) give it, is brought as near to
the others as such factors can: least squares of the logarithms, weighted by the layers' sizes.

Thresholds in the spatial domain move along, which matters only where the zeros are not there yet.
"""

import numpy as np

from accelsim.compression.joint import JointRegularizer
from accelsim.network.graph import Graph, Network
from accelsim.network.layers import Conv, Linear, Relu
from accelsim.training.kernels import Array
from accelsim.training.reconstruction import zeros_by_layer


def balanced(network: Network, regularizer: JointRegularizer, sparsity: float) -> dict[str, Array]:
    """The network's arrays, rescaled for the Winograd-domain sparsity s_WD over all layers together."""
    arrays = {name: array.copy() for name, array in network.arrays.items()}
    filters = regularizer.pruned_winograd(arrays, -1.0)
    counts, links = zeros_by_layer(filters, sparsity), free_links(network.graph)
    layers = [name for name, W in filters.items() if 0 < counts[name] < W.size]
    if not layers or not links:
        return arrays
    thetas = np.array([_threshold(np.abs(filters[name]).ravel(), counts[name]) for name in layers])
    moves = np.array([[(source == name) - (name in readers) for source, readers in links] for name in layers], float)
    share = np.array([filters[name].size for name in layers], float)
    share /= share.sum()
    wanted = np.log(thetas)
    root = np.sqrt(share)[:, None]
    factors = np.exp(np.linalg.lstsq(root * (moves - share @ moves), root[:, 0] * (share @ wanted - wanted))[0])
    for (source, readers), factor in zip(links, factors.astype(np.float32), strict=True):
        for key in ("weight", "bias"):
            if f"{source}.{key}" in arrays:
                arrays[f"{source}.{key}"] *= factor
        for reader in readers:
            arrays[f"{reader}.weight"] /= factor
    return arrays


def free_links(graph: Graph) -> list[tuple[str, tuple[str, ...]]]:
    """(layer, the layers that read it through a ReLU) wherever nothing else reads either."""
    nodes = {node.name: node for node in graph.nodes}
    readers: dict[str, list[str]] = {name: [] for name in nodes}
    for node in graph.nodes:
        for source in set(node.inputs) & nodes.keys():
            readers[source].append(node.name)
    links = []
    for name, node in nodes.items():
        between = readers[name]
        if not isinstance(node.layer, Conv | Linear) or len(between) != 1:
            continue
        if isinstance(nodes[between[0]].layer, Relu) and readers[between[0]]:
            ends = tuple(readers[between[0]])
            if all(isinstance(nodes[end].layer, Conv | Linear) for end in ends):
                links.append((name, ends))
    return links


def _threshold(magnitudes: Array, count: int) -> float:
    """The largest of the ``count`` smallest; if that is zero, the smallest that is not."""
    theta = float(np.partition(magnitudes, count - 1)[count - 1])
    return theta if theta > 0 else float(magnitudes[magnitudes > 0].min())
