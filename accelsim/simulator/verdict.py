"""Would a verdict stand if what nobody measured were otherwise?

A ratio between machines, and its band.

The assumptions, each moved by itself while the others stay:

- arithmetic: each table of energies, measured in gates and published (``hardware.gates``, ``hardware.technology``);
- DRAM energy: half and twice the stated energies of rows, bits moved and bits driven, the spread of published pJ/bit;
- on-chip energy: as much less and more as five published chips take of what the model says of them (``CHIPS``);
- wires: none are counted; as a bound, each bit that a global buffer gives or takes travels half the
  side of the machine, a wire of 0.2 pF/mm at 0.9 V that toggles with every bit, C V^2 / 2 = 0.081
  pJ/bit/mm;
- clock: half and twice the stated clock, at the same DRAM.

A ratio is of energies, or of times, of one machine over the first.  Machines are simulated anew
under each assumption, so that a choice of tilings by energy follows it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal, get_args

from accelsim.hardware.description import EnergyTable
from accelsim.hardware.energy import dram_refresh_mw, dram_standby_mw, prices
from accelsim.names import told_apart
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run
from accelsim.workload import LayerWork

if TYPE_CHECKING:
    import pandas as pd

Quantity = Literal["energy", "latency"]
COLUMNS: dict[Quantity, str] = {"energy": "energy_pj", "latency": "latency_ms"}
DESCRIBED = "as described"  # the case of the machines as they are, the first
WIRE_PJ_PER_BIT_MM = 0.2 * 0.9**2 / 2
# Published power of Eyeriss, NVDLA (two sizes), EIE, Cambricon-X and the chip of Moons and Verhelst
# over the model's, without DRAM: least and most.  Measured by experiments/comparisons/chips.py,
# rows of reports/validation.md.
CHIPS = (0.51, 1.55)
DRAM_KEYS = {
    "dram_activate": "dram_activate_pj",
    "dram_read_bit": "dram_read_pj_per_bit",
    "dram_write_bit": "dram_write_pj_per_bit",
    "dram_read_io_bit": "dram_read_io_pj_per_bit",
    "dram_write_io_bit": "dram_write_io_pj_per_bit",
}


@dataclass(frozen=True)
class Assumption:
    """One thing that is not measured, as it might be."""

    name: str  # what it is about
    case: str  # what is assumed instead
    change: Callable[[Machine], Machine]
    wires_pj_per_bit_mm: float = 0.0
    on_chip_factor: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """One machine against the first: its ratio, the band of it, and what turns the winner."""

    machine: str
    against: str
    quantity: Quantity
    ratio: float  # as the machines are described
    least: float
    most: float
    assumptions: int  # how many cases were tried beside the machines as described
    turned_by: tuple[str, ...]  # cases in which the other machine wins

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        turned = "nothing turns it" if not self.turned_by else f"turned by {', '.join(self.turned_by)}"
        return (
            f"{self.machine} takes {self.ratio:.2f} of the {self.quantity} of {self.against}, {self.least:.2f} to "
            f"{self.most:.2f} over {self.assumptions} assumptions; {turned}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain values, with its sentence."""
        return asdict(self) | {"turned_by": list(self.turned_by), "sentence": self.sentence}


def assumptions(machines: Sequence[Machine]) -> list[Assumption]:
    """All cases for these machines; a table that all of them name already is none."""
    tables = [name for name in get_args(EnergyTable) if any(machine.energy_table != name for machine in machines)]
    cases = [Assumption("arithmetic", f"table {name}", partial(_with_table, name=name)) for name in tables]
    for factor, said in ((0.5, "half"), (2.0, "twice")):
        cases.append(Assumption("DRAM energy", f"{said} the DRAM energy", partial(_with_dram, factor=factor)))
    cases += [
        Assumption("on-chip energy", f"{factor:g} of the on-chip energy", _as_described, on_chip_factor=factor)
        for factor in CHIPS
    ]
    cases.append(Assumption("wires", "wires to the buffers", _as_described, WIRE_PJ_PER_BIT_MM))
    for factor, said in ((0.5, "half"), (2.0, "twice")):
        cases.append(Assumption("clock", f"{said} the clock", partial(_with_clock, factor=factor)))
    return cases


def band(
    works: Sequence[LayerWork],
    machines: Sequence[Machine],
    level: str = "layers",
) -> "pd.DataFrame":
    """Energies and times of all machines under each assumption, ``as described`` first.

    One row a case and machine: ``assumption, case, machine, energy_pj, latency_ms, energy_ratio,
    latency_ratio``, the ratios over the first machine's, NaN where that is zero.  Machines of one
    name are told apart.  Raises InputError if a layer does not fit a machine.
    """
    import pandas as pd

    names = told_apart(machine.name for machine in machines)
    described = Assumption("none", DESCRIBED, _as_described)
    rows = []
    for assumption in (described, *assumptions(machines)):
        totals = [_total(works, assumption, machine, level) for machine in machines]
        for name, total in zip(names, totals, strict=True):
            ratios = {f"{what}_ratio": _over(total[column], totals[0][column]) for what, column in COLUMNS.items()}
            rows.append({"assumption": assumption.name, "case": assumption.case, "machine": name, **total, **ratios})
    return pd.DataFrame(rows)


def is_band(cases: "pd.DataFrame") -> bool:
    """Whether a table is what ``band`` gives: every case of every machine, each case's machines in one order."""
    ratios = [f"{quantity}_ratio" for quantity in COLUMNS]
    if not {"case", "machine", *ratios} <= set(cases.columns) or cases.empty:
        return False
    if any(cases[column].dtype.kind != "f" for column in ratios) or cases["case"].iloc[0] != DESCRIBED:
        return False
    names = list(dict.fromkeys(cases["case"]))
    machines = list(cases["machine"][: len(cases) // len(names)])
    ordered = [(case, machine) for case in names for machine in machines]
    first = cases[ratios].iloc[:: len(machines)]
    ones = ((first == 1) | first.isna()).to_numpy().all()  # the first machine's over its own
    return bool(ones) and ordered == list(zip(cases["case"], cases["machine"], strict=True))


def verdicts(cases: "pd.DataFrame", quantity: Quantity = "energy") -> list[Verdict]:
    """Each machine but the first against it.  cases: of ``band``."""
    first_case = cases["case"].iloc[0]
    count = cases["case"].nunique()
    each = len(cases) // count
    found = []
    for i in range(1, each):
        own = cases.iloc[i::each]
        ratios = own[f"{quantity}_ratio"]
        ratio = float(ratios.iloc[0])
        turned = own["case"][(ratios - 1) * (ratio - 1) < 0]
        found.append(
            Verdict(
                machine=str(own["machine"].iloc[0]),
                against=str(cases["machine"].iloc[0]),
                quantity=quantity,
                ratio=ratio,
                least=float(ratios.min()),
                most=float(ratios.max()),
                assumptions=count - 1,
                turned_by=tuple(str(case) for case in turned if case != first_case),
            )
        )
    return found


def _over(value: float, first: float) -> float:
    return value / first if first else float("nan")


def _total(
    works: Sequence[LayerWork],
    assumption: Assumption,
    machine: Machine,
    level: str,
) -> dict[str, float]:
    """Energy and time of one machine under an assumption."""
    total = run(works, assumption.change(machine), engine="fast", level=level).sums
    bits = 8 * (float(total["sram_read_bytes"]) + float(total["sram_write_bytes"]))
    wires = bits * assumption.wires_pj_per_bit_mm * sqrt(float(total["area_mm2"])) / 2
    on_chip = float(total["energy_pj"]) - float(total["energy_dram_pj"])
    energy = float(total["energy_dram_pj"]) + assumption.on_chip_factor * on_chip + wires
    return {"energy_pj": energy, "latency_ms": float(total["latency_ms"])}


def _as_described(machine: Machine) -> Machine:
    return machine


def _with_table(machine: Machine, name: str) -> Machine:
    return machine.model_copy(update={"energy_table": name})


def _with_dram(machine: Machine, factor: float) -> Machine:
    table = prices(machine)
    own = {key: factor * table[action].pj for action, key in DRAM_KEYS.items()}
    own["dram_standby_mw"] = factor * dram_standby_mw(machine)
    own["dram_refresh_mw"] = factor * dram_refresh_mw(machine)
    return machine.model_copy(update={"energy": machine.energy.model_copy(update=own)})


def _with_clock(machine: Machine, factor: float) -> Machine:
    return machine.model_copy(update={"clock_mhz": factor * machine.clock_mhz})
