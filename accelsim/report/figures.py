"""The figures of a whole run that tables show.

Of which columns, in which unit, with how many digits.

The terminal and the page choose among them and give them names of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accelsim.hardware.price import ENERGY_PARTS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Figure:
    """One figure: the sum of some columns of a result's total."""

    columns: tuple[str, ...]
    unit: float = 1  # of the columns' own
    digits: int = 0  # behind the point

    def value(self, total: "Mapping[str, Any] | pd.Series") -> float:
        """The figure of one run, in the columns' unit.

        total: the sums of a ``Result``, or a row of a table of totals.
        """
        return float(sum(total[column] for column in self.columns))

    def text(self, total: "Mapping[str, Any] | pd.Series") -> str:
        """The figure of one run as tables show it."""
        return f"{self.value(total) / self.unit:,.{self.digits}f}"


FIGURES = {
    "cycles": Figure(("cycles",)),
    "stalled": Figure(("stall_cycles",)),
    "latency, ms": Figure(("latency_ms",), digits=4),
    "dense MACs, M": Figure(("dense_macs",), 1e6, 2),
    "effectual MACs, M": Figure(("effectual_macs",), 1e6, 2),
    "lane utilization, %": Figure(("utilization",), 0.01, 1),
    "DRAM traffic, MB": Figure(("dram_read_bytes", "dram_write_bytes"), 1e6, 3),
    "DRAM weights, MB": Figure(("dram_weight_bytes",), 1e6, 3),
    "DRAM inputs, MB": Figure(("dram_input_bytes",), 1e6, 3),
    "DRAM outputs, MB": Figure(("dram_output_bytes",), 1e6, 3),
    "SRAM traffic, MB": Figure(("sram_read_bytes", "sram_write_bytes"), 1e6, 3),
    "SRAM read, MB": Figure(("sram_read_bytes",), 1e6, 3),
    "SRAM written, MB": Figure(("sram_write_bytes",), 1e6, 3),
    "energy, uJ": Figure(("energy_pj",), 1e6, 2),
    **{f"energy of {part}, uJ": Figure((f"energy_{part}_pj",), 1e6, 2) for part in ENERGY_PARTS},
    "power, mW": Figure(("power_mw",), digits=1),
    "area, mm2": Figure(("area_mm2",), digits=3),
    "lanes": Figure(("lanes",)),
    "SRAM, KiB": Figure(("sram_bytes",), 1024),
    "clock, MHz": Figure(("clock_mhz",)),
    "DRAM peak, bytes/cycle": Figure(("dram_bytes_per_cycle",), digits=1),
}
