"""What the mapping and the choice between modes minimise.

Cycles, DRAM bytes, energy, or energy x delay.

The search (``mapping``) scores every tiling by sums over the layer: predicted cycles, and for the
energy the counts of ``actions`` for all tilings at once, the price list, and power x predicted
cycles.
For cycles it names a few tilings, the best of each of many rates of a DMA, whatever the machine's
DRAM is; between these, and between the modes of a machine with a choice (``hybrid``, ``polyphase``,
``largest_kernel``), the timed and counted schedules decide, not the predictions (``best``).  So a
machine with a choice is never worse than any of its modes, and one whose DRAM is faster in any way
never takes more cycles, exactly.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accelsim.arrays import Floats
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.energy import power_mw, prices
from accelsim.hardware.price import Price
from accelsim.simulator.time.pipeline import Durations, durations, pipeline_cycles
from accelsim.simulator.time.schedule import Number, Schedule


class Dma(NamedTuple):
    """How fast a DMA moves bytes."""

    bytes_per_cycle: float
    turn_cycles: float  # lost at a store between loads
    gathered_bytes: float = 1.0  # a store of fewer loses a share of that

    def turned(self, store_bytes: Floats) -> Floats:
        """Cycles lost at a store of so many bytes between loads."""
        return np.asarray(self.turn_cycles * np.minimum(1.0, store_bytes / self.gathered_bytes))


TURN_BYTES = (
    # that a DMA could move while the bus turns to a store and back: 370 to 1,000 of the types in
    # the table
    512
)
# of DRAM traffic: it takes seconds to count the rows that such a schedule opens
LARGE_BYTES = 1 << 24
DMAS = tuple(Dma(rate, TURN_BYTES / rate) for rate in (1.0, 4.0, 16.0, 64.0, 256.0))
UNLIMITED = Dma(np.inf, 0.0)


def own_dma(machine: MachineDescription) -> Dma:
    """The rate of the machine's DRAM, rows opened in time."""
    dram = machine.dram.timing
    side_by_side = dram.inner_channels * machine.dram.channels
    cycles_per_ns = 1 / ((1 - dram.refresh) * machine.ns_per_cycle)
    turn_ns = (dram.t_rtw_ns + dram.write_to_read_ns) / side_by_side
    burst_ns = dram.burst_ns / side_by_side
    rate = dram.burst_bytes / (burst_ns * cycles_per_ns) if burst_ns else np.inf
    return Dma(rate, turn_ns * cycles_per_ns, dram.write_queue_bursts * dram.burst_bytes)


def dmas_to_try(machine: MachineDescription) -> tuple[Dma, ...]:
    """The DMAs whose best tilings are worth timing, for cycles; else the machine's own.

    They do not depend on the machine's DRAM, but that one without limit, whose tilings no other one
    can undercut, has one more.
    """
    own = own_dma(machine)
    if machine.objective != "cycles":
        return (own,)
    return (*DMAS, UNLIMITED) if np.isinf(own.bytes_per_cycle) else DMAS


def best(schedules: Iterable[Schedule], machine: MachineDescription) -> Schedule:
    """The schedule that scores least as timed.

    Of equal ones that of least DRAM bytes, then of fewest steps.

    Only those are timed whose bound (``predicted``) is not above the best so far, and of those that
    move more than ``LARGE_BYTES`` only the one with the least of a simpler bound.  Raises
    ValueError if there is none.
    """
    found: tuple[tuple[float, int, int], Schedule] | None = None
    for schedule in _worth_timing(schedules, machine):
        d = durations(schedule, machine)
        if found is not None and _predicted(schedule, machine, d) > found[0][0]:
            continue
        rank = measured_as(schedule, machine, d), schedule.dram_bytes, len(schedule)
        if found is None or rank < found[0]:
            found = rank, schedule
    if found is None:
        raise ValueError("no schedule to choose from")
    return found[1]


def _worth_timing(schedules: Iterable[Schedule], machine: MachineDescription) -> Iterator[Schedule]:
    """All schedules, but of large ones only the one with the least of what lanes and bytes take."""
    rate = own_dma(machine).bytes_per_cycle
    least: tuple[float, Schedule] | None = None
    for schedule in schedules:
        if schedule.dram_bytes <= LARGE_BYTES:
            yield schedule
            continue
        bound = max(float(schedule.compute_cycles.sum()), schedule.dram_bytes / rate)
        if least is None or bound < least[0]:
            least = bound, schedule
    if least is not None:
        yield least[1]


def measured(schedule: Schedule, machine: MachineDescription) -> float:
    """What a schedule scores by the machine's objective: cycles, DRAM bytes, pJ, or pJ x cycles."""
    return measured_as(schedule, machine, durations(schedule, machine))


def measured_as(schedule: Schedule, machine: MachineDescription, d: Durations) -> float:
    """``measured`` of a schedule whose steps take what ``d`` says."""
    if machine.objective == "dram":
        return float(schedule.dram_bytes)
    return _score(schedule, machine, pipeline_cycles(d))


def predicted(schedule: Schedule, machine: MachineDescription) -> float:
    """``measured`` with the slower of lanes and DMA for the cycles: never more than ``measured``.

    Of fewer loads, or of steps joined into one, it is never more.
    """
    return _predicted(schedule, machine, durations(schedule, machine))


def _predicted(schedule: Schedule, machine: MachineDescription, d: Durations) -> float:
    if machine.objective == "dram":
        return float(schedule.dram_bytes)
    return _score(schedule, machine, max(int(schedule.compute_cycles.sum()), d.dma_cycles))


def _score(schedule: Schedule, machine: MachineDescription, cycles: int) -> float:
    """Of a schedule; for cycles alone its rows and actions are not counted."""
    if machine.objective == "cycles":
        return float(cycles)
    return float(score(machine, np.float64(cycles), schedule.actions))


def score(
    machine: MachineDescription,
    cycles: Floats | np.float64,
    actions: Mapping[str, Number],
) -> Floats:
    """Cycles, pJ or pJ x cycles of candidates, as the machine's objective says.

    cycles, actions: of each candidate.
    """
    if machine.objective not in {"energy", "edp"}:
        return np.asarray(cycles)
    return score_of_energy(machine, cycles, actions_pj(machine, actions))


def actions_pj(machine: MachineDescription, actions: Mapping[str, Number]) -> Floats:
    """pJ of the actions of each candidate."""
    table, _ = _table(machine)
    each = (count * table[name].pj for name, count in actions.items())
    return np.asarray(sum(each, start=np.zeros(())))


def score_of_energy(machine: MachineDescription, cycles: Floats | np.float64, dynamic: Floats) -> Floats:
    """``score`` where energy decides.

    dynamic: of ``actions_pj``.
    """
    _, power = _table(machine)
    energy_pj = dynamic + power * cycles * machine.ns_per_cycle
    return np.asarray(energy_pj * cycles if machine.objective == "edp" else energy_pj)


@lru_cache(maxsize=64)
def _table(machine: MachineDescription) -> tuple[dict[str, Price], float]:
    return prices(machine), power_mw(machine)
