"""A network reconstructed to budgets keeps to them, with zeros exact in both domains, and the same bytes again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.recipe import CompressionRecipe
from accelsim.compression.stage import CompressionStage
from accelsim.dual.deploy import winograd_model
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.network.graph import Graph, Network
from accelsim.network.weights import load_network, save_network
from accelsim.network.zoo import named_graph
from accelsim.sparsity.initial_zeros import initial_patterns, projected
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.moments import Moments
from accelsim.sparsity.recipe import Budget, Joint
from accelsim.training import checkpoint, prices
from accelsim.training.first_weights import initial_arrays
from accelsim.training.pricelist import PriceList
from accelsim.training.prices import SharesTried, _rounded, between
from accelsim.training.recipe import Recipe
from accelsim.training.run import train_recipe
from tests.laws import ALL

SETTINGS = {"images": 48, "positions": 16, "iterations": 8, "polish": 8, "spatial_pull": 4, "winograd_pull": 4}
BUDGET = {"ratio": 9, "cost_reduction": 4, "images": 12, "zeros": [0.2, 0.6, 0.85], "cells": [0.2, 0.6]}
BUDGET |= {"iterations": 6, "polish": 4}
if not ALL:
    BUDGET |= {"zeros": [0.3, 0.85]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, resnet8: Graph) -> tuple[Path, dict]:
    """A ResNet with random weights reconstructed to a budget on smooth random pictures: (its folder, the recipe)."""
    folder = tmp_path_factory.mktemp("budget")
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 12, (70, 32, 32, 3)).cumsum(axis=1).cumsum(axis=2) + 128
    images = {"images": pixels.clip(0, 255).astype(np.uint8), "labels": np.arange(70) % 10}
    np.savez(folder / "data.npz", **{f"{split}_{key}": a for split in ("train", "test") for key, a in images.items()})
    graph = named_graph("resnet20-cifar10") if ALL else resnet8
    save_network(Network(graph, initial_arrays(graph, 1)), folder / "start.safetensors")
    recipe = {
        "network": graph.name,
        "start": str(folder / "start.safetensors"),
        "data": {"kind": "npz", "path": str(folder / "data.npz")},
        "epochs": 0,
        "batch": 8,
        "threads": 1,
        "joint": {},
        "reconstruction": SETTINGS | {"budget": BUDGET},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    train_recipe(folder / "recipe.yaml", folder / "run")
    return folder, recipe


def multiplies_fewer(model: DualModel) -> float:
    """Dense MACs over multiplies of F(2, 3) an image, by hand: positions, and tiles of 2 x 2 outputs."""
    per_filter = {
        node.name: (P * Q, -(-P // 2) * -(-Q // 2))
        for node in model.network.graph.nodes
        if node.layer.op in ("conv", "linear")
        for P, Q in [(*model.network.graph.shapes[node.name][:-1], 1, 1)[:2]]
    }
    dense = multiplies = 0
    filters = winograd_model(model)
    for name, (positions, tiles) in per_filter.items():
        w = model.network.arrays[f"{name}.weight"]
        dense += positions * w.size
        multiplies += tiles * np.count_nonzero(filters[name]) if name in filters else positions * np.count_nonzero(w)
    return dense / multiplies


@pytest.mark.slow
def test_a_file_reconstructed_to_a_budget_keeps_to_it(run: tuple[Path, dict], tmp_path: Path) -> None:
    folder, recipe = run
    budget = recipe["reconstruction"]["budget"]
    settings = CompressionRecipe(relative_cell="budget", hold=True, value_bits=12)
    model = compress_checkpoint(folder / "run", tmp_path / "x.dual", settings)
    assert 4 * model.parameters / (tmp_path / "x.dual").stat().st_size >= budget["ratio"]
    assert multiplies_fewer(model) >= budget["cost_reduction"]


@pytest.mark.slow
def test_prices_that_promise_too_much_are_found_out_and_made_up_for(
    run: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shares between the measured ones are only guessed: what all layers come to is counted, and chosen anew."""
    folder, recipe = run
    monkeypatch.setattr(prices, "RESERVE", -0.25)
    out = tmp_path / "run"
    out.mkdir()
    (out / "prices.json").write_text((folder / "run" / "prices.json").read_text())
    train_recipe(folder / "recipe.yaml", out)
    assert "again with less" in capsys.readouterr().err
    layers = (out / "reconstruction.csv").read_text().splitlines()
    assert len(layers) == len({line.split(",")[0] for line in layers})  # of the last try alone
    settings = CompressionRecipe(relative_cell="budget", hold=True, value_bits=12)
    model = compress_checkpoint(out, tmp_path / "x.dual", settings)
    assert multiplies_fewer(model) >= recipe["reconstruction"]["budget"]["cost_reduction"]


@pytest.mark.slow
def test_a_file_that_misses_its_budget_is_made_again_in_coarser_cells(
    run: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when cells were asked for finer; interrupted in the second rounding it goes on there."""
    folder, _ = run
    data = {"kind": "npz", "path": str(folder / "data.npz")}
    settings = CompressionRecipe.model_validate(
        {"relative_cell": "budget", "coarser": 0.3, "hold": True, "fit": 24, "value_bits": 12, "data": data}
    )
    shutil.copytree(folder / "run", tmp_path / "run")
    card = json.loads((tmp_path / "run" / checkpoint.CARD).read_text())
    once = compress_checkpoint(
        tmp_path / "run", tmp_path / "x.dual", settings.model_copy(update={"relative_cell": 0.12, "coarser": 1.0})
    )
    ratio = 1.02 * 4 * once.parameters / once.file_bytes
    card["recipe"]["reconstruction"]["budget"].update(ratio=ratio, cost_reduction=1.1)
    (tmp_path / "run" / checkpoint.CARD).write_text(json.dumps(card))
    lines: list[str] = []
    model = compress_checkpoint(tmp_path / "run", tmp_path / "x.dual", settings, lines.append)
    assert sum("again with less" in line for line in lines) >= 1
    assert 4 * model.parameters / (tmp_path / "x.dual").stat().st_size >= ratio

    save = CompressionStage.save

    def interrupted(self: CompressionStage, *state: object) -> None:
        save(self, *state)
        if self.folder.name == "y.dual.rounding-2":
            raise KeyboardInterrupt

    monkeypatch.setattr(CompressionStage, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compress_checkpoint(tmp_path / "run", tmp_path / "y.dual", settings)
    monkeypatch.setattr(CompressionStage, "save", save)
    lines = []
    compress_checkpoint(tmp_path / "run", tmp_path / "y.dual", settings, lines.append, resume=True)
    assert any(line.startswith("going on after 1 of") for line in lines)
    assert (tmp_path / "y.dual").read_bytes() == (tmp_path / "x.dual").read_bytes()
    assert not list(tmp_path.glob("y.dual.*"))


def test_the_zeros_of_a_budget_are_exact_in_both_domains(run: tuple[Path, dict]) -> None:
    folder, _ = run
    card = json.loads((folder / "run" / checkpoint.CARD).read_text())
    network = load_network(named_graph(card["network"]), folder / "run" / checkpoint.MODEL)
    assert card["accuracy"]["unpruned"] == card["accuracy"]["spatial"] == card["accuracy"]["winograd"]
    patterns = initial_patterns(network.graph, network.arrays, Joint(hold="exact"))
    for name, array in projected(network.arrays, patterns).items():
        np.testing.assert_allclose(array, network.arrays[name], atol=1e-4 * np.abs(array).max())
    W = JointRegularizer(network.graph, {"default": 2}).pruned_winograd(dict(network.arrays), 0.0)
    sizes = np.concatenate([(np.abs(each) / np.sqrt(np.mean(each**2))).ravel() for each in W.values()])
    assert np.mean(sizes < 1e-4) == pytest.approx(card["sparsity_wd"], abs=1e-5)
    assert np.mean((sizes > 5e-5) & (sizes < 5e-4)) < 1e-3  # zeros or not, next to nothing between


def test_measured_layers_stay_and_a_run_gives_the_same_bytes_again(run: tuple[Path, dict]) -> None:
    folder, _ = run
    first = (folder / "run" / checkpoint.MODEL).read_bytes()
    prices = (folder / "run" / "prices.json").read_text()
    content = json.loads(prices)
    del content["sha256"]  # as a list of an earlier version has none
    again = folder / "again"
    again.mkdir()
    content["layers"] = dict(list(content["layers"].items())[:-1])
    (again / "prices.json").write_text(json.dumps(content))
    train_recipe(folder / "recipe.yaml", again, resume=True)
    assert (again / "prices.json").read_text() == prices
    assert (again / checkpoint.MODEL).read_bytes() == first


def test_prices_of_other_weights_by_the_same_name_are_measured_again(run: tuple[Path, dict]) -> None:
    """The recipe names files, and says nothing of what is in them."""
    folder, recipe = run
    moved = folder / "moved"
    (moved / "out").mkdir(parents=True)
    graph = named_graph(recipe["network"])
    save_network(Network(graph, initial_arrays(graph, 2)), moved / "start.safetensors")
    (moved / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"start": str(moved / "start.safetensors")}))
    of_first = json.loads((folder / "run" / "prices.json").read_text())
    of_first["of"]["start"] = str(moved / "start.safetensors")  # as if the file had been another one
    del of_first["sha256"]
    (moved / "out" / "prices.json").write_text(json.dumps(of_first))
    train_recipe(moved / "recipe.yaml", moved / "out")
    found = json.loads((moved / "out" / "prices.json").read_text())
    assert found["layers"].keys() == of_first["layers"].keys()
    assert all(found["layers"][name] != grid for name, grid in of_first["layers"].items())


def test_bad_budgets_are_refused_in_one_line(run: tuple[Path, dict]) -> None:
    folder, recipe = run
    for change, message in (
        ({"ratio": 0.5}, "ratio"),
        ({"zeros": [0.7, 0.3]}, "expected increasing shares"),
        ({"images": 60}, "60 beside the 48 of reconstruction.images, expected at most 70 together"),
        ({"ratio": 400}, "reconstruction.budget: no choice has at most"),
    ):
        reconstruction = recipe["reconstruction"]
        changed = {**reconstruction, "budget": {**reconstruction["budget"], **change}}
        path = folder / "bad.yaml"
        path.write_text(yaml.safe_dump({**recipe, "reconstruction": changed}))
        out = folder / "bad"
        out.mkdir(exist_ok=True)
        (out / "prices.json").write_text((folder / "run" / "prices.json").read_text())
        with pytest.raises(InputError, match=message) as refused:
            train_recipe(path, out)
        assert "\n" not in str(refused.value)


def test_a_layer_that_loses_nothing_at_one_share_has_prices_at_all() -> None:
    """A loss of zero has no logarithm; what lies between it and the next is next to nothing, and never NaN."""
    nothing = SharesTried(loss=0.0, error=2.0, noise=[1.0], bits=[8.0], multiplies=[6.0])
    something = SharesTried(loss=4.0, error=2.0, noise=[1.0], bits=[4.0], multiplies=[2.0])
    budget = Budget(ratio=2, cost_reduction=2, zeros=(0.0, 0.5), cells=(1.0,))
    prices = between([[nothing, something]], np.ones((8, 8), np.float32), None, budget)
    losses = [price.loss for price in prices]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(0, abs=1e-20)
    assert losses[-1] == pytest.approx(4 * (1 + 1 / 2))  # rounding adds half of the error, and so half of the loss


def test_a_file_of_other_or_broken_prices_is_not_taken_over(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "network": "resnet20-cifar10",
            "data": {"kind": "npz", "path": "x"},
            "epochs": 0,
            "joint": {},
            "reconstruction": SETTINGS | {"budget": BUDGET},
        }
    )
    path = tmp_path / "prices.json"
    prices = PriceList(path, recipe)
    prices.add("a", [[SharesTried(loss=0.5, error=2.0, noise=[3.0, 4.0], bits=[8.0, 7.0], multiplies=[6.0, 5.0])]])
    assert PriceList(path, recipe).grids == prices.grids
    assert PriceList(path, recipe.model_copy(update={"seed": 1})).grids == {}
    assert PriceList(path, recipe, "other weights").grids == {}
    whole = path.read_text()
    for before, after in (('"error": 2.0', '"error": 3.0'), ('"seed": 0', '"seed": 8'), ('"sha256"', '"sha255"')):
        assert whole.count(before) >= 1
        path.write_text(whole.replace(before, after, 1))
        with pytest.raises(InputError, match=r"prices\.json: damaged \(sha256\), expected the prices as they were"):
            PriceList(path, recipe)
    content = json.loads(whole.replace('"loss": 0.5', '"loss": "much"'))
    del content["sha256"]
    for change in ('{"of": {}', "[]", "{}", json.dumps(content)):
        path.write_text(change)
        with pytest.raises(InputError, match=r"prices\.json: .*expected the prices of this run's layers") as refused:
            PriceList(path, recipe)
        assert "\n" not in str(refused.value)


def test_the_noise_of_a_cell_is_what_rounding_adds_to_the_outputs_of_images_kept_apart() -> None:
    """Held against the outputs themselves, of inputs that depend on each other: (K, C, taps) = (5, 4, 9)."""
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((36, 36)) * np.geomspace(1, 0.05, 36)
    X, apart = (rng.standard_normal((rows, 36)) @ mixing + 1 for rows in (400, 90))
    H, H_apart = (np.cov(rows.T, bias=True).astype(np.float32) for rows in (X, apart))
    found = rng.standard_normal((9, 4, 5)).astype(np.float32)
    found[rng.random(found.shape) < 0.4] = 0
    flat = found.reshape(36, 5)
    moments = Moments(H=H, B=H @ flat, energy=1.0, x=X.mean(axis=0), y=np.zeros(5), rows=len(X))
    relative = (0.4, 0.8, 1.6)
    noise, levels = _rounded(moments, H_apart, found, None, relative)
    for n, added, cell in zip(levels, noise, np.array(relative) * np.sqrt(np.mean(flat[flat != 0] ** 2)), strict=True):
        w = (n * cell).transpose(2, 1, 0).reshape(36, 5)
        assert (w[flat == 0] == 0).all()
        outputs = apart @ (w - flat)
        assert added == pytest.approx(outputs.var(axis=0).mean(), rel=1e-3)
    assert sorted(noise) == noise


def test_cells_of_a_budget_need_a_checkpoint_that_has_them(tmp_path: Path) -> None:
    settings = CompressionRecipe(relative_cell="budget", hold=True)
    checkpoint_folder = Path("models/checkpoints/resnet20-joint-refined")
    with pytest.raises(InputError, match=r"resnet20-joint-refined: states no relative_cells"):
        compress_checkpoint(checkpoint_folder, tmp_path / "x.dual", settings)
    assert checkpoint.relative_cells({}) == {}
    for cell in (0, -1, "wide", True, None):
        with pytest.raises(ValueError, match="expected a positive number"):
            checkpoint.relative_cells({"relative_cells": {"a.weight": cell}})
