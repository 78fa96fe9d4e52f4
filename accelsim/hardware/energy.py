"""The price list and the area of a machine: what each action costs, what each part covers, and where figures come from.

Energy is the dot product of a layer's action counts and the prices, plus power (static, and the DRAM's) x time.
"""

from dataclasses import replace

from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import DRAM_SOURCES
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

# 30 mW for the 168 lanes of Eyeriss at 65 nm (calibration published with its energy model); scales with area.
STATIC_MW_PER_LANE_45NM = 30 / 168 / AREA_FACTORS[65]
# The same over the 12.25 mm2 of that chip's core, for what stands around the lanes beyond their plain form.
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
    """The machine's global buffers by name, each one half of its double buffer as one bank."""
    buffers = machine.buffers
    present = [name for name in BUFFERS if buffers.sizes_kb.get(name)]
    half_bytes = {name: max(1, int(buffers.half_bytes(name))) for name in present}
    return {name: sram(machine.node_nm, size, buffers.port_bits) for name, size in half_bytes.items()}


def prices(machine: MachineDescription) -> dict[str, Price]:
    """Price of each action by name, overrides applied.

    mac, gated_mac: a multiply-accumulate, active and gated.  transform_add: an addition of a transform unit.
    register_bit: a bit read from or written to an operand register.  index: the address of a skipped-to operand.
    weight_read, weight_write, input_read, ...: a bit of a global buffer.  dram_activate, dram_read_bit,
    dram_write_bit, dram_read_io_bit, dram_write_io_bit: off chip.  And what the machine's family adds (``own_prices``).
    """
    table = _logic_prices(machine)
    for name, memory in memories(machine).items():
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
    logic = f"{ARITHMETIC_TABLES[a.table].source}; {NODE_SOURCE}"
    registers = f"Aladdin; {NODE_SOURCE}"
    scale = node_factor(ENERGY_FACTORS, node)
    mac = mac_pj(a.table, a.number, a.weight_bits, machine.operand_bits, a.accumulator_bits, node)
    active = mac if machine.energy.mac_pj is None else machine.energy.mac_pj
    return {
        "mac": Price(mac, "pJ", "mac", logic),
        "gated_mac": Price(active * GATED_SHARE, "pJ", "mac", "3 % of an active MAC (Sparseloop, MICRO 2022)"),
        "transform_add": Price(add_pj(a.table, a.accumulator_bits, node), "pJ", "transform", logic),
        "register_bit": Price(REGISTER_FILE_PJ_PER_BIT * scale, "pJ/bit", "register", registers),
        "index": Price(REGISTER_FILE_ADDRESS_PJ * scale, "pJ/access", "register", registers),
    }


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
    return OWN if figure in dram.own else f"{dram.type}: {DRAM_SOURCES[dram.type][figure]}"


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
    """Leakage and clock of the logic, by area, and leakage of the buffers."""
    leakage = machine.energy.sram_leakage_mw
    if leakage is None:
        leakage = 2 * sum(memory.leakage_mw for memory in memories(machine).values())
    logic = machine.energy.logic_static_mw
    if logic is None:
        logic = STATIC_MW_PER_LANE_45NM * machine.lanes * node_factor(AREA_FACTORS, machine.node_nm)
        logic += STATIC_MW_PER_MM2 * machine.around_lanes_mm2
    return leakage + logic


def static_source(machine: MachineDescription) -> str:
    """Where the static power comes from: of the buffers; of the logic."""
    buffers = SRAM_SOURCE if machine.energy.sram_leakage_mw is None else OWN
    logic = STATIC_SOURCE if machine.energy.logic_static_mw is None else OWN
    return f"buffers: {buffers}; logic: {logic}"


def areas(machine: MachineDescription) -> dict[str, Area]:
    """Area of each part by name, overrides applied: lanes, buffers, and what the machine's family adds."""
    a = machine.arithmetic
    lane_um2 = mac_um2(a.weight_bits, machine.operand_bits, a.accumulator_bits, machine.node_nm)
    parts = {"lanes": Area(machine.lanes * lane_um2 / 1e6, LOGIC_AREA_SOURCE)}
    for name, memory in memories(machine).items():
        parts[f"{name}_buffer"] = Area(2 * memory.area_mm2, SRAM_SOURCE)
    parts |= machine.own_areas()
    for name in parts:
        mm2 = getattr(machine.area, f"{name}_mm2", None)
        if mm2 is not None:
            parts[name] = Area(mm2, OWN)
    return parts


def area_mm2(machine: MachineDescription) -> float:
    """Area of all parts together."""
    return float(sum(area.mm2 for area in areas(machine).values()))
