"""From layer works and a machine to a result: schedule each layer, time it, price it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from accelsim.errors import InputError
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.vector import count_parts, vector_schedule
from accelsim.simulator.network.batches import MAX_STEPS, passes_to_try
from accelsim.simulator.network.floor import may_undercut
from accelsim.simulator.network.planning import LEVELS, Level, Planned, plan_network
from accelsim.simulator.network.sections import cheapest_sections, cuts_of
from accelsim.simulator.network.timing import Timed, time_network
from accelsim.simulator.pricing import Pricing, cost_of, priced, total_of
from accelsim.simulator.result import Result
from accelsim.simulator.time.bottleneck import breakdown
from accelsim.simulator.time.event import event_cycles
from accelsim.simulator.time.pipeline import Durations, durations, pipeline_cycles
from accelsim.simulator.time.schedule import Schedule, rows_of_all
from accelsim.workload import LayerWork, without_weights

Engine = Callable[[Durations], int]  # -> cycles from the first request to the last byte stored
LARGE_LAYER = 1 << 24  # outputs, all images together
EVENT_STEPS = 1 << 17  # of a layer: some seconds
ENGINES: dict[str, Engine] = {"event": event_cycles, "fast": pipeline_cycles}


def schedule_layer(work: LayerWork, machine: Machine) -> Schedule:
    """The schedule of one layer.

    Raises InputError if the machine's buffers are too small for it.
    """
    if work.weights is None:
        return vector_schedule(work, machine)
    return machine.schedule(work)


def run(
    works: Iterable[LayerWork],
    machine: Machine,
    model: str = "",
    engine: str = "event",
    synthetic: bool = False,
    level: str = "layers",
) -> Result:
    """Simulate the layers: one after the other, or as a network (``simulator.network``).

    engine: ``event`` (SimPy) or ``fast`` (the same recurrence).  level: of ``LEVELS``.  Raises
    InputError if a layer does not fit the machine, or with too many steps for the event engine,
    KeyError if there is no such engine, ValueError if there is no such level.
    """
    rows, total = run_rows(works, machine, engine, level)
    return Result(model, machine.name, engine, rows, total, synthetic, level)


def _check_large_layers(works: Sequence[LayerWork], machine: Machine) -> None:
    """Raise InputError where a large layer needs too many steps, before an hour goes into the ones in front of it."""
    for i, work in enumerate(without_weights(works)):
        if work.outputs <= LARGE_LAYER:
            continue
        if work.kind in ("conv", "linear"):
            machine.check(works[i])
        else:
            count_parts(work, machine)


def check_event_steps(work: LayerWork, schedule: Schedule) -> None:
    """Raise InputError where a layer has more steps than the event engine takes.

    The fast one gives the same cycles.
    """
    if len(schedule) > EVENT_STEPS:
        raise InputError(
            f"layer {work.name} takes {len(schedule)} steps, expected at most {EVENT_STEPS} with engine event "
            f"(engine fast takes more, and the same cycles)"
        )


def run_rows(
    works: Iterable[LayerWork], machine: Machine, engine: str, level: str = "layers"
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """``run`` as plain values, for sweeps: one row a layer, and the total."""
    works = works if isinstance(works, Sequence) else tuple(works)
    _check_large_layers(works, machine)
    machine.prepare(works)
    if level == "layers":
        pricing = Pricing.of(machine)
        alone = ((work, _by_itself(work, machine, engine)) for work in works)
        return priced(((work, took, took.schedule.dram_rows) for work, took in alone), pricing, {})
    found = run_network(works, machine, engine, level_of(level))
    return found.rows, found.total


@dataclass(frozen=True)
class NetworkRun:
    """A network as it ran: its sections one after the other, mostly one; a row a layer, and the total."""

    sections: tuple[Planned, ...]
    rows: list[dict[str, Any]]
    total: dict[str, Any]


def run_network(
    works: Sequence[LayerWork],
    machine: Machine,
    engine: str,
    level: Level,
) -> NetworkRun:
    """The layers as a network, in the way that costs least by the machine's objective.

    It costs no more than at a level below.  level: any but ``layers``.  Raises InputError as
    ``run``.
    """
    pricing = Pricing.of(machine)
    planned = plan_network(works, machine, level)
    best = _as_network(pricing, engine, planned)
    by_passes = {1: best}
    for other in _ways(works, planned):
        run = _as_network(pricing, engine, other)
        best = _cheaper(best, run)
        by_passes[other.passes] = _cheaper(by_passes.get(other.passes, run), run)
    if len(by_passes) > 1:
        best = _cheaper(best, _in_sections(works, pricing, engine, by_passes))
    for rides in (True, False):
        differs = planned.placement is not None if rides else any(group.riders for group in planned.groups)
        if differs and may_undercut(planned, cost_of(machine, best.total), rides):
            with suppress(InputError):
                # what fits only with its maps on chip, or what rides on outputs
                best = _cheaper(best, _as_network(pricing, engine, _through_dram(works, planned, rides)))
    return best


def _cheaper(one: NetworkRun, other: NetworkRun) -> NetworkRun:
    """The run that costs less by the machine's objective; of equal ones the first."""
    machine = one.sections[0].machine
    return other if cost_of(machine, other.total) < cost_of(machine, one.total) else one


def _ways(works: Sequence[LayerWork], planned: Planned) -> Iterator[Planned]:
    """The network in several passes; without stacks, where there are any; with weights of the run before."""
    machine = planned.machine
    level = planned.level
    counts = [] if level == "fused" else [passes for passes in passes_to_try(works) if passes > 1]
    stacks = bool(planned.stacks)
    for passes in counts:
        other = plan_network(works, machine, level, passes)
        if not _too_long(other):
            stacks = stacks or bool(other.stacks)
            yield other
    if stacks:
        for passes in (1, *counts):
            other = plan_network(works, machine, "resident", passes)
            if not _too_long(other):
                yield other
    if level != "fused" and machine.buffers.weights == "stay":
        for passes in (1, *counts):
            yield from _with_weights_there(works, machine, passes)


def _with_weights_there(works: Sequence[LayerWork], machine: Machine, passes: int) -> Iterator[Planned]:
    """The network where the run before has left all weights on chip; nothing where they do not fit together."""
    with suppress(InputError):
        other = plan_network(works, machine, "resident", passes, weights="there")
        if other.weights_stay and not _too_long(other):
            yield other


def _in_sections(
    works: Sequence[LayerWork], pricing: Pricing, engine: str, by_passes: Mapping[int, NetworkRun]
) -> NetworkRun:
    """The network in sections that take the batch in passes of their own, one of ``by_passes`` where that is best.

    by_passes: the whole network in each number of passes.
    """
    cuts = cuts_of(by_passes[1].sections[0])
    costs = {passes: [_part_cost(pricing.machine, row) for row in ran.rows] for passes, ran in by_passes.items()}
    crossings = {
        (cut, before, behind): _through(pricing, works[cut - 1], ran.rows[cut - 1], later.rows[cut])
        for cut in cuts
        for before, ran in by_passes.items()
        for behind, later in by_passes.items()
    }
    sections = cheapest_sections(cuts, costs, crossings)
    if len(sections) == 1:
        return by_passes[sections[0].passes]
    runs = []
    for section in sections:
        level = by_passes[section.passes].sections[0].level
        layers = works[section.first : section.end]
        runs.append(_as_network(pricing, engine, plan_network(layers, pricing.machine, level, section.passes)))
    rows = [row for ran in runs for row in ran.rows]
    planned = tuple(planned for ran in runs for planned in ran.sections)
    return NetworkRun(planned, rows, total_of(rows, pricing, _on_chip(planned)))


def _through(pricing: Pricing, work: LayerWork, written: Mapping[str, Any], read: Mapping[str, Any]) -> float:
    """What it costs about that a map goes through DRAM, where it stayed on chip.

    written, read: rows of the layers in front of the map and behind it.
    """
    machine = pricing.machine
    n_bytes = -(-work.outputs * machine.arithmetic.activation_bits // 8)
    places = {"write": written["output_place"], "read": read["input_place"]}
    ways = [way for way, place in places.items() if place != "dram"]
    pj = sum(pricing.prices[f"dram_{way}{part}_bit"].pj for way in ways for part in ("", "_io"))
    ns = n_bytes * len(ways) / (machine.dram.timing.bandwidth_gbs * machine.dram.channels)
    total = {
        "cycles": ns / machine.ns_per_cycle,
        "energy_pj": 8 * n_bytes * pj,
        "dram_read_bytes": n_bytes * len(ways),
        "dram_write_bytes": 0,
    }
    return _part_cost(machine, total)


def _part_cost(machine: Machine, row: Mapping[str, Any]) -> float:
    """What a part adds to a run's cost: of energy x cycles its root, whose sum is at most that of the whole."""
    cost = cost_of(machine, row)
    return float(cost**0.5) if machine.objective == "edp" else cost


def _too_long(planned: Planned) -> bool:
    """Whether several passes take too many steps."""
    steps = sum(len(piece.schedule) for piece in planned.pieces)
    return planned.passes > 1 and steps * planned.passes > MAX_STEPS


def _through_dram(works: Sequence[LayerWork], planned: Planned, rides: bool) -> Planned:
    """The network with all maps in DRAM; rides.

    And with what rides on outputs, else nothing does.
    """
    level: Level = "fused" if planned.level == "fused" else "resident"
    known = planned.group_plans if rides else None
    return plan_network(works, planned.machine, level, rides=rides, stays=False, known=known)


def _as_network(pricing: Pricing, engine: str, planned: Planned) -> NetworkRun:
    """A network in time, as it was planned."""
    if engine == "event":
        for piece in planned.pieces:
            check_event_steps(planned.shapes[planned.groups[piece.group].head], piece.schedule)
    timed = time_network(planned, pricing.machine, planned.level, engine)
    opened = rows_of_all([took.schedule for took in timed])
    rows, total = priced(zip(planned.layers, timed, opened, strict=True), pricing, _on_chip((planned,)))
    return NetworkRun((planned,), rows, total)


def level_of(name: str) -> Level:
    """The level of that name.  Raises ValueError if there is none."""
    for level in LEVELS:
        if level == name:
            return level
    raise ValueError(f"level {name!r}, expected one of {', '.join(LEVELS)}")


def _by_itself(work: LayerWork, machine: Machine, engine: str) -> Timed:
    """A layer from DRAM to DRAM."""
    schedule = schedule_layer(work, machine)
    if engine == "event":
        check_event_steps(work, schedule)
    steps = durations(schedule, machine)
    cycles = ENGINES[engine](steps)
    compute = int(schedule.compute_cycles.sum())
    return Timed(
        schedule=schedule,
        dense_macs=work.dense_macs,
        cycles=cycles,
        parts=breakdown(schedule, steps, cycles, machine.lanes),
        dma_cycles=steps.dma_cycles,
        roofline_cycles=max(compute, steps.dma_cycles, int(steps.transform.sum()), int(steps.inverse.sum())),
        places={},
    )


def _on_chip(sections: Sequence[Planned]) -> dict[str, int]:
    """In how many passes the batch goes through, how many maps stay on chip, the most bytes of maps and tiles."""
    occupancy = [of_group for planned in sections for of_group in planned.occupancy]
    return {
        "sections": len(sections),
        "passes": max(planned.passes for planned in sections),
        "stacks": sum(len(planned.stacks) for planned in sections),
        "maps": sum(len(planned.groups) for planned in sections),
        "maps_on_chip": sum(not around.stores for planned in sections for around in planned.arounds),
        "peak_bytes": max((sum(map(int, of_group.values())) for of_group in occupancy), default=0),
    }
