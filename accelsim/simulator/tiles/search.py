"""The search for the best tiling of a layer: all of them scored at once, as arrays.

Candidates are all balanced cuts of every dimension, in both outer orders (``candidates``).  A buffer holds the current
tile and, double-buffered, the next; an operand is loaded when its tile changes from one step to the next.  An operand
all of whose tiles fit its buffer stays there and is loaded once (Winograd: inputs stay transformed).  The score is

    cycles = max(DMA, transform, lanes, inverse) + one average step of each of the others (fill and drain),

where weights and inputs share a buffer with the first pass of the outer loop, in which alone what stays is loaded,
apart from the rest; or the DRAM bytes, energy or energy x cycles where that is the machine's objective (``objective``).
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
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer, transfer_ns
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.tiles.actions import Counts, Totals, count_actions, fold_counts
from accelsim.simulator.tiles.candidates import FILTERS, ORDER, POSITIONS, WEIGHTS_FIRST, Candidates, along, candidates
from accelsim.simulator.tiles.mode import MOST_SUMS, Mode
from accelsim.simulator.tiles.overhead import TRANSFORM_STEP_CYCLES
from accelsim.simulator.tiles.positions import rounds
from accelsim.simulator.tiles.tiling import Tiling, block_edges
from accelsim.simulator.time import objective
from accelsim.workload import keep

Where = tuple[int, int, int, int]  # a candidate, as an index of the arrays


def choose(mode: Mode, machine: SpatialMachine | WinogradMachine) -> tuple[Tiling, float]:
    """The tiling with the lowest score, and the score in the unit of the machine's objective.

    Raises InputError if no tiling fits the buffers.
    """
    search = _Search(mode, machine)
    if not search.fits.any():
        raise InputError(f"{machine.name}: {search.shortage()}")
    of_cut = search.score(search.least_lanes).min(axis=(ORDER, FILTERS, POSITIONS))
    best: tuple[float, Where] | None = None
    for cut in np.lexsort((-np.arange(len(of_cut)), of_cut)):  # of equal ones the least cut
        if not np.isfinite(of_cut[cut]) or (best is not None and of_cut[cut] >= best[0]):
            break
        lowest, at = search.best_of_cut(int(cut))
        tie = best is not None and lowest == best[0]
        if best is None or lowest < best[0] or (tie and search.ranks(at) < search.ranks(best[1])):
            best = lowest, at
    assert best is not None  # the bound of a cut that fits is finite
    return search.tiling(best[1]), best[0]


class _Search:
    """All tilings of a layer, on one machine."""

    def __init__(self, mode: Mode, machine: SpatialMachine | WinogradMachine) -> None:
        self.mode, self.machine = mode, machine
        self.of = candidates(mode.shape, machine.dram.timing.row_bytes)
        self._measure_rooms()
        self._measure_stages()

    def tiling(self, at: Where) -> Tiling:
        """The candidate at a position of the arrays."""
        order, i, j, x = at
        images, rows, cols = (int(sizes[x]) for sizes in self.of.positions.sizes)
        stay = (bool(_at(flags, at)) for flags in (self.weights_stay, self.inputs_stay))
        return Tiling(images, rows, cols, self.of.filter_cuts[i], self.of.channel_cuts[j], order == 1, *stay)

    def score(self, lanes: Floats | Ints, cut: int | None = None) -> Floats:
        """Scores, infinite where a tile does not fit; of one cut of the channels or of all."""
        if self.machine.objective == "dram":
            score = _cut(self.dram_bytes, cut).astype(float)
        else:
            total = longest = lanes
            for stage in self.stages:
                cycles = _cut(stage, cut)
                total, longest = total + cycles, np.maximum(longest, cycles)
            if self.machine.buffers.shared and not self.mode.transforms:
                once = _cut(self.dma_once, cut)
                again = _cut(self.stages[0], cut) - once
                # What stays is loaded in the first pass of the outer loop.
                first_pass = np.where(WEIGHTS_FIRST, 1 / self.of.in_group, 1 / self.of.count)
                first = np.maximum(once + first_pass * again, first_pass * lanes)
                longest = first + (1 - first_pass) * np.maximum(again, lanes)
            score = longest + (total - longest) / _cut(self.of.steps, cut)
            if self.machine.objective != "cycles":
                score = objective.score(self.machine, score, self._actions(cut))
        return np.where(_cut(self.fits, cut), score, np.inf)

    def _actions(self, cut: int | None) -> Counts:
        """What costs energy, of one cut of the channels; of all cuts at least that."""
        mode, of, at, (_, rows, cols) = self.mode, self.of, self.of.positions, self.of.positions.sizes
        folds = (0, 0)
        if mode.stationary != "output":
            channels = mode.group_channels if cut is None else of.channel_cuts[cut]
            edges = block_edges(mode.group_channels, channels)
            folds = fold_counts(mode, mode.lane_cycles(mode.work.out_channels, edges))
        reloads_x, reloads_w = _cut(self.reloads_x, cut), _cut(self.reloads_w, cut)
        rows_x, rows_w, rows_y = (_cut(t.rows, cut) for t in (of.inputs, self.weights, of.outputs))
        return count_actions(
            mode,
            Totals(
                tiles=at.all_tiles,
                rounds=along(POSITIONS, rounds(at, mode.position_lanes)),
                position_tiles=of.count,
                filter_tiles=of.n_k,
                channel_tiles=_cut(of.n_c, cut),
                rows=along(POSITIONS, rows),
                cols=along(POSITIONS, cols),
                tile_channels=at.all_tiles * mode.work.in_channels * reloads_x,
                filter_channels=mode.work.out_channels * mode.group_channels * reloads_w,
                weight_bytes=self.weights.n_bytes * reloads_w,
                input_bytes=of.inputs.n_bytes * reloads_x,
                output_bytes=of.outputs.n_bytes,
                dram_rows=rows_x * reloads_x + rows_w * reloads_w + rows_y,
                folds=folds,
            ),
        )

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
        weights, inputs = self.weights.n_bytes * _at(self.reloads_w, at), _at(self.of.inputs.n_bytes, at)
        traffic = weights + inputs * _at(self.reloads_x, at) + self.of.outputs.n_bytes
        return traffic, _at(self.of.steps, at)

    def _measure_rooms(self) -> None:
        """Bytes that each buffer needs, which operands stay in theirs, and which candidates fit."""
        of = self.of
        weight_tile, all_weights = _weight_bytes(self.mode, of)
        self.weights_stay = all_weights <= self._capacity("weight")
        if self.mode.transforms:
            self.inputs_stay = of.all_inputs <= self._capacity("transformed")
            transformed = of.all_inputs if self.inputs_stay.all() else of.transformed_tile
            self.needs = {"input": of.input_tile, "transformed": transformed}
        else:
            self.inputs_stay = of.all_inputs <= self._capacity("input")
            if self.machine.buffers.shared:
                both, room = all_weights + of.all_inputs, self._capacity("input")
                self.weights_stay = (both <= room) | ~WEIGHTS_FIRST & (all_weights + of.input_tile <= room)
                self.inputs_stay = (both <= room) | WEIGHTS_FIRST & (of.all_inputs + 2 * weight_tile <= room)
            self.needs = {"input": np.where(self.inputs_stay, of.all_inputs, of.input_tile)}
        self.needs |= {
            "weight": np.where(self.weights_stay, all_weights, 2 * weight_tile),
            "output": of.output_room,
        }
        self.fits = of.few
        for name, needed in self.needs.items():
            self.fits = self.fits & (needed <= self._capacity(name))
        if self.machine.buffers.shared:
            self.fits = self.fits & (self.needs["weight"] + self.needs["input"] <= self._capacity("input"))

    def _measure_stages(self) -> None:
        """How often each operand is loaded, and cycles of DMA, transform and inverse transform over the whole layer.

        Every tile counts as large as the largest.
        """
        mode, of, dram = self.mode, self.of, self.machine.dram
        work, timing = mode.work, dram.timing
        self.reloads_w = np.where(self.weights_stay | of.weight_once, 1, of.count)
        self.reloads_x = np.where(self.inputs_stay | of.input_once, 1, of.in_group)
        weight_bytes, loads = np.int64(np.ceil(mode.dram_bits.sum() / 8)), of.n_k * of.n_c
        self.weights = Transfer(np.asarray(weight_bytes), loads, -(-weight_bytes // (loads * timing.row_bytes)) * loads)
        inputs, weights, outputs = (
            transfer_ns(timing, dram.channels, transfer) / self.machine.ns_per_cycle
            for transfer in (of.inputs, self.weights, of.outputs)
        )
        # Every store but the last one stands between loads.
        turns = (of.out_loads - 1) * (timing.read_to_write_ns + timing.write_to_read_ns) + timing.read_to_write_ns
        outputs = outputs + turns / self.machine.ns_per_cycle
        if mode.arrival_cycles:
            weights = np.maximum(weights, work.out_channels * mode.group_channels * mode.arrival_cycles)
        self.stages: list[NDArray[np.floating]] = [inputs * self.reloads_x + outputs + weights * self.reloads_w]
        if self.machine.buffers.shared:
            self.dma_once = np.where(
                WEIGHTS_FIRST, np.where(self.reloads_x == 1, inputs, 0), np.where(self.reloads_w == 1, weights, 0)
            )
        if mode.transforms:
            all_tiles = of.positions.all_tiles
            transform = all_tiles * work.in_channels * mode.phases / mode.transform_rate
            inverse = all_tiles * work.out_channels * mode.phases / mode.inverse_rate
            self.stages.append((transform + TRANSFORM_STEP_CYCLES * of.in_loads) * self.reloads_x)
            self.stages.append(inverse + TRANSFORM_STEP_CYCLES * of.out_loads)

    @cached_property
    def dram_bytes(self) -> Ints:
        """Traffic of the whole layer."""
        inputs, outputs = self.of.inputs.n_bytes, self.of.outputs.n_bytes
        return np.asarray(self.weights.n_bytes * self.reloads_w + inputs * self.reloads_x + outputs)

    @property
    def least_lanes(self) -> Ints:
        """Cycles of the lanes that no cut of the channels can undercut."""
        return self._lanes(self.mode.least_cycles(), None)

    def lanes(self, cut: int) -> Ints:
        """Cycles of the lanes over the whole layer for one cut of the channels."""
        mode, edges = self.mode, block_edges(self.mode.group_channels, self.of.channel_cuts[cut])
        if mode.window == 1:
            return self._lanes(mode.lane_cycles(mode.work.out_channels, edges), cut)
        parts = []
        for i, k in enumerate(self.of.filter_cuts):
            of_all = self._lanes(mode.lane_cycles(k, edges), cut)
            parts.append(of_all[:, i : i + 1] if of_all.shape[FILTERS] > 1 else of_all)
        return np.concatenate(parts, axis=FILTERS)

    def _lanes(self, cycles: Ints, cut: int | None) -> Ints:
        mode, of = self.mode, self.of
        lane_rounds = rounds(of.positions, mode.position_lanes)
        n_c, steps = _cut(of.n_c, cut), _cut(of.steps, cut)
        K, G = mode.work.out_channels, len(mode.group_starts)
        total = int(cycles.sum())
        filters, of_filters = (of.k, total // K * of.k * of.n_k) if mode.stationary == "input" else (K * n_c, total)
        fill = mode.fill_cycles(steps, of.count, of.positions.all_tiles, lane_rounds, G * n_c, filters, of_filters)
        return np.asarray(lane_rounds * total + fill)

    def _capacity(self, name: str) -> int:
        if self.machine.buffers.shared and name in {"weight", "input"}:
            return int(1024 * (self.machine.buffers.weight_kb + self.machine.buffers.input_kb))
        return int(1024 * getattr(self.machine.buffers, f"{name}_kb"))

    def shortage(self) -> str:
        """Which buffer is too small for the layer, and the least it needs."""
        for name, needed in self.needs.items():
            capacity = self._capacity(name)
            if needed.min() > capacity:
                least = -(-int(needed.min()) // 1024)
                return (
                    f"buffers.{name}_kb is {capacity / 1024:g}, too small for one tile of layer "
                    f"{self.mode.work.name}, expected at least {least}"
                )
        return f"no tile of layer {self.mode.work.name} fits all buffers at once, expected larger buffers"


def _cut(values: NDArray[Any], cut: int | None) -> NDArray[Any]:
    """Values of one cut of the channels, or of all."""
    return values if cut is None or values.shape[2] == 1 else values[:, :, cut : cut + 1]


def _at(values: NDArray[Any], at: Any) -> Any:
    """The value of one candidate, or the values of several whose indices are arrays."""
    return values[tuple(i if size > 1 else 0 for i, size in zip(at, values.shape, strict=True))]


def _weight_bytes(mode: Mode, of: Candidates) -> tuple[Ints, Ints]:
    """Bytes of the largest weight tile, and of all tiles, of each cut of filters and channels: (1, cuts, cuts, 1)."""
    return keep(mode.kept, ("weight bytes", of.filter_cuts), lambda: _count_weight_bytes(mode, of), MOST_SUMS)


def _count_weight_bytes(mode: Mode, of: Candidates) -> tuple[Ints, Ints]:
    bits = np.zeros((mode.work.out_channels + 1, mode.stored_bits.shape[1] + 1))
    mode.stored_bits.cumsum(axis=0, out=bits[1:, 1:])
    bits[1:, 1:].cumsum(axis=1, out=bits[1:, 1:])
    # The filter tiles of all cuts one behind the other.
    starts = [mode.filter_starts(k) for k in of.filter_cuts]
    ends = [np.append(first[1:], mode.work.out_channels) for first in starts]
    of_cut = np.cumsum([0, *(len(first) for first in starts[:-1])])
    of_tiles = bits[np.concatenate(ends)] - bits[np.concatenate(starts)]
    largest = np.empty((len(of.filter_cuts), len(of.channel_cuts)), np.int64)
    total = np.empty_like(largest)
    for j, c in enumerate(of.channel_cuts):
        tiles = np.ceil(np.diff(of_tiles[:, block_edges(mode.group_channels, c)]) / 8 - 1e-6)
        largest[:, j] = np.maximum.reduceat(tiles.max(axis=1), of_cut)
        total[:, j] = np.add.reduceat(tiles.sum(axis=1), of_cut)
    return largest[None, :, :, None], total[None, :, :, None]
