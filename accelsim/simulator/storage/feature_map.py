"""A layer's inputs or outputs as they lie in DRAM.

How many bytes and pieces a tile of them is, and where.

Feature maps lie in DRAM as planes of 16 channels, each plane row by row, 16 channels a pixel, in
the machine's format; images one behind the other.  A tile of several images counts as if these were
as close as its planes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Ints, round_up
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import Transfer, behind
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
    images: ArrayLike, rows: ArrayLike, channels: ArrayLike, whole_width: ArrayLike
) -> tuple[Ints, Ints]:
    """Planes that a tile of a feature map meets, and its contiguous pieces in each.

    In a plane a tile is one piece where it is as wide as the image, else a piece an image row.
    """
    planes = np.asarray(images) * -(-np.asarray(channels) // CHANNEL_BLOCK)
    return planes, np.where(whole_width, 1, np.asarray(rows, np.int64))


class Corner(NamedTuple):
    """Where tiles of a feature map begin: the first of each, as arrays of one shape."""

    image: ArrayLike
    channel: ArrayLike
    row: ArrayLike
    col: ArrayLike


class Extent(NamedTuple):
    """How much of a feature map each tile has, as numbers or arrays of one shape."""

    images: ArrayLike
    rows: ArrayLike
    cols: ArrayLike
    channels: ArrayLike


@dataclass(frozen=True)
class FeatureMap:
    """The inputs, or the outputs, of a whole layer in DRAM."""

    height: int  # rows of an image
    width: int  # pixels of an image row
    channels: int
    bits: float  # of an element, on average

    def transfer(
        self,
        extent: Extent,
        corner: Corner | None = None,
        *,
        whole_width: bool,
        when: Ints,
    ) -> Transfer:
        """The request of each step for its tile; none where ``when`` is 0.

        whole_width: tiles as wide as the map.  Without corners each tile begins in its planes where
        the one before it ends.
        """
        images, rows, cols, channels = extent
        line = line_bytes(self.width, self.channels, self.bits)
        planes, lines = feature_map_pieces(images, rows, channels, whole_width)
        elements = np.asarray(images) * np.asarray(rows) * np.asarray(cols) * np.asarray(channels)
        n_bytes = whole_bytes(elements, self.bits) * when
        if corner is None:
            address = behind(np.asarray(rows, np.int64) * line * when)
        else:
            address = self._address(corner, line) * when
        return Transfer(
            n_bytes=n_bytes,
            address=address,
            planes=planes * when,
            plane_bytes=np.full_like(n_bytes, self.height * line),
            lines=lines * when,
            line_bytes=np.full_like(n_bytes, line),
        )

    def _address(self, corner: Corner, line: int) -> Ints:
        """Byte of the first pixel of each tile."""
        image, channel, row, col = (np.asarray(first, np.int64) for first in corner)
        planes = -(-self.channels // CHANNEL_BLOCK)
        lines = ((image * planes + channel // CHANNEL_BLOCK) * self.height + row) * line
        pixel_bits = min(self.channels, CHANNEL_BLOCK) * self.bits
        return np.asarray(lines + np.floor(col * pixel_bits / 8).astype(np.int64))


def input_map(work: LayerWork, machine: MachineDescription) -> FeatureMap:
    """A layer's inputs as they lie in DRAM."""
    bits = activation_bits(machine, work.input_density)
    return FeatureMap(
        height=work.height,
        width=work.width,
        channels=work.in_channels,
        bits=bits,
    )


def output_map(work: LayerWork, machine: MachineDescription) -> FeatureMap:
    """A layer's outputs as they lie in DRAM."""
    bits = activation_bits(machine, work.output_density)
    return FeatureMap(
        height=work.out_height,
        width=work.out_width,
        channels=work.out_channels,
        bits=bits,
    )
