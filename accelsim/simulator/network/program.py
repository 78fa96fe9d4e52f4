"""A network on a machine: groups, places, plans, and one program of them; then what each of its layers took.

Levels, each with all of those before it:

    fused       what rides on a layer's outputs takes no pass of its own; groups follow one another without overlap,
                every map goes through DRAM;
    resident    maps stay on chip where that scores lower, as the machine's ``buffers.activations`` lets them; all
                groups are one program (``time.program``).  Of that program and the one without overlap the faster runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from accelsim.arrays import Ints
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.batches import all_passes, in_passes, of_one_pass
from accelsim.simulator.network.groups import Group, groups_of
from accelsim.simulator.network.places import DRAM, NoRoomError, Placement, Problem, Setting, Use, assign
from accelsim.simulator.network.plans import GroupPlans, part_of, surroundings
from accelsim.simulator.network.split import split_poolings
from accelsim.simulator.time.bottleneck import shares
from accelsim.simulator.time.event import event_times
from accelsim.simulator.time.plan import LayerPlan
from accelsim.simulator.time.program import WEIGHT, Part, Program, Times, program_of, program_times
from accelsim.simulator.time.schedule import Schedule, untransformed
from accelsim.workload import LayerWork, Surroundings, without_weights

Level = Literal["layers", "fused", "resident"]
LEVELS: tuple[Level, ...] = ("layers", "fused", "resident")
OCCUPANCY = {  # columns of what lies in the memories of feature maps while a layer runs, and their names for people
    "chip_input_bytes": "maps read",
    "chip_output_bytes": "map written",
    "chip_waiting_bytes": "maps that wait",
    "tile_bytes": "tiles",
}
TIMERS: dict[str, Callable[[Program], Times]] = {"event": event_times, "fast": program_times}


@dataclass(frozen=True)
class Planned:
    """A network as a machine will run it.

    layers: the network's.  shapes: these, poolings in parts where they ride so (``split``); origin: the number of the
    layer that each one is of.  groups, arounds, plans, parts: one each a group.  placement: of the maps; None where all
    lie in DRAM.  sizes: bytes of each group's output on chip.  occupancy: of each group the bytes of ``OCCUPANCY``.
    passes: how often all of this is done, each time on a part of the batch (``batches``); weights_stay: whether weights
    stay over all passes.
    """

    layers: tuple[LayerWork, ...]
    origin: tuple[int, ...]
    shapes: tuple[LayerWork, ...]
    groups: list[Group]
    arounds: list[Surroundings]
    plans: list[LayerPlan]
    parts: list[Part]
    placement: Placement | None
    sizes: list[int]
    occupancy: list[dict[str, str | int]]
    dense_macs: list[int]
    passes: int = 1
    weights_stay: bool = False

    @property
    def all_parts(self) -> list[Part]:
        """The parts of all passes."""
        return in_passes(self.parts, self.passes, self.weights_stay)


@dataclass(frozen=True)
class Timed:
    """What one layer took: as a group's head, or riding on one."""

    schedule: Schedule  # what it moves and does
    dense_macs: int
    cycles: int
    parts: dict[str, int | str]  # of ``bottleneck``
    dma_cycles: int
    roofline_cycles: int
    places: dict[str, str | int]  # where input, output and weights lie, and the bytes of ``OCCUPANCY``; none by itself


def plan_network(works: Sequence[LayerWork], machine: Machine, level: Level, passes: int = 1) -> Planned:
    """Groups, places and plans, in so many passes.  Raises InputError if a layer does not fit the machine."""
    works = of_one_pass(works, passes)
    layers = tuple(without_weights(works))
    shapes, origin = split_poolings(layers, machine.post)
    groups = groups_of(shapes, machine.post)
    plans = GroupPlans(works, [origin[group.head] for group in groups], machine)
    sizes = [_map_bytes(shapes[group.last], machine) for group in groups]
    by_name = {shapes[group.last].name: t for t, group in enumerate(groups)}
    context = _Context(shapes, groups, machine, sizes, by_name)
    placement = None
    if level == "resident" and machine.buffers.keeps != "separate":
        placement = _place(context, plans)
    settings = [None] * len(groups) if placement is None else placement.settings
    arounds = [context.around(t, setting) for t, setting in enumerate(settings)]
    chosen = [plans.settled(t, around) for t, around in enumerate(arounds)]
    parts = _parts(context, placement, arounds, chosen)
    return Planned(
        layers=layers,
        origin=origin,
        shapes=shapes,
        groups=groups,
        arounds=arounds,
        plans=chosen,
        parts=parts,
        placement=placement,
        sizes=sizes,
        passes=passes,
        weights_stay=passes > 1 and _all_weights_fit(chosen, machine),
        dense_macs=[plans.dense_macs[t] for t in range(len(groups))],
        occupancy=[_occupancy(context, placement, chosen[t], t) for t in range(len(groups))],
    )


def _all_weights_fit(plans: Sequence[LayerPlan], machine: Machine) -> bool:
    """Whether all layers' weights lie in the weight buffer together, each layer's at once."""
    if getattr(machine.buffers, "shared", False):
        return False
    whole = all(plan.weights_whole for plan in plans)
    needed = sum(plan.needs["weight"] for plan in plans)
    return whole and needed <= machine.buffers.capacity_bytes("weight")


@dataclass(frozen=True)
class _Context:
    """What the groups of a network and their maps are.  by_name: the group that gives a layer's outputs."""

    shapes: tuple[LayerWork, ...]
    groups: list[Group]
    machine: Machine
    sizes: list[int]
    by_name: dict[str, int]

    @cached_property
    def last_reader(self) -> dict[int, int]:
        """The last group that reads each group's output."""
        found: dict[int, int] = {}
        for t, group in enumerate(self.groups):
            found |= {self.by_name[name]: t for name in (*group.reads, *group.operands) if name in self.by_name}
        return found

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
        return surroundings(self.groups[t], self.shapes, self.machine, setting, self.read_bytes(t))


def _map_bytes(work: LayerWork, machine: Machine) -> int:
    """Bytes of a layer's output on chip, where activations are stored densely."""
    return -(-work.outputs * machine.arithmetic.activation_bits // 8)


def _place(context: _Context, plans: GroupPlans) -> Placement:
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
        capacities = (sum(capacities),)
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

    def __init__(self, context: _Context, plans: GroupPlans, problem: Problem) -> None:
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
            use, pinned = self.problem.uses[t], self.problem.pinned
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


def _parts(
    context: _Context, placement: Placement | None, arounds: Sequence[Surroundings], plans: Sequence[LayerPlan]
) -> list[Part]:
    """The groups as parts of one program."""
    parts = []
    for t, (group, around, plan) in enumerate(zip(context.groups, arounds, plans, strict=True)):
        operands, post = part_of(plan, around, context.machine)
        made_by = [context.by_name[name] for name in (*group.reads, *group.operands) if name in context.by_name]
        on_chip = [s for s in made_by if placement is not None and placement.places[s] != DRAM]
        parts.append(
            Part(
                schedule=plan.schedule,
                finishes=plan.whole.outputs.n_bytes > 0,
                operands=operands,
                post_cycles=post,
                on_chip=tuple(sorted(set(on_chip))),
                in_dram=tuple(sorted(set(made_by) - set(on_chip))),
                beside=t > 0 and _beside(context, placement, plans, t),
                weights_beside=t > 0 and _weights_beside(context, plans, t),
            )
        )
    return parts


def _beside(context: _Context, placement: Placement | None, plans: Sequence[LayerPlan], t: int) -> bool:
    """Whether a group's tiles find room beside those of the group before it, and all maps that either has on chip."""
    before, after = plans[t - 1].needs, plans[t].needs
    buffers = context.machine.buffers
    both = {name: before.get(name, 0) + after.get(name, 0) for name in {*before, *after} - {"weight"}}
    if "transformed" in both and both["transformed"] > buffers.capacity_bytes("transformed"):
        return False
    if placement is None or len(placement.settings[t].rooms) > 1:
        rooms = _rooms_of_two(placement, t)
        capacity = {name: int(buffers.capacity_bytes(name)) for name in ("input", "output")}
        if rooms is not None:  # the memories may have changed roles: all tiles must find room in either
            return sum(both.values()) <= min(rooms)
        return all(both[name] <= capacity[name] for name in capacity)
    living = _living(context, placement, t - 1) | _living(context, placement, t)
    capacity_bytes = int(buffers.capacity_bytes("input") + buffers.capacity_bytes("output"))
    maps = sum(context.sizes[m] for m in living)
    return both["input"] + both["output"] + maps <= capacity_bytes


def _rooms_of_two(placement: Placement | None, t: int) -> tuple[int, ...] | None:
    """The smaller free bytes of each of two memories during two groups; None where nothing is placed."""
    if placement is None:
        return None
    pairs = zip(placement.settings[t - 1].rooms, placement.settings[t].rooms, strict=True)
    return tuple(min(pair) for pair in pairs)


def _living(context: _Context, placement: Placement, t: int) -> set[int]:
    """Maps that are on chip while a group runs."""
    last = context.last_reader
    return {m for m, at in placement.places.items() if at != DRAM and m <= t <= last.get(m, m)}


def _occupancy(context: _Context, placement: Placement | None, plan: LayerPlan, t: int) -> dict[str, str | int]:
    """What is in the memories of maps while a group runs, in bytes."""
    group = context.groups[t]
    living = set() if placement is None else _living(context, placement, t)
    read = {context.by_name.get(name, len(context.groups)) for name in (*group.reads, *group.operands)} & living
    written = {t} & living
    return {
        "chip_input_bytes": sum(context.sizes[m] for m in read),
        "chip_output_bytes": sum(context.sizes[m] for m in written),
        "chip_waiting_bytes": sum(context.sizes[m] for m in living - read - written),
        "tile_bytes": plan.needs["input"] + plan.needs["output"],
    }


def _weights_beside(context: _Context, plans: Sequence[LayerPlan], t: int) -> bool:
    """Whether a group's first weights find room while the group before it works on its last ones."""
    buffers = context.machine.buffers
    if getattr(buffers, "shared", False):
        return False
    before, after = plans[t - 1], plans[t]
    if not before.weights_whole and not after.weights_whole:
        return bool(before.needs["weight"] + after.needs["weight"] <= 2 * buffers.capacity_bytes("weight"))
    return bool(before.needs["weight"] + after.needs["weight"] <= buffers.capacity_bytes("weight"))


@dataclass(frozen=True)
class _Run:
    """A network in time: of each part its cycles, those without a DRAM, and those of DMA and output unit: (parts,)."""

    cycles: Ints
    without_dram: Ints
    dma: Ints
    output: Ints

    def of_group(self, t: int, groups: int) -> tuple[int, int, int, int]:
        """The figures of one group, over all passes."""
        every = (self.cycles, self.without_dram, self.dma, self.output)
        cycles, without_dram, dma, output = (int(values[t::groups].sum()) for values in every)
        return cycles, without_dram, dma, output


def time_network(planned: Planned, machine: Machine, level: Level, engine: str) -> list[Timed]:
    """What each layer took, in the layers' order."""
    timer = TIMERS[engine]
    whole = overlapped(planned, machine, level)
    run = _together(whole, timer) if whole is not None else _one_by_one(planned, machine, timer)
    rows: dict[int, Timed] = {}
    for t, group in enumerate(planned.groups):
        rows[group.head] = _timed(planned, t, run, machine)
        for rider in group.riders:
            rows[rider] = _riding(planned, t, rider, machine)
    found: dict[int, Timed] = {}
    for i, layer in enumerate(planned.origin):
        found[layer] = _both(found[layer], rows[i]) if layer in found else rows[i]
    return [found[i] for i in range(len(planned.layers))]


def _both(one: Timed, other: Timed) -> Timed:
    """Two parts of a layer that rides, as one row."""

    def together(a: Transfer, b: Transfer) -> Transfer:
        return Transfer(*(np.append(x, y) for x, y in ((a.n_bytes, b.n_bytes), (a.pieces, b.pieces), (a.rows, b.rows))))

    first, second = one.schedule, other.schedule
    schedule = replace(
        first,
        mode=f"{first.mode}, {second.mode.removeprefix('on ')}",
        inputs=together(first.inputs, second.inputs),
        actions={name: count + second.actions.get(name, 0.0) for name, count in first.actions.items()},
    )
    out = {place["output_place"] for place in (one.places, other.places)}
    places = other.places | {"output_place": out.pop() if len(out) == 1 else "both"}
    return replace(one, schedule=schedule, places=places)


def overlapped(planned: Planned, machine: Machine, level: Level) -> Program | None:
    """The one program of all parts; None where they run one by one, as the level says or because that is faster."""
    if level == "fused":
        return None
    parts = planned.all_parts
    whole = program_of(parts, machine)
    end = program_times(whole).end
    lanes = np.add.reduceat(whole.compute, whole.first)
    if end <= int(np.maximum(lanes, whole.dma_cycles).sum()):  # which one by one they cannot undercut
        return whole
    one_by_one = sum(program_times(one_part(part, machine)).end for part in parts)
    return whole if end <= one_by_one else None


def _together(whole: Program, timer: Callable[[Program], Times]) -> _Run:
    return _Run(
        cycles=timer(whole).spans,
        without_dram=program_times(_without_dram(whole)).spans,
        dma=whole.dma_cycles,
        output=np.add.reduceat(whole.output, whole.first),
    )


def _one_by_one(planned: Planned, machine: Machine, timer: Callable[[Program], Times]) -> _Run:
    programs = [one_part(part, machine) for part in planned.all_parts]
    return _Run(
        cycles=np.array([timer(p).end for p in programs]),
        without_dram=np.array([program_times(_without_dram(p)).end for p in programs]),
        dma=np.array([p.dma_cycles.sum() for p in programs]),
        output=np.array([p.output.sum() for p in programs]),
    )


def one_part(part: Part, machine: Machine) -> Program:
    """One part's program, when everything that it reads is there."""
    return program_of([replace(part, on_chip=(), in_dram=(), beside=False, weights_beside=False)], machine)


def _without_dram(p: Program) -> Program:
    """A program whose DMA takes no time, but for weights that are decoded or transformed as they arrive."""
    loads = np.zeros_like(p.loads)
    loads[WEIGHT] = p.arrival
    return replace(p, loads=loads, store=np.zeros_like(p.store))


def _timed(planned: Planned, t: int, run: _Run, machine: Machine) -> Timed:
    """A group's head."""
    schedule = all_passes(planned.plans[t].schedule, planned.passes, planned.weights_stay)
    compute = int(schedule.compute_cycles.sum())
    cycles, without_dram, dma, output = run.of_group(t, len(planned.groups))
    roofline = max(compute, dma, int(schedule.transform_cycles.sum()), output)
    return Timed(
        schedule=schedule,
        dense_macs=planned.passes * planned.dense_macs[t],
        cycles=cycles,
        parts=shares(schedule, min(cycles, max(compute, without_dram)), cycles, machine.lanes),
        dma_cycles=dma,
        roofline_cycles=min(cycles, roofline),
        places=_places_of(planned, t) | planned.occupancy[t],
    )


def _places_of(planned: Planned, t: int) -> dict[str, str | int]:
    """Where a group's input, output and weights lie, in words."""
    around = planned.arounds[t]
    plan = planned.plans[t]
    inputs = "dram" if around.input_share == 1 else "chip" if around.input_share == 0 else "both"
    weights = "" if not plan.schedule.weights.n_bytes.any() else "whole" if plan.weights_whole else "tiles"
    return {"input_place": inputs, "output_place": "dram" if around.stores else "chip", "weight_place": weights}


def _riding(planned: Planned, t: int, rider: int, machine: Machine) -> Timed:
    """A layer that rides on a group's outputs: what it reads and writes besides, and no cycles of its own."""
    work = planned.shapes[rider]
    around = planned.arounds[t]
    bits = machine.arithmetic.activation_bits
    loaded = Transfer(*(np.zeros(1, np.int64) for _ in range(3)))
    actions: dict[str, float] = {}
    if work.kind == "add":
        operands = planned.parts[t].operands
        loaded = Transfer(*(np.array([v.sum()]) for v in (operands.n_bytes, operands.pieces, operands.rows)))
        actions["input_write"] = 8.0 * int(loaded.n_bytes[0])
        actions["input_read"] = float(work.outputs * (work.inputs - 1) * bits)
    else:
        actions["output_read"] = float(work.outputs * (work.kernel[0] * work.kernel[1] + around.stores) * bits)
        actions["output_write"] = float(work.outputs * bits)
    none = np.zeros(1, np.int64)
    nothing = Transfer(none, none, none)
    schedule = untransformed(
        mode=f"on {planned.shapes[planned.groups[t].head].name}",
        inputs=loaded,
        weights=nothing,
        compute_cycles=none,
        outputs=nothing,
        effectual_macs=0,
        useful_slots=0.0,
        waiting_slots=0.0,
        actions=actions,
    )
    places: dict[str, str | int] = {
        "input_place": _operand_place(planned, t) if work.kind == "add" else "path",
        "output_place": "dram" if around.stores else "chip",
        "weight_place": "",
    }
    return Timed(
        schedule=all_passes(schedule, planned.passes, weights_stay=False),
        dense_macs=0,
        cycles=0,
        parts=shares(schedule, 0, 0, machine.lanes),
        dma_cycles=0,
        roofline_cycles=0,
        places=places | planned.occupancy[t],
    )


def _operand_place(planned: Planned, t: int) -> str:
    count = len(planned.groups[t].operands)
    loaded = planned.arounds[t].operands
    return "dram" if loaded == count else "chip" if loaded == 0 else "both"
