"""When things are done in a program, by recurrence over its steps.

Each step takes the units in their order: what the DMA must have done before, the transform, the
lanes, the inverse transform or the vector lanes.  What each unit waits for, ``program`` says.
"""

from collections.abc import Iterator

import numpy as np

from accelsim.arrays import Ints
from accelsim.simulator.time.pipeline import SLOTS
from accelsim.simulator.time.program import LOADS, NEVER, STORE, WEIGHT, Program, Times, tile_numbers


def program_times(p: Program) -> Times:
    """When each part's lanes are done, when its last output is, and when all is."""
    return _Recurrence(p).run()


# Of a step: how far the DMA must have come; then whether it begins a part, loads inputs, loads
# weights, transforms, begins an output tile; passes the inverse transform, is the last to use its
# transformed inputs, its raw inputs, its weights, hands its output on, keeps it on the chip.
_Step = tuple[int, bool, bool, bool, bool, bool, bool, bool, bool, bool, bool, bool]


class _Recurrence:
    """The state of ``program_times``.

    When each unit is free, and when the slot of each tile was freed.

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
                done = self.lanes_done if kind == WEIGHT else self.finished
                start = max(start, done[waits])
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
            if self.position <= needed:
                self.advance(needed)
            if part_starts:
                part += 1
                may_start = self._may_start(part)
                computed = max(computed, may_start)
                self.transformed = max(self.transformed, may_start)
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

    def _steps(self) -> Iterator[_Step]:
        """What ``run`` asks of each step, one after the other."""
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
        """When the lanes may begin the step's output tile.

        Of sums for an inverse transform, or of outputs.
        """
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
        """When a part's units may start.

        Earlier parts have finished, or all that they left is where it belongs.
        """
        start = max((self.finished[i] for i in self.p.waits.finished[part]), default=0)
        stored = int(self.p.waits.stored[part])
        if stored != NEVER:
            # ``_needed_positions`` has let the DMA come so far, but no further than to loads
            start = max(start, self.finished[stored], self.last_store)
        return start


def _needed_positions(p: Program, output_tile: list[int]) -> Ints:
    """Where the DMA must have come in its program before each step.

    Its loads, and the store that frees its slot.

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
