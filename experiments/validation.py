"""Write reports/validation.md: one table of what the simulator was compared with, from ``experiments/comparisons``.

A module of ``experiments/comparisons`` with a function ``rows() -> list[Row]`` (``experiments.comparisons.row``) adds
its rows: ``python -m experiments.validation``.
"""

import pkgutil
from importlib import import_module

from accelsim.files import write_text
from experiments import comparisons
from experiments.comparisons.row import Row
from experiments.paths import REPORTS

HEAD = """# What was compared with what

Written by `python -m experiments.validation`. Errors are |simulator - reference| / reference, worst case shown. Each
row is made again by its command, from a clean clone; the 22 cases of ResNet-18 among the RTL's 212 need the data folder
(`ACCELSIM_DATA`), without it 190 run.

| compared | reference | cases | mean error | worst error | command | remark |
|---|---|---|---|---|---|---|
"""

FOOT = """
What the RTL comparisons leave out: [rtl.md](rtl.md), [rtl-area.md](rtl-area.md). The simulator was corrected on these
very cases (start-up and drain, empty groups, loading of stationary weights, row lengths of Winograd CSR, registers of
the transforms, their widths): formulas that follow from the RTL's structure, no fitted constant.
"""


def percent(value: float) -> str:
    """A percentage as it is printed: 0, or two digits that count."""
    return "0" if value == 0 else f"{value:.2g} %" if value < 10 else f"{value:.0f} %"


def line(row: Row) -> str:
    """One row of the table."""
    mean = percent(row.mean_percent)
    worst = percent(row.worst_percent)
    return f"| {row.what} | {row.reference} | {row.cases} | {mean} | {worst} | `{row.command}` | {row.remark} |"


def main() -> None:
    """Collect the rows, the RTL's first, and write the page."""
    names = sorted((info.name for info in pkgutil.iter_modules(comparisons.__path__)), key=lambda n: (n != "rtl", n))
    modules = [import_module(f"experiments.comparisons.{name}") for name in names if name != "row"]
    lines = [line(row) for module in modules for row in module.rows()]
    write_text(REPORTS / "validation.md", HEAD + "\n".join(lines) + "\n" + FOOT)


if __name__ == "__main__":
    main()
