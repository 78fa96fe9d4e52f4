"""Which points are worth building: Pareto fronts, their knee and volume, and the cheapest point within limits.

Costs are (points, objectives) float64 arrays, every one to be small.  A point is on the front if no
other is at least as good in every objective and better in one; equal points are all on it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.faults import nearest

Costs = NDArray[np.float64]


def front(costs: Costs) -> NDArray[np.bool_]:
    """Which points are on the Pareto front: (points,) bool.  A NaN keeps a point off it."""
    sound = np.asarray(~np.isnan(costs).any(axis=1))
    # In lexicographic order only an earlier point can dominate a later one.
    order = np.lexsort(costs.T[::-1])
    order = order[sound[order]]
    unique, inverse = np.unique(costs[order], axis=0, return_inverse=True)
    kept = np.empty((0, costs.shape[1]))
    best = np.zeros(len(unique), bool)
    for i, cost in enumerate(unique):
        if not (kept <= cost).all(axis=1).any():
            best[i] = True
            kept = np.vstack([kept, cost])
    on_front = np.zeros(len(costs), bool)
    on_front[order] = best[inverse.ravel()]
    return on_front


def knee(costs: Costs) -> int:
    """The point of a front that lies furthest below the plane through the front's ends.

    Objectives are scaled to 0..1 over the front, in logarithms where all are positive, so that the
    knee does not depend on their units.  In two objectives this is the largest distance from the
    chord between the two ends.
    """
    scaled = costs.astype(float)
    positive = (scaled > 0).all(axis=0)
    scaled[:, positive] = np.log(scaled[:, positive])
    span = np.ptp(scaled, axis=0)
    scaled = (scaled - scaled.min(axis=0)) / np.where(span > 0, span, 1)
    return int(scaled.sum(axis=1).argmin())


def hypervolume(costs: Costs, reference: Costs) -> float:
    """Volume of cost space that the points dominate, bounded by a reference point that is worse than all that count.

    Exact, for any number of objectives, by slicing along the last one.
    """
    inside = costs[(costs < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    if costs.shape[1] == 1:
        return float(reference[0] - inside.min())
    inside = inside[front(inside)]
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    depth = np.diff(np.append(inside[:, -1], reference[-1]))
    return sum(
        hypervolume(inside[: i + 1, :-1], reference[:-1]) * float(thickness)
        for i, thickness in enumerate(depth)
        if thickness > 0
    )


def costs_of(table: pd.DataFrame, objectives: Sequence[str]) -> Costs:
    """Columns of a table as costs; ``-column`` is to be large.  Points that are not done have NaN.

    Raises InputError with the nearest name if there is no such column, or it holds no numbers.
    """
    columns = []
    for objective in objectives:
        name = objective.removeprefix("-")
        numeric = [c for c in table.columns if pd.api.types.is_numeric_dtype(table[c])]
        if name not in numeric:
            raise InputError(f"objective {name!r} is no column of numbers{nearest(name, map(str, numeric))}")
        sign = -1.0 if objective.startswith("-") else 1.0
        columns.append(sign * table[name].where(table["status"] == "done").to_numpy(float))
    return np.stack(columns, axis=1)


def cheapest(table: pd.DataFrame, minimize: str, limits: Mapping[str, float]) -> pd.Series | None:
    """The row with the least of a column among those done and within the limits, the first of equals; None if none is.

    limits: column -> largest value.  Raises InputError with the nearest name if there is no such
    column.
    """
    costs = costs_of(table, [minimize, *limits])
    within = (costs[:, 1:] <= np.array([*limits.values()], float)).all(axis=1) & ~np.isnan(costs[:, 0])
    if not within.any():
        return None
    return table.iloc[int(np.where(within, costs[:, 0], np.inf).argmin())]


def sensitivity(
    table: pd.DataFrame,
    axes: Sequence[str],
    column: str,
    bins: int = 8,
) -> pd.DataFrame:
    """How much each axis alone moves a column: one row an axis that varies, the strongest first.

    share: of the variance of the column's logarithm, what the means of the axis's values explain
    (the correlation ratio, eta squared).  swing: the largest of these (geometric) means over the
    smallest.  lowest: the value with the smallest mean.  Numbers of more than ``bins`` values are
    cut into that many bins of equal count.
    """
    done = table[table["status"] == "done"]
    logs = np.log(done[column].where(done[column] > 0))
    varies = logs.max() > logs.min()
    rows = []
    for axis in axes:
        values = done[axis]
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > bins:
            values = pd.qcut(values, bins, duplicates="drop").map(lambda interval: interval.mid).astype(float)
        groups = logs.groupby(values)
        means = groups.mean()
        if len(means) < 2:
            continue
        scatter = float(((logs - logs.mean()) ** 2).sum())
        between = float((groups.count() * (means - logs.mean()) ** 2).sum())
        rows.append(
            {
                "axis": axis,
                "share": between / scatter if varies and scatter else 0.0,
                "swing": float(np.exp(means.max() - means.min())),
                "lowest": means.idxmin(),
            }
        )
    ranked = pd.DataFrame(rows, columns=["axis", "share", "swing", "lowest"])
    return ranked.sort_values("share", ascending=False, kind="stable", ignore_index=True)
