"""Where each feature map of a network lies on a machine.

The problem of ``places``, in scores of the network's groups.

A group is scored in a setting only where the search asks for it (``plans``); until then by a bound,
the score with all maps on chip that may be there and the whole memory for its tiles.
"""

from dataclasses import dataclass
from functools import cached_property

from accelsim.errors import InputError
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.groups import Group
from accelsim.simulator.network.places import DRAM, NoRoomError, Placement, Problem, Setting, Use, assign
from accelsim.simulator.network.plans import GroupPlans, surroundings
from accelsim.workload import LayerWork, Surroundings, WeightsCome


@dataclass(frozen=True)
class NetworkMaps:
    """What the groups of a network and their maps are.

    by_name: the group that gives a layer's outputs.  weights: how those of all groups come.
    """

    shapes: tuple[LayerWork, ...]
    groups: list[Group]
    machine: Machine
    sizes: list[int]
    by_name: dict[str, int]
    weights: WeightsCome = "loaded"

    @cached_property
    def last_reader(self) -> dict[int, int]:
        """The last group that reads each group's output."""
        found: dict[int, int] = {}
        for t, group in enumerate(self.groups):
            found |= {self.by_name[name]: t for name in (*group.reads, *group.operands) if name in self.by_name}
        return found

    def living(self, placement: Placement, t: int) -> set[int]:
        """Whole maps that are on chip while a group runs."""
        last = self.last_reader
        return {m for m, at in placement.places.items() if at != DRAM and m <= t <= last.get(m, m)}

    def read_bytes(self, t: int) -> list[int]:
        """Bytes of each map that a group's head reads."""
        head = self.shapes[self.groups[t].head]
        own = head.batch * head.height * head.width * head.in_channels
        return [
            self.sizes[self.by_name[source]] if source in self.by_name else max(1, own)
            for source in self.groups[t].reads
        ]

    def around(self, t: int, setting: Setting | None) -> Surroundings:
        """What a group's head finds around it."""
        read_bytes = self.read_bytes(t)
        return surroundings(self.groups[t], self.shapes, self.machine, setting, read_bytes, self.weights)


def place(context: NetworkMaps, plans: GroupPlans) -> Placement:
    """Where the maps lie.  Raises InputError if a group fits nowhere."""
    groups = context.groups
    outside = len(groups)  # the map that every group reads whose inputs come from outside

    def number(source: str) -> int:
        return context.by_name.get(source, outside)

    uses = tuple(
        Use(tuple(map(number, group.reads)), tuple(map(number, group.operands)), t) for t, group in enumerate(groups)
    )
    read = {m for use in uses for m in (*use.reads, *use.operands)}
    pinned = frozenset({outside} | {t for t in range(len(groups)) if t not in read})
    buffers = context.machine.buffers
    capacities = tuple(int(buffers.capacity_bytes(name)) for name in ("input", "output"))
    if buffers.keeps == "shared":
        capacities = (buffers.map_bytes,)
    problem = Problem(uses, (*context.sizes, 0), pinned, capacities)
    roomy = _RoomyScores(context, plans, problem)
    try:
        return assign(problem, roomy.score, roomy.compute)
    except NoRoomError as short:
        plans.plan(short.group, context.around(short.group, short.setting))
        raise InputError(
            f"{context.machine.name}: layer {context.shapes[groups[short.group].head].name} finds no room on chip"
        ) from None


class _RoomyScores:
    """Scores of groups in settings, lazily: at first that of the best setting there could be."""

    def __init__(self, context: NetworkMaps, plans: GroupPlans, problem: Problem) -> None:
        self.context = context
        self.plans = plans
        self.problem = problem
        self._arounds: dict[tuple[int, Setting], Surroundings] = {}
        self._least: dict[int, float] = {}

    def around(self, t: int, setting: Setting) -> Surroundings:
        key = (t, setting)
        if key not in self._arounds:
            self._arounds[key] = self.context.around(t, setting)
        return self._arounds[key]

    def score(self, t: int, setting: Setting) -> tuple[float, bool]:
        """The score of a group or a bound of it."""
        bound, exact = self.plans.score(t, self.around(t, setting))
        return (bound, True) if exact else (max(bound, self.least(t)), False)

    def least(self, t: int) -> float:
        """What a group scores with all maps on chip that may be there, and the whole memory for its tiles."""
        if t not in self._least:
            use = self.problem.uses[t]
            pinned = self.problem.pinned
            most = max(self.problem.capacities)
            best = Setting(
                reads=tuple(self._best(m) for m in use.reads),
                operands=tuple(self._best(m) for m in use.operands),
                writes=DRAM if use.writes in pinned else self._best(use.writes),
                rooms=(most,) * len(self.problem.capacities),
                input_memory=1,
            )
            self._least[t] = self.plans.score(t, self.around(t, best))[0]
            try:
                self._least[t] = self.plans.plan(t, self.around(t, best)).score
            except InputError:
                self._least[t] = float("inf")
        return self._least[t]

    def _best(self, m: int) -> int:
        """On chip, if a map may and can be there."""
        fits = self.problem.sizes[m] <= max(self.problem.capacities)
        return 1 if fits and m not in self.problem.pinned else DRAM

    def compute(self, t: int, setting: Setting) -> None:
        """Make a score exact."""
        try:
            self.plans.plan(t, self.around(t, setting))
        except InputError:
            return  # remembered: its score is infinite
