"""What the mapping and the choice between modes minimise: cycles, DRAM bytes, energy, or energy x delay.

The search (``mapping``) scores every tiling by sums over the layer: predicted cycles, and for the energy the counts of
``actions`` for all tilings at once, the price list, and static power x predicted cycles.
Between the modes of a machine with a choice (``hybrid``, ``polyphase``, ``largest_kernel``) the timed and counted
schedules decide, not the predictions: so a machine with a choice is never worse than any of its modes, exactly.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from accelsim.arrays import Floats
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.energy import prices, static_mw
from accelsim.hardware.price import Price
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.simulator.time.schedule import Number, Schedule


def measured(schedule: Schedule, machine: MachineDescription) -> float:
    """What a schedule scores by the machine's objective: cycles, DRAM bytes, pJ, or pJ x cycles."""
    if machine.objective == "dram":
        return float(schedule.dram_bytes)
    cycles = pipeline_cycles(durations(schedule, machine))
    return float(score(machine, np.float64(cycles), schedule.actions))


def predicted(schedule: Schedule, machine: MachineDescription) -> float:
    """``measured`` with the slower of lanes and DMA for the cycles: for a search over many schedules.

    Of fewer loads, or of steps joined into one, it is never more.
    """
    if machine.objective == "dram":
        return float(schedule.dram_bytes)
    cycles = max(int(schedule.compute_cycles.sum()), durations(schedule, machine).dma_cycles)
    return float(score(machine, np.float64(cycles), schedule.actions))


def score(machine: MachineDescription, cycles: Floats | np.float64, actions: Mapping[str, Number]) -> Floats:
    """Cycles, pJ or pJ x cycles, as the machine's objective says, of candidates with these cycles and action counts."""
    if machine.objective not in {"energy", "edp"}:
        return np.asarray(cycles)
    table, static = _table(machine)
    dynamic = sum((np.asarray(count) * table[name].pj for name, count in actions.items()), start=np.zeros(()))
    energy_pj = dynamic + static * cycles * machine.ns_per_cycle
    return np.asarray(energy_pj * cycles if machine.objective == "edp" else energy_pj)


@lru_cache(maxsize=64)
def _table(machine: MachineDescription) -> tuple[dict[str, Price], float]:
    return prices(machine), static_mw(machine)
