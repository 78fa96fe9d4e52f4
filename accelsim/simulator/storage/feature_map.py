"""A layer's inputs or outputs as they lie in DRAM, in the machine's format: what each step moves of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Ints
from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine
from accelsim.simulator.machines.stationary import activation_bits
from accelsim.simulator.tiles.tiling import feature_map_pieces, line_bytes, whole_bytes
from accelsim.workload import LayerWork


@dataclass(frozen=True)
class FeatureMap:
    """One of them.  width, channels: of the whole map; bits: of an element, on average.

    row_bytes: of the DRAM.
    """

    width: int
    channels: int
    bits: float
    row_bytes: int

    def transfer(
        self, images: ArrayLike, rows: ArrayLike, cols: ArrayLike, channels: ArrayLike, whole_width: bool, when: Ints
    ) -> Transfer:
        """The request of each step for its tile; none where ``when`` is 0.  whole_width: tiles as wide as the map."""
        line = line_bytes(self.width, self.channels, self.bits)
        pieces, touched = feature_map_pieces(images, rows, channels, whole_width, line, self.row_bytes)
        elements = np.asarray(images) * np.asarray(rows) * np.asarray(cols) * np.asarray(channels)
        return Transfer(whole_bytes(elements, self.bits) * when, pieces * when, touched * when)


def feature_maps(work: LayerWork, machine: SpatialMachine) -> tuple[FeatureMap, FeatureMap]:
    """The layer's inputs and outputs."""
    row_bytes = machine.dram.timing.row_bytes
    return (
        FeatureMap(work.width, work.in_channels, activation_bits(machine, work.input_density), row_bytes),
        FeatureMap(work.out_width, work.out_channels, activation_bits(machine, work.output_density), row_bytes),
    )
