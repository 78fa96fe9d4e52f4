"""An on-chip decoder of the ``.dual`` file's own entropy code.

What a decoded weight costs in energy, and its area.

Weights travel in the file's code and are decoded as they arrive, before they are transformed (if at
all) and written to the weight buffer in its own format; the bits of each layer are those measured
in the file.  A symbol is one weight, zero or not.  The decoder's rate is the machine's to state:
the load of a weight tile takes at least its symbols / rate.

Energy and area are estimates, not measurements: the operations of our code
(``accelsim.dual.coding.mixing``, ``context``) priced as arithmetic and SRAM.  A symbol takes 2.0
binary decisions (539,094 for the 268,336 weights of the shipped ResNet-20, counted); a decision
mixes 7 contexts, each with two counts of 10 bits, read and written, and needs a multiply-accumulate
for each and two for the range coder.  A faster decoder needs more arithmetic on the same tables.

Left out: more ports of the tables of a fast decoder, and start-up: the code adapts and is one
stream in the file's order; a machine that loads tiles in another order has to hold the decoder's
state at the start of each, or a stream for each tile, which takes more bits.
"""

from accelsim.hardware.gates import lane_energy
from accelsim.hardware.sram import sram
from accelsim.hardware.technology import ENERGY_FACTORS, mac_pj, mac_um2, node_factor

DECISIONS_PER_SYMBOL = 2.0
CONTEXTS = 7
MACS_PER_DECISION = CONTEXTS + 2
TABLE_BITS_PER_DECISION = CONTEXTS * 2 * 10
WORD_BITS = 16
SUM_BITS = 40
SOURCE = "estimate: 2 decisions, each 9 multiply-accumulates of 16 bits and 140 table bits read and written"


def symbol_pj(table: str, node_nm: int, table_kb: float) -> float:
    """Energy of one decoded weight.  table: of arithmetic energies."""
    memory = sram(node_nm, int(1024 * table_kb), TABLE_BITS_PER_DECISION)
    if table == "gates":
        busy = lane_energy(WORD_BITS, WORD_BITS, SUM_BITS, signed=True).busy
        mac = busy * node_factor(ENERGY_FACTORS, node_nm)
    else:
        mac = mac_pj(table, "int", WORD_BITS, WORD_BITS, SUM_BITS, node_nm)
    return DECISIONS_PER_SYMBOL * (MACS_PER_DECISION * mac + memory.read_pj + memory.write_pj)


def decoder_mm2(node_nm: int, symbols_per_cycle: float, table_kb: float) -> float:
    """Area of tables and of the arithmetic for the rate."""
    decisions = DECISIONS_PER_SYMBOL * symbols_per_cycle
    one_um2 = mac_um2(WORD_BITS, WORD_BITS, SUM_BITS, node_nm)
    arithmetic_um2 = decisions * MACS_PER_DECISION * one_um2
    tables = sram(node_nm, int(1024 * table_kb), TABLE_BITS_PER_DECISION)
    return tables.area_mm2 + arithmetic_um2 / 1e6
