"""Maps of a sweep: the least of an objective over two parameters, and where the Winograd domain breaks even."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from accelsim.explore.breakeven import break_even
from accelsim.explore.sweep import Sweep
from accelsim.names import in_plot
from accelsim.report.sweep_drawing import done_points, families, ink_on, label, short, varied

# of machines that are compared
ALIKE = ("model", "lanes", "clock_mhz", "bandwidth_gbs", "spatial_sparsity")
LEAST_INCHES = 3.2  # of height, so that a colour bar's label fits beside it


def heat_map(sweep: Sweep) -> Figure | None:
    """The least of the first objective over everything else, for two parameters.

    One panel a family.
    """
    done = done_points(sweep)
    chosen = sweep.description.report.heat_map
    if chosen is None:
        numeric = [name for name in varied(sweep, done) if 1 < done[name].nunique() <= 24]
        # those that all families have come first
        numeric.sort(key=lambda name: np.count_nonzero(done[name].isna()))
        if len(numeric) < 2:
            return None
        chosen = (numeric[0], numeric[1])
    down, across = chosen
    objective = sweep.description.report.objectives[0].removeprefix("-")
    shown = [
        family
        for family in families(sweep)
        if done.loc[done["family"] == family, [down, across]].notna().all(axis=None)
    ]
    if not shown:
        return None
    grids = {
        family: done[done["family"] == family].pivot_table(
            index=down,
            columns=across,
            values=objective,
            aggfunc="min",
        )
        for family in shown
    }
    low, high = (f([g.to_numpy(float)[~np.isnan(g.to_numpy(float))] for g in grids.values()]) for f in (_least, _most))
    figure = Figure(figsize=(5.0 * len(shown) + 0.8, 4.4), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    scale = LogNorm if 0 < low < high else Normalize
    for axes, (family, grid) in zip(panels, grids.items(), strict=True):
        values = grid.to_numpy(float)
        image = axes.imshow(values, aspect="auto", origin="lower", cmap="viridis", norm=scale(low, high))
        axes.set_xticks(range(grid.shape[1]), [short(v) for v in grid.columns], rotation=45 if grid.shape[1] > 8 else 0)
        axes.set_yticks(range(grid.shape[0]), [short(v) for v in grid.index])
        axes.set_xlabel(label(across))
        axes.set_ylabel(label(down))
        axes.set_title(family)
        if grid.size <= 80:
            for (i, j), value in np.ndenumerate(values):
                if np.isfinite(value):
                    ink = ink_on(image.to_rgba(value))
                    axes.text(j, i, short(value), ha="center", va="center", fontsize=7, color=ink)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.85)
    bar.set_label(label(objective))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    bar.ax.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: short(value)))
    figure.suptitle(f"Least {label(objective)} over all other parameters", fontweight="bold")
    return figure


def _least(parts: Sequence[np.ndarray]) -> float:
    return float(min(part.min() for part in parts))


def _most(parts: Sequence[np.ndarray]) -> float:
    return float(max(part.max() for part in parts))


def break_even_table(sweep: Sweep, metric: str = "cycles") -> pd.DataFrame:
    """``break_even`` of the sweep by its report's column, and by tile size if that varies.

    Empty without both kinds.

    Machines are held against each other at equal lanes, clock, bandwidth and spatial sparsity,
    where these vary.
    """
    column = sweep.description.report.break_even
    done = done_points(sweep)
    if "winograd_density" not in sweep.layers or set(done["kind"]) != {"spatial", "winograd"} or column not in done:
        return pd.DataFrame()
    own = [name for name in ("tile",) if name in done and done[name].nunique() > 1]
    alike = [name for name in ALIKE if name in done and name != column and done[name].nunique(dropna=False) > 1]
    table = sweep.table.fillna({name: 0 for name in alike if name == "spatial_sparsity"})
    return break_even(table, sweep.layers, [*alike, column], own, metric)


def break_even_map(sweep: Sweep) -> Figure | None:
    """Layers down, bandwidth across.

    The density below which the Winograd machine takes fewer cycles.
    """
    table = break_even_table(sweep)
    if table.empty:
        return None
    column = sweep.description.report.break_even
    panels_by = [name for name in ("model", "tile") if name in table]
    panels = list(table.groupby(panels_by, sort=False)) if panels_by else [((), table)]
    layers = list(dict.fromkeys(table["layer"]))
    size = (3.8 * len(panels) + 2.2, max(LEAST_INCHES, 1.6 + 0.26 * len(layers)))
    figure = Figure(figsize=size, layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (key, rows) in zip(drawn, panels, strict=True):
        grid = rows.pivot_table(
            index="layer",
            columns=column,
            values="break_even",
            aggfunc="median",
        ).reindex(layers)
        always = rows.pivot_table(
            index="layer",
            columns=column,
            values="always",
            aggfunc="min",
        ).reindex(layers)
        image = axes.imshow(grid.to_numpy(float), aspect="auto", cmap="cividis", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(grid.to_numpy(float)):
            if np.isfinite(value):
                mark = ">" if bool(always.iloc[i, j]) else ""
                text = "never" if value == 0 else f"{mark}{value:.2f}"
                ink = ink_on(image.to_rgba(value))
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
        axes.set_xticks(range(grid.shape[1]), [short(v) for v in grid.columns])
        axes.set_xlabel(label(column))
        names = key if isinstance(key, tuple) else (key,)
        axes.set_title(", ".join(f"{n} {short(v)}" for n, v in zip(panels_by, names, strict=True)) or "all machines")
    drawn[0].set_yticks(range(len(layers)), [in_plot(str(name)) for name in layers])
    figure.colorbar(image, ax=list(drawn), label="break-even Winograd density", shrink=0.8)
    figure.suptitle("Winograd pays below this density\n(>: at every density tried; never: at none)", fontweight="bold")
    return figure
