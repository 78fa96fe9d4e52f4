"""Plots of a sweep: Pareto scatter, heat maps, parallel coordinates, sensitivity, roofline, break-even maps.

Families of machines keep their colour and marker from plot to plot.  Clouds of points are drawn as
pixels, also in SVG files, so that a sweep of many thousand points stays a small page.  The same
sweep gives the same bytes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from accelsim.explore.pareto import front
from accelsim.explore.sweep import Sweep
from accelsim.names import in_plot
from accelsim.report.palette import COLOURS
from accelsim.report.plots import MARKERS, ROOF_COLOUR, render, style
from accelsim.report.sweep_drawing import done_points, families, family_handles, label, plain_numbers, short, varied
from accelsim.report.sweep_maps import break_even_map, heat_map

MAX_LINES = 100  # of parallel coordinates
MAX_MODELS = 6  # with a row of Pareto panels each
# shares, which no logarithmic axis suits
LINEAR = {"top1", "utilization", "spatial_density", "winograd_density"}
CLOUD_DPI = 90  # of points drawn as pixels in SVG files
# Text as text: half the page would be outlines of letters, the same in every plot.
TEXT: dict[Any, Any] = {"svg.fonttype": "none", "font.family": ["sans-serif"], "font.sans-serif": ["DejaVu Sans"]}


def sweep_plots(sweep: Sweep) -> dict[str, bytes]:
    """Each plot that the sweep has something to show in, as PNG, SVG and PDF, by file name."""
    draw: dict[str, Callable[[Sweep], Figure | None]] = {
        "pareto": _pareto,
        "heat_map": heat_map,
        "parallel": _parallel,
        "sensitivity": _sensitivity,
        "roofline": _roofline,
        "break_even": break_even_map,
    }
    files: dict[str, bytes] = {}
    with style(), rc_context(TEXT):
        for name, function in draw.items():
            figure = function(sweep)
            if figure is not None:
                files[f"{name}.png"] = render(figure, "png")
                files |= {f"{name}.{kind}": render(figure, kind, CLOUD_DPI) for kind in ("svg", "pdf")}
    return files


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
    knee_handle = Line2D(
        [],
        [],
        color="none",
        marker="o",
        markeredgecolor="black",
        markersize=11,
        label="knee of all",
    )
    figure.legend(handles=[*family_handles(sweep), knee_handle], loc="outside lower center", ncols=5)
    return figure


def _pareto_panel(axes: Axes, sweep: Sweep, model: str, pair: tuple[str, str]) -> None:
    """One model's points and fronts in two objectives (``-column``: to be large)."""
    across, up = (objective.removeprefix("-") for objective in pair)
    signs = [-1 if objective.startswith("-") else 1 for objective in pair]
    done = done_points(sweep)
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
    plain_numbers(axes)


def _parallel(sweep: Sweep) -> Figure | None:
    """One line a point through its parameters and objectives.

    Those on the front of their family in colour.
    """
    done = done_points(sweep)
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
            axes.text(x, y, short(end), ha="center", va="top" if y < 0 else "bottom", fontsize=7)
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
    figure.legend(handles=family_handles(sweep), loc="outside lower center", ncols=4)
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
    figure.legend(handles=family_handles(sweep), loc="outside lower center", ncols=4)
    return figure


def _roofline(sweep: Sweep) -> Figure | None:
    """All points under one roof, each scaled to its own lanes and memory.

    Across: how long the multiplies alone would take over how long the memory transfers alone take;
    up: multiplies a lane and cycle.  Left of 1 a machine is bound by memory, right of 1 by its
    lanes.
    """
    done = done_points(sweep)
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
    plain_numbers(axes)
    axes.set_xlabel("cycles of the multiplies alone / cycles of the DRAM transfers alone")
    axes.set_ylabel("effectual multiplies a lane and cycle")
    axes.grid(which="major")
    axes.set_title("Roofline of all points, scaled to each machine")
    figure.legend(handles=family_handles(sweep), loc="outside lower center", ncols=4)
    return figure
