"""Single units under operands of real layers: lanes, adders, multipliers, registers, transforms.

A lane is measured in the three states of its product: non-zero behind non-zero, into or out of zero, zero behind zero;
on what a real filter and position give it; and while it waits with what its stream and buffer do meanwhile.  Spatial
operands are what a ReLU left of a real image, quantized to their width; signed ones are those of the same layer in the
Winograd domain.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelsim.datapath.integer import quantize_filters, quantize_weights, transform_tiles
from accelsim.dual.deploy import winograd_filters
from accelsim.dual.quantizer import dyadic
from tests.rtl.cases import RECORDED_RESNET20, read_layers
from tests.rtl.gates.netlist import Source, Style

LAYER = "layer2.0.conv2"
CYCLES = 400
GROUP = 40  # weights of a filter
ACC_BITS = {4: 16, 6: 20, 8: 24, 16: 40}
Vectors = dict[str, NDArray[np.int64]]  # a value a cycle of each input


@dataclass(frozen=True)
class Unit:
    """One unit to map, and its stimuli by name."""

    name: str
    widths: tuple[int, int]
    source: Source

    def stimuli(self) -> dict[str, Vectors]:
        """What its inputs get."""
        if self.source.top == "lane":
            return lane_stimuli(*self.widths, signed=self.name.startswith("lane signed"))
        if self.source.top in ("adder", "multiplier"):
            return {"uniform": {"a": _uniform(self.widths[0], 1), "b": _uniform(self.widths[1], 2)}}
        if self.source.top == "register":
            return {"uniform": {"d": _uniform(self.widths[0], 3)}, "still": {"d": np.full(CYCLES, 5)}}
        return {LAYER: {"tile": _tiles(self)}}


def units() -> Iterator[Unit]:
    """All of them."""
    for widths in ((8, 8), (4, 4), (8, 4), (16, 16), (6, 6)):
        yield Unit("lane", widths, _lane(*widths))
    for acc_bits in (32, 16, 20):
        yield Unit("lane", (8, 8), _lane(8, 8, acc_bits))
    yield Unit("lane", (16, 16), _lane(16, 16, acc_bits=32))
    for widths in ((8, 10), (4, 6), (8, 15), (16, 18), (6, 8)):
        yield Unit("lane signed", widths, _lane(*widths))
    for acc_bits in (20, 32):
        yield Unit("lane signed", (8, 10), _lane(8, 10, acc_bits))
    styles: tuple[Style, ...] = ("booth", "adders")
    for style in styles:
        yield Unit(f"lane {style}", (8, 8), replace(_lane(8, 8), style=style))
        yield Unit(f"lane signed {style}", (8, 10), replace(_lane(8, 10), style=style))
    yield Unit("lane fast", (8, 8), replace(_lane(8, 8), period_ps=500))
    file = ("arithmetic_units.sv",)
    for bits in (8, 16, 24, 32):
        yield Unit("adder", (bits, bits), Source("adder", file, {"BITS": bits}))
    yield Unit("multiplier", (8, 8), Source("multiplier", file, {"A_BITS": 8, "B_BITS": 8}))
    yield Unit("register", (24, 24), Source("register", file, {"BITS": 24}))
    file = ("winograd_transforms.sv",)
    for m, bits in ((2, 10), (4, 15)):
        into = Source("input_transform", file, {"M": m, "X_BITS": 8, "BITS": bits})
        yield Unit(f"input transform f{m}", (8, bits), into)
        yield Unit(f"inverse transform f{m}", (24, 24), Source("inverse_transform", file, {"M": m, "BITS": 24}))


def _lane(w_bits: int, x_bits: int, acc_bits: int | None = None) -> Source:
    parameters = {"W_BITS": w_bits, "X_BITS": x_bits, "ACC_BITS": acc_bits or ACC_BITS[w_bits]}
    return Source("lane", ("lane.sv",), parameters)


def _uniform(bits: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 1 << bits, CYCLES)


@lru_cache(maxsize=32)
def operands(w_bits: int, x_bits: int, signed: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights that are not zero and the operands that they meet, in the order of a stream."""
    work, x = read_layers(RECORDED_RESNET20)[LAYER]
    assert work.weights is not None
    rng = np.random.default_rng(0)
    if x_bits > 10 and not (signed and x_bits == 15):  # the record has eight bits: draw those below
        x = np.where(x > 0, x + rng.uniform(-0.5, 0.5, x.shape), 0).astype(np.float32)
    if signed:
        m = 4 if x_bits == 15 else 2
        W = winograd_filters(work.weights, m, work.winograd_threshold or 0.0)
        w = quantize_filters(W, m, w_bits).values.reshape(len(W), -1, (m + 2) ** 2).transpose(2, 0, 1)
        ints = dyadic(x, 8 if m == 4 else x_bits - 2)[0].astype(np.int64)
        V = transform_tiles(ints[None], m, (3, 3), (1, 1)).reshape((m + 2) ** 2, -1, x.shape[2])  # taps, tiles, C
    else:
        w = quantize_weights(work.weights, w_bits)[0].transpose(0, 2, 3, 1).reshape(1, len(work.weights), -1)
        padded = np.pad(dyadic(x, x_bits)[0].astype(np.int64), ((1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))  # P, Q, C, R, S
        V = windows.transpose(0, 1, 3, 4, 2).reshape(1, -1, w.shape[2])
    weights, inputs = [], []
    while sum(map(len, weights)) < 4 * CYCLES:
        tap = rng.integers(len(w))
        k = rng.integers(w.shape[1])
        kept = np.flatnonzero(w[tap, k])
        weights.append(w[tap, k, kept])
        inputs.append(V[tap, rng.integers(V.shape[1]), kept])
    return np.concatenate(weights).astype(np.int64), np.concatenate(inputs).astype(np.int64)


def lane_density(w_bits: int, x_bits: int, signed: bool) -> float:
    """Share of the layer's products that are not zero, in the stimulus that has the layer's name."""
    return float((operands(w_bits, x_bits, signed)[1][:CYCLES] != 0).mean())


def lane_stimuli(w_bits: int, x_bits: int, signed: bool) -> dict[str, Vectors]:
    """The states of a lane (module docstring)."""
    w, x = operands(w_bits, x_bits, signed)
    busy = x != 0
    turning = np.where(np.arange(CYCLES) % 2, x[busy][:CYCLES], 0)
    waits = _lane_inputs(w[:CYCLES], x[:CYCLES])
    waits["weight"] = np.full(CYCLES, w[0])  # its stream holds it
    waits["operand_valid"] = waits["valid"] = waits["first"] = np.zeros(CYCLES, np.int64)
    return {
        "busy": _lane_inputs(w[busy][:CYCLES], x[busy][:CYCLES]),
        "turning": _lane_inputs(w[:CYCLES], turning),
        "still": _lane_inputs(w[:CYCLES], np.zeros(CYCLES, np.int64)),
        LAYER: _lane_inputs(w[:CYCLES], x[:CYCLES]),
        "waiting": waits,
    }


def _lane_inputs(w: NDArray[np.int64], x: NDArray[np.int64]) -> Vectors:
    """Operands, and the weight one cycle behind its operand as the stream's register has it."""
    always = np.ones(len(w), np.int64)
    first = (np.arange(len(w)) % GROUP == 0).astype(np.int64)
    return {"first": first, "valid": always, "operand_valid": always, "weight": np.roll(w, 1), "operand": x}


def _tiles(unit: Unit) -> NDArray[np.int64]:
    """Tiles of a transform, each packed into one value: inputs, or sums over the channels; some tiles' all channels."""
    m = unit.source.parameters["M"]
    work, x = read_layers(RECORDED_RESNET20)[LAYER]
    assert work.weights is not None
    ints = dyadic(x, 8)[0].astype(np.int64)
    n = m + 2
    if unit.source.top == "input_transform":
        padded = np.pad(ints, ((1, n), (1, n), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (n, n), axis=(0, 1))[::m, ::m]
        tiles = windows.reshape(-1, n * n)
    else:
        W = winograd_filters(work.weights, m, work.winograd_threshold or 0.0)
        filters = quantize_filters(W, m)
        V = transform_tiles(ints[None], m, (3, 3), (1, 1)).reshape(n, n, -1, x.shape[2])
        M = V @ filters.values.transpose(2, 3, 1, 0).astype(np.int64) << filters.shifts[..., None, None]
        tiles = M.reshape(n * n, -1).T
    start = len(tiles) // 3
    chosen = tiles[start : start + CYCLES // 2]
    bits = unit.widths[0]
    mask = (1 << bits) - 1
    packed = [sum((int(value) & mask) << (bits * i) for i, value in enumerate(tile)) for tile in chosen]
    return np.array(packed, object)


def bench_text(inputs: dict[str, int], outputs: dict[str, int], top: str, cycles: int, period_ps: int) -> str:
    """A bench that gives the unit a vector a cycle.  inputs, outputs: bits by name."""
    ports = ", ".join(f".{name}({name})" for name in ("clk", *inputs, *outputs))
    declared = [f"reg [{bits - 1}:0] {name};" for name, bits in inputs.items()]
    declared += [f"wire [{bits - 1}:0] {name};" for name, bits in outputs.items()]
    together = f"{{{', '.join(inputs)}}}"
    return f"""`timescale 1ps / 1ps
module bench;
  reg clk = 0;
  integer i;
  {" ".join(declared)}
  reg [{sum(inputs.values()) - 1}:0] vectors[0:{cycles - 1}];
  {top} dut ({ports});
  always #{period_ps // 2} clk = ~clk;
  initial begin
    $readmemh("vectors.hex", vectors);
    {together} = vectors[0];
    repeat (3) @(posedge clk);
    #10 $dumpfile("dump.vcd");
    $dumpvars(1, dut);
    for (i = 0; i < {cycles}; i = i + 1) begin
      {together} = vectors[i];
      @(negedge clk) #({period_ps // 2 - 20}) $display("=%h", {{{", ".join(outputs)}}});
      @(posedge clk) #10;
    end
    $finish;
  end
endmodule
"""


def vector_file(vectors: Vectors, inputs: dict[str, int]) -> str:
    """The vectors as the bench reads them."""
    cycles = len(next(iter(vectors.values())))
    lines = []
    for i in range(cycles):
        value = 0
        for name, bits in inputs.items():
            value = value << bits | (int(vectors[name][i]) & ((1 << bits) - 1))
        lines.append(f"{value:x}")
    return "\n".join(lines)
