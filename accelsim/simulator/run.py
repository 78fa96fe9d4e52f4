"""From layer works and a machine to a result: schedule each layer, time it, price it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.errors import InputError
from accelsim.hardware.energy import area_mm2, dram_refresh_mw, dram_standby_mw, prices, static_mw
from accelsim.hardware.price import ENERGY_PARTS, Price
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.vector import count_parts, vector_schedule
from accelsim.simulator.network.batches import MAX_STEPS, passes_to_try
from accelsim.simulator.network.floor import may_undercut
from accelsim.simulator.network.planning import LEVELS, Level, Planned, plan_network
from accelsim.simulator.network.timing import Timed, time_network
from accelsim.simulator.result import DRAM_ACTIONS, DRAM_POWERS, Result, round_energy, totals
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
        pricing = _Pricing(machine, prices(machine), static_mw(machine), dram_powers(machine))
        alone = ((work, _by_itself(work, machine, engine)) for work in works)
        return _priced(((work, took, took.schedule.dram_rows) for work, took in alone), pricing, {})
    found = run_network(works, machine, engine, level_of(level))
    return found.rows, found.total


@dataclass(frozen=True)
class NetworkRun:
    """A network as it ran: a row a layer, and the total."""

    planned: Planned
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
    pricing = _Pricing(machine, prices(machine), static_mw(machine), dram_powers(machine))
    planned = plan_network(works, machine, level)
    best = _as_network(pricing, engine, planned)
    for other in _ways(works, planned):
        best = _cheaper(best, _as_network(pricing, engine, other))
    for rides in (True, False):
        differs = planned.placement is not None if rides else any(group.riders for group in planned.groups)
        if differs and may_undercut(planned, _cost(machine, best.total), rides):
            with suppress(InputError):
                # what fits only with its maps on chip, or what rides on outputs
                best = _cheaper(best, _as_network(pricing, engine, _through_dram(works, planned, rides)))
    return best


def _cheaper(one: NetworkRun, other: NetworkRun) -> NetworkRun:
    """The run that costs less by the machine's objective; of equal ones the first."""
    machine = one.planned.machine
    return other if _cost(machine, other.total) < _cost(machine, one.total) else one


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


def dram_powers(machine: Machine) -> dict[str, float]:
    """What the DRAM takes whether it moves something or not, mW: standby and refresh."""
    return {"standby": dram_standby_mw(machine), "refresh": dram_refresh_mw(machine)}


def _as_network(pricing: "_Pricing", engine: str, planned: Planned) -> NetworkRun:
    """A network in time, as it was planned."""
    if engine == "event":
        for piece in planned.pieces:
            check_event_steps(planned.shapes[planned.groups[piece.group].head], piece.schedule)
    timed = time_network(planned, pricing.machine, planned.level, engine)
    opened = rows_of_all([took.schedule for took in timed])
    rows, total = _priced(zip(planned.layers, timed, opened, strict=True), pricing, _on_chip(planned))
    return NetworkRun(planned, rows, total)


def _cost(machine: Machine, total: Mapping[str, Any]) -> float:
    """What a run costs by the machine's objective."""
    match machine.objective:
        case "dram":
            return float(total["dram_read_bytes"] + total["dram_write_bytes"])
        case "energy":
            return float(total["energy_pj"])
        case "edp":
            return float(total["energy_pj"] * total["cycles"])
    return float(total["cycles"])


def _priced(
    timed: Iterable[tuple[LayerWork, Timed, int]], pricing: "_Pricing", more: dict[str, int]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and total of layers, each with what it took and the DRAM rows that it opened.  more: of the total."""
    machine = pricing.machine
    rows = [_row(work, took, opened, pricing) for work, took, opened in timed]
    total = totals(rows, machine.lanes) | more
    ns = total["cycles"] * machine.ns_per_cycle
    total["latency_ms"] = ns / 1e6
    total["area_mm2"] = area_mm2(machine)
    total["power_mw"] = total["energy_pj"] / ns if ns else 0.0  # pJ / ns = mW
    return rows, total


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


def _on_chip(planned: Planned) -> dict[str, int]:
    """In how many passes the batch goes through, how many maps stay on chip, the most bytes of maps and tiles."""
    return {
        "passes": planned.passes,
        "stacks": len(planned.stacks),
        "maps": len(planned.groups),
        "maps_on_chip": sum(not around.stores for around in planned.arounds),
        "peak_bytes": max((sum(map(int, of_group.values())) for of_group in planned.occupancy), default=0),
    }


@dataclass(frozen=True)
class _Pricing:
    """What a machine's cycles and actions cost."""

    machine: Machine
    prices: dict[str, Price]
    static_mw: float
    dram_mw: dict[str, float]  # standby, refresh

    def action_energies(self, actions: Mapping[str, float]) -> dict[str, float]:
        """pJ of each action of a layer."""
        return {action: round_energy(count * self.prices[action].pj) for action, count in actions.items()}

    def dram_energies(self, actions: dict[str, float], cycles: int) -> dict[str, float]:
        """pJ of each part of a layer's DRAM energy, as columns.

        actions: of ``action_energies``.
        """
        ns = cycles * self.machine.ns_per_cycle
        commands = {column: sum(actions[name] for name in names) for column, names in DRAM_ACTIONS.items()}
        powers = {column: round_energy(self.dram_mw[name] * ns) for column, name in DRAM_POWERS.items()}
        return commands | powers

    def part_energies(
        self,
        actions: dict[str, float],
        dram_pj: float,
        cycles: int,
    ) -> dict[str, float]:
        """pJ of each part of a layer's energy.  actions: of ``action_energies``.

        dram_pj: of all off-chip parts.
        """
        energy: dict[str, float] = dict.fromkeys(ENERGY_PARTS, 0.0)
        for action, pj in actions.items():
            energy[self.prices[action].part] += pj
        energy["dram"] = dram_pj
        energy["static"] = round_energy(self.static_mw * cycles * self.machine.ns_per_cycle)
        return {f"energy_{part}_pj": pj for part, pj in energy.items()}


def _row(work: LayerWork, took: Timed, opened: int, pricing: _Pricing) -> dict[str, Any]:
    """One layer's row of the result.  opened: rows of the DRAM."""
    schedule = took.schedule
    cycles = took.cycles
    lanes = pricing.machine.lanes
    compute = int(schedule.compute_cycles.sum())
    weights = int(schedule.weights.n_bytes.sum())
    inputs = int(schedule.inputs.n_bytes.sum())
    outputs = int(schedule.outputs.n_bytes.sum())
    actions = pricing.action_energies(schedule.counts | {"dram_activate": float(opened)})
    dram = pricing.dram_energies(actions, cycles)
    parts = pricing.part_energies(actions, sum(dram.values()), cycles)
    return {
        "name": work.name,
        "kind": work.kind,
        "mode": schedule.mode,
        "tiling": schedule.tiling,
        "loop_order": schedule.loop_order,
        "cycles": cycles,
        "compute_cycles": compute,
        "stall_cycles": cycles - compute,
        **took.parts,
        "dense_macs": took.dense_macs,
        "effectual_macs": schedule.effectual_macs,
        "utilization": schedule.effectual_macs / (lanes * cycles) if cycles else 0.0,
        "dram_read_bytes": weights + inputs,
        "dram_write_bytes": outputs,
        "dram_weight_bytes": weights,
        "dram_input_bytes": inputs,
        "dram_output_bytes": outputs,
        "sram_read_bytes": _sram_bytes(schedule, "_read"),
        "sram_write_bytes": _sram_bytes(schedule, "_write"),
        "energy_pj": sum(parts.values()),
        **parts,
        **dram,
        "dma_cycles": took.dma_cycles,
        "roofline_cycles": took.roofline_cycles,
        **took.places,
    }


def _sram_bytes(schedule: Schedule, direction: str) -> int:
    """Bytes read from or written to all global buffers."""
    return int(np.ceil(sum(bits for name, bits in schedule.counts.items() if name.endswith(direction)) / 8))
