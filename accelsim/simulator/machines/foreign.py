"""Machine files of other simulators, as far as they say what ours say.

Array, buffers, bandwidth, dataflow.

SCALE-Sim's ``.cfg``: a systolic array; buffers in KB, each double-buffered there as here;
``Bandwidth`` in words of one byte a cycle where ``InterfaceBandwidth`` is USER, else memory that
never holds up.  Addresses and lengths of request queues say nothing here.  ZigZag's YAML:
``operational_array`` of two dimensions and ``memories`` in bits, the outermost the DRAM; an
operand's buffer is all on-chip memory that it has, shared memory in equal parts, registers of each
multiplier times their number.  Multipliers that hold weights of their own make the array
weight-stationary, else it is output-stationary (ZigZag leaves that to its mapping file).  Neither
file has a clock or a node: 1 GHz, so that bytes a cycle are GB/s, and 28 nm.  Energies, areas,
unrollings and rates of memories on the chip that a ZigZag file states are not taken, which the
machine's description says: prices are ours, our search chooses the loops, and our buffers are
double-buffered and give what the lanes ask for.  What else such a file says is refused by name.
"""

from collections.abc import Collection, Mapping, Sequence
from configparser import ConfigParser, Error
from math import prod
from typing import Any

from accelsim.errors import InputError
from accelsim.faults import nearest
from accelsim.settings import PLAIN_NUMBER

DATAFLOWS = {"os": "output_stationary", "ws": "weight_stationary", "is": "input_stationary"}
BUFFERS = {"FilterSramSzkB": "weight_kb", "IfmapSramSzkB": "input_kb", "OfmapSramSzkB": "output_kb"}
# Of SCALE-Sim: addresses, queues and bank counts, which change nothing that this simulator has.
LAYOUT = {
    f"{operand}{key}"
    for operand in ("ifmap", "filter")
    for key in ("customlayout", "srambankbandwidth", "srambanknum", "srambankport")
}
WITHOUT_MEANING = LAYOUT | {
    *("ifmapoffset", "filteroffset", "ofmapoffset"),
    *("memorybanks", "readrequestbuffer", "writerequestbuffer"),
}
# and the keys of each but the array's, which are told apart one by one
SECTIONS: dict[str, set[str]] = {
    "general": {"run_name"},
    "architecture_presets": set(),
    "run_presets": {"interfacebandwidth", "useramulatortrace"},
    "network_presets": {"topologycsvloc"},
    "sparsity": {"sparsitysupport", "sparserep", "optimizedmapping", "blocksize", "randomnumbergeneratorseed"},
    "layout": LAYOUT,
}
MOST = 1e18  # beyond which no key of such a file can be meant
OPERANDS = {"I2": "weight_kb", "I1": "input_kb", "O": "output_kb"}
OF_A_MEMORY = {
    *("size", "r_bw", "w_bw", "r_cost", "w_cost", "area", "latency", "mem_type"),
    *("r_port", "w_port", "rw_port", "ports", "operands", "served_dimensions"),
    *("min_r_granularity", "min_w_granularity", "auto_cost_extraction", "double_buffering"),
}
OF_THE_ARRAY = {
    *("dimensions", "sizes", "input_precision"),
    *("unit_energy", "unit_area", "multiplier_energy", "multiplier_area"),
}
COMMON: Mapping[str, Any] = {
    "kind": "spatial",
    "clock_mhz": 1000,
    "node_nm": 28,
    "zero_handling": "none",
    "weight_format": "dense",
}


def scale_sim_keys(text: str) -> dict[str, Any]:
    """The keys of a machine from the text of SCALE-Sim's ``.cfg``.

    Raises InputError naming the section, key and value at fault.
    """
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except Error as error:
        raise InputError(f"no SCALE-Sim configuration: {str(error).splitlines()[0][:120]}") from None
    section = "architecture_presets"
    if not parser.has_section(section):
        raise InputError(f"has no section [{section}], expected SCALE-Sim's configuration")
    _refuse_unknown_sections(parser)
    _refuse_sparsity_and_layout(parser)
    found = dict(parser[section])
    rows, cols = (_count(section, key, found.pop(key.lower(), None)) for key in ("ArrayHeight", "ArrayWidth"))
    buffers = {ours: _count(section, key, found.pop(key.lower(), None)) for key, ours in BUFFERS.items()}
    dataflow = found.pop("dataflow", "").strip().lower()
    if dataflow not in DATAFLOWS:
        raise InputError(f"[{section}] Dataflow: {dataflow!r}, expected one of {', '.join(DATAFLOWS)}")
    bandwidth = found.pop("bandwidth", None)
    unknown = [key for key in found if key not in WITHOUT_MEANING]
    if unknown:
        raise InputError(f"[{section}] {unknown[0]}: unknown key{nearest(unknown[0], [*map(str.lower, BUFFERS)])}")
    stated = parser.get("run_presets", "InterfaceBandwidth", fallback="").strip().upper()
    if stated not in {"USER", "CALC"}:
        raise InputError(
            f"[run_presets] InterfaceBandwidth: {repr(stated[:40]) if stated else 'missing'}, expected USER or CALC"
        )
    rate = {"bandwidth_gbs": _number(section, "Bandwidth", bandwidth)} if stated == "USER" else {}
    return {
        **COMMON,
        "description": "systolic array of a SCALE-Sim configuration",
        "dataflow": DATAFLOWS[dataflow],
        "pe_array": {"rows": rows, "cols": cols, "feed": "systolic"},
        "buffers": buffers,
        "dram": {"type": "ideal", **rate},
    }


def _refuse_unknown_sections(parser: ConfigParser) -> None:
    """Raises InputError naming a section, or a key of one, that nobody here reads."""
    if parser.defaults():
        raise InputError("[DEFAULT]: unknown section, expected keys in the sections that they belong to")
    for name in parser.sections():
        if name not in SECTIONS:
            raise InputError(f"[{name[:60]}]: unknown section{nearest(name, SECTIONS)}")
        known = SECTIONS[name]
        for key in parser[name] if known else ():
            if key not in known:
                raise InputError(f"[{name}] {key[:60]}: unknown key{nearest(key, known)}")


def _refuse_sparsity_and_layout(parser: ConfigParser) -> None:
    """Raises InputError where the file asks for what changes SCALE-Sim's times and has no counterpart here."""
    for section, key in (
        ("sparsity", "SparsitySupport"),
        ("layout", "IfmapCustomLayout"),
        ("layout", "FilterCustomLayout"),
        ("architecture_presets", "IfmapCustomLayout"),
        ("architecture_presets", "FilterCustomLayout"),
        ("run_presets", "UseRamulatorTrace"),
    ):
        stated = parser.get(section, key, fallback="False").strip()
        if stated.lower() != "false":
            raise InputError(f"[{section}] {key}: {stated[:40]!r} is not known here, expected False")


def zigzag_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a machine from ZigZag's hardware file, parsed.

    Raises InputError naming the key and value at fault.
    """
    if unknown := set(data) - {"name", "memories", "operational_array", "dataflows"}:
        raise InputError(f"{sorted(map(str, unknown))[0][:60]}: unknown key, expected memories and operational_array")
    array = data.get("operational_array")
    memories = data.get("memories")
    if not isinstance(array, Mapping) or not isinstance(memories, Mapping) or len(memories) < 2:
        raise InputError("memories, operational_array: expected an array and at least two memories, the last the DRAM")
    extents = _extents(array)
    rows, cols = extents.values()
    if not isinstance(data.get("name", ""), str):
        raise InputError(f"name: {str(data['name'])[:60]}, expected a text")
    *on_chip, (outermost, dram) = (
        (str(name), _memory(str(name), memory, extents)) for name, memory in memories.items()
    )
    for operand in OPERANDS:
        if operand not in dram["operands"]:
            raise InputError(
                f"memories.{outermost}.operands: lacks {operand}, expected the DRAM last, with all operands"
            )
    buffers = {ours: _kilobytes(operand, on_chip, extents) for operand, ours in OPERANDS.items()}
    holds = any("I2" in memory["operands"] and not memory["served_dimensions"] for _, memory in on_chip)
    return {
        **COMMON,
        "description": "array of a ZigZag file, whose prices, rates on the chip and order of loops are not taken",
        "dataflow": "weight_stationary" if holds else "output_stationary",
        "pe_array": {"rows": rows, "cols": cols},
        "buffers": buffers,
        "dram": {"type": "ideal", "bandwidth_gbs": _bandwidth(outermost, dram) / 8},
        **({"name": data["name"]} if "name" in data else {}),
    }


def _extents(array: Mapping[str, Any]) -> dict[str, int]:
    """The array's two dimensions and how many multipliers each has."""
    if unknown := [key for key in array if key not in OF_THE_ARRAY]:
        raise InputError(
            f"operational_array.{str(unknown[0])[:60]}: unknown key{nearest(str(unknown[0]), OF_THE_ARRAY)}"
        )
    dimensions = array.get("dimensions")
    sizes = array.get("sizes")
    names = _names("operational_array.dimensions", dimensions, None)
    if len(names) != 2:
        raise InputError(f"operational_array.dimensions: {str(dimensions)[:60]}, expected two, D1 and D2")
    if not isinstance(sizes, list) or len(sizes) != 2:
        raise InputError(f"operational_array.sizes: {str(sizes)[:60]}, expected two, of dimensions D1 and D2")
    if array.get("input_precision", [8, 8]) != [8, 8]:
        stated = str(array["input_precision"])[:40]
        raise InputError(f"operational_array.input_precision: {stated}, expected [8, 8], or widths under arithmetic:")
    return {name: _count("operational_array", "sizes", size) for name, size in zip(names, sizes, strict=True)}


def _names(key: str, listed: Any, known: Collection[str] | None) -> list[str]:
    """A list of different names, of some that are known or of any."""
    expected = "names" if known is None else f"some of {', '.join(known)}"
    if not isinstance(listed, list) or any(not isinstance(name, str) for name in listed):
        raise InputError(f"{key}: {str(listed)[:60]}, expected {expected}")
    if len(set(listed)) != len(listed) or (known is not None and not set(listed) <= set(known)):
        raise InputError(f"{key}: {str(listed)[:60]}, expected {expected}, each once")
    return listed


def _memory(name: str, memory: Any, extents: Mapping[str, int]) -> dict[str, Any]:
    """A memory of ZigZag's with its operands and the array's dimensions that it serves."""
    if not isinstance(memory, Mapping):
        raise InputError(f"memories.{name}: {str(memory)[:60]!r}, expected keys of a memory")
    if unknown := [key for key in memory if key not in OF_A_MEMORY]:
        raise InputError(f"memories.{name}.{str(unknown[0])[:60]}: unknown key{nearest(str(unknown[0]), OF_A_MEMORY)}")
    if (latency := memory.get("latency", 1)) != 1:
        raise InputError(f"memories.{name}.latency: {str(latency)[:40]}, expected 1 cycle, which memories here take")
    served = _names(f"memories.{name}.served_dimensions", memory.get("served_dimensions"), extents)
    operands = _names(f"memories.{name}.operands", memory.get("operands"), sorted(OPERANDS))
    if not operands:
        raise InputError(f"memories.{name}.operands: none, expected some of {', '.join(sorted(OPERANDS))}")
    return {**memory, "served_dimensions": served, "operands": operands}


def _kilobytes(
    operand: str,
    memories: Sequence[tuple[str, Mapping[str, Any]]],
    extents: Mapping[str, int],
) -> float:
    """KB that an operand has on the chip.

    Its part of each memory, times how many of it there are.
    """
    bits = 0.0
    for name, memory in memories:
        users = memory["operands"]
        if operand in users:
            count = prod(size for dimension, size in extents.items() if dimension not in memory["served_dimensions"])
            bits += _count(f"memories.{name}", "size", memory.get("size")) * count / len(users)
    if not bits:
        raise InputError(f"memories: none on the chip holds {operand}, expected one for each of I1, I2 and O")
    return bits / 8 / 1024


def _bandwidth(name: str, memory: Mapping[str, Any]) -> float:
    """Bits that a memory gives or takes a cycle.

    Of the old files' ``r_bw``, which is a port's, or of the ports of the new ones.  Raises
    InputError if it has several rates, or several ports of one way.
    """
    if "r_bw" in memory and "ports" in memory:
        raise InputError(f"memories.{name}.ports: beside r_bw, expected one of them")
    counts = [_number(f"memories.{name}", key, memory.get(key, 0)) for key in ("r_port", "w_port", "rw_port")]
    if counts not in ([0, 0, 0], [0, 0, 1], [1, 1, 0]):
        listed = ", ".join(f"{count:g}" for count in counts)
        raise InputError(f"memories.{name}: r_port, w_port, rw_port {listed}, expected 0, 0, 1 or 1, 1, 0")
    if "r_bw" in memory:
        rates = [_number(f"memories.{name}", key, memory[key]) for key in ("r_bw", "w_bw") if key in memory]
        if min(rates) < max(rates):
            raise InputError(f"memories.{name}.w_bw: {rates[1]:g}, expected r_bw's {rates[0]:g}: one rate both ways")
        return rates[0]
    ports = memory.get("ports")
    if not isinstance(ports, list) or not ports or not all(isinstance(port, Mapping) for port in ports):
        raise InputError(f"memories.{name}.ports: {str(ports)[:60]}, expected ports with a bandwidth_max")
    rates = [_number(f"memories.{name}", "ports.bandwidth_max", port.get("bandwidth_max")) for port in ports]
    if min(rates) < max(rates):
        listed = ", ".join(f"{rate:g}" for rate in rates[:8])
        raise InputError(f"memories.{name}.ports: bandwidth_max {listed}, expected one rate of all")
    return rates[0]


def _count(section: str, key: str, value: Any) -> int:
    """A whole number of at least 1."""
    number = _number(section, key, value)
    if number != int(number) or number < 1:
        raise InputError(f"{section}: {key}: {str(value)[:40]!r}, expected a whole number of at least 1")
    return int(number)


def _number(section: str, key: str, value: Any) -> float:
    """A number, or a text that is one; InputError names the key and what stands there."""
    text = str(value).strip()
    number = float(text) if PLAIN_NUMBER.fullmatch(text) else None
    if number is None or abs(number) > MOST:
        found = "missing" if value is None else repr(text[:40])
        raise InputError(
            f"{section}: {key}: {found}, expected a number{'' if number is None else ' that can be meant'}"
        )
    return number
