"""No command's default destroys a shipped file: what comes out still knows what went in, and nothing shipped changes.

Checkpoints without a recipe: ``test_public_faults.py``.  Machines: ``test_cli.py``.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.compression.recipe import load_compression_recipe
from accelsim.explore.description import read_description
from accelsim.network import forward
from accelsim.network.images import LabelledImages, read_images, write_images
from accelsim.network.weights import read_safetensors

from .small_dual import ROOT
from .test_public_faults import run

PAIR = ("spatial-tuned-16x16", "winograd-tuned-16x16")
MODELS = sorted(path.stem for path in (ROOT / "models").glob("*.dual"))
ROOMS = ("hwconfigs", "models", "recipes", "sweeps", "workloads")


def digests() -> dict[Path, str]:
    """SHA-256 of every shipped file."""
    files = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*")) if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module", autouse=True)
def _nothing_shipped_changes() -> Iterator[None]:
    before = digests()
    yield
    assert digests() == before


def images_for(model: accelsim.DualModel, path: Path) -> Path:
    """Some of the sample that the model names, or noise: images, labels, and what the model itself answers."""
    shape = model.network.graph.input_shape
    sample = ROOT / "models" / model.provenance.get("images", "none")
    if sample.is_file():
        found = read_images(sample)
        reference = None if found.reference is None else found.reference[:60]
        some = LabelledImages(found.pixels[:60], found.labels[:60], reference)
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
        answers = outputs(model, pixels).argmax(1)
        some = LabelledImages(pixels, answers, answers)
    write_images(path, some)
    return path


def outputs(model: accelsim.DualModel, pixels: np.ndarray) -> np.ndarray:
    return forward(model.network, model.network.graph.preprocessing.apply(pixels))


def done(*arguments: object) -> str:
    """What a command prints that ends well."""
    status, out, err = run(*arguments)
    assert status == 0, err
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_command_leaves_a_model_what_it_is(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    file = ROOT / "models" / f"{name}.dual"
    model = accelsim.load_model(file)
    images = images_for(model, tmp_path / "images.npz")
    pixels = read_images(images).pixels
    y = outputs(model, pixels)

    done("calibrate", file, PAIR[1], "--images", images, "-o", tmp_path / "calibrated.dual")
    calibrated = accelsim.load_model(tmp_path / "calibrated.dual").network.arrays
    assert all(np.array_equal(array, calibrated[key]) for key, array in model.network.arrays.items())

    done("export", file, "-o", tmp_path / "out.safetensors")
    exported = read_safetensors(tmp_path / "out.safetensors")
    assert all(np.array_equal(array, exported[key]) for key, array in model.network.arrays.items())

    done("export", file, "-o", tmp_path / "out.onnx")
    done("import", tmp_path / "out.onnx", "-o", tmp_path / "imported.dual")
    back = outputs(accelsim.load_model(tmp_path / "imported.dual"), pixels)
    assert np.linalg.norm(back - y) < 0.05 * np.linalg.norm(y)  # 8-bit weights

    assert json.loads(done("inspect", file, "--json"))["accuracy"] == dict(model.accuracy)
    for result in json.loads(done("compare", file, *PAIR, "--engine", "fast", "--json"))["results"]:
        assert result["total"]["cycles"] > 0
    found = json.loads(done("validate", file, *PAIR, "--images", images, "--json"))
    assert found["served_by_both"] is True


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*-compress.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_a_compression_is_sound(path: Path) -> None:
    assert load_compression_recipe(path).tile <= 6


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_is_sound(path: Path) -> None:
    assert read_description(path).models
