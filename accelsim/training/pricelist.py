"""The prices of a run's layers, measured once: a JSON file that says of which recipe they are.

An interrupted run goes on from it, and so does one with other budgets in the same folder.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from accelsim.errors import InputError
from accelsim.files import PRICES, read_text, write_text
from accelsim.settings import Section
from accelsim.training.prices import Grid, SharesTried

KEYS = {"of", "layers", "sha256"}  # older lists have no sum
_GRIDS = TypeAdapter(dict[str, list[list[SharesTried]]])


class PriceList:
    """The layers so far, and the file that always holds them all."""

    def __init__(self, path: Path, recipe: Section, source: str = "") -> None:
        """Begin with what the file holds, if it is of this recipe but for the size of the budgets.

        source: SHA-256 of the weights and images that prices are of, where the recipe does not say.
        Raises InputError if the file is no list of prices.
        """
        self._path = path
        self._of = _without_budgets(recipe) | ({"source": source} if source else {})
        self.grids: dict[str, Grid] = {}
        if not path.exists():
            return
        try:
            content = json.loads(read_text(path, PRICES))
            if content.get("sha256", _digest(content)) != _digest(content) or not content.keys() <= KEYS:
                raise InputError(f"{path}: damaged (sha256), expected the prices as they were written")
            if content["of"] == self._of:
                self.grids = _GRIDS.validate_python(content["layers"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            fault = " ".join(str(error).split())[:300]
            raise InputError(f"{path}: {fault}, expected the prices of this run's layers") from None

    def add(self, layer: str, grid: Grid) -> None:
        """Add a layer, by its name, and write the file."""
        self.grids[layer] = grid
        layers = {}
        for name, own in self.grids.items():
            layers[name] = [[asdict(point) for point in row] for row in own]
        content = {"of": self._of, "layers": layers}
        write_text(self._path, json.dumps({**content, "sha256": _digest(content)}))


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of what the file holds: a digit that changes on disk would only be another price."""
    return hashlib.sha256(json.dumps({key: content[key] for key in ("of", "layers")}).encode()).hexdigest()


def _without_budgets(recipe: Section) -> dict[str, Any]:
    """What the prices depend on."""
    content = recipe.model_dump(mode="json")
    for key in ("ratio", "cost_reduction", "machine", "cycles", "latency", "energy"):
        del content["reconstruction"]["budget"][key]
    return content
