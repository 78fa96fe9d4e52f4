"""One cell size for each layer.

Fewest bits for no more distortion than one cell for all would give.

Distortion of a layer at a cell size: how far the network's outputs move (mean square) when that
layer alone is quantized, summed over the spatial and the Winograd domain (in the latter beyond what
pruning alone moves them).
Small distortions add up, so the best choice minimises, layer by layer, bits + lambda distortion
(Shoham & Gersho 1988), with the lambda at which the sum of distortions meets the bound.  Bits are
each layer's zero-order entropy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Levels
from accelsim.compression.correct import corrected_biases
from accelsim.compression.quantize import winograd_threshold
from accelsim.dual.deploy import winograd_convolution
from accelsim.dual.model import DualModel
from accelsim.dual.quantizer import Quantizer
from accelsim.network import Network, forward

BATCH = 50
BISECTIONS = 60


@dataclass(frozen=True)
class Choice:
    """What one cell size costs one layer."""

    cell: float  # D
    bits: float  # of all its indices
    distortion: float  # mean square of what the outputs move


@dataclass(frozen=True)
class Trial:
    """What cell sizes are tried on."""

    network: Network
    images: Array  # (N, H, W, C) float32, preprocessed
    threshold: float  # theta_SD
    tiles: Mapping[str, int]  # m of each layer that Winograd serves, by node name
    winograd_sparsity: float  # share of the Winograd-domain weights that are pruned
    # biases will be corrected on such images: what moves the means is no distortion
    correct: bool = False


def entropy_bits(indices: Levels) -> float:
    """Zero-order entropy of all indices together."""
    _, counts = np.unique(indices, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def choices(trial: Trial, cells: Mapping[str, Sequence[float]]) -> dict[str, list[Choice]]:
    """What each cell size would cost each weight array, by name, in the order of its ``cells``."""
    network = trial.network
    pruned = {}
    for name in cells:
        w = network.arrays[name]
        pruned[name] = np.where(np.abs(w) <= trial.threshold, np.float32(0), w)
    arrays = {**network.arrays, **pruned}
    base = Network(network.graph, arrays)
    theta = winograd_threshold(base, trial.tiles, trial.winograd_sparsity)
    target = _outputs(trial, base, None)
    floor = _distance(_outputs(trial, base, theta), target)
    table: dict[str, list[Choice]] = {}
    for name, tried in cells.items():
        table[name] = []
        for cell in tried:
            quantizer = Quantizer({name: cell}, np.zeros(0))
            n = quantizer.indices(name, pruned[name])
            changed = Network(network.graph, {**arrays, name: quantizer.decode(name, n)})
            if trial.correct:
                biases = corrected_biases(base, changed, trial.images)
                changed = Network(network.graph, {**changed.arrays, **biases})
            moved = _distance(_outputs(trial, changed, None), target)
            moved += max(0.0, _distance(_outputs(trial, changed, theta), target) - floor)
            table[name].append(Choice(cell, entropy_bits(n), moved))
    return table


def best_cells(table: Mapping[str, Sequence[Choice]], bound: float) -> dict[str, float]:
    """The cells with the fewest bits in all whose distortions sum to at most ``bound``.

    Where even the smallest distortions exceed the bound, those are taken.
    """

    def chosen(slope: float) -> list[Choice]:
        return [min(row, key=lambda c: (c.bits + slope * c.distortion, c.bits)) for row in table.values()]

    low = 0.0
    high = 1.0
    while sum(c.distortion for c in chosen(high)) > bound and high < 1e30:
        low = high
        high = 4 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if sum(c.distortion for c in chosen(middle)) > bound:
            low = middle
        else:
            high = middle
    return {name: choice.cell for name, choice in zip(table, chosen(high), strict=True)}


def search_cells(
    trial: Trial,
    cells: Mapping[str, float],
    factors: Sequence[float] = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8),
) -> dict[str, float]:
    """A cell for each weight array, together no worse than ``cells``.

    ``factors`` of those are tried.
    """
    tried = {name: sorted({cell, *(cell * factor for factor in factors)}) for name, cell in cells.items()}
    table = choices(trial, tried)
    bound = sum(row[tried[name].index(cells[name])].distortion for name, row in table.items())
    return best_cells(table, bound)


def _outputs(trial: Trial, network: Network, theta: float | None) -> Array:
    """Of the network in the spatial domain, or with Winograd filters pruned at theta."""
    convolution = None
    if theta is not None:
        convolution = winograd_convolution(DualModel(network, trial.tiles, theta))
    blocks = range(0, len(trial.images), BATCH)
    parts = [forward(network, trial.images[i : i + BATCH], convolution=convolution) for i in blocks]
    return np.concatenate(parts)


def _distance(y: Array, target: Array) -> float:
    return float(np.square(y.astype(np.float64) - target).mean())
