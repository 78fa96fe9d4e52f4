"""Guided search of a grid of machines: Optuna proposes, and neighbours of the front so far are tried beside.

Each family is searched on its own with its share of the budget, so that the kinds of machine can be
compared after.  A batch is half proposals of Optuna's multi-objective tree-structured Parzen
estimator (Ozaki et al., GECCO 2020), half points one step along one axis from the front so far.
Proposals and their order depend on the seed and the results alone, not on the number of workers, so
a search that is run again retraces its steps from the store.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accelsim.errors import InputError
from accelsim.explore.description import SweepDescription
from accelsim.explore.pareto import costs_of, front
from accelsim.explore.space import Point, all_variants, axis_values, kind_of, make, point_of, variants_for
from accelsim.given import whole_number

BATCH = 16  # at most, and at most 1/12 of a family's budget
STARTUP = 48  # random points of a family before proposals are guided, and at most 1/4 of its budget
# proposals in a row that are known already or no machine: then the rest of a batch is drawn at
# random
PATIENCE = 16

Position = tuple[int, ...]
Visit = Callable[[Sequence[Point]], pd.DataFrame]


def check_search(description: SweepDescription, budget: int) -> None:
    """Raises InputError if Optuna is not installed or the sweep is no grid."""
    whole_number("--search", budget, 1)
    if description.sampling.method != "grid":
        raise InputError(f"{description.name}: --search needs sampling grid, got {description.sampling.method}")
    try:
        import_module("optuna")
    except ImportError:
        raise InputError("--search needs Optuna, expected pip install optuna") from None


def search_points(description: SweepDescription, root: Path, budget: int, visit: Visit) -> None:
    """Visit at most ``budget`` points of the grid, batch by batch.

    visit: computes points and returns their rows of the table.
    """
    every = all_variants(description, root)
    families = list(description.machines)
    index = 0
    for i, family in enumerate(families):
        share = (budget - index) // (len(families) - i)
        variants = list(variants_for(every, kind_of(description, family)).values())
        axes = {**description.axes, **description.machines[family].axes}
        values = [("", tuple(range(len(variants)))), *((name, axis_values(axis)) for name, axis in axes.items())]
        walk = _Walk([len(v) for _, v in values], share, description.sampling.seed)
        for batch in walk.batches(partial(_machine, description, family, values)):
            points = [point_of(index + j, variants[at[0]], family, *walk.machines[at]) for j, at in enumerate(batch)]
            index += len(points)
            walk.learn(batch, costs_of(visit(points), description.report.objectives))


def _machine(
    description: SweepDescription,
    family: str,
    values: Sequence[tuple[str, tuple[Any, ...]]],
    at: Position,
) -> tuple[dict[str, Any], dict[str, Any] | None, Any] | None:
    sample = {name: v[i] for (name, v), i in zip(values[1:], at[1:], strict=True)}
    return make(description, family, sample)


@dataclass
class _Walk:
    """The search of one family: which positions of the grid are known, and what they cost."""

    sizes: Sequence[int]
    budget: int
    seed: int
    machines: dict[Position, Any] = field(default_factory=dict)  # None: excluded by a constraint
    costs: dict[Position, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        optuna: Any = import_module("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._space: Mapping[str, Any] = {
            str(i): optuna.distributions.IntDistribution(0, size - 1) for i, size in enumerate(self.sizes)
        }
        self._sampler = optuna.samplers.TPESampler(
            seed=self.seed, n_startup_trials=min(STARTUP, self.budget // 4), multivariate=True
        )
        self._study: Any = None
        self._random = random.Random(self.seed)

    def batches(self, machine: Callable[[Position], Any]) -> Iterator[list[Position]]:
        """Batches of new positions whose machine exists, the budget in all, fewer if the grid has no more."""
        left = self.budget
        size = min(BATCH, max(2, self.budget // 12))
        while left > 0:
            batch: list[Position] = []
            sources = ((self._neighbours(), size // 2), (self._proposals(), size), (self._draws(), size))
            for source, most in sources:
                goal = min(left, most)
                for at in source:
                    if len(batch) >= goal:
                        break
                    if at in self.machines:
                        continue
                    self.machines[at] = machine(at)
                    if self.machines[at] is not None:
                        batch.append(at)
            if not batch:
                return
            left -= len(batch)
            yield batch

    def learn(self, batch: Sequence[Position], costs: np.ndarray) -> None:
        """Take in what a batch costs."""
        optuna = self._optuna
        if self._study is None:
            directions = ["minimize"] * costs.shape[1]
            self._study = optuna.create_study(directions=directions, sampler=self._sampler)
        for at, cost in zip(batch, costs, strict=True):
            if np.isnan(cost).any():
                continue
            self.costs[at] = tuple(float(c) for c in cost)
            self._study.add_trial(
                optuna.trial.create_trial(
                    params={str(i): value for i, value in enumerate(at)},
                    distributions=dict(self._space),
                    values=list(self.costs[at]),
                )
            )

    def _neighbours(self) -> Iterator[Position]:
        """Positions one step along one axis from the front so far, in random order."""
        if not self.costs:
            return
        positions = list(self.costs)
        best = front(np.array([self.costs[at] for at in positions]))
        steps = [
            (*at[:axis], at[axis] + step, *at[axis + 1 :])
            for at, on_front in zip(positions, best, strict=True)
            if on_front
            for axis, size in enumerate(self.sizes)
            for step in (-1, 1)
            if 0 <= at[axis] + step < size
        ]
        self._random.shuffle(steps)
        yield from steps

    def _proposals(self) -> Iterator[Position]:
        """What Optuna proposes, until it repeats itself."""
        idle = 0
        while self._study is not None and idle < PATIENCE:
            trial = self._study.ask(dict(self._space))
            at = tuple(trial.params[str(i)] for i in range(len(self.sizes)))
            known = len(self.machines)
            yield at
            idle = idle + 1 if len(self.machines) == known else 0
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    def _draws(self) -> Iterator[Position]:
        """Positions drawn at random, all of them in the end."""
        total = int(np.prod(self.sizes, dtype=object))
        for _ in range(64 * BATCH):
            yield self._position(self._random.randrange(total))
        for flat in range(total):
            yield self._position(flat)

    def _position(self, flat: int) -> Position:
        at = []
        for size in reversed(self.sizes):
            flat, digit = divmod(flat, size)
            at.append(digit)
        return tuple(reversed(at))
