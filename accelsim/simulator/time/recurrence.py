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


def cycles_apart(p: Program) -> Ints:
    """Cycles of each part of ``program.one_after_the_other`` by itself: (parts,).

    No unit takes up a part before all of the part before is done.  So whatever a part finds
    there is over when it starts, as if there had been nothing.
    """
    recurrence = _Recurrence(p, apart=True)
    end = recurrence.run().end
    return np.diff([*recurrence.starts, end])


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

    def __init__(self, p: Program, apart: bool = False) -> None:
        self.p = p
        # of parts apart, how far the DMA comes in the parts before each one, and when each one starts
        self.before = _requests_before(p) if apart else None
        self.starts: list[int] = []
        self.steps = len(p.compute)
        self.loaded = p.loaded.tolist()
        self.transform = p.transform.tolist()
        self.compute = p.compute.tolist()
        self.output = p.output.tolist()
        self.requests = list(_requests(p))
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
        dma = self.dma
        for kind, step, cycles, waits in self.requests[self.position : position + 1]:
            if kind == STORE:
                finished = self.finished[step]
                dma = (dma if dma > finished else finished) + cycles
                self.last_store = dma
                self.freed_outputs[self.output_tile[step] + SLOTS] = dma
                continue
            free = self.freed[kind][self.taken[kind]]
            self.taken[kind] += 1
            if free > dma:
                dma = free
            if waits != NEVER:
                done = (self.lanes_done if kind == WEIGHT else self.finished)[waits]
                if done > dma:
                    dma = done
            dma += cycles
            self.ready[kind][step] = dma
        self.dma = dma
        self.position = position + 1

    def run(self) -> Times:
        """Step by step: what the DMA must have done before, then transform, lanes, output unit."""
        input_ready_at, weight_ready_at, _ = self.ready
        freed_input, freed_weight, _ = self.freed
        compute = self.compute
        lanes_done = self.lanes_done
        all_finished = self.finished
        part = -1
        inputs = 0
        weights = 0
        computed = 0
        finished = 0
        for i, step in enumerate(self._steps()):
            needed, part_starts, loads_input, loads_weight, transform_starts, output_starts = step[:6]
            inverts, transformed_ends, input_ends, weight_ends, put_out, stays = step[6:]
            if part_starts and self.before is not None:
                computed = finished = self._start_apart(self.before[part + 1], finished)
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
            if inputs > computed:
                computed = inputs
            if weights > computed:
                computed = weights
            if output_starts:
                free = self._free_slot(i, inverts)
                if free > computed:
                    computed = free
            computed += compute[i]
            lanes_done[i] = computed
            if transformed_ends:
                self.freed_transformed.append(computed)
            if input_ends:
                freed_input.append(computed)
            if weight_ends:
                freed_weight.append(computed)
            done = self._put_out(i, computed, inverts) if put_out else computed
            if done > finished:
                finished = done
            all_finished[i] = finished
            if stays:
                self.freed_outputs[self.output_tile[i] + SLOTS] = finished
        self.advance(len(self.requests) - 1)
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
        start = self.put_out if self.put_out > computed else computed
        if inverts:
            free = self.freed_outputs[self.output_tile[step]]
            if free > start:
                start = free
        loads_operand = self.loaded[2][step]
        if loads_operand and self.ready[2][step] > start:
            start = self.ready[2][step]
        self.put_out = start + self.output[step]
        if loads_operand:
            self.freed[2].append(self.put_out)
        if inverts:
            self.freed_sums.append(self.put_out)
        return self.put_out

    def _start_apart(self, requests: int, finished: int) -> int:
        """When a part starts that waits for all of the parts before: every unit is free from then on.

        requests: of the DMA in those parts.
        """
        self.advance(requests - 1)
        start = max(self.dma, finished)
        self.starts.append(start)
        self.dma = self.transformed = self.put_out = start
        return start

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


def _requests(p: Program) -> Iterator[tuple[int, int, int, int]]:
    """The DMA's requests in order: kind, step, cycles, and the step whose end a load waits for."""
    steps = len(p.compute)
    kind, step = np.divmod(p.order, steps)
    cycles = np.concatenate([p.loads, p.store[None]]).ravel()[p.order]
    waits = np.where(kind == WEIGHT, p.waits.weights[step], p.waits.inputs[step])
    return zip(kind.tolist(), step.tolist(), cycles.tolist(), waits.tolist(), strict=True)


def _requests_before(p: Program) -> list[int]:
    """How many of the DMA's requests are of the parts before each one."""
    of_parts = np.bincount(p.part[p.order % len(p.compute)], minlength=len(p.first))
    found: list[int] = (np.cumsum(of_parts) - of_parts).tolist()
    return found


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
