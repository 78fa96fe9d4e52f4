"""Plots of a comparison: cycles of each layer, energy by part, DRAM traffic by tensor, roofline.

Bars lie on their side so that layer names stay legible.  Colours are those of Okabe & Ito, which
colour-blind readers can tell apart.  The same comparison gives the same bytes: no dates, fixed
identifiers.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter

from accelsim.arrays import Floats
from accelsim.hardware.price import ENERGY_PARTS
from accelsim.names import in_plot
from accelsim.report.palette import COLOURS
from accelsim.report.tables import Comparison
from accelsim.simulator.network.planning import OCCUPANCY

MARKERS = "osD^vP*X"
LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
ROOF_COLOUR = "#444444"
STYLE: Any = {
    "svg.hashsalt": "accelsim",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 100.0,
}
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "accelsim"},
    "svg": {"Date": None, "Creator": "accelsim"},
    "pdf": {"CreationDate": None, "Creator": "accelsim"},
}
PART_NAMES = {"mac": "MAC", "transform": "transforms", "register": "registers", "sram": "SRAM", "dram": "DRAM"}
ROOFLINES = {
    "effectual": "multiplies that are executed: at most one a lane and cycle\n"
    "(a layer whose data came early may lie left of the slope)",
    "dense": "multiplies of the dense layer: skipped zeros and Winograd count\n"
    "as speed, so points may lie above the roof of the lanes",
}  # what each panel shows
DPI = 150
KINDS = ("png", "svg", "pdf")  # for a page, for a screen, for a paper
# height of one bar of a group; where the group has many
BAR_INCHES = 0.13
THIN_BAR_INCHES = 0.09
MAX_INCHES = 200.0


def plots(comparison: Comparison) -> dict[str, bytes]:
    """Each plot as PNG, SVG and PDF, by file name."""
    draw = {
        "cycles": _cycles,
        "energy": _energy,
        "dram": _dram,
        "roofline": _roofline,
    }
    if comparison.placed:
        draw["memory"] = _memory
    files = {}
    comparison = _drawable(comparison)
    with style():
        for name, function in draw.items():
            figure = function(comparison)
            for kind in KINDS:
                files[f"{name}.{kind}"] = render(figure, kind)
    return files


def _drawable(comparison: Comparison) -> Comparison:
    """A comparison with names as Matplotlib is to be given them."""
    names = {column: comparison.totals[column].map(in_plot) for column in ("machine", "model")}
    layers = {
        in_plot(name): rows.assign(name=rows["name"].map(str).map(in_plot)) for name, rows in comparison.layers.items()
    }
    return Comparison(comparison.totals.assign(**names), layers)


@contextmanager
def style() -> Iterator[None]:
    """The look of all plots, whatever a reader's own matplotlibrc says (TeX for texts, another size).

    Letters that the font lacks are boxes, without a word.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def render(figure: Figure, kind: str, dpi: int = DPI) -> bytes:
    """The figure's bytes, the same every time.

    dpi: also of clouds of points that are pixels in an SVG file.
    """
    metadata = METADATA[kind]
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=dpi, metadata=metadata)
    return stream.getvalue()


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, min(height, MAX_INCHES)), layout="constrained")
    return figure, figure.add_subplot()


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _cycles(comparison: Comparison) -> Figure:
    """Bars of each layer's cycles, one a machine; the pale end is when the lanes stall.

    Layers that take none on any machine, since they ride on others, are left out.
    """
    machines = comparison.machines
    cycles = np.stack([comparison.layers[machine]["cycles"].to_numpy(float) for machine in machines])
    taking = cycles.max(axis=0) > 0
    names = [str(name) for name in comparison.layers[machines[0]].loc[taking, "name"]]
    bars = len(machines)
    height = BAR_INCHES if bars <= 3 else THIN_BAR_INCHES
    group = bars * height + 0.1
    figure, axes = _figure(8, 1.3 + group * len(names))
    bar = height / group
    for i, machine in enumerate(machines):
        table = comparison.layers[machine][taking]
        y = np.arange(len(names)) + (i - (bars - 1) / 2) * bar
        compute = table["compute_cycles"].to_numpy()
        axes.barh(y, compute, 0.92 * bar, color=_colour(i))
        axes.barh(y, table["stall_cycles"].to_numpy(), 0.92 * bar, left=compute, color=_colour(i), alpha=0.35)
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1.03 * max(1.0, cycles.max()))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("cycles (dark: lanes work; pale: lanes wait for memory or transforms)")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.grid(axis="x")
    axes.set_title(f"Cycles of each layer: {_model(comparison)}")
    handles = [Patch(color=_colour(i), label=_legend(comparison, i)) for i in range(bars)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(bars, 2))
    return figure


def _energy(comparison: Comparison) -> Figure:
    parts = {
        PART_NAMES.get(part, part): comparison.totals[f"energy_{part}_pj"].to_numpy(float) / 1e6
        for part in ENERGY_PARTS
    }
    return _stacked(comparison, parts, "energy, \N{MICRO SIGN}J", f"Energy by part: {_model(comparison)}")


def _dram(comparison: Comparison) -> Figure:
    tensors = {"weights": "dram_weight_bytes", "inputs": "dram_input_bytes", "outputs": "dram_output_bytes"}
    parts = {name: comparison.totals[column].to_numpy(float) / 1e6 for name, column in tensors.items()}
    return _stacked(comparison, parts, "DRAM traffic, MB (1e6 bytes)", f"DRAM traffic: {_model(comparison)}")


def _stacked(comparison: Comparison, parts: dict[str, Floats], label: str, title: str) -> Figure:
    """One stacked bar a machine, its sum at the end."""
    machines = comparison.machines
    figure, axes = _figure(8, 1.7 + 0.45 * len(machines))
    left = np.zeros(len(machines))
    y = np.arange(len(machines))
    for i, (name, values) in enumerate(parts.items()):
        axes.barh(y, values, 0.7, left=left, color=_colour(i), label=name, edgecolor="white", linewidth=0.5)
        left += values
    for position, total in zip(y, left, strict=True):
        axes.annotate(f"{total:,.3g}", (total, position), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(y, machines)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.grid(axis="x")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=len(parts))
    return figure


def _memory(comparison: Comparison) -> Figure:
    """What lies in the memories of feature maps over time, stacked, one panel a machine.

    The peak is marked.
    """
    machines = comparison.machines
    figure = Figure(figsize=(9, min(MAX_INCHES, 0.8 + 2.2 * len(machines))), layout="constrained")
    panels = figure.subplots(len(machines), 1, squeeze=False)[:, 0]
    figure.suptitle(f"On-chip memory over time: {_model(comparison)}", fontweight="bold")
    for axes, machine in zip(panels, machines, strict=True):
        table = comparison.layers[machine]
        table = table[table["cycles"] > 0]
        edges = np.append(0, table["cycles"].cumsum())
        heights = [np.append(table[column], table[column].iloc[-1:]) / 1024 for column in OCCUPANCY]
        axes.stackplot(edges, heights, step="post", colors=COLOURS[: len(OCCUPANCY)], labels=list(OCCUPANCY.values()))
        all_of_it = np.sum(heights, axis=0)
        at = int(all_of_it.argmax())
        axes.plot(edges[at], all_of_it[at], "k.")
        axes.annotate(f"{all_of_it[at]:,.1f} KiB", (edges[at], all_of_it[at]), (4, 3), textcoords="offset points")
        axes.set_title(machine)
        axes.set_ylabel("KiB")
        axes.set_xlim(0, edges[-1])
        axes.margins(y=0.15)
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.grid(axis="y")
    panels[-1].set_xlabel("cycles")
    handles = [Patch(color=_colour(i), label=name) for i, name in enumerate(OCCUPANCY.values())]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _roofline(comparison: Comparison) -> Figure:
    """Two rooflines of the layers with weights and of the whole.

    Left: multiplies that the machine executes, under its roof of lanes and DRAM bandwidth.  Right:
    those of the dense spatial layer, so that skipped zeros and Winograd count as speed; they may
    pass the lanes.  In a network, a layer's data may come while the layers before it run, so that
    its point lies above the slope; the network's never does.
    """
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    figure.suptitle(f"Roofline: {_model(comparison)} (small: layers, large: the whole network)", fontweight="bold")
    panels[0].set_title("data that come early may lift a layer above the slope", fontsize=9)
    panels[1].set_title("skipped zeros and Winograd may lift it above the lanes", fontsize=9)
    roofs = _roofs(comparison.totals)
    for axes, column, what in zip(panels, ("effectual_macs", "dense_macs"), ("effectual", "dense"), strict=True):
        _roofline_panel(axes, comparison, roofs, column, what)
        axes.set_title(ROOFLINES[what], fontsize=9.0, fontweight="normal")
    handles = [
        Line2D([], [], color=_colour(i), marker=MARKERS[i % len(MARKERS)], linestyle="", label=name)
        for i, name in enumerate(comparison.machines)
    ]
    handles += [
        Line2D(
            [],
            [],
            color=ROOF_COLOUR,
            linestyle=LINES[i % len(LINES)],
            label=_roof_name(lanes, rate),
        )
        for i, (lanes, rate) in enumerate(roofs)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))
    return figure


def _roofline_panel(
    axes: Axes, comparison: Comparison, roofs: Sequence[tuple[int, float]], column: str, what: str
) -> None:
    totals = comparison.totals
    layers = [_intensity(comparison.layers[machine], column) for machine in comparison.machines]
    whole = [_intensity(totals.iloc[[i]], column) for i in range(len(totals))]
    for i, (some, every) in enumerate(zip(layers, whole, strict=True)):
        marker = MARKERS[i % len(MARKERS)]
        axes.scatter(*some, 22, color=_colour(i), marker=marker, alpha=0.75, linewidths=0, zorder=2)
        axes.scatter(*every, 110, color=_colour(i), marker=marker, edgecolors="black", zorder=3)
    xs = np.concatenate([x for x, _ in (*layers, *whole)])
    ys = np.concatenate([y for _, y in (*layers, *whole)])
    for i, (lanes, rate) in enumerate(roofs):
        ridge = lanes / rate
        x = np.array([min(xs.min(initial=1), ridge) / 2, ridge, 2 * max(xs.max(initial=1), 2 * ridge)])
        y = np.minimum(lanes, rate * x) if np.isfinite(rate) else np.full(3, lanes)
        axes.plot(x, y, color=ROOF_COLOUR, linestyle=LINES[i % len(LINES)], linewidth=1.2, zorder=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(ys.min(initial=1) / 2, 3 * max(ys.max(initial=1), totals["lanes"].max()))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(f"{what} MACs per byte of DRAM traffic")
    axes.set_ylabel(f"{what} MACs per cycle")
    axes.grid(which="major")


def _intensity(table: pd.DataFrame, column: str) -> tuple[Floats, Floats]:
    """MACs a byte and MACs a cycle of the rows that multiply."""
    rows = table[(table[column] > 0) & (table["cycles"] > 0)]
    macs = rows[column].to_numpy(float)
    traffic = (rows["dram_read_bytes"] + rows["dram_write_bytes"]).to_numpy(float)
    return macs / np.maximum(traffic, 1), macs / rows["cycles"].to_numpy(float)


def _roofs(totals: pd.DataFrame) -> list[tuple[int, float]]:
    """Lanes and DRAM bytes a cycle of each roof that there is."""
    lanes = totals["lanes"].to_numpy(int)
    rates = totals["dram_bytes_per_cycle"].to_numpy(float)
    return list(dict.fromkeys(zip(lanes.tolist(), rates.tolist(), strict=True)))


def _roof_name(lanes: int, rate: float) -> str:
    dram = f"{rate:g} bytes/cycle of DRAM" if np.isfinite(rate) else "unlimited DRAM"
    return f"roof: {lanes:,} lanes, {dram}"


def _legend(comparison: Comparison, index: int) -> str:
    row = comparison.totals.iloc[index]
    return f"{row['machine']}: {int(row['cycles']):,} cycles in all"


def _model(comparison: Comparison) -> str:
    return str(comparison.totals["model"].iloc[0])
