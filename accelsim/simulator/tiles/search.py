"""The search for the best tiling of a layer: all of them scored at once, as arrays.

Candidates are all balanced cuts of every dimension, in both outer orders (``candidates``).  A buffer holds the current
tile and, double-buffered, the next; an operand is loaded when its tile changes from one step to the next.  An operand
all of whose tiles fit its buffer stays there and is loaded once (Winograd: inputs stay transformed).  The score is

    cycles = max(DMA, transform, lanes, inverse) + one average step of each of the others (fill and drain),

where weights and inputs share a buffer with the first pass of the outer loop, in which alone what stays is loaded,
apart from the rest; or the DRAM bytes, energy or energy x cycles where that is the machine's objective (``objective``).
The DMA moves whole bursts at a rate, and loses some cycles at every store.  For cycles the best tilings at many rates
are found, from a DRAM that bounds every layer to one that bounds none, and then timed: so what is found does not depend
on the machine's DRAM, and a DRAM that serves every request faster cannot lead to a slower schedule.
A larger buffer only adds candidates and lets more operands stay, so it never worsens the best score in cycles or bytes
(an access of it costs more energy).

Cutting the channels costs the lanes barriers that have to be counted from the masks.  So every cut of the channels is
first scored as if it cost none (a lower bound), and then exactly, from the most promising on, until the bound of the
next cannot beat the best so far.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Floats, Ints
from accelsim.simulator.tiles.actions import LayerSums, count_actions, fold_counts
from accelsim.simulator.tiles.candidates import (
    FILTERS,
    ORDER,
    POSITIONS,
    WEIGHTS_FIRST,
    Traffic,
    along,
)
from accelsim.simulator.tiles.description import TiledDescription
from accelsim.simulator.tiles.lanes import lane_cycles, least_cycles
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.overhead import TRANSFORM_STEP_CYCLES, FoldSizes, fill_cycles
from accelsim.simulator.tiles.positions import rounds
from accelsim.simulator.tiles.rooms import Rooms, worth_scoring
from accelsim.simulator.tiles.tiling import Tiling, block_edges
from accelsim.simulator.time import objective
from accelsim.simulator.time.objective import DMAS, Dma, own_dma
from accelsim.simulator.time.schedule import ActionCounts

Where = tuple[int, int, int, int]  # a candidate, as an index of the arrays


def choose_tilings(mode: Mode, machine: TiledDescription) -> list[Tiling]:
    """The tilings that are worth timing: for cycles the best ones of many rates of a DMA, else the best one.

    Raises InputError as ``choose_tiling``.
    """
    if machine.objective != "cycles":
        return [choose_tiling(mode, machine)[0]]
    rooms = worth_scoring(mode, machine)
    search = _Search(mode, machine, rooms, DMAS[0])
    found = {}
    for dma in DMAS:
        search.measure_dma(dma)
        found[search.best()[0]] = None
    return list(found)


def choose_tiling(mode: Mode, machine: TiledDescription) -> tuple[Tiling, float]:
    """The tiling with the lowest score, and the score in the unit of the machine's objective.

    Raises InputError if no tiling fits the buffers and has no more steps than MAX_STEPS.
    """
    return _Search(mode, machine, worth_scoring(mode, machine), own_dma(machine)).best()


class _Search:
    """Some tilings of a layer, on one machine, scored."""

    def __init__(self, mode: Mode, machine: TiledDescription, rooms: Rooms, dma: Dma) -> None:
        self.mode = mode
        self.machine = machine
        self.candidates = rooms.candidates
        self.weights_stay = rooms.weights_stay
        self.inputs_stay = rooms.inputs_stay
        self.fits = rooms.fits
        self._count_loads()
        self.units = self._measure_units()
        self.measure_dma(dma)

    def best(self) -> tuple[Tiling, float]:
        """The tiling with the lowest score, and the score."""
        bounds = self.score(self.least_lanes).min(axis=(ORDER, FILTERS, POSITIONS))
        best: tuple[float, Where] | None = None
        for cut in np.lexsort((-np.arange(len(bounds)), bounds)):  # of equal ones the least cut
            if not np.isfinite(bounds[cut]) or (best is not None and bounds[cut] >= best[0]):
                break
            lowest, at = self.best_of_cut(int(cut))
            tie = best is not None and lowest == best[0]
            if best is None or lowest < best[0] or (tie and self.ranks(at) < self.ranks(best[1])):
                best = lowest, at
        assert best is not None  # the bound of a cut that fits is finite
        return self.tiling(best[1]), best[0]

    def tiling(self, at: Where) -> Tiling:
        """The candidate at a position of the arrays."""
        order, i, j, x = at
        images, rows, cols = (int(sizes[x]) for sizes in self.candidates.positions.sizes)
        return Tiling(
            images=images,
            rows=rows,
            cols=cols,
            filters=self.candidates.filter_cuts[i],
            channels=self.candidates.channel_cuts[j],
            weights_first=order == 1,
            weights_stay=bool(_at(self.weights_stay, at)),
            inputs_stay=bool(_at(self.inputs_stay, at)),
        )

    def score(self, lanes: Floats | Ints, cut: int | None = None) -> Floats:
        """Scores, infinite where a tile does not fit; of one cut of the channels or of all.

        lanes: cycles of the lanes over the whole layer.
        """
        if self.machine.objective == "dram":
            score = _cut(self.dram_bytes, cut).astype(float)
        else:
            score = self._cycles(lanes, cut)
            if self.machine.objective != "cycles":
                score = objective.score(self.machine, score, self._actions(cut))
        return np.where(_cut(self.fits, cut), score, np.inf)

    def _cycles(self, lanes: Floats | Ints, cut: int | None) -> Floats:
        """Cycles of the slowest stage, and an average step of each of the others."""
        total = longest = np.asarray(lanes, np.float64)
        for stage in (self.dma, *self.units):
            cycles = _cut(stage, cut)
            total = total + cycles
            longest = np.maximum(longest, cycles)
        if self.machine.buffers.shared and not self.mode.transforms:
            once = _cut(self.dma_once, cut)
            again = _cut(self.dma, cut) - once
            # What stays is loaded in the first pass of the outer loop.
            first_pass = np.where(WEIGHTS_FIRST, 1 / self.candidates.in_group, 1 / self.candidates.count)
            first = np.maximum(once + first_pass * again, first_pass * lanes)
            longest = first + (1 - first_pass) * np.maximum(again, lanes)
        return np.asarray(longest + (total - longest) / _cut(self.candidates.steps, cut))

    def _actions(self, cut: int | None) -> ActionCounts:
        """What costs energy, of one cut of the channels; of all cuts at least that."""
        mode = self.mode
        all_of = self.candidates
        at = all_of.positions
        _, rows, cols = at.sizes
        folds = (0, 0)
        if mode.lanes.stationary != "output":
            channels = mode.group_channels if cut is None else all_of.channel_cuts[cut]
            edges = block_edges(mode.group_channels, channels)
            folds = fold_counts(mode, lane_cycles(mode, mode.work.out_channels, edges))
        input_loads = _cut(self.input_loads, cut)
        weight_loads = _cut(self.weight_loads, cut)
        sums = LayerSums(
            tiles=at.all_tiles,
            rounds=along(POSITIONS, rounds(at, mode.lanes.positions)),
            position_tiles=all_of.count,
            filter_tiles=all_of.n_k,
            channel_tiles=_cut(all_of.n_c, cut),
            rows=along(POSITIONS, rows),
            cols=along(POSITIONS, cols),
            tile_channels=at.all_tiles * mode.work.in_channels * input_loads,
            filter_channels=mode.work.out_channels * mode.group_channels * weight_loads,
            weight_bytes=self.weights.n_bytes * weight_loads,
            input_bytes=all_of.inputs.n_bytes * input_loads,
            output_bytes=all_of.outputs.n_bytes,
            folds=folds,
        )
        # Every request as if no row that it touches were open.
        rows = _cut(all_of.inputs.rows, cut) * input_loads + _cut(self.weights.rows, cut) * weight_loads
        return {**count_actions(mode, sums), "dram_activate": rows + _cut(all_of.outputs.rows, cut)}

    def best_of_cut(self, cut: int) -> tuple[float, Where]:
        """Score of the best tiling with one cut of the channels, and where it is; of equal ones the smallest tile."""
        score = self.score(self.lanes(cut), cut)
        lowest = score.min()
        order, i, _, x = np.nonzero(score == lowest)
        first = 0
        if len(x) > 1:
            traffic, steps = self.ranks((order, i, cut, x))
            first = np.lexsort(np.broadcast_arrays(order, i, x, steps, traffic))[0]
        return float(lowest), (int(order[first]), int(i[first]), cut, int(x[first]))

    def ranks(self, at: Any) -> tuple[Any, Any]:
        """What decides between candidates of equal score: DRAM bytes, then steps.  at: one, or arrays of indices."""
        weights = self.weights.n_bytes * _at(self.weight_loads, at)
        inputs = _at(self.candidates.inputs.n_bytes, at) * _at(self.input_loads, at)
        traffic = weights + inputs + self.candidates.outputs.n_bytes
        return traffic, _at(self.candidates.steps, at)

    def _count_loads(self) -> None:
        """How often each operand is loaded as a whole, and the request for all weights once."""
        all_of = self.candidates
        self.weight_loads = np.where(self.weights_stay | all_of.weight_once, 1, all_of.count)
        self.input_loads = np.where(self.inputs_stay | all_of.input_once, 1, all_of.in_group)
        n_bytes = np.int64(np.ceil(self.mode.dram_bits.sum() / 8))
        pieces = all_of.n_k * all_of.n_c
        rows_a_piece = -(-n_bytes // (pieces * self.machine.dram.timing.row_bytes))
        self.weights = Traffic.of(np.asarray(n_bytes), pieces, rows_a_piece * pieces)

    def measure_dma(self, dma: Dma) -> None:
        """Cycles of a DMA over the whole layer, and of what is loaded once.  Every tile counts as the largest."""
        mode = self.mode
        all_of = self.candidates
        inputs, weights, outputs = (
            operand.moved_bytes / dma.bytes_per_cycle for operand in (all_of.inputs, self.weights, all_of.outputs)
        )
        # Every store but the last one stands between loads.
        outputs = outputs + (all_of.out_loads - 1) * dma.turn_cycles
        if mode.arrival_cycles:
            arrival = mode.work.out_channels * mode.group_channels * mode.arrival_cycles
            weights = np.maximum(weights, arrival)
        self.dma: Floats = np.asarray(inputs * self.input_loads + outputs + weights * self.weight_loads)
        if self.machine.buffers.shared:
            inputs_once = np.where(self.input_loads == 1, inputs, 0)
            weights_once = np.where(self.weight_loads == 1, weights, 0)
            self.dma_once = np.where(WEIGHTS_FIRST, inputs_once, weights_once)

    def _measure_units(self) -> list[Floats]:
        """Cycles of transform and inverse transform over the whole layer."""
        if not self.mode.transforms:
            return []
        units = self.mode.units
        all_of = self.candidates
        all_tiles = all_of.positions.all_tiles
        transform = all_tiles * self.mode.work.in_channels * units.phases / units.input_rate
        inverse = all_tiles * self.mode.work.out_channels * units.phases / units.inverse_rate
        return [
            np.asarray((transform + TRANSFORM_STEP_CYCLES * all_of.in_loads) * self.input_loads),
            np.asarray(inverse + TRANSFORM_STEP_CYCLES * all_of.out_loads),
        ]

    @cached_property
    def dram_bytes(self) -> Ints:
        """Traffic of the whole layer."""
        weights = self.weights.n_bytes * self.weight_loads
        inputs = self.candidates.inputs.n_bytes * self.input_loads
        return np.asarray(weights + inputs + self.candidates.outputs.n_bytes)

    @property
    def least_lanes(self) -> Ints:
        """Cycles of the lanes that no cut of the channels can undercut."""
        return self._lanes(least_cycles(self.mode), None)

    def lanes(self, cut: int) -> Ints:
        """Cycles of the lanes over the whole layer for one cut of the channels."""
        mode = self.mode
        edges = block_edges(mode.group_channels, self.candidates.channel_cuts[cut])
        if mode.lanes.window == 1:
            return self._lanes(lane_cycles(mode, mode.work.out_channels, edges), cut)
        parts = []
        for i, filters in enumerate(self.candidates.filter_cuts):
            of_all = self._lanes(lane_cycles(mode, filters, edges), cut)
            parts.append(of_all[:, i : i + 1] if of_all.shape[FILTERS] > 1 else of_all)
        return np.concatenate(parts, axis=FILTERS)

    def _lanes(self, barriers: Ints, cut: int | None) -> Ints:
        """Cycles of the lanes over the whole layer.  barriers: of ``lane_cycles``, for one round."""
        mode = self.mode
        all_of = self.candidates
        lane_rounds = rounds(all_of.positions, mode.lanes.positions)
        channel_tiles = _cut(all_of.n_c, cut)
        K = mode.work.out_channels
        total = int(barriers.sum())
        input_stationary = mode.lanes.stationary == "input"
        fill = fill_cycles(
            mode.lanes,
            FoldSizes(
                steps=_cut(all_of.steps, cut),
                position_tiles=all_of.count,
                tiles=all_of.positions.all_tiles,
                rounds=lane_rounds,
                filter_groups=len(mode.group_starts) * channel_tiles,
                filters=all_of.k if input_stationary else K * channel_tiles,
                cycles=total // K * all_of.k * all_of.n_k if input_stationary else total,
            ),
        )
        return np.asarray(lane_rounds * total + fill)


def _cut(values: NDArray[Any], cut: int | None) -> NDArray[Any]:
    """Values of one cut of the channels, or of all."""
    return values if cut is None or values.shape[2] == 1 else values[:, :, cut : cut + 1]


def _at(values: NDArray[Any], at: Any) -> Any:
    """The value of one candidate, or the values of several whose indices are arrays."""
    return values[tuple(i if size > 1 else 0 for i, size in zip(at, values.shape, strict=True))]
