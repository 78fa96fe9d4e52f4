"""What comes with the package, listed: machines, compressed models, tables of layers."""

from typing import Any

from accelsim import shipped
from accelsim.dual.file import read_manifest
from accelsim.files import MACHINE, read_text
from accelsim.hardware.energy import area_mm2
from accelsim.simulator.machines.load import load_hardware
from accelsim.workload import load_table


def machine_rows() -> list[dict[str, Any]]:
    """One row a machine: ``name, kind, lanes, clock_mhz, sram_bytes, bandwidth_gbs, area_mm2, description, file,
    source``.

    file: to copy for a machine of one's own.  source: the comment that opens it, which says where its figures come
    from.
    """
    rows = []
    for name, path in shipped.known("hwconfigs").items():
        machine = load_hardware(path)
        rows.append(
            {
                "name": name,
                "kind": machine.kind,
                "lanes": machine.lanes,
                "clock_mhz": machine.clock_mhz,
                "sram_bytes": machine.sram_bytes,
                "bandwidth_gbs": machine.dram.timing.bandwidth_gbs * machine.dram.channels,
                "area_mm2": area_mm2(machine),
                "description": machine.description,
                "file": str(path),
                "source": _opening_comment(read_text(path, MACHINE)),
            }
        )
    return rows


def model_rows() -> list[dict[str, Any]]:
    """One row a model: ``name, network, parameters, file_bytes, compression_ratio, accuracy``; nothing is decoded."""
    rows = []
    for name, path in shipped.known("models").items():
        manifest, file_bytes = read_manifest(path)
        rows.append(
            {
                "name": name,
                "network": manifest.graph.name,
                "parameters": manifest.parameters,
                "file_bytes": file_bytes,
                "compression_ratio": 4 * manifest.parameters / file_bytes,
                "accuracy": dict(manifest.accuracy),
            }
        )
    return rows


def table_rows() -> list[dict[str, Any]]:
    """One row a table of layers: ``name, layers, weights``."""
    tables = {name: load_table(path) for name, path in shipped.known("workloads").items()}
    return [{"name": name, "layers": len(t.layers), "weights": t.parameters} for name, t in tables.items()]


def _opening_comment(text: str) -> str:
    """The comment lines that a file begins with, as one line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)
