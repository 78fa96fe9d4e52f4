"""The documentation's machine family of one's own runs from an empty folder, outside the package."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
MODEL = ROOT / "models" / "resnet20-cifar10.dual"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder but for the files that the page shows."""
    empty = tmp_path_factory.mktemp("own")
    shown = FILES.findall((ROOT / "docs" / "own-machine.md").read_text(encoding="utf-8"))
    assert {name for name, _ in shown} == {"dot_product.py", "dot-product.yaml"}
    for name, content in shown:
        (empty / name).write_text(content, encoding="utf-8")
    return empty


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The page's program; the package is found as a user's installation is."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "dot_product.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def test_it_runs_beside_a_shipped_machine(folder: Path) -> None:
    done = run(folder, "compare", str(MODEL), "dot-product.yaml", "spatial-dense-16x16", "--engine", "fast", "--json")
    assert done.returncode == 0, done.stderr
    own, dense = json.loads(done.stdout)["results"]
    assert own["total"]["dense_macs"] == dense["total"]["dense_macs"] == own["total"]["effectual_macs"]
    # ResNet-20's first layer: 32 x 32 outputs of 16 filters on 8 units, 27 operands of 32 a cycle: 2 x 1,024 cycles.
    assert own["layers"][0]["compute_cycles"] == 2 * 1024
    assert own["layers"][0]["mode"] == "dot-product"
    # 16 filters of 64 x 9 operands: 18 cycles an output of the 8 x 8 images.
    last = next(layer for layer in own["layers"] if layer["name"] == "layer3.2.conv2")
    assert last["compute_cycles"] == 64 // 8 * 64 * 18
    assert own["total"]["energy_pj"] == sum(own["total"][f"energy_{part}_pj"] for part in PARTS)


PARTS = ("mac", "transform", "register", "sram", "dram", "static")


def test_both_engines_agree_on_it(folder: Path) -> None:
    event, fast = (
        json.loads(run(folder, "simulate", str(MODEL), "dot-product.yaml", "--json", "--engine", engine).stdout)
        for engine in ("event", "fast")
    )
    assert event["total"] == fast["total"]


def test_its_keys_are_checked_as_ours(folder: Path) -> None:
    done = run(folder, "simulate", str(MODEL), "dot-product.yaml", "--set", "width=0", "--set", "tile=3")
    page = (ROOT / "docs" / "own-machine.md").read_text(encoding="utf-8")
    assert done.returncode == 2
    assert done.stderr.strip() in page


def test_a_file_alone_brings_no_code(folder: Path) -> None:
    """Without the class, its machine file is one of a kind that nobody knows."""
    program = "import sys; from accelsim.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "simulate", str(MODEL), "dot-product.yaml"],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: dot-product.yaml: kind: 'dot-product', expected one of spatial, winograd\n"
