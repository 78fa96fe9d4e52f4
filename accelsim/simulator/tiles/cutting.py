"""A layer that fits no tile, cut further: narrower operand windows, then its kernel in pieces.

The smallest tile of ``tiling`` is a block of channels of all filters that work side by side, all
taps of each.  A buffer that does not hold it twice is still of use, as a machine may do less at a
time:

- fewer operand vectors than its windows have: channels are then cut in smaller multiples;
- a part of the kernel: a filter's product comes from several weight tiles, between which its sums are kept.

A kernel of R x S taps in equal pieces of R' x S' is a convolution with R' x S' taps of (R / R') (S
/ S') times the channels: each piece reads its own window of the input map, and sums over channels
and over pieces are the same sums.  So a cut layer is a layer, and both engines run it as any other.
The coarsest pieces that fit are taken, those that are as wide as the kernel first; in the spatial
domain, as a piece of a filter has no Winograd form of its own.

Only a layer that fits in no other way is cut.  Left out: that pieces which stay on chip share
pixels (each loads its window), and that a window over the padding loads less.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from accelsim.arrays import Array
from accelsim.errors import InputError
from accelsim.simulator.tiles.description import TiledDescription
from accelsim.simulator.tiles.mode import Mode, Window
from accelsim.simulator.tiles.rooms import NoTile, worth_scoring
from accelsim.workload import ALONE, CHANNEL_BLOCK, Drawn, LayerWork

Chosen = TypeVar("Chosen")
Modes = tuple[Mode, ...]


def of_fitting_modes(
    work: LayerWork,
    machine: TiledDescription,
    choose: Callable[[Modes], Chosen],
    known: Modes = (),
) -> Chosen:
    """What ``choose`` makes of the machine's modes for the layer.

    Where none fits the buffers, of further cuts of it.

    known: the machine's modes for the layer, where there are any yet.
    choose: raises InputError where no mode fits, NoTile where that is for want of room.  Raises
    what it raises of the uncut layer, if no cut fits either, or the layer by itself would fit.
    """
    modes = known or machine.modes(work)
    try:
        return choose(modes)
    except NoTile as fault:
        if work.around.room is not None and _fits(tuple(mode.amid(ALONE) for mode in modes), machine):
            raise
        for further in _further_cuts(work, machine):
            try:
                return choose(further)
            except NoTile:
                continue
        raise fault


def in_pieces(work: LayerWork, rows: int, cols: int) -> LayerWork:
    """The layer with its kernel in pieces of rows x cols taps, which must divide it.

    Pieces are further channels.

    Channels of a group are ordered piece by piece, top to bottom and left to right.
    """
    if work.weights is None:
        raise ValueError(f"layer {work.name}: no weights")
    K, C = work.weights.shape[:2]
    R, S = work.kernel
    parts = R // rows, S // cols
    n_pieces = parts[0] * parts[1]
    shape = (K, C * n_pieces, rows, cols)

    def cut() -> Array:
        weights = work.filters().reshape(K, C, parts[0], rows, parts[1], cols)
        return weights.transpose(0, 2, 4, 1, 3, 5).reshape(shape)

    height, width = (
        (outputs - 1) * stride + dilation * (taps - 1) + 1
        for outputs, stride, dilation, taps in zip(
            (work.out_height, work.out_width), work.stride, work.dilation, (rows, cols), strict=True
        )
    )
    return replace(
        work,
        in_channels=work.in_channels * n_pieces,
        height=height,
        width=width,
        kernel=(rows, cols),
        padding=(0, 0),
        weights=Drawn(shape, cut, dense=True) if work.all_nonzero else cut(),
        winograd_threshold=None,
        winograd_density=None,
        input_density=np.tile(work.group_density(), (1, n_pieces)).ravel().astype(np.float32),
    )


def _further_cuts(work: LayerWork, machine: TiledDescription) -> Iterator[Modes]:
    """The machine's modes of the layer cut further, in the order in which they are tried."""
    narrower = machine.modes(work)
    while any(mode.channel_granule > CHANNEL_BLOCK for mode in narrower):
        narrower = tuple(_half_windows(mode) for mode in narrower)
        yield narrower
    sizes = _piece_sizes(work.kernel)

    def modes(i: int) -> Modes:
        """The machine's modes of the layer in pieces of one size."""
        key = (in_pieces, sizes[i], work.batch, work.height, work.width, work.padding, work.out_height)
        pieces: LayerWork = work.derived.get(key, lambda: in_pieces(work, *sizes[i]))
        return tuple(
            replace(mode, name=f"{mode.name}-cut") if sizes[i] != work.kernel else mode
            for mode in machine.modes(pieces.amid(work.around))
        )

    # smaller pieces fit where larger ones do
    low = 0
    high = len(sizes) - 1
    while low < high:
        middle = (low + high) // 2
        if _fits(modes(middle), machine):
            high = middle
        else:
            low = middle + 1
    yield modes(low)


def _fits(modes: Modes, machine: TiledDescription) -> bool:
    """Whether the machine's buffers hold a tile of any mode."""
    for mode in modes:
        try:
            worth_scoring(mode, machine)
        except NoTile:
            continue
        except InputError:
            return True
        return True
    return False


def _half_windows(mode: Mode) -> Mode:
    """The mode with half of its operand windows in use, where these hold several blocks of channels."""
    window = mode.lanes.operands
    if window is None or mode.channel_granule <= CHANNEL_BLOCK:
        return mode
    positions = window.positions // 2
    half = Window(positions, min(window.banks, positions))
    return replace(mode, lanes=replace(mode.lanes, operands=half))


def _piece_sizes(kernel: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes of equal pieces of a kernel, itself first.

    The most taps first, of equal ones the widest.
    """
    rows, cols = ([taps for taps in range(1, size + 1) if size % taps == 0] for size in kernel)
    sizes = [(r, s) for r in rows for s in cols]
    return sorted(sizes, key=lambda size: (-size[0] * size[1], -size[1]))
