"""The plan of each group in the places that its maps may have, each computed once and remembered."""

from collections.abc import Mapping, Sequence

import numpy as np

from accelsim.arrays import Ints, round_up
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.memo import Memo
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.vector import vector_plan
from accelsim.simulator.network.groups import Group
from accelsim.simulator.network.places import DRAM, Setting
from accelsim.simulator.time.plan import LayerPlan, Planner
from accelsim.workload import LayerWork, Surroundings, TableWorks, WeightsCome

INFINITE = float("inf")
PLANNED_WEIGHTS = 1 << 26  # of layers whose planners are kept: two bytes for each


class GroupPlans:
    """Plans of a network's groups on one machine.

    heads: the number of each group's head among the works.
    """

    def __init__(self, works: Sequence[LayerWork], heads: Sequence[int], machine: Machine) -> None:
        self.works = works
        self.heads = heads
        self.machine = machine
        self.dense_macs: dict[int, int] = {}  # of each group, known when it was planned
        self._planners: Memo[Planner] = Memo(PLANNED_WEIGHTS)
        self._lean = isinstance(works, TableWorks) and works.large
        self._plans: dict[tuple[int, Surroundings], LayerPlan | InputError] = {}
        self._row_planners: Memo[Planner] = Memo(PLANNED_WEIGHTS)
        self._of_rows: dict[tuple[object, ...], LayerPlan | InputError] = {}
        self._of_group: dict[int, list[tuple[Surroundings, LayerPlan]]] = {}  # that fit, in order
        self._known: dict[tuple[int, Surroundings], list[Surroundings]] = {}

    def head(self, t: int) -> LayerWork:
        """The layer whose outputs the others of a group take, with its weights."""
        return self.works[self.heads[t]]

    def plan(self, t: int, around: Surroundings) -> LayerPlan:
        """The plan of a group in some surroundings.  Raises InputError if it does not fit them."""
        key = (t, around)
        if key not in self._plans:
            try:
                plan = self._plans[key] = self._kept(self._planner(t)(around))
                self._of_group.setdefault(t, []).append((around, plan))
            except InputError as fault:
                self._plans[key] = fault
            self._known.setdefault((t, around.roomless), []).append(around)
        found = self._plans[key]
        if isinstance(found, InputError):
            raise found
        return found

    def _planner(self, t: int) -> Planner:
        """What plans a group in any surroundings; made anew where it was given up for others."""
        work = self.head(t)
        self.dense_macs[t] = work.dense_macs
        weights = 0 if work.weights is None else work.weights.size

        def make() -> Planner:
            if work.weights is None:
                return lambda around: vector_plan(work.amid(around), self.machine)
            return self.machine.planner(work)

        return self._planners.get(t, make, 1 + weights)

    def _kept(self, plan: LayerPlan) -> LayerPlan:
        """A plan as it is remembered: of a large table with its steps, so that it holds nothing of the weights."""
        return plan.with_steps() if self._lean else plan

    def of_rows(self, t: int, rows: tuple[int, int], around: Surroundings) -> LayerPlan:
        """The plan of some rows of a group's output, first and end.

        Raises InputError as ``plan``.
        """
        work = self.head(t).on_rows(*rows)
        shape = (t, work.height, work.out_height, work.padding)
        key = (*shape, around)
        if key not in self._of_rows:
            try:
                weights = 0 if work.weights is None else work.weights.size
                planner = self._row_planners.get(shape, lambda: self.machine.planner(work), 1 + weights)
                self._of_rows[key] = self._kept(planner(around))
            except InputError as fault:
                self._of_rows[key] = fault
        found = self._of_rows[key]
        if isinstance(found, InputError):
            raise found
        return found

    def least(self, t: int, around: Surroundings) -> float:
        """A bound of a group's score without a search: the most that it scored where no less was given to it.

        0 if it never had.  around: with its room.
        """
        scores = [
            self._without_post(found.score, there.post_slots - around.post_slots)
            for there, found in self._of_group.get(t, ())
            if _favours(there, around)
        ]
        return max(scores, default=0.0)

    def _without_post(self, score: float, slots: int) -> float:
        """What a score is at least without so many slots of the vector lanes: these take that many cycles at most."""
        if slots <= 0 or self.machine.objective == "dram":
            return score
        return score - slots / self.machine.vector_lanes if self.machine.objective == "cycles" else 0.0

    def nearest(self, t: int, around: Surroundings) -> tuple[float, LayerPlan | None]:
        """A bound of a group's score, and its plan where that is known without a search.

        What was planned for more room bounds the score; and is the plan itself if it needs no more
        than is there.
        """
        bound = 0.0
        for other in self._known.get((t, around.roomless), ()):
            found = self._plans[t, other]
            if (
                other.room is None
                or around.room is None
                or any(theirs < ours for theirs, ours in zip(other.room, around.room, strict=True))
            ):
                continue
            if isinstance(found, InputError):
                return INFINITE, None
            bound = max(bound, found.score)
            if _fits(found, around):
                return found.score, found
        return bound, None

    def score(self, t: int, around: Surroundings) -> tuple[float, bool]:
        """A bound of a group's score, and whether it is the score itself."""
        if (t, around) in self._plans:
            found = self._plans[t, around]
            return (INFINITE, True) if isinstance(found, InputError) else (found.score, True)
        bound, found_plan = self.nearest(t, around)
        return bound, found_plan is not None or bound == INFINITE

    def settled(self, t: int, around: Surroundings) -> LayerPlan:
        """The plan of a group, searched for only where no other plan is it."""
        if (t, around) not in self._plans:
            _, found = self.nearest(t, around)
            if found is not None:
                return found
        return self.plan(t, around)


def _favours(there: Surroundings, around: Surroundings) -> bool:
    """Whether a group has as much room there at least, and moves no more.

    Vector lanes apart.  Scores without a bound on the room are of other DMAs, so they say nothing.
    """
    if there.room is None or around.room is None or there.weights != around.weights:
        return False
    moves = (there.input_share, there.output_share * there.stores, there.operands, there.line_bytes)
    most = (around.input_share, around.output_share * around.stores, around.operands, around.line_bytes)
    if any(ours > theirs for ours, theirs in zip(moves, most, strict=True)):
        return False
    if there.shared:
        return there.room[0] >= (around.room[0] if around.shared else sum(around.room))
    return all(room >= wanted for room, wanted in zip(there.room, around.room, strict=True))


def _fits(plan: LayerPlan, around: Surroundings) -> bool:
    """Whether a plan needs no more than the room that there is."""
    assert around.room is not None
    if around.shared:
        return plan.tile_bytes <= around.room[0]
    return plan.needs["input"] <= around.room[0] and plan.needs["output"] <= around.room[1]


def surroundings(
    group: Group,
    works: Sequence[LayerWork] | Mapping[int, LayerWork],
    machine: Machine,
    setting: Setting | None,
    read_bytes: Sequence[int],
    weights: WeightsCome = "loaded",
) -> Surroundings:
    """What a group's head finds around it.

    works: the group's layers, by number.  setting: where its maps are; None: all in DRAM, tiles in
    their buffers.  read_bytes: of each map that the head reads.
    """
    head = works[group.head]
    last = works[group.last]
    in_dram = [setting is None or at == DRAM for at in (setting.reads if setting else group.reads)]
    all_bytes = sum(read_bytes)
    from_dram = sum(size for size, there in zip(read_bytes, in_dram, strict=True) if there)
    loaded = len(group.operands) if setting is None else setting.operands.count(DRAM)
    shared = setting is not None and len(setting.rooms) == 1
    return Surroundings(
        input_share=from_dram / all_bytes if all_bytes else 1.0,
        stores=setting is None or setting.writes == DRAM,
        output_share=last.outputs / head.outputs if head.outputs else 1.0,
        operands=loaded,
        post_slots=sum(post_slots(works[rider]) for rider in group.riders),
        line_bytes=sum(line_bytes(works[rider], machine) for rider in group.riders if works[rider].kind == "pool"),
        room=None if setting is None else _room(setting),
        shared=shared,
        weights=weights,
    )


def _room(setting: Setting) -> tuple[int, int]:
    """Bytes for tiles of inputs and of outputs."""
    if len(setting.rooms) == 1:
        return setting.rooms[0], setting.rooms[0]
    return setting.rooms[setting.input_memory - 1], setting.rooms[2 - setting.input_memory]


def post_slots(work: LayerWork) -> int:
    """Operands that a riding layer takes on the vector lanes.

    Of a pooling its windows, of an addition all but one.
    """
    if work.kind == "add":
        return work.outputs * (work.inputs - 1)
    return work.outputs * work.kernel[0] * work.kernel[1]


def line_bytes(work: LayerWork, machine: Machine) -> int:
    """Bytes that a riding pooling holds: lines and columns of its input that windows share.

    Of one image.

    A window as large as the image needs one sum a channel.
    """
    bits = machine.arithmetic
    if work.out_height == work.out_width == 1:
        return -(-work.in_channels * bits.accumulator_bits // 8)
    rows = max(0, work.kernel[0] - work.stride[0]) * work.width
    cols = max(0, work.kernel[1] - work.stride[1]) * work.height
    return -(-(rows + cols) * work.in_channels * bits.activation_bits // 8)


def part_of(plan: LayerPlan, around: Surroundings, machine: Machine) -> tuple[Transfer, Ints]:
    """The operands that a group loads for riding additions, and the cycles of its vector lanes.

    (steps,) each.
    """
    whole = plan.whole.outputs
    done = whole.n_bytes.cumsum()
    slots = around.post_slots * done / max(1, int(done[-1]))
    cycles = np.diff(round_up(slots / machine.vector_lanes), prepend=0)
    return whole.part(around.operands), cycles
