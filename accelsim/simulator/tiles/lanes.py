"""Cycles of the lanes: slots between barriers, and who waits for whom.

``filters`` filters work side by side on ``positions`` output tiles (single outputs, or m x m tiles)
and ``taps`` taps.  Filters that work side by side wait for the fullest of them, at every tap group
and every tile of channels (a barrier):

    cycles of a step = ceil(tiles / positions) * sum over filter groups and tap groups of
                       max(1, ceil(max over the lanes of (sum over c of slots) / reduction))
                     + start-up and drain (``overhead``)

``reduction`` is 1 where a lane accumulates one output (output-stationary) and the number of rows
where the rows hold weights of one filter (weight-stationary) or inputs of one position
(input-stationary).

``filters_each`` > 1: a lane does the slots of that many filters of its group, every ``filters``-th
one.  Operand windows put a barrier behind each of them, and columns wait for each other's operands
(``selection``).

``window`` > 1: each lane has a queue, and the barrier comes only after every ``window`` (filter,
tap group) pairs of a lane; the maximum is then over the sums of that many.  Slots with a
``variance`` are expected values of random counts; the fullest lane is then taken as max over the
filters of (mean + z sqrt(variance)), z the expected maximum of ``positions`` standard normals, and
at most ``most`` (all positions match).
"""

from collections.abc import Hashable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import SUM_ERROR, Ints, round_up
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.overhead import EMPTY_GROUP_CYCLES
from accelsim.simulator.tiles.selection import served
from accelsim.simulator.tiles.tiling import filter_starts

SHORT_WINDOW = 8  # pairs of filter group and tap group


def lane_cycles(mode: Mode, filters: int, block_edges: Ints) -> Ints:
    """Cycles for one round of position lanes of each barrier: (barriers, channel tiles) int64.

    filters: of a filter tile.  block_edges: first channel block of each channel tile, and the
    number of blocks.  With ``first_barriers`` they sum up to filter tiles.
    """

    def count() -> Ints:
        if mode.lanes.operands is not None:
            return np.asarray(_served_cycles(mode, block_edges).sum(axis=0))
        counts, _ = _slots_of_lanes(mode, filters, block_edges)
        if mode.lanes.window > 1:
            return np.asarray(np.maximum(counts.max(axis=1), EMPTY_GROUP_CYCLES), np.int64)
        fullest = -(-_fullest(mode, counts) // mode.lanes.reduction)
        least = max(mode.lanes.window_cycles, mode.lanes.tap_cycles)
        return np.asarray(np.maximum(fullest, least).sum(axis=0))

    return mode.sums.lane_cycles.get(_grouping(mode, filters, block_edges), count)


def least_cycles(mode: Mode) -> Ints:
    """What ``lane_cycles`` sums up to at least, however filters and channels are cut.

    (barriers, 1) int64.
    """
    K = mode.work.out_channels
    uncut = np.array([0, mode.slots.counts.shape[2]])
    if mode.lanes.window == 1 and mode.slots.variance is None:
        return lane_cycles(mode, K, uncut)

    # Fewer barriers need not mean fewer cycles here; but each lane does its expected slots.
    def count() -> Ints:
        expected = _running_sums(mode)[0][:, :, -1:]
        if mode.lanes.window > 1:
            windows = _window_sums(_by_lane(mode, expected), np.zeros(1, np.int64))
            return np.asarray(np.floor(windows.max(axis=1)), np.int64)
        fullest = -(-_fullest(mode, expected) // mode.lanes.reduction)
        return np.asarray(np.floor(fullest.sum(axis=0)), np.int64)

    return mode.sums.least_cycles.get(_grouping(mode, K, uncut), count)


def waiting_slots(mode: Mode, filters: int, block_edges: Ints) -> float:
    """Slots that filters (and taps) side by side wait for the fullest of them, a tile of outputs."""

    def count() -> float:
        counts, used = _slots_of_lanes(mode, filters, block_edges)
        if mode.lanes.window > 1:
            return float(((used > 0) * counts.max(axis=1, keepdims=True) - used).sum())
        slowest = _fullest(mode, counts) if mode.lanes.operands is None else _served_cycles(mode, block_edges)
        taps_of_group = np.diff(np.append(_tap_starts(mode), mode.taps))
        filters_of_group = np.diff(np.append(mode.group_starts, mode.work.out_channels))
        filters_of_group = np.minimum(filters_of_group, mode.lanes.filters)
        side_by_side = np.multiply.outer(taps_of_group, filters_of_group)
        return float((slowest * side_by_side[:, :, None]).sum() - used.sum())

    return mode.sums.waiting_slots.get(_grouping(mode, filters, block_edges), count)


def _served_cycles(mode: Mode, block_edges: Ints) -> Ints:
    """Cycles of operand windows for one round: (tap groups, filter groups, channel tiles)."""
    of_tiles = np.add.reduceat(served(mode).cycles, block_edges[:-1], axis=2)
    return np.asarray(np.maximum(of_tiles, mode.lanes.tap_cycles))


def first_barriers(mode: Mode, filters: int) -> Ints:
    """First row of ``lane_cycles`` of each filter tile."""
    starts = filter_starts(mode.work.out_channels, mode.work.groups, filters)
    groups = np.searchsorted(mode.group_starts, starts)
    if mode.lanes.window == 1:
        return groups
    return np.searchsorted(_window_starts(mode, filters), groups * _tap_rounds(mode))


def expected_maximum(n: int) -> float:
    """Expected maximum of n standard normals (Blom 1958)."""
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


def _grouping(mode: Mode, filters: int, block_edges: Ints) -> tuple[Hashable, ...]:
    """All that decides which slots are summed, and between which the lanes wait."""
    lanes = mode.lanes
    return (
        lanes.positions if mode.slots.variance is not None else 0,
        lanes.filters,
        lanes.taps,
        lanes.reduction,
        lanes.window,
        lanes.filters_each,
        lanes.window_cycles,
        lanes.tap_cycles,
        lanes.operands,
        filters if lanes.window > 1 else 0,
        int(block_edges[1]),
    )


def _tap_starts(mode: Mode) -> Ints:
    """First tap of each group of taps that are worked on at a time."""
    return np.arange(0, mode.taps, mode.lanes.taps)


def _tap_rounds(mode: Mode) -> int:
    """Groups of taps that are worked on one after the other."""
    return -(-mode.taps // mode.lanes.taps)


def _fullest(mode: Mode, counts: NDArray[Any]) -> NDArray[Any]:
    """(taps, K, channel tiles) -> (tap groups, filter groups, channel tiles).

    Slots of the fullest lane of each.
    """
    if mode.lanes.filters_each > 1:
        of_filters = _of_columns(mode, counts).max(axis=2)
    else:
        of_filters = np.maximum.reduceat(counts, mode.group_starts, axis=1)
    return np.asarray(np.maximum.reduceat(of_filters, _tap_starts(mode), axis=0))


def _of_columns(mode: Mode, counts: NDArray[Any]) -> NDArray[Any]:
    """(taps, K, channel tiles) -> (taps, filter groups, columns, channel tiles).

    Slots of all filters of a column.
    """
    columns = mode.lanes.filters
    ends = np.append(mode.group_starts[1:], mode.work.out_channels)
    member = mode.group_starts[:, None] + np.arange(mode.lanes.filter_group)
    real = member < ends[:, None]
    of_filters = counts[:, np.where(real, member, 0)] * real[:, :, None]
    taps, groups, _, tiles = of_filters.shape
    return np.asarray(of_filters.reshape(taps, groups, -1, columns, tiles).sum(axis=2))


def _running_sums(mode: Mode) -> tuple[NDArray[Any], ...]:
    """Slots (and variance and most) summed up to each channel block: (taps, K, blocks + 1)."""
    slots = mode.slots
    parts = (slots.counts,) if slots.variance is None else (slots.counts, slots.variance, slots.most)

    def sum_up() -> tuple[NDArray[Any], ...]:
        return tuple(_summed(part) for part in parts if part is not None)

    return mode.sums.running.get((), sum_up)


def _summed(values: NDArray[Any]) -> NDArray[Any]:
    """(taps, K, blocks) -> (taps, K, blocks + 1): sums before each block.

    Counts as int32 where a filter's fit.
    """
    taps, K, blocks = values.shape
    if K > 1 and values.strides[1] == 0:  # all filters are one, seen K times
        return np.broadcast_to(_summed(values[:, :1]), (taps, K, blocks + 1))
    dtype: type = np.float64
    if values.dtype.kind != "f":
        dtype = np.int32 if int(values.max(initial=0)) * blocks < 1 << 31 else np.int64
    sums = np.zeros((*values.shape[:2], values.shape[2] + 1), dtype)
    values.cumsum(axis=2, dtype=dtype, out=sums[..., 1:])
    return sums


def _slots_of_lanes(mode: Mode, filters: int, block_edges: Ints) -> tuple[Ints, NDArray[Any]]:
    """Slots that each lane spends between barriers at worst, and as expected.

    (taps, K, channel tiles), or with a window (windows, lanes, channel tiles).
    """
    if mode.lanes.window > 1:
        starts = _window_starts(mode, filters)
        sums = [_window_sums(part, starts) for part in _sequences(mode, block_edges)]
    else:
        sums = [np.diff(part[:, :, block_edges], axis=2) for part in _running_sums(mode)]
    if mode.slots.variance is None:
        return sums[0], sums[0]
    mean, variance, most = sums
    deviations = expected_maximum(mode.lanes.positions)
    worst = round_up(mean + deviations * np.sqrt(np.maximum(variance, 0)), SUM_ERROR)
    return np.minimum(most, worst), mean


def _sequences(mode: Mode, block_edges: Ints) -> tuple[NDArray[Any], ...]:
    """``_by_lane`` of slots, and of variance and most where there are, whatever the tiles of filters."""
    key = (mode.lanes.filters, mode.lanes.taps, int(block_edges[1]))

    def put_in_order() -> tuple[NDArray[Any], ...]:
        tiles = (np.diff(part[:, :, block_edges], axis=2) for part in _running_sums(mode))
        return tuple(_by_lane(mode, part) for part in tiles)

    return mode.sums.by_lane.get(key, put_in_order)


def _by_lane(mode: Mode, sums: NDArray[Any]) -> NDArray[Any]:
    """What each lane does, one pair of filter group and tap group after the other.

    (taps, K, channel tiles) -> (pairs, lanes, channel tiles), zero for a lane without a filter or a
    tap.
    """
    taps, _, tiles = sums.shape
    tap_lanes = mode.lanes.taps
    filter_lanes = mode.lanes.filters
    rounds = _tap_rounds(mode)
    ends = np.append(mode.group_starts[1:], mode.work.out_channels)
    groups = len(ends)
    member = mode.group_starts[:, None] + np.arange(filter_lanes)
    real = member < ends[:, None]
    padded = np.zeros((rounds * tap_lanes, groups, filter_lanes, tiles), sums.dtype)
    padded[:taps] = sums[:, np.where(real, member, 0)] * real[:, :, None]
    by_round = padded.reshape(rounds, tap_lanes, groups, filter_lanes, tiles).transpose(2, 0, 1, 3, 4)
    return by_round.reshape(groups * rounds, tap_lanes * filter_lanes, tiles)


def _window_sums(sequence: NDArray[Any], starts: Ints) -> NDArray[Any]:
    """Sums over what a lane does between barriers.

    (pairs, lanes, channel tiles) -> (windows, lanes, channel tiles).

    starts: first pair of each window, ascending from 0.
    """
    lengths = np.diff(np.append(starts, len(sequence)))
    if lengths.max() > SHORT_WINDOW:
        return np.asarray(np.add.reduceat(sequence, starts, axis=0))
    # The i-th pairs of all windows at once, which is many times as fast; in the order in which
    # NumPy adds so few.
    dtype = np.int64 if sequence.dtype.kind == "i" else np.float64
    first = sequence[starts].astype(dtype)
    rest = np.zeros_like(first)
    for i in range(1, lengths.max()):
        if (lengths > i).all():
            rest += sequence[starts + i]
        else:
            longer = np.flatnonzero(lengths > i)
            rest[longer] += sequence[starts[longer] + i]
    return np.asarray(first + rest)


def _window_starts(mode: Mode, filters: int) -> Ints:
    """First (filter group, tap group) pair of each window; windows end with their filter tile."""
    rounds = _tap_rounds(mode)
    starts = filter_starts(mode.work.out_channels, mode.work.groups, filters)
    first = np.searchsorted(mode.group_starts, starts) * rounds
    pair = np.arange(len(mode.group_starts) * rounds)
    in_tile = pair - np.repeat(first, np.diff(np.append(first, len(pair))))
    return np.flatnonzero(in_tile % mode.lanes.window == 0)
