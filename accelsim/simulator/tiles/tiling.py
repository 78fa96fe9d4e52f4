"""How one layer is cut into tiles: sizes, what a tile reads, and how it lies in memory.

A step works on n images x p x q outputs, k filters and c input channels.  Channels are innermost, so that partial sums
stay on chip; the outer order is filters-then-positions (``weights_first``: a tile of weights stays while the inputs
stream past) or positions-then-filters.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Ints
from accelsim.workload import CHANNEL_BLOCK, LayerWork


@dataclass(frozen=True)
class Tiling:
    """Sizes of a tile: images, output rows and columns, filters, input channels of a group; and the outer order.

    weights_stay, inputs_stay: the buffer holds all tiles of the layer, so each is loaded once.
    """

    images: int
    rows: int
    cols: int
    filters: int
    channels: int
    weights_first: bool
    weights_stay: bool = False
    inputs_stay: bool = False


@lru_cache(maxsize=1 << 14)
def balanced_cuts(size: int, granule: int) -> tuple[int, ...]:
    """Tile sizes that cut ``size`` into 1, 2, 3, ... nearly equal parts, each a multiple of ``granule``; ascending."""
    units = -(-size // granule)
    parts = np.arange(1, units + 1)
    return tuple(min(size, granule * int(units_each)) for units_each in np.unique(-(-units // parts)))


def tile_sizes(size: int, tile: int) -> Ints:
    """Sizes of the tiles of a dimension: all ``tile``, the last one what remains."""
    return np.minimum(tile, size - np.arange(0, size, tile))


class Axis(NamedTuple):
    """Rows or columns of a layer: input size, outputs, stride, inputs that one output reaches over, padding."""

    size: int
    outputs: int
    stride: int
    reach: int
    padding: int

    @staticmethod
    def of(work: LayerWork, axis: int) -> "Axis":
        """Rows (axis 0) or columns (axis 1) of a layer."""
        size, outputs = ((work.height, work.out_height), (work.width, work.out_width))[axis]
        reach = work.dilation[axis] * (work.kernel[axis] - 1) + 1
        return Axis(size, outputs, work.stride[axis], reach, work.padding[axis])


class Shape(NamedTuple):
    """All of a layer and a mode that decides which tilings there are and what their tiles hold, but for the weights.

    taps: of a filter in the Winograd domain; transformed_bits: 0 without transform units.  input_bits, output_bits: of
    an activation in DRAM, on average.  lanes_hold_outputs: whether sums stay in the lanes.  The rest: see ``Mode``.
    """

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    vertical: Axis
    horizontal: Axis
    m: int
    filter_lanes: int
    taps: int
    activation_bits: int
    transformed_bits: int
    accumulator_bits: int
    input_bits: float
    output_bits: float
    lanes_hold_outputs: bool

    @property
    def outputs(self) -> int:
        """Elements of the output: N P Q K."""
        return self.batch * self.vertical.outputs * self.horizontal.outputs * self.out_channels


def input_extents(work: LayerWork, axis: int, tile: int) -> Ints:
    """Input rows (axis 0) or columns (axis 1) that each output tile reads, padding left out.  (tiles,) int64.

    The last tile reads to the image's edge, also where a stride leaves the last rows unused.
    """
    return extents(Axis.of(work, axis), tile)


@lru_cache(maxsize=1 << 14)
def extents(axis: Axis, tile: int) -> Ints:
    """``input_extents`` of one axis."""
    start = np.arange(0, axis.outputs, tile)
    length = np.minimum(tile, axis.outputs - start)
    first = np.maximum(start * axis.stride - axis.padding, 0)
    last = np.minimum(start * axis.stride - axis.padding + (length - 1) * axis.stride + axis.reach, axis.size)
    last[-1] = axis.size
    sizes = np.maximum(last - first, 0)
    sizes.flags.writeable = False
    return np.asarray(sizes)


@lru_cache(maxsize=1 << 12)
def group_starts(filters: int, groups: int, lanes: int) -> Ints:
    """First filter of each group of filters that work side by side; none spans two convolution groups."""
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


def line_bytes(width: int, channels: int, bits: float) -> int:
    """Bytes of one image row of one plane of a feature map in DRAM (see ``feature_map_pieces``)."""
    return int(np.ceil(width * min(channels, CHANNEL_BLOCK) * bits / 8))


def whole_bytes(elements: ArrayLike, bits: float) -> Ints:
    """Bytes of each tile of activations of ``bits`` each."""
    return np.ceil(np.asarray(elements, np.float64) * bits / 8 - 1e-9).astype(np.int64)


def feature_map_pieces(
    images: ArrayLike, rows: ArrayLike, channels: ArrayLike, whole_width: ArrayLike, line: int, row_bytes: int
) -> tuple[Ints, Ints]:
    """Contiguous pieces, and DRAM rows touched, of a tile of a feature map.

    Feature maps lie in DRAM as planes of 16 channels, each plane row by row, 16 channels a pixel.  In a plane a tile is
    one piece where it is as wide as the image, else a piece an image row, ``line`` bytes apart.
    """
    rows = np.asarray(rows, np.int64)
    planes = np.asarray(images) * -(-np.asarray(channels) // CHANNEL_BLOCK)
    touched = -(-rows * line // row_bytes)
    pieces = np.where(whole_width, 1, rows)
    return planes * pieces, planes * np.where(whole_width, touched, np.minimum(rows, touched))
