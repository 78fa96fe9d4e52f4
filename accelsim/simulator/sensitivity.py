"""Does a comparison hold under other energies?  The same runs priced with every energy table.

Energies of an int8 multiplier differ 4.5 times between publications (Horowitz 0.2 pJ, Aladdin 0.91
pJ at 45 nm), and what gates say hangs on the operands, so a conclusion about energy should not hang
on one of them.  Cycles and traffic do not depend on the table, but where a machine's objective is
energy.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from accelsim.hardware.description import EnergyTable
from accelsim.names import told_apart
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run
from accelsim.workload import LayerWork

if TYPE_CHECKING:
    import pandas as pd


def sensitivity(
    works: Sequence[LayerWork],
    machines: Sequence[Machine],
    level: str = "resident",
) -> "pd.DataFrame":
    """One row a table and machine: ``table, machine, energy_pj, energy_mac_pj, ratio`` (energy over the first's).

    Machines of one name are told apart, and a ratio to zero is NaN.
    Raises InputError if a layer does not fit a machine.
    """
    import pandas as pd

    rows = []
    names = told_apart(machine.name for machine in machines)
    for table in get_args(EnergyTable):
        first: float | None = None
        for name, machine in zip(names, machines, strict=True):
            priced = machine.model_copy(update={"energy_table": table})
            total = run(works, priced, engine="fast", level=level).sums
            energy = float(total["energy_pj"])
            first = energy if first is None else first
            rows.append(
                {
                    "table": table,
                    "machine": name,
                    "energy_pj": energy,
                    "energy_mac_pj": float(total["energy_mac_pj"]),
                    "ratio": energy / first if first else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def least(energies: "pd.DataFrame") -> dict[str, str]:
    """The machine with the least energy under each table.  energies: of ``sensitivity``."""
    lowest = energies.sort_values("energy_pj", kind="stable").drop_duplicates("table").sort_index()
    return {str(row.table): str(row.machine) for row in lowest.itertuples()}
