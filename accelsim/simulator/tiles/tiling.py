"""How one layer is cut into tiles: their sizes, where each begins, and what each reads.

A step works on n images x p x q outputs, k filters and c input channels.  Channels are innermost,
so that partial sums stay on chip; the outer order is filters-then-positions (``weights_first``: a
tile of weights stays while the inputs stream past) or positions-then-filters.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from typing import NamedTuple

import numpy as np

from accelsim.arrays import Ints
from accelsim.workload import CHANNEL_BLOCK, LayerWork


@dataclass(frozen=True)
class Tiling:
    """One way to cut a layer: sizes of a tile, and the outer order."""

    images: int
    rows: int  # of outputs
    cols: int  # of outputs
    filters: int
    channels: int  # input channels of a convolution group
    weights_first: bool  # outer order: filters, then positions
    # the buffer holds all weight tiles of the layer, so each is loaded once
    weights_stay: bool = False
    inputs_stay: bool = False  # the buffer holds all input tiles of the layer

    @property
    def sizes(self) -> str:
        """Sizes of a tile in letters: images, output rows and columns, filters, input channels."""
        return f"n={self.images} p={self.rows} q={self.cols} k={self.filters} c={self.channels}"

    @property
    def order(self) -> str:
        """The loops over tiles, the outermost first, and which operands the buffers keep for the whole layer."""
        loops = "k npq c" if self.weights_first else "npq k c"
        asked = (("weights", self.weights_stay), ("inputs", self.inputs_stay))
        stays = [name for name, stay in asked if stay]
        return f"{loops}; {' and '.join(stays)} stay" if stays else loops


@lru_cache(maxsize=1 << 14)
def balanced_cuts(size: int, granule: int) -> tuple[int, ...]:
    """Tile sizes that cut ``size`` into 1, 2, 3, ... nearly equal parts, each a multiple of ``granule``; ascending."""
    most = -(-size // granule) - 1  # ceil(units / parts) = floor((units - 1) / parts) + 1
    root = isqrt(most)
    units_each = {most // parts for parts in range(1, root + 1)} | set(range(root + 1))
    return tuple(min(size, granule * (units + 1)) for units in sorted(units_each))


def tile_sizes(size: int, tile: int) -> Ints:
    """Sizes of the tiles of a dimension: all ``tile``, the last one what remains."""
    return np.minimum(tile, size - np.arange(0, size, tile))


class Axis(NamedTuple):
    """Rows or columns of a layer."""

    size: int  # of the input
    outputs: int
    stride: int
    reach: int  # inputs that one output reaches over
    padding: int

    @staticmethod
    def of(work: LayerWork, axis: int) -> "Axis":
        """Rows (axis 0) or columns (axis 1) of a layer."""
        size, outputs = ((work.height, work.out_height), (work.width, work.out_width))[axis]
        reach = work.dilation[axis] * (work.kernel[axis] - 1) + 1
        return Axis(size, outputs, work.stride[axis], reach, work.padding[axis])


class LayerShape(NamedTuple):
    """All of a layer and a mode that decides which tilings there are and what their tiles hold, but for the weights."""

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    vertical: Axis
    horizontal: Axis
    m: int  # outputs of an m x m tile, a dimension
    filter_lanes: int
    channel_granule: int  # channels are cut in multiples of it
    taps: int  # of a filter in the Winograd domain
    activation_bits: int  # on chip
    transformed_bits: int  # 0 where no transformed inputs are stored
    inverts: bool  # whether sums of taps wait for an inverse transform unit
    accumulator_bits: int
    input_bits: float  # of an activation in DRAM, on average
    output_bits: float  # the same of an output
    lanes_hold_outputs: bool  # whether sums stay in the lanes

    @property
    def outputs(self) -> int:
        """Elements of the output: N P Q K."""
        return self.batch * self.vertical.outputs * self.horizontal.outputs * self.out_channels


def input_extents(work: LayerWork, axis: int, tile: int) -> Ints:
    """Input rows (axis 0) or columns (axis 1) that each output tile reads, padding left out.

    (tiles,) int64.

    The last tile reads to the image's edge, also where a stride leaves the last rows unused.
    """
    return extents(Axis.of(work, axis), tile)


def first_inputs(axis: Axis, tile: int) -> Ints:
    """First input that each tile of outputs reads, padding left out.  (tiles,) int64."""
    return np.asarray(np.maximum(np.arange(0, axis.outputs, tile) * axis.stride - axis.padding, 0))


@lru_cache(maxsize=1 << 14)
def extents(axis: Axis, tile: int) -> Ints:
    """``input_extents`` of one axis."""
    start = np.arange(0, axis.outputs, tile)
    length = np.minimum(tile, axis.outputs - start)
    first = first_inputs(axis, tile)
    last = start * axis.stride - axis.padding + (length - 1) * axis.stride + axis.reach
    last = np.minimum(last, axis.size)
    last[-1] = axis.size
    sizes = np.maximum(last - first, 0)
    sizes.flags.writeable = False
    return np.asarray(sizes)


@lru_cache(maxsize=1 << 12)
def group_starts(filters: int, groups: int, lanes: int) -> Ints:
    """First filter of each group of filters that work side by side.

    None spans two convolution groups.
    """
    per_group = filters // groups
    starts = np.add.outer(np.arange(0, filters, per_group), np.arange(0, per_group, lanes)).ravel()
    starts.flags.writeable = False
    return np.asarray(starts)


@lru_cache(maxsize=1 << 12)
def filter_starts(filters: int, groups: int, tile: int) -> Ints:
    """First filter of each tile of ``tile``: a part of one convolution group, or several whole groups."""
    if tile < filters // groups:
        return group_starts(filters, groups, tile)
    starts = np.arange(0, filters, tile)
    starts.flags.writeable = False
    return starts


@lru_cache(maxsize=1 << 14)
def block_edges(group_channels: int, channels: int) -> Ints:
    """First channel block of each tile of ``channels`` input channels, and the number of blocks."""
    blocks = -(-group_channels // CHANNEL_BLOCK)
    edges = np.append(np.arange(0, blocks, -(-channels // CHANNEL_BLOCK)), blocks)
    edges.flags.writeable = False
    return edges
