"""What an integer machine does in one go: a layer, and the simple layers behind it that ride on its output path.

Batch normalization (or the scale and shift that it was folded to) right behind a layer with weights
becomes part of them: the scale of each channel goes into its filter, the shift into its bias.  ReLU
and clipping become the range of the outputs.  A layer rides along only if nothing else reads what
it reads.
"""

from dataclasses import dataclass
from math import inf

import numpy as np

from accelsim.arrays import Floats
from accelsim.network import Graph, Network, Node
from accelsim.network.forward import fold_statistics
from accelsim.network.layers import (
    Affine,
    BatchNorm,
    Clip,
    Conv,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    PadChannels,
    PadImage,
    Relu,
)
from accelsim.network.tensors import Pad

# Layers that hand on numbers as they are, or cut them; the outputs of all others are rounded anew.
MOVING = (MaxPool, PadChannels, PadImage, Flatten, Relu, Clip)


def hands_on(layer: Layer) -> bool:
    """Whether outputs are the inputs' numbers, in the inputs' unit: ``MOVING``, or padding in front of a maximum."""
    return isinstance(layer, MOVING) or (isinstance(layer, Pad) and layer.below_all)


@dataclass(frozen=True)
class FusedLayer:
    """A layer with what rides on its output path."""

    node: Node  # the layer
    norms: tuple[str, ...]  # affine and batch-norm nodes that are part of it
    low: float  # no output is below
    high: float  # no output is above
    output: str  # the node whose output is the group's
    before_bounds: str  # the node whose output that is without low and high

    @property
    def name(self) -> str:
        """Name of the layer that the group begins with."""
        return self.node.name

    @property
    def rounds(self) -> bool:
        """Whether outputs have a scale of their own."""
        return not hands_on(self.node.layer)


def groups(graph: Graph) -> tuple[FusedLayer, ...]:
    """The groups of a graph, in order; every node is in one."""
    readers: dict[str, list[Node]] = {node.name: [] for node in graph.nodes}
    for node in graph.nodes:
        for source in node.inputs:
            if source in readers:
                readers[source].append(node)
    found = []
    taken: set[str] = set()
    for node in graph.nodes:
        if node.name in taken:
            continue
        group = _grown(node, readers)
        taken |= {node.name, *group.norms}
        at = group.before_bounds
        while at != group.output:
            at = readers[at][0].name
            taken.add(at)
        found.append(group)
    return tuple(found)


def _grown(node: Node, readers: dict[str, list[Node]]) -> FusedLayer:
    """The node with all that rides along."""
    norms: list[str] = []
    low, high = _bounds(node)
    at = before = node.name
    while len(readers[at]) == 1 and not hands_on(node.layer):
        following = readers[at][0]
        if isinstance(following.layer, Affine | BatchNorm) and isinstance(node.layer, Conv | Linear) and at == before:
            norms.append(following.name)
            before = following.name
        elif isinstance(following.layer, Relu | Clip):
            least, most = _bounds(following)
            low = min(max(low, least), most)
            high = max(min(high, most), least)
        else:
            break
        at = following.name
    return FusedLayer(node, tuple(norms), low, high, at, before)


def _bounds(node: Node) -> tuple[float, float]:
    """The range of a layer's outputs."""
    layer = node.layer
    if isinstance(layer, Relu):
        return 0.0, inf
    if isinstance(layer, Clip):
        return -inf if layer.low is None else layer.low, inf if layer.high is None else layer.high
    return -inf, inf


def scale_and_bias(network: Network, group: FusedLayer) -> tuple[Floats, Floats]:
    """What a layer's sums are multiplied by and what is then added, for each output channel.

    (K,) and (K,).
    """
    arrays = network.arrays
    layer = group.node.layer
    assert isinstance(layer, Conv | Linear)
    channels = layer.out_channels if isinstance(layer, Conv) else layer.out_features
    scale = np.ones(channels)
    bias = np.zeros(channels)
    if layer.bias:
        bias = arrays[f"{group.name}.bias"].astype(np.float64)
    for name in group.norms:
        factor, shift = norm_factors(network, network.graph.node(name))
        scale = scale * factor
        bias = bias * factor + shift
    return scale, bias


def norm_factors(network: Network, node: Node) -> tuple[Floats, Floats]:
    """Factor and shift of each channel of an affine or batch-norm node: (C,) and (C,)."""
    parameters = {key: network.arrays[f"{node.name}.{key}"] for key in node.layer.parameters()}
    if isinstance(node.layer, BatchNorm):
        factor, shift = fold_statistics(node.layer, parameters)
        return factor.astype(np.float64), shift.astype(np.float64)
    return parameters["weight"].astype(np.float64), parameters["bias"].astype(np.float64)
