"""The steps of one tiling of a layer, in order.

Which tiles each works on and what it moves, whatever the weights.

They depend on the layer's shape and the tiling alone, so layers of equal shape share them, on all
machines of a sweep that choose the same tiling.
"""

from functools import lru_cache

import numpy as np

from accelsim.arrays import Ints
from accelsim.hardware.dram import Transfer, behind
from accelsim.simulator.storage.feature_map import Corner, Extent, FeatureMap
from accelsim.simulator.tiles.tiling import (
    LayerShape,
    Tiling,
    block_edges,
    extents,
    filter_starts,
    first_inputs,
    group_starts,
    tile_sizes,
)
from accelsim.simulator.time.schedule import changes

FEW_STEPS = 512  # of a tiling that is remembered: a few ten KB


class Steps:
    """One row a step: (steps,) int64.

    position, filter, channel: which tile of each dimension.  new_inputs, new_weights, last: 1 where
    the step loads the tile, or is the last to add to its outputs.  tiles: of m x m outputs.
    filters, channels, weight_channels: of the step's tiles; channels of all convolution groups,
    weight_channels of one.  lane_groups: groups of filters side by side.
    inputs, outputs: the requests.  Of the whole layer: position_sizes, m x m tiles of each position
    tile; all_tiles; position_tiles, filter_tiles, channel_tiles; first_filters and block_edges, the
    first filter and channel block of each tile; tile_channels and filter_channels, as they are
    loaded.
    """

    def __init__(self, shape: LayerShape, tiling: Tiling) -> None:
        self._shape = shape
        self._tiling = tiling
        self._cut_positions()
        self._cut_filters_and_channels()
        self._put_in_order()
        self.inputs = self._loads()
        self.outputs = self._stores()

    def __len__(self) -> int:
        return len(self.position)

    def _cut_positions(self) -> None:
        """Sizes of the tiles of images, rows and columns."""
        shape = self._shape
        tiling = self._tiling
        m = self._shape.m
        images = tile_sizes(shape.batch, tiling.images)
        rows = tile_sizes(shape.vertical.outputs, tiling.rows)
        cols = tile_sizes(shape.horizontal.outputs, tiling.cols)
        in_rows = extents(shape.vertical, tiling.rows)
        in_cols = extents(shape.horizontal, tiling.cols)
        self.position_sizes = _products(images, -(-rows // m), -(-cols // m))
        self._images = np.repeat(images, len(rows) * len(cols))
        self._rows = np.tile(np.repeat(rows, len(cols)), len(images))
        self._in_rows = np.tile(np.repeat(in_rows, len(cols)), len(images))
        self._cols = np.tile(cols, len(images) * len(rows))
        self._in_cols = np.tile(in_cols, len(images) * len(rows))
        self._whole_width = len(cols) == 1
        self.all_tiles = int(self.position_sizes.sum())
        self.position_tiles = len(self.position_sizes)

    def _cut_filters_and_channels(self) -> None:
        """Sizes of the tiles of filters and channels, and which convolution groups they belong to."""
        shape = self._shape
        tiling = self._tiling
        K = shape.out_channels
        C = shape.in_channels // shape.groups
        per_group = K // shape.groups
        self.first_filters = filter_starts(K, shape.groups, tiling.filters)
        self.block_edges = block_edges(C, tiling.channels)
        self._filter_sizes = np.diff(np.append(self.first_filters, K))
        self._channel_sizes = tile_sizes(C, tiling.channels)
        self._conv_groups = np.maximum(self._filter_sizes // per_group, 1)
        self._input_group = self.first_filters // (per_group * max(tiling.filters // per_group, 1))
        lane_starts = group_starts(K, shape.groups, shape.filter_lanes)
        first_lane_groups = np.searchsorted(lane_starts, self.first_filters)
        self._lane_groups = np.diff(np.append(first_lane_groups, len(lane_starts)))
        self.filter_tiles = len(self._filter_sizes)
        self.channel_tiles = len(self._channel_sizes)

    def _put_in_order(self) -> None:
        """Which tiles each step works on, and which of them are new."""
        outer = (self.filter_tiles, self.position_tiles)
        if not self._tiling.weights_first:
            outer = outer[::-1]
        first, second, channel = (index.ravel() for index in np.indices((*outer, self.channel_tiles)))
        self.filter = first if self._tiling.weights_first else second
        self.position = second if self._tiling.weights_first else first
        self.channel = channel

        weight_tile = self.filter * self.channel_tiles + channel
        input_group = self._input_group[self.filter]
        position_and_group = self.position * self.filter_tiles + input_group
        input_tile = position_and_group * self.channel_tiles + channel
        self.new_weights = changes(weight_tile)
        self.new_inputs = changes(input_tile)
        if self._tiling.weights_stay:
            self.new_weights *= self.position == 0
        if self._tiling.inputs_stay:
            self.new_inputs *= changes(self._input_group)[self.filter]
        self.last = (channel == self.channel_tiles - 1).astype(np.int64)

        self.tiles = self.position_sizes[self.position]
        self.filters = self._filter_sizes[self.filter]
        self.lane_groups = self._lane_groups[self.filter]
        self.channels = self._channel_sizes[channel] * self._conv_groups[self.filter]
        self.weight_channels = self.filters * self._channel_sizes[channel]
        self.tile_channels = int((self.tiles * self.channels * self.new_inputs).sum())
        self.filter_channels = int((self.weight_channels * self.new_weights).sum())

    def _loads(self) -> Transfer:
        """Requests to the DRAM for inputs."""
        shape = self._shape
        tiling = self._tiling
        image, row, col = self._corners(
            first_inputs(shape.vertical, tiling.rows), first_inputs(shape.horizontal, tiling.cols)
        )
        group_channels = shape.in_channels // shape.groups
        first_group = self.first_filters // (shape.out_channels // shape.groups)
        first_channel = (first_group * group_channels)[self.filter]
        channel = first_channel + behind(self._channel_sizes)[self.channel]
        inputs = FeatureMap(
            height=shape.vertical.size,
            width=shape.horizontal.size,
            channels=shape.in_channels,
            bits=shape.input_bits,
        )
        at = self.position
        corner = Corner(image=image[at], channel=channel, row=row[at], col=col[at])
        extent = Extent(
            images=self._images[at],
            rows=self._in_rows[at],
            cols=self._in_cols[at],
            channels=self.channels,
        )
        return inputs.transfer(extent, corner, whole_width=self._whole_width, when=self.new_inputs)

    def _stores(self) -> Transfer:
        """Requests to the DRAM for outputs."""
        shape = self._shape
        tiling = self._tiling
        image, row, col = self._corners(
            np.arange(0, shape.vertical.outputs, tiling.rows), np.arange(0, shape.horizontal.outputs, tiling.cols)
        )
        outputs = FeatureMap(
            height=shape.vertical.outputs,
            width=shape.horizontal.outputs,
            channels=shape.out_channels,
            bits=shape.output_bits,
        )
        at = self.position
        corner = Corner(
            image=image[at],
            channel=self.first_filters[self.filter],
            row=row[at],
            col=col[at],
        )
        extent = Extent(
            images=self._images[at],
            rows=self._rows[at],
            cols=self._cols[at],
            channels=self.filters,
        )
        return outputs.transfer(extent, corner, whole_width=self._whole_width, when=self.last)

    def _corners(self, rows: Ints, cols: Ints) -> tuple[Ints, Ints, Ints]:
        """First image, row and column of each position tile.

        rows, cols: the first of each tile of them.
        """
        images = np.arange(0, self._shape.batch, self._tiling.images)
        return (
            np.repeat(images, len(rows) * len(cols)),
            np.tile(np.repeat(rows, len(cols)), len(images)),
            np.tile(cols, len(images) * len(rows)),
        )


def _products(images: Ints, rows: Ints, cols: Ints) -> Ints:
    """A size of each position tile, images by rows by columns: (position tiles,)."""
    return np.multiply.outer(images, np.multiply.outer(rows, cols)).ravel()


remembered_steps = lru_cache(maxsize=1 << 10)(Steps)


def steps_of(shape: LayerShape, tiling: Tiling) -> Steps:
    """The steps of a tiling, remembered where there are few."""
    count = len(filter_starts(shape.out_channels, shape.groups, tiling.filters))
    for size, tile in (
        (shape.batch, tiling.images),
        (shape.vertical.outputs, tiling.rows),
        (shape.horizontal.outputs, tiling.cols),
        (shape.in_channels // shape.groups, tiling.channels),
    ):
        count *= -(-size // tile)
    return (remembered_steps if count <= FEW_STEPS else Steps)(shape, tiling)
