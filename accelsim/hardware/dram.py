"""Off-chip memory: how long a transfer takes and what it costs.

One DRAM serves one DMA engine, open page, requests in order.  A request of some contiguous pieces moves whole bursts at
the peak rate; every row that it touches costs tRP + tRCD before its data flows; refresh takes its share of all time.
Between a read and a write the data bus idles: 2 clocks before the write, tWTR + CL before the next read (``pipeline``
knows the order of requests).  With ``bank_overlap`` rows are opened in other banks while data flow, one each
max(tRRD, tFAW / 4): then a request pays for its first row, and beyond that for whichever takes longer, data or rows.
Without it (the default) no row is opened ahead, a conservative choice: 7 % of a sequential DDR4-2400 stream.

Timing presets follow DRAMsim3 (DDR3, DDR4, HBM2) and Ramulator 2 (LPDDR5, GDDR6); LPDDR4 is JESD209-4 quoted from
memory.  Energies: opening a row, moving a bit from it to the edge of the chip, and driving the bit over the line
(I/O).  They are split from published averages in pJ/bit, marked where quoted from memory.
An average holds for accesses of about three bursts a row; longer runs cost less.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.arrays import Flags, Ints


@dataclass(frozen=True)
class DramType:
    """One DRAM channel, or one stack of them."""

    bandwidth_gbs: float  # peak, 1e9 bytes/s
    burst_bytes: int  # of one access
    row_bytes: int  # that a bank holds open
    row_miss_ns: float  # tRP + tRCD
    refresh: float  # share of all time that is lost to it, tRFC / tREFI
    read_to_write_ns: float  # idle time of the data bus where its direction turns, 2 clocks
    write_to_read_ns: float  # the same the other way, tWTR + CL
    activate_gap_ns: float  # between rows opened in different banks, max(tRRD, tFAW / 4)
    activate_pj: float  # energy to open a row
    move_pj_per_bit: float  # energy to move a bit from the row to the edge of the chip
    io_pj_per_bit: float  # energy to drive a bit over the line
    timing_source: str
    source: str  # of the energies
    io_source: str  # of the I/O's energy alone
    bank_overlap: bool = False  # see the module


def _line_pj(volts: float, ohms: float, gbit_s: float, share: float = 0.5) -> float:
    """Energy of a bit on a terminated line, V^2 / R for as long as current flows (half of random bits).

    ohms: all that the current passes.  gbit_s: of the line.
    """
    return share * volts**2 / ohms / gbit_s * 1000


ACTIVATION_SHARE = 0.31  # of a published average: HBM2's, 1.21 of 3.9 pJ/bit
BURSTS_A_ROW = 3  # 909 pJ an activation (O'Connor et al., MICRO 2017, quoted from memory) / 1.21 pJ/bit = 94 bytes


def _activate_pj(average_pj_per_bit: float, burst_bytes: int) -> float:
    """Energy to open a row, as the part of a published average that it is in the accesses behind the average."""
    return average_pj_per_bit * ACTIVATION_SHARE * BURSTS_A_ROW * burst_bytes * 8


def _move_pj(average_pj_per_bit: float, io_pj_per_bit: float) -> float:
    """Energy to move a bit: what opening rows and the I/O leave of a published average."""
    return average_pj_per_bit * (1 - ACTIVATION_SHARE) - io_pj_per_bit


_LINE = "V^2 / R of the terminated line, JEDEC's values quoted from memory"
# Current flows all the time where the termination lies in the middle (DDR3), else for half of random bits.
_DDR3_LINE_PJ = _line_pj(1.5, 120 + 34 * 120 / (34 + 120), 1.6, share=1)  # 34 ohm against 2 x 120
_DDR4_LINE_PJ = _line_pj(1.2, 34 + 60, 2.4)
_LPDDR4_LINE_PJ = _line_pj(1.1, 3 * 60, 3.2)  # 60 ohm that see a third of the voltage
_LPDDR5_LINE_PJ = _line_pj(0.5, 40 + 40, 6.4)
_GDDR6_LINE_PJ = _line_pj(1.35, 40 + 60, 16)

DRAM_TYPES = {
    "ideal": DramType(
        bandwidth_gbs=inf,
        burst_bytes=1,
        row_bytes=1 << 30,
        row_miss_ns=0.0,
        refresh=0.0,
        read_to_write_ns=0.0,
        write_to_read_ns=0.0,
        activate_gap_ns=0.0,
        activate_pj=0.0,
        move_pj_per_bit=0.0,
        io_pj_per_bit=0.0,
        timing_source="unlimited bandwidth",
        source="no memory at all, no energy",
        io_source="no memory at all",
    ),
    "DDR3-1600": DramType(
        bandwidth_gbs=12.8,
        burst_bytes=64,
        row_bytes=8192,
        row_miss_ns=27.5,
        refresh=0.045,
        read_to_write_ns=2.5,
        write_to_read_ns=21.25,
        activate_gap_ns=10.0,
        activate_pj=_activate_pj(70, 64),
        move_pj_per_bit=_move_pj(70, _DDR3_LINE_PJ),
        io_pj_per_bit=_DDR3_LINE_PJ,
        timing_source="DRAMsim3's preset 8Gb_x8",
        source="70 pJ/bit, published",
        io_source=_LINE,
    ),
    "DDR4-2400": DramType(
        bandwidth_gbs=19.2,
        burst_bytes=64,
        row_bytes=8192,
        row_miss_ns=28.2,
        refresh=0.045,
        read_to_write_ns=1.7,
        write_to_read_ns=20.8,
        activate_gap_ns=5.4,
        activate_pj=_activate_pj(17.5, 64),
        move_pj_per_bit=_move_pj(17.5, _DDR4_LINE_PJ),
        io_pj_per_bit=_DDR4_LINE_PJ,
        timing_source="DRAMsim3's preset 8Gb_x8",
        source="15-20 pJ/bit, quoted from memory",
        io_source=_LINE,
    ),
    "LPDDR4-3200": DramType(
        bandwidth_gbs=12.8,
        burst_bytes=64,
        row_bytes=4096,
        row_miss_ns=36.0,
        refresh=0.045,
        read_to_write_ns=1.25,
        write_to_read_ns=27.5,
        activate_gap_ns=10.0,
        activate_pj=_activate_pj(8, 64),
        move_pj_per_bit=_move_pj(8, _LPDDR4_LINE_PJ),
        io_pj_per_bit=_LPDDR4_LINE_PJ,
        timing_source="JESD209-4, quoted from memory",
        source="8 pJ/bit, published",
        io_source=_LINE,
    ),
    "LPDDR5-6400": DramType(
        bandwidth_gbs=12.8,
        burst_bytes=32,
        row_bytes=2048,
        row_miss_ns=37.5,
        refresh=0.045,
        read_to_write_ns=2.5,
        write_to_read_ns=37.5,
        activate_gap_ns=5.0,
        activate_pj=_activate_pj(5, 32),
        move_pj_per_bit=_move_pj(5, _LPDDR5_LINE_PJ),
        io_pj_per_bit=_LPDDR5_LINE_PJ,
        timing_source="Ramulator 2's preset",
        source="4-6 pJ/bit, quoted from memory",
        io_source=_LINE,
    ),
    "GDDR6": DramType(
        bandwidth_gbs=64.0,
        burst_bytes=64,
        row_bytes=2048,
        row_miss_ns=28.0,
        refresh=0.045,
        read_to_write_ns=2.3,
        write_to_read_ns=20.0,
        activate_gap_ns=4.0,
        activate_pj=_activate_pj(6.75, 64),
        move_pj_per_bit=_move_pj(6.75, _GDDR6_LINE_PJ),
        io_pj_per_bit=_GDDR6_LINE_PJ,
        timing_source="Ramulator 2's preset",
        source="6-7.5 pJ/bit, quoted from memory",
        io_source=_LINE,
    ),
    "HBM2": DramType(
        bandwidth_gbs=256.0,
        burst_bytes=32,
        row_bytes=1024,
        row_miss_ns=28.0,
        refresh=0.045,
        read_to_write_ns=2.0,
        write_to_read_ns=22.0,
        activate_gap_ns=0.94,  # a stack opens rows in its eight channels side by side
        activate_pj=_activate_pj(3.9, 32),
        move_pj_per_bit=_move_pj(3.9, 0.3),
        io_pj_per_bit=0.3,
        timing_source="DRAMsim3's preset 8Gb_x128",
        source="3.9 pJ/bit, of which 1.21 + 2.24 + 0.3 are told apart, published",
        io_source="0.3 pJ/bit, published",
    ),
}


@dataclass(frozen=True)
class Transfer:
    """Requests to the DRAM, as int64 arrays of one shape."""

    n_bytes: Ints  # of each request, 0 for none
    pieces: Ints  # contiguous runs of addresses
    rows: Ints  # DRAM rows that they touch

    @staticmethod
    def contiguous(n_bytes: ArrayLike, row_bytes: int) -> "Transfer":
        """Requests of one piece each."""
        size = np.asarray(n_bytes, np.int64)
        return Transfer(size, (size > 0).astype(np.int64), -(-size // row_bytes))

    def part(self, share: float) -> "Transfer":
        """This share of each request, at least a byte, a piece and a row of it; of a share of 0 nothing is left."""
        if share == 1:
            return self
        return Transfer(
            *(np.ceil(share * values).astype(np.int64) for values in (self.n_bytes, self.pieces, self.rows))
        )


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
