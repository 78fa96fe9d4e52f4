"""Where the Winograd machine stops paying: layer by layer, at which density and which tile size.

Layers run one after the other, so each can be judged on its own; what a change of tile size from
layer to layer would cost (transform units for several sizes, filters stored for each) is left out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def break_even(
    table: pd.DataFrame,
    layers: pd.DataFrame,
    groups: Sequence[str],
    own: Sequence[str] = (),
    metric: str = "cycles",
) -> pd.DataFrame:
    """At which Winograd density of a layer the Winograd machine costs as much as the spatial one.

    In a group (points equal in the columns ``groups``) the Winograd machines run variants of many
    densities.  At each density the best of them is held against the best spatial machine of the
    group.  own: columns that tell Winograd machines apart beside, such as ``tile``.  One row a
    layer that runs at several densities, a group and a value of ``own``: these columns, ``layer``,
    ``spatial`` (the metric there), ``lowest`` and ``highest`` density seen, and ``break_even``:
    below it Winograd pays, linearly between the densities seen; 0 where it pays at none, the
    highest seen where it pays at all (``always``).
    """
    done = table[table["status"] == "done"]
    columns = list(dict.fromkeys((*groups, *own, "family_kind", "point")))
    done = done.assign(family_kind=done["kind"])
    rows = layers.merge(done[columns], on="point")
    spatial = rows[rows["family_kind"] == "spatial"]
    best: dict[Any, float] = spatial.groupby([*groups, "name"], sort=False)[metric].min().to_dict()
    winograd = rows[(rows["family_kind"] == "winograd") & rows["winograd_density"].notna()]
    found = []
    for key, group in winograd.groupby([*groups, "name", *own], sort=False):
        parts = key if isinstance(key, tuple) else (key,)
        at = parts[: len(groups) + 1]
        limit = best.get(at if len(at) > 1 else at[0])
        if limit is None:
            continue
        curve = group.groupby("winograd_density")[metric].min()
        if len(curve) < 2:
            continue
        even, always = crossing(curve.index.to_numpy(float), curve.to_numpy(float), float(limit))
        found.append(
            dict(zip((*groups, "layer", *own), parts, strict=True))
            | {"spatial": limit, "lowest": curve.index[0], "highest": curve.index[-1]}
            | {"break_even": even, "always": always}
        )
    return pd.DataFrame(found)


def crossing(
    density: NDArray[np.float64],
    cost: NDArray[np.float64],
    limit: float,
) -> tuple[float, bool]:
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

    One row a layer and a group: the columns ``groups``, ``layer``, ``tile``, the metric there, and
    ``gain``: how much the worst tile costs over the best.
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
