"""Would a sweep's answer stand if what nobody measured were otherwise?

Bands between its families of machines.

For each question of the sweep file and each model, the cheapest machine of every family that meets
the limits is held against that of the first family, as ``simulator.verdict`` does with two
machines: simulated anew under each assumption.  The limits are those of the machines as described;
under an assumption they are not asked again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.explore.answers import reaching
from accelsim.explore.description import Question
from accelsim.explore.machines import machine_from
from accelsim.explore.pareto import cheapest
from accelsim.explore.space import Point
from accelsim.explore.sweep import Sweep, read_points
from accelsim.explore.variants import variant_works
from accelsim.simulator.verdict import Quantity, band, verdicts

QUANTITIES: Mapping[str, Quantity] = {"energy_pj": "energy", "cycles": "latency", "latency_ms": "latency"}


@dataclass(frozen=True)
class Band:
    """The cheapest machines of one question, family against family, over all assumptions."""

    question: Question
    model: str
    points: dict[str, int]
    """Index of the point of each family."""
    cases: pd.DataFrame
    """As ``simulator.verdict.band`` gives them, machines named by family."""

    @property
    def sentences(self) -> list[str]:
        """The verdicts in words: of the quantity that was asked for, or of energy and latency."""
        asked = QUANTITIES.get(self.question.minimize)
        quantities: tuple[Quantity, ...] = ("energy", "latency") if asked is None else (asked,)
        return [verdict.sentence for quantity in quantities for verdict in verdicts(self.cases, quantity)]

    def to_json(self) -> dict[str, Any]:
        """The band as plain values."""
        return {
            "model": self.model,
            "minimize": self.question.minimize,
            "limits": self.question.limits,
            "points": self.points,
            "sentences": self.sentences,
            "cases": self.cases.to_dict(orient="records"),
        }


def bands(sweep: Sweep, folder: Path) -> list[Band]:
    """The band of each question and model to which at least two families have an answer.

    folder: the sweep's, whose stored points say what the machines are.  Raises InputError if it
    holds none, or a model is no longer the file that the sweep began with.
    """
    points = {point.index: point for point in read_points(folder)}
    asked = product(sweep.description.report.cheapest, sweep.answers.models)
    answered = ((question, model, _answers(sweep, points, question, model)) for question, model in asked)
    return [_band(sweep, question, model, found) for question, model, found in answered if len(found) > 1]


def _answers(
    sweep: Sweep,
    points: Mapping[int, Point],
    question: Question,
    model: str,
) -> dict[str, Point]:
    """The point of each family that has one: its cheapest for the model."""
    worthy = reaching(sweep.table, sweep.answers.floors)
    of_model = worthy[worthy["model"] == model]
    found: dict[str, Point] = {}
    for family in sweep.description.machines:
        of_family = of_model[of_model["family"] == family]
        row = cheapest(of_family, question.minimize, question.limits) if len(of_family) else None
        if row is not None:
            found[family] = points[int(row["point"])]
    return found


def _band(sweep: Sweep, question: Question, model: str, found: Mapping[str, Point]) -> Band:
    """The band of the points found, a family each.

    The variant is the first Winograd machine's, if there is one.
    """
    description = sweep.description
    first = next(iter(found.values()))
    machines = [machine_from({**(point.machine or {}), "name": family}) for family, point in found.items()]
    tiled = next((i for i, machine in enumerate(machines) if machine.datapath.m is not None), 0)
    variant = list(found.values())[tiled].variant
    works = variant_works(variant, machines[tiled].datapath.m, description.batch)
    return Band(
        question=question,
        model=model,
        points={family: point.index for family, point in found.items()},
        cases=band(works, machines, description.level_of(first.parameters)),
    )
