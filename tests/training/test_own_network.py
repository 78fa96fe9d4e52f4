"""Recipes take a network from a file beside them as they take one of the zoo."""

import numpy as np
import pytest

from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.recipe import load_compression_recipe
from accelsim.errors import InputError
from accelsim.training.recipe import load_recipe
from accelsim.training.run import train_recipe
from tests.dual.small import small_network

pytest.importorskip("onnx")
DATA = "data: {kind: npz, path: ./images.npz}"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a recipe's network and its images, seen from another working directory."""
    from accelsim.network.onnx import write_onnx

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, 24).astype(np.int64)
    split = {"train_images": pixels, "train_labels": labels, "test_images": pixels, "test_labels": labels}
    np.savez(tmp_path / "images.npz", **split)
    (tmp_path / "own").mkdir()
    write_onnx(small_network(), tmp_path / "own" / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_training_starts_at_the_weights_of_the_file(here):
    recipe = here / "own" / "train.yaml"
    recipe.write_text(f"network: net.onnx\n{DATA}\nepochs: 0\nbatch: 8\n")
    card = train_recipe(recipe, here / "run")
    assert card["network"] == small_network().graph.name
    compress = here / "own" / "compress.yaml"
    compress.write_text("spatial: 0.5\nwinograd: 0.0\nreference: {network: net.onnx}\n" + DATA)
    settings = load_compression_recipe(compress)
    model = compress_checkpoint(here / "run", here / "out.dual", settings)
    assert model.accuracy["top1_reference"] == pytest.approx(card["accuracy"]["unpruned"], abs=1e-3)


def test_the_teacher_may_be_a_file(here):
    recipe = here / "own" / "train.yaml"
    recipe.write_text(f"network: net.onnx\nteacher: {{network: net.onnx}}\n{DATA}\nepochs: 1\nbatch: 8\n")
    assert load_recipe(recipe).teacher.network == str(here / "own" / "net.onnx")
    assert 0 <= train_recipe(recipe, here / "run")["accuracy"]["unpruned"] <= 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: none.onnx\n", r"train.yaml: key network: .*none\.onnx: No such file"),
        ("network: resnet18\nteacher: {network: resnet18}\n", "expected the key weights beside it"),
    ],
)
def test_what_is_not_there_is_named(here, text, message):
    recipe = here / "own" / "train.yaml"
    recipe.write_text(f"{text}{DATA}\nepochs: 1\nbatch: 8\n")
    with pytest.raises(InputError, match=message):
        train_recipe(recipe, here / "run")
