"""The price list of a machine: what each action costs, where the figure comes from, and which part it belongs to.

Energy is the dot product of a layer's action counts and these prices, plus static power x time.
"""

from dataclasses import dataclass
from typing import Literal

from accelsim.hardware.decoder import SOURCE as DECODER_SOURCE
from accelsim.hardware.decoder import decoder_mm2, symbol_pj
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.hardware.sram import SOURCE as SRAM_SOURCE
from accelsim.hardware.sram import Sram, sram
from accelsim.hardware.technology import (
    AREA_FACTORS,
    ARITHMETIC_TABLES,
    ENERGY_FACTORS,
    GATED_SHARE,
    LOGIC_AREA_SOURCE,
    NODE_SOURCE,
    PADS_AREA_SOURCE,
    REGISTER_FILE_ADDRESS_PJ,
    REGISTER_FILE_PJ_PER_BIT,
    add_pj,
    mac_pj,
    mac_um2,
    node_factor,
    register_file_um2,
    transform_um2,
)

Part = Literal["mac", "transform", "register", "sram", "dram", "static"]
PARTS: tuple[Part, ...] = ("mac", "transform", "register", "sram", "dram", "static")
BUFFERS = ("weight", "input", "transformed", "output")

# 30 mW for the 168 lanes of Eyeriss at 65 nm (calibration published with its energy model); scales with area.
STATIC_MW_PER_LANE_45NM = 30 / 168 / AREA_FACTORS[65]
STATIC_SOURCE = f"Eyeriss, 30 mW for 168 lanes at 65 nm, scaled with area; {NODE_SOURCE}"
# A word to the next processing element: 4 pJ for 16 bits at 65 nm (calibration published with Eyeriss' energy model).
HOP_PJ_PER_BIT_45NM = 4 / 16 / ENERGY_FACTORS[65]


@dataclass(frozen=True)
class Price:
    """Energy of one action in pJ (``unit``: pJ an action, a bit or an access), the part it belongs to, its source."""

    pj: float
    unit: str
    part: Part
    source: str


def memories(machine: SpatialMachine | WinogradMachine) -> dict[str, Sram]:
    """The machine's global buffers by name, each one half of its double buffer as one bank."""
    b = machine.buffers
    sizes = {name: getattr(b, f"{name}_kb", None) for name in BUFFERS}
    return {name: sram(machine.node_nm, max(1, int(kb * 1024 / 2)), b.port_bits) for name, kb in sizes.items() if kb}


def prices(machine: SpatialMachine | WinogradMachine) -> dict[str, Price]:
    """Price of each action by name, overrides applied.

    mac, gated_mac: a multiply-accumulate, active and gated.  transform_add: an addition of a transform unit.
    register_bit: a bit read from or written to an operand register.  hop_bit: a bit handed to the next lane or taken
    from a bus (row-stationary arrays; counted with the registers).  index: the address of a skipped-to operand.
    weight_read, weight_write, input_read, ...: a bit of a global buffer.  dram_activate, dram_move_bit,
    dram_io_bit: off chip.
    decode_symbol: a weight that the decoder of the file's entropy code gives (counted with the transforms).
    """
    a, node, e = machine.arithmetic, machine.node_nm, machine.energy
    logic = f"{ARITHMETIC_TABLES[a.table].source}; {NODE_SOURCE}"
    operand_bits = a.transformed_bits if isinstance(machine, WinogradMachine) else a.activation_bits
    mac = mac_pj(a.table, a.number, a.weight_bits, operand_bits, a.accumulator_bits, node)
    mac = mac if e.mac_pj is None else e.mac_pj
    scale = node_factor(ENERGY_FACTORS, node)
    table: dict[str, Price] = {
        "mac": Price(mac, "pJ", "mac", logic),
        "gated_mac": Price(mac * GATED_SHARE, "pJ", "mac", "3 % of an active MAC (Sparseloop, MICRO 2022)"),
        "transform_add": Price(add_pj(a.table, a.accumulator_bits, node), "pJ", "transform", logic),
        "register_bit": Price(REGISTER_FILE_PJ_PER_BIT * scale, "pJ/bit", "register", f"Aladdin; {NODE_SOURCE}"),
        "index": Price(REGISTER_FILE_ADDRESS_PJ * scale, "pJ/access", "register", f"Aladdin; {NODE_SOURCE}"),
    }
    for name, memory in memories(machine).items():
        table[f"{name}_read"] = Price(memory.read_pj_per_bit, "pJ/bit", "sram", SRAM_SOURCE)
        table[f"{name}_write"] = Price(memory.write_pj_per_bit, "pJ/bit", "sram", SRAM_SOURCE)
    if isinstance(machine, SpatialMachine) and machine.row_stationary is not None:
        hop = Price(HOP_PJ_PER_BIT_45NM * scale, "pJ/bit", "register", f"Eyeriss, 4 pJ for 16 bits; {NODE_SOURCE}")
        table["hop_bit"] = hop
    if machine.decoder is not None:
        symbol = symbol_pj(a.table, node, machine.decoder.table_kb)
        table["decode_symbol"] = Price(symbol, "pJ/symbol", "transform", DECODER_SOURCE)
    dram = machine.dram.timing
    activate, move = (f"{machine.dram.type}: {share} of {dram.source}" for share in ("31 %, as HBM2's,", "the rest"))
    table["dram_activate"] = Price(dram.activate_pj, "pJ/row", "dram", activate)
    table["dram_move_bit"] = Price(dram.move_pj_per_bit, "pJ/bit", "dram", move)
    table["dram_io_bit"] = Price(dram.io_pj_per_bit, "pJ/bit", "dram", f"{machine.dram.type}: {dram.io_source}")
    keys = {
        "gated_mac": None if e.gated_share is None else e.gated_share * mac,
        "transform_add": e.transform_add_pj,
        "register_bit": e.register_pj_per_bit,
        "hop_bit": e.hop_pj_per_bit,
        "dram_activate": e.dram_activate_pj,
        "dram_move_bit": e.dram_move_pj_per_bit,
        "dram_io_bit": e.dram_io_pj_per_bit,
        "decode_symbol": e.decode_symbol_pj,
        "index": e.index_pj,
    }
    for name in BUFFERS:
        keys[f"{name}_read"] = getattr(e, f"{name}_read_pj_per_bit")
        keys[f"{name}_write"] = getattr(e, f"{name}_write_pj_per_bit")
    if e.mac_pj is not None:
        table["mac"] = Price(mac, "pJ", "mac", "machine file")
    for name, pj in keys.items():
        if pj is not None and name in table:
            table[name] = Price(pj, table[name].unit, table[name].part, "machine file")
    return table


def static_mw(machine: SpatialMachine | WinogradMachine) -> float:
    """Leakage and clock of the logic, by area, and leakage of the buffers."""
    e = machine.energy
    leakage = 2 * sum(memory.leakage_mw for memory in memories(machine).values())
    leakage = leakage if e.sram_leakage_mw is None else e.sram_leakage_mw
    logic = STATIC_MW_PER_LANE_45NM * machine.lanes * node_factor(AREA_FACTORS, machine.node_nm)
    return leakage + (logic if e.logic_static_mw is None else e.logic_static_mw)


def area_mm2(
    machine: SpatialMachine | WinogradMachine,
    input_unit: tuple[int, int, int] = (0, 0, 0),
    inverse_unit: tuple[int, int, int] = (0, 0, 0),
) -> dict[str, float]:
    """Area by part: lanes, buffers and, of a Winograd machine, transform units.

    input_unit, inverse_unit: adder bits, twins' bits and register bits of one unit (``accelsim.transforms.adders``).
    """
    a, node = machine.arithmetic, machine.node_nm
    operand_bits = a.transformed_bits if isinstance(machine, WinogradMachine) else a.activation_bits
    parts = {"lanes": machine.lanes * mac_um2(a.weight_bits, operand_bits, a.accumulator_bits, node) / 1e6}
    for name, memory in memories(machine).items():
        parts[f"{name}_buffer"] = 2 * memory.area_mm2
    if isinstance(machine, SpatialMachine) and (pads := machine.row_stationary) is not None:
        bits = pads.filter_words * a.weight_bits + pads.input_words * a.activation_bits
        bits += pads.psum_words * a.accumulator_bits
        parts["scratch_pads"] = machine.lanes * register_file_um2(bits, node) / 1e6
    if isinstance(machine, WinogradMachine):
        parts["input_transform"] = machine.transform_rate * transform_um2(*input_unit, node) / 1e6
        parts["inverse_transform"] = machine.inverse_rate * transform_um2(*inverse_unit, node) / 1e6
    if machine.decoder is not None:
        parts["decoder"] = decoder_mm2(node, machine.decoder.symbols_per_cycle, machine.decoder.table_kb)
    own = {name: getattr(machine.area, f"{name}_mm2") for name in parts}
    return {name: mm2 if own[name] is None else own[name] for name, mm2 in parts.items()}


def area_source(machine: SpatialMachine | WinogradMachine, part: str) -> str:
    """Where the area of a part of ``area_mm2`` comes from."""
    if getattr(machine.area, f"{part}_mm2") is not None:
        return "machine file"
    if part.endswith("_buffer"):
        return SRAM_SOURCE
    return {"decoder": DECODER_SOURCE, "scratch_pads": PADS_AREA_SOURCE}.get(part, LOGIC_AREA_SOURCE)


def static_source(machine: SpatialMachine | WinogradMachine) -> str:
    """Where the static power comes from: of the buffers; of the logic."""
    own = machine.energy
    buffers = SRAM_SOURCE if own.sram_leakage_mw is None else "machine file"
    logic = STATIC_SOURCE if own.logic_static_mw is None else "machine file"
    return f"buffers: {buffers}; logic: {logic}"
