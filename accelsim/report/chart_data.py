"""What a comparison's page draws, as plain data.

Machines, totals, each layer's run on each machine, the roofline.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from accelsim.names import visible
from accelsim.report.glossary import GLOSSARY
from accelsim.report.tables import Comparison


def page_data(comparison: Comparison) -> dict[str, Any]:
    """What the script draws.

    Machines, their totals, each layer's run on each machine, points of the roofline.
    """
    totals = [row for _, row in comparison.totals.iterrows()]
    tables = [comparison.layers[machine] for machine in comparison.machines]
    layers = [
        {
            "name": visible(str(rows[0]["name"])),
            "kind": visible(str(rows[0]["kind"])),
            "runs": [_run(row) for row in rows],
        }
        for rows in zip(*(table.to_dict(orient="records") for table in tables), strict=True)
    ]
    return {
        "machines": [visible(machine) for machine in comparison.machines],
        "groups": [visible(machine) for machine in comparison.machines],
        "totals": [_run(row.to_dict()) for row in totals],
        "layers": layers,
        "words": {column: column.replace("_", " ") for column in GLOSSARY},
        "roofline": {"points": _roofline_points(comparison, layers), "roofs": _roofs(comparison.totals)},
    }


def _run(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One run's columns, texts as they are shown, and its DRAM traffic."""
    shown = {str(key): visible(value) if isinstance(value, str) else value for key, value in row.items()}
    return shown | {"dram_bytes": row["dram_read_bytes"] + row["dram_write_bytes"]}


def _roofline_points(
    comparison: Comparison,
    layers: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Points of the layers that multiply, and of the whole networks."""
    points = []
    for group, machine in enumerate(comparison.machines):
        rows = [(layer["name"], layer["runs"][group], False) for layer in layers]
        rows.append(("whole network", _run(comparison.totals.iloc[group].to_dict()), True))
        for name, run, marked in rows:
            if not run["effectual_macs"] or not run["cycles"]:
                continue
            traffic = max(run["dram_bytes"], 1)
            point = {"group": group, "marked": marked, "text": f"{name} on {visible(machine)}"}
            for what in ("dense", "effectual"):
                point |= {f"{what}_intensity": run[f"{what}_macs"] / traffic}
                point |= {f"{what}_rate": run[f"{what}_macs"] / run["cycles"]}
            points.append(point)
    return points


def _roofs(totals: pd.DataFrame) -> list[dict[str, Any]]:
    """Lanes and DRAM bytes a cycle of each roof that there is."""
    pairs = dict.fromkeys(zip(totals["lanes"].astype(int), totals["dram_bytes_per_cycle"].astype(float), strict=True))
    return [
        {"lanes": lanes, "bytes_per_cycle": rate, "name": f"roof: {lanes:,} lanes, {rate:g} bytes a cycle of DRAM"}
        for lanes, rate in pairs
    ]
