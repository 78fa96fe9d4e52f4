"""How long a planned network takes on a machine.

One program of all its parts, or one a part, and each layer's share.

Beside the cycles themselves each part is timed without a DRAM, so that its stalls have a cause
(``time.bottleneck``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from accelsim.arrays import Flags, Ints
from accelsim.hardware.dram import Transfer
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.batches import all_passes
from accelsim.simulator.network.planning import Level, Piece, Planned
from accelsim.simulator.time.bottleneck import shares
from accelsim.simulator.time.event import event_times
from accelsim.simulator.time.program import (
    STORE,
    WEIGHT,
    Part,
    Program,
    Times,
    one_after_the_other,
    program_of,
    programs_apart,
)
from accelsim.simulator.time.recurrence import cycles_apart, program_times
from accelsim.simulator.time.schedule import Schedule, untransformed

TIMERS: dict[str, Callable[[Program], Times]] = {"event": event_times, "fast": program_times}


@dataclass(frozen=True)
class Timed:
    """What one layer took: as a group's head, or riding on one."""

    schedule: Schedule  # what it moves and does
    dense_macs: int
    cycles: int
    parts: dict[str, int | str]  # of ``bottleneck``
    dma_cycles: int
    roofline_cycles: int
    # where input, output and weights lie, and the bytes of ``OCCUPANCY``; none by itself
    places: dict[str, str | int]


@dataclass(frozen=True)
class _Run:
    """A network in time.

    Of each part its cycles, those without a DRAM, and those of DMA and output unit: (parts,).
    """

    cycles: Ints
    without_dram: Ints
    dma: Ints
    output: Ints

    def of_parts(self, parts: Flags) -> tuple[int, int, int, int]:
        """The figures of some parts of a pass, over all passes.  parts: (parts of a pass,)."""
        every = (self.cycles, self.without_dram, self.dma, self.output)
        cycles, without_dram, dma, output = (int(values.reshape(-1, len(parts))[:, parts].sum()) for values in every)
        return cycles, without_dram, dma, output


def time_network(planned: Planned, machine: Machine, level: Level, engine: str) -> list[Timed]:
    """What each layer took, in the layers' order."""
    found = _faster(planned, machine, level)
    if found.times is None:
        run = _one_by_one(planned, machine, found, engine)
    else:
        run = _together(found.program, found.times if engine == "fast" else TIMERS[engine](found.program))
    rows: dict[int, Timed] = {}
    for t, group in enumerate(planned.groups):
        rows[group.head] = _timed(planned, t, run, machine)
        for rider in group.riders:
            rows[rider] = _riding(planned, t, rider, machine)
    whole: dict[int, Timed] = {}
    for i, layer in enumerate(planned.origin):
        whole[layer] = _both(whole[layer], rows[i]) if layer in whole else rows[i]
    return [whole[i] for i in range(len(planned.layers))]


def _both(one: Timed, other: Timed) -> Timed:
    """Two parts of a layer that rides, as one row."""
    first = one.schedule
    second = other.schedule
    loaded = np.zeros(len(first), np.int64)  # in stripes a part has several steps
    loaded[0] = first.inputs.n_bytes.sum() + second.inputs.n_bytes.sum()
    schedule = replace(
        first,
        mode=f"{first.mode}, {second.mode.removeprefix('on ')}",
        inputs=Transfer.contiguous(loaded),
        counts={name: count + second.counts.get(name, 0.0) for name, count in first.counts.items()},
    )
    out = {place["output_place"] for place in (one.places, other.places)}
    places = other.places | {"output_place": out.pop() if len(out) == 1 else "both"}
    return replace(one, schedule=schedule, places=places)


def overlapped(planned: Planned, machine: Machine, level: Level) -> Program | None:
    """The one program of all parts; None where they run one by one.

    That is as the level says, or because it is faster.
    """
    found = _faster(planned, machine, level)
    return None if found.times is None else found.program


@dataclass(frozen=True)
class _Found:
    """The faster program: of all parts and when things are done in it, or one part after the other and their cycles."""

    program: Program
    times: Times | None
    cycles: Ints | None = None  # (parts,)


def _faster(planned: Planned, machine: Machine, level: Level) -> _Found:
    """The one program of all parts, unless one by one they are as the level says, or faster."""
    parts = planned.all_parts
    if level == "fused":
        apart = one_after_the_other(parts, machine)
        return _Found(apart, None, cycles_apart(apart))
    whole = program_of(parts, machine)
    times = program_times(whole)
    lanes = np.add.reduceat(whole.compute, whole.first)
    if times.end <= int(np.maximum(lanes, whole.dma_cycles).sum()):
        # which one by one they cannot undercut
        return _Found(whole, times)
    apart = one_after_the_other(parts, machine)
    if times.end <= int(_least_cycles(apart).sum()):
        return _Found(whole, times)
    cycles = cycles_apart(apart)
    return _Found(whole, times) if times.end <= int(cycles.sum()) else _Found(apart, None, cycles)


def _least_cycles(p: Program) -> Ints:
    """What each part of ``one_after_the_other`` takes at least: (parts,).

    From when the DMA can have loaded a step's tiles the lanes' cycles of that step and all behind
    it, and the last output's way out; from when the lanes can have finished a step the DMA's cycles
    for its store and all behind it; and all of the DMA's.
    """
    kind, step = np.divmod(p.order, len(p.compute))
    part = p.part
    cycles = np.concatenate([p.loads, p.store[None]])[kind, step]
    of_dma = p.dma_cycles
    done = cycles.cumsum() - (of_dma.cumsum() - of_dma)[part[step]]  # in its part
    ready = np.zeros(len(p.compute), np.int64)
    for load in range(WEIGHT + 1):
        of_kind = kind == load
        ready[step[of_kind]] = np.maximum(ready[step[of_kind]], done[of_kind])
    computed = p.compute.cumsum()
    of_lanes = np.add.reduceat(p.compute, p.first)
    computed -= (of_lanes.cumsum() - of_lanes)[part]
    last = p.output[p.last] * p.has_output_unit[p.last] + p.store[p.last]
    least = np.maximum.reduceat(ready + of_lanes[part] - computed + p.compute, p.first) + last
    stores = kind == STORE
    of_store = part[step[stores]]
    first_loads = p.loads[: WEIGHT + 1, p.first].sum(axis=0)
    stored = first_loads[of_store] + computed[step[stores]] + of_dma[of_store] - done[stores] + cycles[stores]
    np.maximum.at(least, of_store, stored)
    return np.asarray(np.maximum(least, of_dma))


def _together(whole: Program, times: Times) -> _Run:
    return _Run(
        cycles=times.spans,
        without_dram=program_times(_without_dram(whole)).spans,
        dma=whole.dma_cycles,
        output=np.add.reduceat(whole.output, whole.first),
    )


def _one_by_one(planned: Planned, machine: Machine, found: _Found, engine: str) -> _Run:
    """The parts one after the other."""
    apart = found.program
    cycles = found.cycles
    if cycles is None or engine != "fast":
        programs = programs_apart(planned.all_parts, machine)
        cycles = np.array([TIMERS[engine](p).end for p in programs])
    return _Run(
        cycles=cycles,
        without_dram=cycles_apart(_without_dram(apart)),
        dma=apart.dma_cycles,
        output=np.add.reduceat(apart.output, apart.first),
    )


def _without_dram(p: Program) -> Program:
    """A program whose DMA takes no time, but for weights that are decoded or transformed as they arrive."""
    loads = np.zeros_like(p.loads)
    loads[WEIGHT] = p.arrival
    return replace(p, loads=loads, store=np.zeros_like(p.store))


def _timed(planned: Planned, t: int, run: _Run, machine: Machine) -> Timed:
    """The head of a group, timed."""
    schedule = all_passes([piece.schedule for piece in planned.of_group[t]], planned.passes, planned.weights_stay)
    compute = int(schedule.compute_cycles.sum())
    cycles, without_dram, dma, output = run.of_parts(np.array([piece.group == t for piece in planned.pieces]))
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
    piece = planned.of_group[t][0]
    around = piece.around
    plan = piece.plan
    inputs = "dram" if around.input_share == 1 else "chip" if around.input_share == 0 else "both"
    if piece.lines is not None and inputs != "dram":
        made_by = [planned.by_name.get(name) for name in planned.groups[t].reads]
        inputs = "lines" if all(m in piece.lines.buffers for m in made_by) else "both"
    weights = "" if not plan.whole.weights.n_bytes.any() else "whole" if plan.weights_whole else "tiles"
    if weights and planned.context.weights == "there":
        weights = "stay"
    return {"input_place": inputs, "output_place": _output_place(piece), "weight_place": weights}


def _output_place(piece: Piece) -> str:
    if piece.lines is not None and piece.group in piece.lines.buffers:
        return "lines"
    return "dram" if piece.around.stores else "chip"


def _riding(planned: Planned, t: int, rider: int, machine: Machine) -> Timed:
    """A layer that rides on a group's outputs.

    What it reads and writes besides, and no cycles of its own.
    """
    pieces = planned.of_group[t]
    mode = f"on {planned.shapes[planned.groups[t].head].name}"
    parts = [part for piece, part in zip(planned.pieces, planned.parts, strict=True) if piece.group == t]
    schedules = [_ride(piece, part, rider, mode, machine) for piece, part in zip(pieces, parts, strict=True)]
    places: dict[str, str | int] = {
        "input_place": _operand_place(planned, t) if planned.shapes[rider].kind == "add" else "path",
        "output_place": _output_place(pieces[0]),
        "weight_place": "",
    }
    schedule = all_passes(schedules, planned.passes, weights_stay=False)
    return Timed(
        schedule=schedule,
        dense_macs=0,
        cycles=0,
        parts=shares(schedule, 0, 0, machine.lanes),
        dma_cycles=0,
        roofline_cycles=0,
        places=places | planned.occupancy[t],
    )


def _ride(piece: Piece, part: Part, rider: int, mode: str, machine: Machine) -> Schedule:
    """What a layer that rides on a piece's outputs moves and does."""
    work = piece.works[rider]
    bits = machine.arithmetic.activation_bits
    nothing = Transfer.contiguous(np.zeros(1, np.int64))
    loaded = nothing
    actions: dict[str, float] = {}
    if work.kind == "add":
        loaded = Transfer.contiguous([part.operands.n_bytes.sum()])
        actions["input_write"] = 8.0 * int(loaded.n_bytes[0])
        actions["input_read"] = float(work.outputs * (work.inputs - 1) * bits)
    else:
        stores = piece.around.stores
        actions["output_read"] = float(work.outputs * (work.kernel[0] * work.kernel[1] + stores) * bits)
        actions["output_write"] = float(work.outputs * bits)
    return untransformed(
        mode=mode,
        inputs=loaded,
        weights=nothing,
        compute_cycles=np.zeros(1, np.int64),
        outputs=nothing,
        dram=machine.dram,
        effectual_macs=0,
        useful_slots=0.0,
        waiting_slots=0.0,
        actions=actions,
    )


def _operand_place(planned: Planned, t: int) -> str:
    count = len(planned.groups[t].operands)
    piece = planned.of_group[t][0]
    loaded = piece.around.operands
    if loaded == count:
        return "dram"
    made_by = [planned.by_name.get(name) for name in planned.groups[t].operands]
    if piece.lines is not None and any(m in piece.lines.buffers for m in made_by):
        return "lines" if loaded == 0 else "both"
    return "chip" if loaded == 0 else "both"
