"""Stacks of groups that run depth-first, in stripes of rows (``stripes``).

What they keep and score.

Inside a stack a map lies on chip as a line buffer: the rows that a stripe adds, and those that the
next one needs again, which are kept for as long as the stack runs, or else computed again (then a
buffer lives as a whole map does, but only within each stripe).  What the stack reads from outside
and what it leaves behind have the places that whole maps have (``places``), for all its time; where
rows are kept, so are those of a map in DRAM that two stripes read, and it is loaded once.  Its
weights come once, if those of all its groups fit the weight buffer together, or in every stripe.

A stack's score is the sum of its stripes' plans in the room that buffers leave.  A bound stands for
it until it is computed: what its groups score with all maps on chip and all memory for their tiles,
times the rows computed again.  Which groups become stacks, and how high stripes are:
``stack_search``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd, inf, sqrt

import numpy as np

from accelsim.errors import InputError
from accelsim.simulator.network.addresses import Resident, place
from accelsim.simulator.network.places import DRAM, Placement, Setting
from accelsim.simulator.network.placing import NetworkMaps
from accelsim.simulator.network.plans import GroupPlans, surroundings
from accelsim.simulator.network.stripes import Rows, Stage, buffered_rows, cut, cut_with_lead
from accelsim.simulator.time.objective import own_dma, score
from accelsim.simulator.time.plan import LayerPlan
from accelsim.simulator.time.schedule import dram_actions
from accelsim.workload import LayerWork, Surroundings, WeightsCome

CHIP = 1


@dataclass(frozen=True)
class Stack:
    """Consecutive groups that run in stripes."""

    first: int
    last: int
    height: int  # rows of the last one's output in a stripe
    keeps: bool  # whether rows that stripes share stay on chip; else they are computed again
    weights_stay: bool  # whether the weights of all groups stay over all stripes

    @property
    def groups(self) -> range:
        """Numbers of its groups."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True)
class StripePlan:
    """A group's part of one stripe."""

    works: Mapping[int, LayerWork]  # its layers on their rows, by number
    rows: Rows  # of its head's output
    kept: int  # rows of its head's inputs from DRAM that lie on chip since the stripe above
    around: Surroundings
    plan: LayerPlan


@dataclass(frozen=True)
class Lines:
    """What a stack's stripes are.

    rows: of each layer, by number, in each stripe.  buffers: bytes of the line buffer of each map
    inside.  pools: bytes of the rows that poolings on each group's output keep from stripe to
    stripe; loaded: of those that each group keeps of what it reads from DRAM.
    """

    stack: Stack
    rows: list[dict[int, Rows]]
    buffers: dict[int, int]
    pools: dict[int, int]
    loaded: dict[int, int]


class StackPlans:
    """The stacks of a network whose whole maps lie somewhere already, planned and scored."""

    def __init__(self, context: NetworkMaps, plans: GroupPlans, placement: Placement) -> None:
        self.context = context
        self.plans = plans
        self.placement = placement
        buffers = context.machine.buffers
        self.capacity = buffers.map_bytes
        self.weight_capacity = int(buffers.capacity_bytes("weight"))

    @cached_property
    def living(self) -> list[set[int]]:
        """Whole maps on chip while each group runs."""
        return [self.context.living(self.placement, t) for t in range(len(self.context.groups))]

    def around_stack(self, stack: Stack) -> dict[int, int]:
        """Bytes of the whole maps that lie on chip while a stack runs."""
        inside = range(stack.first, stack.last)
        return {m: self.context.sizes[m] for t in stack.groups for m in self.living[t] if m not in inside}

    def lines(self, stack: Stack) -> Lines | None:
        """The rows and buffers of a stack.

        None if what rides on a layer would have rows where the layer has none.
        """
        layers, stages, last_of = self._stages(stack)
        stripes = cut(stages, stack.height, stack.keeps)
        rows = [dict(zip(layers, of_stripe, strict=True)) for of_stripe in stripes]
        if stack.keeps:
            lead = cut_with_lead(stages, stack.height)
            with_lead = [dict(zip(layers, of_stripe, strict=True)) for of_stripe in lead]
            if self._together(stack, with_lead):
                stripes = lead
                rows = with_lead
        for t in stack.groups:
            group = self.context.groups[t]
            if any(r[group.head].height == 0 < r[rider].height for r in rows for rider in group.riders):
                return None
        buffers = {}
        for t in range(stack.first, stack.last):
            work = self.context.shapes[self.context.groups[t].last]
            count = buffered_rows(stages, stripes, last_of[t], stack.keeps)
            bits = work.outputs // work.out_height * count * self.context.machine.arithmetic.activation_bits
            buffers[t] = -(-bits // 8)
        return Lines(
            stack=stack,
            rows=rows,
            buffers=buffers,
            pools={t: self._pool_bytes(t) for t in stack.groups if stack.keeps},
            loaded={t: self._loaded_bytes(stack, t, rows) for t in stack.groups if stack.keeps},
        )

    def _together(self, stack: Stack, rows: Sequence[Mapping[int, Rows]]) -> bool:
        """Whether what rides on a layer has rows in just the stripes in which the layer has."""
        groups = [self.context.groups[t] for t in stack.groups]
        return all(
            (r[group.head].height > 0) == (r[rider].height > 0)
            for r in rows
            for group in groups
            for rider in group.riders
        )

    def _loaded_bytes(self, stack: Stack, t: int, rows: Sequence[Mapping[int, Rows]]) -> int:
        """Bytes of the rows that neighbouring stripes share, of what a group's head reads from DRAM."""
        head = self.context.groups[t].head
        reads = zip(self.context.read_bytes(t), self._setting(stack, t, 0).reads, strict=True)
        from_dram = sum(size for size, at in reads if at == DRAM)
        most = max(self._kept(stack, t, of_stripe[head]) for of_stripe in rows)
        return -(-from_dram * most // self.context.shapes[head].height)

    def _kept(self, stack: Stack, t: int, rows: Rows) -> int:
        """Rows of its inputs that a group's head finds on chip in a stripe, as the one above read them, too."""
        if not stack.keeps or not rows.first or not rows.height:
            return 0
        stage = _stage(self.context.shapes[self.context.groups[t].head], (), 1)
        return max(0, stage.needed_end(rows.first) - stage.needed_first(rows.first))

    def _pool_bytes(self, t: int) -> int:
        """Bytes of the rows that windows of neighbouring stripes share, of poolings on a group's output."""
        found = 0
        for work in (self.context.shapes[rider] for rider in self.context.groups[t].riders):
            rows = max(0, work.kernel[0] - work.stride[0])
            bits = rows * work.batch * work.width * work.in_channels * self.context.machine.arithmetic.activation_bits
            found += -(-bits // 8)
        return found

    def _stages(self, stack: Stack) -> tuple[list[int], list[Stage], dict[int, int]]:
        """Layers of a stack by number, the same as stages, and the last stage of each group."""
        context = self.context
        layers: list[int] = []
        stages: list[Stage] = []
        last_of: dict[int, int] = {}
        for t in stack.groups:
            group = context.groups[t]
            for layer in (group.head, *group.riders):
                work = context.shapes[layer]
                made_by = [context.by_name[source] for source in work.sources or () if source in context.by_name]
                reads = [last_of[m] for m in made_by if m in last_of]
                reads += [len(stages) - 1] if layer != group.head else []
                stages.append(_stage(work, tuple(reads), self.granule(t) if layer == group.last else 1))
                layers.append(layer)
            last_of[t] = len(stages) - 1
        return layers, stages, last_of

    def granule(self, t: int) -> int:
        """Rows in multiples of which a group's output comes.

        Whole tiles of a layer that may run by Winograd.
        """
        group = self.context.groups[t]
        head = self.context.shapes[group.head]
        if min(head.kernel) < 2 or max(head.stride) > 1 or max(head.dilation) > 1:
            return 1
        m = int(max(getattr(self.context.machine, "tile_sizes", (1,))))
        for rider in group.riders:
            m //= gcd(m, self.context.shapes[rider].stride[0])
        return m

    def room(self, lines: Lines, t: int) -> int:
        """Bytes that whole maps and line buffers leave to one of a stack's groups, with its own poolings' lines."""
        of_others = sum(size for group, size in lines.pools.items() if group != t)
        return self.capacity - sum(self.held(lines, t).values()) - of_others

    def held(self, lines: Lines, t: int) -> dict[int, int]:
        """Bytes of each map on chip while one of a stack's groups runs, whole or as lines.

        Rows kept of what comes from DRAM stand beside them (``_loaded_number``).
        """
        stack = lines.stack
        last = self.context.last_reader
        alive = {m: size for m, size in lines.buffers.items() if stack.keeps or m <= t <= last[m]}
        loaded = {self._loaded_number(of): size for of, size in lines.loaded.items() if size}
        return self.around_stack(stack) | alive | loaded

    def _loaded_number(self, t: int) -> int:
        """What stands for the rows that a group keeps of what it reads from DRAM, among the numbers of maps."""
        return ~(len(self.context.groups) + t)

    def stripes(self, lines: Lines) -> Iterator[tuple[int, int, StripePlan]]:
        """Stripe by stripe, the plan of each group that has rows in it: stripe, group, plan.

        Raises InputError if one finds no room.
        """
        seen: set[int] = set()
        for number, rows in enumerate(lines.rows):
            for t in lines.stack.groups:
                if rows[self.context.groups[t].head].height:
                    yield number, t, self._stripe(lines, t, rows, t in seen)
                    seen.add(t)

    def _stripe(self, lines: Lines, t: int, rows: Mapping[int, Rows], again: bool) -> StripePlan:
        """One group's part of one stripe.  again: whether it has had one before."""
        context = self.context
        group = context.groups[t]
        works = {i: context.shapes[i].on_rows(*rows[i]) for i in (group.head, *group.riders)}
        weights: WeightsCome = "loaded" if not lines.stack.weights_stay else "there" if again else "kept"
        setting = self._setting(lines.stack, t, max(0, self.room(lines, t)))
        around = surroundings(group, works, context.machine, setting, context.read_bytes(t), weights)
        own = rows[group.head]
        kept = self._kept(lines.stack, t, own)
        share = 1 - kept / max(1, works[group.head].height)
        around = replace(around, input_share=around.input_share * share)
        return StripePlan(
            works=works,
            rows=own,
            kept=kept,
            around=around,
            plan=self.plans.of_rows(t, own, around),
        )

    def _setting(self, stack: Stack, t: int, room: int) -> Setting:
        """Where the maps of one of a stack's groups lie.  room: bytes for its tiles."""
        group = self.context.groups[t]

        def at(name: str) -> int:
            m = self.context.by_name.get(name, len(self.context.groups))
            return CHIP if stack.first <= m < stack.last else self.placement.places.get(m, DRAM)

        return Setting(
            reads=tuple(map(at, group.reads)),
            operands=tuple(map(at, group.operands)),
            writes=CHIP if t < stack.last else self.placement.places[t],
            rooms=(room,),
            input_memory=CHIP,
        )

    def whole(self, stack: Stack, t: int) -> LayerPlan | None:
        """One of a stack's groups as a whole, with no map in DRAM that lies inside the stack.

        None if it fits not.
        """
        around = self.context.around(t, self._setting(stack, t, self.capacity))
        try:
            return self.plans.settled(t, around)
        except InputError:
            return None

    def bounds(self, lines: Lines, whole: Mapping[int, LayerPlan]) -> Iterator[tuple[Stack, float]]:
        """A stack with its weights loaded once, and in every stripe, and what each scores at least.

        whole: its groups as wholes.
        """
        machine = self.context.machine
        least = sum(plan.score * max(1.0, self._rows_again(lines, t)) for t, plan in whole.items())
        together = sum(plan.weight_bytes for plan in whole.values())
        if together <= self.weight_capacity:
            yield replace(lines.stack, weights_stay=True), least
        heads = {t: self.context.groups[t].head for t in whole}
        loads = {t: sum(rows[head].height > 0 for rows in lines.rows) for t, head in heads.items()}
        loaded = sum(plan.weight_bytes * loads[t] for t, plan in whole.items())
        match machine.objective:
            case "dram":
                least += loaded - together
            case "energy":
                least += float(score(machine, np.float64(0), dram_actions(loaded - together, 0)))
            case "cycles":
                least = max(least, loaded / own_dma(machine).bytes_per_cycle)
        yield replace(lines.stack, weights_stay=False), least

    def _rows_again(self, lines: Lines, t: int) -> float:
        """Rows that a group's head computes in all stripes, over those that it has."""
        head = self.context.groups[t].head
        return sum(rows[head].height for rows in lines.rows) / self.context.shapes[head].out_height

    def score(self, stack: Stack) -> float:
        """The sum of a stack's groups' scores over its stripes; infinite if it finds no room."""
        lines = self.lines(stack)
        if lines is None:
            return inf
        sums: dict[int, float] = dict.fromkeys(stack.groups, 0.0)
        weights: dict[int, int] = {}
        edp = self.context.machine.objective == "edp"
        try:
            for _, t, stripe in self.stripes(lines):
                plan = stripe.plan
                # Energy x cycles of equal parts: their roots add up.
                sums[t] += sqrt(plan.score) if edp else plan.score
                weights[t] = max(weights.get(t, 0), plan.needs["weight"])
        except InputError:
            return inf
        if stack.weights_stay and sum(weights.values()) > self.weight_capacity:
            return inf
        return sum(value * value if edp else value for value in sums.values())

    def addresses(self, stacks: Sequence[Stack]) -> dict[int, int] | None:
        """First bytes of all maps, whole or as lines, with these stacks; None if they find no room.

        ~t stands for the lines of poolings on group t, other negative numbers as in ``held``.
        """
        born, dies = self._lives(stacks)
        inside = {m for stack in stacks for m in range(stack.first, stack.last)}
        on_chip = [m for m, at in self.placement.places.items() if at != DRAM and m not in inside]
        maps = [Resident(str(m), self.context.sizes[m], born[m], dies[m]) for m in on_chip]
        for stack in stacks:
            lines = self.lines(stack)
            assert lines is not None
            for m, size in lines.buffers.items():
                first, last = (stack.first, stack.last) if stack.keeps else (m, self.context.last_reader[m])
                maps.append(Resident(str(m), size, first, last))
            more = {~t: size for t, size in lines.pools.items()}
            more |= {self._loaded_number(t): size for t, size in lines.loaded.items()}
            maps += [Resident(str(m), size, stack.first, stack.last) for m, size in more.items() if size]
        found = place(maps, self.capacity)
        return None if found is None else {int(name): address for name, address in found.items()}

    def _lives(self, stacks: Sequence[Stack]) -> tuple[list[int], list[int]]:
        """The first and the last group during which each whole map lies on chip.

        All of a stack that it meets.
        """
        count = len(self.context.groups)
        born = list(range(count))
        dies = [self.context.last_reader.get(m, m) for m in range(count)]
        for stack in stacks:
            born = [stack.first if b in stack.groups else b for b in born]
            dies = [stack.last if d in stack.groups else d for d in dies]
        return born, dies


def _stage(work: LayerWork, reads: tuple[int, ...], granule: int) -> Stage:
    return Stage(
        reads=reads,
        size=work.height,
        outputs=work.out_height,
        stride=work.stride[0],
        reach=work.dilation[0] * (work.kernel[0] - 1) + 1,
        padding=work.padding[0],
        granule=granule,
    )
