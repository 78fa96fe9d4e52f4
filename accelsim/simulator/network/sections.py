"""Sections of a network, each of which takes the batch in passes of its own.

Large maps ask for few images at a time, so that they stay on chip; large weights for all images at
once, so that they are loaded once; and many a network has the first in front and the second behind
(convolutions, then a classifier).  A section is a run of layers that goes through all of its passes
before the next one begins: a network by itself, whose input comes from DRAM and whose output goes
there.  So a network is cut only where one map alone leads from the layers in front to those behind.

Where to cut is estimated from runs of the whole network in each number of passes: of every layer
what it cost there, and at a cut what it costs that the map goes through DRAM, by a dynamic program
over the cuts.  What is chosen then runs as it is, and is taken only where it costs less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from accelsim.simulator.network.planning import Planned


@dataclass(frozen=True)
class Section:
    """Layers ``first`` to ``end - 1`` of a network, in so many passes."""

    first: int
    end: int
    passes: int


def cuts_of(planned: Planned) -> list[int]:
    """The layers that may begin a section: behind whole groups, from which one map alone leads on."""
    layers = planned.layers
    if any(work.sources is None for work in layers):
        return []
    number = {work.name: i for i, work in enumerate(layers)}
    found = []
    before: set[int] = set()
    for group in planned.groups[:-1]:
        before |= {planned.origin[i] for i in (group.head, *group.riders)}
        end = len(before)
        crossing = {source for work in layers[end:] for source in work.sources or () if number.get(source, -1) < end}
        if before == set(range(end)) and crossing == {layers[end - 1].name}:
            found.append(end)
    return found


def cheapest_sections(
    cuts: Sequence[int],
    costs: Mapping[int, Sequence[float]],
    crossings: Mapping[tuple[int, int, int], float],
) -> list[Section]:
    """The sections whose costs, and those of the maps between them, are least in sum.

    costs: of each layer, by passes.  crossings: what a cut costs beside them, by the layer behind
    it and the passes in front of it and behind it; a cut between equal passes is none.
    """
    layers = len(next(iter(costs.values())))
    edges = [0, *cuts, layers]
    least = {passes: sum(of_layers[: edges[1]]) for passes, of_layers in costs.items()}
    back: list[dict[int, int]] = []  # of each cut, the passes in front of it that lead to least
    for cut, end in pairwise(edges[1:]):
        came: dict[int, int] = {}
        to_here: dict[int, float] = {}
        for passes, of_layers in costs.items():
            ways = {p: least[p] + (crossings[cut, p, passes] if p != passes else 0.0) for p in costs}
            came[passes] = min(ways, key=lambda p: (ways[p], p != passes))
            to_here[passes] = ways[came[passes]] + sum(of_layers[cut:end])
        back.append(came)
        least = to_here
    passes = min(least, key=lambda p: least[p])
    taken = [passes]
    for came in reversed(back):
        taken.append(came[taken[-1]])
    return _joined(edges, taken[::-1])


def _joined(edges: Sequence[int], passes: Sequence[int]) -> list[Section]:
    """One section of all neighbouring stretches in equal passes."""
    found: list[Section] = []
    for (first, end), count in zip(pairwise(edges), passes, strict=True):
        if found and found[-1].passes == count:
            found[-1] = Section(found[-1].first, end, count)
        else:
            found.append(Section(first, end, count))
    return found
