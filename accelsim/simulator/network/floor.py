"""Whether a network may cost less at the level below than it does: a bound, so that few are timed.

There all maps lie in DRAM and one group follows the other.  So the network costs at least the sum
of its groups' scores with their maps in DRAM, each with nothing but its own loads and stores.  That
takes a search for each group, so groups first count with the most that they scored where they had
no less room and moved no more (more of their maps on chip never make a score worse, less room
does), then with their scores through DRAM, then as they are timed by themselves; and only as many
are looked at as it takes to be sure, those that no score bounds first.
Of energy x cycles a whole is at least the square of the sum of its parts' roots.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
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
    by_size = sorted(groups, key=lambda t: -planned.sizes[t])  # what moves most has most to lose
    unknown = [t for t in by_size if not least[t]]
    known = [t for t in by_size if least[t]]
    by_themselves = sorted(apart, key=lambda layer: (-planned.layers[layer].outputs, layer))

    def gained(t: int, score: Callable[[Planned, int, bool], float]) -> float:
        before = least[t]
        least[t] = max(before, root(score(planned, t, rides)))
        return least[t] - before

    total = 0.0
    for more in chain(
        (sum(least.values()),),
        (gained(t, _scored) for t in unknown),
        (root(vector_plan(planned.layers[layer], planned.machine).score) for layer in by_themselves),
        (gained(t, _scored) for t in known),
        (gained(t, _timed) for t in by_size),
    ):  # one after the other, only as many as it takes
        total += more
        if total >= limit:
            return False
    return total < limit


def _known(planned: Planned, t: int, rides: bool) -> float:
    """A bound of a group's score from what was planned already."""
    return planned.group_plans.least(t, _roomed(planned, t, rides)) if planned.placement is not None else 0.0


def _scored(planned: Planned, t: int, rides: bool) -> float:
    """A group's score through DRAM; infinite if it does not fit the machine."""
    try:
        return planned.group_plans.plan(t, _roomed(planned, t, rides)).score
    except InputError:
        return inf


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


def _roomed(planned: Planned, t: int, rides: bool) -> Surroundings:
    """The same with the bytes for input and output tiles where no map stays on the chip.

    Those of weights among them where these lie in one buffer with inputs; all of a memory of all.
    """
    buffers = planned.machine.buffers
    around = _through_dram(planned, t, rides)
    if buffers.one_memory:
        return replace(around, room=(buffers.map_bytes, buffers.map_bytes), shared=True)
    with_inputs = ("weight", "input") if getattr(buffers, "shared", False) else ("input",)
    inputs = sum(int(buffers.capacity_bytes(name)) for name in with_inputs)
    return replace(around, room=(inputs, int(buffers.capacity_bytes("output"))))
