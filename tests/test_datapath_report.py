"""reports/datapath.md says what was measured, and nothing else."""

import json

from experiments import datapath
from experiments.datapath import Case


def test_the_page_is_what_its_command_writes_of_the_stored_figures():
    assert datapath.REPORT.read_text() == datapath.page(json.loads(datapath.STORED.read_text()))


def test_every_stored_figure_is_of_an_arithmetic_that_the_command_measures():
    known = {case.name for case in datapath.cases()}
    for model, rows in json.loads(datapath.STORED.read_text()).items():
        assert set(rows["cases"]) <= known, model
        assert all(row["images"] > 0 for row in rows["cases"].values()), model


def test_the_narrowest_arithmetic_within_a_point_serves_and_else_the_best_is_named():
    results = {
        Case(2, "per_tap", 8): 88.9,
        Case(2, "per_tap", 10): 89.0,
        Case(2, "per_tap", 12, words=10): 90.0,
        Case(4, "per_tap", 10): 70.0,
        Case(4, "per_tap", 15): 80.0,
    }
    measured = {"images": 10, "loss": 1.0, "error": 0.5, "largest_sum": 100, "overflowed": 0}
    cases = {case.name: measured | {"result": result} for case, result in results.items()}
    stored = {"net": {"unit": "top-1, %", "float": {"10": 90.0}, "cases": cases}}
    assert "| net | - | 8, V 10: 1.00 +- 0.50 | none (8, V 15: 10.00 +- 0.50) | - |" in datapath.page(stored)
