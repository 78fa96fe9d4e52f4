"""``accelsim compare`` on the shapes of ResNet-18: for each layer which machine wins, and why."""

import csv
import json
from pathlib import Path

import pytest

from accelsim.cli import main

ROOT = Path(__file__).parents[1]
MACHINES = ("spatial-16x16", "winograd-16x16")
PARTS = ("useful", "imbalance", "edge", "transform", "dram")
SPARSE = {"weight_density": 0.4, "activation_density": 0.5}  # masks are drawn


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare") / "resnet18-sparse.csv"
    with (ROOT / "workloads" / "resnet18.csv").open() as source:
        rows = list(csv.DictReader(source))
    with path.open("w", newline="") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows({**row, **(SPARSE if row["kind"] in {"conv", "linear"} else {})} for row in rows)
    return path


def test_each_layer_has_a_winner_and_a_reason(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(table), *MACHINES, "--engine", "fast", "--json"]) == 0
    results = {result["machine"]: result for result in json.loads(capsys.readouterr().out)["results"]}
    bounds = {name: [row["bound"] for row in result["layers"]] for name, result in results.items()}
    for result in results.values():
        assert result["synthetic"]
        for row in (*result["layers"], result["total"]):
            parts = {part: row[f"{part}_cycles"] for part in PARTS}
            assert sum(parts.values()) == row["cycles"]
            assert min(parts.values()) >= 0
            assert row["bound"].replace("compute", "useful") == max(PARTS, key=lambda part: parts[part])
            assert row["stall_cycles"] == parts["transform"] + parts["dram"]
    cycles = {name: [row["cycles"] for row in result["layers"]] for name, result in results.items()}
    winners = [min(MACHINES, key=lambda name: cycles[name][i]) for i in range(len(cycles[MACHINES[0]]))]
    assert set(winners) == set(MACHINES)  # neither wins everywhere
    assert bounds["spatial-16x16"][-1] == "edge"  # one output position fills one of 16 rows of lanes
    assert {"compute", "edge"} <= {bound for of_machine in bounds.values() for bound in of_machine}

    assert main(["compare", str(table), *MACHINES, "--engine", "fast"]) == 0
    lines = {cells[0]: cells[1:] for cells in map(str.split, capsys.readouterr().out.splitlines()) if len(cells) > 2}
    for i, row in enumerate(results[MACHINES[0]]["layers"]):
        if not any(of_machine[i] for of_machine in cycles.values()):  # rides on another layer
            assert lines[row["name"]] == ["0"] * len(MACHINES)
            continue
        cells = iter(lines[row["name"]])
        for name in MACHINES:
            mark = (figure := next(cells)) == "*"
            figure = next(cells) if mark else figure
            assert mark == (cycles[name][i] == min(of_machine[i] for of_machine in cycles.values()))
            assert int(figure.replace(",", "")) == cycles[name][i]
            assert next(cells) == bounds[name][i]
