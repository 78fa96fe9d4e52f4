"""What a point of a sweep is called, and the command that simulates it again."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.explore.answers import variant_axes
from accelsim.explore.description import MachineEntry, SweepDescription
from accelsim.explore.expressions import Value
from accelsim.explore.space import LAYER_THRESHOLD, SCOPE, settings_of
from accelsim.explore.sweep import Sweep

# of a variant's columns
FLAGS = {
    "spatial_sparsity": "--prune",
    "winograd_sparsity": "--sparsity",
    "winograd_threshold": "--threshold",
    SCOPE: "--scope",
}
WORDS = {True: "true", False: "false"}


def named(row: "Mapping[str, Any] | pd.Series", parameters: Sequence[str]) -> str:
    """A point's parameters as ``rows=16 tile=4``; those that it does not have are left out."""
    return " ".join(f"{name}={plain(row[name])}" for name in parameters if name in row and not pd.isna(row[name]))


def plain(value: object) -> str:
    """A value as a YAML file or a command has it."""
    if isinstance(value, bool):
        return WORDS[value]
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def command(sweep: Sweep, row: pd.Series) -> str:
    """The ``accelsim simulate`` that gives a point's figures again, from the folder that the sweep was run from.

    row: of the sweep's table.
    """
    description = sweep.description
    entry = description.machines[str(row["family"])]
    parameters = _parameters(description, entry, row)
    settings = settings_of(entry, parameters)
    words = ["accelsim", "simulate", _model(sweep, str(row["model"])), entry.base]
    for key, value in settings.items():
        words += ["--set", f"{key}={plain(value)}"]
    words += _zeros(row)
    words += ["--engine", description.engine, "--level", description.level_of(parameters)]
    if description.batch > 1:
        words += ["--batch", str(description.batch)]
    return shlex.join(words)


def _zeros(row: pd.Series) -> list[str]:
    """The flags that say how sparse the point's model is deployed."""
    given = {name: row[name] for name in variant_axes(row.to_frame().T) if not pd.isna(row[name])}
    words = []
    for name, value in given.items():
        text = value if isinstance(value, str) else repr(float(value))
        if name.startswith(LAYER_THRESHOLD):
            words += ["--layer-threshold", f"{name.removeprefix(LAYER_THRESHOLD)}={text}"]
        else:
            words += [FLAGS[name], text]
    return words


def _parameters(
    description: SweepDescription,
    entry: MachineEntry,
    row: pd.Series,
) -> dict[str, Value]:
    """The row's values of the axes and derived parameters that its family has."""
    names = (*description.axes, *entry.axes, *description.derived_of(entry))
    return {name: _number(row[name]) for name in names}


def _number(value: Any) -> Value:
    """A table's value as a formula takes it: no NumPy scalar, whole numbers as integers."""
    found = value.item() if hasattr(value, "item") else value
    return int(found) if isinstance(found, float) and found.is_integer() else found


def _model(sweep: Sweep, name: str) -> str:
    """A model's file as it was found, or its bare name, by the table's word for it."""
    given = next((entry.path for entry in sweep.description.models if Path(entry.path).stem == name), name)
    return sweep.paths.get(name, given) if Path(given).suffix else given
