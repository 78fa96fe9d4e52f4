"""How an array of multiply-accumulate lanes executes one convolution: what spatial and Winograd machines share.

Both kinds do the same thing in different domains.  The filters are (taps, K, C) matrices of slots, one slot a multiply
that a lane must spend: in the spatial domain there is one tap and up to R S slots an input channel; in the Winograd
domain of F(m x m, R x S) there are n^2 taps and at most one slot.  ``filter_lanes`` filters work side by side on
``position_lanes`` output tiles (single outputs, or m x m tiles) and ``tap_lanes`` taps.  Filters that work side by
side wait for the fullest of them, at every tap group and every tile of channels (a barrier):

    cycles of a step = ceil(tiles / position_lanes) * sum over filter groups and tap groups of
                       max(1, ceil(max over the lanes of (sum over c of slots) / reduction_lanes))
                     + start-up and drain (``array``)

``reduction_lanes`` is 1 where a lane accumulates one output (output-stationary) and the number of rows where the rows
hold weights of one filter (weight-stationary) or inputs of one position (input-stationary).

``window`` > 1: each lane has a queue, and the barrier comes only after every ``window`` (filter, tap group) pairs of a
lane; the maximum is then over the sums of that many.  Slots with a ``variance`` are expected values of random counts;
the fullest lane is then taken as max over the filters of (mean + z sqrt(variance)), z the expected maximum of
``position_lanes`` standard normals, and at most ``most`` (all positions match).

``feed``: ``broadcast`` reaches all lanes at once (start-up and drain: ``array``).  ``systolic`` adds H + W - 2 cycles
to each fold of an H x W array where it holds outputs and 2 H + W - 2 where it holds weights or inputs, less one cycle a
layer (the closed forms of SCALE-Sim 3); ``mesh`` adds rows used + columns used + 3 to each fold (STONNE's
output-stationary mesh).
"""

from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Floats, Ints
from accelsim.hardware.formats import Format
from accelsim.simulator.tiles.overhead import EMPTY_GROUP_CYCLES, Counts, step_cycles
from accelsim.simulator.tiles.tiling import Axis, Shape, filter_starts, group_starts
from accelsim.workload import LayerWork, keep

Stationary = Literal["output", "weight", "input"]
Feed = Literal["broadcast", "systolic", "mesh"]
MOST_SUMS = 512  # of the filters of a mode that are kept


@dataclass(frozen=True, eq=False)
class Mode:
    """One way of one machine to execute one convolution or fully connected layer.

    m: outputs a tile and dimension.  slots: (taps, K, blocks of input channels) int64, or float64 where expected;
    filters in the order they occupy the lanes.  variance, most: of slots that are expected values, same shape.
    executed: multiplies a tile of outputs, the whole layer (less than the slots where lanes are gated).
    gated: slots a tile in which a lane is held still.
    stored_bits: (K, blocks) float64, bits of the weights on chip, index included; dram_bits: the same off chip.
    input_bits, output_bits: of an activation in DRAM, on average, index included.
    transform_rate, inverse_rate: tile-channels and tile-filters a cycle of the transform units; 0 without them.
    transform_adds: additions of the input and the inverse transform of one tile-channel.
    phases: transforms of each tile-channel and tile-filter (4 of a stride-2 layer split into four pieces).
    weight_transform_rate: filter-channels that an on-chip filter transform takes a cycle, 0 without one; its additions.
    decoder_rate: weights that an on-chip decoder of the file's entropy code gives a cycle, 0 without one.
    weight_reuse: rounds of position lanes for which a lane holds the weights that it read.
    kept: sums over the filters at the groupings asked for so far; modes of the same slots and bits may share it.
    """

    name: str
    work: LayerWork
    m: int
    slots: Ints | Floats
    executed: int
    gated: int
    stored_bits: Floats
    dram_bits: Floats
    position_lanes: int
    filter_lanes: int
    tap_lanes: int
    reduction_lanes: int
    weight_format: Format
    weight_bits: int
    activation_bits: int
    transformed_bits: int
    accumulator_bits: int
    input_bits: float
    output_bits: float
    stationary: Stationary = "output"
    feed: Feed = "broadcast"
    window: int = 1
    variance: Floats | None = None
    most: Ints | None = None
    transform_rate: int = 0
    inverse_rate: int = 0
    transform_adds: tuple[int, int] = (0, 0)
    phases: int = 1
    weight_transform_rate: int = 0
    weight_transform_adds: int = 0
    decoder_rate: float = 0.0
    weight_reuse: int = 1
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def transforms(self) -> bool:
        """Whether the layer passes through transform units; cells transform on the fly (``transform_adds`` alone)."""
        return self.transform_rate > 0

    @property
    def arrival_cycles(self) -> float:
        """Cycles that the weights of a filter-channel take to be decoded and transformed as they arrive."""
        decode = self.kernel_size / self.decoder_rate if self.decoder_rate else 0.0
        return max(decode, 1 / self.weight_transform_rate if self.weight_transform_rate else 0.0)

    @property
    def kernel_size(self) -> int:
        """R S."""
        return self.work.kernel[0] * self.work.kernel[1]

    @property
    def taps(self) -> int:
        """Winograd-domain taps of a filter; 1 in the spatial domain."""
        return int(self.slots.shape[0])

    @property
    def group_channels(self) -> int:
        """Input channels of one convolution group: C / groups."""
        return self.work.in_channels // self.work.groups

    @cached_property
    def shape(self) -> Shape:
        """All that decides which tilings there are and what their tiles hold, but for the weights."""
        work = self.work
        return Shape(
            work.batch, work.in_channels, work.out_channels, work.groups, Axis.of(work, 0), Axis.of(work, 1), self.m,
            self.filter_lanes, self.taps, self.activation_bits, self.transformed_bits if self.transforms else 0,
            self.accumulator_bits, self.input_bits, self.output_bits, self.stationary == "output",
        )  # fmt: skip

    @property
    def group_starts(self) -> Ints:
        """First filter of each group of filters that work side by side; none spans two convolution groups."""
        return group_starts(self.work.out_channels, self.work.groups, self.filter_lanes)

    @property
    def _running(self) -> tuple[NDArray[Any], ...]:
        """Slots (and variance and most) summed up to each channel block: (taps, K, blocks + 1)."""
        parts = (self.slots,) if self.variance is None else (self.slots, self.variance, self.most)
        return keep(
            self.kept, "running", lambda: tuple(_running_sums(part) for part in parts if part is not None), MOST_SUMS
        )

    def _grouping(self, filters: int, block_edges: Ints) -> tuple[int, ...]:
        """All that decides which slots are summed, and between which the lanes wait."""
        lanes = (self.position_lanes if self.variance is not None else 0, self.filter_lanes, self.tap_lanes)
        return (*lanes, self.reduction_lanes, self.window, filters if self.window > 1 else 0, int(block_edges[1]))

    def lane_cycles(self, filters: int, block_edges: Ints) -> Ints:
        """Cycles for one round of position lanes of each barrier: (barriers, channel tiles) int64.

        filters: of a filter tile.  block_edges: first channel block of each channel tile, and the number of blocks.
        With ``filter_barriers`` they sum up to filter tiles.
        """
        key = ("lane cycles", *self._grouping(filters, block_edges))
        return keep(self.kept, key, lambda: self._lane_cycles(filters, block_edges), MOST_SUMS)

    def _lane_cycles(self, filters: int, block_edges: Ints) -> Ints:
        counts, _ = self._lanes(filters, block_edges)
        if self.window > 1:
            return np.asarray(np.maximum(counts.max(axis=1), EMPTY_GROUP_CYCLES), np.int64)
        fullest = np.maximum.reduceat(counts, self.group_starts, axis=1)
        fullest = np.maximum.reduceat(fullest, np.arange(0, self.taps, self.tap_lanes), axis=0)
        return np.asarray(np.maximum(-(-fullest // self.reduction_lanes), EMPTY_GROUP_CYCLES).sum(axis=0))

    def least_cycles(self) -> Ints:
        """What ``lane_cycles`` sums up to at least, however filters and channels are cut: (barriers, 1) int64."""
        K, uncut = self.work.out_channels, np.array([0, self.slots.shape[2]])
        if self.window == 1 and self.variance is None:
            return self.lane_cycles(K, uncut)
        # Fewer barriers need not mean fewer cycles here; but each lane does its expected slots.
        return keep(self.kept, ("least cycles", *self._grouping(K, uncut)), self._least_cycles, MOST_SUMS)

    def _least_cycles(self) -> Ints:
        expected = self._running[0][:, :, -1:]
        if self.window > 1:
            lanes = self._windows(expected, np.zeros(1, np.int64))
            return np.asarray(np.floor(lanes.max(axis=1)), np.int64)
        fullest = np.maximum.reduceat(expected, self.group_starts, axis=1)
        fullest = np.maximum.reduceat(fullest, np.arange(0, self.taps, self.tap_lanes), axis=0)
        return np.asarray(np.floor(-(-fullest // self.reduction_lanes).sum(axis=0)), np.int64)

    def waiting_slots(self, filters: int, block_edges: Ints) -> float:
        """Slots that filters (and taps) side by side wait for the fullest of them, a tile of outputs."""
        key = ("waiting slots", *self._grouping(filters, block_edges))
        return keep(self.kept, key, lambda: self._waiting_slots(filters, block_edges), MOST_SUMS)

    def _waiting_slots(self, filters: int, block_edges: Ints) -> float:
        counts, used = self._lanes(filters, block_edges)
        if self.window > 1:
            return float(((used > 0) * counts.max(axis=1, keepdims=True) - used).sum())
        tap_starts = np.arange(0, self.taps, self.tap_lanes)
        fullest = np.maximum.reduceat(np.maximum.reduceat(counts, self.group_starts, axis=1), tap_starts, axis=0)
        side_by_side = np.multiply.outer(
            np.diff(np.append(tap_starts, self.taps)), np.diff(np.append(self.group_starts, self.work.out_channels))
        )
        return float((fullest * side_by_side[:, :, None]).sum() - used.sum())

    def _lanes(self, filters: int, block_edges: Ints) -> tuple[Ints, NDArray[Any]]:
        """Cycles that each lane spends between barriers, and its (expected) slots.

        (taps, K, channel tiles), or with a window (windows, lanes, channel tiles).
        """
        sums = [np.diff(part[:, :, block_edges], axis=2) for part in self._running]
        if self.window > 1:
            sums = [self._windows(part, self._window_starts(filters)) for part in sums]
        if self.variance is None:
            return sums[0], sums[0]
        mean, variance, most = sums
        worst = np.ceil(mean + expected_maximum(self.position_lanes) * np.sqrt(np.maximum(variance, 0)) - 1e-6)
        return np.minimum(most, worst.astype(np.int64)), mean

    def _windows(self, sums: NDArray[Any], starts: Ints) -> NDArray[Any]:
        """(taps, K, channel tiles) -> (windows, lanes, channel tiles): sums over what a lane does between barriers.

        starts: of ``_window_starts``.
        """
        taps, _, tiles = sums.shape
        L, rounds = self.filter_lanes, -(-taps // self.tap_lanes)
        ends = np.append(self.group_starts[1:], self.work.out_channels)
        member = self.group_starts[:, None] + np.arange(L)
        real = member < ends[:, None]
        padded = np.zeros((rounds * self.tap_lanes, len(ends), L, tiles), sums.dtype)
        padded[:taps] = sums[:, np.where(real, member, 0)] * real[:, :, None]
        lanes = padded.reshape(rounds, self.tap_lanes, len(ends), L, tiles).transpose(2, 0, 1, 3, 4)
        sequence = lanes.reshape(len(ends) * rounds, self.tap_lanes * L, tiles)
        return np.asarray(np.add.reduceat(sequence, starts, axis=0))

    def _window_starts(self, filters: int) -> Ints:
        """First (filter group, tap group) pair of each window; windows end with their filter tile."""
        rounds = -(-self.taps // self.tap_lanes)
        first = np.searchsorted(self.group_starts, self.filter_starts(filters)) * rounds
        pair = np.arange(len(self.group_starts) * rounds)
        in_tile = pair - np.repeat(first, np.diff(np.append(first, len(pair))))
        return np.flatnonzero(in_tile % self.window == 0)

    def filter_starts(self, filters: int) -> Ints:
        """First filter of each tile of ``filters``: a part of one convolution group, or several whole groups."""
        return filter_starts(self.work.out_channels, self.work.groups, filters)

    def filter_barriers(self, filters: int) -> Ints:
        """First row of ``lane_cycles`` of each filter tile."""
        starts = self.filter_starts(filters)
        groups = np.searchsorted(self.group_starts, starts)
        if self.window == 1:
            return groups
        return np.searchsorted(self._window_starts(filters), groups * -(-self.taps // self.tap_lanes))

    def fill_cycles(
        self, steps: Counts, positions: Counts, tiles: Counts, rounds: Counts, groups: Counts, filters: Counts,
        cycles: Counts,
    ) -> Ints:  # fmt: skip
        """Cycles that filling and draining the array adds to steps (or, of sums, to a whole layer).

        steps: how many.  positions: position tiles.  tiles: outputs.  rounds: of position lanes.  groups: filter
        groups.  filters: in the filter tile.  cycles: of ``lane_cycles``, of the step.
        """
        if self.feed == "broadcast":
            return step_cycles(self.stationary, self.reduction_lanes, steps, positions, tiles, cycles)
        if self.feed == "mesh":
            return np.asarray(3 * rounds * groups + tiles * groups + filters * rounds)
        if self.stationary == "output":
            return np.asarray((self.position_lanes + self.filter_lanes - 2) * rounds * groups)
        columns = self.filter_lanes if self.stationary == "weight" else self.position_lanes
        fold = 2 * self.reduction_lanes + columns - 2
        if self.stationary == "weight":
            return np.asarray(fold * positions * cycles)
        return np.asarray(fold * rounds * (cycles // filters))


def _running_sums(values: NDArray[Any]) -> NDArray[Any]:
    """(taps, K, blocks) -> (taps, K, blocks + 1): sums before each block.  Counts as int32: 2^28 weights at most."""
    dtype = np.float64 if values.dtype.kind == "f" else np.int32
    sums = np.zeros((*values.shape[:2], values.shape[2] + 1), dtype)
    values.cumsum(axis=2, dtype=dtype, out=sums[..., 1:])
    return sums


def expected_maximum(n: int) -> float:
    """Expected maximum of n standard normals (Blom 1958)."""
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25))
