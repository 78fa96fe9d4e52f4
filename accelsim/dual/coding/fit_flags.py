"""The fit of what predicts which weights are not zero, and which layers share it.

The weights of neighbours' signs, and the numbers of filters, channels and layers, are moved in
turn, a Newton step each.  Layers of one kernel shape share the weights as long as that costs fewer
bits than a further set of them.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints, Levels
from accelsim.dual.coding.fit_parts import WEIGHT_PRIOR, Parts, chance_of, fine, newton_step, stored
from accelsim.dual.coding.statistics import (
    FLAG_WEIGHTS,
    NEIGHBOURS,
    UNIT,
    WEIGHT,
    Statistics,
    flag_features,
    groups_of,
    history,
)

PRIOR = 1.0  # curvature of the prior of a flag's number of a filter or channel
PAIR_PRIOR = 15.0  # of that of a pair of signs
SET_BITS = 500  # that a further set of weights costs, about


class FlagFit:
    """The fit of what predicts the flags of a group."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        signs = np.sign(parts.values).astype(np.int8)
        self.histories = [history(signs, places) for places in parts.places]
        share = [(parts.flags[:, part].mean() + 1e-4) / 1.0002 for part in parts.slices]
        self.layers = np.log(np.array(share) / (1 - np.array(share)))
        self.filters = np.zeros(parts.filters)
        self.channels = np.zeros(parts.channels)
        rows = min(parts.group.positions, NEIGHBOURS + 1)
        self.features = [flag_features(j) for j in range(rows)]
        self.weights = [np.zeros(size) for size in FLAG_WEIGHTS[:rows]]

    @staticmethod
    def prior(count: int) -> Floats:
        """Curvature of the prior of each of so many weights: pairs of signs seldom say much."""
        j = int((count - 1) ** 0.5)
        return np.repeat([WEIGHT_PRIOR, PAIR_PRIOR], [1 + j + j * (j - 1) // 2, j * (j - 1) // 2])

    def move(self, kinds: Sequence[str]) -> None:
        """One Newton step of numbers of these kinds at once: they are told apart by the weights."""
        parts = self.parts
        offset = self.layers[parts.layer] + self.filters[parts.filter] + self.channels[parts.channel]
        offset = offset.astype(np.float32)
        slope = np.zeros(len(offset), np.float32)
        curvature = np.zeros(len(offset), np.float32)
        cells = [(np.zeros(3**j), np.zeros(3**j)) for j in range(len(self.weights))]
        for p, places in enumerate(parts.places):
            j = len(places)
            table = (self.features[j] @ self.weights[j]).astype(np.float32)
            chance = chance_of(offset + table.take(self.histories[p]))
            error = parts.flags[p] - chance
            variance = chance * (1 - chance)
            if "weights" in kinds:
                cells[j][0][:] += np.bincount(self.histories[p], error, 3**j)
                cells[j][1][:] += np.bincount(self.histories[p], variance, 3**j)
            slope += error
            curvature += variance
        if "weights" in kinds:
            for weights, features, (g, v) in zip(self.weights, self.features, cells, strict=True):
                held = self.prior(len(weights))
                matrix = (features.T * v) @ features + np.diag(held)
                weights += np.clip(np.linalg.solve(matrix, features.T @ g - held * weights), -1, 1)
        for kind, numbers, owner, prior in (
            ("layers", self.layers, parts.layer, 1e-3),
            ("filters", self.filters, parts.filter, PRIOR),
            ("channels", self.channels, parts.channel, PRIOR),
        ):
            if kind in kinds:
                n = len(numbers)
                numbers += newton_step(np.bincount(owner, slope, n), np.bincount(owner, curvature, n), numbers, prior)

    def demands(self) -> list["_Demand"]:
        """What each layer asks of the weights, at those found for all."""
        parts = self.parts
        offset = self.layers[parts.layer] + self.filters[parts.filter] + self.channels[parts.channel]
        demands = [_Demand([], []) for _ in parts.slices]
        for j, (weights, features) in enumerate(zip(self.weights, self.features, strict=True)):
            table = (features @ weights).astype(np.float32)
            cells = np.zeros((len(demands), 2, 3**j))
            for p, places in enumerate(parts.places):
                if len(places) != j:
                    continue
                seen = self.histories[p]
                chance = chance_of(offset.astype(np.float32) + table.take(seen))
                for cell, part in zip(cells, parts.slices, strict=True):
                    share = chance[part]
                    cell[0] += np.bincount(seen[part], parts.flags[p][part] - share, 3**j)
                    cell[1] += np.bincount(seen[part], share * (1 - share), 3**j)
            for demand, (slope, curvature) in zip(demands, cells, strict=True):
                demand.slopes.append(features.T @ slope)
                demand.curvatures.append((features.T * curvature) @ features)
        return demands


@dataclass
class _Demand:
    """Slope and curvature of the coding cost by the weights, of each number of neighbours."""

    slopes: list[Floats]
    curvatures: list[Floats]

    def __add__(self, other: "_Demand") -> "_Demand":
        """That of both together."""
        slopes = [a + b for a, b in zip(self.slopes, other.slopes, strict=True)]
        return _Demand(slopes, [a + b for a, b in zip(self.curvatures, other.curvatures, strict=True)])

    def gain(self) -> float:
        """Bits that weights of its own save, about."""
        gain = 0.0
        for slope, curvature in zip(self.slopes, self.curvatures, strict=True):
            gain += float(slope @ np.linalg.solve(curvature + np.eye(len(slope)), slope))
        return 0.5 * gain / math.log(2)


def alike_layers(tensors: Sequence[Levels]) -> Ints:
    """Which layers of one kernel shape share their weights: a number of each, from 0."""
    shapes = [tensor.shape for tensor in tensors]
    alike = np.zeros(len(tensors), np.int64)
    for group in groups_of(shapes, alike):
        if len(group.layers) == 1 or group.positions == 1:
            continue
        flags = FlagFit(Parts(group, [tensors[i] for i in group.layers]))
        for kinds in (("weights",), ("filters",), ("channels",), ("layers",)) * 2:
            flags.move(kinds)
        for number, places in enumerate(_merged(flags.demands())):
            alike[[group.layers[place] for place in places]] = number
    return alike


def _merged(demands: list[_Demand]) -> list[list[int]]:
    """Sets of layers, each worth weights of its own.

    The two that lose least are merged, as long as that pays.
    """
    sets = [[i] for i in range(len(demands))]
    gains = [demand.gain() for demand in demands]
    losses: dict[tuple[int, int], float] = {}
    alive = set(range(len(demands)))
    demands = list(demands)
    while len(alive) > 1:
        for a, b in itertools.combinations(sorted(alive), 2):
            if (a, b) not in losses:
                losses[a, b] = gains[a] + gains[b] - (demands[a] + demands[b]).gain()
        (a, b), loss = min(((pair, x) for pair, x in losses.items() if alive.issuperset(pair)), key=lambda it: it[1])
        if loss > SET_BITS:
            break
        alive -= {a, b}
        alive.add(len(demands))
        sets.append(sorted(sets[a] + sets[b]))
        demands.append(demands[a] + demands[b])
        gains.append(demands[-1].gain())
    return sorted(sets[i] for i in alive)


def round_flags(flags: FlagFit, found: Statistics) -> None:
    """Fit the weights to the rounded numbers of filters and channels, and round them, too."""
    flags.move(("layers",))
    flags.move(("weights",))
    flags.weights = np.split(stored(flags.weights) * (WEIGHT / UNIT), np.cumsum([len(w) for w in flags.weights])[:-1])
    flags.move(("layers",))
    found.density[list(flags.parts.group.layers)] = fine(flags.layers)
    found.flags.append(stored(flags.weights))
