"""What a row-stationary array's file says: scratch-pads, buses and banks beside its lanes."""

from typing import Literal

from accelsim.hardware.description import MachineDescription
from accelsim.hardware.parts import Count, KeyGroup, Kilobytes, PeArray
from accelsim.hardware.price import Area, Price
from accelsim.hardware.technology import (
    ENERGY_FACTORS,
    NODE_SOURCE,
    PADS_AREA_SOURCE,
    node_factor,
    register_file_um2,
)

# A word to the next processing element: 4 pJ for 16 bits at 65 nm (calibration published with
# Eyeriss' energy model).
HOP_PJ_PER_BIT_45NM = 4 / 16 / ENERGY_FACTORS[65]


class Pads(KeyGroup):
    """Scratch-pads of each lane, the buses between buffers and array, and the banks of the buffer behind them."""

    filter_words: Count
    """Weights that a lane's scratch-pad holds."""
    input_words: Count
    """Inputs that a lane's scratch-pad holds."""
    psum_words: Count
    """Partial sums that a lane's scratch-pad holds."""
    filter_bus_bits: Count
    """Bits of weights that reach the array a cycle."""
    input_bus_bits: Count
    """Bits of inputs that reach the array a cycle."""
    psum_bus_bits: Count
    """Bits of partial sums that pass a cycle, in each direction."""
    bank_kb: Kilobytes
    """Inputs and partial sums share input_kb + output_kb in whole banks of this size, 1024 bytes."""


class RowStationaryDescription(MachineDescription):
    """Keys of a row-stationary array."""

    kind: Literal["spatial"]
    """Always ``spatial``."""
    dataflow: Literal["row_stationary"]
    """Always ``row_stationary``."""
    zero_handling: Literal["none", "gate"]
    """What lanes do about zero inputs: multiply, or hold still."""
    pe_array: PeArray
    """Processing elements in rows and columns."""
    row_stationary: Pads
    """Scratch-pads, buses and banks."""

    @property
    def lanes(self) -> int:
        """Multipliers of the whole array."""
        return self.pe_array.rows * self.pe_array.cols

    def own_prices(self) -> dict[str, Price]:
        """A bit handed to the next lane or taken from a bus, counted with the registers."""
        pj = HOP_PJ_PER_BIT_45NM * node_factor(ENERGY_FACTORS, self.node_nm)
        source = f"Eyeriss, 4 pJ for 16 bits; {NODE_SOURCE}"
        return {"hop_bit": Price(pj, "pJ/bit", "register", source)}

    def own_areas(self) -> dict[str, Area]:
        """The scratch-pads of all lanes."""
        a = self.arithmetic
        pads = self.row_stationary
        bits = pads.filter_words * a.weight_bits
        bits += pads.input_words * a.activation_bits
        bits += pads.psum_words * a.accumulator_bits
        mm2 = self.lanes * register_file_um2(bits, self.node_nm) / 1e6
        return {"scratch_pads": Area(mm2, PADS_AREA_SOURCE)}
