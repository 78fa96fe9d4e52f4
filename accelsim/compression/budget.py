"""What a file has of the budgets that its weights were reconstructed to (``accelsim.sparsity.recipe.Budget``)."""

from collections.abc import Mapping
from typing import Any

from accelsim.dual.deploy import density, spatial_densities, tile_sizes, winograd_model
from accelsim.dual.model import DualModel
from accelsim.network.count import dense_macs, winograd_multiplies


def budget_lines(model: DualModel, notes: Mapping[str, Any]) -> list[str]:
    """A line for each budget, which says so where the file misses it.

    notes: the checkpoint's card, with the recipe as read; what it says of no budget gives no line.
    """
    budget = _section(_section(_section(notes, "recipe"), "reconstruction"), "budget")
    reached = {"ratio": 4 * model.parameters / model.file_bytes, "cost_reduction": cost_reduction(model)}
    lines = []
    for key, value in reached.items():
        asked = budget.get(key)
        if isinstance(asked, int | float):
            missed = "" if value >= asked else ": less than asked for; the key coarser, above 1, brings it nearer"
            lines.append(f"{key} {value:.3f}, budget {asked:g}{missed}")
    return lines


def cost_reduction(model: DualModel) -> float:
    """Dense MACs of the network over its multiplies that are left, in the Winograd domain where that serves a layer."""
    return sum(dense_macs(model.network.graph).values()) / max(multiplies_left(model), 1.0)


def multiplies_left(model: DualModel) -> float:
    """Multiplies of an image by a weight that is not zero, in the Winograd domain where that serves a layer."""
    spatial = spatial_densities(model)
    winograd = {name: density(W) for name, W in winograd_model(model).items()}
    multiplies = winograd_multiplies(model.network.graph, tile_sizes(model))
    return sum(count * winograd.get(name, spatial[name]) for name, count in multiplies.items())


def _section(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a card, empty where it is no section."""
    found = whole.get(key)
    return found if isinstance(found, dict) else {}
