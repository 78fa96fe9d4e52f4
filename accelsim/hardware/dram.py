"""Off-chip memory: how long a transfer takes and what it costs.

One DRAM serves one DMA engine, open page, requests in order.  A request of some contiguous pieces
moves whole bursts at the peak rate; every row that it touches costs tRP + tRCD before its data flows (no overlap
between banks: a conservative choice, worth 7 % on a sequential DDR4-2400 stream); refresh takes its share of all time.
Timing presets follow DRAMsim3 and Ramulator 2; energies are published pJ/bit, marked where quoted from memory.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DramType:
    """One DRAM channel (or stack).

    bandwidth_gbs: peak, 1e9 bytes/s.  row_miss_ns: tRP + tRCD.  refresh: share of time lost, tRFC / tREFI.
    activate_pj: energy to open a row; pj_per_bit: moving and I/O of one bit.  source: of the energy figures.
    """

    bandwidth_gbs: float
    burst_bytes: int
    row_bytes: int
    row_miss_ns: float
    refresh: float
    activate_pj: float
    pj_per_bit: float
    source: str


def _split(pj_per_bit: float, burst_bytes: int) -> tuple[float, float]:
    """Split a published average pJ/bit into (activate_pj a row, the rest a bit).

    Activation is 31 % of HBM2's published energy (1.21 of 3.9 pJ/bit).  An average holds for the accesses it was
    measured with: about three bursts an activation (HBM2: 909 pJ an activation, O'Connor et al., MICRO 2017, quoted
    from memory; 909 pJ / 1.21 pJ/bit = 94 bytes).  Longer runs than that cost less than the average.
    """
    return pj_per_bit * 0.31 * 3 * burst_bytes * 8, pj_per_bit * 0.69


DRAM_TYPES = {
    "ideal": DramType(inf, 1, 1 << 30, 0.0, 0.0, 0.0, 0.0, "no memory at all: unlimited bandwidth, no energy"),
    "DDR3-1600": DramType(12.8, 64, 8192, 27.5, 0.045, *_split(70, 64), "70 pJ/bit, published"),
    "DDR4-2400": DramType(19.2, 64, 8192, 28.2, 0.045, *_split(17.5, 64), "15-20 pJ/bit, quoted from memory"),
    "LPDDR4-3200": DramType(12.8, 64, 4096, 36.0, 0.045, *_split(8, 64), "8 pJ/bit, published"),
    "LPDDR5-6400": DramType(12.8, 32, 2048, 37.5, 0.045, *_split(5, 32), "4-6 pJ/bit, quoted from memory"),
    "GDDR6": DramType(64.0, 64, 2048, 28.0, 0.045, *_split(6.75, 64), "6-7.5 pJ/bit, quoted from memory"),
    "HBM2": DramType(256.0, 32, 1024, 28.0, 0.045, *_split(3.9, 32), "1.21 + 2.24 + 0.3 pJ/bit, published"),
}


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
    """Time of each request: its pieces in whole bursts, and tRP + tRCD for each row; no bytes take no time.

    Channels interleave the bursts, so that they multiply the rate but not the time to open a row.
    """
    piece_bytes = -(-t.n_bytes // np.maximum(t.pieces, 1))
    moved = t.pieces * (-(-piece_bytes // dram.burst_bytes) * dram.burst_bytes)
    stream_ns = moved / (dram.bandwidth_gbs * channels)
    return np.where(t.n_bytes > 0, (stream_ns + t.rows * dram.row_miss_ns) / (1 - dram.refresh), 0.0)
