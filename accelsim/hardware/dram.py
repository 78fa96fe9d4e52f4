"""Off-chip memory: how long a transfer takes and what it costs.

One DRAM serves one DMA engine, open page, requests in order.  A request of some contiguous pieces moves whole bursts at
the peak rate; every row that it touches costs tRP + tRCD before its data flows; refresh takes its share of all time.
Between a read and a write the data bus idles: 2 clocks before the write, tWTR + CL before the next read (``pipeline``
knows the order of requests).  With ``bank_overlap`` rows are opened in other banks while data flow, one each
max(tRRD, tFAW / 4): then a request pays for its first row, and beyond that for whichever takes longer, data or rows.
Without it (the default) no row is opened ahead, a conservative choice: 7 % of a sequential DDR4-2400 stream.

Timing presets follow DRAMsim3 (DDR3, DDR4, HBM2) and Ramulator 2 (LPDDR5, GDDR6); LPDDR4 is JESD209-4 quoted from
memory.  Energies: opening a row, moving a bit from it to the edge of the chip, and driving the bit over the line
(I/O).  They are split from published averages in pJ/bit, marked where quoted from memory (``_split``).
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.arrays import Flags, Ints


@dataclass(frozen=True)
class DramType:
    """One DRAM channel (or stack).

    bandwidth_gbs: peak, 1e9 bytes/s.  row_miss_ns: tRP + tRCD.  refresh: share of time lost, tRFC / tREFI.
    read_to_write_ns, write_to_read_ns: idle time of the data bus where its direction turns.
    activate_gap_ns: between rows opened in different banks.  activate_pj: energy to open a row; move_pj_per_bit,
    io_pj_per_bit: of one bit.  timing_source, source, io_source: of the times, of the energies, of the I/O's alone.
    bank_overlap: see the module.
    """

    bandwidth_gbs: float
    burst_bytes: int
    row_bytes: int
    row_miss_ns: float
    refresh: float
    read_to_write_ns: float
    write_to_read_ns: float
    activate_gap_ns: float
    activate_pj: float
    move_pj_per_bit: float
    io_pj_per_bit: float
    timing_source: str
    source: str
    io_source: str
    bank_overlap: bool = False


def _line_pj(volts: float, ohms: float, gbit_s: float, share: float = 0.5) -> float:
    """Energy of a bit on a terminated line, V^2 / R for as long as current flows (half of random bits).

    ohms: all that the current passes.  gbit_s: of the line.
    """
    return share * volts**2 / ohms / gbit_s * 1000


def _split(pj_per_bit: float, burst_bytes: int, io_pj_per_bit: float) -> tuple[float, float, float]:
    """Split a published average pJ/bit into activate_pj a row, and moving and I/O a bit: what is left moves it.

    Activation is 31 % of HBM2's published energy (1.21 of 3.9 pJ/bit).  An average holds for the accesses it was
    measured with: about three bursts an activation (HBM2: 909 pJ an activation, O'Connor et al., MICRO 2017, quoted
    from memory; 909 pJ / 1.21 pJ/bit = 94 bytes).  Longer runs than that cost less than the average.
    """
    return pj_per_bit * 0.31 * 3 * burst_bytes * 8, pj_per_bit * 0.69 - io_pj_per_bit, io_pj_per_bit


_DRAMSIM = "DRAMsim3's preset"
_RAMULATOR = "Ramulator 2's preset"
_LINE = "V^2 / R of the terminated line, JEDEC's values quoted from memory"
# Volts and ohms (driver and termination) of each line: DDR3 1.5 V, 34 ohm against 2 x 120 in the middle, so current
# always flows; DDR4 1.2 V, 34 + 60; LPDDR4 1.1 V, 60 that see a third of it; LPDDR5 0.5 V, 40 + 40; GDDR6 1.35 V,
# 40 + 60.
_DDR3_PJ, _DDR4_PJ = _line_pj(1.5, 120 + 34 * 120 / (34 + 120), 1.6, share=1), _line_pj(1.2, 34 + 60, 2.4)
_LPDDR4_PJ, _LPDDR5_PJ, _GDDR6_PJ = _line_pj(1.1, 3 * 60, 3.2), _line_pj(0.5, 40 + 40, 6.4), _line_pj(1.35, 100, 16)
# Times in ns; a stack of HBM2 opens rows in its eight channels side by side.
DRAM_TYPES = {
    "ideal": DramType(
        inf, 1, 1 << 30, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, "unlimited bandwidth", "no memory at all, no energy",
        "no memory at all",
    ),
    "DDR3-1600": DramType(
        12.8, 64, 8192, 27.5, 0.045, 2.5, 21.25, 10.0, *_split(70, 64, _DDR3_PJ), f"{_DRAMSIM} 8Gb_x8",
        "70 pJ/bit, published", _LINE,
    ),
    "DDR4-2400": DramType(
        19.2, 64, 8192, 28.2, 0.045, 1.7, 20.8, 5.4, *_split(17.5, 64, _DDR4_PJ), f"{_DRAMSIM} 8Gb_x8",
        "15-20 pJ/bit, quoted from memory", _LINE,
    ),
    "LPDDR4-3200": DramType(
        12.8, 64, 4096, 36.0, 0.045, 1.25, 27.5, 10.0, *_split(8, 64, _LPDDR4_PJ), "JESD209-4, quoted from memory",
        "8 pJ/bit, published", _LINE,
    ),
    "LPDDR5-6400": DramType(
        12.8, 32, 2048, 37.5, 0.045, 2.5, 37.5, 5.0, *_split(5, 32, _LPDDR5_PJ), _RAMULATOR,
        "4-6 pJ/bit, quoted from memory", _LINE,
    ),
    "GDDR6": DramType(
        64.0, 64, 2048, 28.0, 0.045, 2.3, 20.0, 4.0, *_split(6.75, 64, _GDDR6_PJ), _RAMULATOR,
        "6-7.5 pJ/bit, quoted from memory", _LINE,
    ),
    "HBM2": DramType(
        256.0, 32, 1024, 28.0, 0.045, 2.0, 22.0, 0.94, *_split(3.9, 32, 0.3), f"{_DRAMSIM} 8Gb_x128",
        "3.9 pJ/bit, of which 1.21 + 2.24 + 0.3 are told apart, published", "0.3 pJ/bit, published",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Transfer:
    """Requests to the DRAM, as arrays of one shape.

    n_bytes: of each request, 0 for none.  pieces: contiguous runs of addresses.  rows: DRAM rows that they touch.
    """

    n_bytes: Ints
    pieces: Ints
    rows: Ints

    @staticmethod
    def contiguous(n_bytes: ArrayLike, row_bytes: int) -> "Transfer":
        """Requests of one piece each."""
        size = np.asarray(n_bytes, np.int64)
        return Transfer(size, (size > 0).astype(np.int64), -(-size // row_bytes))


def transfer_ns(dram: DramType, channels: int, t: Transfer) -> NDArray[np.float64]:
    """Time of each request: its pieces in whole bursts, and its rows; no bytes take no time.

    Channels interleave the bursts, so that they multiply the rate (and the rows opened ahead) but not the time to open
    a row.
    """
    piece_bytes = -(-t.n_bytes // np.maximum(t.pieces, 1))
    moved = t.pieces * (-(-piece_bytes // dram.burst_bytes) * dram.burst_bytes)
    stream_ns = moved / (dram.bandwidth_gbs * channels)
    if dram.bank_overlap:
        busy_ns = dram.row_miss_ns + np.maximum(stream_ns, (t.rows - 1) * (dram.activate_gap_ns / channels))
    else:
        busy_ns = stream_ns + t.rows * dram.row_miss_ns
    return np.where(t.n_bytes > 0, busy_ns / (1 - dram.refresh), 0.0)


def turnaround_ns(dram: DramType, writes: Flags) -> NDArray[np.float64]:
    """Idle time of the data bus before each request of a sequence.  writes: (requests,) bool, in order; no time before
    the first one."""
    turns = np.append(False, writes[1:] != writes[:-1])
    return np.where(turns, np.where(writes, dram.read_to_write_ns, dram.write_to_read_ns), 0.0)
