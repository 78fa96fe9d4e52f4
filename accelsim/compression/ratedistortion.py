"""One cell size for each layer: fewest bits for no more distortion than one cell for all would give.

Distortion of a layer at a cell size: how far the network's outputs move (mean square) when that layer alone is
quantized, summed over the spatial and the Winograd domain (in the latter beyond what pruning alone moves them).
Small distortions add up, so the best choice minimises, layer by layer, bits + lambda distortion (Shoham & Gersho 1988),
with the lambda at which the sum of distortions meets the bound.  Bits are each layer's zero-order entropy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Levels
from accelsim.compression.correct import corrected_biases
from accelsim.compression.quantize import winograd_threshold, winograd_tiles
from accelsim.dual.deploy import winograd_convolution
from accelsim.dual.model import DualModel
from accelsim.dual.quantizer import Quantizer
from accelsim.network import Network, forward

BATCH = 50
BISECTIONS = 60


@dataclass(frozen=True)
class Choice:
    """One layer at one cell size."""

    cell: float
    bits: float
    distortion: float


def entropy_bits(indices: Levels) -> float:
    """Zero-order entropy of all indices together."""
    _, counts = np.unique(indices, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def choices(
    network: Network,
    x: Array,
    cells: Mapping[str, Sequence[float]],
    threshold: float,
    m: int | Mapping[str, int],
    winograd_sparsity: float,
    correct: bool = False,
) -> dict[str, list[Choice]]:
    """What each cell size would cost each weight array, by name, in the order of its ``cells``.

    x: (N, H, W, C) float32 preprocessed images.  threshold: theta_SD.  m, winograd_sparsity: of the Winograd domain.
    correct: biases will be corrected on such images, so that what a layer does to the means is no distortion.
    """
    pruned = {
        name: np.where(np.abs(network.arrays[name]) <= threshold, np.float32(0), network.arrays[name]) for name in cells
    }
    arrays = {**network.arrays, **pruned}
    base = Network(network.graph, arrays)
    tiles = winograd_tiles(network.graph, m)
    theta = winograd_threshold(base, tiles, winograd_sparsity)
    target = _outputs(base, x, tiles, None)
    floor = _distance(_outputs(base, x, tiles, theta), target)
    table: dict[str, list[Choice]] = {}
    for name, tried in cells.items():
        table[name] = []
        for cell in tried:
            quantizer = Quantizer({name: cell}, np.zeros(0))
            n = quantizer.indices(name, pruned[name])
            changed = Network(network.graph, {**arrays, name: quantizer.decode(name, n)})
            if correct:
                changed = Network(network.graph, {**changed.arrays, **corrected_biases(base, changed, x)})
            moved = _distance(_outputs(changed, x, tiles, None), target)
            moved += max(0.0, _distance(_outputs(changed, x, tiles, theta), target) - floor)
            table[name].append(Choice(cell, entropy_bits(n), moved))
    return table


def best_cells(table: Mapping[str, Sequence[Choice]], bound: float) -> dict[str, float]:
    """The cell of each array with the fewest bits in all whose distortions sum to at most ``bound``.

    Where even the smallest distortions exceed the bound, those are taken.
    """

    def chosen(slope: float) -> list[Choice]:
        return [min(row, key=lambda c: (c.bits + slope * c.distortion, c.bits)) for row in table.values()]

    low, high = 0.0, 1.0
    while sum(c.distortion for c in chosen(high)) > bound and high < 1e30:
        low, high = high, 4 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if sum(c.distortion for c in chosen(middle)) > bound:
            low = middle
        else:
            high = middle
    return {name: choice.cell for name, choice in zip(table, chosen(high), strict=True)}


def search_cells(
    network: Network,
    x: Array,
    cells: Mapping[str, float],
    threshold: float,
    *,
    factors: Sequence[float] = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8),
    m: int | Mapping[str, int] = 2,
    winograd_sparsity: float = 0.7,
    correct: bool = False,
) -> dict[str, float]:
    """A cell for each weight array, together no worse than ``cells``; ``factors`` of those are tried."""
    tried = {name: sorted({cell, *(cell * factor for factor in factors)}) for name, cell in cells.items()}
    table = choices(network, x, tried, threshold, m, winograd_sparsity, correct)
    bound = sum(row[tried[name].index(cells[name])].distortion for name, row in table.items())
    return best_cells(table, bound)


def _outputs(network: Network, x: Array, tiles: dict[str, int], theta: float | None) -> Array:
    """In the spatial domain, or with Winograd filters pruned at theta."""
    convolution = None if theta is None else winograd_convolution(DualModel(network, tiles, theta))
    parts = [forward(network, x[i : i + BATCH], convolution=convolution) for i in range(0, len(x), BATCH)]
    return np.concatenate(parts)


def _distance(y: Array, target: Array) -> float:
    return float(np.square(y.astype(np.float64) - target).mean())
