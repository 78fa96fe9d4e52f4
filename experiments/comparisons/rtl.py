"""The register-transfer models of tests/rtl: what `make test-rtl` and `make rtl-area` last wrote to their reports."""

import re

from experiments.comparisons.row import Row, errors
from experiments.paths import REPORTS

VERILATOR, YOSYS = "register-transfer model, Verilator", "Yosys, the RTL's gates"


def rows() -> list[Row]:
    """Output values, cycles of the units and of whole layers; areas as ratios to a lane."""
    return [*_cycles(), *_areas()]


def _cycles() -> list[Row]:
    text = (REPORTS / "rtl.md").read_text(encoding="utf-8")
    found = re.search(r"one of the (\d+) output values .*?: (\d+) differ", text, re.DOTALL)
    assert found is not None, "reports/rtl.md"
    values, differ = map(int, found.groups())
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.split("## All cases")[1].splitlines()
    ]
    cases = [cells for cells in lines if len(cells) == 12 and cells[3].isdigit()]
    command = "make test-rtl"
    result = [
        Row(f"output values of the integer datapath, {values:,}", VERILATOR, len(cases), differ, differ, command),
        _row("cycles of the lanes, start-up and drain included", cases, 3),
    ]
    transforms = [cells for cells in cases if cells[5].isdigit()]
    into, out = (_row("", transforms, column) for column in (5, 7))
    mean, worst = (into.mean_percent + out.mean_percent) / 2, max(into.worst_percent, out.worst_percent)
    result.append(Row("cycles of the Winograd transform units", VERILATOR, len(transforms), mean, worst, command))
    for title, ending in (("dense", "dense"), ("weights skipped", "skip")):
        chosen = [cells for cells in cases if cells[1].endswith(ending)]
        result.append(_row(f"cycles of a layer with the DMA, {title}", chosen, 9))
    return result


def _row(what: str, cases: list[list[str]], column: int) -> Row:
    """Compare two neighbouring columns of the table of all cases: the RTL's cycles and the simulator's."""
    pairs = [(float(cells[column + 1]), float(cells[column])) for cells in cases]
    mean, worst = errors(pairs)
    name = max(zip(pairs, cases, strict=True), key=lambda item: abs(item[0][0] / item[0][1] - 1))[1][:2]
    remark = f"worst: {' on '.join(name)}" if worst else ""
    return Row(what, VERILATOR, len(cases), mean, worst, "make test-rtl", remark)


def _areas() -> list[Row]:
    text = (REPORTS / "rtl-area.md").read_text(encoding="utf-8")
    units = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    sizes = [(cells[0], float(cells[3]), float(cells[2])) for cells in units if len(cells) == 6 and cells[1].isdigit()]
    result = []
    for what, chosen in (
        ("area of a lane at 10 and 15 bits, ratio to 8 bits", [s for s in sizes[1:] if s[0].startswith("lane")]),
        ("area of the transform units, ratio to a lane", [s for s in sizes if not s[0].startswith("lane")]),
    ):
        mean, worst = errors([(model, rtl) for _, model, rtl in chosen])
        name = max(chosen, key=lambda s: abs(s[1] / s[2] - 1))[0]
        result.append(Row(what, YOSYS, len(chosen), mean, worst, "make rtl-area", f"worst: {name}"))
    arrays = [(cells[0], float(cells[3])) for cells in units if len(cells) == 4 and cells[2].isdigit()]
    mean, worst = errors([(1, times) for _, times in arrays])
    (least, best), (most, times) = (of(arrays, key=lambda array: array[1]) for of in (min, max))
    remark = (
        f"the model has the lanes, not what addresses and feeds them: {best} times their gates in {least}, {times} in "
        f"{most}; less in larger arrays, as the control does not grow with the rows"
    )
    result.append(Row("area of whole arrays of the RTL", YOSYS, len(arrays), mean, worst, "make rtl-area", remark))
    return result
