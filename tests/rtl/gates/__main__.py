"""Energy, area and delay of the RTL in gates: ``python -m tests.rtl.gates`` (``make rtl-energy``).

Writes the tables that ``accelsim.hardware.gates`` reads and reports/rtl-energy.md.  Exit status 1 if a netlist's
outputs are not the RTL's in every cycle, 2 if a tool is missing.
"""

import argparse
import csv
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from accelsim.files import write_bytes
from accelsim.transforms.adders import input_unit, inverse_unit
from experiments.peers.environment import Unavailable
from tests.rtl.cases import RECORDED_RESNET20, read_layers
from tests.rtl.gates import fits, measure
from tests.rtl.gates.arrays import ArrayUnit
from tests.rtl.gates.report import write_report
from tests.rtl.gates.units import LAYER, Unit, lane_density, units

TABLES = Path(__file__).parents[3] / "accelsim" / "hardware" / "tables"
LAYERS = ("layer2.0.conv2", "layer1.0.conv1", "layer3.1.conv1")
FIT_LAYER = LAYERS[0]
# Of lanes: bits of operands and sum.
JUDGED_WIDTHS = {(6, 6, 20), (6, 8, 20), (8, 8, 16), (8, 8, 20), (16, 16, 32), (8, 10, 20), (8, 10, 32)}
LOGIC_COLUMNS = (
    "unit", "a_bits", "b_bits", "acc_bits", "stimulus", "use", "density", "adder_bits", "pj", "clock_pj", "um2", "ns",
    "flip_flops", "leakage_nw",
)  # fmt: skip
ARRAY_COLUMNS = (
    "kind", "rows", "cols", "taps", "m", "skip", "layer", "use", "pj", "clock_pj", "um2", "ns", "flip_flops",
    "leakage_nw", "cycles", "macs", "stream_steps", "stream_starts", "input_density", "weight_density",
)  # fmt: skip
# Arrays that the model is fitted on, and those that it has not seen; a tile: filters, channels, rounds of positions.
FITTED = (
    (ArrayUnit("os", 4, 4), (8, 16, 2)),
    (ArrayUnit("os", 2, 4), (8, 16, 2)),
    (ArrayUnit("winograd", 4, 4, 1, 2), (8, 16, 2)),
    (ArrayUnit("ws", 4, 4), (4, 2, 8)),
    (ArrayUnit("ws", 2, 4), (4, 2, 8)),
)
JUDGED = (
    (ArrayUnit("winograd", 2, 2, 4, 2), (8, 16, 2)),
    (ArrayUnit("winograd", 4, 4, 1, 4), (8, 16, 1)),
    (ArrayUnit("os", 4, 4, skip=False), (4, 4, 4)),
    (ArrayUnit("os", 8, 4), (8, 16, 1)),
    (ArrayUnit("ws", 8, 4), (4, 4, 8)),
)


def main() -> int:
    """Measure everything; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    jobs = parser.parse_args().jobs
    for tool in ("iverilog", "verilator"):
        if shutil.which(tool) is None:
            print(f"error: {tool} is not installed, expected it on the PATH", file=sys.stderr)
            return 2
    try:
        measure.tools()
    except Unavailable as error:
        print(f"error: Yosys or the cell library cannot be installed: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    layers = read_layers(RECORDED_RESNET20)

    def array(item: tuple[ArrayUnit, tuple[int, int, int]]) -> list[dict[str, Any]]:
        unit, tile = item
        found = list(measure.measure_array(unit, layers, dict.fromkeys(LAYERS, tile), FIT_LAYER))
        print(f"{time.perf_counter() - start:6.1f} s  {unit.name}", file=sys.stderr)
        return [_array_row(unit, item in FITTED, row) for row in found]

    def single(unit: Unit) -> list[dict[str, Any]]:
        return [_logic_row(unit, stimulus, row) for stimulus, row in measure.measure_unit(unit)]

    try:
        with ThreadPoolExecutor(jobs) as pool:
            arrays = _flat(pool.map(array, (*FITTED, *JUDGED)))
            logic = _flat(pool.map(single, units()))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _write(TABLES / "logic_45nm.csv", LOGIC_COLUMNS, logic)
    _write(TABLES / "arrays_45nm.csv", ARRAY_COLUMNS, arrays)
    fits.main()
    write_report()
    print(f"{len(logic)} rows of units, {len(arrays)} of arrays, {time.perf_counter() - start:.0f} s")
    return 0


def _flat(parts: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for part in parts for row in part]


def _logic_row(unit: Unit, stimulus: str, measured: measure.Measured) -> dict[str, Any]:
    lane = unit.source.top == "lane"
    acc_bits = unit.source.parameters.get("ACC_BITS", 0)
    fitted = not (lane and ((*unit.widths, acc_bits) in JUDGED_WIDTHS or stimulus == LAYER))
    made: Callable[..., Any] | None = {"input_transform": input_unit, "inverse_transform": inverse_unit}.get(
        unit.source.top
    )
    a_bits, b_bits = unit.widths
    transform = (
        unit.source.parameters.get("M", 0),
        a_bits,
        *([b_bits] if unit.source.top == "input_transform" else []),
    )
    return {
        "unit": unit.name,
        "a_bits": a_bits,
        "b_bits": b_bits,
        "acc_bits": acc_bits,
        "stimulus": stimulus,
        "use": "fit" if fitted else "judge",
        "density": f"{lane_density(*unit.widths, signed='signed' in unit.name):.3f}"
        if lane and stimulus == LAYER
        else "",
        "adder_bits": made(*transform).adder_bits if made else "",
        **_figures(vars(measured)),
    }


def _array_row(unit: ArrayUnit, fitted: bool, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": unit.kind,
        "rows": unit.rows,
        "cols": unit.cols,
        "taps": unit.taps,
        "m": unit.m,
        "skip": int(unit.skip),
        "layer": row["layer"],
        "use": "fit" if fitted and row["layer"] == FIT_LAYER else "judge",
        **_figures(row),
        **{key: row[key] for key in ("cycles", "macs", "stream_steps", "stream_starts")},
        **{key: f"{row[key]:.4f}" for key in ("input_density", "weight_density")},
    }


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "pj": f"{row['pj']:.4g}",
        "clock_pj": f"{row['clock_pj']:.4g}",
        "um2": f"{row['um2']:.5g}",
        "ns": f"{row['ns']:.3g}",
        "flip_flops": row["flip_flops"],
        "leakage_nw": f"{row['leakage_nw']:.4g}",
    }


def _write(path: Path, columns: Sequence[str], rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


if __name__ == "__main__":
    sys.exit(main())
