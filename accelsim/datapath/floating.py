"""A machine's convolutions in float32.

In the domain it computes in, zeros skipped or pruned, widths left out.
"""

from accelsim.arrays import Array
from accelsim.datapath.spatial import sparse_convolution
from accelsim.dual.deploy import tile_sizes, transformed_convolution, winograd_filters
from accelsim.dual.model import DualModel
from accelsim.hardware.datapath import Datapath
from accelsim.network.forward import Convolution
from accelsim.network.layers import Conv


def float_convolution(model: DualModel, datapath: Datapath) -> Convolution:
    """A convolution for ``accelsim.network.forward`` as the machine computes it."""
    if datapath.kind == "spatial":
        return sparse_convolution(model.network)
    return winograd_part(model, datapath)


def winograd_part(model: DualModel, datapath: Datapath) -> Convolution:
    """A convolution on pruned Winograd-domain filters where the machine has them, direct elsewhere."""
    served = machine_tiles(model, datapath)
    filters = {name: machine_filters(model, datapath, name, m) for name, m in served.items()}
    return transformed_convolution(filters, served, dict(datapath.points))


def machine_filters(model: DualModel, datapath: Datapath, name: str, m: int) -> Array:
    """Pruned Winograd-domain filters of a layer, at the threshold that holds for it.

    (K, C / groups, n_h, n_w).
    """
    threshold = model.threshold_of(name) if datapath.threshold is None else datapath.threshold
    own = dict(datapath.layer_thresholds).get(name, threshold)
    return winograd_filters(model.network.arrays[f"{name}.weight"], m, own, datapath.points_of(m))


def machine_tiles(model: DualModel, datapath: Datapath) -> dict[str, int]:
    """m of F(m x m, R x S) of each layer that the machine computes in the Winograd domain, by node name."""
    if datapath.kind == "spatial":
        return {}
    largest = datapath.largest_kernel
    own = dict(datapath.layer_m)
    layers = {node.name: node.layer for node in model.network.graph.nodes}
    found = {}
    for name, m in tile_sizes(model, datapath.m).items():
        layer = layers[name]
        assert isinstance(layer, Conv)
        if largest is None or max(layer.kernel) <= largest:
            found[name] = own.get(name, m)
    return {name: m for name, m in found.items() if m}
