"""The register-transfer models of tests/rtl: what `make test-rtl` and `make rtl-area` last wrote to their reports."""

import re

from experiments.comparisons.row import Row, compared, errors
from experiments.paths import REPORTS

VERILATOR = "register-transfer model, Verilator"
YOSYS = "Yosys, the RTL's gates"
RUN = "make test-rtl"
SYNTHESIS = "make rtl-area"


def rows() -> list[Row]:
    """Output values, cycles of the units and of whole layers; areas as ratios to a lane."""
    return [*_cycles(), *_areas()]


def _cycles() -> list[Row]:
    """Output values, and cycles of the units and of whole layers, from reports/rtl.md."""
    text = (REPORTS / "rtl.md").read_text(encoding="utf-8")
    found = re.search(r"one of the (\d+) output values .*?: (\d+) differ", text, re.DOTALL)
    assert found is not None, "reports/rtl.md"
    values, differ = map(int, found.groups())
    before, _, after = text.partition("## All cases")
    cases = [cells for cells in _cells(after) if len(cells) == 12 and cells[3].isdigit()]
    chains = [cells for cells in _cells(before) if len(cells) == 13 and cells[3].isdigit()]
    result = [
        Row(
            what=f"output values of the integer datapath, {values:,}",
            reference=VERILATOR,
            cases=len(cases),
            mean_percent=differ,
            worst_percent=differ,
            command=RUN,
        ),
        _row("cycles of the lanes, start-up and drain included", cases, 3),
    ]
    transforms = [cells for cells in cases if cells[5].isdigit()]
    mean_into, worst_into = errors(_pairs(transforms, 5))
    mean_out, worst_out = errors(_pairs(transforms, 7))
    result.append(
        Row(
            what="cycles of the Winograd transform units",
            reference=VERILATOR,
            cases=len(transforms),
            mean_percent=(mean_into + mean_out) / 2,
            worst_percent=max(worst_into, worst_out),
            command=RUN,
        )
    )
    for title, ending in (("dense", "dense"), ("weights skipped", "skip")):
        chosen = [cells for cells in cases if f"-{ending}" in cells[1]]
        result.append(_row(f"cycles of a layer with the DMA, {title}", chosen, 9))
    if chains:
        result.append(_row("cycles of chains of layers, maps on chip", chains, 11))
    return result


def _cells(text: str) -> list[list[str]]:
    """The cells of each line of tables."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def _pairs(cases: list[list[str]], column: int) -> list[tuple[float, float]]:
    """Cycles of the simulator and of the RTL, two neighbouring columns of the table of all cases; none of no cycles."""
    pairs = ((float(cells[column + 1]), float(cells[column])) for cells in cases)
    return [pair for pair in pairs if any(pair)]


def _row(what: str, cases: list[list[str]], column: int) -> Row:
    """One quantity over all cases; the remark names the worst."""
    pairs = _pairs(cases, column)
    worst = max(range(len(pairs)), key=lambda i: abs(pairs[i][0] / pairs[i][1] - 1))
    differs = errors(pairs)[1] > 0
    return compared(what, VERILATOR, pairs, RUN, f"worst: {' on '.join(cases[worst][:2])}" if differs else "")


def _areas() -> list[Row]:
    """Areas of units and of whole arrays, from reports/rtl-area.md."""
    text = (REPORTS / "rtl-area.md").read_text(encoding="utf-8")
    units = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    sizes = [(cells[0], float(cells[3]), float(cells[2])) for cells in units if len(cells) == 6 and cells[1].isdigit()]
    result = []
    for what, chosen in (
        ("area of a lane at 10 and 15 bits, ratio to 8 bits", [s for s in sizes[1:] if s[0].startswith("lane")]),
        (
            "area of transform units and operand choice, ratio to a lane",
            [s for s in sizes if not s[0].startswith("lane")],
        ),
    ):
        pairs = [(model, rtl) for _, model, rtl in chosen]
        name = max(chosen, key=lambda s: abs(s[1] / s[2] - 1))[0]
        result.append(compared(what, YOSYS, pairs, SYNTHESIS, f"worst: {name}"))
    arrays = [(cells[0], float(cells[3])) for cells in units if len(cells) == 4 and cells[2].isdigit()]
    least, best = min(arrays, key=lambda array: array[1])
    most, times = max(arrays, key=lambda array: array[1])
    remark = (
        f"the model has the lanes, not what addresses and feeds them: {best} times their gates in {least}, {times} in "
        f"{most}; less in larger arrays, as the control does not grow with the rows"
    )
    pairs = [(1.0, ratio) for _, ratio in arrays]
    result.append(compared("area of whole arrays of the RTL", YOSYS, pairs, SYNTHESIS, remark))
    return result
