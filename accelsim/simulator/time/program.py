"""Timing a whole network as one program.

The units of ``pipeline``, and no stop at the border of two layers.

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

``recurrence`` computes all times step by step, ``event`` runs the same units as SimPy processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from accelsim.arrays import Flags, Ints, round_up
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import (
    Requests,
    Transfer,
    busiest_share,
    opened_rows,
    request_ns,
    rows_may_bound,
)
from accelsim.simulator.time.pipeline import Durations
from accelsim.simulator.time.schedule import AHEAD, APART, Schedule

WEIGHT = 1
LOADS = ("input", "weight", "operand")  # what the DMA loads for a step, in this order
STORE = 3  # the number of a store among the requests of a step, behind ``LOADS``
NEVER = -1  # no step, no tile


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
    # that must have finished before this step's inputs and operands are loaded, (steps,)
    inputs: Ints
    finished: tuple[tuple[int, ...], ...]  # of each part: that must have finished before it starts
    # of each part: up to which all outputs must be where they belong before it starts, (parts,)
    stored: Ints

    @staticmethod
    def none(part: Ints) -> "Waits":
        """For nothing.  part: of each step."""
        parts = int(part[-1]) + 1
        never = np.full(len(part), NEVER)
        return Waits(weights=never, inputs=never, finished=((),) * parts, stored=np.full(parts, NEVER))


@dataclass(frozen=True)
class Program:
    """The steps of all parts, in cycles.  Arrays: (steps,) int64; flags (steps,) bool.

    order: the DMA's requests, each as the number of its kind (of ``LOADS``, or
    ``STORE``) x steps + its step.
    """

    loads: Ints  # of each kind of ``LOADS``, (3, steps)
    loaded: Flags  # which of them there are, (3, steps)
    # of the weights loaded, decoded and transformed as they arrive: part of their load
    arrival: Ints
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

    @cached_property
    def part(self) -> Ints:
        """The part of each step: (steps,)."""
        return np.asarray(np.cumsum(self.part_starts) - 1)

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
    first, lengths = _places(parts)
    one = np.zeros(lengths.sum(), np.int64)
    return _program(_requests(parts, APART), parts, machine, _waits(parts, first, lengths), one)


def one_after_the_other(parts: Sequence[Part], machine: MachineDescription) -> Program:
    """The programs of ``programs_apart`` as one, for ``recurrence.cycles_apart`` alone: no wait says where each ends.

    The DMA's requests of a part stand behind all of the part before.
    """
    part = np.repeat(np.arange(len(parts)), [len(part.schedule) for part in parts])
    return _program(_requests(parts, 0), parts, machine, Waits.none(part), part)


def programs_apart(parts: Sequence[Part], machine: MachineDescription) -> list[Program]:
    """Each part as a program of its own, when everything that it reads is there."""
    whole = one_after_the_other(parts, machine)
    return [_cut(whole, steps, order) for steps, order in _by_run(whole.order, whole.part)]


def _by_run(order: Ints, run: Ints) -> list[tuple[slice, Ints]]:
    """The steps of each program that is served apart, and its requests among its own, in order.

    run: of each step.
    """
    steps = np.bincount(run)
    first = np.cumsum(steps) - steps
    kind, step = np.divmod(order, len(run))
    of = run[step]
    own = kind * steps[of] + step - first[of]
    requests = np.cumsum(np.bincount(of, minlength=len(steps)))
    slices = [slice(begin, begin + count) for begin, count in zip(first.tolist(), steps.tolist(), strict=True)]
    return list(zip(slices, np.split(own, requests[:-1]), strict=True))


def _cut(p: Program, steps: slice, order: Ints) -> Program:
    """Some steps of a program as a program.  order: theirs."""
    return Program(
        loads=p.loads[:, steps],
        loaded=p.loaded[:, steps],
        arrival=p.arrival[steps],
        store=p.store[steps],
        stores=p.stores[steps],
        transform=p.transform[steps],
        compute=p.compute[steps],
        output=p.output[steps],
        input_starts=p.input_starts[steps],
        output_ends=p.output_ends[steps],
        transforms=p.transforms[steps],
        inverts=p.inverts[steps],
        order=order,
        first=np.array([0]),
        waits=Waits.none(np.zeros(steps.stop - steps.start, np.int64)),
    )


def _places(parts: Sequence[Part]) -> tuple[Ints, Ints]:
    """First step of each part, and how many it has."""
    lengths = np.array([len(part.schedule) for part in parts])
    return np.cumsum(lengths) - lengths, lengths


def _program(
    requests: Sequence[Transfer],
    parts: Sequence[Part],
    machine: MachineDescription,
    waits: Waits,
    run: Ints,
) -> Program:
    """The steps of all parts.

    requests: of ``_requests``.  run: the program that each step belongs to; one behind the other.
    """
    schedules = [part.schedule for part in parts]
    first, lengths = _places(parts)
    exists = np.array([kind.n_bytes > 0 for kind in requests])
    order = _dma_order(exists, waits, run)
    cycles = _dma_cycles(requests, order, np.repeat(np.arange(len(parts)), lengths), run, machine)
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
    waits = Waits.none(none)
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
        order=_dma_order(np.concatenate([loaded, d.output_ends[None]]), waits, none),
        first=np.array([0]),
        waits=waits,
    )


def _requests(parts: Sequence[Part], apart: int) -> tuple[Transfer, ...]:
    """All requests of all steps: of each of ``LOADS`` and ``STORE``, (steps,).

    apart: bytes between the tensors of two parts.
    """
    schedules = [part.schedule for part in parts]
    kinds = (
        [schedule.inputs for schedule in schedules],
        [schedule.weights for schedule in schedules],
        [part.operands for part in parts],
        [schedule.outputs for schedule in schedules],
    )
    requests = (Transfer.of_all(kind) for kind in kinds)
    _, lengths = _places(parts)
    begins = np.repeat(np.arange(len(parts)) * apart, lengths)
    return tuple(replace(kind, address=kind.address + begins) for kind in requests)


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
        makers = [last[source] for source in part.in_dram]
        inputs.append(max(further if part.beside else before, *makers, NEVER))
        stored.append(NEVER if part.beside else before)
    return Waits(
        weights=np.repeat(weights, lengths),
        inputs=np.repeat(inputs, lengths),
        finished=tuple(tuple(last[source] for source in part.on_chip) for part in parts),
        stored=np.array(stored),
    )


def _dma_order(exists: Flags, waits: Waits, run: Ints) -> Ints:
    """The order in which the DMA serves all requests.

    Loads of step i + 2 in front of the store of step i, or where what they wait for is done.

    exists: which requests there are, (4, steps).  What weights wait for is the lanes: they come in
    front of that step's store; what inputs and operands wait for are stores: they come behind.
    run: the program of each step.
    """
    steps = np.arange(exists.shape[1])
    usual = 4 * (steps - AHEAD) + 1
    inputs = np.where(waits.inputs == NEVER, usual, np.maximum(usual, 4 * waits.inputs + 4))
    weights = np.where(waits.weights == NEVER, usual, np.maximum(usual, 4 * waits.weights + 2))
    places = np.array([inputs, weights, inputs, 4 * steps + 3])
    there = np.flatnonzero(exists.ravel())
    kind, step = np.divmod(there, len(steps))
    return there[np.lexsort((kind, step, places.ravel()[there], run[step]))]


def _dma_cycles(
    requests: Sequence[Transfer],
    order: Ints,
    part: Ints,
    run: Ints,
    machine: MachineDescription,
) -> Ints:
    """Cycles of each request: its own, and of a store its share of the turns of the bus; (4, steps).

    part, run: of each step, the latter served apart.
    """
    dram = machine.dram
    asked = Transfer.of_all(requests)
    bursts = asked.bursts(dram.timing.burst_bytes)
    rows = np.zeros_like(bursts)
    may_bound = rows_may_bound(dram.timing, asked, bursts).reshape(STORE + 1, -1)
    if may_bound.any():
        for some, own in _by_run(order, run):
            if may_bound[:, some].any():
                cut = [kind.some(some) for kind in requests]
                rows.reshape(may_bound.shape)[:, some] = opened_rows(dram.timing, dram.channels, cut, own)
    steps = len(run)
    ns = np.zeros(len(bursts))
    share = busiest_share(dram.timing, dram.channels, requests, part)[part]
    in_order = Requests(
        bursts=bursts[order],
        rows=rows[order],
        writes=order >= STORE * steps,
        share=share[order % steps],
        run=run[order % steps],
    )
    ns[order] = request_ns(dram.timing, dram.channels, in_order)
    return round_up(ns.reshape(STORE + 1, steps) / machine.ns_per_cycle)


@dataclass(frozen=True)
class Times:
    """When things are done, in cycles.

    Of each part: computed, when its lanes are; finished, its last output.
    """

    computed: Ints  # (parts,)
    finished: Ints  # (parts,)
    end: int  # when all is

    @property
    def spans(self) -> Ints:
        """Cycles from one part's last multiply to the next one's, (parts,).

        Of the last to the end.
        """
        borders = self.computed.copy()
        borders[-1] = self.end
        return np.diff(borders, prepend=0)
