"""Types of DRAM: their timings, sizes and energies, one by one, each with its source.

Every figure of every type stands in ``data/dram.csv``.  Energies: opening a row, reading or writing
a bit on the DRAM's chips, driving it over the line (I/O), from the currents of datasheets; standby
with open rows and refresh are powers of a rank, over the whole run.  Of LPDDR5 and GDDR6 only
published averages in pJ/bit are known: they are split over opening and moving, standby and refresh
among them.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

COUNTS = (
    "burst_bytes",
    "row_bytes",
    "inner_channels",
    "ranks",
    "banks",
    "interleaved_groups",
    "write_queue_bursts",
)


@dataclass(frozen=True)
class DramType:
    """One DRAM, as a machine may have several side by side (``channels``)."""

    bandwidth_gbs: float  # peak of all inner channels, 1e9 bytes/s
    burst_bytes: int  # of one access
    row_bytes: int  # that a bank holds open, all chips of its rank together
    inner_channels: int  # of its own, with banks each
    ranks: int  # of each inner channel
    banks: int  # of each rank
    interleaved_groups: int  # bank groups that consecutive bursts alternate over
    write_queue_bursts: int  # of writes that the controller of a channel gathers before its bus turns
    t_rcd_ns: float  # from opening a row to its first access
    t_rp_ns: float  # to close a row
    t_cl_ns: float  # from the command to read to the data
    t_rrd_ns: float  # between rows opened in two banks
    t_faw_ns: float  # of any five rows opened, from the first to the last
    t_ccd_l_ns: float  # between bursts of one bank group, 0 without groups
    t_wtr_ns: float  # from written data to the command to read
    t_rtw_ns: float  # from read data to written data
    t_rfc_ns: float  # of a refresh
    t_refi_ns: float  # from one refresh to the next
    activate_pj: float  # energy to open a row
    read_pj_per_bit: float  # energy to read a bit, to the edge of the chip
    write_pj_per_bit: float  # energy to write a bit, from the edge of the chip
    read_io_pj_per_bit: float  # energy to drive a bit that is read over the line
    write_io_pj_per_bit: float  # the same of a bit that is written
    standby_mw: float  # power of a rank, rows open; all inner channels together
    refresh_mw: float  # power of refreshing a rank, on average; all inner channels together

    @property
    def burst_ns(self) -> float:
        """Time of a burst of one inner channel."""
        peak_ns = self.burst_bytes * self.inner_channels / self.bandwidth_gbs
        return peak_ns if self.interleaved_groups > 1 else max(peak_ns, self.t_ccd_l_ns)

    @property
    def first_row_ns(self) -> float:
        """Time before the first data: closing a row and opening another."""
        return self.t_rp_ns + self.t_rcd_ns

    @property
    def activate_gap_ns(self) -> float:
        """Time between rows opened in the banks of an inner channel."""
        return max(self.t_rrd_ns, self.t_faw_ns / 4) / self.ranks

    @property
    def write_to_read_ns(self) -> float:
        """Idle time of the data bus where a read follows a write."""
        return self.t_wtr_ns + self.t_cl_ns

    @property
    def refresh(self) -> float:
        """Share of all time that is lost to refresh."""
        return self.t_rfc_ns / self.t_refi_ns


TIMINGS = tuple(name for name in DramType.__dataclass_fields__ if name.startswith("t_"))


@cache
def dram_types() -> Mapping[str, DramType]:
    """Every type of DRAM by its name, as ``data/dram.csv`` describes it."""
    return {name: _type(figures) for name, figures in _table().items()}


@cache
def dram_sources() -> Mapping[str, Mapping[str, str]]:
    """Where each figure of each type comes from."""
    return {name: {key: source for key, (_, source) in figures.items()} for name, figures in _table().items()}


def _table() -> dict[str, dict[str, tuple[float, str]]]:
    """Value and source of each quantity of each type."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    path = resources.files("accelsim.hardware") / "data" / "dram.csv"
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["type"], {})[row["quantity"]] = float(row["value"]), row["source"]
    return found


def _type(figures: Mapping[str, tuple[float, str]]) -> DramType:
    """One type from its figures, which the columns of the table name."""
    values = {name: int(value) if name in COUNTS else value for name, (value, _) in figures.items()}
    return DramType(**values)  # type: ignore[arg-type]
