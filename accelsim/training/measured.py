"""Accuracy or PSNR of a network as a recipe trained it, for the card of its checkpoint."""

from collections.abc import Mapping
from typing import Any

from accelsim.network.graph import Network
from accelsim.sparsity.initial_zeros import exact_shares
from accelsim.sparsity.joint import JointRegularizer
from accelsim.training.datasets import Source
from accelsim.training.evaluate import in_both_domains, top1
from accelsim.training.psnr import bicubic_psnr, psnr_by_set, psnr_in_both_domains
from accelsim.training.recipe import Recipe
from accelsim.training.superresolution import Photographs


def measured(
    recipe: Recipe, network: Network, images: Source | Photographs, cells: Mapping[str, float]
) -> dict[str, Any]:
    """The card's entries: accuracy or PSNR, and of a sparse network thresholds and tile sizes.

    cells: of weight arrays, as a budget gave them.
    """
    graph = network.graph
    arrays = dict(network.arrays)
    workers = recipe.threads
    if recipe.joint is None:
        if isinstance(images, Photographs):
            unpruned = psnr_by_set(graph, arrays, images, workers=workers)
            return {"psnr": {"bicubic": bicubic_psnr(images), "unpruned": unpruned}}
        return {"accuracy": {"unpruned": top1(graph, arrays, images, workers=workers)}}
    regularizer = JointRegularizer(graph, recipe.joint.tiles, recipe.joint.exclude)
    sparsity = (recipe.joint.spatial, recipe.joint.winograd)
    reconstruction = recipe.reconstruction
    budgeted = reconstruction is not None and reconstruction.budget is not None
    if recipe.joint.hold == "exact" or recipe.joint.moving is not None or budgeted:
        sparsity = exact_shares(regularizer, arrays)
    thresholds = regularizer.thresholds(arrays, *sparsity)
    entries: dict[str, Any] = {
        "theta_sd": thresholds[0],
        "theta_wd": thresholds[1],
        "winograd_m": regularizer.winograd,
        "sparsity_sd": sparsity[0],
        "sparsity_wd": sparsity[1],
    }
    if cells:
        entries["relative_cells"] = dict(cells)
    if isinstance(images, Photographs):
        psnr: dict[str, Any] = {"bicubic": bicubic_psnr(images)}
        psnr |= psnr_in_both_domains(graph, arrays, images, regularizer, thresholds, workers=workers)
        return entries | {"psnr": psnr}
    accuracy = in_both_domains(graph, arrays, images, regularizer, thresholds, workers=workers)
    return entries | {"accuracy": accuracy}
