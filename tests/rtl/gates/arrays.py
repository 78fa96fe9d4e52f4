"""Whole arrays on tiles of real layers: what the host would write for one step, and what the step then takes.

A tile is the first filters and channels of a layer, at rounds of positions spread over the map.
"""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accelsim.datapath.integer import transform_tiles
from tests.rtl.gates.netlist import HDL, Source
from tests.rtl.program import SETTINGS, STEP_WORDS, Array, Layer, index_fields, length_bits, weight_image

BENCH = Path(__file__).with_name("array_bench.v")
ACC_BITS = 24


@dataclass(frozen=True)
class ArrayUnit:
    """One build of an array.  m: of Winograd lanes, 1 in the spatial domain."""

    kind: str  # os, ws or winograd
    rows: int
    cols: int
    taps: int = 1
    m: int = 1
    skip: bool = True

    @property
    def name(self) -> str:
        """For example ``winograd-f2 1x4x4``."""
        if self.kind == "winograd":
            return f"winograd-f{self.m} {self.taps}x{self.rows}x{self.cols}"
        return f"{self.kind} {self.rows}x{self.cols}{'' if self.skip else ' dense'}"

    @property
    def x_bits(self) -> int:
        """Bits of an operand."""
        return {1: 8, 2: 10, 4: 15}[self.m]

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return self.taps * self.rows * self.cols

    @property
    def streams(self) -> int:
        """Streams of weights."""
        return self.taps * self.cols

    @property
    def source(self) -> Source:
        """The module."""
        array = "weight_stationary" if self.kind == "ws" else "lane_array"
        files = ("machine_pkg.sv", f"{array}.sv", "array_units.sv")
        return Source(f"{array}_unit", files, self.parameters)

    @property
    def parameters(self) -> dict[str, int]:
        """Verilog parameters."""
        common = {"ROWS": self.rows, "COLS": self.cols, "ACC_BITS": ACC_BITS}
        if self.kind == "ws":
            return common
        taps = (self.m + 2) ** 2 if self.m > 1 else 1
        return {**common, "TAP_LANES": self.taps, "TAPS": taps, "X_BITS": self.x_bits, "SKIP": int(self.skip)}


@dataclass(frozen=True)
class Tile:
    """What a step of an array works on, as the bench reads it, and the counts that its energy follows."""

    defines: dict[str, int]
    files: dict[str, str]
    macs: int  # multiplies executed
    stream_steps: int  # weights that streams hand to their lanes
    stream_starts: int  # lengths fetched, pointers set
    input_density: float  # of the operands that lanes multiply by
    weight_density: float  # of the weights that lanes multiply by


def tile_of(layer: Layer, unit: ArrayUnit, filters: int, channels: int, rounds: int) -> Tile:
    """A tile of a layer."""
    if unit.kind == "ws":
        return _stationary_tile(layer, unit, filters, channels, rounds)
    w = layer.w[:, :filters, :channels]
    taps, K, C, R, S = w.shape
    fields = index_fields(C, (R, S))
    count_bits = length_bits(C, (R, S))
    image, header = weight_image(w, Array(unit.rows, unit.cols, unit.taps, unit.skip), fields, count_bits)
    image = np.append(image, np.zeros(8, np.uint8))  # read behind the last record
    operands = _operands(layer, unit, C, rounds, fields)
    rounds = operands.shape[1]
    step = np.zeros(STEP_WORDS, np.int64)
    step[[8, 9, 15, 18, 19, 21]] = [C, K, rounds, C * R * S, header, 1]
    settings = np.zeros(SETTINGS, np.int64)
    settings[2:8] = [8 + sum(fields) if unit.skip else 8, count_bits, fields[1], fields[2], R, S]
    executed = int((w != 0).sum()) if unit.skip else w.size
    groups = -(-K // unit.cols) * -(-taps // unit.taps)
    used = operands[:, :, _indexes(C, R, S, fields)]
    return Tile(
        defines={**_defines(unit, image, operands), "ROUNDS": rounds, "INDEXES": operands.shape[2]},
        files=_files(step, settings, image, operands, unit.x_bits),
        macs=executed * rounds * unit.rows,
        stream_steps=executed * rounds,
        stream_starts=groups * unit.streams * rounds,
        input_density=float((used != 0).mean()),
        weight_density=1.0 if unit.skip else float((w != 0).mean()),
    )


def _indexes(C: int, R: int, S: int, fields: tuple[int, int, int]) -> NDArray[np.int64]:
    """The indexes of a filter's positions."""
    c, r, s = np.meshgrid(np.arange(C), np.arange(R), np.arange(S), indexing="ij")
    return np.asarray((c << (fields[1] + fields[2])) | (r << fields[2]) | s).reshape(-1)


def _operands(layer: Layer, unit: ArrayUnit, C: int, rounds: int, fields: tuple[int, int, int]) -> NDArray[np.int64]:
    """What lanes read: (taps, rounds, indexes, rows)."""
    if unit.m > 1:
        V = transform_tiles(layer.x[None, :, :, :C].astype(np.int64), unit.m, layer.kernel, (layer.padding,) * 2)
        taps = unit.m + 2
        V = V.reshape(taps * taps, -1, C)  # taps, tiles, channels
        chosen = _rounds(V.shape[1], unit.rows, rounds)
        return np.asarray(V[:, chosen].transpose(0, 1, 3, 2))
    P, Q, _ = layer.y.shape
    chosen = _rounds(P * Q, unit.rows, rounds)
    p, q = chosen // Q, chosen % Q
    padding = ((layer.padding, layer.kernel[0]), (layer.padding, layer.kernel[1]), (0, 0))
    x = np.pad(layer.x[:, :, :C].astype(np.int64), padding)
    found = np.zeros((1, len(chosen), C << (fields[1] + fields[2]), unit.rows), np.int64)
    for r, s in np.ndindex(layer.kernel):
        pixels = x[p * layer.stride + r, q * layer.stride + s]  # (rounds, rows, C)
        found[0, :, (np.arange(C) << (fields[1] + fields[2])) | (r << fields[2]) | s] = pixels.transpose(2, 0, 1)
    return found


def _rounds(positions: int, rows: int, rounds: int) -> NDArray[np.int64]:
    """Positions of the rounds, (rounds, rows), spread over the map."""
    whole = positions // rows
    first = np.linspace(0, whole - 1, min(rounds, whole) + 2)[1:-1].astype(np.int64) * rows
    return np.asarray(first[:, None] + np.arange(rows))


def _stationary_tile(layer: Layer, unit: ArrayUnit, filters: int, channels: int, rounds: int) -> Tile:
    """The same of an array that holds weights: rows of the map from its middle, ``rounds`` x rows positions."""
    w = layer.w[:, :filters, :channels]
    _, K, C, R, S = w.shape
    _, Q, _ = layer.y.shape
    height = max(1, rounds * unit.rows // Q)
    middle = layer.x.shape[0] // 2
    padding = ((0, R), (layer.padding, S), (0, 0))
    x = np.pad(layer.x[middle : middle + height + R, :, :C].astype(np.int64), padding)
    image, _ = weight_image(w, Array(unit.rows, unit.cols, 1, False), (0, 0, 0), 0)
    image = np.append(image, np.zeros(64 + unit.cols * C * R * S, np.uint8))  # read beyond the last filter
    step = np.zeros(STEP_WORDS, np.int64)
    step[[8, 9, 11, 14, 18]] = [C, K, Q, height * Q, C * R * S]
    settings = np.zeros(SETTINGS, np.int64)
    settings[6:8] = [R, S]
    passes = -(-K // unit.cols) * -(-C * R * S // unit.rows)
    return Tile(
        defines={**_defines(unit, image, x), "ROUNDS": x.shape[1], "INDEXES": C, "STATIONARY": 1},
        files=_files(step, settings, image, x, 8),
        macs=passes * height * Q * unit.lanes,
        stream_steps=passes * height * Q,
        stream_starts=passes * unit.rows * unit.cols,
        input_density=float((x[:height, :Q] != 0).mean()),
        weight_density=float((w != 0).mean()),
    )


def _defines(unit: ArrayUnit, image: NDArray[np.uint8], operands: NDArray[np.int64]) -> dict[str, int]:
    return {
        "ROWS": unit.rows, "COLS": unit.cols, "STREAMS": unit.streams, "COLS_A_TAP": unit.cols, "X_BITS": unit.x_bits,
        "ACC_BITS": ACC_BITS, "SUMS": unit.cols if unit.kind == "ws" else unit.lanes,
        "WEIGHT_BYTES": len(image), "OPERANDS": operands.size,
    }  # fmt: skip


def _files(
    step: NDArray[np.int64],
    settings: NDArray[np.int64],
    image: NDArray[np.uint8],
    operands: NDArray[np.int64],
    x_bits: int,
) -> dict[str, str]:
    return {
        "step.hex": _hex(step, 32),
        "settings.hex": _hex(settings, 32),
        "weights.hex": _hex(image.astype(np.int64), 8),
        "operands.hex": _hex(operands.reshape(-1), x_bits),
    }


def _hex(values: NDArray[np.int64], bits: int) -> str:
    return "\n".join(f"{int(value) & ((1 << bits) - 1):x}" for value in values)


def bench_text(unit: ArrayUnit, tile: Tile, period_ps: int, gates: bool) -> str:
    """The bench for one tile, for Icarus (gates) or Verilator."""
    defines = {**tile.defines, "PERIOD": period_ps}
    lines = [f"`define {key} {value}" for key, value in defines.items()]
    settings = ", ".join(f".{key}({value})" for key, value in unit.parameters.items())
    lines += (
        [f"`define UNIT {unit.source.top}", "`define GATES"]
        if gates
        else [f"`define UNIT {unit.source.top} #({settings})"]
    )
    return "\n".join(lines) + "\n" + BENCH.read_text()


def verilated(unit: ArrayUnit, tile: Tile, period_ps: int) -> list[str]:
    """What the RTL prints on the same bench, run by Verilator."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in tile.files.items():
            (folder / file).write_text(content)
        (folder / "bench.v").write_text(bench_text(unit, tile, period_ps, gates=False))
        sources = [str(HDL / source) for source in unit.source.files]
        command = [
            "verilator", "--binary", "--timing", "-O3", "--unroll-count", "5000", "--unroll-stmts", "100000",
            "-Wno-lint",
            "-Wno-fatal", "--x-initial", "0", "-CFLAGS", "-O1", "--top-module", "bench", "--Mdir", "made", "-j", "1",
        ]  # fmt: skip
        done = subprocess.run(
            [*command, *sources, "bench.v"], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "MAKEFLAGS": ""},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"verilator: {done.stderr.strip()[-800:]}")
        run = subprocess.run(["made/Vbench"], cwd=folder, capture_output=True, text=True, check=True)
        return [line for line in run.stdout.splitlines() if line.startswith("=")]
