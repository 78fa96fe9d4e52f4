"""Which groups run as stacks, and in how high stripes.

The search takes the placement of whole maps as it is and divides the groups, in order, into single
ones and stacks, so that the sum of scores is least: a dynamic program over the borders.  A stack's
score is computed where the best division counts on it; until then its bound stands for it.
Heuristic are: the heights (halves, quarters, ... of the last map, of which the ``HEIGHTS`` highest
whose buffers leave an eighth of the room to tiles), that only what may save ``WORTH`` of the
network's score is looked at, and that the search ends after ``EVALUATED`` stacks, or where no
division can be better by ``TOLERANCE``.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import inf

from accelsim.simulator.network.places import DRAM
from accelsim.simulator.network.placing import NetworkMaps
from accelsim.simulator.network.stacks import Lines, Stack, StackPlans

LONGEST = 10  # groups of a stack
HEIGHTS = 3  # of a stack's stripes that are looked at
MOST_STRIPES = 1 << 10  # of a stack
EVALUATED = 24  # stacks whose score is computed
TOLERANCE = 0.005  # share of the score by which a division must be better
WORTH = 1e-3  # share of the network's score that a stack may save at least


def find_stacks(plans: StackPlans, single: Sequence[float]) -> list[Stack]:
    """The stacks of the best division that was found.

    None where none is better than the groups by themselves.

    single: each group's score by itself.
    """
    bounds = dict(_worth_scoring(plans, single))
    exact: dict[Stack, float] = {}
    while True:
        best, found = _division(single, exact)
        bound, hoped = _division(single, bounds | exact)
        asked = [stack for stack in hoped if stack not in exact]
        if best > bound * (1 + TOLERANCE) and asked and len(exact) < EVALUATED:
            exact |= {stack: plans.score(stack) for stack in asked}
        elif not found or plans.addresses(found) is not None:
            return found
        else:
            exact[max(found, key=lambda stack: stack.last - stack.first)] = inf


def _division(single: Sequence[float], stacks: Mapping[Stack, float]) -> tuple[float, list[Stack]]:
    """The least score of all divisions into single groups and stacks, and its stacks."""
    ending: dict[int, list[Stack]] = {}
    for stack in stacks:
        ending.setdefault(stack.last, []).append(stack)
    best: list[tuple[float, Stack | None]] = [(0.0, None)]
    for t, alone in enumerate(single):
        options: list[tuple[float, Stack | None]] = [(best[t][0] + alone, None)]
        options += [(best[stack.first][0] + stacks[stack], stack) for stack in ending.get(t, ())]
        best.append(min(options, key=lambda option: option[0]))
    found: list[Stack] = []
    t = len(single)
    while t:
        chosen = best[t][1]
        found += [] if chosen is None else [chosen]
        t = t - 1 if chosen is None else chosen.first
    return best[-1][0], found[::-1]


def _worth_scoring(plans: StackPlans, single: Sequence[float]) -> Iterator[tuple[Stack, float]]:
    """Stacks that may be better than their groups by themselves, and what each scores at least."""
    enough = WORTH * sum(single)
    for first, last in _intervals(plans.context):
        if all(plans.placement.places[m] != DRAM for m in range(first, last)):
            continue
        any_height = Stack(first, last, 1, keeps=True, weights_stay=False)
        alone = sum(single[t] for t in any_height.groups)
        whole = {t: plan for t in any_height.groups if (plan := plans.whole(any_height, t)) is not None}
        if len(whole) < len(any_height.groups) or alone - sum(plan.score for plan in whole.values()) <= enough:
            continue
        for keeps in (True, False):
            for lines in _heights(plans, first, last, keeps):
                yield from (pair for pair in plans.bounds(lines, whole) if alone - pair[1] > enough)


def _intervals(context: NetworkMaps) -> Iterator[tuple[int, int]]:
    """The first and last groups of all stacks that there could be."""
    for first in range(len(context.groups)):
        for last in range(first, min(first + LONGEST, len(context.groups))):
            if not _can_be_cut(context, first, last):
                break
            inside = range(first, last)
            read = all(context.last_reader.get(m, last + 1) <= last for m in inside)
            if last > first and read and context.shapes[context.groups[last].last].out_height > 1:
                yield first, last


def _can_be_cut(context: NetworkMaps, first: int, last: int) -> bool:
    """Whether the last group of a stack is a convolution that reads rows as those before it give them."""
    group = context.groups[last]
    if context.shapes[group.head].kind != "conv":
        return False
    for layer in (group.head, *group.riders):
        work = context.shapes[layer]
        for m in (context.by_name[source] for source in work.sources or () if source in context.by_name):
            made = context.shapes[context.groups[m].last]
            size = (made.batch, made.out_height, made.out_width)
            if first <= m < last and size != (work.batch, work.height, work.width):
                return False
    return True


def _leaves_room(plans: StackPlans, lines: Lines) -> bool:
    """Whether line buffers leave to tiles an eighth of what whole maps leave."""
    free = plans.capacity - sum(plans.around_stack(lines.stack).values())
    return all(8 * plans.room(lines, t) >= free for t in lines.stack.groups)


def _heights(plans: StackPlans, first: int, last: int, keeps: bool) -> Iterator[Lines]:
    """The stripes of the greatest heights whose buffers leave room on chip."""
    rows = plans.context.shapes[plans.context.groups[last].last].out_height
    granule = plans.granule(last)
    found = 0
    parts = 2
    seen = {rows}
    while found < HEIGHTS and parts <= 2 * rows and parts <= MOST_STRIPES:
        height = -(-rows // (parts * granule)) * granule
        parts *= 2
        if height in seen:
            continue
        seen.add(height)
        lines = plans.lines(Stack(first, last, height, keeps, weights_stay=False))
        if lines is not None and _leaves_room(plans, lines):
            found += 1
            yield lines
