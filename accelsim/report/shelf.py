"""What comes with the package, listed, with its sources.

Machines, compressed models, tables of layers.

A machine's source is the line ``# Source:`` of the comment that opens its file, a model's stands in
the card beside it, a table's in the ``README.md`` of its folder.  What has none, such as a file of
the user's own, is listed without.
"""

from pathlib import Path
from typing import Any

from accelsim import shipped
from accelsim.dual.file import read_manifest
from accelsim.files import MACHINE, MODEL_CARD, read_text
from accelsim.hardware.energy import area_mm2
from accelsim.simulator.machines.load import load_hardware
from accelsim.workload import load_table


def machine_rows() -> list[dict[str, Any]]:
    """One row a machine: ``name, kind, lanes, clock_mhz, sram_bytes, bandwidth_gbs, area_mm2, description, file,
    origin, source``.

    file: to copy for a machine of one's own.  origin: the paper or chip that it follows.  source:
    the whole comment that opens its file, which says where each figure comes from.
    """
    rows = []
    for name, path in shipped.known("hwconfigs").items():
        machine = load_hardware(path)
        source, origin = _opening_comment(read_text(path, MACHINE))
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
                "origin": origin,
                "source": source,
            }
        )
    return rows


def model_rows() -> list[dict[str, Any]]:
    """One row a model: ``name, network, parameters, file_bytes, compression_ratio, accuracy, weights, licence``.

    weights: where they come from; licence: of these.  Nothing is decoded.
    """
    rows = []
    for name, path in shipped.known("models").items():
        manifest, file_bytes = read_manifest(path)
        card = _table_cells(path.with_suffix(".md"))
        rows.append(
            {
                "name": name,
                "network": manifest.graph.name,
                "parameters": manifest.parameters,
                "file_bytes": file_bytes,
                "compression_ratio": 4 * manifest.parameters / file_bytes,
                "accuracy": dict(manifest.accuracy),
                "weights": " ".join(card.get("weights", ())),
                "licence": " ".join(card.get("licence", ())),
            }
        )
    return rows


def table_rows() -> list[dict[str, Any]]:
    """One row a table of layers: ``name, layers, weights, source``; source.

    Of its shapes and its zeros.
    """
    rows = []
    for name, path in shipped.known("workloads").items():
        table = load_table(path)
        cells = _table_cells(path.with_name("README.md")).get(name, [])
        published = [f"zeros {cell}" for cell in cells[1:] if cell != "none"]
        rows.append(
            {
                "name": name,
                "layers": len(table.layers),
                "weights": table.parameters,
                "source": "; ".join([*cells[:1], *published]),
            }
        )
    return rows


def _opening_comment(text: str) -> tuple[str, str]:
    """The comment lines that a machine's file begins with, as one line, and what stands in ``# Source:`` of these."""
    lines = []
    origin = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.removeprefix("#").strip()
        if words.startswith("Source: "):
            origin = words.removeprefix("Source: ")
        lines.append(words)
    return " ".join(lines), origin


def _table_cells(path: Path) -> dict[str, list[str]]:
    """Rows of a page's Markdown tables by their first cell; without the backquotes.

    Nothing if there is no page.
    """
    if not path.is_file():
        return {}
    text = read_text(path, MODEL_CARD).replace("`", "")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {name: cells for name, *cells in rows}
