"""What it costs that lanes choose their operands and hold several sums.

Operand windows, multiplexers, registers.

An operand window holds ``positions`` operand vectors, one operand for each row of lanes, in
``banks`` banks that give one vector a cycle each; a column of lanes chooses among the banks.  Every
bit of it is stored twice, as the next window is filled behind the one that the lanes work on.

Energies: a bit written to or read from a bank costs a register file's bit up to 0.5 KB a bank,
beyond that the bit of an SRAM of the bank's size.  A multiplexer of two costs the energy of an
adder's bit times the ratio of the cells' areas (MUX2_X1 over FA_X1): an assumption, as no published
table has one.  A choice among b passes log2(b) of them and takes b - 1 in area.  A sum register
that is added to costs an adder and a register write of its width, as in a multiply-accumulate.
All this has static power by its area.
Areas: cells of the Nangate 45 nm library, a register file's bits for windows.  Left out: wires of
the crossbar, arbitration of the banks.
"""

from dataclasses import dataclass
from math import ceil, log2

from accelsim.hardware.sram import sram
from accelsim.hardware.technology import (
    AREA_FACTORS,
    ARITHMETIC_TABLES,
    ENERGY_FACTORS,
    FLIP_FLOP_UM2,
    FULL_ADDER_UM2,
    REGISTER_FILE_PJ_PER_BIT,
    node_factor,
    register_file_um2,
)

MUX_UM2 = 1.33 * 1.4  # MUX2_X1
SMALL_BANK_BYTES = 512  # up to here a bank is a register file
MUX_SOURCE = "an adder's bit x MUX2_X1 / FA_X1 of the Nangate 45 nm library (assumption)"
WINDOW_SOURCE = "register file (Aladdin) up to 0.5 KB a bank, else CACTI 7 table"
SUM_SOURCE = "adder and register write of a multiply-accumulate"
AREA_SOURCE = "MUX2_X1, FA_X1, DFF_X1 of the Nangate 45 nm library; register file of Aladdin"


@dataclass(frozen=True)
class WindowSize:
    """One operand window, as wide as the rows of lanes that it serves."""

    positions: int  # operand vectors
    banks: int  # of positions / banks vectors each, one read of each a cycle
    vector_bits: int  # of one operand vector

    @property
    def stored_bits(self) -> int:
        """Bits of both halves."""
        return 2 * self.positions * self.vector_bits

    @property
    def levels(self) -> int:
        """Multiplexers of two that a chosen operand passes."""
        return ceil(log2(self.banks)) if self.banks > 1 else 0


def window_pj_per_bit(size: WindowSize, node_nm: int) -> tuple[float, float]:
    """Energy of a bit read from, and written to, a bank of the window."""
    bank_bytes = -(-size.positions // size.banks) * size.vector_bits // 8
    if bank_bytes <= SMALL_BANK_BYTES:
        pj = REGISTER_FILE_PJ_PER_BIT * node_factor(ENERGY_FACTORS, node_nm)
        return pj, pj
    memory = sram(node_nm, bank_bytes, size.vector_bits)
    return memory.read_pj_per_bit, memory.write_pj_per_bit


def select_pj(table: str, node_nm: int) -> float:
    """Energy of a bit that passes one multiplexer of two."""
    adder = ARITHMETIC_TABLES[table].add_pj_per_bit * node_factor(ENERGY_FACTORS, node_nm)
    return adder * MUX_UM2 / FULL_ADDER_UM2


def accumulate_pj(table: str, bits: int, node_nm: int) -> float:
    """Energy of adding a value to a sum register of so many bits."""
    t = ARITHMETIC_TABLES[table]
    a_bit = t.add_pj_per_bit + t.register_write_pj_per_bit
    return bits * a_bit * node_factor(ENERGY_FACTORS, node_nm)


def window_um2(size: WindowSize, node_nm: int) -> float:
    """Area of one window, without what chooses from it."""
    return register_file_um2(size.stored_bits, node_nm)


def select_um2(choices: int, bits: int, node_nm: int) -> float:
    """Area of a choice of one among so many values of ``bits`` bits."""
    return (choices - 1) * bits * MUX_UM2 * node_factor(AREA_FACTORS, node_nm)


def registers_um2(registers: int, adders: int, bits: int, node_nm: int) -> float:
    """Area of sum registers and of adders in front of them, all of ``bits`` bits."""
    a_bit = registers * FLIP_FLOP_UM2 + adders * FULL_ADDER_UM2
    return bits * a_bit * node_factor(AREA_FACTORS, node_nm)


def lane_inverse_um2(m: int, sums: int, bits: int, node_nm: int) -> float:
    """Area of the inverse transform in a lane that adds up tap after tap.

    For each sum a row of outputs and the m x m; adders for one of them, for which the others wait.
    """
    waiting = sums if sums > 1 else 0
    return registers_um2(sums * (m + m * m) + waiting, m + m * m, bits, node_nm)
