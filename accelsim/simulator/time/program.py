"""Timing a whole network as one program: the units of ``pipeline``, and no stop at the border of two layers.

A part is a layer and what rides on its outputs.  Its steps follow those of the part before.  What
is new beside ``pipeline``, where a part stands alone:

- the vector lanes are a unit behind the lanes (or the inverse transform): they take a finished
  output tile, and the operand that the DMA loaded for it into one of two slots;
- a part whose inputs are on chip waits until the parts that made them have finished; loads of
  inputs from DRAM come behind the stores of those parts;
- the loads of the next part's first two steps stand in the DMA's program before the last stores of
  this one.  Weights may come while this part's last tiles are worked on, if both parts' fit the
  buffer, else when its lanes are done; everything else of the next part may begin where both parts'
  tiles find room (``beside``), else when this part's last output is where it belongs;
- the slot of a tile is that of the tile two before it, of whatever part.

The order of the DMA's program is fixed by the parts alone, and each start is the latest of some
ends: so faster memory or units never cost cycles.  The program without overlap (``Part.beside`` and
``weights_beside`` all false, loads behind the stores) is the other one that a controller could run;
``simulator.network`` takes the faster of both.

``program_times`` computes all times by recurrence, ``event`` runs the same units as SimPy processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from accelsim.arrays import Flags, Ints, round_up
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import Requests, Transfer, opened_rows, request_ns, rows_may_bound
from accelsim.simulator.time.pipeline import SLOTS, Durations
from accelsim.simulator.time.schedule import AHEAD, Schedule

WEIGHT = 1
LOADS = ("input", "weight", "operand")  # what the DMA loads for a step, in this order
STORE = 3  # the number of a store among the requests of a step, behind ``LOADS``
NEVER = -1  # no step, no tile
APART = 1 << 40  # bytes between the tensors of two parts


@dataclass(frozen=True)
class Part:
    """A layer, with what rides on its outputs, among the parts of a program."""

    schedule: Schedule
    finishes: Flags  # which steps finish an output tile, (steps,)
    operands: Transfer  # of riding additions: with the step that finishes the output tile, (steps,)
    post_cycles: Ints  # of the vector lanes, with that step, (steps,)
    on_chip: tuple[int, ...] = ()  # earlier parts whose outputs this one finds on chip
    in_dram: tuple[int, ...] = ()  # earlier parts whose outputs this one loads
    beside: bool = False  # whether its tiles find room beside those of the part before
    weights_beside: bool = False  # whether its weights do


@dataclass(frozen=True)
class Waits:
    """What the parts of a program wait for: numbers of steps, -1 for none."""

    weights: Ints  # whose lanes must be done before this step's weights are loaded, (steps,)
    inputs: Ints  # that must have finished before this step's inputs and operands are loaded, (steps,)
    finished: tuple[tuple[int, ...], ...]  # of each part: that must have finished before it starts
    stored: Ints  # of each part: up to which all outputs must be where they belong before it starts, (parts,)


@dataclass(frozen=True)
class Program:
    """The steps of all parts, in cycles.  Arrays: (steps,) int64; flags (steps,) bool.

    order: the DMA's requests, each as the number of its kind (of ``LOADS``, or ``STORE``) x steps + its step.
    """

    loads: Ints  # of each kind of ``LOADS``, (3, steps)
    loaded: Flags  # which of them there are, (3, steps)
    arrival: Ints  # of the weights loaded, decoded and transformed as they arrive: part of their load
    store: Ints
    stores: Flags  # whether the step stores its output tile
    transform: Ints  # of the new input tile
    compute: Ints
    output: Ints  # of inverse transform or vector lanes, whichever takes longer
    input_starts: Flags  # whether the step is the first on an input tile, loaded or found on chip
    output_ends: Flags  # whether it finishes an output tile
    transforms: Flags  # whether its inputs pass a transform unit
    inverts: Flags  # whether its outputs pass an inverse transform unit
    order: Ints
    first: Ints  # step of each part, (parts,)
    waits: Waits

    @cached_property
    def last(self) -> Ints:
        """Last step of each part: (parts,)."""
        return np.append(self.first[1:], len(self.compute)) - 1

    @cached_property
    def part_starts(self) -> Flags:
        """Which steps are the first of a part."""
        starts = np.zeros(len(self.compute), bool)
        starts[self.first] = True
        return starts

    def last_uses(self, starts: Flags) -> Flags:
        """Which steps are the last on the tile that a start begins; no tile outlives its part."""
        begins = starts | self.part_starts
        started = np.logical_or.accumulate(begins) & (_latest(starts) >= _latest(self.part_starts))
        started[:-1] &= begins[1:]
        return started

    @cached_property
    def output_starts(self) -> Flags:
        """Whether a step is the first on an output tile."""
        return np.append(True, self.output_ends[:-1]) | self.part_starts

    @property
    def has_output_unit(self) -> Flags:
        """Whether a finished tile passes an inverse transform or the vector lanes."""
        return np.asarray(self.output_ends & (self.inverts | (self.output > 0) | self.loaded[2]))

    @property
    def dma_cycles(self) -> Ints:
        """Cycles that the DMA is busy for each part: (parts,)."""
        return np.asarray(np.add.reduceat(self.loads.sum(axis=0) + self.store, self.first))


def _latest(flags: Flags) -> Ints:
    """The latest step up to each one where the flag is set, -1 before."""
    return np.asarray(np.maximum.accumulate(np.where(flags, np.arange(len(flags)), NEVER)))


def tile_numbers(starts: Flags) -> Ints:
    """The number of the tile that each step uses, counted over all steps; -1 before the first."""
    return np.asarray(np.cumsum(starts) - 1)


def program_of(parts: Sequence[Part], machine: MachineDescription) -> Program:
    """The parts as one program of the machine's clock and DRAM."""
    schedules = [part.schedule for part in parts]
    lengths = np.array([len(schedule) for schedule in schedules])
    first = np.cumsum(lengths) - lengths
    requests = _requests(parts)
    exists = np.array([kind.n_bytes > 0 for kind in requests])
    waits = _waits(parts, first, lengths)
    order = _dma_order(exists, waits)
    cycles = _dma_cycles(requests, order, machine)
    arrival = np.concatenate([schedule.weight_transform_cycles for schedule in schedules])
    cycles[1] = np.maximum(cycles[1], arrival)
    transform = np.concatenate([schedule.transform_cycles for schedule in schedules])
    inverse = np.concatenate([schedule.inverse_cycles for schedule in schedules])
    post = np.concatenate([part.post_cycles for part in parts])
    return Program(
        loads=cycles[:STORE],
        loaded=exists[:STORE],
        arrival=arrival,
        store=cycles[STORE],
        stores=exists[STORE],
        transform=transform,
        compute=np.concatenate([schedule.compute_cycles for schedule in schedules]),
        output=np.maximum(inverse, post),
        input_starts=exists[0] | (transform > 0),
        output_ends=np.concatenate([part.finishes for part in parts]),
        transforms=np.repeat([schedule.transforms for schedule in schedules], lengths),
        inverts=np.repeat([schedule.inverts for schedule in schedules], lengths),
        order=order,
        first=first,
        waits=waits,
    )


def alone(d: Durations) -> Program:
    """One layer's steps as a program."""
    steps = len(d.compute)
    none = np.zeros(steps, np.int64)
    loaded = np.array([d.input_starts, d.weight_starts, none > 0])
    waits = Waits(weights=np.full(steps, NEVER), inputs=np.full(steps, NEVER), finished=((),), stored=np.array([NEVER]))
    return Program(
        loads=np.array([d.input_load, d.weight_load, none]),
        loaded=loaded,
        arrival=none,
        store=d.store,
        stores=d.output_ends,
        transform=d.transform,
        compute=d.compute,
        output=d.inverse if d.inverts else none,
        input_starts=d.input_starts,
        output_ends=d.output_ends,
        transforms=np.full(steps, d.transforms),
        inverts=np.full(steps, d.inverts),
        order=_dma_order(np.concatenate([loaded, d.output_ends[None]]), waits),
        first=np.array([0]),
        waits=waits,
    )


def _requests(parts: Sequence[Part]) -> tuple[Transfer, ...]:
    """All requests of all steps: of each of ``LOADS`` and ``STORE``, (steps,); parts have tensors of their own."""
    kinds: list[list[Transfer]] = [[], [], [], []]
    for p, part in enumerate(parts):
        of_part = (part.schedule.inputs, part.schedule.weights, part.operands, part.schedule.outputs)
        for kind, transfer in zip(kinds, of_part, strict=True):
            kind.append(replace(transfer, address=transfer.address + p * APART))
    return tuple(Transfer.of_all(kind) for kind in kinds)


def _waits(parts: Sequence[Part], first: Ints, lengths: Ints) -> Waits:
    """What each part's requests and units wait for (module docstring)."""
    last = (first + lengths - 1).tolist()
    weights = []
    inputs = []
    stored = []
    for p, part in enumerate(parts):
        before = last[p - 1] if p > 0 else NEVER
        further = last[p - 2] if p > 1 else NEVER
        weights.append(further if part.weights_beside else before)
        inputs.append(max(further if part.beside else before, *(last[source] for source in part.in_dram), NEVER))
        stored.append(NEVER if part.beside else before)
    return Waits(
        weights=np.repeat(weights, lengths),
        inputs=np.repeat(inputs, lengths),
        finished=tuple(tuple(last[source] for source in part.on_chip) for part in parts),
        stored=np.array(stored),
    )


def _dma_order(exists: Flags, waits: Waits) -> Ints:
    """The DMA's program: loads of step i + 2 in front of the store of step i, or where what they wait for is done.

    exists: which requests there are, (4, steps).  What weights wait for is the lanes: they come in
    front of that step's store; what inputs and operands wait for are stores: they come behind.
    """
    steps = np.arange(exists.shape[1])
    usual = 4 * (steps - AHEAD) + 1
    inputs = np.where(waits.inputs == NEVER, usual, np.maximum(usual, 4 * waits.inputs + 4))
    weights = np.where(waits.weights == NEVER, usual, np.maximum(usual, 4 * waits.weights + 2))
    places = np.array([inputs, weights, inputs, 4 * steps + 3])
    there = np.flatnonzero(exists.ravel())
    kind, step = np.divmod(there, len(steps))
    return there[np.lexsort((kind, step, places.ravel()[there]))]


def _dma_cycles(requests: Sequence[Transfer], order: Ints, machine: MachineDescription) -> Ints:
    """Cycles of each request: its own, and before it those in which the bus turns; (4, steps)."""
    dram = machine.dram
    asked = Transfer.of_all(requests)
    bursts = asked.bursts(dram.timing.burst_bytes)
    rows = np.zeros_like(bursts)
    if rows_may_bound(dram.timing, asked, bursts):
        rows = opened_rows(dram.timing, dram.channels, requests, order).ravel()
    steps = len(requests[0].n_bytes)
    ns = np.zeros(len(bursts))
    in_order = Requests(bursts=bursts[order], rows=rows[order], writes=order >= STORE * steps)
    ns[order] = request_ns(dram.timing, dram.channels, in_order)
    return round_up(ns.reshape(STORE + 1, steps) / machine.ns_per_cycle)


@dataclass(frozen=True)
class Times:
    """When things are done, in cycles.  Of each part: computed, when its lanes are; finished, its last output."""

    computed: Ints  # (parts,)
    finished: Ints  # (parts,)
    end: int  # when all is

    @property
    def spans(self) -> Ints:
        """Cycles from one part's last multiply to the next one's, of the last part to the end: (parts,)."""
        borders = self.computed.copy()
        borders[-1] = self.end
        return np.diff(borders, prepend=0)


def program_times(p: Program) -> Times:
    """All times by recurrence over the steps."""
    return _Recurrence(p).run()


class _Recurrence:
    """The state of ``program_times``: when each unit is free, and when the slot of each tile was freed.

    Plain lists: a loop over them is several times as fast as over arrays.  A list of freed slots
    begins with those of the two tiles that never were, so that its entry t is what tile t waits
    for.
    """

    def __init__(self, p: Program) -> None:
        self.p = p
        self.steps = len(p.compute)
        self.loads = p.loads.tolist()
        self.loaded = p.loaded.tolist()
        self.store = p.store.tolist()
        self.transform = p.transform.tolist()
        self.compute = p.compute.tolist()
        self.output = p.output.tolist()
        self.order = p.order.tolist()
        self.wait_weights = p.waits.weights.tolist()
        self.wait_inputs = p.waits.inputs.tolist()
        self.output_tile: list[int] = tile_numbers(p.output_starts).tolist()
        self.position = 0  # of the DMA in its program
        self.dma = 0
        self.ready = [[0] * self.steps for _ in LOADS]  # when each load was done
        self.freed: list[list[int]] = [[0] * SLOTS for _ in LOADS]
        self.taken = [0] * len(LOADS)  # tiles loaded so far
        self.freed_outputs = [0] * (self.output_tile[-1] + 1 + SLOTS)
        self.lanes_done = [0] * self.steps
        self.finished = [0] * self.steps  # this step, and all before
        self.last_store = 0  # when the latest store was done
        self.transformed = 0  # when the transform unit is free
        self.transformed_tiles = 0  # so far
        self.freed_transformed = [0] * SLOTS
        self.put_out = 0  # when the output unit is free
        self.sums_tiles = 0  # tiles of sums for the inverse transform so far
        self.freed_sums = [0] * SLOTS

    def advance(self, position: int) -> None:
        """Let the DMA work off its program up to a position, that one too."""
        while self.position <= position:
            kind, step = divmod(self.order[self.position], self.steps)
            self.position += 1
            if kind == STORE:
                self.dma = max(self.dma, self.finished[step]) + self.store[step]
                self.last_store = self.dma
                self.freed_outputs[self.output_tile[step] + SLOTS] = self.dma
                continue
            waits = self.wait_weights[step] if kind == WEIGHT else self.wait_inputs[step]
            start = max(self.dma, self.freed[kind][self.taken[kind]])
            self.taken[kind] += 1
            if waits != NEVER:
                start = max(start, self.lanes_done[waits] if kind == WEIGHT else self.finished[waits])
            self.dma = start + self.loads[kind][step]
            self.ready[kind][step] = self.dma

    def run(self) -> Times:
        """Step by step: what the DMA must have done before, then transform, lanes, output unit."""
        input_ready_at, weight_ready_at, _ = self.ready
        freed_input, freed_weight, _ = self.freed
        part = -1
        inputs = 0
        weights = 0
        computed = 0
        finished = 0
        for i, step in enumerate(self._steps()):
            needed, part_starts, loads_input, loads_weight, transform_starts, output_starts = step[:6]
            inverts, transformed_ends, input_ends, weight_ends, put_out, stays = step[6:]
            self.advance(needed)
            if part_starts:
                part += 1
                inputs = weights = self._may_start(part)
                self.transformed = max(self.transformed, inputs)
            if loads_input:
                inputs = input_ready_at[i]
            if loads_weight:
                weights = weight_ready_at[i]
            if transform_starts:
                inputs = self._transform(i)
            start = max(computed, inputs, weights)
            if output_starts:
                start = max(start, self._free_slot(i, inverts))
            computed = start + self.compute[i]
            self.lanes_done[i] = computed
            if transformed_ends:
                self.freed_transformed.append(computed)
            if input_ends:
                freed_input.append(computed)
            if weight_ends:
                freed_weight.append(computed)
            done = self._put_out(i, computed, inverts) if put_out else computed
            finished = max(finished, done)
            self.finished[i] = finished
            if stays:
                self.freed_outputs[self.output_tile[i] + SLOTS] = finished
        self.advance(len(self.order) - 1)
        last = self.p.last.tolist()
        return Times(
            computed=np.array([self.lanes_done[i] for i in last]),
            finished=np.array([self.finished[i] for i in last]),
            end=max(self.dma, finished),
        )

    def _steps(self) -> Iterator[tuple[int, bool, bool, bool, bool, bool, bool, bool, bool, bool, bool, bool]]:
        """What ``run`` asks of each step, in its order."""
        p = self.p
        columns = (
            _needed_positions(p, self.output_tile),
            p.part_starts,
            p.loaded[0],
            p.loaded[1],
            p.transforms & p.input_starts,
            p.output_starts,
            p.inverts,
            p.transforms & p.last_uses(p.input_starts),
            ~p.transforms & p.last_uses(p.loaded[0]),
            p.last_uses(p.loaded[1]),
            p.has_output_unit,
            p.output_ends & ~p.stores,
        )
        return zip(*(column.tolist() for column in columns), strict=True)

    def _transform(self, step: int) -> int:
        """When the step's input tile is transformed; its raw slot is then free."""
        loaded = self.loaded[0][step]
        raw = self.ready[0][step] if loaded else 0
        start = max(self.transformed, raw, self.freed_transformed[self.transformed_tiles])
        self.transformed = start + self.transform[step]
        self.transformed_tiles += 1
        if loaded:
            self.freed[0].append(self.transformed)
        return self.transformed

    def _free_slot(self, step: int, inverts: bool) -> int:
        """When the lanes may begin the step's output tile: of sums for an inverse transform, or of outputs."""
        if not inverts:
            return self.freed_outputs[self.output_tile[step]]
        self.sums_tiles += 1
        return self.freed_sums[self.sums_tiles - 1]

    def _put_out(self, step: int, computed: int, inverts: bool) -> int:
        """When the step's output tile has passed the inverse transform or the vector lanes."""
        start = max(self.put_out, computed)
        if inverts:
            start = max(start, self.freed_outputs[self.output_tile[step]])
        loads_operand = self.loaded[2][step]
        if loads_operand:
            start = max(start, self.ready[2][step])
        self.put_out = start + self.output[step]
        if loads_operand:
            self.freed[2].append(self.put_out)
        if inverts:
            self.freed_sums.append(self.put_out)
        return self.put_out

    def _may_start(self, part: int) -> int:
        """When a part's units may start: earlier parts have finished, or all that they left is where it belongs."""
        start = max((self.finished[i] for i in self.p.waits.finished[part]), default=0)
        stored = int(self.p.waits.stored[part])
        if stored != NEVER:  # ``_needed_positions`` has let the DMA come so far, but no further than to loads
            start = max(start, self.finished[stored], self.last_store)
        return start


def _needed_positions(p: Program, output_tile: list[int]) -> Ints:
    """Where the DMA must have come in its program before each step: its loads, and the store that frees its slot.

    (steps,), never falling; -1 for nowhere.
    """
    steps = len(p.compute)
    place = np.full((STORE + 1, steps), NEVER)
    place.reshape(-1)[p.order] = np.arange(len(p.order))
    needed = place[:STORE].max(axis=0)
    stored_at = np.full(output_tile[-1] + 1 + SLOTS, NEVER)
    ends = np.flatnonzero(p.output_ends)
    tiles = np.asarray(output_tile)
    stored_at[tiles[ends] + SLOTS] = place[STORE][ends]
    needed = np.maximum(needed, stored_at[tiles])
    stored = np.maximum.accumulate(place[STORE])
    behind = p.waits.stored != NEVER
    needed[p.first[behind]] = np.maximum(needed[p.first[behind]], stored[p.waits.stored[behind]])
    return np.asarray(np.maximum.accumulate(needed))
