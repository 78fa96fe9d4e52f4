"""Whether a network may cost less with every map in DRAM than it does: a bound, so that few need to be timed.

Through DRAM, one group behind the other, a group costs at least what it scores with nothing but its
own loads and stores and all memory for its tiles; with what rides on it, or as layers by
themselves.  That takes a search of its own for each group.  So groups on which nothing rides first
count with the least that they scored in any surroundings, as more of their maps on chip never make a
score worse; and only as many are searched as it takes to be sure.
"""

from dataclasses import replace
from math import inf, sqrt

from accelsim.errors import InputError
from accelsim.simulator.network.planning import Planned


def may_undercut(planned: Planned, cost: float) -> bool:
    """Whether the network may cost less than this, by the machine's objective, through DRAM."""
    edp = planned.machine.objective == "edp"
    groups = range(len(planned.groups))
    known = [
        0.0 if group.riders or planned.placement is None else planned.group_plans.least(t)
        for t, group in enumerate(planned.groups)
    ]
    # Energy x cycles of a whole is at least the square of the sum of its parts' roots.
    limit = sqrt(cost) if edp else cost
    least = [sqrt(score) if edp else score for score in known]
    total = sum(least)
    for t in sorted(groups, key=lambda t: -planned.sizes[t]):  # what moves most has most to lose
        if total >= limit:
            return False
        score = _through_dram(planned, t)
        total += max(least[t], sqrt(score) if edp else score) - least[t]
    return total < limit


def _through_dram(planned: Planned, t: int) -> float:
    """What a group scores at least with all its maps in DRAM; infinite if it does not fit the machine."""
    buffers = planned.machine.buffers
    rooms = int(buffers.capacity_bytes("input")), int(buffers.capacity_bytes("output"))
    shared = buffers.keeps == "shared"
    around = replace(
        planned.context.around(t, None),
        operands=0,
        post_slots=0,
        line_bytes=0,
        room=(sum(rooms), sum(rooms)) if shared else None,
        shared=shared,
    )
    try:
        return planned.group_plans.plan(t, around).score
    except InputError:
        return inf
