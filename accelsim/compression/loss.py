"""What a compression without images of its own has lost.

Accuracy on the checkpoint's test images, or weight errors.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from accelsim.dual.manifest import weight_names
from accelsim.errors import InputError
from accelsim.network import Graph, Network
from accelsim.training.datasets import Source, load_split
from accelsim.training.recipe import Data

MOST_IMAGES = 1000
LARGE_ERROR = 0.1
LARGE_LOSS_POINTS = 2.0


def card_images(notes: Mapping[str, Any], graph: Graph) -> Source | None:
    """The first test images of the checkpoint's own recipe.

    None if its card names none, or they are not here.
    """
    recipe = notes.get("recipe")
    if not isinstance(notes.get("accuracy"), dict) or not isinstance(recipe, dict):
        return None
    try:
        data = Data.model_validate(recipe.get("data"))
        if data.kind == "super_resolution":
            return None
        data = data.model_copy(update={"test_limit": min(data.test_limit or MOST_IMAGES, MOST_IMAGES)})
        return load_split(data, "test", graph.input_shape, graph.shapes[graph.nodes[-1].name][-1])
    except (InputError, ValidationError):
        return None


def say_accuracy(accuracy: Mapping[str, float], images: int, say: Callable[[str], None]) -> None:
    """Top-1 of the checkpoint (``top1_reference``) and in each domain, and a warning where much is lost.

    Three figures of the same images: the card's own is of all of them.
    """
    before, *after = (accuracy[f"top1_{what}"] for what in ("reference", "spatial", "winograd"))
    say(f"top-1 on {images} test images: checkpoint {before:.2f}, spatial {after[0]:.2f}, Winograd {after[1]:.2f}")
    if (lost := before - min(after)) > LARGE_LOSS_POINTS:
        say(f"warning: {lost:.2f} points lost; expected a recipe with finer cells, `hold` or `fit`")


def weight_errors(before: Network, after: Network) -> dict[str, float]:
    """Relative error |w' - w| / |w| (Euclidean) of each convolution's and linear layer's weight, by array name."""
    errors = {}
    for name in weight_names(before.graph):
        w, changed = (network.arrays[name].astype(np.float64) for network in (before, after))
        size = float(np.linalg.norm(w))
        errors[name] = float(np.linalg.norm(changed - w)) / size if size else 0.0
    return errors


def say_errors(errors: Mapping[str, float], say: Callable[[str], None]) -> None:
    """A line for each layer, and a warning where the error is large."""
    say("accuracy not measured (no images); relative error of the weights:")
    for name, error in errors.items():
        say(f"  {name.removesuffix('.weight')}: {100 * error:.1f} %")
    if large := [name.removesuffix(".weight") for name, error in errors.items() if error > LARGE_ERROR]:
        say(
            f"warning: over {100 * LARGE_ERROR:g} % in {len(large)} of {len(errors)} layers ({', '.join(large[:3])}, "
            f"...): measure it with `accelsim validate`, or give a recipe with finer cells"
        )
