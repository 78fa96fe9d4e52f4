"""Operand windows: what it takes that lanes side by side, each on zeros of its own, ask for different operands.

The positions of a filter (input channel by input channel, of each its kernel positions row by row;
in the Winograd domain the channels of a tap) are cut into windows; none spans two blocks of 16
channels, unless it holds several whole ones.  An operand vector of a position, one operand for each
row of lanes, lies in bank ``position mod banks`` of its window.  Each column walks through the
non-zeros of its filters in order and asks for the vector of the next one; a bank gives one vector a
cycle, the first in order of those asked for, to all columns that ask for it, and the others wait.
A column that sums up several filters (``filters_each``) asks once for a position and spends a cycle
on each of its non-zeros there.  Taps side by side have windows of their own.  The lanes go on to
the next window when all are done, a cycle a window at least (an empty one is handed over), and it
has been filled behind the present one.

With one bank a window takes as many cycles as there are positions that any filter uses; with as
many banks as positions, as many as the fullest column has non-zeros.
"""

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Flags, Ints
from accelsim.simulator.tiles.mode import Mode, Served
from accelsim.workload import CHANNEL_BLOCK

AT_ONCE = 1 << 22  # positions of filters that are looked at together
NONE = np.int32(-1)
LAST = np.int32(1 << 30)


def served(mode: Mode) -> Served:
    """Cycles and reads of a layer's windows; remembered with the layer.

    The mode's lanes must have windows.
    """
    lanes = mode.lanes
    key = (lanes.filters, lanes.filters_each, lanes.taps, lanes.operands, lanes.window_cycles)
    return mode.sums.served.get(key, lambda: _serve(mode))


def serve(asked: NDArray[np.uint8], banks: int) -> tuple[Ints, int]:
    """Columns side by side walk through their windows.

    (cycles of each window, vectors read from all).

    asked: (windows, columns, positions), how many multiplies each column does at each position.
    """
    heads = _streams(asked)
    windows, columns, length = heads.shape
    heads = heads.ravel()
    bank_of = np.arange(asked.shape[2]) % banks
    # of each column's window, among those of all windows
    first_bank = np.repeat(np.arange(windows) * banks, columns)
    # of each column's next multiply, in ``heads``
    at = length * np.arange(windows * columns).reshape(windows, columns)
    held = np.full((windows, columns), NONE)
    live = np.arange(windows)
    cycles = np.zeros(windows, np.int64)
    fetches = 0
    while True:
        head = heads.take(at)
        active = head != NONE
        busy = active.any(axis=1)
        if not busy.all():
            at, held, live, head, active = (part[busy] for part in (at, held, live, head, active))
        if not len(live):
            return cycles, fetches
        done = active & (head == held)
        waiting = np.flatnonzero(active & ~done)
        wanted = head.ravel().take(waiting)
        bank = first_bank.take(waiting) + bank_of.take(wanted)
        first = np.full(len(live) * banks, LAST)
        np.minimum.at(first, bank, wanted)
        fetches += int(np.count_nonzero(first != LAST))
        done.ravel()[waiting] = wanted == first.take(bank)
        held = np.where(done, head, held)
        at += done
        cycles[live] += 1


def _streams(asked: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Positions in the order in which each column multiplies, an end mark behind them.

    (windows, columns, most + 1).
    """
    windows, columns, positions = asked.shape
    flat = asked.reshape(windows * columns, positions)
    stream, position = np.nonzero(flat)
    times = flat[stream, position]
    stream = np.repeat(stream, times)
    position = np.repeat(position, times)
    lengths = np.bincount(stream, minlength=windows * columns)
    first = np.cumsum(lengths) - lengths
    heads = np.full((windows * columns, int(lengths.max(initial=0)) + 1), NONE)
    heads[stream, np.arange(len(stream)) - first[stream]] = position
    return heads.reshape(windows, columns, -1)


def _serve(mode: Mode) -> Served:
    """All windows of a layer, some groups of filters at a time."""
    lanes = mode.lanes
    assert lanes.operands is not None
    assert mode.mask is not None
    mask = mode.mask()
    taps, K, positions = mask.shape
    at, blocks = _window_positions(mode, positions)
    first_windows = np.flatnonzero(np.diff(blocks, prepend=-1))
    edges = np.append(mode.group_starts, K)
    groups = len(edges) - 1
    tap_starts = np.arange(0, taps, lanes.taps)
    taps_of_group = np.diff(np.append(tap_starts, taps))
    used = np.minimum(np.diff(edges), lanes.filters)
    cycles = np.zeros((groups, int(blocks[-1]) + 1), np.int64)
    slots = fetches = loads = 0
    at_once = max(1, AT_ONCE // (taps * lanes.filter_group * positions))
    for first in range(0, groups, at_once):
        some = slice(first, min(first + at_once, groups))
        asked = _asked(mask, edges[some.start : some.stop + 1], lanes.filters, lanes.filters_each, at)
        of_windows, read = serve(asked.reshape(-1, *asked.shape[-2:]), lanes.operands.banks)
        slowest = np.maximum.reduceat(of_windows.reshape(asked.shape[:3]), tap_starts, axis=0)
        slowest = np.maximum(slowest, lanes.window_cycles)
        cycles[some, blocks[first_windows]] = np.add.reduceat(slowest.sum(axis=0), first_windows, axis=1)
        slots += int(np.einsum("tgw,t,g->", slowest, taps_of_group, used[some]))
        fetches += read
        loads += int(np.count_nonzero(asked))
    return Served(cycles=cycles, slots=slots, fetches=fetches, loads=loads)


def _window_positions(mode: Mode, positions: int) -> tuple[Ints, Ints]:
    """The positions of each window, -1 where it has fewer: (windows, size).

    And its first block of channels.
    """
    assert mode.lanes.operands is not None
    of_granule = mode.channel_granule * mode.positions_each
    size = min(mode.lanes.operands.positions, of_granule)
    starts = np.concatenate(
        [np.arange(low, min(low + of_granule, positions), size) for low in range(0, positions, of_granule)]
    )
    granule_ends = np.minimum((starts // of_granule + 1) * of_granule, positions)
    at = starts[:, None] + np.arange(size)
    return np.where(at < granule_ends[:, None], at, -1), starts // (CHANNEL_BLOCK * mode.positions_each)


def _asked(mask: Flags, edges: Ints, columns: int, each: int, at: Ints) -> NDArray[np.uint8]:
    """Multiplies of each column at each position.

    (taps, groups, windows, columns, size of a window).
    """
    member = edges[:-1, None] + np.arange(columns * each)
    real = member < edges[1:, None]
    filters = mask[:, np.where(real, member, 0)] & real[:, :, None]
    taps, groups, _, positions = filters.shape
    of_columns = filters.reshape(taps, groups, each, columns, positions).sum(axis=2, dtype=np.uint8)
    in_windows = of_columns[..., np.where(at < 0, 0, at)] * (at >= 0).astype(np.uint8)
    return np.ascontiguousarray(in_windows.transpose(0, 1, 3, 2, 4))
