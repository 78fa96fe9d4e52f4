"""A machine's convolutions in float32: in the domain it computes in, zeros skipped or pruned, widths left out."""

from accelsim.arrays import Array
from accelsim.datapath.spatial import sparse_convolution
from accelsim.dual.deploy import tile_sizes, winograd_convolution
from accelsim.dual.model import DualModel
from accelsim.hardware.datapath import Datapath
from accelsim.network import Node
from accelsim.network.forward import Convolution, convolve
from accelsim.network.layers import Conv


def float_convolution(model: DualModel, datapath: Datapath) -> Convolution:
    """A convolution for ``accelsim.network.forward`` as the machine computes it."""
    if datapath.kind == "spatial":
        return sparse_convolution(model.network)
    return winograd_part(model, datapath)


def winograd_part(model: DualModel, datapath: Datapath) -> Convolution:
    """A convolution on pruned Winograd-domain filters where the machine has them, direct elsewhere."""
    winograd = winograd_convolution(model, m=datapath.m, threshold=datapath.threshold)
    served = machine_tiles(model, datapath)

    def run(node: Node, x: Array, weight: Array) -> Array:
        assert isinstance(node.layer, Conv)
        if node.name not in served:
            return convolve(x, weight, node.layer)
        return winograd(node, x, weight)

    return run


def machine_tiles(model: DualModel, datapath: Datapath) -> dict[str, int]:
    """m of F(m x m, R x S) of each layer that the machine computes in the Winograd domain, by node name."""
    if datapath.kind == "spatial":
        return {}
    largest = datapath.largest_kernel
    layers = {node.name: node.layer for node in model.network.graph.nodes}
    found = {}
    for name, m in tile_sizes(model, datapath.m).items():
        layer = layers[name]
        assert isinstance(layer, Conv)
        if largest is None or max(layer.kernel) <= largest:
            found[name] = m
    return found
