"""A network reconstructed to what its file, and its multiplies or a machine, may take.

How sparse and how coarse each layer gets follows from its price (``accelsim.training.prices``).
Prices are measured layer by layer at some shares only, so what all layers come to is counted once
they are there: their weights are rounded to the nearest with their zeros, and coded.  Where that
misses a budget, the layers are reconstructed again to so much more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from accelsim.arrays import Array, Flags, Floats, Levels
from accelsim.dual.coding.context import encode_context
from accelsim.network.count import dense_macs, parameters, winograd_multiplies
from accelsim.network.graph import Network
from accelsim.sparsity.initial_zeros import EXACT
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.keeping import Made, Share, keeping, times_fewer, times_smaller
from accelsim.sparsity.recipe import NO_BUDGET, Budget, Reconstruction
from accelsim.sparsity.reconstruction import LayerReport, reconstruct
from accelsim.sparsity.whole_filters import whole_with_zeros
from accelsim.training.prices import LayerPrice, Points, chosen, other_bits, used


class MachineBudget(Protocol):
    """What an image may take on a machine, in the place of multiplies.

    The simulator tells it (``accelsim.explore.recipe_machine``), of which training knows nothing.
    """

    def chosen(self, points: Points, budget: Budget, strain: float) -> dict[str, LayerPrice]:
        """What each layer takes for the machine to need its budget over ``strain``.

        Raises InputError if it cannot.
        """

    def share(self, weights: Mapping[str, Levels]) -> Share:
        """What the network has of the budget.  weights: of the sparse layers, in cells."""


# A machine's budget for a network, its layers that can be sparse, and the images they are fitted to.
MachineBudgets = Callable[[Network, JointRegularizer, Reconstruction, Array], MachineBudget]


@dataclass(frozen=True)
class Reconstructed:
    """A network's arrays with their zeros.

    cells: of weight arrays, relative to the root mean square of their weights that are not zero.
    """

    arrays: dict[str, Array]
    cells: dict[str, float]


@dataclass(frozen=True)
class BudgetTask:
    """What is reconstructed, and from what.

    images: (N, H, W, C) float32, preprocessed.  points: what each layer was measured at.  machine: if
    a machine's budget takes the place of that of multiplies.
    """

    network: Network
    images: Array
    points: Points
    regularizer: JointRegularizer
    settings: Reconstruction
    machine: MachineBudget | None = None

    def reconstructed(self, watch: Callable[[LayerReport], None], say: Callable[[str], None]) -> Reconstructed:
        """The network to its budgets, or with a warning the nearest to them.

        watch: called after each layer, for each of the tries.  say: told how far a try came.
        Raises ValueError if the budgets cannot be kept.
        """

        def at(strain: Floats) -> Made[Reconstructed] | None:
            try:
                taken = self._taken(strain)
            except ValueError:
                if (strain == 1).all():
                    raise
                return None  # no layer can give more
            goals = {name: (price.zeros_sd, price.zeros_wd) for name, price in taken.items()}
            found = reconstruct(self.network, self.images, self.regularizer, goals, self.settings, watch)
            cells = {f"{name}.weight": price.cell for name, price in taken.items()}
            return Made(Reconstructed(found, cells), self._shares(found, cells))

        found = keeping(at, sum(self._asked), say)
        found.warn(say)
        return found.thing

    @property
    def _budget(self) -> Budget:
        budget = self.settings.budget
        assert budget is not None
        return budget

    @property
    def _asked(self) -> tuple[bool, bool, bool]:
        """Whether there is a budget of the file, of multiplies, of the machine."""
        fewer = self.machine is None and self._budget.cost_reduction > NO_BUDGET
        return self._budget.ratio > NO_BUDGET, fewer, self.machine is not None

    def _taken(self, strain: Floats) -> dict[str, LayerPrice]:
        """What each layer takes, for each budget so many times.  Raises ValueError if they cannot be kept."""
        strains = np.ones(3)
        strains[list(self._asked)] = strain
        budget = self._budget
        wanted = {"ratio": budget.ratio * strains[0], "cost_reduction": budget.cost_reduction * strains[1]}
        budget = budget.model_copy(update=wanted)
        if self.machine is not None:
            return self.machine.chosen(self.points, budget, float(strains[2]))
        return chosen(self.network, self.points, self.regularizer, budget)

    def _shares(self, arrays: Mapping[str, Array], cells: Mapping[str, float]) -> list[Share]:
        """What the network has of its budgets."""
        levels = {name: self._whole(name, arrays[f"{name}.weight"], cells[f"{name}.weight"]) for name in self.points}
        graph = self.network.graph
        of_ratio, of_multiplies, _ = self._asked
        shares = []
        if of_ratio:
            bits = sum(encode_context([n])[1][0] for n in levels.values()) + other_bits(self.network, self.points)
            shares.append(times_smaller(32 * parameters(graph) / bits, self._budget.ratio))
        if of_multiplies:
            multiplies = winograd_multiplies(graph, self.regularizer.winograd)
            left = float(sum(count for name, count in dense_macs(graph).items() if name not in levels))
            for name, n in levels.items():
                left += multiplies[name] * used(n.reshape(*n.shape[:2], -1), self.regularizer.kron.get(name))
            shares.append(times_fewer(sum(dense_macs(graph).values()) / max(left, 1.0), self._budget.cost_reduction))
        if self.machine is not None:
            shares.append(self.machine.share(levels))
        return shares

    def _whole(self, name: str, w: Array, relative: float) -> Levels:
        """A layer's weights in cells, with the zeros of both domains: the shape of w."""
        nonzero = w[w != 0].astype(np.float64)
        cell = relative * float(np.sqrt(np.mean(nonzero**2))) if nonzero.size else 1.0
        kron = self.regularizer.kron.get(name)
        if kron is None:
            return np.asarray(np.rint(w / cell), np.int32)
        W = w.reshape(*w.shape[:2], -1) @ kron.T
        zero_wd: Flags = np.abs(W) <= EXACT * np.sqrt(np.mean(W * W))
        return whole_with_zeros(w / cell, w == 0, zero_wd, kron)
