"""Does a comparison hold under other published energies?  The same runs priced with every arithmetic table.

Published energies of an int8 multiplier differ 4.5 times (Horowitz 0.2 pJ, Aladdin 0.91 pJ at 45 nm), so a conclusion
about energy should not hang on one of them.  Cycles and traffic do not depend on the table.
"""

from collections.abc import Sequence

import pandas as pd

from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.hardware.technology import ARITHMETIC_TABLES
from accelsim.simulator.run import run
from accelsim.workload import LayerWork


def sensitivity(works: Sequence[LayerWork], machines: Sequence[SpatialMachine | WinogradMachine]) -> pd.DataFrame:
    """One row a table and machine: ``table, machine, energy_pj, energy_mac_pj, ratio`` (energy over the first's).

    Raises InputError if a layer does not fit a machine.
    """
    rows = []
    for table in ARITHMETIC_TABLES:
        first = None
        for machine in machines:
            arithmetic = machine.arithmetic.model_copy(update={"table": table})
            total = run(works, machine.model_copy(update={"arithmetic": arithmetic}), engine="fast").total
            first = first or float(total["energy_pj"])
            rows.append(
                {
                    "table": table,
                    "machine": machine.name,
                    "energy_pj": float(total["energy_pj"]),
                    "energy_mac_pj": float(total["energy_mac_pj"]),
                    "ratio": float(total["energy_pj"]) / first,
                }
            )
    return pd.DataFrame(rows)
