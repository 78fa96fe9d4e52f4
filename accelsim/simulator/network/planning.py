"""A network as a machine will run it: groups, places of maps, plans of groups, parts of one program.

Levels, each with all of those before it:

    fused       what rides on a layer's outputs takes no pass of its own; groups follow one another without overlap,
                every map goes through DRAM;
    resident    maps stay on chip where that scores lower, as the machine's ``buffers.activations`` lets them; all
                groups are one program (``time.program``).  Of that program and the one without overlap the faster runs;
    depth-first consecutive layers run in stripes of rows, where that scores lower yet (``stacks``).

None is worse by the machine's objective than the one before it, and ``fused`` not worse than layers
by themselves: where it would be (which ``floor`` rules out for most networks without timing them),
the network runs with all maps in DRAM, or with nothing that rides, either.

A piece of the plan is a group, or a group's rows in one stripe; each piece is a part of the
program.  How long it takes is for ``timing`` to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from accelsim.hardware.dram import Transfer
from accelsim.hardware.parts import Post
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.batches import in_passes, of_one_pass
from accelsim.simulator.network.groups import Group, groups_of
from accelsim.simulator.network.places import Placement
from accelsim.simulator.network.placing import NetworkMaps, place
from accelsim.simulator.network.plans import GroupPlans, part_of
from accelsim.simulator.network.split import split_poolings
from accelsim.simulator.network.stack_search import find_stacks
from accelsim.simulator.network.stacks import Lines, Stack, StackPlans, StripePlan
from accelsim.simulator.time.plan import LayerPlan
from accelsim.simulator.time.program import Part
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork, Surroundings, WeightsCome, without_weights

Level = Literal["layers", "fused", "resident", "depth-first"]
LEVELS: tuple[Level, ...] = ("layers", "fused", "resident", "depth-first")
# columns of what lies in the memories of feature maps while a layer runs, and their names for
# people
OCCUPANCY = {
    "chip_input_bytes": "maps read",
    "chip_output_bytes": "map written",
    "chip_waiting_bytes": "maps that wait",
    "tile_bytes": "tiles",
}


@dataclass(frozen=True)
class Piece:
    """A group as it runs, or its part of one stripe of a stack."""

    group: int
    works: Mapping[int, LayerWork]  # its layers by number, on the rows that this piece has
    around: Surroundings
    plan: LayerPlan
    schedule: Schedule  # where it lies in whole maps
    held: Mapping[int, int]  # bytes of each map on chip while it runs, whole or as lines
    lines: Lines | None = None  # of the stack
    stripe: int = 0
    weight_bytes: int = 0  # of the weight buffer, that the piece and what must stay beside it take

    @property
    def weights_whole(self) -> bool:
        """Whether all of its weights lie in the buffer at once."""
        return self.plan.weights_whole

    @property
    def stack(self) -> Stack | None:
        """The stack that it is a part of."""
        return None if self.lines is None else self.lines.stack


@dataclass(frozen=True)
class Planned:
    """A network as a machine will run it.

    layers: the network's.  shapes: these, poolings in parts where they ride so (``split``); origin:
    the number of the layer that each one is of.  pieces: in the order in which they run, and parts,
    one each.  placement: of whole maps; None where all lie in DRAM.  sizes: bytes of each group's
    output.  occupancy: of each group the bytes of ``OCCUPANCY``, at its first piece.  passes: how
    often all of this is done, each time on a part of the batch (``batches``); weights_stay: whether
    weights stay over all passes, and to the next run.  level: whose time it takes.  context,
    group_plans: what it was chosen from.
    """

    layers: tuple[LayerWork, ...]
    origin: tuple[int, ...]
    shapes: tuple[LayerWork, ...]
    groups: list[Group]
    pieces: list[Piece]
    parts: list[Part]
    placement: Placement | None
    sizes: list[int]
    occupancy: list[dict[str, str | int]]
    dense_macs: list[int]
    stacks: list[Stack]
    level: Level
    context: NetworkMaps
    group_plans: GroupPlans
    passes: int = 1
    weights_stay: bool = False

    @property
    def machine(self) -> Machine:
        """The machine that it was planned for."""
        return self.context.machine

    @property
    def all_parts(self) -> list[Part]:
        """The parts of all passes."""
        return in_passes(self.parts, self.passes, self.weights_stay)

    @cached_property
    def of_group(self) -> list[list[Piece]]:
        """The pieces of each group."""
        found: list[list[Piece]] = [[] for _ in self.groups]
        for piece in self.pieces:
            found[piece.group].append(piece)
        return found

    @cached_property
    def by_name(self) -> dict[str, int]:
        """The group that gives a layer's outputs."""
        return {self.shapes[group.last].name: t for t, group in enumerate(self.groups)}

    @property
    def arounds(self) -> list[Surroundings]:
        """Of each group's first piece."""
        return [pieces[0].around for pieces in self.of_group]

    @property
    def plans(self) -> list[LayerPlan]:
        """Of each group's first piece."""
        return [pieces[0].plan for pieces in self.of_group]


def plan_network(
    works: Sequence[LayerWork],
    machine: Machine,
    level: Level,
    passes: int = 1,
    rides: bool = True,
    stays: bool = True,
    weights: WeightsCome = "loaded",
    known: GroupPlans | None = None,
) -> Planned:
    """Groups, places and plans, in so many passes.

    rides, stays: whether layers may ride on others, and maps stay on chip, as far as machine and
    level let them.  weights: how they come; ``there``: from the run before, without stacks.  known:
    plans of the same groups, if there are any yet.  Raises InputError if a layer does not fit.
    """
    works = of_one_pass(works, passes)
    layers = tuple(without_weights(works))
    post = machine.post if rides else Post()
    shapes, origin = split_poolings(layers, post)
    groups = groups_of(shapes, post)
    plans = known or GroupPlans(works, [origin[group.head] for group in groups], machine)
    sizes = [_map_bytes(shapes[group.last], machine) for group in groups]
    by_name = {shapes[group.last].name: t for t, group in enumerate(groups)}
    context = NetworkMaps(shapes, groups, machine, sizes, by_name, weights)
    placement = None
    stacks: list[Stack] = []
    if stays and level in ("resident", "depth-first") and machine.buffers.keeps != "separate":
        placement = place(context, plans)
    settings = [None] * len(groups) if placement is None else placement.settings
    arounds = [context.around(t, setting) for t, setting in enumerate(settings)]
    chosen = [plans.settled(t, around) for t, around in enumerate(arounds)]
    pieces = [
        _piece(context, placement, around, plan, t)
        for t, (around, plan) in enumerate(zip(arounds, chosen, strict=True))
    ]
    if level == "depth-first" and placement is not None and machine.buffers.keeps == "shared":
        stack_plans = StackPlans(context, plans, placement)
        stacks = find_stacks(stack_plans, [plan.score for plan in chosen])
        pieces = _with_stacks(pieces, stacks, stack_plans)
    by_group = {piece.group: piece for piece in reversed(pieces)}
    return Planned(
        layers=layers,
        origin=origin,
        shapes=shapes,
        groups=groups,
        pieces=pieces,
        parts=_parts(context, placement, pieces),
        placement=placement,
        sizes=sizes,
        stacks=stacks,
        level=level,
        context=context,
        group_plans=plans,
        passes=passes,
        weights_stay=(passes > 1 or weights == "there") and _all_weights_fit(pieces, machine),
        dense_macs=[plans.dense_macs[t] for t in range(len(groups))],
        occupancy=[_occupancy(context, by_group[t]) for t in range(len(groups))],
    )


def _piece(
    context: NetworkMaps,
    placement: Placement | None,
    around: Surroundings,
    plan: LayerPlan,
    t: int,
) -> Piece:
    """A group that runs as a whole."""
    group = context.groups[t]
    living = set() if placement is None else context.living(placement, t)
    return Piece(
        group=t,
        works={layer: context.shapes[layer] for layer in (group.head, *group.riders)},
        around=around,
        plan=plan,
        schedule=plan.schedule,
        held={m: context.sizes[m] for m in sorted(living)},
        weight_bytes=plan.needs["weight"],
    )


def _with_stacks(whole: Sequence[Piece], stacks: Sequence[Stack], plans: StackPlans) -> list[Piece]:
    """The pieces of groups that run as wholes, and those of stacks in their places."""
    starts = {stack.first: stack for stack in stacks}
    inside = {t for stack in stacks for t in stack.groups}
    found: list[Piece] = []
    for piece in whole:
        if piece.group in starts:
            found += _stripes(starts[piece.group], plans)
        elif piece.group not in inside:
            found.append(piece)
    return found


def _stripes(stack: Stack, plans: StackPlans) -> list[Piece]:
    """The pieces of a stack, stripe by stripe."""
    lines = plans.lines(stack)
    assert lines is not None
    stripes = list(plans.stripes(lines))
    most: dict[int, int] = {}
    for _, t, stripe in stripes:
        most[t] = max(most.get(t, 0), stripe.plan.needs["weight"])
    together = sum(most.values())
    return [
        Piece(
            group=t,
            works=stripe.works,
            around=stripe.around,
            plan=stripe.plan,
            schedule=_in_whole_maps(stripe, plans.context, t),
            held=plans.held(lines, t),
            lines=lines,
            stripe=number,
            weight_bytes=together if stack.weights_stay else stripe.plan.needs["weight"],
        )
        for number, t, stripe in stripes
    ]


def _in_whole_maps(stripe: StripePlan, context: NetworkMaps, t: int) -> Schedule:
    """A stripe's schedule, its requests at the addresses that they have in the whole maps."""
    head = context.shapes[context.groups[t].head]
    first_input = max(0, stripe.rows.first * head.stride[0] - head.padding[0]) + stripe.kept
    schedule = stripe.plan.schedule
    return replace(
        schedule,
        inputs=_in_map(schedule.inputs, head.height, first_input),
        outputs=_in_map(schedule.outputs, head.out_height, stripe.rows.first),
    )


def _in_map(transfer: Transfer, height: int, first: int) -> Transfer:
    """Requests for rows of a map of so many rows, from row ``first`` on, that were made as if these were the map."""
    planes = transfer.address // transfer.plane_bytes
    address = planes * transfer.line_bytes * height + transfer.address % transfer.plane_bytes
    there = transfer.n_bytes > 0
    return replace(
        transfer,
        address=(address + first * transfer.line_bytes) * there,
        plane_bytes=transfer.line_bytes * height,
    )


def _all_weights_fit(pieces: Sequence[Piece], machine: Machine) -> bool:
    """Whether all layers' weights lie in the weight buffer together, each layer's at once."""
    if getattr(machine.buffers, "shared", False):
        return False
    if any(piece.stack is not None and not piece.stack.weights_stay for piece in pieces):
        return False
    needed: dict[int, int] = {}
    for piece in pieces:
        needed[piece.group] = max(needed.get(piece.group, 0), piece.plan.needs["weight"])
    whole = all(piece.weights_whole for piece in pieces)
    return whole and sum(needed.values()) <= machine.buffers.capacity_bytes("weight")


def _map_bytes(work: LayerWork, machine: Machine) -> int:
    """Bytes of a layer's output on chip, where activations are stored densely."""
    return -(-work.outputs * machine.arithmetic.activation_bits // 8)


def _parts(
    context: NetworkMaps,
    placement: Placement | None,
    pieces: Sequence[Piece],
) -> list[Part]:
    """The pieces as parts of one program."""
    parts: list[Part] = []
    latest: dict[int, int] = {}  # of each group, the number of its latest piece
    for p, piece in enumerate(pieces):
        group = context.groups[piece.group]
        operands, post = part_of(piece.plan, piece.around, context.machine)
        made_by = {context.by_name[name] for name in (*group.reads, *group.operands) if name in context.by_name}
        on_chip = {m for m in made_by if m in piece.held}
        before = pieces[p - 1] if p else None
        parts.append(
            Part(
                schedule=piece.schedule,
                finishes=piece.plan.whole.outputs.n_bytes > 0,
                operands=operands,
                post_cycles=post,
                on_chip=tuple(sorted(latest[m] for m in on_chip)),
                in_dram=tuple(sorted(latest[m] for m in made_by - on_chip)),
                beside=before is not None and _beside(context, placement, before, piece),
                weights_beside=before is not None and _weights_beside(context, before, piece),
            )
        )
        latest[piece.group] = p
    return parts


def _beside(context: NetworkMaps, placement: Placement | None, one: Piece, other: Piece) -> bool:
    """Whether a piece's tiles find room beside those of the piece before it, and all that either has on chip."""
    before = one.plan.needs
    after = other.plan.needs
    buffers = context.machine.buffers
    both = {name: before.get(name, 0) + after.get(name, 0) for name in {*before, *after} - {"weight"}}
    room_of_its_own = "transformed" in both and not buffers.one_memory
    if room_of_its_own and both["transformed"] > buffers.capacity_bytes("transformed"):
        return False
    if (placement is None and not buffers.one_memory) or (
        placement is not None and len(placement.settings[other.group].rooms) > 1
    ):
        rooms = _rooms_of_two(placement, one.group, other.group)
        capacity = {name: int(buffers.capacity_bytes(name)) for name in ("input", "output")}
        if rooms is not None:
            # the memories may have changed roles: all tiles must find room in either
            return sum(both.values()) <= min(rooms)
        return all(both[name] <= capacity[name] for name in capacity)
    if (
        one.lines is not None
        and one.stripe != other.stripe
        and one.around.operands < len(context.groups[one.group].operands)
    ):
        return False  # its additions may still read lines that the next stripe writes over
    held = {m: max(one.held.get(m, 0), other.held.get(m, 0)) for m in {*one.held, *other.held}}
    pools = [piece.lines.pools for piece in (one, other) if piece.lines is not None]
    of_pools = max((sum(lines.values()) for lines in pools), default=0)
    of_tiles = one.plan.tile_bytes + other.plan.tile_bytes
    return of_tiles + sum(held.values()) + of_pools <= buffers.map_bytes


def _rooms_of_two(placement: Placement | None, one: int, other: int) -> tuple[int, ...] | None:
    """The smaller free bytes of each of two memories during two groups.

    None where nothing is placed.
    """
    if placement is None:
        return None
    pairs = zip(placement.settings[one].rooms, placement.settings[other].rooms, strict=True)
    return tuple(min(pair) for pair in pairs)


def _occupancy(context: NetworkMaps, piece: Piece) -> dict[str, str | int]:
    """What is in the memories of maps while a piece runs, in bytes."""
    group = context.groups[piece.group]
    held = piece.held
    read = {context.by_name.get(name, len(context.groups)) for name in (*group.reads, *group.operands)} & set(held)
    written = {piece.group} & set(held)
    return {
        "chip_input_bytes": sum(held[m] for m in read),
        "chip_output_bytes": sum(held[m] for m in written),
        "chip_waiting_bytes": sum(held[m] for m in set(held) - read - written),
        "tile_bytes": piece.plan.tile_bytes,
    }


def _weights_beside(context: NetworkMaps, one: Piece, other: Piece) -> bool:
    """Whether a piece's first weights find room while the piece before it works on its last ones."""
    buffers = context.machine.buffers
    if getattr(buffers, "shared", False):
        return False
    if one.stack is not None and one.stack == other.stack and one.stack.weights_stay:
        return True
    together = one.weight_bytes + other.weight_bytes
    if not one.weights_whole and not other.weights_whole:
        return bool(together <= 2 * buffers.capacity_bytes("weight"))
    return bool(together <= buffers.capacity_bytes("weight"))
