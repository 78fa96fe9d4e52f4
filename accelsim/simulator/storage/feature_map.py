"""A layer's inputs or outputs as they lie in DRAM: how many bytes, pieces and rows a tile of them is.

Feature maps lie in DRAM as planes of 16 channels, each plane row by row, 16 channels a pixel, in the machine's format.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Ints, round_up
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import Transfer
from accelsim.hardware.formats import index_bits, stored_values
from accelsim.workload import CHANNEL_BLOCK, LayerWork

MANY = 1 << 20  # positions over which the bits of an activation are averaged


def activation_bits(machine: MachineDescription, density: ArrayLike) -> float:
    """Bits of an activation in DRAM, index included, on average over channels of these densities.

    A packed run-length code is used only where it is smaller than the plain values.
    """
    plain_bits = machine.arithmetic.activation_bits
    if machine.activation_format == "dense":
        return float(plain_bits)
    nonzeros = np.asarray(density, np.float64) * MANY
    values = stored_values(machine.activation_format, MANY, nonzeros)
    index = index_bits(machine.activation_format, MANY, nonzeros, MANY)
    bits = (values * plain_bits + index) / MANY
    if machine.activation_format == "packed_run_length":
        bits = np.minimum(bits, plain_bits)
    return float(bits.mean())


def line_bytes(width: int, channels: int, bits: float) -> int:
    """Bytes of one image row of one plane."""
    return int(np.ceil(width * min(channels, CHANNEL_BLOCK) * bits / 8))


def whole_bytes(elements: ArrayLike, bits: float) -> Ints:
    """Bytes of each tile of so many activations of ``bits`` each."""
    return round_up(np.asarray(elements, np.float64) * bits / 8)


def feature_map_pieces(
    images: ArrayLike,
    rows: ArrayLike,
    channels: ArrayLike,
    whole_width: ArrayLike,
    line: int,
    row_bytes: int,
) -> tuple[Ints, Ints]:
    """Contiguous pieces, and DRAM rows touched, of a tile of a feature map.

    In a plane a tile is one piece where it is as wide as the image, else a piece an image row, ``line`` bytes apart.
    """
    rows = np.asarray(rows, np.int64)
    planes = np.asarray(images) * -(-np.asarray(channels) // CHANNEL_BLOCK)
    touched = -(-rows * line // row_bytes)
    pieces = np.where(whole_width, 1, rows)
    return planes * pieces, planes * np.where(whole_width, touched, np.minimum(rows, touched))


@dataclass(frozen=True)
class FeatureMap:
    """The inputs, or the outputs, of a whole layer in DRAM."""

    width: int  # pixels of an image row
    channels: int
    bits: float  # of an element, on average
    row_bytes: int  # of the DRAM

    def transfer(
        self,
        images: ArrayLike,
        rows: ArrayLike,
        cols: ArrayLike,
        channels: ArrayLike,
        whole_width: bool,
        when: Ints,
    ) -> Transfer:
        """The request of each step for its tile; none where ``when`` is 0.  whole_width: tiles as wide as the map."""
        line = line_bytes(self.width, self.channels, self.bits)
        pieces, touched = feature_map_pieces(images, rows, channels, whole_width, line, self.row_bytes)
        elements = np.asarray(images) * np.asarray(rows) * np.asarray(cols) * np.asarray(channels)
        return Transfer(whole_bytes(elements, self.bits) * when, pieces * when, touched * when)


def input_map(work: LayerWork, machine: MachineDescription) -> FeatureMap:
    """The layer's inputs."""
    bits = activation_bits(machine, work.input_density)
    return FeatureMap(work.width, work.in_channels, bits, machine.dram.timing.row_bytes)


def output_map(work: LayerWork, machine: MachineDescription) -> FeatureMap:
    """The layer's outputs."""
    bits = activation_bits(machine, work.output_density)
    return FeatureMap(work.out_width, work.out_channels, bits, machine.dram.timing.row_bytes)
