"""The recipes of super-resolution run to their files on stand-in data: each as committed, but for its length."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from accelsim.cli import main
from accelsim.dual.file import read_dual
from accelsim.dual.manifest import weight_names
from accelsim.network.zoo import named_graph
from accelsim.training.first_weights import initial_arrays
from tests.training.test_superresolution import write_archives

RECIPES = Path(__file__).parents[2] / "recipes"
SHORT = {"images": 4, "positions": 40, "iterations": 2, "polish": 2}


def shortened(name: str, folder: Path) -> str:
    """A recipe in the folder, of a few patches and steps."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    recipe["data"]["patch"] = 24
    if recipe.get("epochs"):
        recipe |= {"epochs": 1, "batch": 6, "log_steps": 1}
    if "reconstruction" in recipe:
        recipe["reconstruction"] |= SHORT
    recipe |= {key: 4 for key in ("fit", "calibration") if key in recipe}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return str(folder / f"{name}.yaml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "compress"),
    [
        (("vdsr-x3-joint",), "vdsr-x3-compress"),
        (("ct-srcnn9-x3-dense", "ct-srcnn9-x3-reconstructed", "ct-srcnn9-x3-held"), "ct-srcnn9-x3-compress"),
    ],
)
def test_the_recipes_of_super_resolution_run_to_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: tuple[str, ...], compress: str
) -> None:
    data = tmp_path / "data"
    (data / "sr").mkdir(parents=True)
    (data / "weights").mkdir()
    write_archives(data / "sr", {"train91": 3, "set5": 1, "set14": 1})
    np.savez(data / "weights" / "vdsr.npz", **initial_arrays(named_graph("vdsr"), 0))
    monkeypatch.setenv("ACCELSIM_DATA", str(data))
    monkeypatch.chdir(tmp_path)
    for name in runs:
        assert main(["train", shortened(name, tmp_path), "-o", f"runs/{name}"]) == 0
    assert main(["compress", f"runs/{runs[-1]}", "-o", "x.dual", "--recipe", shortened(compress, tmp_path)]) == 0
    model = read_dual(tmp_path / "x.dual")
    domains = ("reference", "spatial", "winograd")
    assert set(model.accuracy) == {f"psnr_{name}_{domain}" for name in ("set5", "set14") for domain in domains}
    weights = [model.network.arrays[name] for name in weight_names(model.network.graph)]
    assert sum((w == 0).sum() for w in weights) >= 0.79 * sum(w.size for w in weights)
