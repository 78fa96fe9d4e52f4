"""What a finished sweep says about its machines: fronts, knees, cheapest machines and the axes that matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from accelsim.errors import InputError
from accelsim.explore.description import Question, SweepDescription
from accelsim.explore.pareto import cheapest, costs_of, front, knee, sensitivity
from accelsim.explore.space import LAYER_THRESHOLD, Variant

VARIANT_AXES = tuple(name for name in Variant.__dataclass_fields__ if name.endswith(("sparsity", "threshold")))


@dataclass(frozen=True)
class Answers:
    """What a sweep says: fronts, knees, the cheapest machines, and what matters."""

    objectives: tuple[str, ...]  # columns of the fronts
    fronts: dict[str, pd.DataFrame]  # rows of the table on the Pareto front, by family and for ``all`` together
    knees: dict[str, int]  # the front's knee, by the same names: a row's index
    cheapest: list[tuple[Question, pd.Series | None]]  # each with its row, None if no machine is within its limits
    sensitivity: dict[str, dict[str, pd.DataFrame]]  # by objective and family

    def to_json(self, parameters: Sequence[str]) -> dict[str, Any]:
        """The object that ``accelsim sweep --json`` prints, but for the counts."""
        columns = ["point", "model", "family", *parameters, *(o.removeprefix("-") for o in self.objectives)]
        return {
            "objectives": list(self.objectives),
            "fronts": {name: _records(rows, columns) for name, rows in self.fronts.items()},
            "knees": {name: int(self.fronts[name]["point"][row]) for name, row in self.knees.items()},
            "cheapest": [
                {
                    "minimize": question.minimize,
                    "limits": question.limits,
                    "point": None if row is None else int(row["point"]),
                    "value": None if row is None else float(row[question.minimize]),
                }
                for question, row in self.cheapest
            ],
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
    costs = costs_of(table, objectives)
    fronts = {}
    knees = {}
    families = list(dict.fromkeys(table["family"]))
    for name in ("all", *families):
        members = np.flatnonzero((table["family"] == name).to_numpy() | (name == "all"))
        best = members[front(costs[members])]
        if len(best):
            order = best[np.argsort(costs[best, 0], kind="stable")]
            fronts[name] = table.iloc[order]
            knees[name] = int(table.index[order[knee(costs[order])]])
    ranked: dict[str, dict[str, pd.DataFrame]] = {}
    axes = parameters_of(description, table)
    for objective in dict.fromkeys(o.removeprefix("-") for o in objectives):
        ranked[objective] = {}
        for family in families:
            mine = table[table["family"] == family]
            varied = [axis for axis in axes if mine[axis].nunique() > 1]
            ranked[objective][family] = sensitivity(mine, varied, objective)
    questions = [(q, cheapest(table, q.minimize, q.limits)) for q in description.report.cheapest]
    return Answers(objectives, fronts, knees, questions, ranked)
