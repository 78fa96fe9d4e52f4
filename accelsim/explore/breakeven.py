"""Where the Winograd machine stops paying: layer by layer, at which density and which tile size.

Layers run one after the other, so each can be judged on its own; what a change of tile size from layer to layer would
cost (transform units for several sizes, filters stored for each) is left out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def break_even(
    table: pd.DataFrame, layers: pd.DataFrame, groups: Sequence[str], metric: str = "cycles"
) -> pd.DataFrame:
    """At which Winograd density of a layer the Winograd machine costs as much as the spatial one.

    Winograd machines of one group (equal in the columns ``groups``) run variants of many densities; the best spatial
    machine of the group with the same weights is what they are held against.  One row a layer that Winograd serves and
    a group: the columns ``groups``, ``layer``, ``spatial`` (the metric there), ``lowest`` and ``highest`` density seen,
    ``break_even``: below it Winograd pays, linearly between the densities seen; 0 where it never pays, and the highest
    density seen where it pays throughout (``always``).
    """
    done = table[table["status"] == "done"]
    keys = [*groups, "point"]
    rows = layers.merge(done[[*dict.fromkeys((*keys, "kind"))]], on="point", suffixes=("_layer", ""))
    winograd = rows[rows["winograd_density"].notna()]
    spatial = rows[rows["kind"] == "spatial"]
    by = [*groups, "name"]
    best: dict[Any, float] = spatial.groupby(by, sort=False, dropna=False)[metric].min().to_dict()
    found = []
    for key, group in winograd.groupby(by, sort=False, dropna=False):
        if key not in best:
            continue
        curve = group.groupby("winograd_density")[metric].min()
        limit = float(best[key])
        at, always = crossing(curve.index.to_numpy(float), curve.to_numpy(float), limit)
        found.append(
            dict(zip(groups, key, strict=False))
            | {"layer": key[-1], "spatial": limit, "lowest": curve.index[0], "highest": curve.index[-1]}
            | {"break_even": at, "always": always}
        )
    return pd.DataFrame(found)


def crossing(density: NDArray[np.float64], cost: NDArray[np.float64], limit: float) -> tuple[float, bool]:
    """The density up to which a cost stays at or below a limit, and whether it does throughout.

    density: ascending.  0 where even the lowest density costs more.
    """
    above = np.flatnonzero(cost > limit)
    if not len(above):
        return float(density[-1]), True
    i = int(above[0])
    if i == 0:
        return 0.0, False
    share = (limit - cost[i - 1]) / (cost[i] - cost[i - 1])
    return float(density[i - 1] + share * (density[i] - density[i - 1])), False


def best_tiles(
    table: pd.DataFrame, layers: pd.DataFrame, groups: Sequence[str], metric: str = "cycles"
) -> pd.DataFrame:
    """The best tile size of each layer among Winograd machines that differ in ``tile`` alone.

    One row a layer and a group: the columns ``groups``, ``layer``, ``tile``, the metric there, and ``gain``: how much
    the worst tile costs over the best.
    """
    done = table[(table["status"] == "done") & (table["kind"] == "winograd")]
    rows = layers.merge(done[[*groups, "tile", "point"]], on="point")
    rows = rows[rows["winograd_density"].notna()]
    found = []
    for key, group in rows.groupby([*groups, "name"], sort=False, dropna=False):
        cost = group.groupby("tile")[metric].min()
        if len(cost) < 2:
            continue
        found.append(
            dict(zip(groups, key, strict=False))
            | {
                "layer": key[-1],
                "tile": cost.index[int(cost.argmin())],
                metric: cost.min(),
                "gain": cost.max() / cost.min(),
            }
        )
    return pd.DataFrame(found)
