"""What a simulation says: one row a layer and a total, with the units in the column names.

``energy_pj`` is the sum of its parts, ``energy_dram_pj`` that of its commands, standby and refresh,
and every part of the total is the sum over the layers, exactly: energies are rounded to 2^-10 pJ,
so that their sums are exact in double precision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from accelsim.hardware.price import ENERGY_PARTS
from accelsim.names import visible
from accelsim.simulator.time.bottleneck import BOUNDS, bound

if TYPE_CHECKING:
    import pandas as pd

ENERGY_STEP_PJ = 2.0**-10

COUNT_COLUMNS = (
    "cycles",
    "compute_cycles",
    "stall_cycles",
    "useful_cycles",
    "imbalance_cycles",
    "edge_cycles",
    "transform_cycles",
    "dram_cycles",
    "dense_macs",
    "effectual_macs",
    "dram_read_bytes",
    "dram_write_bytes",
    "dram_weight_bytes",
    "dram_input_bytes",
    "dram_output_bytes",
    "sram_read_bytes",
    "sram_write_bytes",
    "dma_cycles",
    "roofline_cycles",
)
ENERGY_COLUMNS = ("energy_pj", *(f"energy_{part}_pj" for part in ENERGY_PARTS))
# Parts of energy_dram_pj: the actions that they price, and the power that they are.
DRAM_ACTIONS = {
    "dram_activate_pj": ("dram_activate",),
    "dram_read_pj": ("dram_read_bit",),
    "dram_write_pj": ("dram_write_bit",),
    "dram_io_pj": ("dram_read_io_bit", "dram_write_io_bit"),
}
DRAM_POWERS = {"dram_standby_pj": "standby", "dram_refresh_pj": "refresh"}
DRAM_COLUMNS = (*DRAM_ACTIONS, *DRAM_POWERS)
RATIO_COLUMNS = (
    *("cycles", "latency_ms", "energy_pj", "dram_read_bytes", "dram_write_bytes", "effectual_macs"),
    *("area_mm2", "power_mw"),
)


@dataclass(frozen=True)
class Result:
    """One model on one machine.

    rows: column by name of each layer, all of the same columns; sums: the total of a column, and the
    figures of the whole run.  ``layers`` and ``total`` are the same as tables of pandas, which is
    imported when they are first asked for.

    synthetic: the zeros of the weights were drawn from a seed, not trained.  level: how far the
    layers ran as one network (``simulator.network.planning``).
    """

    model: str
    machine: str
    engine: str
    rows: Sequence[Mapping[str, Any]]
    sums: Mapping[str, Any]
    synthetic: bool = False
    level: str = "layers"

    @cached_property
    def layers(self) -> "pd.DataFrame":
        """One row a layer."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    @cached_property
    def total(self) -> "pd.Series":
        """Sums, and the figures of the whole run."""
        import pandas as pd

        return pd.Series(dict(self.sums), dtype=object)

    def __repr__(self) -> str:
        """One line: what ran where, cycles and energy."""
        figures = f"{int(self.sums['cycles']):,} cycles, {self.sums['energy_pj'] / 1e6:,.2f} uJ"
        synthetic = ", synthetic" if self.synthetic else ""
        return visible(f"Result({self.model} on {self.machine}, level {self.level}{synthetic}: {figures})")

    def _repr_html_(self) -> str:
        """What a notebook shows: the total, and a row a layer."""
        from html import escape

        import pandas as pd

        shown = ["cycles", "utilization", "dram_read_bytes", "dram_write_bytes", "energy_pj", "latency_ms", "area_mm2"]
        total = pd.DataFrame([self.total])[[column for column in shown if column in self.total]]
        head = escape(visible(f"{self.model} on {self.machine}" + (", synthetic" if self.synthetic else "")))
        whole = total.to_html(index=False, border=0)
        rows = self.layers.assign(name=[visible(str(row["name"])) for row in self.rows])
        layers = rows.to_html(index=False, border=0, max_rows=60)
        return f"<h4>{head}</h4>{whole}<details><summary>layers</summary>{layers}</details>"

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints."""
        return {
            "model": self.model,
            "machine": self.machine,
            "engine": self.engine,
            **({"synthetic": True} if self.synthetic else {}),
            "level": self.level,
            "total": _plain(self.sums),
            "layers": [_plain(row) for row in self.rows],
        }


def _plain(row: Mapping[str, Any]) -> dict[str, object]:
    """A row as plain Python values."""
    return {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}


def ratios_of(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Totals of each result over the first one's, by machine and column of ``RATIO_COLUMNS``.

    results: one at least.  A ratio to zero is NaN.
    """
    first = results[0].sums
    return {r.machine: {name: _over(r.sums[name], first[name]) for name in RATIO_COLUMNS} for r in results}


def _over(value: float, first: float) -> float:
    return float(value / first) if first else float("nan")


def round_energy(pj: float) -> float:
    """To the grid on which sums are exact."""
    return round(pj / ENERGY_STEP_PJ) * ENERGY_STEP_PJ


def totals(rows: Sequence[Mapping[str, Any]], lanes: int) -> dict[str, Any]:
    """The columns of the total that are sums over the layers' rows, and the utilisation of the lanes over all."""
    total: dict[str, Any] = {"name": "total", "kind": "", "mode": "", "tiling": "", "loop_order": "", "bound": ""}
    for column in (*COUNT_COLUMNS, *ENERGY_COLUMNS, *DRAM_COLUMNS):
        total[column] = sum(row[column] for row in rows)
    total["bound"] = bound({part: total[f"{part}_cycles"] for part in BOUNDS})
    slots = lanes * total["cycles"]
    total["utilization"] = total["effectual_macs"] / slots if slots else 0.0
    return total
