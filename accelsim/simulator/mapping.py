"""The search for the best tiling of a layer: all of them scored at once, as arrays.

Candidates are all balanced cuts (d parts of equal size, the last one the remainder, for every d) of every dimension,
in both outer orders.  A buffer holds the current tile and, double-buffered, the next; an operand is loaded when its
tile changes from one step to the next.  An operand all of whose tiles fit its buffer stays there and is loaded once
(Winograd: inputs stay transformed).  The score is

    cycles = max(DMA, transform, lanes, inverse) + one average step of each of the others (fill and drain),

where weights and inputs share a buffer with the first pass of the outer loop, in which alone what stays is loaded,
apart from the rest; or the DRAM bytes, energy or energy x cycles where that is the machine's objective (``objective``).
A larger buffer only adds candidates and lets more operands stay, so it never worsens the best score in cycles or bytes
(an access of it costs more energy).

Cutting the channels costs the lanes barriers that have to be counted from the masks.  So every cut of the channels is
first scored as if it cost none (a lower bound), and then exactly, from the most promising on, until the bound of the
next cannot beat the best so far.

Arrays are over (order, filters, channels, positions), each axis of length 1 where a quantity does not depend on it;
the last one holds every combination of tile sizes of images, rows and columns (``positions``).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer, transfer_ns
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator import objective
from accelsim.simulator.actions import Counts, Totals, count_actions, fold_counts
from accelsim.simulator.array import TRANSFORM_STEP_CYCLES
from accelsim.simulator.mode import MOST_SUMS, Mode
from accelsim.simulator.positions import positions, rounds
from accelsim.simulator.tiling import (
    Tiling,
    balanced_cuts,
    block_edges,
    feature_map_pieces,
    line_bytes,
    whole_bytes,
)
from accelsim.workload import CHANNEL_BLOCK, keep

MAX_STEPS = 1 << 20

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ORDER, FILTERS, CHANNELS, POSITIONS = range(4)
WEIGHTS_FIRST = np.array([False, True]).reshape(2, 1, 1, 1)


def choose(mode: Mode, machine: SpatialMachine | WinogradMachine) -> tuple[Tiling, float]:
    """The tiling with the lowest score, and the score in the unit of the machine's objective.

    Raises InputError if no tiling fits the buffers.
    """
    search = _Search(mode, machine)
    if not search.fits.any():
        raise InputError(f"{machine.name}: {search.shortage()}")
    of_cut = search.score(search.least_lanes).min(axis=(ORDER, FILTERS, POSITIONS))
    best: tuple[float, int, int] | None = None
    for cut in np.lexsort((-np.arange(len(of_cut)), of_cut)):  # of equal ones the least cut
        if not np.isfinite(of_cut[cut]) or (best is not None and of_cut[cut] >= best[0]):
            break
        found, at = search.best_of_cut(int(cut))
        if best is None or found < best:
            best, tiling = found, search.tiling(at)
    assert best is not None  # the bound of a cut that fits is finite
    return tiling, best[0]


class _Search:
    """All tilings of a layer."""

    def __init__(self, mode: Mode, machine: SpatialMachine | WinogradMachine) -> None:
        self.mode, self.machine = mode, machine
        work, per_group = mode.work, mode.filters_per_group
        self.filter_cuts = _filter_cuts(mode)
        self.channel_cuts = balanced_cuts(mode.group_channels, CHANNEL_BLOCK)
        self.positions = positions(work, mode.m)
        self.count = _along(POSITIONS, self.positions.count)  # of tiles of positions
        self.shape = (2, len(self.filter_cuts), len(self.channel_cuts), self.count.size)
        self.k = k = _along(FILTERS, self.filter_cuts)
        self.c = _along(CHANNELS, self.channel_cuts)
        self.groups_in_tile = np.maximum(k // per_group, 1) if work.groups > 1 else _along(FILTERS, (1,))
        self.input_groups = -(-work.groups // self.groups_in_tile)
        self.in_group = np.where(k < per_group, -(-per_group // k), 1)  # filter tiles of one input group
        self.n_k, self.n_c = self.input_groups * self.in_group, -(-mode.group_channels // self.c)
        self.steps = self.count * (self.n_k * self.n_c)
        self._measure_rooms()
        self._measure_stages()

    def tiling(self, at: tuple[int, int, int, int]) -> Tiling:
        """The candidate at a position of the arrays."""
        order, i, j, x = at
        images, rows, cols = (int(sizes[x]) for sizes in self.positions.sizes)
        stay = (bool(np.broadcast_to(flags, self.shape)[at]) for flags in (self.weights_stay, self.inputs_stay))
        return Tiling(images, rows, cols, self.filter_cuts[i], self.channel_cuts[j], order == 1, *stay)

    def score(self, lanes: Floats | Ints, cut: int | None = None) -> Floats:
        """Scores, infinite where a tile does not fit; of one cut of the channels or of all."""

        def of(values: NDArray[Any]) -> NDArray[Any]:
            return values if cut is None or values.shape[CHANNELS] == 1 else values[:, :, cut : cut + 1]

        if self.machine.objective == "dram":
            score = of(self.dram_bytes).astype(float)
        else:
            total = longest = lanes
            for stage in self.stages:
                cycles = of(stage)
                total, longest = total + cycles, np.maximum(longest, cycles)
            if self.machine.buffers.shared and not self.mode.transforms:
                again = of(self.stages[0]) - of(self.dma_once)
                first = np.maximum(of(self.dma_once) + self.first_pass * again, self.first_pass * lanes)
                longest = first + (1 - self.first_pass) * np.maximum(again, lanes)
            score = longest + (total - longest) / of(self.steps)
            if self.machine.objective != "cycles":
                score = objective.score(self.machine, score, self._actions(of, cut))
        return np.where(of(self.fits), score, np.inf)

    def _actions(self, of: Callable[[NDArray[Any]], NDArray[Any]], cut: int | None) -> Counts:
        """What costs energy, of one cut of the channels; of all cuts at least that."""
        mode, at, (_, rows, cols) = self.mode, self.positions, self.positions.sizes
        folds = (0, 0)
        if mode.stationary != "output":
            channels = mode.group_channels if cut is None else self.channel_cuts[cut]
            edges = block_edges(mode.group_channels, channels)
            folds = fold_counts(mode, mode.lane_cycles(mode.work.out_channels, edges))
        inputs, weights, outputs = self.requests
        reloads_x, reloads_w = of(self.reloads_x), of(self.reloads_w)
        return count_actions(
            mode,
            Totals(
                tiles=at.all_tiles,
                rounds=_along(POSITIONS, rounds(at, mode.position_lanes)),
                position_tiles=self.count,
                filter_tiles=self.n_k,
                channel_tiles=of(self.n_c),
                rows=_along(POSITIONS, rows),
                cols=_along(POSITIONS, cols),
                tile_channels=at.all_tiles * mode.work.in_channels * reloads_x,
                filter_channels=mode.work.out_channels * mode.group_channels * reloads_w,
                weight_bytes=self.weight_bytes * reloads_w,
                input_bytes=self.input_bytes * reloads_x,
                output_bytes=self.output_bytes,
                dram_rows=of(inputs.rows) * reloads_x + of(weights.rows) * reloads_w + of(outputs.rows),
                folds=folds,
            ),
        )

    def best_of_cut(self, cut: int) -> tuple[tuple[float, int, int], tuple[int, int, int, int]]:
        """Score, DRAM bytes and steps of the best tiling with one cut of the channels, and where it is.

        Of equal scores the one with the least traffic, then the fewest steps, then the smallest tile.
        """
        score = self.score(self.lanes(cut), cut)
        lowest = score.min()
        order, i, _, x = np.nonzero(score == lowest)
        dram, steps = (
            np.broadcast_to(of_all, self.shape)[order, i, cut, x] for of_all in (self.dram_bytes, self.steps)
        )
        j = np.lexsort((order, i, x, steps, dram))[0]
        return (float(lowest), int(dram[j]), int(steps[j])), (int(order[j]), int(i[j]), cut, int(x[j]))

    def _measure_rooms(self) -> None:
        """Bytes that each buffer needs, which operands stay in theirs, and which candidates fit."""
        mode, at = self.mode, self.positions
        work = mode.work
        weight_tile, all_weights = _weight_bytes(mode, self.filter_cuts, self.channel_cuts)
        self.weights_stay = all_weights <= self._capacity("weight")
        copies_x = np.where(self.count * self.n_c * self.input_groups == 1, 1, 2)
        channels = self.c * self.groups_in_tile
        in_tile = -(-at.in_pixels * channels * mode.activation_bits // 8) * copies_x
        if mode.transforms:
            bits = mode.taps * mode.transformed_bits
            all_inputs = np.full((1,) * 4, -(-at.all_tiles * work.in_channels * bits // 8))
            self.inputs_stay = all_inputs <= self._capacity("transformed")
            tile = -(-at.tiles * channels * bits // 8) * copies_x
            self.needs = {"input": in_tile, "transformed": np.where(self.inputs_stay, all_inputs, tile)}
        else:
            all_inputs = _along(POSITIONS, -(-at.all_pixels * work.in_channels * mode.activation_bits // 8))
            self.inputs_stay = all_inputs <= self._capacity("input")
            if self.machine.buffers.shared:
                both, room = all_weights + all_inputs, self._capacity("input")
                self.weights_stay = (both <= room) | ~WEIGHTS_FIRST & (all_weights + in_tile <= room)
                self.inputs_stay = (both <= room) | WEIGHTS_FIRST & (all_inputs + 2 * weight_tile <= room)
            self.needs = {"input": np.where(self.inputs_stay, all_inputs, in_tile)}
        self.needs |= {
            "weight": np.where(self.weights_stay, all_weights, 2 * weight_tile),
            "output": self._output_room(),
        }
        self.fits = self.steps <= MAX_STEPS
        for name, needed in self.needs.items():
            self.fits = self.fits & (needed <= self._capacity(name))
        if self.machine.buffers.shared:
            self.fits = self.fits & (self.needs["weight"] + self.needs["input"] <= self._capacity("input"))

    def _output_room(self) -> Ints:
        """Bytes of finished outputs and of partial sums."""
        mode, at, k = self.mode, self.positions, self.k
        copies_y = np.where(self.count * self.n_k == 1, 1, 2)
        outputs = at.outputs * k
        finished = -(-outputs * mode.activation_bits // 8) * copies_y
        if not mode.transforms:
            partial = -(-outputs * mode.accumulator_bits // 8) * copies_y
            return np.where((self.n_c > 1) | (mode.stationary != "output"), partial, finished)
        # The inverse transform starts when the lanes are done with the whole tile (``pipeline``): so all of its sums
        # are held, and those of the tile before.
        held = at.tiles * k * copies_y * mode.taps
        return np.asarray(-(-held * mode.accumulator_bits // 8) + finished)

    def _measure_stages(self) -> None:
        """How often each operand is loaded, and cycles of DMA, transform and inverse transform over the whole layer."""
        mode, work = self.mode, self.mode.work
        self.reloads_w = np.where(
            self.weights_stay | ((self.n_c == 1) & WEIGHTS_FIRST) | (self.n_k * self.n_c == 1), 1, self.count
        )
        self.reloads_x = np.where(
            self.inputs_stay | ((self.n_c == 1) & ~WEIGHTS_FIRST) | (self.count * self.n_c == 1), 1, self.in_group
        )
        self.weight_bytes = np.int64(np.ceil(mode.dram_bits.sum() / 8))
        self.input_bytes = _along(POSITIONS, whole_bytes(self.positions.all_pixels * work.in_channels, mode.input_bits))
        self.output_bytes = whole_bytes(work.outputs, mode.output_bits)
        in_loads, out_loads = self.count * self.n_c * self.input_groups, self.count * self.n_k
        inputs, weights, outputs = (ns / self.machine.ns_per_cycle for ns in self._dma_ns(in_loads, out_loads))
        timing = self.machine.dram.timing  # every store but the last one stands between loads
        turns = (out_loads - 1) * (timing.read_to_write_ns + timing.write_to_read_ns) + timing.read_to_write_ns
        outputs = outputs + turns / self.machine.ns_per_cycle
        if mode.arrival_cycles:
            weights = np.maximum(weights, work.out_channels * mode.group_channels * mode.arrival_cycles)
        self.stages: list[NDArray[np.floating]] = [inputs * self.reloads_x + outputs + weights * self.reloads_w]
        # What stays is loaded in the first pass of the outer loop.
        self.first_pass = np.where(WEIGHTS_FIRST, 1 / self.in_group, 1 / self.count)
        self.dma_once = np.where(
            WEIGHTS_FIRST, np.where(self.reloads_x == 1, inputs, 0), np.where(self.reloads_w == 1, weights, 0)
        )
        if mode.transforms:
            transform = self.positions.all_tiles * work.in_channels * mode.phases / mode.transform_rate
            inverse = self.positions.all_tiles * work.out_channels * mode.phases / mode.inverse_rate
            self.stages.append((transform + TRANSFORM_STEP_CYCLES * in_loads) * self.reloads_x)
            self.stages.append(inverse + TRANSFORM_STEP_CYCLES * out_loads)

    def _dma_ns(self, in_loads: Ints, out_loads: Ints) -> list[Floats]:
        """Time of the DRAM for all inputs, weights and outputs once.  Every tile counts as large as the largest."""
        mode, at, work, dram = self.mode, self.positions, self.mode.work, self.machine.dram
        timing = dram.timing
        in_line = line_bytes(work.width, work.in_channels, mode.input_bits)
        out_line = line_bytes(work.out_width, work.out_channels, mode.output_bits)
        images, rows, cols = at.sizes
        whole_width, row_bytes = cols == work.out_width, timing.row_bytes
        in_pieces = feature_map_pieces(
            images, at.in_high, self.c * self.groups_in_tile, whole_width, in_line, row_bytes
        )
        out_pieces = feature_map_pieces(images, rows, self.k, whole_width, out_line, row_bytes)
        w_loads = self.n_k * self.n_c
        self.requests = (
            Transfer(self.input_bytes, in_pieces[0] * in_loads, in_pieces[1] * in_loads),
            Transfer(np.asarray(self.weight_bytes), w_loads, -(-self.weight_bytes // (w_loads * row_bytes)) * w_loads),
            Transfer(self.output_bytes, out_pieces[0] * out_loads, out_pieces[1] * out_loads),
        )
        return [transfer_ns(timing, dram.channels, request) for request in self.requests]

    @cached_property
    def dram_bytes(self) -> Ints:
        """Traffic of the whole layer."""
        return np.asarray(self.weight_bytes * self.reloads_w + self.input_bytes * self.reloads_x + self.output_bytes)

    @property
    def least_lanes(self) -> Ints:
        """Cycles of the lanes that no cut of the channels can undercut."""
        return self._lanes(self.mode.least_cycles(), self.n_c, self.steps)

    def lanes(self, cut: int) -> Ints:
        """Cycles of the lanes over the whole layer for one cut of the channels."""
        mode, edges = self.mode, block_edges(self.mode.group_channels, self.channel_cuts[cut])
        n_c, steps = self.n_c[:, :, cut : cut + 1], self.steps[:, :, cut : cut + 1]
        if mode.window == 1:
            return self._lanes(mode.lane_cycles(mode.work.out_channels, edges), n_c, steps)
        parts = []
        for i, k in enumerate(self.filter_cuts):
            of_all = self._lanes(mode.lane_cycles(k, edges), n_c, steps)
            parts.append(of_all[:, i : i + 1] if of_all.shape[FILTERS] > 1 else of_all)
        return np.concatenate(parts, axis=FILTERS)

    def _lanes(self, cycles: Ints, n_c: Ints, steps: Ints) -> Ints:
        mode, lane_rounds = self.mode, rounds(self.positions, self.mode.position_lanes)
        K, G = mode.work.out_channels, len(mode.group_starts)
        total = int(cycles.sum())
        filters, of_filters = (
            (self.k, total // K * self.k * self.n_k) if mode.stationary == "input" else (K * n_c, total)
        )
        fill = mode.fill_cycles(steps, self.count, self.positions.all_tiles, lane_rounds, G * n_c, filters, of_filters)
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


def _along(axis: int, values: ArrayLike) -> Ints:
    """Values along one axis of the candidates."""
    shape = [1] * 4
    shape[axis] = -1
    return np.asarray(values, np.int64).reshape(shape)


def _filter_cuts(mode: Mode) -> tuple[int, ...]:
    """Filters of a tile: parts of one convolution group, or several whole groups."""
    per_group, groups = mode.filters_per_group, mode.work.groups
    parts = balanced_cuts(per_group, mode.filter_lanes)
    return (*parts, *(per_group * whole for whole in balanced_cuts(groups, 1) if whole > 1))


def _weight_bytes(mode: Mode, filter_cuts: tuple[int, ...], channel_cuts: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Bytes of the largest weight tile, and of all tiles, of each cut of filters and channels: (1, cuts, cuts, 1)."""
    key = ("weight bytes", filter_cuts)
    return keep(mode.kept, key, lambda: _count_weight_bytes(mode, filter_cuts, channel_cuts), MOST_SUMS)


def _count_weight_bytes(mode: Mode, filter_cuts: tuple[int, ...], channel_cuts: tuple[int, ...]) -> tuple[Ints, Ints]:
    bits = np.zeros((mode.work.out_channels + 1, mode.stored_bits.shape[1] + 1))
    mode.stored_bits.cumsum(axis=0, out=bits[1:, 1:])
    bits[1:, 1:].cumsum(axis=1, out=bits[1:, 1:])
    # The filter tiles of all cuts one behind the other.
    starts = [mode.filter_starts(k) for k in filter_cuts]
    ends = [np.append(first[1:], mode.work.out_channels) for first in starts]
    of_cut = np.cumsum([0, *(len(first) for first in starts[:-1])])
    of_tiles = bits[np.concatenate(ends)] - bits[np.concatenate(starts)]
    largest = np.empty((len(filter_cuts), len(channel_cuts)), np.int64)
    total = np.empty_like(largest)
    for j, c in enumerate(channel_cuts):
        tiles = np.ceil(np.diff(of_tiles[:, block_edges(mode.group_channels, c)]) / 8 - 1e-6)
        largest[:, j] = np.maximum.reduceat(tiles.max(axis=1), of_cut)
        total[:, j] = np.add.reduceat(tiles.sum(axis=1), of_cut)
    return largest[None, :, :, None], total[None, :, :, None]
