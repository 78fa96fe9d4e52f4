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

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Flags, Ints
from accelsim.hardware.dram import behind
from accelsim.simulator.tiles.mode import Mode, Served, Window
from accelsim.simulator.tiles.window_words import WORD, Words, WordStreams, at_least, packed
from accelsim.workload import CHANNEL_BLOCK

AT_ONCE = 1 << 22  # positions of filters that are looked at together
TOGETHER = 1 << 24  # positions of filters of layers that are served together
# that walk side by side: what they read of their multiplies stays in a core's cache
STREAMS = 1 << 13


def served(mode: Mode) -> Served:
    """Cycles and reads of a layer's windows; remembered with the layer.

    The mode's lanes must have windows.
    """
    found = mode.sums.served.get(_key(mode), lambda: _serve([mode])[0])
    return replace(found, cycles=found.cycles.astype(np.int64))


def serve_together(modes: Iterable[Mode]) -> None:
    """Have ``served`` remember its answers for several layers.

    They are found in one go, as many windows take little longer than a few.  Modes whose lanes have
    no windows are left out.
    """
    waiting: list[Mode] = []
    positions = 0
    for mode in modes:
        if mode.lanes.operands is None or _key(mode) in mode.sums.served:
            continue
        size = mode.taps * mode.work.out_channels * mode.group_channels * mode.positions_each
        if waiting and (positions + size > TOGETHER or _key(mode) != _key(waiting[0])):
            _remember(waiting)
            waiting = []
            positions = 0
        waiting.append(mode)
        positions += size
    _remember(waiting)


def _remember(modes: Sequence[Mode]) -> None:
    """Put what ``served`` will be asked for where it looks for it."""
    if modes:
        for mode, found in zip(modes, _serve(modes), strict=True):
            mode.sums.served.put(_key(mode), found)


def _key(mode: Mode) -> tuple[Hashable, ...]:
    """All that decides what operand windows make of a mode's masks."""
    lanes = mode.lanes
    return lanes.filters, lanes.filters_each, lanes.taps, lanes.operands, lanes.window_cycles


def serve(asked: NDArray[np.uint8], banks: int) -> tuple[Ints, int]:
    """Columns side by side walk through their windows.

    (cycles of each window, vectors read from all).

    asked: (windows, columns, positions), how many multiplies each column does at each position.
    """
    most = max(1, int(asked.max(initial=0)))
    if asked.shape[2] * most <= WORD:
        words = WordStreams.of([packed(asked > i) for i in range(most)])
        cycles, reads = words.walk(banks, most)
    else:
        code = _Code.of(Window(asked.shape[2], banks))
        cycles, reads = _Streams.of(asked, code).walk(code)
    return cycles, int(reads.sum())


@dataclass(frozen=True)
class _Code:
    """How a column's multiplies are written down, as numbers of as few bytes as will do.

    A multiply that asks for a position is bank x ``rows`` + the position's row in its bank: the
    least code of a bank is the first in order.
    """

    banks: int
    positions: int  # of a bank, at most

    @staticmethod
    def of(window: Window) -> "_Code":
        """For windows of up to so many positions."""
        return _Code(banks=window.banks, positions=-(-window.positions // window.banks))

    @property
    def end(self) -> int:
        """Behind a column's last multiply."""
        return self.positions

    @property
    def again(self) -> int:
        """A further multiply at the position of the one before."""
        return self.positions + 1

    @property
    def rows(self) -> int:
        """Codes of a bank; the two of no bank are among those of the first."""
        return self.positions + 2

    @property
    def number(self) -> Any:
        """The type of a code."""
        return np.min_scalar_type(self.rows * self.banks)

    def of_positions(self, positions: int, times: int) -> NDArray[Any]:
        """Of so many multiplies at each position of a window, and behind it the end.

        (positions + 1, times).
        """
        at = np.arange(positions)
        codes = np.full((positions + 1, times), self.again, self.number)
        codes[:-1, 0] = at % self.banks * self.rows + at // self.banks
        codes[-1] = self.end
        return codes


@dataclass(frozen=True)
class _Streams:
    """What the columns of some windows do, multiply by multiply.

    heads: codes, column by column, an end behind each column's last multiply.  starts: of each
    column in ``heads``, (columns, windows).  most: multiplies of each window's fullest column,
    (windows,).  alike: windows of which all columns do the same, as dense ones do, (windows,).
    first: positions of the first column, (windows,).  loads: positions at which columns multiply.
    """

    heads: NDArray[Any]
    starts: Ints
    most: Ints
    alike: Flags
    first: Ints
    loads: int

    @staticmethod
    def of(asked: NDArray[np.uint8], code: _Code) -> "_Streams":
        """The streams of ``serve``'s windows."""
        windows, columns, positions = asked.shape
        times = max(1, int(asked.max(initial=0)))
        multiplies = np.zeros((windows, columns, positions + 1, times), np.bool_)
        for i in range(times):
            np.greater(asked, i, out=multiplies[:, :, :-1, i])
        multiplies[:, :, -1, 0] = True
        codes = np.broadcast_to(code.of_positions(positions, times), multiplies.shape)
        lengths = multiplies.reshape(windows, columns, -1).sum(axis=2)
        return _Streams(
            heads=codes[multiplies],
            starts=behind(lengths.ravel()).reshape(windows, columns).T,
            most=lengths.max(axis=1, initial=1) - 1,
            alike=(asked == asked[:, :1]).all(axis=(1, 2)),
            first=np.count_nonzero(asked[:, 0], axis=1),
            loads=int(np.count_nonzero(asked)),
        )

    @staticmethod
    def of_all(streams: "Sequence[_Streams]") -> "_Streams":
        """Streams one behind the other, of as many columns each."""
        first = behind(np.array([len(some.heads) for some in streams]))
        return _Streams(
            heads=np.concatenate([some.heads for some in streams]),
            starts=np.concatenate([some.starts + at for some, at in zip(streams, first, strict=True)], axis=1),
            most=np.concatenate([some.most for some in streams]),
            alike=np.concatenate([some.alike for some in streams]),
            first=np.concatenate([some.first for some in streams]),
            loads=sum(some.loads for some in streams),
        )

    def walk(self, code: _Code) -> tuple[Ints, Ints]:
        """Cycles of each window, and vectors read from it: (windows,) each."""
        cycles = self.most.copy()
        reads = self.first.copy()
        differ = np.flatnonzero(~self.alike)
        # so that windows side by side end at about the same time
        by_length = differ[np.argsort(self.most[differ], kind="stable")]
        at_once = max(1, STREAMS // len(self.starts))
        for first in range(0, len(differ), at_once):
            some = by_length[first : first + at_once]
            cycles[some], reads[some] = _side_by_side(self.heads, self.starts[:, some], code)
        return cycles, reads


def _side_by_side(heads: NDArray[Any], at: Ints, code: _Code) -> tuple[Ints, Ints]:
    """``_Streams.walk`` of windows together, cycle by cycle.

    at: of each column's first multiply, (columns, windows).
    """
    columns, windows = at.shape
    cycles = np.zeros(windows, np.int64)
    reads = np.zeros(windows, np.int64)
    row_of = (np.arange(code.rows * code.banks) % code.rows).astype(heads.dtype)
    earlier = np.tri(columns, k=-1, dtype=np.bool_)[:, :, None]
    while True:
        head = heads.take(at)
        asks = head != code.end
        busy = np.logical_or.reduce(asks, axis=0)
        if not np.logical_or.reduce(busy):
            return cycles, reads
        ahead = head[:, None] - head  # of each other column: 0 for the same vector
        same = np.logical_or.reduce((ahead == 0) & earlier, axis=1)
        ahead -= 1  # below the row for one in front in the same bank: else it is more, or wraps to more
        waits = np.logical_or.reduce(ahead < row_of.take(head)[:, None], axis=1)
        again = head == code.again
        done = asks & ~(waits | again)
        reads += np.add.reduce(done & ~same, axis=0, dtype=np.int64)
        at = at + (done | again)
        cycles += busy


@dataclass(frozen=True)
class _Part:
    """Some groups of filters of a mode, and their streams; shape: taps, groups, windows."""

    mode: int
    groups: slice
    shape: tuple[int, int, int]
    streams: _Streams | WordStreams


def _serve(modes: Sequence[Mode]) -> list[Served]:
    """All windows of some layers, of the same lanes."""
    window = modes[0].lanes.operands
    assert window is not None
    each = modes[0].lanes.filters_each
    parts = [part for i, mode in enumerate(modes) for part in _parts(i, mode)]
    streams = [part.streams for part in parts]
    words = [some for some in streams if isinstance(some, WordStreams)]
    if words:
        of_windows, reads = WordStreams.of_all(words).walk(window.banks, each)
    else:
        code = _Code.of(window)
        of_windows, reads = _Streams.of_all([some for some in streams if isinstance(some, _Streams)]).walk(code)
    ends = np.cumsum([prod(part.shape) for part in parts])
    windows = [slice(end - prod(part.shape), end) for part, end in zip(parts, ends.tolist(), strict=True)]
    found: list[Served] = []
    for i, mode in enumerate(modes):
        mine = [(part, at) for part, at in zip(parts, windows, strict=True) if part.mode == i]
        cycles = [(part.groups, of_windows[at].reshape(part.shape)) for part, at in mine]
        fetches = sum(int(reads[at].sum()) for _, at in mine)
        loads = sum(part.streams.loads for part, _ in mine)
        found.append(_of_mode(mode, cycles, fetches, loads))
    return found


def _parts(number: int, mode: Mode) -> Iterator[_Part]:
    """A mode's streams, some groups of filters at a time.  number: of the mode."""
    lanes = mode.lanes
    assert mode.mask is not None
    assert lanes.operands is not None
    mask = mode.mask()
    taps, K, positions = mask.shape
    at, _ = _window_positions(mode, positions)
    edges = np.append(mode.group_starts, K)
    groups = len(edges) - 1
    in_words = lanes.operands.positions * lanes.filters_each <= WORD
    words = _in_words(mask, at) if in_words else None
    at_once = max(1, AT_ONCE // (taps * lanes.filter_group * positions))
    for first in range(0, groups, at_once):
        some = slice(first, min(first + at_once, groups))
        here = edges[some.start : some.stop + 1]
        shape = taps, some.stop - some.start, len(at)
        streams: _Streams | WordStreams
        if words is None:
            asked = _asked(mask, here, lanes.filters, lanes.filters_each, at)
            streams = _Streams.of(asked.reshape(-1, *asked.shape[-2:]), _Code.of(lanes.operands))
        else:
            streams = _word_streams(words, here, lanes.filters, lanes.filters_each)
        yield _Part(mode=number, groups=some, shape=shape, streams=streams)


def _in_words(mask: Flags, at: Ints) -> Words:
    """The positions of each window as a word: (taps, filters, windows)."""
    taps, filters, positions = mask.shape
    windows, size = at.shape
    if not np.array_equal(at.ravel()[:positions], np.arange(positions)):
        return packed(mask[:, :, np.where(at < 0, 0, at)] & (at >= 0))
    missing = windows * size - positions
    whole = np.pad(mask, [(0, 0), (0, 0), (0, missing)]) if missing else mask
    return packed(whole.reshape(taps, filters, windows, size))


def _word_streams(words: Words, edges: Ints, columns: int, each: int) -> WordStreams:
    """The streams of some groups of filters.  words: of all filters, (taps, filters, windows)."""
    member = edges[:-1, None] + np.arange(columns * each)
    real = member < edges[1:, None]
    mine = np.where(real[:, :, None], words[:, np.where(real, member, 0)], np.uint64(0))
    mine = mine.reshape(len(words), len(real), each, columns, -1)
    planes = at_least([mine[:, :, i] for i in range(each)])
    return WordStreams.of([plane.transpose(0, 1, 3, 2).reshape(-1, columns) for plane in planes])


def _of_mode(mode: Mode, parts: Sequence[tuple[slice, Ints]], fetches: int, loads: int) -> Served:
    """What a layer's windows come to.

    parts: some groups of filters, and their cycles: (taps, groups, windows).
    """
    lanes = mode.lanes
    _, blocks = _window_positions(mode, mode.group_channels * mode.positions_each)
    first_windows = np.flatnonzero(np.diff(blocks, prepend=-1))
    tap_starts = np.arange(0, mode.taps, lanes.taps)
    cycles = np.zeros((len(tap_starts), len(mode.group_starts), int(blocks[-1]) + 1), np.int64)
    for groups, of_windows in parts:
        slowest = np.maximum.reduceat(of_windows, tap_starts, axis=0)
        slowest = np.maximum(slowest, lanes.window_cycles)
        cycles[:, groups, blocks[first_windows]] = np.add.reduceat(slowest, first_windows, axis=2)
    return Served(cycles=cycles.astype(np.min_scalar_type(int(cycles.max(initial=0)))), fetches=fetches, loads=loads)


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
