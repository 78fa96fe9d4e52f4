"""The digest by which a sweep keeps its results covers all code that computes them."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelsim.explore.code import ROOT, imports_of, source_files
from accelsim.explore.evaluate import MODULE

# A worker's whole work, and what of the package it has then loaded.
PROGRAM = """
import hashlib, json, sys
from pathlib import Path
from accelsim.explore.evaluate import accuracy_task, evaluate, simulate_task
from accelsim.explore.space import Variant
from accelsim.simulator.machines.load import load_hardware
model = Path("models/resnet20-cifar10.dual")
variant = Variant(str(model), hashlib.sha256(model.read_bytes()).hexdigest())
for name in {machines}:
    machine = load_hardware(name).model_dump(mode="json")
    assert evaluate(simulate_task(variant, machine, "fast", 1)).status == "done"
images = Path("models/cifar10-sample.npz")
datapath = load_hardware("winograd-16x16").datapath
assert evaluate(accuracy_task(variant, "winograd", 2, images, 2, datapath)).status == "done"
loaded = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "accelsim" and m.__file__]
print(json.dumps(loaded))
"""


# Forms that the package may have, and such as only look like one.
FORMS = '''
"""Text says from accelsim import nothing.

>>> from accelsim import nothing
"""
import os, accelsim_other
import accelsim.one as one  # here
from accelsim import two as second, three
from accelsim.four import (
    five,  # a, comment
    six as sixth,
)
if TYPE_CHECKING:
    import pandas

    from accelsim.seven import eight
if os.name:
    from accelsim.nine import ten
def function():
    if TYPE_CHECKING:
        from accelsim.eleven import twelve
    from accelsim.thirteen import fourteen
class Some:
    try:
        import accelsim.fifteen
    except ImportError:
        from accelsim import sixteen
'''
STATEMENTS = (ast.stmt, ast.excepthandler)


def parsed(tree: ast.AST, whole: bool) -> Iterator[str]:
    """What ``imports_of`` is to find, by Python's own parser."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, STATEMENTS):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (name for other in node.orelse for name in parsed(other, whole))
        elif whole or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from parsed(node, whole)


def of_package(names: Iterator[str]) -> list[str]:
    return sorted(name for name in names if name.split(".")[0] == "accelsim")


def test_all_imports_are_found() -> None:
    assert sorted(imports_of(FORMS, True)) == of_package(parsed(ast.parse(FORMS), True))
    for path in ROOT.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        for whole in (True, False):
            assert sorted(imports_of(source, whole)) == of_package(parsed(tree, whole)), path


@pytest.mark.slow
def test_every_module_that_a_point_runs_is_in_the_digest() -> None:
    machines = ["spatial-16x16", "winograd-16x16", "hybrid-16x16"]
    program = PROGRAM.format(machines=[*machines, "eyeriss", "scnn-like", "eie-like", "nvdla-full"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT.parent, check=True)
    loaded = {Path(path) for path in json.loads(done.stdout)}
    assert loaded <= set(source_files(MODULE))
    for name in ("adders", "decomposition"):  # these two were missing once
        assert ROOT / "transforms" / f"{name}.py" in loaded


def test_the_tables_count_and_the_command_line_does_not() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in source_files(MODULE)}
    assert "hardware/data/sram_cacti.csv" in names
    assert not {name for name in names if name.startswith(("report/", "training/")) or name == "cli.py"}


def test_a_changed_byte_changes_the_digest(tmp_path: Path) -> None:
    copy = tmp_path / "accelsim"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    program = f"from accelsim.explore.code import code_version; print(code_version({MODULE!r}))"

    def digest() -> str:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
        return done.stdout

    seen = {digest()}
    assert digest() in seen
    for changed in ("transforms/adders.py", "simulator/time/pipeline.py", "hardware/data/sram_cacti.csv"):
        with (copy / changed).open("a") as stream:
            stream.write("\n")
        after = digest()
        assert after not in seen
        seen.add(after)
