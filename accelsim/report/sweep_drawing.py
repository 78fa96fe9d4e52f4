"""What all plots of a sweep share: words for columns, families' colours, short numbers on axes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from accelsim.explore.sweep import Sweep
from accelsim.names import in_plot
from accelsim.report.palette import COLOURS
from accelsim.report.plots import MARKERS

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))  # of large numbers
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


def label(column: str) -> str:
    """A column in words, with its unit."""
    return LABELS.get(column, column)


def families(sweep: Sweep) -> list[str]:
    """The families of machines, in the order of their colours."""
    return [str(family) for family in dict.fromkeys(sweep.table["family"])]


def done_points(sweep: Sweep) -> pd.DataFrame:
    return sweep.table[sweep.table["status"] == "done"]


def family_handles(sweep: Sweep) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            linestyle="",
            label=family,
        )
        for i, family in enumerate(families(sweep))
    ]


def plain_numbers(axes: Axes) -> None:
    """Plain numbers on both axes, between the powers of ten too where a logarithmic axis has few of those."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        if axis.get_scale() == "log":
            few = high < 20 * low
            axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            axis.set_minor_formatter(FuncFormatter(lambda value, _: short(value)) if few else NullFormatter())
            axis.set_tick_params(which="minor", labelsize=rcParams["xtick.labelsize"])
    axes.grid(which="major")


def varied(sweep: Sweep, rows: pd.DataFrame) -> list[str]:
    """The parameters that take several values among some rows."""
    return [name for name in sweep.parameters if rows[name].nunique() > 1]


def ink_on(paper: Sequence[float]) -> str:
    """Black or white, whichever stands out more from a colour (contrast as WCAG 2 defines it).

    paper: red, green, blue and opacity, 0 to 1.
    """
    channels = np.asarray(paper[:3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "black" if luminance > 0.179 else "white"


def short(value: object) -> str:
    if isinstance(value, int | float | np.number):
        number = float(value)
        for unit, name in UNITS:
            if abs(number) >= unit and abs(number) >= 10_000:
                return f"{float(f'{number / unit:.3g}'):g}{name}"
        return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"
    return in_plot(str(value))
