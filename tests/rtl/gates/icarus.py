"""The netlist in time: Icarus Verilog, one inertial delay an output, so that glitches exist; toggles of every net."""

import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.rtl.gates.netlist import Netlist


@dataclass(frozen=True)
class Toggles:
    """What the nets did while measured."""

    cycles: int
    high: dict[int, int]  # net: toggles while the clock was high
    low: dict[int, int]
    seen: list[str]  # what the bench printed, a line a cycle


def module_text(net: Netlist, top: str) -> str:
    """The netlist as a Verilog module, with a clock whether it needs one or not."""
    ports = ", ".join(
        ["input clk"]
        + [f"input [{len(bits) - 1}:0] {name}" for name, bits in net.inputs.items()]
        + [f"output [{len(bits) - 1}:0] {name}" for name, bits in net.outputs.items()]
    )
    lines = ["`timescale 1ps/1ps", f"module {top} ({ports});"]
    numbers = {n for pins in net.pins for n in pins.values() if isinstance(n, int)}
    numbers |= {n for bits in net.inputs.values() for n in bits}
    numbers |= {n for bits in net.outputs.values() for n in bits if isinstance(n, int)}
    numbers.discard(net.clock or -1)
    lines += [f"wire n{number};" for number in sorted(numbers)]
    for name, bits in net.inputs.items():
        lines += [f"assign n{bit} = {name}[{i}];" for i, bit in enumerate(bits)]
    for i, cell in enumerate(net.cells):
        pins = net.pins[i]
        for pin, output in cell.outputs.items():
            if pin not in pins:
                continue
            delay = max(1, round(1000 * net.delay_ns(i, pin)))
            if cell.flip_flop:
                inverted = "!" if output.function == "IQN" else ""
                lines.append(f"assign #{delay} n{pins[pin]} = {inverted}q{i};")
            else:
                lines.append(f"assign #{delay} n{pins[pin]} = {_function(output.function, pins)};")
    flip_flops = [i for i, cell in enumerate(net.cells) if cell.flip_flop]
    if flip_flops:
        lines.append("reg " + ", ".join(f"q{i}" for i in flip_flops) + ";")
        lines.append("initial begin " + " ".join(f"q{i} = 0;" for i in flip_flops) + " end")
        updates = " ".join(f"q{i} <= {_net(net.pins[i]['D'])};" for i in flip_flops)
        lines.append(f"always @(posedge clk) begin {updates} end")
    for name, outputs in net.outputs.items():
        lines.append(f"assign {name} = {{{', '.join(_net(bit) for bit in reversed(outputs))}}};")
    return "\n".join([*lines, "endmodule", ""])


def _net(bit: int | str) -> str:
    return f"n{bit}" if isinstance(bit, int) else f"1'b{bit if bit in '01' else 0}"


def _function(text: str, pins: dict[str, int | str]) -> str:
    """The library's function with nets for pins."""
    for sign in "()!&|^":
        text = text.replace(sign, f" {sign} ")
    return " ".join(_net(pins[word]) if word in pins else word.replace("!", "~") for word in text.split())


def simulate(modules: list[str], bench: str, files: dict[str, str] | None = None) -> Toggles:
    """Run a bench that calls $dumpvars at the start of what is measured and $finish at its end.

    modules: of ``module_text``.  files: what the bench reads.  The bench's clock is ``clk`` of the netlist ``dut``.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in (files or {}).items():
            (folder / file).write_text(content)
        (folder / "all.v").write_text("\n".join([*modules, bench]))
        _run(["iverilog", "-g2005", "-o", "sim", "all.v"], folder)
        seen = _run(["vvp", "-n", "sim"], folder).splitlines()
        return _count(folder / "dump.vcd", [line for line in seen if line.startswith("=")])


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout


def _count(path: Path, seen: list[str]) -> Toggles:
    """Toggles of each net n... of the dump, by the level of clk."""
    head, _, body = path.read_text().partition("$enddefinitions $end")
    numbers: dict[str, int] = {}
    clock = ""
    for line in head.splitlines():
        if line.startswith("$var"):
            _, _, _, code, label, *_ = line.split()
            if label == "clk":
                clock = code
            elif label[0] == "n":
                numbers.setdefault(code, int(label[1:]))
    changes = body.partition("$end")[2]  # behind the first values
    counts: dict[str, Counter[str]] = {"1": Counter(), "0": Counter()}
    cycles = 0
    level = "0"
    pieces = changes.split("\n")
    edges = [i for i, line in enumerate(pieces) if line[1:] == clock and line[0] in "01"]
    start = 0
    for edge in [*edges, len(pieces)]:
        counts[level].update(pieces[start:edge])
        if edge < len(pieces):
            level = pieces[edge][0]
            cycles += level == "1"
        start = edge + 1
    by_net = {
        level: {number: count["0" + code] + count["1" + code] for code, number in numbers.items()}
        for level, count in counts.items()
    }
    return Toggles(cycles, by_net["1"], by_net["0"], seen)
