"""From SystemVerilog to a netlist of library cells by Yosys, and what its wires load, delay and leak.

Multipliers and adders are left to ``abc`` unless a style says otherwise: ``booth`` recodes multipliers, ``adders``
makes full-adder cells of both.  The net's capacitance is that of its pins and of the library's default wire load.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tests.rtl.gates.liberty import Cell

HDL = Path(__file__).parents[1] / "hdl"
Style = Literal["abc", "booth", "adders"]
Module = dict[str, Any]  # a mapped module, of Yosys's JSON
# Clock buffers and gates, latches, scan, three-state: no place in a single-clock netlist.
UNUSED = ("CLK*", "TBUF*", "TINV*", "TLAT*", "DL*", "SDFF*", "ANTENNA*", "FILL*", "WELL*")
PERIOD_PS = 2000
ARITHMETIC: dict[Style, str] = {
    "abc": "alumacc; maccmap -unmap",
    "booth": "booth; alumacc; maccmap -unmap",
    "adders": "alumacc; maccmap",
}
FULL_ADDERS = r"""
(* techmap_celltype = "$fa" *)
module full_adders (A, B, C, X, Y);
  parameter WIDTH = 1;
  input [WIDTH-1:0] A, B, C;
  output [WIDTH-1:0] X, Y;
  genvar i;
  generate for (i = 0; i < WIDTH; i = i + 1) begin : each
    FA_X1 cell_ (.A(A[i]), .B(B[i]), .CI(C[i]), .CO(X[i]), .S(Y[i]));
  end endgenerate
endmodule
"""
FIRST_SLEW_NS = 0.02
SETUP_NS = 0.04
CLOCK_WIRE_FF = 1.0  # of the clock's net, a flip-flop


@dataclass(frozen=True)
class Tools:
    """Yosys, and the library's file."""

    yosys: Path
    library: Path


@dataclass(frozen=True)
class Netlist:
    """Cells and nets.  A net is a number, or "0" or "1"."""

    cells: list[Cell]
    pins: list[dict[str, int | str]]  # of each cell, the net of each pin
    inputs: dict[str, list[int]]  # of the module, least significant first
    outputs: dict[str, list[int | str]]
    clock: int | None
    load_ff: dict[int, float]
    slew_ns: dict[int, float]

    @property
    def area_um2(self) -> float:
        """Area of all cells."""
        return sum(cell.area_um2 for cell in self.cells)

    @property
    def leakage_nw(self) -> float:
        """Leakage of all cells."""
        return sum(cell.leakage_nw for cell in self.cells)

    @property
    def flip_flops(self) -> int:
        """Bits of registers."""
        return sum(cell.flip_flop for cell in self.cells)

    def cell_slew(self, i: int) -> float:
        """Mean slew at a cell's inputs, ns."""
        nets = [net for pin, net in self.pins[i].items() if pin in self.cells[i].inputs]
        slews = [self.slew_ns.get(net, FIRST_SLEW_NS) for net in nets if isinstance(net, int)]
        return sum(slews) / len(slews) if slews else 0.0

    def output_slew_ns(self, i: int, pin: str) -> float:
        """Slew of a cell's output."""
        slew, load = self.cell_slew(i), self.load_ff.get(int(self.pins[i][pin]), 0.0)
        table = self.cells[i].outputs[pin].slew
        return table.at(slew, load) if table else 0.0

    def delay_ns(self, i: int, pin: str) -> float:
        """Delay of a cell's output."""
        output = self.cells[i].outputs[pin]
        slew = FIRST_SLEW_NS if self.cells[i].flip_flop else self.cell_slew(i)
        load = self.load_ff.get(int(self.pins[i][pin]), 0.0)
        return output.delay.at(slew, load) if output.delay else 0.0


@dataclass(frozen=True)
class Source:
    """One module to map: its files, its parameters, and how."""

    top: str
    files: tuple[str, ...]
    parameters: Mapping[str, int]
    style: Style = "abc"
    period_ps: int = PERIOD_PS

    @property
    def script(self) -> str:
        """What Yosys does; slang's own inference of memories is off, so that unrolled arrays become flip-flops."""
        settings = " ".join(f"-G {key}={value}" for key, value in self.parameters.items())
        unused = " ".join(f"-dont_use {cell}" for cell in UNUSED)
        adders = "-map adders.v -map +/techmap.v" if self.style == "adders" else ""
        return (
            f"read_slang --threads 1 --no-implicit-memories --top {self.top} {settings} {' '.join(self.files)}; "
            f"hierarchy -top {self.top}; proc; flatten; opt_expr; opt_clean; check; opt -nodffe -nosdff; fsm; opt; "
            f"wreduce; peepopt; opt_clean; {ARITHMETIC[self.style]}; opt; opt -fast -full; techmap {adders}; "
            f"opt -fast; dfflegalize -cell $_DFF_P_ x; dfflibmap -liberty cells.lib; "
            f"abc -liberty cells.lib -D {self.period_ps} -constr drive {unused}; opt_clean -purge; write_json net.json"
        )

    @property
    def texts(self) -> dict[str, str]:
        """The files' content by name."""
        return {file: (HDL / file).read_text() for file in self.files}


def synthesise(tools: Tools, source: Source) -> Module:
    """The module mapped to the library, as Yosys writes it to JSON.  Raises RuntimeError with what Yosys says."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)  # this build of Yosys sees another /tmp, but always its working directory
        for file, text in source.texts.items():
            (folder / file).write_text(text)
        shutil.copy(tools.library, folder / "cells.lib")
        (folder / "drive").write_text("set_driving_cell BUF_X2\nset_load 5 [all_outputs]\n")
        (folder / "adders.v").write_text(FULL_ADDERS)
        command = [str(tools.yosys), "-q", "-p", source.script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{source.top} is not mapped: {done.stderr.strip()[-500:]}")
        module: Module = json.loads((folder / "net.json").read_text())["modules"][source.top]
        return module


def netlist(module: Module, library: Mapping[str, Cell], wires: Mapping[int, float]) -> Netlist:
    """The netlist of a mapped module with its capacitances and slews.

    wires: capacitance by fanout.  Raises KeyError if a cell is not the library's.
    """
    ports = module["ports"]
    cells: list[Cell] = []
    pins: list[dict[str, int | str]] = []
    for cell in module["cells"].values():
        cells.append(library[cell["type"]])
        pins.append({pin: bits[0] for pin, bits in cell["connections"].items() if bits})
    inputs = {name: list(port["bits"]) for name, port in ports.items() if port["direction"] == "input"}
    outputs = {name: list(port["bits"]) for name, port in ports.items() if port["direction"] == "output"}
    clock = inputs.pop("clk", [None])[0]
    load = _loads(cells, pins, outputs, wires)
    slews: dict[int, float] = {}
    for _ in range(2):  # from the first guess, then from what that gives
        known = Netlist(cells, pins, inputs, outputs, clock, load, slews)
        slews = {
            int(pins[i][pin]): known.output_slew_ns(i, pin)
            for i, cell in enumerate(cells)
            for pin, output in cell.outputs.items()
            if pin in pins[i] and output.slew
        }
    return Netlist(cells, pins, inputs, outputs, clock, load, slews)


def _loads(
    cells: list[Cell],
    pins: list[dict[str, int | str]],
    outputs: Mapping[str, list[int | str]],
    wires: Mapping[int, float],
) -> dict[int, float]:
    """Capacitance of each net that drives something, fF."""
    of_pins: dict[int, list[float]] = {}
    for cell, nets in zip(cells, pins, strict=True):
        for pin, capacitance in cell.inputs.items():
            if isinstance(nets.get(pin), int):
                of_pins.setdefault(int(nets[pin]), []).append(capacitance)
    for bits in outputs.values():
        for bit in bits:
            if isinstance(bit, int):
                of_pins.setdefault(bit, []).append(1.0)  # the next unit's input
    most = max(wires)
    slope = wires[most] / most
    found = {}
    for net, capacitances in of_pins.items():
        fanout = len(capacitances)
        wire = np.interp(fanout, list(wires), list(wires.values())) + max(0, fanout - most) * slope
        found[net] = sum(capacitances) + float(wire)
    return found


def critical_ns(net: Netlist) -> float:
    """The longest path from a flip-flop or an input to a flip-flop or an output, set-up included."""
    arrival: dict[int, float] = {}
    waiting: dict[int, list[int]] = {}  # net: cells that read it
    missing = []
    for i, cell in enumerate(net.cells):
        needed = {n for pin, n in net.pins[i].items() if pin in cell.inputs and isinstance(n, int)}
        missing.append(0 if cell.flip_flop else len(needed))
        if not cell.flip_flop:
            for n in needed:
                waiting.setdefault(n, []).append(i)
    ready = [n for bits in net.inputs.values() for n in bits]
    arrival |= dict.fromkeys(ready, 0.0)
    queue = [i for i, cell in enumerate(net.cells) if missing[i] == 0]
    while queue or ready:
        while queue:
            i = queue.pop()
            cell = net.cells[i]
            reads = [] if cell.flip_flop else [n for pin, n in net.pins[i].items() if pin in cell.inputs]
            at = max((arrival[n] for n in reads if isinstance(n, int)), default=0.0)
            for pin in cell.outputs:
                if pin in net.pins[i]:
                    arrival[int(net.pins[i][pin])] = at + net.delay_ns(i, pin)
                    ready.append(int(net.pins[i][pin]))
        while ready:
            for i in waiting.get(ready.pop(), []):
                missing[i] -= 1
                if missing[i] == 0:
                    queue.append(i)
    return max(arrival.values(), default=0.0) + SETUP_NS
