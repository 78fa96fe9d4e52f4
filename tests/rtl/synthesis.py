"""Gate counts of the RTL's units by Yosys against the simulator's area model: ``python -m tests.rtl.synthesis``.

Both are ratios to the int8 lane.  Gate equivalents by transistors: NAND 1, inverter 1/2, flip-flop 6 (24 transistors).
A 2-D transform is its 1-D passes, synthesised one by one, and the register between them.  Writes reports/rtl-area.md.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from accelsim.files import write_bytes
from accelsim.hardware.technology import adders_um2, mac_um2
from accelsim.winograd import tile_additions

HDL = Path(__file__).parent / "hdl"
REPORT = Path(__file__).parents[2] / "reports" / "rtl-area.md"
GATES = {"$_NAND_": 1.0, "$_NOT_": 0.5, "$_DFF_P_": 6.0}
ACC_BITS, NODE_NM = 24, 45
# Ratios to the int8 lane from a synthesis of another RTL of the same units (yosys).
OTHER = {"lane 8x8": 1.0, "lane 8x10": 1.18, "lane 8x15": 1.60, "in 2": 2.8, "in 4": 14.6, "out 2": 5.6, "out 4": 23.4}


def gates(source: str, top: str, parameters: dict[str, int]) -> float:
    """Gate equivalents of one module, flattened."""
    settings = " ".join(f"-set {key} {value}" for key, value in parameters.items())
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as found:
        script = (
            f"read_verilog -sv {source}; chparam {settings} {top}; synth -flatten -top {top}; abc -g NAND; "
            f"tee -q -o {found.name} stat"
        )
        subprocess.run(["yosys", "-q", "-p", script], check=True)
        counts = {cell: int(n) for cell, n in re.findall(r"(\$_\w+_)\s+(\d+)", found.read())}
    return sum(GATES[cell] * n for cell, n in counts.items())


def main() -> int:
    """Write the table; returns the exit status."""
    if shutil.which("yosys") is None:
        print("error: yosys is not installed, expected it on the PATH", file=sys.stderr)
        return 2
    text = (HDL / "winograd_transforms.sv").read_text()
    rows: list[tuple[str, str, float, float]] = []
    for bits in (8, 10, 15):
        measured = gates(str(HDL / "lane.sv"), "lane", {"X_BITS": bits, "ACC_BITS": ACC_BITS})
        rows.append(
            (f"lane 8x{bits}", f"lane, 8 x {bits} -> {ACC_BITS} bits", measured, mac_um2(8, bits, ACC_BITS, NODE_NM))
        )
    with tempfile.TemporaryDirectory() as folder:
        one_d = Path(folder) / "passes.sv"
        one_d.write_text(text[: text.index("// V = B^T d B")])
        for m, bits in ((2, 10), (4, 15)):
            n = m + 2
            _, adds_in, adds_out = tile_additions(m, (3, 3))
            into = gates(str(one_d), "input_transform_1d", {"M": m, "BITS": bits})
            out = gates(str(one_d), "inverse_transform_1d", {"M": m, "BITS": ACC_BITS})
            register = GATES["$_DFF_P_"]
            rows.append(
                (f"in {m}", f"input transform F({m}, 3), {bits} bits", 2 * n * into + register * n * n * bits,
                 adders_um2(adds_in, n * n, bits, NODE_NM))
            )  # fmt: skip
            rows.append(
                (f"out {m}", f"inverse transform F({m}, 3), {ACC_BITS} bits",
                 (n + m) * out + register * m * n * ACC_BITS, adders_um2(adds_out, m * n, ACC_BITS, NODE_NM))
            )  # fmt: skip
    lane_gates, lane_um2 = rows[0][2:]
    lines = [
        "# Area of the RTL's units against the area model",
        "",
        "Written by `make rtl-area`: Yosys to NAND gates, inverters and flip-flops, gate equivalents",
        "1, 1/2 and 6. Ratios to the int8 lane. The model is `accelsim.hardware.technology`; `another synthesis` is of",
        "RTL written earlier and apart, with widths of its own. Before this check the model had a register behind each",
        "adder of a transform, 2.1 to 2.4 times too large; a register between the two passes is what the RTL has.",
        "",
        "| unit | gate equivalents | RTL ratio | model ratio | model / RTL | another synthesis |",
        "|---|---|---|---|---|---|",
    ]
    for key, title, measured, um2 in rows:
        ours, model = measured / lane_gates, um2 / lane_um2
        lines.append(f"| {title} | {measured:.0f} | {ours:.2f} | {model:.2f} | {model / ours:.2f} | {OTHER[key]} |")
    write_bytes(REPORT, ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
