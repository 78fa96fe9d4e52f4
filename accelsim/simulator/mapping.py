"""The search for the best tiling of a layer: all of them scored at once, as arrays.

Candidates are all balanced cuts (d parts of equal size, the last one the remainder, for every d) of every dimension,
in both outer orders.  A buffer holds the current tile and, double-buffered, the next; an operand is loaded when its
tile changes from one step to the next.  An operand all of whose tiles fit its buffer stays there and is loaded once
(Winograd: inputs stay transformed).  The score is

    cycles = max(DMA, transform, lanes, inverse) + one average step of each of the others (fill and drain),

or the DRAM bytes where that is the machine's objective.  A larger buffer only adds candidates and lets more operands
stay, so it never worsens the best score.

Cutting the channels costs the lanes barriers that have to be counted from the masks.  So every cut of the channels is
first scored as if it cost none (a lower bound), and then exactly, from the most promising on, until the bound of the
next cannot beat the best so far.
"""

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer, transfer_ns
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.array import TRANSFORM_STEP_CYCLES
from accelsim.simulator.mode import Mode
from accelsim.simulator.tiling import (
    Tiling,
    balanced_cuts,
    block_edges,
    feature_map_pieces,
    input_extents,
    line_bytes,
    whole_bytes,
)
from accelsim.workload import CHANNEL_BLOCK

MAX_STEPS = 1 << 20
BUFFERS = ("weight", "input", "transformed", "output")

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def choose(mode: Mode, machine: SpatialMachine | WinogradMachine) -> tuple[Tiling, float]:
    """The tiling with the lowest score, and the score in the unit of the machine's objective (cycles or DRAM bytes).

    Raises InputError if no tiling fits the buffers.
    """
    search = _Search(mode, machine)
    if not search.fits.any():
        raise InputError(f"{machine.name}: {search.shortage()}")
    bound = search.score(search.lanes_bound)
    of_cut = bound.min(axis=(0, 1, 2, 3, 5))
    best: tuple[float, float, float] | None = None
    for cut in np.lexsort((-np.arange(len(of_cut)), of_cut)):  # of equal ones the least cut
        if not np.isfinite(of_cut[cut]) or (best is not None and of_cut[cut] >= best[0]):
            break
        score = search.score(search.lanes(int(cut)), int(cut))
        dram, steps = (
            np.broadcast_to(x, search.shape)[..., [cut], :].ravel() for x in (search.dram_bytes, search.steps)
        )
        i = int(np.lexsort((steps, dram, score.ravel()))[0])
        found = (float(score.flat[i]), float(dram[i]), float(steps[i]))
        if best is None or found < best:
            best, tiling = found, search.tiling(i, int(cut))
    assert best is not None  # the bound of a cut that fits is finite
    return tiling, best[0]


class _Search:
    """All tilings of a layer: arrays over (images, rows, cols, filters, channels, order), broadcast where they can."""

    def __init__(self, mode: Mode, machine: SpatialMachine | WinogradMachine) -> None:
        self.mode, self.machine = mode, machine
        work, m = mode.work, mode.m
        self.cuts = (
            balanced_cuts(work.batch, 1),
            balanced_cuts(work.out_height, m),
            balanced_cuts(work.out_width, m),
            _filter_cuts(mode),
            balanced_cuts(mode.group_channels, CHANNEL_BLOCK),
            [0, 1],
        )
        self.shape = tuple(len(cut) for cut in self.cuts)
        n, p, q, k, c, first = self._sizes = [self._along(axis, cut) for axis, cut in enumerate(self.cuts)]
        self.weights_first = first.astype(bool)
        N, P, Q = work.batch, work.out_height, work.out_width
        per_group = mode.filters_per_group
        self.positions = -(-N // n) * -(-P // p) * -(-Q // q)
        self.groups_in_tile = np.maximum(k // per_group, 1)
        self.input_groups = -(-work.groups // self.groups_in_tile)
        self.in_group = np.where(k < per_group, -(-per_group // k), 1)  # filter tiles of one input group
        self.n_k, self.n_c = self.input_groups * self.in_group, -(-mode.group_channels // c)
        self.steps = self.positions * self.n_k * self.n_c
        self.copies_x = np.where(self.positions * self.n_c * self.input_groups == 1, 1, 2)
        self._measure_tiles()
        self._measure_dram()
        self._measure_time()
        self._measure_room()

    def _along(self, axis: int, values: list[int] | Ints) -> Ints:
        """Values along one axis of the candidates."""
        shape = [1] * 6
        shape[axis] = -1
        return np.asarray(values, np.int64).reshape(shape)

    def tiling(self, i: int, cut: int) -> Tiling:
        """Candidate i of one cut of the channels."""
        shape = (*self.shape[:4], 1, self.shape[5])
        index = [int(j) for j in np.unravel_index(i, shape)]
        index[4] = cut
        n, p, q, k, c, first = (values[j] for values, j in zip(self.cuts, index, strict=True))
        stay = (
            bool(np.broadcast_to(flags, self.shape)[tuple(index)]) for flags in (self.weights_stay, self.inputs_stay)
        )
        return Tiling(n, p, q, k, c, bool(first), *stay)

    def score(self, lanes: Floats | Ints, cut: int | None = None) -> Floats:
        """Scores, infinite where a tile does not fit; of one cut of the channels or of all."""
        at = slice(None) if cut is None else slice(cut, cut + 1)

        def of(values: Floats | Ints | Flags) -> NDArray[np.float64]:
            return np.asarray(values[..., at, :] if values.shape[4] > 1 else values)

        if self.machine.objective == "dram":
            score = of(self.dram_bytes).astype(float)
        else:
            stages = [of(self.dma_cycles), of(self.transform_cycles), lanes, self.inverse_cycles]
            longest = np.maximum(np.maximum(stages[0], stages[1]), np.maximum(stages[2], stages[3]))
            score = longest + (sum(stages) - longest) / of(self.steps)
        return np.where(of(self.fits), score, np.inf)

    def _measure_tiles(self) -> None:
        """What the tiles of each operand hold, the largest one and all of them, and which operands stay."""
        mode, work, m = self.mode, self.mode.work, self.mode.m
        n, p, q, _, c, _ = self._sizes
        rows, cols = ([input_extents(work, axis, size) for size in self.cuts[axis + 1]] for axis in (0, 1))
        self.in_high, self.in_wide = self._along(1, [x.max() for x in rows]), self._along(2, [x.max() for x in cols])
        self.pixels = (
            work.batch * self._along(1, [int(x.sum()) for x in rows]) * self._along(2, [int(x.sum()) for x in cols])
        )
        self.tiles = work.batch * -(-work.out_height // m) * -(-work.out_width // m)
        self.weight_tile, all_weights = self._weight_bytes()
        self.weights_stay = all_weights <= self._capacity("weight")
        if mode.transforms:
            all_inputs = np.full((1,) * 6, -(-self.tiles * work.in_channels * mode.taps * mode.transformed_bits // 8))
            self.inputs_stay = all_inputs <= self._capacity("transformed")
            tile_bits = n * -(-p // m) * -(-q // m) * c * self.groups_in_tile * mode.taps * mode.transformed_bits
            self.transformed_room = np.where(self.inputs_stay, all_inputs, -(-tile_bits // 8) * self.copies_x)
        else:
            all_inputs = -(-self.pixels * work.in_channels * mode.activation_bits // 8)
            self.inputs_stay = all_inputs <= self._capacity("input")
        tile = -(-n * self.in_high * self.in_wide * c * self.groups_in_tile * mode.activation_bits // 8)
        if self.machine.buffers.shared and not mode.transforms:
            both, room = all_weights + all_inputs, self._shared()
            self.weights_stay = (both <= room) | ~self.weights_first & (all_weights + tile * self.copies_x <= room)
            self.inputs_stay = (both <= room) | self.weights_first & (all_inputs + 2 * self.weight_tile <= room)
        self.input_room = np.where(self.inputs_stay & (not mode.transforms), all_inputs, tile * self.copies_x)
        self.weight_room = np.where(self.weights_stay, all_weights, 2 * self.weight_tile)

    def _measure_dram(self) -> None:
        mode, work, weights_first = self.mode, self.mode.work, self.weights_first
        n, p, q, k, c, _ = self._sizes
        weight_once = np.int64(np.ceil(mode.dram_bits.sum() / 8))
        once = (self.n_k * self.n_c == 1) | (weights_first & ((self.n_c == 1) | (self.positions == 1)))
        reloads_w = np.where(once | self.weights_stay, 1, self.positions)
        input_once = whole_bytes(self.pixels * work.in_channels, mode.input_bits)
        once = ~weights_first & (self.n_c == 1) | (self.positions * self.n_c == 1)
        self.reloads_x = np.where(once | self.inputs_stay, 1, self.in_group)
        output_bytes = whole_bytes(work.outputs, mode.output_bits)
        self.dram_bytes = weight_once * reloads_w + input_once * self.reloads_x + output_bytes

        # Requests to the DRAM: every tile as large as the largest.
        dram = self.machine.dram
        row_bytes, whole_width = dram.timing.row_bytes, q == work.out_width
        in_line = line_bytes(work.width, work.in_channels, mode.input_bits)
        out_line = line_bytes(work.out_width, work.out_channels, mode.output_bits)
        in_pieces = feature_map_pieces(n, self.in_high, c * self.groups_in_tile, whole_width, in_line, row_bytes)
        out_pieces = feature_map_pieces(n, p, k, whole_width, out_line, row_bytes)
        in_loads, out_loads = self.positions * self.n_c * self.input_groups * self.reloads_x, self.positions * self.n_k
        w_loads = self.n_k * self.n_c * reloads_w
        requests = (
            Transfer(input_once * self.reloads_x, in_pieces[0] * in_loads, in_pieces[1] * in_loads),
            Transfer(
                weight_once * reloads_w,
                w_loads,
                np.asarray(-(-weight_once // (self.n_k * self.n_c * row_bytes)) * w_loads),
            ),
            Transfer(np.asarray(output_bytes), out_pieces[0] * out_loads, out_pieces[1] * out_loads),
        )
        dma_ns = [transfer_ns(dram.timing, dram.channels, request) for request in requests]
        weights = dma_ns[1] / self.machine.ns_per_cycle
        if mode.weight_transform_rate:
            filter_channels = work.out_channels * mode.group_channels
            weights = np.maximum(weights, filter_channels / mode.weight_transform_rate * reloads_w)
        self.dma_cycles = (dma_ns[0] + dma_ns[2]) / self.machine.ns_per_cycle + weights

    def _measure_time(self) -> None:
        mode, work = self.mode, self.mode.work
        self.rounds = self._rounds()
        self.lanes_bound: Ints = np.zeros((1,) * 6, np.int64)
        if mode.window == 1 and mode.variance is None:  # else fewer barriers need not mean fewer cycles
            uncut = mode.lane_cycles(work.out_channels, block_edges(mode.group_channels, mode.group_channels))
            parts = [self._lanes(uncut, int(n_c)) for n_c in self.n_c.ravel()]
            self.lanes_bound = np.concatenate(parts, axis=4)
        none = np.zeros((1,) * 6)
        self.transform_cycles = self.inverse_cycles = none
        if mode.transforms:
            loads = self.positions * self.n_c * self.input_groups * self.reloads_x
            self.transform_cycles = (
                self.tiles * work.in_channels * mode.phases / mode.transform_rate * self.reloads_x
                + TRANSFORM_STEP_CYCLES * loads
            )
            stores = TRANSFORM_STEP_CYCLES * self.positions * self.n_k
            self.inverse_cycles = none + self.tiles * work.out_channels * mode.phases / mode.inverse_rate + stores

    def lanes(self, cut: int) -> Ints:
        """Cycles of the lanes over the whole layer for one cut of the channels."""
        mode, c = self.mode, self.cuts[4][cut]
        edges = block_edges(mode.group_channels, c)
        if mode.window == 1:
            return self._lanes(mode.lane_cycles(mode.work.out_channels, edges), len(edges) - 1)
        parts = []
        for i, k in enumerate(self.cuts[3]):
            of_all = self._lanes(mode.lane_cycles(k, edges), len(edges) - 1)
            parts.append(np.broadcast_to(of_all, (*of_all.shape[:3], len(self.cuts[3]), 1, 1))[:, :, :, i : i + 1])
        return np.concatenate(parts, axis=3)

    def _lanes(self, cycles: Ints, n_c: int) -> Ints:
        mode = self.mode
        total = int(cycles.sum())
        of_filter = total // mode.work.out_channels * self._sizes[3] if mode.stationary == "input" else total
        K, G = mode.work.out_channels, len(mode.group_starts)
        filters = self._sizes[3] if mode.stationary == "input" else K * n_c
        fill = mode.fill_cycles(
            self.positions * self.n_k * n_c, self.positions, self.tiles, self.rounds, G * n_c, filters,
            of_filter * self.n_k if mode.stationary == "input" else total,
        )  # fmt: skip
        return np.asarray(self.rounds * total + fill)

    def _rounds(self) -> Ints:
        """Rounds of position lanes over all position tiles, remainders included."""
        work, m = self.mode.work, self.mode.m
        sizes = zip((work.batch, work.out_height, work.out_width), self._sizes[:3], (1, m, m), strict=True)
        parts = []
        for size, tile, granule in sizes:
            whole, rest = size // tile, size % tile
            parts.append(((whole, -(-tile // granule)), (np.int64(rest > 0), -(-rest // granule))))
        rounds = np.zeros((1,) * 6, np.int64)
        for n_count, n_tiles in parts[0]:
            for p_count, p_tiles in parts[1]:
                for q_count, q_tiles in parts[2]:
                    once = -(-n_tiles * p_tiles * q_tiles // self.mode.position_lanes)
                    rounds = rounds + n_count * p_count * q_count * once
        return rounds

    def _measure_room(self) -> None:
        """Bytes that each buffer needs, and which candidates fit."""
        mode, m = self.mode, self.mode.m
        n, p, q, k, _, _ = self._sizes
        tiles = n * -(-p // m) * -(-q // m)
        copies_y = np.where(self.positions * self.n_k == 1, 1, 2)
        out_elements = n * p * q * k
        finished = -(-out_elements * mode.activation_bits // 8) * copies_y
        self.needs = {"weight": self.weight_room, "input": self.input_room}
        if mode.transforms:
            self.needs["transformed"] = self.transformed_room
            # The accumulators of one round, double-buffered towards the inverse transform; of the whole tile where the
            # channels come in several parts.
            one_round = np.minimum(tiles, mode.position_lanes) * np.minimum(k, mode.filter_lanes)
            held = np.where(self.n_c > 1, tiles * k * copies_y, one_round * 2) * mode.taps
            self.needs["output"] = -(-held * mode.accumulator_bits // 8) + finished
        else:
            partial = -(-out_elements * mode.accumulator_bits // 8) * copies_y
            several = (self.n_c > 1) | (mode.stationary != "output")
            self.needs["output"] = np.where(several, partial, finished)
        self.fits = np.broadcast_to(self.steps <= MAX_STEPS, self.shape)
        if self.machine.buffers.shared:
            self.fits = self.fits & (self.weight_room + self.input_room <= self._shared())
        for name, needed in self.needs.items():
            self.fits = self.fits & (needed <= self._capacity(name))

    def _capacity(self, name: str) -> int:
        if self.machine.buffers.shared and name in {"weight", "input"}:
            return self._shared()
        return int(1024 * getattr(self.machine.buffers, f"{name}_kb"))

    def _shared(self) -> int:
        """Bytes of a buffer that weights and inputs share."""
        return int(1024 * (self.machine.buffers.weight_kb + self.machine.buffers.input_kb))

    def _weight_bytes(self) -> tuple[Ints, Ints]:
        """Bytes of the largest weight tile, and of all tiles, of each cut of filters and channels."""
        mode = self.mode
        largest = np.empty((self.shape[3], self.shape[4]))
        total = np.empty_like(largest)
        running = np.zeros((mode.work.out_channels + 1, mode.stored_bits.shape[1] + 1))
        mode.stored_bits.cumsum(axis=0, out=running[1:, 1:])
        running[1:, 1:].cumsum(axis=1, out=running[1:, 1:])
        filter_edges = [np.append(mode.filter_starts(k), mode.work.out_channels) for k in self.cuts[3]]
        for j, c in enumerate(self.cuts[4]):
            columns = running[:, block_edges(mode.group_channels, c)]
            columns = columns[:, 1:] - columns[:, :-1]
            for i, edges in enumerate(filter_edges):
                rows = columns[edges]
                tiles = np.ceil((rows[1:] - rows[:-1]) / 8 - 1e-6)
                largest[i, j], total[i, j] = tiles.max(), tiles.sum()
        shape = (1, 1, 1, *largest.shape, 1)
        return largest.astype(np.int64).reshape(shape), total.astype(np.int64).reshape(shape)

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


def _filter_cuts(mode: Mode) -> list[int]:
    """Filters of a tile: parts of one convolution group, or several whole groups."""
    per_group, groups = mode.filters_per_group, mode.work.groups
    parts = balanced_cuts(per_group, mode.filter_lanes)
    return parts + [per_group * whole for whole in balanced_cuts(groups, 1) if whole > 1]
