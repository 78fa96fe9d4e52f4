"""What a file has of the budgets that its weights were made to (``accelsim.sparsity.recipe.Budget``)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.dual.deploy import density, spatial_densities, tile_sizes, winograd_model
from accelsim.dual.model import DualModel
from accelsim.network.count import dense_macs, winograd_multiplies
from accelsim.sparsity.keeping import Share, times_fewer, times_smaller
from accelsim.sparsity.recipe import NO_BUDGET

# What a file has of a machine's budget, of which this room knows nothing: from the recipe's section.
OfMachine = Callable[[Mapping[str, Any]], Callable[[DualModel], Share]]


@dataclass(frozen=True)
class FileBudgets:
    """What a file is to keep to.

    ratio, cost_reduction: at least, None: nothing.  machine: what a file has of its budget.
    """

    ratio: float | None = None
    cost_reduction: float | None = None
    machine: Callable[[DualModel], Share] | None = None

    def shares(self, model: DualModel) -> list[Share]:
        """What a file has of each."""
        found = []
        if self.ratio is not None:
            found.append(times_smaller(ratio(model), self.ratio))
        if self.cost_reduction is not None:
            found.append(times_fewer(cost_reduction(model), self.cost_reduction))
        if self.machine is not None:
            found.append(self.machine(model))
        return found

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(each is not None for each in (self.ratio, self.cost_reduction, self.machine))


def budgets_of(notes: Mapping[str, Any], of_machine: OfMachine | None = None) -> FileBudgets:
    """The budgets that a checkpoint was reconstructed to, none if its card says of none.

    notes: the card, with the recipe as read.  Raises ValueError for a machine's budget without
    ``of_machine``.
    """
    budget = _section(_section(_section(notes, "recipe"), "reconstruction"), "budget")
    machine = None
    if budget.get("machine") is not None:
        if of_machine is None:
            raise ValueError("reconstructed to a machine's budget, expected `accelsim compress`, which simulates it")
        machine = of_machine(budget)
    return FileBudgets(_asked(budget, "ratio"), _asked(budget, "cost_reduction"), machine)


def ratio(model: DualModel) -> float:
    """Bytes of all parameters of the original network in float32 over those of the file."""
    return 4 * model.parameters / max(1, model.file_bytes)


def cost_reduction(model: DualModel) -> float:
    """Dense MACs of the network over its multiplies that are left, in the Winograd domain where that serves a layer."""
    return sum(dense_macs(model.network.graph).values()) / max(multiplies_left(model), 1.0)


def multiplies_left(model: DualModel) -> float:
    """Multiplies of an image by a weight that is not zero, in the Winograd domain where that serves a layer."""
    spatial = spatial_densities(model)
    winograd = {name: density(W) for name, W in winograd_model(model).items()}
    multiplies = winograd_multiplies(model.network.graph, tile_sizes(model))
    return sum(count * winograd.get(name, spatial[name]) for name, count in multiplies.items())


def _asked(budget: Mapping[str, Any], key: str) -> float | None:
    """A budget that somebody asked for, or None."""
    value = budget.get(key)
    return float(value) if isinstance(value, int | float) and value > NO_BUDGET else None


def _section(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a card, empty where it is no section."""
    found = whole.get(key)
    return found if isinstance(found, dict) else {}
