"""The prices of a run's layers, measured once: a JSON file that says of which recipe they are.

An interrupted run goes on from it, and so does one with other budgets in the same folder.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from accelsim.errors import InputError
from accelsim.files import PRICES, read_text, write_text
from accelsim.settings import Section
from accelsim.training.prices import Grid, SharesTried

_GRIDS = TypeAdapter(dict[str, list[list[SharesTried]]])


class PriceList:
    """The layers so far, and the file that always holds them all."""

    def __init__(self, path: Path, recipe: Section) -> None:
        """Begin with what the file holds, if it is of this recipe but for the size of the budgets.

        Raises InputError if the file is no list of prices.
        """
        self._path = path
        self._of = _without_budgets(recipe)
        self.grids: dict[str, Grid] = {}
        if not path.exists():
            return
        try:
            content = json.loads(read_text(path, PRICES))
            if content["of"] == self._of:
                self.grids = _GRIDS.validate_python(content["layers"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
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
        write_text(self._path, json.dumps({"of": self._of, "layers": layers}))


def _without_budgets(recipe: Section) -> dict[str, Any]:
    """What the prices depend on."""
    content = recipe.model_dump(mode="json")
    for key in ("ratio", "cost_reduction"):
        del content["reconstruction"]["budget"][key]
    return content
