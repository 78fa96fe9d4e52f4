"""The reference pages are what the code says, and every key and column has a meaning."""

import re
from collections.abc import Mapping
from functools import cache

import pytest

import accelsim
from accelsim.report.glossary import GLOSSARY
from accelsim.simulator.network.planning import LEVELS
from experiments.reference import DOCS, pages

NAMES = sorted(path.name for path in DOCS.glob("*.md"))


@cache
def written() -> Mapping[str, str]:
    return pages()


def test_every_page_is_written() -> None:
    assert sorted(written()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    """Where this fails: python -m experiments.reference"""
    assert (DOCS / name).read_text(encoding="utf-8") == written()[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_key_has_a_meaning(name: str) -> None:
    rows = [line for line in written()[name].splitlines() if line.startswith("| `")]
    assert len(rows) > 5
    meanings = [re.split(r"(?<!\\)\|", row)[-2].strip() for row in rows]
    assert "" not in meanings


@pytest.mark.parametrize("level", LEVELS)
def test_every_column_of_a_result_is_in_the_glossary(level: str) -> None:
    result = accelsim.simulate("resnet20-cifar10", "winograd-16x16", engine="fast", level=level)
    assert {*result.layers.columns, *result.total.index} - GLOSSARY.keys() == set()
