"""What a network costs at least with every map in DRAM, one group behind the other: whether that is worth timing.

A group's score with nothing but its own loads and stores, and all memory for its tiles, is no more than what it takes
as a group with what rides on it, or as a layer alone.
"""

from dataclasses import replace
from math import inf, sqrt

from accelsim.errors import InputError
from accelsim.simulator.network.planning import Planned


def least_through_dram(planned: Planned) -> float:
    """The sum of the groups' least scores, by the machine's objective; infinite if one does not fit the machine."""
    buffers = planned.context.machine.buffers
    rooms = int(buffers.capacity_bytes("input")), int(buffers.capacity_bytes("output"))
    shared = buffers.keeps == "shared"
    found = 0.0
    edp = planned.context.machine.objective == "edp"
    for t in range(len(planned.groups)):
        around = replace(
            planned.context.around(t, None),
            operands=0,
            post_slots=0,
            line_bytes=0,
            room=(sum(rooms), sum(rooms)) if shared else None,
            shared=shared,
        )
        try:
            score = planned.group_plans.plan(t, around).score
        except InputError:
            return inf
        # Energy x cycles of a whole is at least the square of the sum of its parts' roots.
        found += sqrt(score) if edp else score
    return found * found if edp else found
