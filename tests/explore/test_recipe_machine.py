"""A recipe's budget of a machine's time or energy is kept by the file that ``compress`` makes of its run."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import accelsim
from accelsim.cli import main
from accelsim.compression.sparsify import smooth_noise
from accelsim.errors import InputError
from accelsim.training.recipe import load_recipe
from accelsim.training.run import train_recipe
from tests.compression.test_sparsify import network

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, pictures, and a machine of one lane that is slow enough for zeros to count."""
    from accelsim.network.onnx import write_onnx

    path = tmp_path_factory.mktemp("machine")
    write_onnx(network(), path / "mine.onnx")
    pixels = smooth_noise((12, 12, 3))[:40]
    labels = np.arange(40) % 6
    np.savez(
        path / "images.npz", train_images=pixels, train_labels=labels, test_images=pixels[:4], test_labels=labels[:4]
    )
    slow = accelsim.load_hardware("winograd-16x16", ["pe_array.rows=1", "pe_array.cols=1"])
    (path / "slow.yaml").write_text(slow.model_dump_json(exclude_unset=True))
    accelsim.import_file(path / "mine.onnx", path / "dense.dual")
    return path


def written(folder: Path, **budget: object) -> Path:
    """A recipe to these budgets."""
    measured = {"images": 8, "iterations": 4, "polish": 3, "zeros": [0.3, 0.6, 0.85], "cells": [0.1, 0.3]}
    recipe = {
        "network": "mine.onnx",
        "data": {"kind": "npz", "path": str(folder / "images.npz")},
        "epochs": 0,
        "batch": 8,
        "joint": {},
        "reconstruction": {"images": 24, "positions": 16, "iterations": 6, "polish": 4, "budget": measured | budget},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "compress.yaml").write_text("relative_cell: budget\nhold: true\nvalue_bits: 12\n")
    return folder / "recipe.yaml"


@pytest.mark.parametrize(
    ("key", "column", "unit"),
    [
        ("latency", "latency_ms", "ms"),
        pytest.param("cycles", "cycles", "", marks=pytest.mark.slow),
        pytest.param("energy", "energy_pj", "nJ", marks=pytest.mark.slow),
    ],
)
def test_the_file_keeps_to_what_the_recipe_gives_the_machine(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, column: str, unit: str
) -> None:
    dense = accelsim.simulate(folder / "dense.dual", folder / "slow.yaml", engine="fast").total[column]
    asked = 0.8 * dense
    value = f"{asked / {'ms': 1, 'nJ': 1e3}[unit]}{unit}" if unit else int(asked)
    recipe = written(folder, machine="slow.yaml", **{key: value})
    assert main(["train", str(recipe), "-o", str(tmp_path / "run"), "--json"]) == 0
    compress = ["compress", str(tmp_path / "run"), "-o", str(tmp_path / "x.dual")]
    assert main([*compress, "--recipe", str(folder / "compress.yaml")]) == 0
    found = accelsim.simulate(tmp_path / "x.dual", folder / "slow.yaml", engine="fast").total[column]
    assert found <= asked
    prices = json.loads((tmp_path / "run" / "prices.json").read_text())
    assert (
        not {"machine", "cycles", "latency", "energy"} & prices["of"]["reconstruction"]["budget"].keys()
    )  # they hold for all
    capsys.readouterr()


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({}, "reconstruction.budget: expected a ratio, a cost_reduction or a machine's budget"),
        ({"cycles": 500}, "cycles: expected the key machine"),
        ({"latency": "5ms"}, "latency: expected the key machine, which an image takes it on"),
        ({"machine": "winograd-16x16"}, "machine: expected one of cycles, latency and energy beside it"),
        (
            {"machine": "winograd-16x16", "latency": "5ms", "energy": "2uJ"},
            "expected one of cycles, latency and energy",
        ),
        ({"machine": "winograd-16x16", "energy": "2uJ", "cost_reduction": 3}, "energy: expected no cost_reduction"),
        (
            {"machine": "winograd-16x16", "latency": "5 min"},
            "key reconstruction.budget: latency 5 min: expected a time",
        ),
        ({"machine": "winograd-16", "latency": "5ms"}, "key reconstruction.budget: winograd-16"),
        ({"machine": "none.yaml", "latency": "5ms"}, "none.yaml"),
        ({"machine": "slow.yaml", "latency": "1us"}, "latency 1us cannot be kept on winograd-16x16: dense it takes"),
    ],
)
def test_a_budget_that_cannot_be_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], budget: dict, message: str
) -> None:
    recipe = written(folder, **budget)
    assert main(["train", str(recipe), "-o", str(tmp_path / "run")]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"error: {recipe}: ")
    assert message in last
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_training_alone_knows_no_machine(folder: Path, tmp_path: Path) -> None:
    recipe = written(folder, machine="slow.yaml", latency="5ms")
    assert load_recipe(recipe).reconstruction.budget.machine == str(folder / "slow.yaml")
    with pytest.raises(InputError, match=r"reconstruction\.budget\.machine: expected `accelsim train`"):
        train_recipe(recipe, tmp_path / "run")
