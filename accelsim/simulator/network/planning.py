"""A network as a machine will run it: groups, places of maps, a plan of each group, and the parts of one program.

Levels, each with all of those before it:

    fused       what rides on a layer's outputs takes no pass of its own; groups follow one another without overlap,
                every map goes through DRAM;
    resident    maps stay on chip where that scores lower, as the machine's ``buffers.activations`` lets them; all
                groups are one program (``time.program``).  Of that program and the one without overlap the faster runs.

How long it takes is for ``timing`` to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.batches import in_passes, of_one_pass
from accelsim.simulator.network.groups import Group, groups_of
from accelsim.simulator.network.places import DRAM, Placement
from accelsim.simulator.network.placing import NetworkMaps, place
from accelsim.simulator.network.plans import GroupPlans, part_of
from accelsim.simulator.network.split import split_poolings
from accelsim.simulator.time.plan import LayerPlan
from accelsim.simulator.time.program import Part
from accelsim.workload import LayerWork, Surroundings, without_weights

Level = Literal["layers", "fused", "resident"]
LEVELS: tuple[Level, ...] = ("layers", "fused", "resident")
OCCUPANCY = {  # columns of what lies in the memories of feature maps while a layer runs, and their names for people
    "chip_input_bytes": "maps read",
    "chip_output_bytes": "map written",
    "chip_waiting_bytes": "maps that wait",
    "tile_bytes": "tiles",
}


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


def plan_network(works: Sequence[LayerWork], machine: Machine, level: Level, passes: int = 1) -> Planned:
    """Groups, places and plans, in so many passes.  Raises InputError if a layer does not fit the machine."""
    works = of_one_pass(works, passes)
    layers = tuple(without_weights(works))
    shapes, origin = split_poolings(layers, machine.post)
    groups = groups_of(shapes, machine.post)
    plans = GroupPlans(works, [origin[group.head] for group in groups], machine)
    sizes = [_map_bytes(shapes[group.last], machine) for group in groups]
    by_name = {shapes[group.last].name: t for t, group in enumerate(groups)}
    context = NetworkMaps(shapes, groups, machine, sizes, by_name)
    placement = None
    if level == "resident" and machine.buffers.keeps != "separate":
        placement = place(context, plans)
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


def _map_bytes(work: LayerWork, machine: Machine) -> int:
    """Bytes of a layer's output on chip, where activations are stored densely."""
    return -(-work.outputs * machine.arithmetic.activation_bits // 8)


def _parts(
    context: NetworkMaps, placement: Placement | None, arounds: Sequence[Surroundings], plans: Sequence[LayerPlan]
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


def _beside(context: NetworkMaps, placement: Placement | None, plans: Sequence[LayerPlan], t: int) -> bool:
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


def _living(context: NetworkMaps, placement: Placement, t: int) -> set[int]:
    """Maps that are on chip while a group runs."""
    last = context.last_reader
    return {m for m, at in placement.places.items() if at != DRAM and m <= t <= last.get(m, m)}


def _occupancy(context: NetworkMaps, placement: Placement | None, plan: LayerPlan, t: int) -> dict[str, str | int]:
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


def _weights_beside(context: NetworkMaps, plans: Sequence[LayerPlan], t: int) -> bool:
    """Whether a group's first weights find room while the group before it works on its last ones."""
    buffers = context.machine.buffers
    if getattr(buffers, "shared", False):
        return False
    before, after = plans[t - 1], plans[t]
    if not before.weights_whole and not after.weights_whole:
        return bool(before.needs["weight"] + after.needs["weight"] <= 2 * buffers.capacity_bytes("weight"))
    return bool(before.needs["weight"] + after.needs["weight"] <= buffers.capacity_bytes("weight"))
