"""The price list and the area of a machine.

What each action costs, what each part covers, and where figures come from.

Energy is the dot product of a layer's action counts and the prices, plus power (static, and the
DRAM's) x time.
"""

from dataclasses import replace

from accelsim.hardware import gates
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram_types import dram_sources
from accelsim.hardware.price import Area, Price
from accelsim.hardware.sram import SOURCE as SRAM_SOURCE
from accelsim.hardware.sram import Sram, sram
from accelsim.hardware.technology import (
    AREA_FACTORS,
    ARITHMETIC_TABLES,
    ENERGY_FACTORS,
    GATED_SHARE,
    LOGIC_AREA_SOURCE,
    NODE_SOURCE,
    REGISTER_FILE_ADDRESS_PJ,
    REGISTER_FILE_PJ_PER_BIT,
    add_pj,
    mac_pj,
    mac_um2,
    node_factor,
)

BUFFERS = ("weight", "input", "transformed", "output")
OWN = "machine file"  # the source of a figure that the machine's YAML replaces

# 30 mW for the 168 lanes of Eyeriss at 65 nm (calibration published with its energy model); scales
# with area.
STATIC_MW_PER_LANE_45NM = 30 / 168 / AREA_FACTORS[65]
# The same over the 12.25 mm2 of that chip's core, for what stands around the lanes beyond their
# plain form.
STATIC_MW_PER_MM2 = 30 / 12.25
STATIC_SOURCE = f"Eyeriss, 30 mW for 168 lanes at 65 nm, scaled with area; {NODE_SOURCE}"

# Keys of ``EnergyOverrides`` that are not named as ACTION_pj or ACTION_pj_per_bit.
_KEYS = {
    "register_bit": "register_pj_per_bit",
    "hop_bit": "hop_pj_per_bit",
    "dram_read_bit": "dram_read_pj_per_bit",
    "dram_write_bit": "dram_write_pj_per_bit",
    "dram_read_io_bit": "dram_read_io_pj_per_bit",
    "dram_write_io_bit": "dram_write_io_pj_per_bit",
}


def memories(machine: MachineDescription) -> dict[str, Sram]:
    """The machine's memories by name, each one half of its double buffer as one bank.

    These are its global buffers, or that of the weights and one memory of all others.
    """
    buffers = machine.buffers
    half_bytes: dict[str, float] = {}
    for name in (name for name in BUFFERS if buffers.sizes_kb.get(name)):
        memory = buffers.memory_of(name)
        half_bytes[memory] = half_bytes.get(memory, 0.0) + buffers.half_bytes(name)
    return {name: sram(machine.node_nm, max(1, int(size)), buffers.port_bits) for name, size in half_bytes.items()}


def prices(machine: MachineDescription) -> dict[str, Price]:
    """Price of each action by name, overrides applied.

    Which actions of lanes there are is the energy table's matter.

    mac, gated_mac: a multiply-accumulate, active and gated.  transform_add: an addition of a
    transform unit.  register_bit: a bit read from or written to an operand register.  index: the
    address of a skipped-to operand.  weight_read, weight_write, input_read, ...: a bit of a global
    buffer.  dram_activate, dram_read_bit, dram_write_bit, dram_read_io_bit, dram_write_io_bit: off
    chip.  And what the machine's family adds (``own_prices``).

    Of ``gates``: mac_busy, mac_turning, mac_still: multiplies by their product and the one before;
    signed_...: the same of operands of either sign, as wide as transformed inputs; direct_...: of
    pixels of either sign, where these are narrower.  stream_step, stream_start: a weight handed
    out, a stream begun.
    input_tile, inverse_tile: through a transform unit.  wire: a bit between buffers and array.
    """
    table = _gate_prices(machine) if machine.energy_table == "gates" else _logic_prices(machine)
    all_memories = memories(machine)
    for name in (name for name in BUFFERS if machine.buffers.memory_of(name) in all_memories):
        memory = all_memories[machine.buffers.memory_of(name)]
        table[f"{name}_read"] = Price(memory.read_pj_per_bit, "pJ/bit", "sram", SRAM_SOURCE)
        table[f"{name}_write"] = Price(memory.write_pj_per_bit, "pJ/bit", "sram", SRAM_SOURCE)
    table |= machine.own_prices()
    table |= _dram_prices(machine)
    for name, price in table.items():
        key = _KEYS.get(name, f"{name}_pj_per_bit" if price.unit == "pJ/bit" else f"{name}_pj")
        pj = getattr(machine.energy, key, None)
        if pj is not None:
            table[name] = replace(price, pj=pj, source=OWN)
    if machine.energy.gated_share is not None:
        gated = machine.energy.gated_share * table["mac"].pj
        table["gated_mac"] = replace(table["gated_mac"], pj=gated, source=OWN)
    return table


def _logic_prices(machine: MachineDescription) -> dict[str, Price]:
    """Arithmetic and registers."""
    a = machine.arithmetic
    node = machine.node_nm
    quoted = machine.energy_table
    logic = f"{ARITHMETIC_TABLES[quoted].source}; {NODE_SOURCE}"
    registers = f"Aladdin; {NODE_SOURCE}"
    scale = node_factor(ENERGY_FACTORS, node)
    mac = mac_pj(quoted, a.number, a.weight_bits, machine.operand_bits, a.accumulator_bits, node)
    active = mac if machine.energy.mac_pj is None else machine.energy.mac_pj
    return {
        "mac": Price(mac, "pJ", "mac", logic),
        "gated_mac": Price(active * GATED_SHARE, "pJ", "mac", "3 % of an active MAC (Sparseloop, MICRO 2022)"),
        "transform_add": Price(add_pj(quoted, a.accumulator_bits, node), "pJ", "transform", logic),
        "register_bit": Price(REGISTER_FILE_PJ_PER_BIT * scale, "pJ/bit", "register", registers),
        "index": Price(REGISTER_FILE_ADDRESS_PJ * scale, "pJ/access", "register", registers),
    }


def _gate_prices(machine: MachineDescription) -> dict[str, Price]:
    """What was measured in gates; the clock is static power (``static_mw``)."""
    a = machine.arithmetic
    scale = node_factor(ENERGY_FACTORS, machine.node_nm)
    source = f"{gates.SOURCE}; {NODE_SOURCE}"
    table: dict[str, Price] = {}
    array = gates.array_costs("stationary" if machine.holds_weights else "streams")
    quoted = mac_pj("horowitz", a.number, a.weight_bits, a.activation_bits, a.accumulator_bits, machine.node_nm)
    multiplies = [("mac", a.activation_bits, False), ("signed", machine.operand_bits, True)]
    if machine.operand_bits != a.activation_bits:
        multiplies.append(("direct", a.activation_bits, True))
    for prefix, bits, signed in multiplies:
        lane = gates.lane_energy(a.weight_bits, bits, a.accumulator_bits, signed)
        for state, pj in (("busy", lane.busy), ("turning", lane.turning), ("still", lane.still)):
            table[f"{prefix}_{state}"] = Price(pj * array.lane_factor * scale, "pJ", "mac", source)
    if a.number != "int":
        published = f"{ARITHMETIC_TABLES['horowitz'].source}, as no floating-point unit was measured; {NODE_SOURCE}"
        table = dict.fromkeys(table, Price(quoted, "pJ", "mac", published))
    if machine.energy.mac_pj is not None:
        table = {name: replace(price, pj=machine.energy.mac_pj, source=OWN) for name, price in table.items()}
    held = Price(0.0, "pJ", "mac", "a lane that waits holds its operands: its clock alone, which is static power")
    return table | {
        "mac": table["mac_busy"],
        "gated_mac": held,
        "stream_step": Price(array.step_pj * scale, "pJ", "register", source),
        "stream_start": Price(array.start_pj * scale, "pJ", "register", source),
        "transform_add": Price(gates.adder_pj(a.accumulator_bits) * scale, "pJ", "transform", source),
        "register_bit": Price(gates.register_bit_pj() * scale, "pJ/bit", "register", source),
        "index": Price(array.step_pj * scale, "pJ/access", "register", source),
        "wire": Price(gates.wire_bit_pj(_side_um(machine)) * scale, "pJ/bit", "register", source),
    }


def _side_um(machine: MachineDescription) -> float:
    """Side of all logic as a square, at 45 nm."""
    mm2 = _logic_mm2(machine) / node_factor(AREA_FACTORS, machine.node_nm)
    return float(1000 * mm2**0.5)


def _dram_prices(machine: MachineDescription) -> dict[str, Price]:
    """Opening rows, reading and writing bits on the DRAM's chips, driving them over the line."""
    dram = machine.dram
    found = {"dram_activate": Price(dram.timing.activate_pj, "pJ/row", "dram", dram_source(machine, "activate_pj"))}
    for way in ("read", "write", "read_io", "write_io"):
        figure = f"{way}_pj_per_bit"
        found[f"dram_{way}_bit"] = Price(getattr(dram.timing, figure), "pJ/bit", "dram", dram_source(machine, figure))
    return found


def dram_source(machine: MachineDescription, figure: str) -> str:
    """Where a figure of the machine's DRAM comes from."""
    dram = machine.dram
    return OWN if figure in dram.own else f"{dram.type}: {dram_sources()[dram.type][figure]}"


def dram_standby_mw(machine: MachineDescription) -> float:
    """Standby of all DRAM, rows open, over the whole run."""
    own = machine.energy.dram_standby_mw
    dram = machine.dram
    return dram.timing.standby_mw * dram.timing.ranks * dram.channels if own is None else own


def dram_refresh_mw(machine: MachineDescription) -> float:
    """Refresh of all DRAM, over the whole run."""
    own = machine.energy.dram_refresh_mw
    dram = machine.dram
    return dram.timing.refresh_mw * dram.timing.ranks * dram.channels if own is None else own


def power_mw(machine: MachineDescription) -> float:
    """All that costs energy by time: static power of the chip, standby and refresh of the DRAM."""
    return static_mw(machine) + dram_standby_mw(machine) + dram_refresh_mw(machine)


def static_mw(machine: MachineDescription) -> float:
    """Leakage and clock of the logic, by area or by what gates say, and leakage of the buffers."""
    leakage = machine.energy.sram_leakage_mw
    if leakage is None:
        leakage = 2 * sum(memory.leakage_mw for memory in memories(machine).values())
    logic = machine.energy.logic_static_mw
    if logic is None and machine.energy_table == "gates":
        logic = leakage_mw(machine) + clock_pj(machine) * machine.clock_mhz / 1000  # pJ x MHz = uW
    elif logic is None:
        logic = STATIC_MW_PER_LANE_45NM * machine.lanes * node_factor(AREA_FACTORS, machine.node_nm)
        logic += STATIC_MW_PER_MM2 * machine.around_lanes_mm2
    return leakage + logic


def flip_flops(machine: MachineDescription) -> float:
    """Bits of registers of lanes, streams, control and units beside the lanes."""
    array = gates.array_costs("stationary" if machine.holds_weights else "streams")
    lane = gates.lane_flip_flops(machine.operand_bits, machine.arithmetic.accumulator_bits) + array.lane_bits
    return machine.lanes * lane + machine.streams * array.stream_bits + array.control_bits + machine.unit_register_bits


def clock_pj(machine: MachineDescription) -> float:
    """Energy of a clock cycle, whatever is done in it.

    The clock of every flip-flop, and the array's control.
    """
    array = gates.array_costs("stationary" if machine.holds_weights else "streams")
    scale = node_factor(ENERGY_FACTORS, machine.node_nm)
    return (flip_flops(machine) * gates.clock_bit_pj() + array.cycle_pj) * scale


def leakage_mw(machine: MachineDescription) -> float:
    """Leakage of all logic, by its area."""
    return gates.leakage_mw_per_mm2() * _logic_mm2(machine)


def _logic_mm2(machine: MachineDescription) -> float:
    """Area of all but the buffers."""
    buffers = {f"{name}_buffer" for name in memories(machine)}
    return sum(area.mm2 for name, area in areas(machine).items() if name not in buffers)


def static_source(machine: MachineDescription) -> str:
    """Where the static power comes from: of the buffers; of the logic."""
    buffers = SRAM_SOURCE if machine.energy.sram_leakage_mw is None else OWN
    measured = f"clock and leakage of {gates.SOURCE}; {NODE_SOURCE}"
    logic = measured if machine.energy_table == "gates" else STATIC_SOURCE
    if machine.energy.logic_static_mw is not None:
        logic = OWN
    return f"buffers: {buffers}; logic: {logic}"


def areas(machine: MachineDescription) -> dict[str, Area]:
    """Area of each part by name, overrides applied.

    Lanes, buffers, and what the machine's family adds.
    """
    parts = _gate_areas(machine) if machine.energy_table == "gates" else _lane_areas(machine)
    for name, memory in memories(machine).items():
        parts[f"{name}_buffer"] = Area(2 * memory.area_mm2, SRAM_SOURCE)
    parts |= machine.own_areas()
    for name in parts:
        mm2 = getattr(machine.area, f"{name}_mm2", None)
        if mm2 is not None:
            parts[name] = Area(mm2, OWN)
    return parts


def _lane_areas(machine: MachineDescription) -> dict[str, Area]:
    """Lanes alone, counted in cells."""
    a = machine.arithmetic
    lane_um2 = mac_um2(a.weight_bits, machine.operand_bits, a.accumulator_bits, machine.node_nm)
    return {"lanes": Area(machine.lanes * lane_um2 / 1e6, LOGIC_AREA_SOURCE)}


def _gate_areas(machine: MachineDescription) -> dict[str, Area]:
    """Lanes, their streams and their control, as mapped."""
    a = machine.arithmetic
    scale = node_factor(AREA_FACTORS, machine.node_nm) / 1e6
    array = gates.array_costs("stationary" if machine.holds_weights else "streams")
    lane = gates.lane_um2(a.weight_bits, machine.operand_bits, a.accumulator_bits) + array.lane_um2
    source = f"{gates.SOURCE.partition(',')[0]}; {NODE_SOURCE}"
    return {
        "lanes": Area(machine.lanes * lane * scale, source),
        "streams": Area(machine.streams * array.stream_um2 * scale, source),
        "control": Area(array.control_um2 * scale, source),
    }


def area_mm2(machine: MachineDescription) -> float:
    """Area of all parts together."""
    return float(sum(area.mm2 for area in areas(machine).values()))
