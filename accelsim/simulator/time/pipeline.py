"""Timing a schedule: DMA in, input transform, lanes, inverse transform, DMA out.

All are double-buffered, on one DRAM.

What both engines mean, in cycles:

- one DMA engine works through a fixed program, in order: the loads of steps 0 and 1, then for each
  step i the loads of step i + 2 and, if step i finished an output tile, its store.  Each request
  takes whole cycles, a store its share of the turns of the DRAM's bus among them; the first one
  also waits for its row;
- there are two slots each for input tiles, weight tiles, transformed inputs, accumulators (where
  there is an inverse transform) and output tiles.  A unit takes a slot before it starts and the
  reader behind it frees it when done;
- the transform unit, the lanes and the inverse transform unit each do one step at a time, in order;
- layers follow one another without overlap.

The order is fixed, so no change of speed can reorder the work: faster memory or units never cost
cycles.  ``pipeline_cycles`` computes these times by recurrence; ``event`` runs the same units as
SimPy processes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accelsim.arrays import Flags, Ints, round_up
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import Requests, Transfer, request_ns, rows_may_bound
from accelsim.simulator.time.schedule import AHEAD, Schedule, request_order

SLOTS = 2  # double-buffering


@dataclass(frozen=True)
class Durations:
    """Cycles of each thing that a step does, and which steps do it.

    (steps,) int64, and (steps,) bool.
    """

    input_load: Ints
    weight_load: Ints
    transform: Ints  # of the new input tile
    compute: Ints
    inverse: Ints  # of the finished output tile
    store: Ints
    input_starts: Flags  # steps that load an input tile
    weight_starts: Flags  # steps that load a weight tile
    output_ends: Flags  # steps that store an output tile
    transforms: bool  # whether inputs pass through a transform unit
    inverts: bool  # whether results pass through an inverse transform unit

    @cached_property
    def input_ends(self) -> Flags:
        """Which steps are the last to use their input tile."""
        return _ends(self.input_starts)

    @cached_property
    def weight_ends(self) -> Flags:
        """Which steps are the last to use their weight tile."""
        return _ends(self.weight_starts)

    @property
    def dma_cycles(self) -> int:
        """Cycles that the DMA engine is busy."""
        return int(self.input_load.sum() + self.weight_load.sum() + self.store.sum())


def _ends(starts: Flags) -> Flags:
    """The last step of each run that a start begins."""
    ends = np.logical_or.accumulate(starts)
    ends[:-1] &= starts[1:]
    return ends


def durations(schedule: Schedule, machine: MachineDescription) -> Durations:
    """The schedule in cycles of the machine's clock and DRAM."""
    dram = machine.dram
    steps = len(schedule)
    order = request_order(steps)
    asked = Transfer.of_all(schedule.transfers)
    bursts = asked.bursts(dram.timing.burst_bytes)
    rows = np.zeros_like(bursts)
    if rows_may_bound(dram.timing, asked, bursts).any():
        rows = schedule.rows.ravel()
    requests = Requests(
        bursts=bursts[order],
        rows=rows[order],
        writes=order >= 2 * steps,
        share=np.full(len(order), schedule.busiest_share),
    )
    ns = np.empty(3 * steps)
    ns[order] = request_ns(dram.timing, dram.channels, requests)
    input_load, weight_load, store = round_up(ns / machine.ns_per_cycle).reshape(3, steps)
    new_inputs, new_weights, stores = (transfer.n_bytes > 0 for transfer in schedule.transfers)
    return Durations(
        input_load=input_load,
        weight_load=np.maximum(weight_load, schedule.weight_transform_cycles),
        transform=schedule.transform_cycles,
        compute=schedule.compute_cycles,
        inverse=schedule.inverse_cycles,
        store=store,
        input_starts=new_inputs,
        weight_starts=new_weights,
        output_ends=stores,
        transforms=schedule.transforms,
        inverts=schedule.inverts,
    )


def pipeline_cycles(d: Durations) -> int:
    """Cycles of one layer by recurrence over its steps.

    They count from the first request to the last byte stored.
    """
    steps = len(d.compute)
    # Plain lists: a loop over them is several times as fast as over arrays.
    input_load = d.input_load.tolist()
    weight_load = d.weight_load.tolist()
    transform = d.transform.tolist()
    compute = d.compute.tolist()
    inverse = d.inverse.tolist()
    store = d.store.tolist()
    new_input = d.input_starts.tolist()
    new_weight = d.weight_starts.tolist()
    output_ends = d.output_ends.tolist()
    input_ends = d.input_ends.tolist()
    weight_ends = d.weight_ends.tolist()

    # When each unit is free again.
    dma = transformed = computed = inverted = 0
    # When the last SLOTS tiles of each kind were freed, oldest first.
    input_free = [0] * SLOTS
    weight_free = [0] * SLOTS
    transformed_free = [0] * SLOTS
    accumulator_free = [0] * SLOTS
    output_free = [0] * SLOTS
    # The slots that the lanes empty, and those that they fill.
    lanes_empty = transformed_free if d.transforms else input_free
    lanes_fill = accumulator_free if d.inverts else output_free

    input_ready = weight_ready = transformed_ready = 0
    loaded: list[tuple[int, int]] = []  # of each step: when its input and weight tiles are there

    def load(i: int) -> None:
        nonlocal dma, input_ready, weight_ready
        if new_input[i]:
            dma = input_ready = max(dma, input_free.pop(0)) + input_load[i]
        if new_weight[i]:
            dma = weight_ready = max(dma, weight_free.pop(0)) + weight_load[i]
        loaded.append((input_ready, weight_ready))

    for i in range(min(AHEAD, steps)):
        load(i)
    new_output = True
    for i in range(steps):
        inputs, weights = loaded[i]
        if d.transforms:
            if new_input[i]:
                transformed = max(transformed, inputs, transformed_free.pop(0)) + transform[i]
                transformed_ready = transformed
                input_free.append(transformed)
            inputs = transformed_ready
        start = max(computed, inputs, weights)
        if new_output:
            start = max(start, lanes_fill.pop(0))
        computed = start + compute[i]
        if input_ends[i]:
            lanes_empty.append(computed)
        if weight_ends[i]:
            weight_free.append(computed)
        finished = computed
        if output_ends[i] and d.inverts:
            finished = inverted = max(inverted, computed, output_free.pop(0)) + inverse[i]
            accumulator_free.append(inverted)
        if i + AHEAD < steps:
            load(i + AHEAD)
        if output_ends[i]:
            dma = max(dma, finished) + store[i]
            output_free.append(dma)
        new_output = output_ends[i]
    return dma
