"""Shares of zeros by what a machine gains by them.

What an image costs on the machine takes the place of a budget of multiplies.  The whole network is
simulated at each pair of shares that its layers were priced at: the smallest weights left out, in
the Winograd domain as many entries as priced.  So every layer has its own cost by its own zeros,
bound by the lanes, the transforms or the memory as it may be, and zeros go where this machine gains
by them (``training.prices.Cost``).

The costs of a network's layers depend on each other, so each choice of shares is simulated as a
whole, and the dearest whose estimate keeps to what is asked is found by bisection.

Left out: that zeros of a reconstruction lie elsewhere than the smallest weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from accelsim.arrays import Array, Floats
from accelsim.errors import InputError
from accelsim.explore.machine_target import Target
from accelsim.network import Network
from accelsim.network.count import winograd_multiplies
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.recipe import Budget
from accelsim.training.prices import OFFSETS, Cost, LayerPrice, Points, goals_at
from accelsim.workload import LayerWork

HALVINGS = 7

# What each layer takes at a cost; raises ValueError if that cannot be kept.
Choose = Callable[[Cost], dict[str, LayerPrice]]


@dataclass(frozen=True)
class MachineShares:
    """What the machine would need, by how much of it the layers that can be sparse may have together.

    network: the dense one.  budget: what its layers were measured at.  points: at those.  dense: its
    layers at 8 bits.
    """

    network: Network
    regularizer: JointRegularizer
    budget: Budget
    points: Points
    target: Target
    dense: tuple[LayerWork, ...]

    @cached_property
    def dense_needs(self) -> float:
        """What the dense network takes."""
        return self.target.needed(self.dense)

    @cached_property
    def costs(self) -> dict[str, Floats]:
        """(offsets, shares) of each layer: what it takes with all layers at these shares."""
        found = {name: np.zeros((len(grid), len(self.budget.zeros))) for name, grid in self.points.items()}
        for offset in range(max(len(grid) for grid in self.points.values())):
            for share in range(len(self.budget.zeros)):
                own = self.target.result(self._at(offset, share)).layers
                by_name = dict(zip(own["name"], own[self.target.quantity.layers], strict=True))
                for name, cost in found.items():
                    cost[min(offset, len(cost) - 1), share] = by_name[name]
        return found

    def _at(self, offset: int, share: int) -> list[LayerWork]:
        """The network with every layer at one of the pairs of shares that it was priced at."""
        budget = self.budget
        kron = self.regularizer.kron
        middle = len(budget.cells) // 2
        taken = {}
        for name, grid in self.points.items():
            point = grid[min(offset, len(grid) - 1)][share]
            w = self.network.arrays[f"{name}.weight"]
            zeros = goals_at(w, kron.get(name), budget.zeros[share], OFFSETS[offset] if name in kron else 0.0)
            taken[name] = LayerPrice(
                *zeros, budget.cells[middle], point.loss, point.bits[middle], point.multiplies[middle]
            )
        return self._thinned(taken)

    def dearest(self, choose: Choose, aim: float) -> tuple[dict[str, LayerPrice], float]:
        """The dearest shares whose estimate is at most the aim, and it.

        choose: the shares at a cost.  Raises ValueError as it, or InputError if there are none.
        """

        def estimate(most: float) -> tuple[dict[str, LayerPrice], float]:
            taken = choose(Cost(self.costs, most))
            return taken, self.target.needed(self._thinned(taken))

        loosest = sum(float(cost.max()) for cost in self.costs.values())
        tightest = 1.001 * sum(float(cost.min()) for cost in self.costs.values())
        found = estimate(loosest)
        if found[1] <= aim:
            return found
        least = found[1]
        low = tightest
        high = loosest
        most = tightest
        for _ in range(HALVINGS):
            try:
                tried = estimate(most)
            except ValueError:  # the file's size leaves no room for it
                low = most
            else:
                least = min(least, tried[1])
                if tried[1] > aim:
                    high = most
                else:
                    low = most
                    found = tried
            if high <= tightest:
                break
            most = (low * high) ** 0.5
        if found[1] > aim:
            raise self.missed(least)
        return found

    def missed(self, least: float) -> InputError:
        """That the target cannot be kept."""
        quantity = self.target.quantity
        asked = f"{quantity.flag} {quantity.shown(self.target.most)} cannot be kept on {self.target.machine.name}"
        return InputError(
            f"{self.network.graph.name}: {asked}: dense it takes {quantity.shown(self.dense_needs)}, "
            f"as sparse as it can be {quantity.shown(least)}"
        )

    def _thinned(self, taken: Mapping[str, LayerPrice]) -> list[LayerWork]:
        """The network with as many zeros in each layer as it would take."""
        found = []
        for work in self.dense:
            price = taken.get(work.name)
            if price is not None:
                kron = self.regularizer.kron.get(work.name)
                work = _thinned(work, price, kron, price.multiplies / self.multiplies[work.name])
            found.append(work)
        return found

    @cached_property
    def multiplies(self) -> Mapping[str, int]:
        """Of each layer without zeros, an image, in the Winograd domain where that serves it."""
        return winograd_multiplies(self.network.graph, self.regularizer.winograd)


def _thinned(work: LayerWork, price: LayerPrice, kron: Array | None, used: float) -> LayerWork:
    """A layer with as many zeros as it would take once it is rounded: its smallest entries, in each domain.

    used: the share of its weights that are then left, in the Winograd domain if that serves it.
    """
    if work.weights is None:
        return work
    left = used
    density = work.winograd_density
    if work.winograd_threshold is not None and kron is not None:
        K, C = work.weights.shape[:2]
        density = used
        before = max(1 - price.zeros_wd / (K * C * len(kron)), 1e-9)  # rounding is taken to do as much in either domain
        left = (1 - price.zeros_sd / work.weights.size) * min(used / before, 1.0)
    return replace(
        work,
        weights=_without_smallest(work.filters(), round((1 - left) * work.weights.size)),
        winograd_density=density,
        coded_bits=None if work.coded_bits is None else round(price.bits),
    )


def _without_smallest(w: Array, zeros: int) -> Array:
    """The weights, so many of the smallest of them 0."""
    if zeros <= 0:
        return w
    order = np.argpartition(np.abs(w), min(zeros, w.size) - 1, axis=None)
    found = w.copy()
    found.flat[order[:zeros]] = 0
    return found
