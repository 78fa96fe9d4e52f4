"""How an array of multiply-accumulate lanes executes one convolution: what spatial and Winograd machines share.

Both kinds do the same thing in different domains.  The filters are (taps, K, C) matrices of slots, one slot a multiply
that a lane must spend: in the spatial domain there is one tap and up to R S slots an input channel; in the Winograd
domain of F(m x m, R x S) there are n^2 taps and at most one slot.  ``filter_lanes`` filters work side by side on
``position_lanes`` output tiles (single outputs, or m x m tiles) and ``tap_lanes`` taps.  Filters that work side by
side wait for the fullest of them, at every tap group and every tile of channels (a barrier):

    cycles of a step = ceil(tiles / position_lanes) * sum over filter groups and tap groups of
                       ceil(max over the lanes of (sum over c of slots) / reduction_lanes)

``reduction_lanes`` is 1 where a lane accumulates one output (output-stationary) and the number of rows where the rows
hold weights of one filter (weight-stationary).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accelsim.hardware.formats import Format, index_bits, stored_values
from accelsim.workload import LayerWork

CHANNEL_BLOCK = 16  # input channels are tiled in blocks of this many


@dataclass(frozen=True, eq=False)
class Mode:
    """One way of one machine to execute one convolution or fully connected layer.

    m: outputs a tile and dimension.  slots: (taps, K, C / groups) int32, filters in the order they occupy the lanes.
    executed: multiplies a tile of outputs, the whole layer (less than the slots where lanes are gated).
    gated: slots a tile in which a lane is held still.
    stored_nonzeros: (taps, K, C / groups) int32 weights kept by the sparse format.
    transform_rate, inverse_rate: tile-channels and tile-filters a cycle of the transform units; 0 without them.
    transform_adds: additions of the input and the inverse transform of one tile.
    """

    name: str
    work: LayerWork
    m: int
    slots: NDArray[np.int32]
    stored_nonzeros: NDArray[np.int32]
    executed: int
    gated: int
    position_lanes: int
    filter_lanes: int
    tap_lanes: int
    reduction_lanes: int
    weight_format: Format
    weight_bits: int
    activation_bits: int
    transformed_bits: int
    accumulator_bits: int
    transform_rate: int = 0
    inverse_rate: int = 0
    transform_adds: tuple[int, int] = (0, 0)

    @property
    def transforms(self) -> bool:
        """Whether the layer runs in the Winograd domain."""
        return self.transform_rate > 0

    @property
    def taps(self) -> int:
        """Winograd-domain taps of a filter; 1 in the spatial domain."""
        return int(self.slots.shape[0])

    @property
    def window(self) -> int:
        """Stored weight positions for each filter and input channel: n^2, or R S."""
        R, S = self.work.kernel
        return self.taps if self.transforms else R * S

    @property
    def filters_per_group(self) -> int:
        """Filters of one convolution group."""
        return self.work.out_channels // self.work.groups

    @cached_property
    def channel_starts(self) -> NDArray[np.int64]:
        """First channel of each block of input channels."""
        return np.arange(0, self.slots.shape[2], CHANNEL_BLOCK)

    @cached_property
    def block_channels(self) -> NDArray[np.int64]:
        """Channels of each block."""
        return np.diff(np.append(self.channel_starts, self.slots.shape[2]))

    @cached_property
    def group_starts(self) -> NDArray[np.int64]:
        """First filter of each group of filters that work side by side; none spans two convolution groups."""
        first = np.arange(0, self.filters_per_group, self.filter_lanes)
        return (np.arange(self.work.groups)[:, None] * self.filters_per_group + first).ravel()

    @cached_property
    def _block_slots(self) -> NDArray[np.int64]:
        """Slots of each tap, filter and channel block."""
        return np.add.reduceat(self.slots, self.channel_starts, axis=2, dtype=np.int64)

    @cached_property
    def filter_stored_bits(self) -> NDArray[np.float64]:
        """Stored bits, index included, of each filter and channel block: (K, blocks)."""
        nonzeros = np.add.reduceat(self.stored_nonzeros.sum(axis=0, dtype=np.int64), self.channel_starts, axis=1)
        positions = np.broadcast_to(self.block_channels * self.window, nonzeros.shape)
        row = self.window * self.slots.shape[2]
        values = stored_values(self.weight_format, positions, nonzeros)
        return np.asarray(values * self.weight_bits + index_bits(self.weight_format, positions, nonzeros, row))

    def group_cycles(self, block_edges: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cycles of each filter group for one round of position lanes: (groups, channel tiles).

        block_edges: first channel block of each channel tile, ascending from 0.
        """
        per_tile = np.add.reduceat(self._block_slots, block_edges, axis=2)
        fullest = np.maximum.reduceat(per_tile, self.group_starts, axis=1)
        tap_starts = np.arange(0, self.taps, self.tap_lanes)
        fullest = np.maximum.reduceat(fullest, tap_starts, axis=0)
        return np.asarray((-(-fullest // self.reduction_lanes)).sum(axis=0))
