"""Fronts, knees and volumes against their definitions, and against volumes that can be worked out by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelsim.errors import InputError
from accelsim.explore.pareto import cheapest, costs_of, front, hypervolume, knee, sensitivity
from tests.laws import law

COSTS = st.integers(1, 4).flatmap(
    lambda d: hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(d)), elements=st.integers(0, 6))
)


@given(COSTS)
def test_the_front_is_what_nothing_dominates(costs: np.ndarray) -> None:
    dominated = [any((other <= cost).all() and (other < cost).any() for other in costs) for cost in costs]
    assert front(costs).tolist() == [not d for d in dominated]


@given(COSTS)
def test_the_front_does_not_depend_on_order_or_units(costs: np.ndarray) -> None:
    expected = front(costs)
    order = np.random.default_rng(0).permutation(len(costs))
    assert front(costs[order] * 3.0 + 1).tolist() == expected[order].tolist()


def test_a_nan_is_on_no_front() -> None:
    assert front(np.array([[1, np.nan], [2, 3.0]])).tolist() == [False, True]


@law(60)
@given(COSTS)
def test_hypervolume_is_the_dominated_cells(costs: np.ndarray) -> None:
    # On whole numbers the volume is a count of unit cells.
    d = costs.shape[1]
    cells = sum(any((cost <= cell).all() for cost in costs) for cell in itertools.product(range(6), repeat=d))
    assert hypervolume(costs, np.full(d, 6.0)) == cells


def test_hypervolume_of_a_published_front() -> None:
    # The two-objective example of Zitzler & Thiele's definition: a staircase of rectangles.
    staircase = np.array([[1, 5], [2, 3], [4, 1.0]])
    assert hypervolume(staircase, np.array([6, 6.0])) == 1 * 1 + 2 * 3 + 2 * 5


def test_the_knee_is_furthest_from_the_chord() -> None:
    x = np.geomspace(1, 100, 41)
    costs = np.stack([x, 100 / x], axis=1)
    costs[13] = costs[13] * 0.5
    assert knee(costs) == 13
    assert knee(costs * [1e-6, 1e9]) == 13


def table() -> pd.DataFrame:
    """Two axes: cycles fall with one, are left alone by the other."""
    rows = [
        {"lanes": lanes, "idle": idle, "status": "done", "cycles": 1000 // lanes + 0 * idle, "area": lanes * 1.0}
        for lanes in (1, 2, 4)
        for idle in (0, 1)
    ]
    rows.append({"lanes": 8, "idle": 0, "status": "failed", "cycles": None, "area": 0.0})
    return pd.DataFrame(rows)


def test_cheapest_is_within_its_limits() -> None:
    assert cheapest(table(), "area", {"cycles": 500})["lanes"] == 2
    assert cheapest(table(), "-area", {})["lanes"] == 4
    assert cheapest(table(), "area", {"cycles": 1}) is None
    with pytest.raises(InputError, match="did you mean 'cycles'"):
        cheapest(table(), "area", {"cylces": 1})


def test_points_that_failed_are_no_points() -> None:
    costs = costs_of(table(), ["area", "-cycles"])
    assert np.isnan(costs[-1]).all()
    assert costs[0].tolist() == [1, -1000]


def test_sensitivity_tells_the_axis_that_matters() -> None:
    ranked = sensitivity(table(), ["idle", "lanes"], "cycles").set_index("axis")
    assert list(ranked.index) == ["lanes", "idle"]
    assert ranked.loc["lanes", "share"] == pytest.approx(1)
    assert ranked.loc["lanes", "swing"] == pytest.approx(4)
    assert ranked.loc["lanes", "lowest"] == 4
    assert ranked.loc["idle", "share"] == pytest.approx(0)


def test_nothing_explains_what_never_changes() -> None:
    table = pd.DataFrame({"status": "done", "rows": [4, 8, 4, 8, 16], "top1": 91.3})
    assert sensitivity(table, ["rows"], "top1")["share"].tolist() == [0.0]
