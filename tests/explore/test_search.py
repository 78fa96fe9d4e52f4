"""A guided search visits few points, none twice, always the same ones, and finds nearly the whole front."""

from pathlib import Path

import numpy as np
import pytest

from accelsim.errors import InputError
from accelsim.explore import local
from accelsim.explore.pareto import costs_of, hypervolume
from accelsim.explore.sweep import Sweep, run_sweep
from tests.explore.small import write_sweep
from tests.explore.test_sweep import many_points

pytest.importorskip("optuna")

BUDGET = 96  # of 288


def volume(sweep: Sweep, reference: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """Hypervolume of the logarithms of a sweep's costs."""
    costs = np.log(costs_of(sweep.table, sweep.description.report.objectives))
    at = costs.max(axis=0) + 1e-9 if reference is None else reference
    return hypervolume(costs, at), at


@pytest.mark.slow
def test_a_search_finds_nearly_the_whole_front_and_retraces_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = many_points(tmp_path)
    found = run_sweep(path, tmp_path / "search", workers=1, search=BUDGET)
    everything = run_sweep(path, tmp_path / "all", workers=1)
    best, reference = volume(everything)
    assert volume(found, reference)[0] > 0.97 * best
    visited = found.table[["family", *found.parameters]]
    assert len(visited) == BUDGET
    assert not visited.duplicated().any()
    assert (found.table["family"] == "spatial").sum() == BUDGET // 2

    def refuse(*_: object) -> None:
        raise AssertionError("a stored point was computed again")

    monkeypatch.setattr(local, "evaluate", refuse)
    again = run_sweep(path, tmp_path / "search", workers=1, search=BUDGET)
    assert again.table.equals(found.table)


def test_a_budget_larger_than_the_space_visits_all_of_it(tmp_path: Path) -> None:
    axes = {"lanes": [64], "rows": [4, 8], "bandwidth": [3.2, 12.8]}
    path = write_sweep(tmp_path, axes=axes, constraints=["rows > 4"])
    assert len(run_sweep(path, tmp_path / "out", workers=1, search=1000).table) == 4


def test_a_search_needs_a_grid_and_a_budget(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--search 0, expected at least 1"):
        run_sweep(write_sweep(tmp_path), tmp_path / "out", search=0)
    path = write_sweep(tmp_path, sampling={"method": "random", "points": 3})
    with pytest.raises(InputError, match="needs sampling grid, got random"):
        run_sweep(path, tmp_path / "out", search=3)
