"""One compression: what it starts from, and what it aims at."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelsim.compression.budget import FileBudgets, OfMachine, budgets_of
from accelsim.compression.images import RecipeImages
from accelsim.compression.recipe import CompressionRecipe
from accelsim.compression.stage import CompressionStage
from accelsim.compression.start import aimed_share, held_cells, layer_tiles, load_checkpoint
from accelsim.errors import InputError
from accelsim.network.graph import Network
from accelsim.training.datasets import resolve
from accelsim.training.networks import find_network, with_weights

Say = Callable[[str], None]  # takes a line of progress


@dataclass(frozen=True)
class CompressionTask:
    """One compression: what it starts from, and what it aims at."""

    recipe: CompressionRecipe
    network: Network  # before compression
    notes: dict[str, Any]  # what the checkpoint's card says
    spatial: float  # share of zeros in the spatial domain
    winograd: float  # share of zeros in the Winograd domain
    tiles: dict[str, int]  # m of each Winograd layer
    images: RecipeImages
    reference: Network | None  # the dense network
    held: dict[str, float]  # cells of the arrays that are rounded already, by name
    budgets: FileBudgets
    tuning: CompressionStage
    rounding: CompressionStage
    say: Say


def in_coarser_cells(task: CompressionTask, out: Path, factor: float, number: int) -> CompressionTask:
    """The same in cells so many times as coarse.  number: of the try, from 2."""
    recipe = task.recipe.model_copy(update={"coarser": task.recipe.coarser * factor})
    settings = recipe.model_dump(mode="json")
    arrays = task.network.arrays
    return replace(
        task,
        recipe=recipe,
        tuning=CompressionStage(out, f"tuning-{number}", settings, arrays, later=True),
        rounding=CompressionStage(out, f"rounding-{number}", settings, arrays, later=True),
    )


def read_task(
    checkpoint: Path,
    out: Path,
    recipe: CompressionRecipe,
    say: Say,
    of_machine: OfMachine | None,
) -> CompressionTask:
    """Read all that the recipe names.

    Raises InputError if something is missing or does not fit.
    """
    network, notes = load_checkpoint(checkpoint, recipe)
    spatial = aimed_share(recipe.spatial, notes, "sparsity_sd", checkpoint)
    winograd = aimed_share(recipe.winograd, notes, "sparsity_wd", checkpoint)
    reference: Network | None = None
    if recipe.reference is not None:
        named = recipe.reference
        dense = find_network(named.network, "reference.network")
        weights = None if named.weights is None else resolve(named.weights)
        reference = with_weights(dense, named.network, weights, "reference.network")
    try:
        budgets = budgets_of(notes, of_machine) if recipe.relative_cell == "budget" else FileBudgets()
    except ValueError as error:
        raise InputError(f"{checkpoint}: {error}") from None
    whole = recipe.model_dump(mode="json")
    return CompressionTask(
        recipe=recipe,
        network=network,
        notes=notes,
        spatial=spatial,
        winograd=winograd,
        tiles=layer_tiles(network.graph, recipe, notes),
        images=RecipeImages(recipe, network.graph),
        reference=reference,
        held={} if recipe.rounded is None else held_cells(network, resolve(recipe.rounded)),
        budgets=budgets,
        tuning=CompressionStage(out, "tuning", whole, network.arrays),
        rounding=CompressionStage(out, "rounding", whole, network.arrays),
        say=say,
    )
