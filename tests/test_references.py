"""Texts name files, modules and commands that are there; scripts and benchmarks start as the texts say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from experiments.paths import ROOT

PATTERNS = (
    "*.md", "docs/*.md", "models/*.md", "reports/**/*.md", "recipes/**/*.yaml", "hwconfigs/*.yaml", "sweeps/*.yaml",
    "experiments/**/*.py", "Makefile", ".ci/run",
)  # fmt: skip
FOLDERS = "accelsim|docs|experiments|hwconfigs|models|recipes|reports|sweeps|tests|workloads"
NAMED = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]+\.(?:csv|dual|json|md|npz|png|py|sv|txt|yaml)\b")
COMMAND = re.compile(r"(?:python|python3) -m ((?:accelsim|experiments|tests)[\w.]*)")
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")  # NAME, RUN
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "experiments").rglob("*.py")
    if not path.stem.endswith(("_worker", "__init__"))  # a worker runs in its peer's own Python
)
BENCHMARKS = ("coding", "search", "simulator", "sweep", "training")


def texts() -> Iterator[tuple[Path, str]]:
    for pattern in PATTERNS:
        found = sorted(ROOT.glob(pattern))
        assert found, pattern
        for path in found:
            yield path, path.read_text(encoding="utf-8")


def test_files_that_texts_name_are_there() -> None:
    named = [(path, name) for path, text in texts() for name in NAMED.findall(text) if not PLACEHOLDER.search(name)]
    assert len(named) > 100
    assert [(str(path), name) for path, name in named if not (ROOT / name).exists()] == []


def test_modules_that_texts_run_are_there() -> None:
    run = [(path, module.rstrip(".")) for path, text in texts() for module in COMMAND.findall(text)]
    assert len(run) > 20
    run = [(path, module) for path, module in run if not PLACEHOLDER.search(module)]
    assert [(str(path), module) for path, module in run if find_spec(module) is None] == []


def test_links_between_pages_lead_somewhere() -> None:
    links = [(path, link) for path, text in texts() if path.suffix == ".md" for link in LINK.findall(text)]
    assert len(links) > 5
    assert [(str(path), link) for path, link in links if not leads(path, link)] == []


def leads(page: Path, link: str) -> bool:
    """Whether there is such a file and, where the link names one behind ``#``, such a heading in it."""
    name, _, anchor = link.partition("#")
    target = page.parent / name
    if not anchor or not target.is_file():
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_can_be_imported(name: str) -> None:
    assert import_module(name).__doc__


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_run_as_modules_and_by_their_paths(name: str, tmp_path: Path) -> None:
    module = import_module(f"tests.benchmarks.{name}")
    file = ROOT / "tests" / "benchmarks" / f"{name}.py"
    done = subprocess.run([sys.executable, file, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout
    assert callable(module.main)
