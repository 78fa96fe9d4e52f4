"""From trained weights to what a file holds: prune, quantize, fold batch-norm, calibrate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Levels
from accelsim.compression.calibrate import input_density
from accelsim.compression.fold import fold_batch_norm
from accelsim.dual.deploy import percentile, winograd_filters
from accelsim.dual.file import CompressedNetwork
from accelsim.dual.manifest import weight_names
from accelsim.dual.model import winograd_eligible
from accelsim.dual.quantizer import Quantizer, plain_codebook
from accelsim.network import Graph, Network
from accelsim.network.count import parameters


@dataclass(frozen=True)
class Quantized:
    """A network whose weights are whole indices."""

    network: Network  # with the weights that the indices stand for
    indices: Mapping[str, Levels]  # by array name
    quantizer: Quantizer  # what the indices stand for


def spatial_threshold(network: Network, sparsity: float) -> float:
    """theta_SD, one threshold for all convolution and linear weights.

    ``sparsity`` of them lie up to it.
    """
    names = weight_names(network.graph)
    return percentile({name: np.abs(network.arrays[name]) for name in names}, sparsity)


def winograd_tiles(graph: Graph, m: int | Mapping[str, int]) -> dict[str, int]:
    """Output tile size by node name: m for every convolution that Winograd serves, or as named."""
    if isinstance(m, Mapping):
        return dict(m)
    return {node.name: m for node in graph.nodes if winograd_eligible(node)}


def winograd_threshold(network: Network, m: int | Mapping[str, int], sparsity: float) -> float:
    """theta_WD, one threshold for all Winograd-domain filter entries.

    ``sparsity`` of them lie up to it.
    """
    tiles = winograd_tiles(network.graph, m)
    if not tiles:
        return 0.0
    magnitudes = {}
    for name, size in tiles.items():
        magnitudes[name] = np.abs(winograd_filters(network.arrays[f"{name}.weight"], size, 0.0))
    return percentile(magnitudes, sparsity)


def quantize(
    network: Network,
    cell: float,
    threshold: float,
    *,
    cells: Mapping[str, float] | None = None,
    seed: int | None = None,
) -> Quantized:
    """Prune and quantize the weights of convolutions and linear layers.

    cell: D.  cells: that of single arrays, by name.  threshold: weights up to it become zero
    (theta_SD).
    seed: of the dither; None for uniform quantization.  Raises ValueError if a cell is too small
    for its weights.
    """
    names = weight_names(network.graph)
    own = cells or {}
    quantizer = Quantizer({name: own.get(name, cell) for name in names}, np.zeros(0), seed)
    indices = {name: quantizer.indices(name, network.arrays[name], threshold) for name in names}
    largest = max((int(np.abs(n).max(initial=0)) for n in indices.values()), default=0)
    quantizer = Quantizer(quantizer.cells, plain_codebook(largest), seed)
    decoded = {name: quantizer.decode(name, n) for name, n in indices.items()}
    return Quantized(Network(network.graph, {**network.arrays, **decoded}), indices, quantizer)


def compressed_network(
    quantized: Quantized,
    *,
    winograd_m: int | Mapping[str, int] = 2,
    winograd_threshold: float,
    calibration: Array | None = None,
    value_bits: int = 10,
    provenance: Mapping[str, str] | None = None,
) -> CompressedNetwork:
    """What a ``.dual`` file of the quantized network is made of.

    winograd_m, winograd_threshold: how Winograd machines run it.  calibration: (N, H, W, C) float32
    preprocessed images on which input densities are measured.  value_bits: of each bias, scale and
    shift.
    """
    folded = fold_batch_norm(quantized.network)
    graph = folded.graph
    values = {name: array for name, array in folded.arrays.items() if name not in quantized.indices}
    quantizer = quantized.quantizer
    if np.array_equal(quantizer.codebook, plain_codebook(len(quantizer.codebook) // 2)):
        quantizer = Quantizer(quantizer.cells, np.zeros(0), quantizer.seed)
    return CompressedNetwork(
        graph=graph,
        indices=quantized.indices,
        quantizer=quantizer,
        values=values,
        winograd_m=winograd_tiles(graph, winograd_m),
        winograd_threshold=winograd_threshold,
        input_density={} if calibration is None else input_density(folded, calibration),
        provenance=provenance or {},
        parameters=parameters(quantized.network.graph),
        value_bits=value_bits,
    )
