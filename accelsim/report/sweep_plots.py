"""Plots of a sweep: Pareto scatter, heat maps, parallel coordinates, sensitivity, roofline, break-even maps.

Families of machines keep their colour and marker from plot to plot.  Clouds of points are drawn as
pixels, also in SVG files, so that a sweep of many thousand points stays a small page.  The same
sweep gives the same bytes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from accelsim.explore.breakeven import break_even
from accelsim.explore.pareto import front
from accelsim.explore.sweep import Sweep
from accelsim.names import in_plot
from accelsim.report.palette import COLOURS
from accelsim.report.plots import MARKERS, ROOF_COLOUR, render, style

MAX_LINES = 100  # of parallel coordinates
MAX_MODELS = 6  # with a row of Pareto panels each
# of machines that are compared
ALIKE = ("model", "lanes", "clock_mhz", "bandwidth_gbs", "spatial_sparsity")
# shares, which no logarithmic axis suits
LINEAR = {"top1", "utilization", "spatial_density", "winograd_density"}
LEAST_INCHES = 3.2  # of height, so that a colour bar's label fits beside it
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))  # of large numbers
CLOUD_DPI = 90  # of points drawn as pixels in SVG files
# Text as text: half the page would be outlines of letters, the same in every plot.
TEXT: dict[Any, Any] = {"svg.fonttype": "none", "font.family": ["sans-serif"], "font.sans-serif": ["DejaVu Sans"]}
LABELS = {
    "cycles": "cycles",
    "energy_pj": "energy, pJ",
    "area_mm2": "area, mm\N{SUPERSCRIPT TWO}",
    "latency_ms": "latency, ms",
    "edp_pj_ms": "energy x latency, pJ ms",
    "top1": "top-1, %",
    "file_bytes": "file, bytes",
    "bandwidth_gbs": "DRAM bandwidth, GB/s",
    "sram_kb": "SRAM, KiB",
}


def sweep_plots(sweep: Sweep) -> dict[str, bytes]:
    """Each plot that the sweep has something to show in, as PNG, SVG and PDF, by file name."""
    draw: dict[str, Callable[[Sweep], Figure | None]] = {
        "pareto": _pareto,
        "heat_map": _heat_map,
        "parallel": _parallel,
        "sensitivity": _sensitivity,
        "roofline": _roofline,
        "break_even": _break_even,
    }
    files: dict[str, bytes] = {}
    with style(), rc_context(TEXT):
        for name, function in draw.items():
            figure = function(sweep)
            if figure is not None:
                files[f"{name}.png"] = render(figure, "png")
                files |= {f"{name}.{kind}": render(figure, kind, CLOUD_DPI) for kind in ("svg", "pdf")}
    return files


def label(column: str) -> str:
    """A column in words, with its unit."""
    return LABELS.get(column, column)


def families(sweep: Sweep) -> list[str]:
    """The families of machines, in the order of their colours."""
    return [str(family) for family in dict.fromkeys(sweep.table["family"])]


def _done(sweep: Sweep) -> pd.DataFrame:
    return sweep.table[sweep.table["status"] == "done"]


def _family_handles(sweep: Sweep) -> list[Line2D]:
    return [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], linestyle="", label=family)
        for i, family in enumerate(families(sweep))
    ]


def _numbers(axes: Axes) -> None:
    """Plain numbers on both axes, between the powers of ten too where a logarithmic axis has few of those."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        if axis.get_scale() == "log":
            few = high < 20 * low
            axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            axis.set_minor_formatter(FuncFormatter(lambda value, _: _short(value)) if few else NullFormatter())
            axis.set_tick_params(which="minor", labelsize=rcParams["xtick.labelsize"])
    axes.grid(which="major")


def _pareto(sweep: Sweep) -> Figure | None:
    """The first objective against each of the others, a row a model.

    Each panel with the fronts of its two.
    """
    objectives = sweep.description.report.objectives
    if len(objectives) < 2:
        return None
    models = sweep.answers.models[:MAX_MODELS]
    others = objectives[1:]
    size = (5.2 * len(others) + 0.4, 3.8 * len(models) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(models), len(others), squeeze=False)
    for row, model in zip(panels, models, strict=True):
        for axes, other in zip(row, others, strict=True):
            _pareto_panel(axes, sweep, model, (objectives[0], other))
            if len(models) > 1:
                axes.set_title(in_plot(model))
    left_out = (
        f" ({len(models)} of {len(sweep.answers.models)} models)" if len(sweep.answers.models) > MAX_MODELS else ""
    )
    figure.suptitle(f"All points, and the front of each family in each pair of objectives{left_out}", fontweight="bold")
    knee_handle = Line2D([], [], color="none", marker="o", markeredgecolor="black", markersize=11, label="knee of all")
    figure.legend(handles=[*_family_handles(sweep), knee_handle], loc="outside lower center", ncols=5)
    return figure


def _pareto_panel(axes: Axes, sweep: Sweep, model: str, pair: tuple[str, str]) -> None:
    """One model's points and fronts in two objectives (``-column``: to be large)."""
    across, up = (objective.removeprefix("-") for objective in pair)
    signs = [-1 if objective.startswith("-") else 1 for objective in pair]
    done = _done(sweep)
    done = done[done["model"] == model]
    floor = sweep.answers.floors.get(model)
    worthy = done if floor is None else done[~(done["top1"] < floor)]
    for i, family in enumerate(families(sweep)):
        colour = COLOURS[i % len(COLOURS)]
        marker = MARKERS[i % len(MARKERS)]
        cloud = done[done["family"] == family]
        axes.scatter(
            cloud[across], cloud[up], 9, color=colour, marker=marker, alpha=0.25, linewidths=0, rasterized=True
        )
        rows = worthy[worthy["family"] == family]
        x = rows[across].to_numpy(float)
        y = rows[up].to_numpy(float)
        best = front(np.stack([signs[0] * x, signs[1] * y], axis=1))
        order = np.argsort(x[best], kind="stable")
        axes.plot(x[best][order], y[best][order], color=colour, marker=marker, markersize=4, linewidth=1.2)
    knee = sweep.answers.knees.get(sweep.answers.scope(model))
    if knee is not None:
        star = sweep.table.iloc[knee]
        axes.scatter(star[across], star[up], 160, color="none", edgecolors="black", marker="o", zorder=4)
    for scale, column in ((axes.set_xscale, across), (axes.set_yscale, up)):
        positive = column not in LINEAR and (done[column] > 0).all()
        if positive and done[column].max() > 4 * done[column].min():
            scale("log")
    axes.set_xlabel(label(across))
    axes.set_ylabel(label(up))
    _numbers(axes)


def varied(sweep: Sweep, rows: pd.DataFrame) -> list[str]:
    """The parameters that take several values among some rows."""
    return [name for name in sweep.parameters if rows[name].nunique() > 1]


def _heat_map(sweep: Sweep) -> Figure | None:
    """The least of the first objective over everything else, for two parameters.

    One panel a family.
    """
    done = _done(sweep)
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
        family: done[done["family"] == family].pivot_table(index=down, columns=across, values=objective, aggfunc="min")
        for family in shown
    }
    low, high = (f([g.to_numpy(float)[~np.isnan(g.to_numpy(float))] for g in grids.values()]) for f in (_least, _most))
    figure = Figure(figsize=(5.0 * len(shown) + 0.8, 4.4), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    scale = LogNorm if 0 < low < high else Normalize
    for axes, (family, grid) in zip(panels, grids.items(), strict=True):
        values = grid.to_numpy(float)
        image = axes.imshow(values, aspect="auto", origin="lower", cmap="viridis", norm=scale(low, high))
        axes.set_xticks(
            range(grid.shape[1]), [_short(v) for v in grid.columns], rotation=45 if grid.shape[1] > 8 else 0
        )
        axes.set_yticks(range(grid.shape[0]), [_short(v) for v in grid.index])
        axes.set_xlabel(label(across))
        axes.set_ylabel(label(down))
        axes.set_title(family)
        if grid.size <= 80:
            for (i, j), value in np.ndenumerate(values):
                if np.isfinite(value):
                    ink = _ink(image.to_rgba(value))
                    axes.text(j, i, _short(value), ha="center", va="center", fontsize=7, color=ink)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.85)
    bar.set_label(label(objective))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    bar.ax.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: _short(value)))
    figure.suptitle(f"Least {label(objective)} over all other parameters", fontweight="bold")
    return figure


def _least(parts: Sequence[np.ndarray]) -> float:
    return float(min(part.min() for part in parts))


def _most(parts: Sequence[np.ndarray]) -> float:
    return float(max(part.max() for part in parts))


def _ink(paper: Sequence[float]) -> str:
    """Black or white, whichever stands out more from a colour (contrast as WCAG 2 defines it).

    paper: red, green, blue and opacity, 0 to 1.
    """
    channels = np.asarray(paper[:3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "black" if luminance > 0.179 else "white"


def _short(value: object) -> str:
    if isinstance(value, int | float | np.number):
        number = float(value)
        for unit, name in UNITS:
            if abs(number) >= unit and abs(number) >= 10_000:
                return f"{float(f'{number / unit:.3g}'):g}{name}"
        return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"
    return in_plot(str(value))


def _parallel(sweep: Sweep) -> Figure | None:
    """One line a point through its parameters and objectives.

    Those on the front of their family in colour.
    """
    done = _done(sweep)
    objectives = [objective.removeprefix("-") for objective in sweep.description.report.objectives]
    names = [*varied(sweep, done), *objectives]
    if len(names) < 3:
        return None
    scaled = pd.DataFrame({name: _scaled(done[name], name in objectives) for name in names}, index=done.index)
    figure = Figure(figsize=(max(6.0, 1.25 * len(names)), 4.6), layout="constrained")
    axes = figure.add_subplot()
    step = max(1, len(done) // MAX_LINES)
    axes.plot(*_joined(scaled.iloc[::step]), color="#BBBBBB", alpha=0.5, linewidth=0.4)
    for i, family in enumerate(families(sweep)):
        scopes = [sweep.answers.scope(model, family) for model in sweep.answers.models]
        best = [sweep.answers.fronts[scope].index for scope in scopes if scope in sweep.answers.fronts]
        if best:
            lines = scaled.loc[[i for index in best for i in index]].iloc[:MAX_LINES]
            axes.plot(*_joined(lines), color=COLOURS[i % len(COLOURS)], alpha=0.6, linewidth=0.9)
    for x, name in enumerate(names):
        axes.vlines(x, 0, 1, color=ROOF_COLOUR, linewidth=0.8)
        numeric = pd.api.types.is_numeric_dtype(done[name])
        ends = (
            (done[name].min(), done[name].max())
            if numeric
            else tuple(sorted(done[name].dropna().unique())[i] for i in (0, -1))
        )
        for y, end in zip((-0.03, 1.03), ends, strict=True):
            axes.text(x, y, _short(end), ha="center", va="top" if y < 0 else "bottom", fontsize=7)
    words = [label(name).partition(", ") for name in names]
    axes.set_xticks(range(len(names)), [f"{word}{',' if unit else ''}\n{unit}" for word, _, unit in words], fontsize=8)
    axes.tick_params(axis="x", length=0, pad=4)
    axes.set_ylim(-0.1, 1.1)
    axes.yaxis.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.suptitle(
        "Every point through its parameters and results; coloured: the front of each family", fontweight="bold"
    )
    figure.legend(handles=_family_handles(sweep), loc="outside lower center", ncols=4)
    return figure


def _joined(lines: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """One line a row as a single path with gaps: x and y."""
    y = np.column_stack([lines.to_numpy(float), np.full(len(lines), np.nan)])
    return np.tile(np.arange(y.shape[1]), len(lines)), y.ravel()


def _scaled(values: pd.Series, objective: bool) -> np.ndarray:
    """To 0..1: by rank of the distinct values for parameters, on a logarithmic scale for objectives."""
    if objective and (values.dropna() > 0).all():
        logs = np.log(values.to_numpy(float))
        return np.asarray((logs - np.nanmin(logs)) / max(float(np.ptp(logs[~np.isnan(logs)])), 1e-12))
    order = {value: i for i, value in enumerate(sorted(values.dropna().unique()))}
    return np.asarray(values.map(order).to_numpy(float) / max(1, len(order) - 1))


def _sensitivity(sweep: Sweep) -> Figure | None:
    """Which parameter moves which objective: share of the variance, one panel an objective."""
    ranked = sweep.answers.sensitivity
    names = list(dict.fromkeys(str(a) for by in ranked.values() for table in by.values() for a in table["axis"]))
    if not names:
        return None
    figure = Figure(figsize=(3.6 * len(ranked) + 1.2, 1.6 + 0.32 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(ranked), squeeze=False, sharey=True)[0]
    shown = families(sweep)
    for axes, (objective, by_family) in zip(panels, ranked.items(), strict=True):
        for i, family in enumerate(shown):
            table = by_family[family].set_index("axis")
            shares = [float(table["share"].get(name, 0.0)) for name in names]
            y = np.arange(len(names)) + (i - (len(shown) - 1) / 2) * 0.8 / len(shown)
            axes.barh(y, shares, 0.75 / len(shown), color=COLOURS[i % len(COLOURS)])
        axes.set_title(label(objective))
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the variance (of the logarithm)")
        axes.grid(axis="x")
    panels[0].set_yticks(np.arange(len(names)), names)
    panels[0].invert_yaxis()
    figure.legend(handles=_family_handles(sweep), loc="outside lower center", ncols=4)
    return figure


def _roofline(sweep: Sweep) -> Figure | None:
    """All points under one roof, each scaled to its own lanes and memory.

    Across: how long the multiplies alone would take over how long the memory transfers alone take;
    up: multiplies a lane and cycle.  Left of 1 a machine is bound by memory, right of 1 by its
    lanes.
    """
    done = _done(sweep)
    done = done[(done["dma_cycles"] > 0) & (done["effectual_macs"] > 0)]
    if done.empty:
        return None
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    x = (done["effectual_macs"] / done["lanes"] / done["dma_cycles"]).to_numpy(float)
    for i, family in enumerate(families(sweep)):
        mine = (done["family"] == family).to_numpy()
        colour = COLOURS[i % len(COLOURS)]
        marker = MARKERS[i % len(MARKERS)]
        y = done["utilization"].to_numpy(float)[mine]
        axes.scatter(x[mine], y, 12, color=colour, marker=marker, alpha=0.35, linewidths=0, rasterized=True)
    ends = np.array([min(x.min(), 0.5) / 1.5, 1.0, max(x.max(), 2.0) * 1.5])
    axes.plot(ends, np.minimum(1, ends), color=ROOF_COLOUR, linewidth=1.2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _numbers(axes)
    axes.set_xlabel("cycles of the multiplies alone / cycles of the DRAM transfers alone")
    axes.set_ylabel("effectual multiplies a lane and cycle")
    axes.grid(which="major")
    axes.set_title("Roofline of all points, scaled to each machine")
    figure.legend(handles=_family_handles(sweep), loc="outside lower center", ncols=4)
    return figure


def break_even_table(sweep: Sweep, metric: str = "cycles") -> pd.DataFrame:
    """``break_even`` of the sweep by its report's column, and by tile size if that varies.

    Empty without both kinds.

    Machines are held against each other at equal lanes, clock, bandwidth and spatial sparsity,
    where these vary.
    """
    column = sweep.description.report.break_even
    done = _done(sweep)
    if "winograd_density" not in sweep.layers or set(done["kind"]) != {"spatial", "winograd"} or column not in done:
        return pd.DataFrame()
    own = [name for name in ("tile",) if name in done and done[name].nunique() > 1]
    alike = [name for name in ALIKE if name in done and name != column and done[name].nunique(dropna=False) > 1]
    table = sweep.table.fillna({name: 0 for name in alike if name == "spatial_sparsity"})
    return break_even(table, sweep.layers, [*alike, column], own, metric)


def _break_even(sweep: Sweep) -> Figure | None:
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
        grid = rows.pivot_table(index="layer", columns=column, values="break_even", aggfunc="median").reindex(layers)
        always = rows.pivot_table(index="layer", columns=column, values="always", aggfunc="min").reindex(layers)
        image = axes.imshow(grid.to_numpy(float), aspect="auto", cmap="cividis", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(grid.to_numpy(float)):
            if np.isfinite(value):
                mark = ">" if bool(always.iloc[i, j]) else ""
                text = "never" if value == 0 else f"{mark}{value:.2f}"
                ink = _ink(image.to_rgba(value))
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
        axes.set_xticks(range(grid.shape[1]), [_short(v) for v in grid.columns])
        axes.set_xlabel(label(column))
        names = key if isinstance(key, tuple) else (key,)
        axes.set_title(", ".join(f"{n} {_short(v)}" for n, v in zip(panels_by, names, strict=True)) or "all machines")
    drawn[0].set_yticks(range(len(layers)), [in_plot(str(name)) for name in layers])
    figure.colorbar(image, ax=list(drawn), label="break-even Winograd density", shrink=0.8)
    figure.suptitle("Winograd pays below this density\n(>: at every density tried; never: at none)", fontweight="bold")
    return figure
