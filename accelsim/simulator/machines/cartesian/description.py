"""What a file of Cartesian products says: elements, and what each multiplies and holds."""

from typing import Literal

from accelsim.hardware.description import MachineDescription
from accelsim.hardware.parts import Count, KeyGroup, PeArray


class CartesianProduct(KeyGroup):
    """Multipliers and accumulators of each processing element."""

    weights: Count
    """Non-zero weights that meet all inputs of a cycle."""
    inputs: Count
    """Non-zero inputs that meet all weights of a cycle."""
    accumulators: Count
    """Sums that an element holds."""


class CartesianDescription(MachineDescription):
    """Keys of a planar array of Cartesian products."""

    kind: Literal["spatial"]
    """Always ``spatial``."""
    dataflow: Literal["cartesian"]
    """Always ``cartesian``."""
    zero_handling: Literal["none", "skip_both"]
    """Cartesian products of non-zeros, or dot products of everything."""
    pe_array: PeArray
    """Processing elements in rows and columns."""
    cartesian: CartesianProduct
    """What an element multiplies and holds."""

    @property
    def lanes(self) -> int:
        """Multipliers of the whole array."""
        elements = self.pe_array.rows * self.pe_array.cols
        return elements * (self.cartesian.weights * self.cartesian.inputs)
