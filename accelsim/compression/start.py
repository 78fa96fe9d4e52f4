"""What a compression starts from: a checkpoint's network and card.

The card says which shares of zeros it was trained for, and which tiles; a file may hold layers that
are rounded already.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.compression.quantize import winograd_tiles
from accelsim.compression.recipe import CompressionRecipe
from accelsim.dual.file import read_dual, read_manifest
from accelsim.dual.manifest import weight_names
from accelsim.dual.quantizer import Quantizer
from accelsim.errors import InputError
from accelsim.files import CARD as CARD_FILE
from accelsim.files import read_text
from accelsim.network.graph import Graph, Network
from accelsim.network.onnx import read_onnx
from accelsim.network.weights import load_network
from accelsim.training.checkpoint import CARD, MODEL, check_card
from accelsim.training.networks import find_network, is_file


def held_cells(network: Network, path: Path) -> dict[str, float]:
    """The cells of the arrays that a file holds, in whole cells, just as the network does.

    Raises InputError if there are none.
    """
    arrays = read_dual(path).network.arrays
    stated = read_manifest(path)[0].quantization
    found = {}
    for name in weight_names(network.graph):
        w = network.arrays[name]
        cell = stated.cells.get(name, stated.cell)
        if name in arrays and np.array_equal(arrays[name], w) and np.array_equal(_whole(w, cell), w):
            found[name] = cell
    if not found:
        raise InputError(f"{path}: no layer has the checkpoint's weights, expected a file that some of them are from")
    return found


def _whole(w: Array, cell: float) -> Array:
    """The weights rounded to whole cells."""
    quantizer = Quantizer({"w": cell}, np.zeros(0))
    return quantizer.decode("w", np.rint(w / cell).astype(np.int32))


def load_checkpoint(checkpoint: Path, recipe: CompressionRecipe) -> tuple[Network, dict[str, Any]]:
    """The network of a checkpoint, and what its card says.

    Nothing for a bare weight file and for ONNX.
    """
    if checkpoint.suffix == ".onnx":
        return read_onnx(checkpoint), {}
    weights = checkpoint / MODEL if checkpoint.is_dir() else checkpoint
    card = weights.with_name(CARD)
    notes: dict[str, Any] = {}
    if weights.name == MODEL and card.exists():
        try:
            notes = json.loads(read_text(card, CARD_FILE))
            trained = str(notes.get("recipe", {}).get("network", ""))
            name = recipe.network or (trained if is_file(trained) else str(notes["network"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{card}: not a checkpoint's card ({error})") from None
    elif recipe.network is None:
        raise InputError(f"{weights}: a bare weight file, expected a recipe with the key network")
    else:
        name = recipe.network
    network = load_network(find_network(name, str(weights)), weights)
    check_card(weights, notes)
    return network, notes


def layer_tiles(graph: Graph, recipe: CompressionRecipe, notes: dict[str, Any]) -> dict[str, int]:
    """m of each Winograd layer: those of the checkpoint, if it names them."""
    named = notes.get("winograd_m")
    return {
        name: m
        for name, m in winograd_tiles(graph, recipe.tile).items()
        if not isinstance(named, dict) or name in named
    }


def aimed_share(asked: float | None, notes: dict[str, Any], key: str, checkpoint: Path) -> float:
    if asked is not None:
        return asked
    found = notes.get(key)
    if isinstance(found, int | float) and 0 <= found < 1:
        return float(found)
    name = {"sparsity_sd": "spatial", "sparsity_wd": "winograd"}[key]
    raise InputError(f"{checkpoint}: states no {key}, expected a recipe with the key {name}")
