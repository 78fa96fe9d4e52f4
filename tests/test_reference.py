"""The reference pages are what the code says, and every key and column has a meaning."""

import re
from pathlib import Path

import pytest

from accelsim.report.glossary import GLOSSARY
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run_rows
from accelsim.workload import layer_works, load_table
from experiments.paths import ROOT
from experiments.reference import DOCS, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    """Where this fails: python -m experiments.reference"""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]


@pytest.mark.parametrize("name", PAGES)
def test_every_key_has_a_meaning(name: str) -> None:
    rows = [line for line in PAGES[name].splitlines() if line.startswith("| `")]
    assert len(rows) > 5
    meanings = [re.split(r"(?<!\\)\|", row)[-2].strip() for row in rows]
    assert "" not in meanings


def test_every_column_of_a_result_is_in_the_glossary() -> None:
    machine = load_hardware("winograd-16x16")
    works = tuple(layer_works(load_table(Path(ROOT, "workloads", "alexnet.csv")), 1))[:1]
    rows, total = run_rows(works, machine, "fast")
    assert {*rows[0], *total} - GLOSSARY.keys() == set()
