"""The event engine, which says what the fast one must count.

The units of ``pipeline`` and ``program`` as SimPy processes that share slots and the DMA.

In the real machine: a DMA engine in front of one DRAM, an input transform unit, the lanes, behind
them an inverse transform unit or the vector lanes, and between them double buffers.  The slot of a
tile is that of the tile two before it: a unit waits until that one was freed before it starts to
fill it, and the unit that empties it frees it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from accelsim.simulator.time.pipeline import SLOTS, Durations
from accelsim.simulator.time.program import LOADS, STORE, WEIGHT, Program, Times, alone, tile_numbers

if TYPE_CHECKING:
    import simpy

    Generator = simpy.events.ProcessGenerator

UNITS = ("dma", "transform", "lanes", "inverse")
# what the DMA loads, for a timeline
WORDS = {"input": "inputs", "weight": "weights", "operand": "operands"}


@dataclass(frozen=True)
class Span:
    """One unit busy with one thing, for a timeline."""

    unit: str  # of ``UNITS``
    task: str  # what it does, and for which step
    start: int  # cycle
    cycles: int
    part: int = 0  # of the program


class _Slots:
    """When the slot of each tile of one kind is free.

    Events, those of the first two tiles at once.
    """

    def __init__(self, env: "simpy.Environment", tiles: int) -> None:
        self.freed = [env.event() for _ in range(tiles + SLOTS)]
        for first in self.freed[:SLOTS]:
            first.succeed()

    def free_for(self, tile: int) -> "simpy.Event":
        """The event that a tile waits for."""
        return self.freed[tile]

    def free(self, tile: int) -> None:
        """The tile has left its slot."""
        self.freed[tile + SLOTS].succeed()


class _Run:
    """State of a program's run: slots, and for each step the events that others wait for."""

    def __init__(
        self,
        p: Program,
        env: "simpy.Environment",
        record: Callable[[Span], None] | None,
    ) -> None:
        self.p = p
        self.env = env
        self.record = record
        steps = len(p.compute)
        self.part = tile_numbers(p.part_starts).tolist()
        self.load_tile = [tile_numbers(loaded).tolist() for loaded in p.loaded]
        self.load_slots = [_Slots(env, int(loaded.sum())) for loaded in p.loaded]
        self.transformed_tile = tile_numbers(p.transforms & p.input_starts).tolist()
        self.transformed_slots = _Slots(env, self.transformed_tile[-1] + 1)
        self.sums_tile = tile_numbers(p.inverts & p.output_starts).tolist()
        self.sums_slots = _Slots(env, self.sums_tile[-1] + 1)
        self.output_tile = tile_numbers(p.output_starts).tolist()
        self.output_slots = _Slots(env, self.output_tile[-1] + 1)
        self.load_done = [[env.event() for _ in range(steps)] for _ in LOADS]
        self.transformed = [env.event() for _ in range(steps)]
        self.computed = [env.event() for _ in range(steps)]
        self.finished = [env.event() for _ in range(steps)]  # this step, and all before
        self.stored = [env.event() if stores else None for stores in p.stores.tolist()]
        self.computed_at = np.zeros(steps, np.int64)
        self.finished_at = np.zeros(steps, np.int64)

    def busy(self, unit: str, task: str, step: int, cycles: int) -> "Generator":
        """Occupy a unit for some cycles."""
        if self.record is not None and cycles:
            part = self.part[step]
            name = f"{task} {step - int(self.p.first[part])}"
            self.record(Span(unit, name, int(self.env.now), cycles, part))
        yield self.env.timeout(cycles)

    def dma(self) -> "Generator":
        """The requests in the program's order."""
        for number in self.p.order.tolist():
            kind, step = divmod(number, len(self.p.compute))
            yield from self.store(step) if kind == STORE else self.load(kind, step)

    def load(self, kind: int, step: int) -> "Generator":
        """One load, when its slot is free and what it waits for is done."""
        p = self.p
        yield self.load_slots[kind].free_for(self.load_tile[kind][step])
        waits = int((p.waits.weights if kind == WEIGHT else p.waits.inputs)[step])
        if waits >= 0:
            yield (self.computed if kind == WEIGHT else self.finished)[waits]
        yield from self.busy("dma", f"load {WORDS[LOADS[kind]]}", step, int(p.loads[kind][step]))
        self.load_done[kind][step].succeed()

    def store(self, step: int) -> "Generator":
        """One store, when its tile is finished."""
        yield self.finished[step]
        yield from self.busy("dma", "store", step, int(self.p.store[step]))
        self.output_slots.free(self.output_tile[step])
        stored = self.stored[step]
        assert stored is not None
        stored.succeed()

    def may_start(self, step: int) -> "Generator":
        """What a part's first step waits for."""
        if not self.p.part_starts[step]:
            return
        part = self.part[step]
        yield from (self.finished[i] for i in self.p.waits.finished[part])
        last = int(self.p.waits.stored[part])
        if last >= 0:
            yield self.finished[last]
            yield from (stored for stored in self.stored[: last + 1] if stored is not None)

    def transform(self) -> "Generator":
        """The input transform unit: raw inputs in, transformed inputs out."""
        p = self.p
        new_tile = (p.transforms & p.input_starts).tolist()
        for i, new in enumerate(new_tile):
            yield from self.may_start(i)
            if not new:
                continue
            loaded = bool(p.loaded[0][i])
            if loaded:
                yield self.load_done[0][i]
            yield self.transformed_slots.free_for(self.transformed_tile[i])
            yield from self.busy("transform", "transform", i, int(p.transform[i]))
            if loaded:
                self.load_slots[0].free(self.load_tile[0][i])
            self.transformed[i].succeed()

    def lanes(self) -> "Generator":
        """The multiply-accumulate lanes; those of a layer without weights are the vector lanes."""
        p = self.p
        input_ends = p.last_uses(p.loaded[0]).tolist()
        weight_ends = p.last_uses(p.loaded[WEIGHT]).tolist()
        transformed_ends = p.last_uses(p.input_starts).tolist()
        output_starts = p.output_starts.tolist()
        inverts = p.inverts.tolist()
        for i, transforms in enumerate(p.transforms.tolist()):
            yield from self.may_start(i)
            if transforms and p.input_starts[i]:
                yield self.transformed[i]
            for kind in (0, WEIGHT):
                if p.loaded[kind][i]:
                    yield self.load_done[kind][i]
            if output_starts[i]:
                slots = self.output_slots
                tile = self.output_tile
                if inverts[i]:
                    slots = self.sums_slots
                    tile = self.sums_tile
                yield slots.free_for(tile[i])
            yield from self.busy("lanes", "compute", i, int(p.compute[i]))
            if transforms and transformed_ends[i]:
                self.transformed_slots.free(self.transformed_tile[i])
            if not transforms and input_ends[i]:
                self.load_slots[0].free(self.load_tile[0][i])
            if weight_ends[i]:
                self.load_slots[WEIGHT].free(self.load_tile[WEIGHT][i])
            self.computed_at[i] = self.env.now
            self.computed[i].succeed()

    def output(self) -> "Generator":
        """The inverse transform unit or the vector lanes.

        Without either a finished tile is an output as it is.
        """
        p = self.p
        unit = p.has_output_unit.tolist()
        for i, inverts in enumerate(p.inverts.tolist()):
            yield self.computed[i]
            if unit[i]:
                if inverts:
                    yield self.output_slots.free_for(self.output_tile[i])
                if p.loaded[2][i]:
                    yield self.load_done[2][i]
                work = "inverse" if inverts else "post"
                yield from self.busy("inverse", work, i, int(p.output[i]))
                if p.loaded[2][i]:
                    self.load_slots[2].free(self.load_tile[2][i])
                if inverts:
                    self.sums_slots.free(self.sums_tile[i])
            self.finished_at[i] = self.env.now
            if p.output_ends[i] and not p.stores[i]:
                self.output_slots.free(self.output_tile[i])
            self.finished[i].succeed()


def event_times(p: Program, record: Callable[[Span], None] | None = None) -> Times:
    """When things are done in a program, by discrete-event simulation.

    The same as ``program_times``.

    record: called with each span of each unit's work, in order of its start, for a timeline.
    """
    import simpy  # the fast engine has no need of it

    env = simpy.Environment()
    run = _Run(p, env, record)
    units = [env.process(unit) for unit in (run.dma(), run.lanes(), run.output())]
    if p.transforms.any():
        units.append(env.process(run.transform()))
    env.run(until=simpy.events.AllOf(env, units))
    last = p.last
    return Times(computed=run.computed_at[last], finished=run.finished_at[last], end=int(env.now))


def event_cycles(d: Durations, record: Callable[[Span], None] | None = None) -> int:
    """Cycles of one layer by discrete-event simulation.  record: as of ``event_times``."""
    return event_times(alone(d), record).end
