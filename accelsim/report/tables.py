"""A comparison as CSV files.

One a machine with its layers, and ``totals.csv`` with one row a machine.

``totals.csv`` also holds what plots need to know of the model and the machines, so that a report
can be made again from the CSV files alone.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.csv_rows import csv_rows
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.files import RESULTS, read_text
from accelsim.names import cell, from_cell
from accelsim.report.layer_facts import DENSITIES, layer_facts
from accelsim.report.plain import to_json
from accelsim.results_folder import COMPARISON
from accelsim.settings import PLAIN_NUMBER
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.planning import OCCUPANCY
from accelsim.simulator.result import ENERGY_COLUMNS, Result
from accelsim.workload import LayerTable

TOTALS = COMPARISON.file
MACHINES = "machines.json"

TEXT = ("machine", "layers_csv", "model", "engine", "settings", "sha256")
FACTS = ("batch", "parameters", "file_bytes", "lanes", "sram_bytes", "clock_mhz", "dram_bytes_per_cycle")
WHOLE = ("latency_ms", "area_mm2", "power_mw")
# columns that layers have where they ran as a network
PLACES = ("input_place", "output_place", "weight_place")
LAYER_TEXT = ("name", "kind", "mode", "bound")
FIGURES = (  # those that a report shows; the tables hold all that the simulator says
    *("cycles", "compute_cycles", "stall_cycles", "dense_macs", "effectual_macs", "utilization"),
    *("dram_read_bytes", "dram_write_bytes", "dram_weight_bytes", "dram_input_bytes", "dram_output_bytes"),
    *("sram_read_bytes", "sram_write_bytes", *ENERGY_COLUMNS),
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several results of one model.

    totals: one row a machine with the columns ``TEXT``, ``FACTS``, ``FIGURES`` and ``WHOLE`` (and
    others).
    layers: by machine, one row a layer with ``LAYER_TEXT`` and ``FIGURES`` (and others, as
    ``layer_facts.COLUMNS``).
    settings: by machine, its whole description, defaults included; empty where a folder does not
    hold them.
    """

    totals: pd.DataFrame
    layers: Mapping[str, pd.DataFrame]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def placed(self) -> bool:
        """Whether the layers ran as a network, and their tables say where maps lay."""
        return all({*PLACES, *OCCUPANCY} <= set(table.columns) for table in self.layers.values())

    @property
    def machines(self) -> list[str]:
        """Names of the machines, in order."""
        return [str(name) for name in self.totals["machine"]]


def gather(
    model: DualModel | LayerTable,
    machines: Sequence[Machine],
    results: Sequence[Result],
    batch: int = 1,
    overrides: Sequence[str] = (),
    command: str = "",
) -> Comparison:
    """The results of ``machines``, in the same order, with what a report says about model and machines.

    command: what was typed to get them, where that is known.
    """
    rows = []
    files: set[str] = set()
    for machine, result in zip(machines, results, strict=True):
        dram_gbs = machine.dram.timing.bandwidth_gbs * machine.dram.channels
        facts = {
            "machine": result.machine,
            "layers_csv": _file_name(result.machine, files),
            "model": result.model,
            "engine": result.engine,
            "level": result.level,
            "settings": "; ".join(overrides),
            "command": command,
            "sha256": model.sha256,
            "batch": batch,
            "parameters": model.parameters,
            "file_bytes": model.file_bytes,
            "lanes": machine.lanes,
            "sram_bytes": machine.sram_bytes,
            "clock_mhz": machine.clock_mhz,
            "dram_bytes_per_cycle": dram_gbs * machine.ns_per_cycle,
        }
        rows.append(facts | result.total.drop(["name", "kind", "mode", "tiling", "loop_order"]).to_dict())
    settings = {r.machine: m.model_dump(mode="json") for m, r in zip(machines, results, strict=True)}
    facts_of_layers = layer_facts(model)
    layers = {r.machine: pd.concat([r.layers, facts_of_layers], axis=1) for r in results}
    return Comparison(pd.DataFrame(rows), layers, settings)


def _file_name(machine: str, taken: set[str]) -> str:
    """A file name for the machine's layers that no other machine has."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", machine).strip("._") or "machine"
    name = f"{stem}.csv"
    number = 1
    while name in taken or name == TOTALS:
        number += 1
        name = f"{stem}_{number}.csv"
    taken.add(name)
    return name


def to_csv(comparison: Comparison) -> dict[str, bytes]:
    """Content of each CSV file by its name, and of the machines' descriptions as JSON."""
    files = {TOTALS: _csv(comparison.totals)}
    if comparison.settings:
        files[MACHINES] = f"{to_json(comparison.settings)}\n".encode()
    for row in comparison.totals.itertuples():
        files[str(row.layers_csv)] = _csv(comparison.layers[str(row.machine)])
    return files


def read_csv(folder: Path) -> Comparison:
    """The comparison in a folder that ``accelsim compare -o`` wrote.

    Raises InputError naming the file and the column if one is missing or holds something else than
    it should.
    """
    totals = _read(folder / TOTALS, TEXT, (*FACTS, *FIGURES, *WHOLE))
    layers: dict[str, pd.DataFrame] = {}
    for row in totals.itertuples():
        name = str(row.layers_csv)
        machine = str(row.machine)
        if Path(name).name != name or name in {"", ".", ".."}:
            raise InputError(f"{folder / TOTALS}: layers_csv is {name!r}, expected the name of a file beside it")
        if machine in layers:
            raise InputError(f"{folder / TOTALS}: machine {machine!r} is there twice, expected once")
        layers[machine] = _read(folder / name, LAYER_TEXT, FIGURES)
    names = [list(table["name"]) for table in layers.values()]
    if any(other != names[0] for other in names):
        raise InputError(f"{folder}: the machines' layers differ, expected the results of one comparison")
    return Comparison(totals, layers, _read_settings(folder / MACHINES, list(layers)))


def _read_settings(path: Path, machines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The machines' descriptions, none if the file is missing.

    Raises InputError if it holds something else.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(read_text(path, RESULTS))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON, expected the descriptions of {', '.join(machines)}") from None
    if not isinstance(content, dict) or list(content) != machines or not all(map(_is_record, content.values())):
        raise InputError(f"{path}: expected one description each of {', '.join(machines)}")
    return content


def _is_record(value: object) -> bool:
    return isinstance(value, dict)


def older_files(folder: Path) -> list[str]:
    """The tables of the report that a folder holds, by name; none if it holds no sound one."""
    try:
        return [
            TOTALS,
            MACHINES,
            *(name for name in _read(folder / TOTALS, TEXT, ())["layers_csv"] if Path(name).name == name),
        ]
    except InputError:
        return []


def _csv(table: pd.DataFrame) -> bytes:
    """The table as CSV, its texts as cells that are no formulas."""
    texts = table.select_dtypes(exclude="number").columns
    shown = table.assign(
        **{column: table[column].map(lambda v: cell(v) if isinstance(v, str) else v) for column in texts}
    )
    return shown.to_csv(index=False, lineterminator="\n").encode()


def _read(path: Path, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """A table with these columns, the numbers finite except for an unlimited bandwidth."""
    (_, header), *rows = csv_rows(path, read_text(path, RESULTS)) or [(1, [])]
    if missing := [column for column in (*text, *numbers) if column not in header]:
        raise InputError(f"{path}: no column {missing[0]!r} ({len(missing)} missing in all)")
    if twice := [column for column in dict.fromkeys(header) if header.count(column) > 1]:
        raise InputError(f"{path}: column {twice[0][:60]!r} is there twice, expected once")
    if not rows:
        raise InputError(f"{path}: no rows, expected at least one")
    for number, cells in rows:
        if len(cells) != len(header):
            raise InputError(f"{path}: row {number}: {len(cells)} cells, the header has {len(header)}")
    columns: dict[str, Sequence[Any]] = {}
    for i, column in enumerate(header):
        found = [cells[i] for _, cells in rows]
        if column in numbers or (column in OCCUPANCY and numbers):
            columns[column] = [_number(path, number, column, cells[i]) for number, cells in rows]
        elif column in DENSITIES:  # empty where there are no such weights
            columns[column] = [float(value) if PLAIN_NUMBER.fullmatch(value) else float("nan") for value in found]
        elif column in text or column == "shape":
            columns[column] = [from_cell(value) for value in found]
        else:
            columns[column] = _as_numbers(found)
    return pd.DataFrame(columns)


def _number(path: Path, row: int, column: str, value: str) -> int | float:
    """A cell as a number of 0 or more, infinite for an unlimited bandwidth alone.

    Raises InputError if it is none.
    """
    unlimited = column == "dram_bytes_per_cycle" and value == "inf"
    if not unlimited and not (PLAIN_NUMBER.fullmatch(value) and 0 <= float(value) < float("inf")):
        raise InputError(f"{path}: row {row}, column {column!r}: {value[:40]!r}, expected a number of 0 or more")
    return int(value) if value.isdigit() and len(value) < 19 else float(value)


def _as_numbers(cells: Sequence[str]) -> Sequence[Any]:
    """Cells as numbers if all of them are, else as they are."""
    if not all(PLAIN_NUMBER.fullmatch(value) for value in cells):
        return cells
    whole = all(value.isdigit() and len(value) < 19 for value in cells)
    return [int(value) if whole else float(value) for value in cells]
