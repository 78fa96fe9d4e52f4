"""Where each feature map lies.

On chip over its whole life, or in DRAM, so that the sum of the layers' scores is least.

A dynamic program over the groups in their order.  Its state is which of the living maps are on chip
(and in which of two memories, where these change roles); a group costs what the best tiling scores
with its maps in these places and the room that they leave; tiles lie in any bytes that are free,
maps in one piece, and no map moves while it lives.  Addresses come afterwards (``addresses``).
Where these find no placement, one of the maps goes to DRAM, whichever costs least, and the program
is run again.  The result says by how much the score is above the program's first answer, which no
placement can undercut: that is the gap.

Scores are asked for lazily: a group first counts with a bound, its score with all maps on chip and
the whole memory as room, and only what the best path uses is computed.  Of networks of up to
``SMALL`` groups the search ends when a path's scores are all exact and no other can undercut it, of
larger ones when it is within ``TOLERANCE`` of that.  Of paths of equal score the one that moves the
fewest bytes of maps is taken.

States beyond ``BEAM`` are dropped, the most expensive first; the networks here have far fewer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

from accelsim.simulator.network.addresses import Resident, place

DRAM = 0  # the place of a map that is not on chip; 1, 2: number of an on-chip memory
BEAM = 256
MAX_BRANCHES = 64
SMALL = 12  # groups of a network whose best placement is found exactly
TOLERANCE = 0.005  # by which a placement of a larger one may score above what is possible


@dataclass(frozen=True)
class Use:
    """What a group does with maps, by their numbers."""

    reads: tuple[int, ...]  # as its inputs
    operands: tuple[int, ...]  # of riding additions
    writes: int


class Setting(NamedTuple):
    """Where a group's maps are, and what room there is for its tiles."""

    reads: tuple[int, ...]  # places of ``Use.reads``
    operands: tuple[int, ...]  # places of ``Use.operands``
    writes: int  # place of its output
    rooms: tuple[int, ...]  # free bytes of each memory
    input_memory: int  # the memory in which tiles of inputs lie


@dataclass(frozen=True)
class Problem:
    """What is to be placed.

    sizes: bytes of each map.  pinned: maps that lie in DRAM whatever it costs (the network's input
    and outputs).  capacities: bytes of each memory: one, or two that change roles.
    """

    uses: tuple[Use, ...]
    sizes: tuple[int, ...]
    pinned: frozenset[int]
    capacities: tuple[int, ...]

    @cached_property
    def dies(self) -> dict[int, int]:
        """The last group that reads each map, or writes it."""
        found: dict[int, int] = {}
        for t, use in enumerate(self.uses):
            for m in (*use.reads, *use.operands, use.writes):
                found[m] = t
        return found


# group, setting -> score or a bound of it, whether it is exact
Score = Callable[[int, Setting], tuple[float, bool]]
Compute = Callable[[int, Setting], None]  # makes a score exact


@dataclass(frozen=True)
class Placement:
    """Where each feature map lies, and what that costs the network.

    settings: of each group.  addresses: first byte of each map on chip.  score: of all groups.
    gap: share of the score above the least that is possible; 0 if nothing can be better.
    """

    places: dict[int, int]
    settings: tuple[Setting, ...]
    addresses: dict[int, int]
    score: float
    gap: float


def assign(problem: Problem, score: Score, compute: Compute) -> Placement:
    """The best places.  Raises NoRoomError if a group fits with none.

    Where a path's maps find no addresses, at least one of them lies in DRAM in any placement: each
    of these ways is looked at, best first.  After MAX_BRANCHES of them the map that takes most room
    for longest goes, without a choice.
    """
    settings, total, least = _best_path(problem, problem.pinned, score, compute)
    waiting = [(total, 0, problem.pinned, settings)]
    seen = {problem.pinned}
    while True:
        total, _, pinned, settings = heappop(waiting)
        places = _places(problem, settings)
        addresses = _addresses(problem, places)
        if addresses is not None:
            return Placement(places, settings, addresses, total, (total - least) / least if least else 0.0)
        on_chip = sorted(
            (m for m, at in places.items() if at != DRAM), key=lambda m: (-problem.sizes[m] * _life(problem, m), m)
        )
        if len(seen) > MAX_BRANCHES:
            waiting = []
            on_chip = on_chip[:1]
        for m in on_chip:
            further = pinned | {m}
            if further not in seen:
                seen.add(further)
                settings, total, _ = _best_path(problem, further, score, compute)
                heappush(waiting, (total, len(seen), further, settings))


def _life(problem: Problem, m: int) -> int:
    """Groups during which a map lives."""
    return problem.dies[m] + 1 - _born(problem, m)


def _born(problem: Problem, m: int) -> int:
    return next(t for t, use in enumerate(problem.uses) if use.writes == m)


def _best_path(
    problem: Problem, pinned: frozenset[int], score: Score, compute: Compute
) -> tuple[tuple[Setting, ...], float, float]:
    """The settings of least score under capacity, their exact score, and a bound that no settings undercut."""
    enough = 0.0 if len(problem.uses) <= SMALL else TOLERANCE
    best: tuple[tuple[Setting, ...], float] | None = None
    paths = _Paths(problem, pinned)
    while True:
        settings, bound = paths.shortest(score)
        for t, setting in enumerate(settings):
            compute(t, setting)
        # added up one by one, as ``shortest`` does: ``sum`` rounds otherwise from Python 3.12 on
        total = 0.0
        for t, setting in enumerate(settings):
            total += score(t, setting)[0]
        if best is None or total < best[1]:
            best = settings, total
        if best[1] <= bound * (1 + enough):
            return *best, bound


State = tuple[tuple[int, int], ...]  # (map, place) of the living maps that are on chip
# score and bytes so far, and the last setting behind the path up to it
_Path = tuple[float, int, "tuple[Setting, _Path] | None"]
_Step = tuple[Setting, State, int]  # a group's setting, what is on chip behind it, bytes of maps that it moves


class _Paths:
    """The ways through a network with some maps pinned to DRAM, each step of them laid out once."""

    def __init__(self, problem: Problem, pinned: frozenset[int]) -> None:
        self._problem = problem
        self._pinned = pinned
        self._steps: list[dict[State, list[_Step]]] = [{} for _ in problem.uses]

    def shortest(self, score: Score) -> tuple[tuple[Setting, ...], float]:
        """The path of least score, bounds counted as scores.

        Of equal ones that which moves fewest bytes.
        """
        layer: dict[State, _Path] = {(): (0.0, 0, None)}
        for t in range(len(self._steps)):
            following: dict[State, _Path] = {}
            scores: dict[Setting, float] = {}
            for state, path in layer.items():
                so_far, moved, _ = path
                for setting, kept, n_bytes in self._from(t, state):
                    if setting not in scores:
                        scores[setting] = score(t, setting)[0]
                    total = so_far + scores[setting]
                    if total == inf:
                        continue
                    before = following.get(kept)
                    if before is None or (total, moved + n_bytes) < before[:2]:
                        following[kept] = total, moved + n_bytes, (setting, path)
            if len(following) > BEAM:
                following = dict(sorted(following.items(), key=lambda item: item[1][:2])[:BEAM])
            layer = following
            if not layer:  # no setting fits: the group's own error says why
                raise NoRoomError(t, self._from(t, ())[0][0])
        best = min(layer.values(), key=lambda value: value[:2])
        return _settings(best), best[0]

    def _from(self, t: int, state: State) -> "list[_Step]":
        """What a group may do with the maps that are on chip before it."""
        steps = self._steps[t]
        if state not in steps:
            problem = self._problem
            use = problem.uses[t]
            steps[state] = [
                (
                    setting,
                    tuple(pair for pair in reached if problem.dies[pair[0]] > t),
                    _moved(problem, use, setting),
                )
                for setting, reached in _choices(problem, self._pinned, use, state)
            ]
        return steps[state]


def _settings(path: _Path) -> tuple[Setting, ...]:
    """The settings along a path."""
    found = []
    while path[2] is not None:
        setting, path = path[2]
        found.append(setting)
    return tuple(reversed(found))


def _moved(problem: Problem, use: Use, setting: Setting) -> int:
    """Bytes of maps that a group moves at least."""
    places = (*setting.reads, *setting.operands, setting.writes)
    maps = (*use.reads, *use.operands, use.writes)
    return sum(problem.sizes[m] for m, at in zip(maps, places, strict=True) if at == DRAM)


class NoRoomError(Exception):
    """A group fits in no setting.  group, setting: with as little as possible on chip."""

    def __init__(self, group: int, setting: Setting) -> None:
        super().__init__(group, setting)
        self.group = group
        self.setting = setting


def _choices(
    problem: Problem,
    pinned: frozenset[int],
    use: Use,
    state: State,
) -> list[tuple[Setting, State]]:
    """Settings of a group for the maps that are on chip before it, and what is on chip then.

    In DRAM first.
    """
    at = dict(state)
    reads = tuple(at.get(m, DRAM) for m in use.reads)
    operands = tuple(at.get(m, DRAM) for m in use.operands)
    memories = range(1, len(problem.capacities) + 1)
    held = {place for place in reads if place != DRAM}
    if len(held) > 1:
        return []
    found = []
    for input_memory in held or (set(memories) if len(problem.capacities) > 1 else {1}):
        outputs = [m for m in memories if m != input_memory] or [1]
        for writes in (DRAM, *([] if use.writes in pinned else outputs)):
            reached = state if writes == DRAM else tuple(sorted((*state, (use.writes, writes))))
            rooms = tuple(
                capacity - sum(problem.sizes[m] for m, place in reached if place == memory)
                for memory, capacity in zip(memories, problem.capacities, strict=True)
            )
            if min(rooms) >= 0:
                found.append((Setting(reads, operands, writes, rooms, input_memory), reached))
    return found


def _places(problem: Problem, settings: Sequence[Setting]) -> dict[int, int]:
    places = dict.fromkeys(problem.pinned, DRAM)
    return places | {use.writes: setting.writes for use, setting in zip(problem.uses, settings, strict=True)}


def _addresses(problem: Problem, places: dict[int, int]) -> dict[int, int] | None:
    """The first byte of each map on chip, memory by memory; None if some map finds no room."""
    dies = problem.dies
    found: dict[int, int] = {}
    for memory, capacity in enumerate(problem.capacities, start=1):
        mine = [
            Resident(str(m), problem.sizes[m], _born(problem, m), dies[m]) for m, at in places.items() if at == memory
        ]
        addresses = place(mine, capacity)
        if addresses is None:
            return None
        found |= {int(name): address for name, address in addresses.items()}
    return found
