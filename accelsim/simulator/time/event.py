"""The reference engine: the units of ``simulator.time.pipeline`` as SimPy processes that share slots and the DMA.

In the real machine: a DMA engine in front of one DRAM, an input transform unit, the lanes, an inverse transform unit,
and between them double buffers.  A buffer's free slots are a ``simpy.Container``: a unit gets one before it starts to
fill it, and the unit that empties it puts it back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import simpy

from accelsim.simulator.time.pipeline import SLOTS, Durations
from accelsim.simulator.time.schedule import AHEAD

UNITS = ("dma", "transform", "lanes", "inverse")
Generator = simpy.events.ProcessGenerator


@dataclass(frozen=True)
class Span:
    """One unit busy with one thing, for a timeline."""

    unit: str  # of ``UNITS``
    task: str  # what it does, and for which step
    start: int  # cycle
    cycles: int


class _Layer:
    """State of one layer's run: slots, and for each step the events that others wait for."""

    def __init__(self, d: Durations, env: simpy.Environment, record: Callable[[Span], None] | None) -> None:
        self.d = d
        self.env = env
        self.record = record
        buffers = ("input", "weight", "transformed", "accumulator", "output")
        self.slots = {name: simpy.Container(env, SLOTS, SLOTS) for name in buffers}
        self.inputs_loaded = self.per_tile(d.input_starts.tolist())
        self.weights_loaded = self.per_tile(d.weight_starts.tolist())
        self.transformed = self.per_tile(d.input_starts.tolist())
        self.computed = [env.event() for _ in d.compute]
        self.finished = [env.event() for _ in d.compute]

    def per_tile(self, starts: list[bool]) -> list[simpy.Event]:
        """For each step the event that its tile is there: where no tile starts, that of the step before."""
        events = [self.env.event().succeed()]
        for start in starts:
            events.append(self.env.event() if start else events[-1])
        return events[1:]

    def busy(self, unit: str, task: str, cycles: int) -> Generator:
        """Occupy a unit for some cycles."""
        if self.record is not None and cycles:
            self.record(Span(unit, task, int(self.env.now), cycles))
        yield self.env.timeout(cycles)

    def load(self, i: int) -> Generator:
        """The DMA's loads for one step: its input tile, then its weight tile, where they are new."""
        if self.d.input_starts[i]:
            yield self.slots["input"].get(1)
            yield from self.busy("dma", f"load inputs {i}", int(self.d.input_load[i]))
            self.inputs_loaded[i].succeed()
        if self.d.weight_starts[i]:
            yield self.slots["weight"].get(1)
            yield from self.busy("dma", f"load weights {i}", int(self.d.weight_load[i]))
            self.weights_loaded[i].succeed()

    def dma(self) -> Generator:
        """Loads two steps ahead, stores in between, in the fixed order."""
        steps = len(self.d.compute)
        for i in range(min(AHEAD, steps)):
            yield from self.load(i)
        for i in range(steps):
            if i + AHEAD < steps:
                yield from self.load(i + AHEAD)
            if self.d.output_ends[i]:
                yield self.finished[i]
                yield from self.busy("dma", f"store {i}", int(self.d.store[i]))
                yield self.slots["output"].put(1)

    def transform(self) -> Generator:
        """The input transform unit: raw inputs in, transformed inputs out."""
        for i, new in enumerate(self.d.input_starts):
            if new:
                yield self.inputs_loaded[i]
                yield self.slots["transformed"].get(1)
                yield from self.busy("transform", f"transform {i}", int(self.d.transform[i]))
                yield self.slots["input"].put(1)
                self.transformed[i].succeed()

    def lanes(self) -> Generator:
        """The multiply-accumulate lanes."""
        inputs_ready = self.transformed if self.d.transforms else self.inputs_loaded
        inputs = "transformed" if self.d.transforms else "input"
        results = "accumulator" if self.d.transforms else "output"
        starts = [True, *self.d.output_ends[:-1]]
        for i in range(len(self.d.compute)):
            yield inputs_ready[i] & self.weights_loaded[i]
            if starts[i]:
                yield self.slots[results].get(1)
            yield from self.busy("lanes", f"compute {i}", int(self.d.compute[i]))
            if self.d.input_ends[i]:
                yield self.slots[inputs].put(1)
            if self.d.weight_ends[i]:
                yield self.slots["weight"].put(1)
            self.computed[i].succeed()

    def inverse(self) -> Generator:
        """The inverse transform unit; without transforms a finished tile is an output as it is."""
        for i, ends in enumerate(self.d.output_ends):
            yield self.computed[i]
            if ends and self.d.transforms:
                yield self.slots["output"].get(1)
                yield from self.busy("inverse", f"inverse {i}", int(self.d.inverse[i]))
                yield self.slots["accumulator"].put(1)
            self.finished[i].succeed()


def event_cycles(d: Durations, record: Callable[[Span], None] | None = None) -> int:
    """Cycles of one layer by discrete-event simulation.

    record: called with each span of each unit's work, in order of its start, for a timeline.
    """
    env = simpy.Environment()
    layer = _Layer(d, env, record)
    done = [env.process(layer.dma()), env.process(layer.lanes()), env.process(layer.inverse())]
    if d.transforms:
        done.append(env.process(layer.transform()))
    env.run(until=simpy.events.AllOf(env, done))
    return int(env.now)
