"""Whether a network may cost less at the level below than it does: a bound, so that few are timed.

There all maps lie in DRAM and one group follows the other.  So the network costs at least the sum
of its groups' scores with their maps in DRAM, each with nothing but its own loads and stores.  That
takes a search for each group, so groups first count with the least that they scored where they had
all the room (more of their maps on chip never make a score worse, less room does), then with their
scores through DRAM, then as they are timed by themselves; and only as many are looked at as it takes to be sure.
Of energy x cycles a whole is at least the square of the sum of its parts' roots.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf, sqrt

from accelsim.errors import InputError
from accelsim.simulator.machines.vector import vector_plan
from accelsim.simulator.network.planning import Planned
from accelsim.simulator.time.objective import measured
from accelsim.workload import Surroundings


def may_undercut(planned: Planned, cost: float, rides: bool) -> bool:
    """Whether the network may cost less than this, by the machine's objective, through DRAM.

    rides: whether what rides on outputs does so there, too; else it passes by itself.
    """
    root: Callable[[float], float] = sqrt if planned.machine.objective == "edp" else float
    limit = root(cost)
    apart = set() if rides else {planned.origin[rider] for group in planned.groups for rider in group.riders}
    groups = [t for t, group in enumerate(planned.groups) if planned.origin[group.head] not in apart]
    least = {t: root(_known(planned, t, rides)) for t in groups}
    total = sum(least.values())
    total += sum(root(vector_plan(planned.layers[layer], planned.machine).score) for layer in sorted(apart))
    by_size = sorted(groups, key=lambda t: -planned.sizes[t])  # what moves most has most to lose
    for score in (_scored, _timed):
        for t in by_size:
            if total >= limit:
                return False
            better = max(least[t], root(score(planned, t, rides)))
            total += better - least[t]
            least[t] = better
    return total < limit


def _known(planned: Planned, t: int, rides: bool) -> float:
    """A bound of a group's score from what was planned already."""
    if planned.placement is None or (planned.groups[t].riders and not rides):
        return 0.0
    return planned.group_plans.least(t, _rooms(planned))


def _scored(planned: Planned, t: int, rides: bool) -> float:
    """A group's score through DRAM; infinite if it does not fit the machine."""
    around = replace(_through_dram(planned, t, rides), room=_rooms(planned))
    try:
        return planned.group_plans.plan(t, around).score
    except InputError:
        return inf


def _rooms(planned: Planned) -> tuple[int, int]:
    """Bytes for a group's input and output tiles where no map stays on the chip."""
    buffers = planned.machine.buffers
    return int(buffers.capacity_bytes("input")), int(buffers.capacity_bytes("output"))


def _timed(planned: Planned, t: int, rides: bool) -> float:
    """What a group takes by itself, through DRAM; infinite if it does not fit the machine."""
    try:
        plan = planned.group_plans.settled(t, _through_dram(planned, t, rides))
    except InputError:
        return inf
    return measured(plan.schedule, planned.machine)


def _through_dram(planned: Planned, t: int, rides: bool) -> Surroundings:
    around = planned.context.around(t, None)
    return around if rides else replace(around, output_share=1.0, operands=0, post_slots=0, line_bytes=0)
