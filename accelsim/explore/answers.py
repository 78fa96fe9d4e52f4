"""What a finished sweep says about its machines.

Fronts, knees, cheapest machines and the axes that matter.

Each model has its own: a machine that is fast on a small network is no answer for a large one.  A
point whose accuracy is below the floor is on no front and answers nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from accelsim.errors import InputError
from accelsim.explore.description import Question, SweepDescription
from accelsim.explore.pareto import cheapest, costs_of, front, knee, sensitivity
from accelsim.explore.space import LAYER_THRESHOLD, SCOPE, Variant

ALL = "all"  # families together
FLOOR_POINTS = 2.0  # below a model's best top-1, where the sweep file does not say
VARIANT_AXES = (*(name for name in Variant.__dataclass_fields__ if name.endswith(("sparsity", "threshold"))), SCOPE)


@dataclass(frozen=True)
class Answered:
    """The cheapest machine of one question for one model."""

    question: Question
    model: str
    row: pd.Series | None  # of the table; None if no machine is within the limits


@dataclass(frozen=True)
class Answers:
    """What a sweep says: fronts, knees, the cheapest machines, and what matters."""

    objectives: tuple[str, ...]
    """Columns of the fronts."""

    models: tuple[str, ...]
    """Models of which a point is done."""

    floors: dict[str, float]
    """Top-1 in percent below which a point answers nothing, by model; empty where accuracy is not
    measured."""

    fronts: dict[str, pd.DataFrame]
    """Rows of the table on the Pareto front, by ``scope``."""

    knees: dict[str, int]
    """The front's knee, by the same names: a row's index."""

    cheapest: list[Answered]
    """The questions of the sweep file, model by model."""

    sensitivity: dict[str, dict[str, pd.DataFrame]]
    """By objective and family."""

    def scope(self, model: str, family: str = ALL) -> str:
        """The name of a model's front on one family of machines, or on all."""
        return family if len(self.models) == 1 else f"{model}: {family}"

    def to_json(self, parameters: Sequence[str]) -> dict[str, Any]:
        """The object that ``accelsim sweep --json`` prints, but for the counts."""
        columns = ["point", "model", "family", *parameters, *(o.removeprefix("-") for o in self.objectives)]
        return {
            "objectives": list(self.objectives),
            "fronts": {name: _records(rows, columns) for name, rows in self.fronts.items()},
            "knees": {name: int(self.fronts[name]["point"][row]) for name, row in self.knees.items()},
            "cheapest": [
                {
                    "model": found.model,
                    "minimize": found.question.minimize,
                    "limits": found.question.limits,
                    "point": None if found.row is None else int(found.row["point"]),
                    "value": None if found.row is None else float(found.row[found.question.column]),
                }
                for found in self.cheapest
            ],
            "top1_floors": self.floors,
            "sensitivity": {
                objective: {family: ranked.to_dict(orient="records") for family, ranked in families.items()}
                for objective, families in self.sensitivity.items()
            },
        }


def _records(rows: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    present = [column for column in dict.fromkeys(columns) if column in rows.columns]
    return [{str(k): v for k, v in row.items() if not pd.isna(v)} for row in rows[present].to_dict(orient="records")]


def check_report(description: SweepDescription, table: pd.DataFrame) -> None:
    """Raises InputError if the report asks for a column that the table does not have."""
    columns = [*description.report.objectives, *(description.report.heat_map or ())]
    for question in description.report.cheapest:
        columns += [question.minimize, *question.limits]
    if (table["status"] == "done").any():
        costs_of(table, columns)


def parameters_of(description: SweepDescription, table: pd.DataFrame) -> list[str]:
    """Axes and derived parameters of any family, and what varies of the model, as columns of the table."""
    names = [*description.axes, *description.derived]
    for entry in description.machines.values():
        names += [*entry.axes, *entry.derived]
    return [name for name in dict.fromkeys((*variant_axes(table), *names)) if name in table.columns]


def variant_axes(table: pd.DataFrame) -> list[str]:
    """What can vary of a model, as columns of the table."""
    return [name for name in table.columns if name in VARIANT_AXES or name.startswith(LAYER_THRESHOLD)]


def answer(description: SweepDescription, table: pd.DataFrame) -> Answers:
    """All answers.  Raises InputError if the report asks for a column that the table does not have, or none is done."""
    if not (table["status"] == "done").any():
        first = next(iter(table.loc[table["error"] != "", "error"]), "")
        raise InputError(f"{description.name}: no point is done{f', the first says: {first}' if first else ''}")
    check_report(description, table)
    objectives = description.report.objectives
    models = tuple(str(name) for name in dict.fromkeys(table.loc[table["status"] == "done", "model"]))
    floors = accuracy_floors(description, table, models)
    worthy = reaching(table, floors)
    answers = Answers(
        objectives=objectives,
        models=models,
        floors=floors,
        fronts={},
        knees={},
        cheapest=_cheapest(description, worthy, models),
        sensitivity=_sensitivity(description, table),
    )
    costs = costs_of(worthy, objectives)
    for model in models:
        for family in (ALL, *dict.fromkeys(table["family"])):
            of_family = (table["family"] == family).to_numpy() | (family == ALL)
            members = np.flatnonzero((table["model"] == model).to_numpy() & of_family)
            best = members[front(costs[members])]
            if len(best):
                order = best[np.argsort(costs[best, 0], kind="stable")]
                answers.fronts[answers.scope(model, family)] = table.iloc[order]
                answers.knees[answers.scope(model, family)] = int(table.index[order[knee(costs[order])]])
    return answers


def accuracy_floors(
    description: SweepDescription,
    table: pd.DataFrame,
    models: Sequence[str],
) -> dict[str, float]:
    """Top-1 in percent that a point of each model must reach, where the sweep measures it.

    What the sweep file says (``report.least_top1``), else ``FLOOR_POINTS`` below the model's best
    point.
    """
    if "top1" not in table.columns:
        return {}
    stated = description.report.least_top1
    best = table.groupby("model", sort=False)["top1"].max()
    return {
        model: float(best[model]) - FLOOR_POINTS if stated is None else stated
        for model in models
        if not np.isnan(best[model])
    }


def reaching(table: pd.DataFrame, floors: dict[str, float]) -> pd.DataFrame:
    """The table with the points below their model's floor marked ``inaccurate``.

    Without a measurement none is.
    """
    if not floors:
        return table
    below = table["top1"] < table["model"].map(floors)
    return table.assign(status=table["status"].where(~below, "inaccurate"))


def _cheapest(
    description: SweepDescription,
    worthy: pd.DataFrame,
    models: Sequence[str],
) -> list[Answered]:
    """The cheapest machine of each question, for each model."""
    return [
        Answered(q, model, cheapest(worthy[worthy["model"] == model], q.minimize, q.limits))
        for q in description.report.cheapest
        for model in models
    ]


def _sensitivity(
    description: SweepDescription,
    table: pd.DataFrame,
) -> dict[str, dict[str, pd.DataFrame]]:
    """How much each axis moves each objective, family by family."""
    ranked: dict[str, dict[str, pd.DataFrame]] = {}
    axes = parameters_of(description, table)
    for objective in dict.fromkeys(o.removeprefix("-") for o in description.report.objectives):
        ranked[objective] = {}
        for family in dict.fromkeys(table["family"]):
            mine = table[table["family"] == family]
            varied = [axis for axis in axes if mine[axis].nunique() > 1]
            ranked[objective][family] = sensitivity(mine, varied, objective)
    return ranked
