"""A whole run on a small synthetic data set: it learns, resumes bit for bit after kill -9, and refuses bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.recipe import CompressionRecipe
from accelsim.dual.deploy import winograd_model
from accelsim.errors import InputError, NumericalError
from accelsim.network.count import dense_macs, winograd_multiplies
from accelsim.network.graph import Graph, Network
from accelsim.network.weights import load_network, save_network
from accelsim.network.zoo import named_graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.training import checkpoint
from accelsim.training.datasets import load_split
from accelsim.training.first_weights import initial_arrays
from accelsim.training.recipe import Data, load_recipe
from accelsim.training.run import Run, train_recipe
from accelsim.training.trainer import StepReport

COLOURS = np.random.default_rng(7).integers(0, 256, (10, 3))


def coloured_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise whose mean colour tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    pixels = COLOURS[labels][:, None, None] + rng.normal(0, 40, (count, 32, 32, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, resnet8: Graph) -> Path:
    """Pictures for ResNet-8, (train, test); the name of the network is known as long as they are."""
    path = tmp_path_factory.mktemp("data") / "colours.npz"
    (train, train_labels), (test, test_labels) = coloured_images(96, 0), coloured_images(40, 1)
    np.savez(path, train_images=train, train_labels=train_labels, test_images=test, test_labels=test_labels)
    return path


def write_recipe(folder: Path, npz: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "network": "resnet8-cifar10",
        "data": {"kind": "npz", "path": str(npz), "flip": True, "crop": 1},
        "epochs": 2,
        "batch": 16,
        "seed": 3,
        "threads": 1,
        "log_steps": 1,
        "optimizer": {"kind": "adam", "rate": 0.003, "schedule": "cosine", "warmup": 0.1},
        "joint": {"spatial": 0.6, "winograd": 0.5, "z_start": "balanced", "z_rate": 0.02, "grow_from": 0.5},
        "ema": 0.9,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def test_a_run_learns_and_leaves_a_checkpoint_that_fits_the_network(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    card = train_recipe(write_recipe(tmp_path, data, epochs=6, ema=None, checkpoint_steps=1000), out)
    assert card["accuracy"]["unpruned"] > 50  # ten classes: chance is 10
    assert card["images"] == 40
    network = load_network(named_graph("resnet8-cifar10"), out / checkpoint.MODEL)
    saved = json.loads((out / checkpoint.CARD).read_text())
    regularizer = JointRegularizer(network.graph, {"default": 2})
    assert regularizer.thresholds(dict(network.arrays), 0.6, 0.5) == (saved["theta_sd"], saved["theta_wd"])
    assert saved["winograd_m"] == regularizer.winograd
    lines = (out / "log.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 * 6
    first, last = (dict(zip(lines[0].split(","), lines[i].split(","), strict=True)) for i in (1, -1))
    assert float(last["loss"]) < float(first["loss"])
    assert float(last["sparsity_sd"]) == pytest.approx(0.6, abs=1e-3)
    assert float(last["R_sd"]) < float(first["R_sd"])


def test_killed_and_resumed_is_bit_for_bit_the_undisturbed_run(tmp_path: Path, data: Path) -> None:
    recipe = write_recipe(tmp_path, data, network="resnet20-cifar10", epochs=1, checkpoint_steps=2, threads=2)
    whole = train_recipe(recipe, tmp_path / "whole")
    out = tmp_path / "killed"
    program = "import sys; from pathlib import Path; from accelsim.training.run import train_recipe; "
    program += "train_recipe(Path(sys.argv[1]), Path(sys.argv[2]))"
    with subprocess.Popen([sys.executable, "-c", program, str(recipe), str(out)], stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 600
        while not (out / checkpoint.STATE).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert checkpoint.load_state(out)[1]["step"] < 6
    resumed = train_recipe(recipe, out, resume=True)
    assert (out / checkpoint.MODEL).read_bytes() == (tmp_path / "whole" / checkpoint.MODEL).read_bytes()
    assert resumed["accuracy"] == whole["accuracy"]
    states = [checkpoint.load_state(folder)[0] for folder in (out, tmp_path / "whole")]
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])
    steps = [line.split(",")[0] for line in (out / "log.csv").read_text().splitlines()[1:]]
    assert steps == [str(i + 1) for i in range(6)]


def test_a_finished_run_resumes_to_itself(tmp_path: Path, data: Path) -> None:
    recipe = write_recipe(tmp_path, data, epochs=1)
    train_recipe(recipe, tmp_path / "out")
    before = (tmp_path / "out" / checkpoint.MODEL).read_bytes()
    train_recipe(recipe, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / checkpoint.MODEL).read_bytes() == before


def test_between_epochs_only_the_interim_images_are_measured(tmp_path: Path, data: Path) -> None:
    recipe, seen = write_recipe(tmp_path, data, interim_images=10), []

    def watch(report: StepReport, _: float) -> None:
        if report.step in (7, 12):  # six steps an epoch; the card of the first lies there during the second
            seen.append(json.loads((tmp_path / "out" / checkpoint.CARD).read_text())["images"])

    run = Run(load_recipe(recipe), recipe, tmp_path / "out")
    assert run.train(watch)["images"] == 40
    assert seen == [10, 10]


def test_a_run_may_stop_before_its_schedules_end(tmp_path: Path, data: Path) -> None:
    card = train_recipe(write_recipe(tmp_path, data, epochs=3, stop_after=1), tmp_path / "out")
    assert card["epochs"] == 1
    last = (tmp_path / "out" / "log.csv").read_text().splitlines()[-1].split(",")
    assert last[0] == "6"
    assert float(last[5]) > 0.002  # of 0.003: the cosine of three epochs, not of one


@pytest.mark.parametrize(
    ("limits", "sizes"), [({}, (96, 40)), ({"limit": 20}, (20, 20)), ({"limit": 20, "test_limit": 9}, (20, 9))]
)
def test_splits_are_cut_together_or_the_test_split_by_itself(data: Path, limits: dict[str, int], sizes: tuple) -> None:
    source = Data(kind="npz", path=str(data), **limits)
    assert tuple(len(load_split(source, split, (32, 32, 3), 10)) for split in ("train", "test")) == sizes


def test_a_run_is_not_overwritten(tmp_path: Path, data: Path) -> None:
    recipe = write_recipe(tmp_path, data, epochs=1)
    train_recipe(recipe, tmp_path / "out")
    with pytest.raises(InputError, match="--resume"):
        train_recipe(recipe, tmp_path / "out")


def test_the_state_of_another_recipe_is_refused(tmp_path: Path, data: Path) -> None:
    train_recipe(write_recipe(tmp_path, data, epochs=1), tmp_path / "out")
    with pytest.raises(InputError, match="another recipe"):
        train_recipe(write_recipe(tmp_path, data, epochs=3), tmp_path / "out", resume=True)


def test_a_loss_that_is_not_finite_names_step_layer_and_last_good_checkpoint(tmp_path: Path, data: Path) -> None:
    recipe = write_recipe(
        tmp_path, data, joint=None, checkpoint_steps=2, optimizer={"kind": "sgd", "rate": 1e30, "warmup": 0.5}
    )
    with pytest.raises(NumericalError, match=r"step \d+: the loss is .*layer [\w.]+:.*checkpoint"):
        train_recipe(recipe, tmp_path / "out")


def test_distillation_needs_a_teacher_of_the_zoo(tmp_path: Path, data: Path) -> None:
    teacher = {"network": "resnet21-cifar10", "weights": "x.safetensors"}
    with pytest.raises(InputError, match=r"recipe.yaml: key teacher.network: .*resnet21-cifar10.*resnet20-cifar10"):
        train_recipe(write_recipe(tmp_path, data, teacher=teacher), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "epoch: unknown key, did you mean 'epochs'"),
        ({"joint": {"spacial": 0.5}}, "joint.spacial: unknown key, did you mean 'spatial'"),
        (
            {"joint": {"exclude": ["convl"]}},
            "joint.exclude: resnet8-cifar10 has no layer 'convl' with weights, did you mean",
        ),
        (
            {"joint": {"tiles": {"default": 2, "bn1": 4}}},
            "joint.tiles: resnet8-cifar10 has no layer 'bn1' with weights",
        ),
        ({"data": {"kind": "npz", "path": "x", "patch": 32}}, "data: patch: means nothing with kind npz"),
        (
            {"data": {"kind": "super_resolution", "path": "x", "crop": 4}},
            "data: crop: means nothing with kind super_resolution",
        ),
        ({"optimizer": {"gamma": 0.5}}, "optimizer: gamma: means nothing with schedule cosine"),
        ({"optimizer": {"schedule": "step", "final": 0.1}}, "optimizer: final: means nothing with schedule step"),
        (
            {"teacher": {"network": "resnet8-cifar10", "hint_weight": 3}},
            "teacher: hint_weight: means nothing without hint",
        ),
        ({"epochs": "2"}, "epochs: input should be a valid integer, got '2'"),
        ({"joint": {"spatial": 1.5}}, "joint.spatial: input should be less than or equal to 1, got 1.5"),
        ({"optimizer": {"kind": "lbfgs"}}, "optimizer.kind: input should be 'sgd' or 'adam', got 'lbfgs'"),
        ({"batch": 97}, "key batch: 97, expected at most the 96 images"),
        ({"data": {"kind": "npz", "path": "/nowhere/x.npz"}}, "/nowhere/x.npz: No such file"),
        ({"data": {"kind": "cifar10", "path": "/nowhere"}}, "test_00.webp: No such file"),
        ({"start": "/nowhere/w.safetensors"}, "/nowhere/w.safetensors"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(tmp_path: Path, data: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        train_recipe(write_recipe(tmp_path, data, **changes), tmp_path / "out")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path, data: Path) -> None:
    train_recipe(write_recipe(tmp_path, data, epochs=1), tmp_path / "out")
    with pytest.raises(InputError, match=r"checkpoint.safetensors"):
        train_recipe(
            write_recipe(tmp_path, data, network="resnet32-cifar10", start=str(tmp_path / "out" / checkpoint.MODEL)),
            tmp_path / "other",
        )


def test_relative_paths_need_the_data_folder(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELSIM_DATA", raising=False)
    recipe = write_recipe(tmp_path, Path("colours.npz"), epochs=1)
    with pytest.raises(InputError, match="ACCELSIM_DATA"):
        train_recipe(recipe, tmp_path / "out")
    monkeypatch.setenv("ACCELSIM_DATA", str(data.parent))
    assert train_recipe(recipe, tmp_path / "out")["epochs"] == 1


def test_first_weights_follow_he() -> None:
    graph = named_graph("resnet20-cifar10")
    arrays = initial_arrays(graph, 0)
    assert arrays.keys() == graph.parameters.keys()
    w = arrays["layer3.1.conv1.weight"]
    assert float(w.std()) == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)
    assert (arrays["bn1.weight"] == 1).all()
    assert (arrays["bn1.bias"] == 0).all()


RECIPES = sorted(
    path for path in (Path(__file__).parents[2] / "recipes").glob("*.yaml") if not path.stem.endswith("-compress")
)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_committed_recipes_are_valid(path: Path) -> None:
    recipe = load_recipe(path)
    graph = named_graph(recipe.network)
    if recipe.joint is not None:
        names = {node.name for node in graph.nodes}
        assert {*recipe.joint.exclude, *(recipe.joint.tiles.keys() - {"default"})} <= names


def on_a_stand_in_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, images: int = 2) -> dict:
    """A committed recipe, with so many random images of each of two classes and random weights where it looks for its
    own.
    """
    monkeypatch.setenv("ACCELSIM_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 1)):
        for label in ("n01440764", "n01443537"):
            folder = tmp_path / "ILSVRC2012" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (240, 260, 3)).astype(np.uint8)).save(folder / f"{i}.JPEG")
    recipe = yaml.safe_load((RECIPES[0].parent / f"{name}.yaml").read_text())
    torchvisions = named_graph(recipe["network"].replace("-pooled", ""))
    save_network(Network(torchvisions, initial_arrays(torchvisions, 0)), tmp_path / recipe["start"])
    return recipe


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("resnet18-imagenet-joint80", marks=pytest.mark.slow),
        pytest.param("alexnet-imagenet-joint70", marks=pytest.mark.slow),  # writes a gigabyte
    ],
)
def test_imagenet_recipes_take_a_step_on_a_stand_in_folder(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe as committed, but for the batch, the thread count and the length."""
    recipe = on_a_stand_in_folder(tmp_path, name, monkeypatch)
    torchvisions = named_graph(recipe["network"].replace("-pooled", ""))
    weights = Network(torchvisions, initial_arrays(torchvisions, 0))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe | {"epochs": 1, "batch": 2, "threads": 1, "log_steps": 1}))
    card = train_recipe(tmp_path / "r.yaml", tmp_path / "out")
    assert card["epochs"] == 1
    assert card["images"] == 2
    assert set(card["accuracy"]) == {"unpruned", "spatial", "winograd"}
    trained = load_network(named_graph(recipe["network"]), tmp_path / "out" / checkpoint.MODEL)
    moved = [key for key, array in weights.arrays.items() if (trained.arrays[key] != array).any()]
    assert len(moved) > 0.9 * len(weights.arrays)
    rows = (tmp_path / "out" / "log.csv").read_text().splitlines()
    assert len(rows) == 3
    assert "nan" not in rows[-1]


@pytest.mark.long
@pytest.mark.slow  # AlexNet's first linear layer has 38 million weights
def test_the_budget_recipe_of_alexnet_keeps_its_budgets_on_a_stand_in_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe as committed, but for the images, the steps and the points that are measured; then one file."""
    recipe = on_a_stand_in_folder(tmp_path, "alexnet-imagenet-budget", monkeypatch, images=4)
    shorter = {"images": 6, "iterations": 1, "polish": 1}
    settings = recipe["reconstruction"]
    budget = settings["budget"]
    assert (budget["ratio"], budget["cost_reduction"]) == (47.7, 5.1)
    budget |= {"images": 2, "iterations": 1, "polish": 1, "zeros": [0.3, 0.94], "cells": [0.7, 1.6]}
    recipe |= {"reconstruction": settings | shorter | {"budget": budget}, "batch": 2}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    train_recipe(tmp_path / "r.yaml", tmp_path / "out")
    compression = CompressionRecipe(relative_cell="budget", hold=True, value_bits=12, workers=1)
    model = compress_checkpoint(tmp_path / "out", tmp_path / "x.dual", compression)
    assert 4 * model.parameters / model.file_bytes >= 47.7
    graph = model.network.graph
    filters = winograd_model(model)
    left = 0.0
    for layer, count in winograd_multiplies(graph, model.winograd_m).items():
        w = filters.get(layer, model.network.arrays[f"{layer}.weight"])
        left += count * np.count_nonzero(w) / w.size
    assert sum(dense_macs(graph).values()) / left >= 5.1


def test_weights_that_lack_more_than_a_projection_are_refused(tmp_path: Path) -> None:
    from accelsim.training.first_weights import start_arrays

    plain, pooled = named_graph("resnet18"), named_graph("resnet18-pooled")
    arrays = initial_arrays(plain, 0)
    save_network(Network(plain, arrays), tmp_path / "w.safetensors")
    started = start_arrays(pooled, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(started["layer1.0.downsample.0.weight"][:, :, 0, 0], np.eye(64))
    with pytest.raises(InputError, match=r"w.safetensors: resnet20-cifar10: array .* is missing"):
        start_arrays(named_graph("resnet20-cifar10"), tmp_path / "w.safetensors")


def test_weights_pruned_on_the_way_stay_zero(tmp_path: Path, data: Path) -> None:
    joint = {"spatial": 0.7, "winograd": 0.3, "prune_from": 0.5, "z_start": 3.0}
    card = train_recipe(write_recipe(tmp_path, data, joint=joint, checkpoint_steps=1000), tmp_path / "out")
    graph = named_graph("resnet8-cifar10")
    network = load_network(graph, tmp_path / "out" / checkpoint.MODEL)
    w = JointRegularizer(graph, {"default": 2}).collect(network.arrays)
    assert np.count_nonzero(w == 0) == int(np.ceil(0.7 * w.size))
    assert card["accuracy"]["spatial"] == card["accuracy"]["unpruned"]
    assert card["theta_sd"] == 0


def test_image_folders_are_read_in_the_standard_layout(tmp_path: Path) -> None:
    from accelsim.training.datasets import folder

    rng = np.random.default_rng(0)
    for name, count in (("n02", 2), ("n01", 1)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (50, 60, 3)).astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    source = folder(tmp_path, (28, 28))
    assert source.labels.tolist() == [0, 1, 1]
    centre = source.take(np.array([0, 2]))
    assert centre.shape == (2, 28, 28, 3)
    parts = [source.take(np.array([0, 1, 2]), np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(parts[0], parts[1])
    assert (parts[0] != parts[2]).any()
    with pytest.raises(InputError, match="no such folder"):
        folder(tmp_path / "val", (28, 28))
