"""The wheel ships machines, tables and models beside the package, and neither scripts nor checkpoints."""

import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import accelsim
from experiments.paths import MODELS, ROOT

FOLDERS = ("hwconfigs", "models", "recipes", "sweeps", "workloads")
SHIPPED = ("*.yaml", "*.csv", "*.dual", "*.md", "*-sample.npz", "LICENSE-*.txt")
OF_PACKAGE = {
    "py.typed",
    "hardware/data/dram.csv",
    "hardware/data/sram_cacti.csv",
    "hardware/tables/arrays_45nm.csv",
    "hardware/tables/fits_45nm.csv",
    "hardware/tables/logic_45nm.csv",
    "report/page/page.css",
    "report/page/page.js",
}  # that are not Python
DENSE_MACS = 569e6  # of MobileNet v1 (Howard et al. 2017)


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def version() -> str:
    return accelsim.__version__


def listed() -> dict[str, Path]:
    """Where pyproject.toml puts files in the wheel, by path below the package; of folders, each file in them."""
    entries = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    found = {}
    for source, target in entries.items():
        path = ROOT / source
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        for file in files:
            name = Path(target, file.relative_to(path)).relative_to("accelsim")
            found[name.as_posix()] = file
    return found


def test_what_is_listed_exists_and_is_for_users() -> None:
    for name, file in listed().items():
        assert file.is_file(), name
        assert any(fnmatch(file.name, pattern) for pattern in SHIPPED), name
        assert name == file.relative_to(ROOT).as_posix()


def test_every_machine_table_and_model_is_listed() -> None:
    """A model that is added must be listed, with its card and the licences of all weights and images."""
    there = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()}
    there -= set((MODELS / "checkpoints").rglob("*"))
    assert listed().keys() == {path.relative_to(ROOT).as_posix() for path in there}
    for model in MODELS.glob("*.dual"):
        assert model.with_suffix(".md").is_file(), f"{model.name}: no card"


@pytest.mark.slow
def test_the_built_wheel_holds_just_that_and_works_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Could not find a version that satisfies the requirement hatchling" in built.stderr:
        pytest.skip("no package index: hatchling cannot be had")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    own = {name.removeprefix("accelsim/") for name in names if name.startswith("accelsim/")}
    assert {name.partition("/")[0] for name in names} == {"accelsim", f"accelsim-{version()}.dist-info"}
    code = {name for name in own if name.endswith(".py") and name.partition("/")[0] not in FOLDERS}
    assert own - code == listed().keys() | OF_PACKAGE
    script = (
        "import accelsim; table = accelsim.load_workload('mobilenet-v1');"
        "result = accelsim.simulate(table, accelsim.load_hardware('spatial-16x16'), engine='fast');"
        "small = accelsim.simulate('resnet20-cifar10', 'winograd-16x16', engine='fast');"
        "assert small.model == 'resnet20-cifar10', small.model;"
        "print(accelsim.__file__, result.total['cycles'])"
    )
    environment = {"PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-c", script]
    alone = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    place, cycles = alone.stdout.split()
    assert Path(place).is_relative_to(tmp_path)
    assert int(cycles) > DENSE_MACS / (16 * 16)
