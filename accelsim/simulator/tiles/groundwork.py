"""What a search of a layer's tilings needs whatever the layer's surroundings are.

A network's layer is searched again for each place that its maps may have.  That changes what its
tilings load and store of maps, and the room that they have; weights, lanes, transforms and the
energy on chip stay the same, so these are computed once for a mode on a machine.

Arrays are over the candidates, in the axes of ``candidates``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import SUM_ERROR, Flags, Floats, Ints, round_up
from accelsim.hardware.parts import ONE_MEMORY
from accelsim.memo import Memo
from accelsim.simulator.tiles.candidates import CHANNELS, Candidates, Traffic, along
from accelsim.simulator.tiles.description import TiledDescription
from accelsim.simulator.tiles.lanes import lane_cycles, least_cycles
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.overhead import TRANSFORM_STEP_CYCLES, FoldSizes, fill_cycles
from accelsim.simulator.tiles.positions import rounds
from accelsim.simulator.tiles.tiling import block_edges, filter_starts
from accelsim.simulator.time.objective import Dma, actions_pj
from accelsim.simulator.time.schedule import dram_actions

ALL = slice(None)
REMEMBERED = 64  # cuts whose lanes, or whose energy, were counted
FEW_CUTS = 16  # of the channels, whose lanes are all counted at once


@dataclass(frozen=True)
class Block:
    """A part of the candidates that is scored at once.

    Of the cuts of the filters, and of the channels: one of them, or all (None).
    """

    filter_cut: int | None = None
    channel_cut: int | None = None

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """The part of an array over the candidates."""
        if self.filter_cut is None and self.channel_cut is None:
            return values
        filters = _only(self.filter_cut) if values.shape[1] > 1 else ALL
        channels = _only(self.channel_cut) if values.shape[2] > 1 else ALL
        return values[:, filters, channels]


def _only(cut: int | None) -> slice:
    return ALL if cut is None else slice(cut, cut + 1)


EVERYTHING = Block()


class MovePrices(NamedTuple):
    """pJ of a byte of a map that is loaded, of one that is stored, and of a row of the DRAM."""

    loaded_byte: float
    stored_byte: float
    row: float


class Groundwork:
    """Some tilings of a mode on a machine.

    capacities: bytes of each buffer.  chip_pj: of ``search``, by block.
    """

    def __init__(self, mode: Mode, machine: TiledDescription, candidates: Candidates) -> None:
        self.mode = mode
        self.machine = machine
        self.candidates = candidates
        self.capacities = _capacities(machine)
        self.map_buffers = machine.buffers.map_buffers
        self.chip_pj: Memo[Floats] = Memo(REMEMBERED)
        self._lanes: Memo[Ints] = Memo(REMEMBERED)
        self._rounds: Memo[int] = Memo(REMEMBERED)
        self.weight_tile, self.all_weights = _weight_bytes(mode, candidates)

    @cached_property
    def weights_stay(self) -> Flags:
        """Whether the buffer holds all weights; of weights and inputs in one buffer see ``rooms``."""
        return np.asarray(self.all_weights <= self.capacities["weight"])

    @cached_property
    def weight_need(self) -> Ints:
        """Bytes of the weight buffer."""
        return np.where(self.weights_stay, self.all_weights, 2 * self.weight_tile)

    @cached_property
    def of_weights(self) -> Ints:
        """How often all weights are loaded."""
        return self.weight_loads(self.weights_stay)

    def weight_loads(self, weights_stay: Flags) -> Ints:
        """How often all weights are loaded where some stay."""
        return np.where(weights_stay | self.candidates.weight_once, 1, self.candidates.count)

    @cached_property
    def weights(self) -> Traffic:
        """The request for all weights once."""
        n_bytes = np.full((1,) * 4, np.ceil(self.mode.dram_bits.sum() / 8), np.int64)
        pieces = self.candidates.n_k * self.candidates.n_c
        rows_a_piece = -(-n_bytes // (pieces * self.machine.dram.timing.row_bytes))
        return Traffic.of(n_bytes, pieces, rows_a_piece * pieces)

    def weight_cycles(self, dma: Dma) -> Floats:
        """Cycles of a DMA for all weights once."""
        cycles = self.weights.moved_bytes / dma.bytes_per_cycle
        if not self.mode.arrival_cycles:
            return cycles
        work = self.mode.work
        return np.maximum(cycles, work.out_channels * self.mode.group_channels * self.mode.arrival_cycles)

    @cached_property
    def transform_cycles(self) -> Floats:
        """Cycles of the transform unit for all inputs once."""
        units = self.mode.units
        transform = self._all_tiles * self.mode.work.in_channels * units.phases / units.input_rate
        return np.asarray(transform + TRANSFORM_STEP_CYCLES * self.candidates.in_loads)

    @cached_property
    def inverse_cycles(self) -> Floats:
        """Cycles of the inverse transform unit."""
        units = self.mode.units
        inverse = self._all_tiles * self.mode.work.out_channels * units.phases / units.inverse_rate
        return np.asarray(inverse + TRANSFORM_STEP_CYCLES * self.candidates.out_loads)

    @cached_property
    def move_prices(self) -> MovePrices:
        """What moving maps between DRAM and chip costs."""
        loaded = actions_pj(self.machine, {"input_write": 8, **dram_actions(1, 0)})
        stored = actions_pj(self.machine, dram_actions(0, 1))
        row = actions_pj(self.machine, {"dram_activate": 1})
        return MovePrices(float(loaded), float(stored), float(row))

    @property
    def _all_tiles(self) -> int:
        return self.candidates.positions.all_tiles

    def edges(self, block: Block) -> Ints:
        """Edges of the channel tiles of a block of one cut of the channels; of all cuts, those of the uncut layer."""
        channels = self.mode.group_channels
        if block.channel_cut is not None:
            channels = self.candidates.channel_cuts[block.channel_cut]
        return block_edges(self.mode.group_channels, channels)

    @cached_property
    def least_round(self) -> int:
        """Cycles of a round of position lanes, as if cutting channels or filters cost nothing."""
        return int(least_cycles(self.mode).sum())

    @cached_property
    def least_lanes(self) -> Ints:
        """Cycles of the lanes over the whole layer, as if cutting channels or filters cost them nothing."""
        return self._all_rounds(self.least_round, EVERYTHING)

    @cached_property
    def exact_lanes(self) -> Ints | None:
        """Cycles of the lanes over the whole layer at every cut; None where these are better counted one by one."""
        lanes = self.mode.lanes
        cuts = range(len(self.candidates.channel_cuts))
        if lanes.stationary != "output" or lanes.window > 1 or len(cuts) > FEW_CUTS:
            return None
        return self._all_rounds(along(CHANNELS, [self._round_cycles(Block(None, cut)) for cut in cuts]), EVERYTHING)

    def lanes(self, block: Block) -> Ints:
        """Cycles of the lanes over the whole layer, for one cut of the channels (and filters, where these count)."""
        return self._lanes.get(block, lambda: self._all_rounds(self._round_cycles(block), block))

    def least_is_exact(self, block: Block) -> bool:
        """Whether ``least_lanes`` are the lanes' cycles, and so the scores made of them exact."""
        if self.mode.lanes.stationary != "output":  # whose energy depends on the cut, too
            return False
        return self._round_cycles(block) == self.least_round

    def _round_cycles(self, block: Block) -> int:
        """Cycles of all barriers in one round of position lanes."""
        return self._rounds.get(block, lambda: self._count_round(block))

    def _count_round(self, block: Block) -> int:
        filters = self.mode.work.out_channels
        if block.filter_cut is not None:
            filters = self.candidates.filter_cuts[block.filter_cut]
        return int(lane_cycles(self.mode, filters, self.edges(block)).sum())

    def _all_rounds(self, round_cycles: int | Ints, block: Block) -> Ints:
        """Cycles of the lanes over the whole layer.

        round_cycles: of all barriers in one round of position lanes.
        """
        mode = self.mode
        candidates = self.candidates
        lane_rounds = rounds(candidates.positions, mode.lanes.positions)
        channel_tiles = block.of(candidates.n_c)
        K = mode.work.out_channels
        k = block.of(candidates.k)
        input_stationary = mode.lanes.stationary == "input"
        each = round_cycles // K * k * block.of(candidates.n_k) if input_stationary else round_cycles
        fill = fill_cycles(
            mode.lanes,
            FoldSizes(
                steps=block.of(candidates.steps),
                position_tiles=candidates.count,
                tiles=self._all_tiles,
                rounds=lane_rounds,
                filter_groups=len(mode.group_starts) * channel_tiles,
                filters=k if input_stationary else K * channel_tiles,
                cycles=each,
            ),
        )
        return np.asarray(lane_rounds * round_cycles + fill)


def _capacities(machine: TiledDescription) -> dict[str, int]:
    """Bytes of each buffer.

    Weights and inputs, or all but weights, have theirs together where the machine says so.
    """
    buffers = machine.buffers
    found = {name: int(buffers.capacity_bytes(name)) for name in buffers.sizes_kb}
    if buffers.one_memory:
        return dict.fromkeys((*found, ONE_MEMORY), buffers.map_bytes) | {"weight": found["weight"]}
    if buffers.shared:
        both = int(buffers.capacity_bytes("weight") + buffers.capacity_bytes("input"))
        return found | {"weight": both, "input": both}
    return found


def _weight_bytes(mode: Mode, all_of: Candidates) -> tuple[Ints, Ints]:
    """Bytes of the largest weight tile, and of all tiles, of each cut of filters and channels.

    (1, cuts, cuts, 1).
    """
    filter_cuts = all_of.filter_cuts
    channel_cuts = all_of.channel_cuts

    def count() -> tuple[Ints, Ints]:
        bits = np.zeros((mode.work.out_channels + 1, mode.stored_bits.shape[1] + 1))
        mode.stored_bits.cumsum(axis=0, out=bits[1:, 1:])
        bits[1:, 1:].cumsum(axis=1, out=bits[1:, 1:])
        # The filter tiles of all cuts one behind the other.
        starts = [filter_starts(mode.work.out_channels, mode.work.groups, filters) for filters in filter_cuts]
        ends = [np.append(first[1:], mode.work.out_channels) for first in starts]
        first_of_cut = np.cumsum([0, *(len(first) for first in starts[:-1])])
        tile_bits = bits[np.concatenate(ends)] - bits[np.concatenate(starts)]
        largest = np.empty((len(filter_cuts), len(channel_cuts)), np.int64)
        total = np.empty_like(largest)
        for j, channels in enumerate(channel_cuts):
            edges = block_edges(mode.group_channels, channels)
            tiles = round_up(np.diff(tile_bits[:, edges]) / 8, SUM_ERROR)
            largest[:, j] = np.maximum.reduceat(tiles.max(axis=1), first_of_cut)
            total[:, j] = np.add.reduceat(tiles.sum(axis=1), first_of_cut)
        return largest[None, :, :, None], total[None, :, :, None]

    return mode.sums.largest_tile_bytes.get((filter_cuts, channel_cuts), count)
