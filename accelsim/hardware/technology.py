"""Energy and area of arithmetic and registers, by width and node.

Energies at 45 nm, 0.9 V: Horowitz, ISSCC 2014 (int add 8/16/32 b: 0.03/0.05/0.1 pJ; int multiply
8 b: 0.2, 32 b: 3.1 pJ; fp16 add/multiply 0.4/1.1, fp32 0.9/3.7).  An integer multiplier grows with
the product of its widths, an adder and a register with their width; that reproduces the derived
multiply-accumulates int8 -> 24 b 0.31, int8 x 10 b 0.37, int16 -> 40 b 1.0 pJ.  The second table,
Aladdin's (as used by the Accelergy family), puts the int8 multiplier at 0.91 pJ.  Areas at 45 nm:
counted in cells of the Nangate Open Cell Library (FreePDK45), a full adder for each bit of an adder
and each but the first row of an array multiplier; that gives 34 um2 for an 8 b add and 306 for an
8 b multiply (36 and 282: Horowitz, quoted from memory).  A register file: 6 um2 a bit at 40 nm
(Aladdin).  Left out: look-ahead, wires, sizing for speed.  Node factors: Stillmaker & Baas,
Integration 2017.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Number = Literal["int", "fp16", "fp32"]

ENERGY_FACTORS = {
    65: 1.24,
    45: 1.0,
    40: 0.869,
    32: 0.659,
    28: 0.513,
    22: 0.294,
    16: 0.174,
    14: 0.139,
    10: 0.118,
    7: 0.094,
}
AREA_FACTORS = {65: 1.5, 45: 1.0, 40: 0.792, 32: 0.46, 28: 0.377, 22: 0.252, 16: 0.19, 7: 0.059}

NODE_SOURCE = "node factor of Stillmaker & Baas 2017"
LOGIC_AREA_SOURCE = f"cells of the Nangate 45 nm Open Cell Library; {NODE_SOURCE}"
PADS_AREA_SOURCE = f"register file of Aladdin; {NODE_SOURCE}"


@dataclass(frozen=True)
class ArithmeticTable:
    """Energies of arithmetic at 45 nm."""

    multiply_pj_per_bit2: float  # pJ of a multiplier, a product of two bits
    add_pj_per_bit: float  # pJ of an adder, a bit
    register_write_pj_per_bit: float  # pJ of an accumulator register, a bit
    floating_mac_pj: dict[str, float]  # pJ of a multiply-accumulate, by number format
    source: str


ARITHMETIC_TABLES = {
    "horowitz": ArithmeticTable(
        multiply_pj_per_bit2=0.2 / 64,
        add_pj_per_bit=0.1 / 32,
        register_write_pj_per_bit=0.035 / 24,
        floating_mac_pj={"fp16": 2.1, "fp32": 4.7},
        source="Horowitz, ISSCC 2014, 45 nm",
    ),
    "aladdin": ArithmeticTable(
        multiply_pj_per_bit2=0.91 / 64,
        add_pj_per_bit=0.1 / 32,
        register_write_pj_per_bit=0.035 / 24,
        floating_mac_pj={"fp16": 2.1, "fp32": 4.7},
        source="Aladdin's int8 multiplier, the rest Horowitz",
    ),
}

REGISTER_FILE_PJ_PER_BIT = 0.009 / 0.869  # below 0.5 KB; 0.009 at 40 nm (Aladdin)
REGISTER_FILE_ADDRESS_PJ = 0.03 / 0.869  # an access; 0.02-0.04 at 40 nm
GATED_SHARE = 0.03  # of an active MAC's energy (Sparseloop, MICRO 2022)

# Cells FA_X1, DFF_X1, AND2_X1 and XOR2_X1: width x the row height of 1.4 um.
FULL_ADDER_UM2 = 3.04 * 1.4
FLIP_FLOP_UM2 = 3.23 * 1.4
AND_UM2 = 0.76 * 1.4
XOR_UM2 = 1.14 * 1.4
REGISTER_FILE_UM2_PER_BIT = 6 / 0.792


def node_factor(factors: dict[int, float], node_nm: int) -> float:
    """Factor against 45 nm at a node.

    Log-log between the published ones, constant in slope beyond them.
    """
    nodes = np.array(sorted(factors), float)
    values = np.log([factors[int(n)] for n in nodes])
    return float(np.exp(np.interp(np.log(node_nm), np.log(nodes), values)))


def mac_pj(
    table: str,
    number: Number,
    weight_bits: int,
    activation_bits: int,
    accumulator_bits: int,
    node_nm: int,
) -> float:
    """Energy of one multiply-accumulate, its accumulator register included."""
    t = ARITHMETIC_TABLES[table]
    if number != "int":
        energy = t.floating_mac_pj[number]
    else:
        accumulate = accumulator_bits * (t.add_pj_per_bit + t.register_write_pj_per_bit)
        energy = t.multiply_pj_per_bit2 * weight_bits * activation_bits + accumulate
    return energy * node_factor(ENERGY_FACTORS, node_nm)


def add_pj(table: str, bits: int, node_nm: int) -> float:
    """Energy of one integer addition."""
    return ARITHMETIC_TABLES[table].add_pj_per_bit * bits * node_factor(ENERGY_FACTORS, node_nm)


def mac_um2(weight_bits: int, activation_bits: int, accumulator_bits: int, node_nm: int) -> float:
    """Area of one integer multiply-accumulate with its accumulator register.

    Gates before the register clear and hold it.
    """
    ands = weight_bits * activation_bits * AND_UM2
    products = ands + (weight_bits - 1) * activation_bits * FULL_ADDER_UM2
    sums = accumulator_bits * (FULL_ADDER_UM2 + FLIP_FLOP_UM2)
    gates = (accumulator_bits + weight_bits + activation_bits) * AND_UM2
    return (products + sums + gates) * node_factor(AREA_FACTORS, node_nm)


def transform_um2(adder_bits: int, twin_bits: int, register_bits: int, node_nm: int) -> float:
    """Area of adders and registers.

    twin_bits: of adders that share each bit's exclusive or with another adder.
    """
    area = adder_bits * FULL_ADDER_UM2 - twin_bits * XOR_UM2 + register_bits * FLIP_FLOP_UM2
    return area * node_factor(AREA_FACTORS, node_nm)


def register_file_um2(bits: int, node_nm: int) -> float:
    """Area of a small register file, its ports included."""
    return bits * REGISTER_FILE_UM2_PER_BIT * node_factor(AREA_FACTORS, node_nm)
