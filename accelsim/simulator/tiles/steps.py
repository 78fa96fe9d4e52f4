"""The steps of one tiling of a layer, in order: which tiles each works on and what it moves, whatever the weights.

They depend on the layer's shape and the tiling alone, so layers of equal shape share them, on all machines of a sweep
that choose the same tiling.
"""

from functools import lru_cache

import numpy as np

from accelsim.hardware.dram import Transfer
from accelsim.simulator.tiles.tiling import (
    Shape,
    Tiling,
    block_edges,
    extents,
    feature_map_pieces,
    filter_starts,
    group_starts,
    line_bytes,
    tile_sizes,
    whole_bytes,
)
from accelsim.simulator.time.schedule import changes

MOST_KEPT_STEPS = 512  # of a tiling that is kept: a few ten KB


class Steps:
    """One row a step: (steps,) int64.

    position, filter, channel: which tile of each dimension.  new_inputs, new_weights, last: 1 where the step loads the
    tile, or is the last to add to its outputs.  tiles: of m x m outputs.  rows: convolution rows.
    filters, channels, weight_channels: of the step's tiles; channels of all convolution groups, weight_channels of one.
    lane_groups: groups of filters side by side.
    inputs, outputs: the requests.  Of the whole layer: all_tiles; position_tiles, filter_tiles, channel_tiles; k_starts
    and edges, the first filter and channel block of each tile; tile_channels and filter_channels, as they are loaded.
    """

    def __init__(self, shape: Shape, tiling: Tiling, row_bytes: int) -> None:
        K, C, per_group = shape.out_channels, shape.in_channels // shape.groups, shape.out_channels // shape.groups
        m, vertical, horizontal = shape.m, shape.vertical, shape.horizontal
        # Sizes of each tile along each dimension.
        n = tile_sizes(shape.batch, tiling.images)
        p, q = tile_sizes(vertical.outputs, tiling.rows), tile_sizes(horizontal.outputs, tiling.cols)
        h, w = extents(vertical, tiling.rows), extents(horizontal, tiling.cols)
        self.k_starts, self.edges = filter_starts(K, shape.groups, tiling.filters), block_edges(C, tiling.channels)
        k, c = np.diff(np.append(self.k_starts, K)), tile_sizes(C, tiling.channels)
        conv_groups = np.maximum(k // per_group, 1)
        input_group = self.k_starts // (per_group * max(tiling.filters // per_group, 1))
        lane_starts = group_starts(K, shape.groups, shape.filter_lanes)
        lane_groups = np.diff(np.append(np.searchsorted(lane_starts, self.k_starts), len(lane_starts)))

        # (position tiles,)
        tiles = np.multiply.outer(n, np.multiply.outer(-(-p // m), -(-q // m))).ravel()
        outputs = np.multiply.outer(n, np.multiply.outer(p, q)).ravel()
        pixels = np.multiply.outer(n, np.multiply.outer(h, w)).ravel()
        in_rows, out_rows = (np.tile(np.repeat(x, len(q)), len(n)) for x in (h, p))
        images = np.repeat(n, len(p) * len(q))
        self.all_tiles = int(tiles.sum())
        self.position_tiles, self.filter_tiles, self.channel_tiles = len(tiles), len(k), len(c)

        order = (len(k), len(tiles), len(c)) if tiling.weights_first else (len(tiles), len(k), len(c))
        first, second, i_c = (index.ravel() for index in np.indices(order))
        i_k, i_t = (first, second) if tiling.weights_first else (second, first)
        new_weights = changes(i_k * len(c) + i_c)
        new_inputs = changes((i_t * len(k) + input_group[i_k]) * len(c) + i_c)
        if tiling.weights_stay:
            new_weights *= i_t == 0
        if tiling.inputs_stay:
            new_inputs *= changes(input_group)[i_k]
        self.position, self.filter, self.channel = i_t, i_k, i_c
        self.new_weights, self.new_inputs, self.last = new_weights, new_inputs, (i_c == len(c) - 1).astype(np.int64)
        self.tiles, self.filters, self.lane_groups = tiles[i_t], k[i_k], lane_groups[i_k]
        self.of_positions = tiles
        self.channels = c[i_c] * conv_groups[i_k]
        self.weight_channels = k[i_k] * c[i_c]
        self.tile_channels = int((self.tiles * self.channels * new_inputs).sum())
        self.filter_channels = int((self.weight_channels * new_weights).sum())

        whole_width = np.bool_(len(q) == 1)
        in_line = line_bytes(horizontal.size, shape.in_channels, shape.input_bits)
        out_line = line_bytes(horizontal.outputs, K, shape.output_bits)
        in_pieces = feature_map_pieces(images[i_t], in_rows[i_t], self.channels, whole_width, in_line, row_bytes)
        out_pieces = feature_map_pieces(images[i_t], out_rows[i_t], self.filters, whole_width, out_line, row_bytes)
        in_bytes = whole_bytes(pixels[i_t] * self.channels, shape.input_bits)
        out_bytes = whole_bytes(outputs[i_t] * self.filters, shape.output_bits)
        self.inputs = Transfer(*(x * new_inputs for x in (in_bytes, *in_pieces)))
        self.outputs = Transfer(*(x * self.last for x in (out_bytes, *out_pieces)))

    def __len__(self) -> int:
        return len(self.position)


kept_steps = lru_cache(maxsize=1 << 10)(Steps)


def steps(shape: Shape, tiling: Tiling, row_bytes: int) -> Steps:
    """The steps of a tiling, kept where there are few."""
    count = len(filter_starts(shape.out_channels, shape.groups, tiling.filters))
    for size, tile in (
        (shape.batch, tiling.images),
        (shape.vertical.outputs, tiling.rows),
        (shape.horizontal.outputs, tiling.cols),
        (shape.in_channels // shape.groups, tiling.channels),
    ):
        count *= -(-size // tile)
    return (kept_steps if count <= MOST_KEPT_STEPS else Steps)(shape, tiling, row_bytes)
