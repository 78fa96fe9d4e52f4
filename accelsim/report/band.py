"""A verdict and its band as a plot, and as files beside a report.

The plot has a line for each machine but the first, from the smallest to the largest ratio, with a
dot for each assumption; the dashed line is where neither machine wins.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from accelsim.explore.bands import Band
from accelsim.names import in_plot
from accelsim.report.palette import COLOURS
from accelsim.report.plots import render, style
from accelsim.report.write import write_files
from accelsim.simulator.verdict import COLUMNS, Quantity, verdicts

CSV_NAME = "band.csv"
QUANTITIES: tuple[Quantity, ...] = tuple(COLUMNS)


def band_files(cases: pd.DataFrame) -> dict[str, bytes]:
    """``band.csv``, ``band.png`` and ``band.svg`` by name; the same cases give the same bytes."""
    with style():
        figure = _plot(cases)
        drawn = {f"band.{kind}": render(figure, kind) for kind in ("png", "svg")}
    return {CSV_NAME: cases.to_csv(index=False, lineterminator="\n").encode(), **drawn}


def write_bands(bands: Sequence[Band], folder: Path) -> None:
    """Write the files of each band of a sweep, ``band-1.csv`` and so on.

    Those of more bands than these are removed.

    Raises InputError if the folder cannot be written.
    """
    written: dict[str, bytes] = {}
    for number, band in enumerate(bands, start=1):
        written |= {name.replace("band", f"band-{number}"): data for name, data in band_files(band.cases).items()}
    held = {path.name for path in folder.glob("band-*") if path.suffix in {".csv", ".png", ".svg"}}
    write_files(folder, written, replaced=held - set(written))


def _plot(cases: pd.DataFrame) -> Figure:
    """A row a machine and quantity."""
    found = [verdict for quantity in QUANTITIES for verdict in verdicts(cases, quantity)]
    figure = Figure(figsize=(8, 1.6 + 0.45 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(cases["assumption"]))
    each = len(cases) // cases["case"].nunique()
    others = each - 1
    for y, verdict in enumerate(found):
        axes.plot([verdict.least, verdict.most], [y, y], color="#999999", linewidth=3, zorder=1)
        own = cases.iloc[1 + y % others :: each]
        for i, name in enumerate(names):
            ratios = own.loc[own["assumption"] == name, f"{verdict.quantity}_ratio"].to_numpy()
            axes.scatter(ratios, np.full(len(ratios), y), 28, color=COLOURS[i], label=None if y else name, zorder=2)
    axes.axvline(1, color="#444444", linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(found)), _labels([(v.machine, v.quantity) for v in found]))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel(f"times {in_plot(str(cases['machine'].iloc[0]))}")
    axes.grid(axis="x")
    axes.set_title("Ratios over what is not measured")
    figure.legend(loc="outside lower center", ncols=min(len(names), 5))
    return figure


def _labels(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{quantity}, {in_plot(machine)}" for machine, quantity in rows]
