"""Which layers run as one: a layer, and what rides on its output path.

Bias, activation function and batch normalisation have no work of their own (``workload``), and a
concatenation is addressing.  Here a residual addition rides on the last of the layers that it adds
up, and a pooling on the layer (or the addition) in front of it, where the machine's ``post`` says
so and nobody else reads what comes between.  An addition behind a riding pooling does not ride.

A table that does not say what its layers read (``sources`` None) is a list of layers: nothing
rides, and every map lies in DRAM.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.hardware.parts import Post
from accelsim.workload import LayerWork


@dataclass(frozen=True)
class Group:
    """Layers that run as one, by their numbers in the network."""

    head: int  # the layer whose outputs the others take
    riders: tuple[int, ...]  # additions, then poolings, in order
    # whose outputs the head reads, by name; empty where a table does not say
    reads: tuple[str, ...]
    operands: tuple[str, ...]  # whose outputs riding additions read besides

    @property
    def last(self) -> int:
        """The layer whose outputs are those of the group."""
        return self.riders[-1] if self.riders else self.head


def groups_of(works: Sequence[LayerWork], post: Post) -> list[Group]:
    """The groups of a network, in the order in which their heads run.

    Weights are not looked at.
    """
    place = {work.name: i for i, work in enumerate(works)}
    readers = Counter(source for work in works for source in work.sources or ())
    rides_on: dict[int, int] = {}
    for i, work in enumerate(works):
        carrier = _carrier(work, place, readers, post)
        if carrier is not None and _may_follow(work, works, carrier, rides_on):
            rides_on[i] = carrier
    return [_group(works, i, rides_on) for i in range(len(works)) if i not in rides_on]


def _carrier(
    work: LayerWork,
    place: dict[str, int],
    readers: Counter[str],
    post: Post,
) -> int | None:
    """The layer on whose outputs this one could ride; None if there is none."""
    kinds = {"add": post.add, "pool": post.pool}
    if not kinds.get(work.kind, False) or not work.sources:
        return None
    if any(source not in place for source in work.sources):
        return None
    latest = max(work.sources, key=lambda source: place[source])
    if readers[latest] > 1 or (work.kind == "pool" and len(work.sources) > 1):
        return None
    return place[latest]


def _may_follow(
    work: LayerWork,
    works: Sequence[LayerWork],
    carrier: int,
    rides_on: dict[int, int],
) -> bool:
    """Whether a layer may ride behind another one, which may ride itself."""
    before = works[carrier]
    if carrier in rides_on:
        return before.kind == "add" or work.kind == "pool"
    return before.kind in ("conv", "linear")


def _group(works: Sequence[LayerWork], head: int, rides_on: dict[int, int]) -> Group:
    riders: list[int] = []
    operands: list[str] = []
    last = head
    while (rider := next((i for i, carrier in rides_on.items() if carrier == last), None)) is not None:
        others = list(works[rider].sources or ())
        others.remove(works[last].name)
        operands += others
        riders.append(rider)
        last = rider
    return Group(head, tuple(riders), works[head].sources or (), tuple(operands))
