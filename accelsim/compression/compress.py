"""From trained weights to what a ``.dual`` file holds: fold batch-norm, prune, quantize, calibrate."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from accelsim.compression.calibrate import input_density
from accelsim.compression.deploy import percentile
from accelsim.compression.dual import Compressed
from accelsim.compression.fold import fold_batch_norm, parameter_count
from accelsim.compression.manifest import weight_names
from accelsim.compression.model import winograd_eligible
from accelsim.compression.quantize import Quantizer
from accelsim.network import Network

Array = NDArray[np.float32]


def spatial_threshold(network: Network, sparsity: float) -> float:
    """theta_SD: the one threshold up to which ``sparsity`` of all convolution and linear weights together lie."""
    return percentile({name: np.abs(network.arrays[name]) for name in weight_names(network.graph)}, sparsity)


def compress(
    network: Network,
    *,
    cell: float | Mapping[str, float],
    threshold: float,
    winograd_m: int = 2,
    winograd_threshold: float,
    seed: int | None = None,
    calibration: Array | None = None,
    value_bits: int = 10,
) -> Compressed:
    """Prune at ``threshold`` and quantize a trained network.

    cell: D, for all weight arrays or by array name.  threshold: weights up to it become zero (theta_SD).
    winograd_m, winograd_threshold: how Winograd machines run it.  seed: of the dither; None for uniform quantization.
    calibration: (N, H, W, C) float32 preprocessed images on which input densities are measured.
    Raises ValueError if a cell is too small for its weights.
    """
    parameters = parameter_count(network)
    network = fold_batch_norm(network)
    graph = network.graph
    names = weight_names(graph)
    cells = dict.fromkeys(names, cell) if isinstance(cell, float) else {name: cell[name] for name in names}
    quantizer = Quantizer(cells, np.zeros(0), seed)
    indices = {name: quantizer.indices(name, network.arrays[name], threshold) for name in names}
    decoded = dict(network.arrays) | {name: quantizer.decode(name, n) for name, n in indices.items()}
    return Compressed(
        graph=graph,
        indices=indices,
        quantizer=quantizer,
        values={name: array for name, array in network.arrays.items() if name not in indices},
        winograd_m={node.name: winograd_m for node in graph.nodes if winograd_eligible(node)},
        winograd_threshold=winograd_threshold,
        input_density={} if calibration is None else input_density(Network(graph, decoded), calibration),
        parameters=parameters,
        value_bits=value_bits,
    )
