"""Energy and area of logic measured in gates: Nangate 45 nm cells, real operands, glitches included.

``tables/logic_45nm.csv`` holds single units, ``tables/arrays_45nm.csv`` whole arrays on tiles of
real layers; ``make rtl-energy`` writes both from the RTL in ``tests/rtl``.  A row with
``use`` = fit is what this file reads; the others are what it is judged by
(``tests/hardware/test_gates.py``).  All energies here are at 45 nm and 0.9 V: the tables' times
(0.9 / 1.1)^2.

A lane's energy depends on what it multiplied the cycle before.  With a share d of products that are
not zero it is

    d^2 busy + 2 d (1 - d) turning + (1 - d)^2 still,

each measured; between the measured widths a least-squares fit of the product and the sum of the
widths and the bits of the sum, bent so that it meets what was measured.  Its energy is the fit's at
sums of 24 bits, as most lanes were measured, times a power of the sum's bits, which meets the lanes
that were measured at others and is never negative: a wider sum never costs less.  Who waits keeps
its operands and pays its clock alone.  Beside the lanes an array has streams (a pointer, a length, an
index and a weight each) and a control; they cost energy when a stream hands out a weight, when it
starts, and every cycle.  The clock goes to every flip-flop in every cycle, by their bits; leakage
goes by area.

Bits between buffers and array pay for a wire as long as the side of all logic as a square, at the
library's capacitance of a micrometre, half of them toggling.

Left out: the clock's tree and gates on it, layout, what a faster clock costs
(reports/rtl-energy.md).
"""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.hardware.least_squares import not_negative

SOURCE = "gates of Nangate 45 nm cells (accelsim/hardware/tables), at 0.9 V"
AT_09_VOLTS = (0.9 / 1.1) ** 2
WIRE_FF_PER_UM = 0.1774  # the library's wire_load groups
State = Literal["busy", "turning", "still"]
STATES: tuple[State, ...] = ("busy", "turning", "still")
SUM_BITS = 24  # of most measured lanes
ArrayKind = Literal["streams", "stationary"]
Transform = Literal["input", "inverse"]
Row = dict[str, str]


@dataclass(frozen=True)
class LaneEnergy:
    """pJ of a lane's cycle by its product and the one before, without its clock."""

    busy: float  # not zero behind not zero
    turning: float  # into zero or out of it
    still: float  # zero behind zero

    def at(self, density: float) -> float:
        """Mean with this share of products that are not zero, each by chance."""
        rest = 1 - density
        return density**2 * self.busy + 2 * density * rest * self.turning + rest**2 * self.still


@dataclass(frozen=True)
class ArrayCosts:
    """What an array has beside its lanes."""

    lane_factor: float  # of a lane's energy; below 1 where it holds its weight
    step_pj: float  # a weight handed to the lanes of a stream
    start_pj: float  # a stream that starts
    cycle_pj: float  # control, every cycle
    stream_bits: float  # of flip-flops, a stream
    control_bits: float  # of flip-flops, an array
    lane_bits: float  # of flip-flops, a lane, beside those of ``lane_flip_flops``
    stream_um2: float
    control_um2: float
    lane_um2: float  # beside the lane's own


@lru_cache(maxsize=2)
def read(name: str) -> list[Row]:
    """The rows of ``tables/NAME_45nm.csv``."""
    with (resources.files("accelsim.hardware") / "tables" / f"{name}_45nm.csv").open() as stream:
        return list(csv.DictReader(stream))


def widths(row: Row) -> tuple[int, int, int]:
    """Bits of a unit's two operands and of its sum."""
    return int(row["a_bits"]), int(row["b_bits"]), int(row["acc_bits"])


def _terms(w: int, x: int, acc: int) -> tuple[float, ...]:
    """What a lane's energy and area are made of.

    Array of the multiplier, its edges, accumulator.
    """
    return float(w * x), float(w + x), float(acc)


@dataclass(frozen=True)
class LaneFit:
    """A figure of lanes over their widths."""

    factors: NDArray[np.float64]  # of ``_terms``
    at: NDArray[np.float64]  # log2 of the measured widths, (lanes, 3)
    left: NDArray[np.float64]  # log of measured over fitted there

    def __call__(self, bits: tuple[int, int, int]) -> float:
        left = _between(self.at, self.left, np.log2(bits))
        return float(np.dot(self.factors, _terms(*bits)) * np.exp(left))


@dataclass(frozen=True)
class LanePj:
    """A lane's energy at 1.1 V over its widths, without its clock."""

    fit: LaneFit  # read at sums of SUM_BITS
    at: NDArray[np.float64]  # log2 of the operands' widths of lanes with other sums, (lanes, 2)
    powers: NDArray[np.float64]  # of the sum's bits there, none negative

    def __call__(self, w: int, x: int, acc: int) -> float:
        power = _between(self.at, self.powers, np.log2((w, x)))
        return float(self.fit((w, x, SUM_BITS)) * (acc / SUM_BITS) ** power)


def _between(at: NDArray[np.float64], values: NDArray[np.float64], point: NDArray[np.float64]) -> float:
    """The value at a point (k,), or the mean of all at ``at`` (n, k) by the inverse square of the distance."""
    distance = ((point - at) ** 2).sum(axis=1)
    nearest = int(distance.argmin())
    met = distance[nearest] == 0
    return float(values[nearest] if met else np.average(values, weights=1 / distance))


@lru_cache(maxsize=64)
def lane_fit(units: tuple[str, ...], stimulus: str, column: str) -> LaneFit:
    """Least squares in relative error, no factor negative, over measured lanes of these units.

    What is left at the measured widths is taken over in between, by the inverse square of the
    distance.
    """
    rows = _fitted_lanes(units, stimulus)
    values = np.array([_lane_pj(r) if column == "pj" else float(r[column]) for r in rows])
    terms = np.array([_terms(*widths(r)) for r in rows])
    factors = not_negative(terms / values[:, None], np.ones(len(rows)))
    left = np.log(values / (terms @ factors))
    return LaneFit(factors, np.log2([widths(r) for r in rows]), left)


@lru_cache(maxsize=16)
def lane_pj_fit(unit: str, state: State) -> LanePj:
    """Of measured lanes, those whose sums are not of SUM_BITS for the power of the sum's bits."""
    fit = lane_fit((unit,), state, "pj")
    rows = [r for r in _fitted_lanes((unit,), state) if widths(r)[2] != SUM_BITS]
    operands = [widths(r)[:2] for r in rows]
    beyond = [np.log(_lane_pj(r) / fit((*ab, SUM_BITS))) for r, ab in zip(rows, operands, strict=True)]
    wider = [np.log(widths(r)[2] / SUM_BITS) for r in rows]
    return LanePj(fit, np.log2(operands), np.maximum(np.divide(beyond, wider), 0))


def _fitted_lanes(units: tuple[str, ...], stimulus: str) -> list[Row]:
    fitted = [r for r in read("logic") if (r["stimulus"], r["use"]) == (stimulus, "fit")]
    return [r for r in fitted if r["unit"] in units]


def _lane_pj(row: Row) -> float:
    return float(row["pj"]) - float(row["clock_pj"])


def lane_energy(
    weight_bits: int,
    operand_bits: int,
    accumulator_bits: int,
    signed: bool,
) -> LaneEnergy:
    """A lane's energy without its clock.

    signed: operands of either sign, as in the Winograd domain.
    """
    unit = "lane signed" if signed else "lane"
    bits = (weight_bits, operand_bits, accumulator_bits)
    busy, turning, still = (AT_09_VOLTS * lane_pj_fit(unit, state)(*bits) for state in STATES)
    return LaneEnergy(busy, turning, still)


def lane_um2(weight_bits: int, operand_bits: int, accumulator_bits: int) -> float:
    """A lane with its operand's register."""
    bits = (weight_bits, operand_bits, accumulator_bits)
    return lane_fit(("lane", "lane signed"), "busy", "um2")(bits)


def _one(wanted: Callable[[Row], bool]) -> Row:
    return next(row for row in read("logic") if wanted(row))


@lru_cache(maxsize=256)
def adder_pj(bits: int) -> float:
    """An addition of uniform operands.

    Linear in the width between the measured ones, in proportion beyond.
    """
    rows = [row for row in read("logic") if row["unit"] == "adder"]
    sizes = np.array([float(row["a_bits"]) for row in rows])
    energies = np.array([float(row["pj"]) for row in rows])
    inside = np.clip(bits, sizes[0], sizes[-1])
    return float(AT_09_VOLTS * np.interp(inside, sizes, energies) * bits / inside)


def register_bit_pj() -> float:
    """Writing a bit of random data into a flip-flop, beyond its clock."""
    row = _one(lambda r: r["unit"] == "register" and r["stimulus"] == "uniform")
    return AT_09_VOLTS * (float(row["pj"]) - float(row["clock_pj"])) / float(row["flip_flops"])


def clock_bit_pj() -> float:
    """A cycle of a flip-flop's clock."""
    row = _one(lambda r: r["unit"] == "register" and r["stimulus"] == "still")
    return AT_09_VOLTS * float(row["clock_pj"]) / float(row["flip_flops"])


@lru_cache(maxsize=2)
def leakage_mw_per_mm2() -> float:
    """Leakage of logic at 1.1 V, which 0.9 V is taken to share.

    Of the arrays' cells, by their area.
    """
    rows = [row for row in read("arrays") if row["use"] == "fit"]
    # nW/um2 = mW/mm2
    return float(np.mean([float(row["leakage_nw"]) / float(row["um2"]) for row in rows]))


def transform_pj(unit: Transform, m: int, adder_bits: int) -> float:
    """One tile of F(m x m, 3 x 3) through a unit with so many bits of adders, without its clock.

    As measured for m of 2 and 4, a bit of their adders; other tiles cost the mean of the two.
    """
    return adder_bits * _a_bit(unit, m, lambda r: AT_09_VOLTS * (float(r["pj"]) - float(r["clock_pj"])))


def transform_um2(unit: Transform, m: int, adder_bits: int) -> float:
    """Area of a unit, as ``transform_pj``."""
    return adder_bits * _a_bit(unit, m, lambda r: float(r["um2"]))


def _a_bit(unit: Transform, m: int, figure: Callable[[Row], float]) -> float:
    """A figure of measured transform units, a bit of their adders."""
    units = {row["unit"]: row for row in read("logic")}
    found = {name: row for name, row in units.items() if name.startswith(f"{unit} transform f")}
    own = found.get(f"{unit} transform f{m}")
    rows = found.values() if own is None else [own]
    return float(np.mean([figure(row) / float(row["adder_bits"]) for row in rows]))


def wire_bit_pj(side_um: float) -> float:
    """A random bit over a wire of this length: C V^2 / 2 a toggle, a toggle every other bit."""
    return 0.5 * WIRE_FF_PER_UM * side_um * 0.9**2 / 2 / 1000


def lane_flip_flops(operand_bits: int, accumulator_bits: int) -> int:
    """Bits of registers of a lane that holds outputs: its operand and its sum."""
    return operand_bits + accumulator_bits


@lru_cache(maxsize=4)
def array_costs(kind: ArrayKind) -> ArrayCosts:
    """Fitted on the arrays of this kind that the table marks for it."""
    fitted = [row for row in read("arrays") if row["use"] == "fit"]
    rows = [row for row in fitted if (row["kind"] == "ws") == (kind == "stationary")]
    factor = 1.0
    step_pj = 0.0
    start_pj = 0.0
    if kind == "streams":
        step_pj, start_pj, cycle_pj = _least_squares(
            rows,
            lambda r: (float(r["stream_steps"]), float(r["stream_starts"]), float(r["cycles"])),
            lambda r: _without_clock(r) - lanes_pj(r),
        )
    else:
        factor, cycle_pj = _least_squares(
            rows,
            lambda r: (lanes_pj(r), float(r["cycles"])),
            _without_clock,
        )
    built = list({(r["kind"], r["rows"], r["cols"], r["taps"], r["m"]): r for r in rows}.values())

    def bits_around(r: Row) -> float:
        return float(r["flip_flops"]) - _lanes_of(r) * _own_bits(r)

    def um2_around(r: Row) -> float:
        return float(r["um2"]) - _lanes_of(r) * lane_um2(8, _x_bits(r), 24)

    bits = _least_squares(built, _parts(kind), bits_around)
    um2 = _least_squares(built, _parts(kind), um2_around)
    return ArrayCosts(
        lane_factor=factor,
        step_pj=AT_09_VOLTS * step_pj,
        start_pj=AT_09_VOLTS * start_pj,
        cycle_pj=AT_09_VOLTS * cycle_pj,
        stream_bits=bits[0],
        control_bits=bits[1],
        lane_bits=bits[2],
        stream_um2=um2[0],
        control_um2=um2[1],
        lane_um2=um2[2],
    )


def _parts(kind: ArrayKind) -> Callable[[Row], tuple[float, ...]]:
    """The measured streams, arrays and lanes.

    Lanes of streams are known by themselves, arrays that hold weights have no streams.
    """
    if kind == "streams":
        return lambda r: (float(r["cols"]) * float(r["taps"]), 1.0, 0.0)
    return lambda r: (0.0, 1.0, _lanes_of(r))


def _least_squares(
    rows: Iterable[Row], terms: Callable[[Row], tuple[float, ...]], value: Callable[[Row], float]
) -> tuple[float, ...]:
    rows = list(rows)
    factors = not_negative(np.array([terms(r) for r in rows]), np.array([value(r) for r in rows]))
    return tuple(float(factor) for factor in factors)


def _lanes_of(row: Row) -> float:
    return float(row["rows"]) * float(row["cols"]) * float(row["taps"])


def _without_clock(row: Row) -> float:
    return float(row["cycles"]) * (float(row["pj"]) - float(row["clock_pj"]))


def _x_bits(row: Row) -> int:
    return {"1": 8, "2": 10, "4": 15}[row["m"]]


def _own_bits(row: Row) -> int:
    return lane_flip_flops(_x_bits(row), 24)


def lanes_pj(row: Row) -> float:
    """What the lanes alone spend in a row of the arrays' table, at 1.1 V."""
    lane = lane_energy(8, _x_bits(row), 24, signed=row["m"] != "1")
    inputs = float(row["input_density"])
    weights = float(row["weight_density"])
    # a lane that holds a weight of zero stays still
    held = weights * lane.at(inputs) + (1 - weights) * lane.still
    each = held if row["kind"] == "ws" else lane.at(inputs * weights)
    return float(row["macs"]) * each / AT_09_VOLTS
