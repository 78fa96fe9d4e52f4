"""Every way to cut a layer into tiles, and what its tiles hold and move, whatever the weights and the buffers.

Candidates are all balanced cuts (d parts of equal size, the last one the remainder, for every d) of
every dimension, in both outer orders.  They depend on the layer's shape, the widths of its values
and the filters side by side alone, so layers of equal shape share them, on all machines of a sweep,
where there are not too many to remember.

Arrays are over (order, filters, channels, positions), each axis of length 1 where a quantity does
not depend on it; the last one holds every combination of tile sizes of images, rows and columns
(``positions``).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Ints
from accelsim.simulator.storage.feature_map import feature_map_pieces, line_bytes, whole_bytes
from accelsim.simulator.tiles.positions import PositionCuts, position_cuts
from accelsim.simulator.tiles.tiling import LayerShape, balanced_cuts

MAX_STEPS = 1 << 20  # of a layer's schedule
REMEMBERED_CANDIDATES = 1 << 18  # of a shape: some ten MB

BURST_BYTES = 64  # of most DRAMs
PIXEL_BYTES = 16  # a piece of a map begins at a multiple: of 16 channels, a byte each

ORDER, FILTERS, CHANNELS, POSITIONS = range(4)
WEIGHTS_FIRST = np.array([False, True]).reshape(2, 1, 1, 1)


@dataclass(frozen=True)
class Traffic:
    """Requests for all of an operand once, whatever the DRAM: arrays over candidates."""

    n_bytes: Ints
    moved_bytes: Ints  # in whole bursts, which most pieces do not begin with
    rows: Ints  # of the DRAM that the requests touch

    @staticmethod
    def of(n_bytes: Ints, pieces: Ints, rows: Ints) -> "Traffic":
        """pieces: contiguous runs of addresses."""
        return Traffic(n_bytes, n_bytes + pieces * (BURST_BYTES - PIXEL_BYTES), rows)

    def part(self, share: float) -> "Traffic":
        """This share of each request, rounded up."""
        if share == 1:
            return self
        if share == 0:
            return NO_TRAFFIC
        values = (self.n_bytes, self.moved_bytes, self.rows)
        return Traffic(*(np.ceil(share * value).astype(np.int64) for value in values))


NO_TRAFFIC = Traffic(*(np.zeros((1,) * 4, np.int64) for _ in range(3)))


class Candidates:
    """All tilings of a layer's shape with some cuts of its positions.

    count: tiles of positions.  k, c: filters and input channels of a tile; n_k, n_c: tiles of
    filters and channels.  in_group: filter tiles of one input group.  steps: of the layer; few:
    whether they are at most MAX_STEPS.  input_tile, transformed_tile: bytes of double-buffered
    tiles; all_inputs: of all input tiles (transformed, if so); output_room: of finished outputs and
    partial sums; sums_room: where finished outputs have a place elsewhere; finished_room: of
    finished outputs alone.  weight_once, input_once: where an operand is loaded once,
    however small its buffer.  in_loads, out_loads: tiles that are loaded at least, and stored.
    inputs, outputs: the requests for each once, every tile as large as the largest.
    """

    def __init__(self, shape: LayerShape, row_bytes: int, positions: PositionCuts) -> None:
        self._shape = shape
        self.filter_cuts = _filter_cuts(shape)
        self.channel_cuts = _channel_cuts(shape)
        self.positions = positions
        self._count_tiles()
        self._measure_inputs()
        self._measure_outputs()
        self._measure_requests(row_bytes)

    def _count_tiles(self) -> None:
        """Tiles along each dimension, steps, and which operands are loaded once."""
        shape = self._shape
        per_group = shape.out_channels // shape.groups
        self.count = along(POSITIONS, self.positions.count)
        self.k = along(FILTERS, self.filter_cuts)
        self.c = along(CHANNELS, self.channel_cuts)
        groups_in_tile = np.maximum(self.k // per_group, 1) if shape.groups > 1 else along(FILTERS, (1,))
        input_groups = -(-shape.groups // groups_in_tile)
        self.in_group = np.where(self.k < per_group, -(-per_group // self.k), 1)
        self.n_k = input_groups * self.in_group
        self.n_c = -(-(shape.in_channels // shape.groups) // self.c)
        self.steps = self.count * (self.n_k * self.n_c)
        self.few = self.steps <= MAX_STEPS
        self.tile_channels = self.c * groups_in_tile
        self.in_loads = self.count * self.n_c * input_groups
        self.out_loads = self.count * self.n_k
        single = self.n_c == 1
        self.weight_once = (single & WEIGHTS_FIRST) | (self.n_k * self.n_c == 1)
        self.input_once = (single & ~WEIGHTS_FIRST) | (self.count * self.n_c == 1)

    def _measure_inputs(self) -> None:
        """Bytes of input tiles, and of all inputs."""
        shape = self._shape
        at = self.positions
        copies = np.where(self.in_loads == 1, 1, 2)
        self.input_tile = _bytes(at.in_pixels * self.tile_channels, shape.activation_bits) * copies
        if shape.transformed_bits:
            bits = shape.taps * shape.transformed_bits
            self.transformed_tile = _bytes(at.tiles * self.tile_channels, bits) * copies
            self.all_inputs = _bytes(np.full((1,) * 4, at.all_tiles * shape.in_channels), bits)
        else:
            self.all_inputs = along(POSITIONS, _bytes(at.all_pixels * shape.in_channels, shape.activation_bits))

    def _measure_outputs(self) -> None:
        """Bytes of finished outputs and partial sums."""
        shape = self._shape
        at = self.positions
        copies = np.where(self.out_loads == 1, 1, 2)
        outputs = at.outputs * self.k
        finished = _bytes(outputs, shape.activation_bits) * copies
        if shape.inverts:
            # The inverse transform starts when the lanes are done with the whole tile
            # (``pipeline``): so all of its sums are held, and those of the tile before.
            sums = _bytes(at.tiles * self.k * copies * shape.taps, shape.accumulator_bits)
            self.output_room = sums + finished
            self.sums_room = sums
        else:
            partial = _bytes(outputs, shape.accumulator_bits) * copies
            leave = (self.n_c > 1) | (not shape.lanes_hold_outputs)
            self.output_room = np.where(leave, partial, finished)
            self.sums_room = np.where(leave, partial, 0)
        self.finished_room = finished

    def _measure_requests(self, row_bytes: int) -> None:
        """Requests to the DRAM for all inputs and all outputs, each once."""
        shape = self._shape
        at = self.positions
        images, rows, cols = at.sizes
        wide = cols == shape.horizontal.outputs
        in_line = line_bytes(shape.horizontal.size, shape.in_channels, shape.input_bits)
        out_line = line_bytes(shape.horizontal.outputs, shape.out_channels, shape.output_bits)
        in_bytes = along(POSITIONS, whole_bytes(at.all_pixels * shape.in_channels, shape.input_bits))
        out_bytes = whole_bytes(np.full((1,) * 4, shape.outputs), shape.output_bits)
        in_planes, in_lines = feature_map_pieces(images, at.in_high, self.tile_channels, wide)
        out_planes, out_lines = feature_map_pieces(images, rows, self.k, wide)
        in_touched = -(-at.in_high * in_line // row_bytes)
        out_touched = -(-rows * out_line // row_bytes)
        in_rows = in_planes * np.where(wide, in_touched, np.minimum(at.in_high, in_touched))
        out_rows = out_planes * np.where(wide, out_touched, np.minimum(rows, out_touched))
        loads = self.in_loads
        stores = self.out_loads
        self.inputs = Traffic.of(in_bytes, in_planes * in_lines * loads, in_rows * loads)
        self.outputs = Traffic.of(out_bytes, out_planes * out_lines * stores, out_rows * stores)


@lru_cache(maxsize=512)
def remembered_candidates(shape: LayerShape, row_bytes: int) -> Candidates:
    """All tilings of a shape that has no more than REMEMBERED_CANDIDATES."""
    return Candidates(shape, row_bytes, position_cuts(shape.batch, shape.m, shape.vertical, shape.horizontal))


def count_positions(shape: LayerShape) -> int:
    """How many cuts of its positions a shape has, none of them made."""
    rows, cols = (balanced_cuts(axis.outputs, shape.m) for axis in (shape.vertical, shape.horizontal))
    return len(balanced_cuts(shape.batch, 1)) * len(rows) * len(cols)


def count_others(shape: LayerShape) -> int:
    """How many candidates a shape has for each cut of its positions."""
    return 2 * len(_filter_cuts(shape)) * len(_channel_cuts(shape))


def along(axis: int, values: ArrayLike) -> Ints:
    """Values along one axis of the candidates."""
    shape = [1] * 4
    shape[axis] = -1
    return np.asarray(values, np.int64).reshape(shape)


def _bytes(values: Ints, bits: int) -> Ints:
    return np.asarray(-(-values * bits // 8))


def _channel_cuts(shape: LayerShape) -> tuple[int, ...]:
    """Channels of a tile."""
    return balanced_cuts(shape.in_channels // shape.groups, shape.channel_granule)


def _filter_cuts(shape: LayerShape) -> tuple[int, ...]:
    """Filters of a tile: parts of one convolution group, or several whole groups."""
    per_group = shape.out_channels // shape.groups
    parts = balanced_cuts(per_group, shape.filter_lanes)
    return (*parts, *(per_group * whole for whole in balanced_cuts(shape.groups, 1) if whole > 1))
