"""How one layer is cut into tiles that fit the buffers, and the search for the best cut.

A step works on n images x p x q outputs, k filters and c input channels.  Channels are innermost, so that partial sums
stay on chip; the outer order is filters-then-positions (``weights_first``: a tile of weights stays while the inputs
stream past) or positions-then-filters.  A buffer holds the current tile and, double-buffered, the next; an operand is
loaded when its tile changes from one step to the next, and an operand that is one tile in the whole layer is loaded
once and may fill its buffer.

The search scores all balanced cuts (d parts of equal size, the last one the remainder, for every d) of every dimension
in both orders at once, as arrays.  The score is

    cycles = max(DMA, transform, lanes, inverse) + one average step of each of the others (fill and drain).

It uses no buffer size, so a larger buffer only adds candidates and never worsens the best score.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer, transfer_ns
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.mode import CHANNEL_BLOCK, Mode
from accelsim.workload import LayerWork

MAX_STEPS = 1 << 20

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tiling:
    """Sizes of a tile: images, output rows and columns, filters, input channels of a group; and the outer order."""

    images: int
    rows: int
    cols: int
    filters: int
    channels: int
    weights_first: bool


def balanced_cuts(size: int, granule: int) -> list[int]:
    """Tile sizes that cut ``size`` into 1, 2, 3, ... nearly equal parts, each a multiple of ``granule``."""
    units = -(-size // granule)
    return sorted({min(size, granule * -(-units // parts)) for parts in range(1, units + 1)})


def input_extents(work: LayerWork, axis: int, tile: int) -> Ints:
    """Input rows (axis 0) or columns (axis 1) that each output tile reads, padding left out.  (tiles,) int64.

    The last tile reads to the image's edge, also where a stride leaves the last rows unused.
    """
    size, outputs = ((work.height, work.out_height), (work.width, work.out_width))[axis]
    stride, kernel, dilation = work.stride[axis], work.kernel[axis], work.dilation[axis]
    start = np.arange(0, outputs, tile)
    length = np.minimum(tile, outputs - start)
    first = np.maximum(start * stride - work.padding[axis], 0)
    span = (length - 1) * stride + dilation * (kernel - 1) + 1
    last = np.minimum(start * stride - work.padding[axis] + span, size)
    last[-1] = size
    return np.asarray(np.maximum(last - first, 0))


def channel_tiles(mode: Mode, channels: int) -> Ints:
    """First channel block of each tile of ``channels`` input channels."""
    return np.arange(0, len(mode.channel_starts), -(-channels // CHANNEL_BLOCK))


def line_bytes(mode: Mode, width: int, channels: int) -> int:
    """Bytes of one image row of one plane of a feature map in DRAM (see ``feature_map_pieces``)."""
    return -(-width * min(channels, CHANNEL_BLOCK) * mode.activation_bits // 8)


def feature_map_pieces(
    images: Ints, rows: Ints, channels: Ints, whole_width: NDArray[np.bool_] | np.bool_, line: int, row_bytes: int
) -> tuple[Ints, Ints]:
    """Contiguous pieces, and DRAM rows touched, of a tile of a feature map.

    Feature maps lie in DRAM as planes of 16 channels, each plane row by row, 16 channels a pixel.  In a plane a tile is
    one piece where it is as wide as the image, else a piece an image row, ``line`` bytes apart.
    """
    planes = images * -(-channels // CHANNEL_BLOCK)
    touched = -(-rows * line // row_bytes)
    pieces = np.where(whole_width, 1, rows)
    return planes * pieces, planes * np.where(whole_width, touched, np.minimum(rows, touched))


def choose(mode: Mode, machine: SpatialMachine | WinogradMachine) -> tuple[Tiling, float]:
    """The tiling with the lowest score, and the score in the unit of the machine's objective (cycles or DRAM bytes).

    Raises InputError if no tiling fits the buffers.
    """
    candidates = _Candidates(mode, machine)
    score = candidates.dram_bytes.astype(float) if machine.objective == "dram" else candidates.cycles
    score = np.where(candidates.fits, score, np.inf)
    if not np.isfinite(score).any():
        raise InputError(f"{machine.name}: {candidates.shortage()}")
    best = int(np.lexsort((candidates.steps, candidates.dram_bytes, score))[0])
    return candidates.tiling(best), float(score[best])


class _Candidates:
    """All tilings of a layer, as arrays (candidates,), with what they need and cost."""

    def __init__(self, mode: Mode, machine: SpatialMachine | WinogradMachine) -> None:
        self.mode, self.machine = mode, machine
        work = mode.work
        per_group = mode.filters_per_group
        filters = balanced_cuts(per_group, mode.filter_lanes) if work.groups == 1 else [
            per_group * groups for groups in balanced_cuts(work.groups, 1)
        ]  # fmt: skip
        axes = (
            balanced_cuts(work.batch, 1),
            balanced_cuts(work.out_height, mode.m),
            balanced_cuts(work.out_width, mode.m),
            filters,
            balanced_cuts(mode.slots.shape[2], CHANNEL_BLOCK),
            (0, 1),
        )
        self._axes = axes
        index = np.indices([len(axis) for axis in axes]).reshape(len(axes), -1)
        self._index = index
        sizes = [np.array(axis)[i] for axis, i in zip(axes, index, strict=True)]
        self.n, self.p, self.q, self.k, self.c, first = sizes
        self.weights_first = first.astype(bool)
        self._measure()

    def tiling(self, i: int) -> Tiling:
        """Candidate i."""
        n, p, q, k, c = (int(size[i]) for size in (self.n, self.p, self.q, self.k, self.c))
        return Tiling(n, p, q, k, c, bool(self.weights_first[i]))

    def _measure(self) -> None:
        mode, work = self.mode, self.mode.work
        _, i_p, i_q, _, i_c, _ = self._index
        N, P, Q, K = work.batch, work.out_height, work.out_width, work.out_channels
        C = mode.slots.shape[2]
        n_k, n_c = -(-K // self.k), -(-C // self.c)
        n_pos = -(-N // self.n) * -(-P // self.p) * -(-Q // self.q)
        self.steps = n_pos * n_k * n_c
        groups_per_tile = np.maximum(self.k // mode.filters_per_group, 1)

        # Bytes, each operand once and then times its reloads (module docstring: a load where the tile changes).
        weight_once, self._weight_tile = self._weight_bytes()
        reloads_w = np.where((n_k * n_c == 1) | (self.weights_first & ((n_c == 1) | (n_pos == 1))), 1, n_pos)
        rows = [int(input_extents(work, 0, p).sum()) for p in self._axes[1]]
        cols = [int(input_extents(work, 1, q).sum()) for q in self._axes[2]]
        rows_max = [int(input_extents(work, 0, p).max()) for p in self._axes[1]]
        cols_max = [int(input_extents(work, 1, q).max()) for q in self._axes[2]]
        pixels = N * np.array(rows)[i_p] * np.array(cols)[i_q]
        input_once = -(-pixels * work.in_channels * mode.activation_bits // 8)
        again = ~self.weights_first & (n_c == 1) | (n_pos * n_c == 1) | (work.groups > 1)
        reloads_x = np.where(again, 1, n_k)
        output_bytes = -(-work.outputs * mode.activation_bits // 8)
        self.dram_bytes = weight_once * reloads_w + input_once * reloads_x + output_bytes

        # Requests to the DRAM: every tile as large as the largest.
        row_bytes = self.machine.dram.timing.row_bytes
        in_high, in_wide = np.array(rows_max)[i_p], np.array(cols_max)[i_q]
        channels = self.c * groups_per_tile
        whole_width = self.q == Q
        in_pieces = feature_map_pieces(
            self.n, in_high, channels, whole_width, line_bytes(mode, work.width, work.in_channels), row_bytes
        )
        out_pieces = feature_map_pieces(self.n, self.p, self.k, whole_width, line_bytes(mode, Q, K), row_bytes)
        in_loads = n_pos * n_c * np.where(work.groups > 1, n_k, reloads_x)
        requests = (
            Transfer(input_once * reloads_x, in_pieces[0] * in_loads, in_pieces[1] * in_loads),
            Transfer.contiguous(weight_once * reloads_w, row_bytes),
            Transfer(np.full_like(self.k, output_bytes), out_pieces[0] * n_pos * n_k, out_pieces[1] * n_pos * n_k),
        )

        # Time.
        m = mode.m
        tiles_n, tiles_p, tiles_q = self.n, -(-self.p // m), -(-self.q // m)
        rounds = self._rounds()
        cycles_of_c = [
            int(mode.group_cycles(channel_tiles(mode, c)).sum()) for c in self._axes[4]
        ]  # all filter groups, one round of position lanes
        lanes = rounds * np.array(cycles_of_c)[i_c]
        total_tiles = N * -(-P // m) * -(-Q // m)
        transform = inverse = np.zeros(len(lanes))
        if mode.transforms:
            transform = total_tiles * work.in_channels / mode.transform_rate * reloads_x
            inverse = np.full(len(lanes), total_tiles * K / mode.inverse_rate)
        dram = self.machine.dram
        dma_ns = sum(transfer_ns(dram.timing, dram.channels, request) for request in requests)
        dma = dma_ns / self.machine.ns_per_cycle
        stages = np.array([dma, transform, lanes, inverse])
        longest = stages.max(axis=0)
        self.cycles: Floats = longest + (stages.sum(axis=0) - longest) / self.steps

        # Room.
        acc, act = mode.accumulator_bits, mode.activation_bits
        tiles = tiles_n * tiles_p * tiles_q
        in_elements = self.n * in_high * in_wide * channels
        single_x, single_w = n_pos * n_c * np.where(work.groups > 1, n_k, 1) == 1, n_k * n_c == 1
        single_y = n_pos * n_k == 1
        copies_x, copies_y = np.where(single_x, 1, 2), np.where(single_y, 1, 2)
        out_elements = self.n * self.p * self.q * self.k
        self.needs = {
            "weight": self._weight_tile * np.where(single_w, 1, 2),
            "input": -(-in_elements * act // 8) * copies_x,
        }
        finished = -(-out_elements * act // 8) * copies_y
        if mode.transforms:
            n2 = mode.taps
            transformed = -(-tiles * channels * n2 * mode.transformed_bits // 8)
            self.needs["transformed"] = transformed * copies_x
            # The accumulators of one round, double-buffered towards the inverse transform; of the whole tile where the
            # channels come in several parts.
            one_round = np.minimum(tiles, mode.position_lanes) * np.minimum(self.k, mode.filter_lanes)
            held = np.where(n_c > 1, tiles * self.k * copies_y, one_round * 2) * n2
            self.needs["output"] = -(-held * acc // 8) + finished
        else:
            partial = -(-out_elements * acc // 8) * copies_y
            self.needs["output"] = np.where((n_c > 1) | (mode.reduction_lanes > 1), partial, finished)
        self.fits = self.steps <= MAX_STEPS
        for name, needed in self.needs.items():
            self.fits = self.fits & (needed <= self._capacity(name))

    def _capacity(self, name: str) -> int:
        return int(1024 * getattr(self.machine.buffers, f"{name}_kb"))

    def _weight_bytes(self) -> tuple[Ints, Ints]:
        """Bytes of all weight tiles together, and of the largest, of each candidate."""
        mode = self.mode
        _, _, _, i_k, i_c, _ = self._index
        total = np.empty((len(self._axes[3]), len(self._axes[4])), np.int64)
        largest = np.empty_like(total)
        for a, k in enumerate(self._axes[3]):
            for b, c in enumerate(self._axes[4]):
                tiles = weight_tile_bytes(mode, k, c)
                total[a, b], largest[a, b] = tiles.sum(), tiles.max()
        return total[i_k, i_c], largest[i_k, i_c]

    def _rounds(self) -> Ints:
        """Rounds of position lanes over all position tiles, remainders included."""
        work, m = self.mode.work, self.mode.m
        sizes = ((work.batch, self.n, 1), (work.out_height, self.p, m), (work.out_width, self.q, m))
        rounds: Ints = np.zeros(len(self.n), np.int64)
        parts = []
        for size, tile, granule in sizes:
            whole, rest = size // tile, size % tile
            parts.append(((whole, -(-tile // granule)), ((rest > 0).astype(np.int64), -(-rest // granule))))
        for n_count, n_tiles in parts[0]:
            for p_count, p_tiles in parts[1]:
                for q_count, q_tiles in parts[2]:
                    once = -(-n_tiles * p_tiles * q_tiles // self.mode.position_lanes)
                    rounds = rounds + n_count * p_count * q_count * once
        return rounds

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


def weight_tile_bytes(mode: Mode, filters: int, channels: int) -> Ints:
    """Stored bytes of each weight tile: (filter tiles, channel tiles)."""
    k_starts = np.arange(0, mode.work.out_channels, filters)
    bits = np.add.reduceat(mode.filter_stored_bits, k_starts, axis=0)
    bits = np.add.reduceat(bits, channel_tiles(mode, channels), axis=1)
    return np.ceil(bits / 8).astype(np.int64)
