"""accelsim compress: a checkpoint becomes a file, fine-tuning lowers the loss, faults are one line."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from accelsim.compression.codebook import Tuner, Tuning, fine_tune
from accelsim.compression.pipeline import compress_checkpoint, summary
from accelsim.compression.quantize import compressed_network, quantize, winograd_threshold
from accelsim.compression.recipe import CompressionRecipe, load_compression_recipe
from accelsim.compression.start import layer_tiles
from accelsim.dual.deploy import spatial_densities, winograd_densities, winograd_model
from accelsim.dual.file import decode_dual, encode_dual, read_dual
from accelsim.errors import InputError
from accelsim.network import Network
from accelsim.network.zoo import resnet20
from accelsim.sparsity.initial_zeros import initial_patterns, projected
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.recipe import Joint
from accelsim.training.datasets import Images
from accelsim.training.first_weights import initial_arrays
from tests.dual.small import small_graph, small_network


def image_set(count, seed=0):
    """Images whose mean brightness is their class, (N, 8, 8, 3)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pixels = rng.integers(0, 60, (count, 8, 8, 3)) + 60 * labels[:, None, None, None]
    return Images(pixels.astype(np.uint8), labels.astype(np.int64))


@pytest.mark.parametrize("weight_rate", [0.0, 0.01])
def test_fine_tuning_moves_the_codebook_and_indices_only_if_asked(weight_rate):
    quantized = quantize(small_network(), 0.15, 0.2)
    images = image_set(64)
    losses = []
    graph = small_graph()
    tuning = Tuning(
        steps=40,
        batch=32,
        codebook_rate=0.02,
        value_rate=0.01,
        weight_rate=weight_rate,
        winograd_sparsity=0.5,
        statistics=2,
    )
    tuner = Tuner(small_network(), quantized, images, tuning, JointRegularizer(graph, {"default": 2}))
    tuned = fine_tune(tuner, lambda _, loss: losses.append(loss))
    quantizer = tuned.quantizer
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert not np.array_equal(quantizer.codebook, quantized.quantizer.codebook)
    for name, n in tuned.indices.items():
        np.testing.assert_array_equal(tuned.network.arrays[name], quantizer.decode(name, n))
        assert (n[quantized.indices[name] == 0] == 0).all()
    changed = any((n != quantized.indices[name]).any() for name, n in tuned.indices.items())
    assert changed == (weight_rate > 0)
    np.testing.assert_allclose(quantizer.codebook * 1024, np.rint(quantizer.codebook * 1024))


def test_zeros_of_both_domains_stay_while_weights_move():
    """3 x 3 filters of the form (a, -a; b, c): zeros of F(2, 3) that only their relations hold."""
    graph, arrays = small_graph(), dict(small_network().arrays)
    regularizer = JointRegularizer(graph, {"default": 2})
    w = np.zeros_like(arrays["a.weight"])
    w[:, :, 0, 0] = arrays["a.weight"][:, :, 0, 0]
    w[:, :, 0, 2] = -w[:, :, 0, 0]
    w[:4, :, 2, 1] = arrays["a.weight"][:4, :, 2, 1]
    arrays["a.weight"] = w
    quantized = quantize(Network(graph, arrays), 0.02, 0.0)
    before = regularizer.pruned_winograd(quantized.network.arrays, 1e-6)
    tuning = Tuning(steps=10, batch=32, codebook_rate=0.02, weight_rate=0.02, winograd_sparsity=0.3, statistics=1)
    tuned = fine_tune(Tuner(Network(graph, arrays), quantized, image_set(64), tuning, regularizer))
    after = regularizer.pruned_winograd(tuned.network.arrays, 1e-6)
    assert np.mean(tuned.indices["a.weight"] != quantized.indices["a.weight"]) > 0.1
    assert np.abs(after["a"][before["a"] == 0]).max() <= 1e-6


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    save_file(initial_arrays(resnet20(), 0), folder / "checkpoint.safetensors")
    card = {"network": "resnet20-cifar10", "sparsity_sd": 0.8, "sparsity_wd": 0.7, "seed": 5}
    (folder / "checkpoint.json").write_text(json.dumps(card))
    return folder


def test_a_checkpoint_becomes_a_file_of_the_sparsities_it_states(checkpoint, tmp_path):
    out = tmp_path / "x.dual"
    model = compress_checkpoint(checkpoint, out, CompressionRecipe(cell=0.2))
    assert read_dual(out).sha256 == model.sha256
    assert summary(model, out)["parameters"] == 269_722  # akamaster/pytorch_resnet_cifar10: 0.27 M
    assert summary(model, out)["compression_ratio"] == 4 * 269_722 / out.stat().st_size
    arrays = model.network.arrays
    weights = np.concatenate([arrays[f"{name}.weight"].ravel() for name in spatial_densities(model)])
    assert (weights == 0).mean() >= 0.8  # more: what quantization rounds to zero stays zero
    filters = winograd_model(model)
    assert filters.keys() == winograd_densities(model).keys()
    of_file = np.concatenate([W.ravel() for W in filters.values()])
    assert (of_file == 0).mean() >= 0.7
    assert model.provenance["seed"] == "5"
    assert model.accuracy == {}


def test_exact_zeros_of_the_winograd_domain_are_zeros_of_the_file(tmp_path, resnet8, bz2_coder):
    """Rounded one by one, weights that cancel no longer do; together, the file has the checkpoint's zeros."""
    arrays = initial_arrays(resnet8, 0)
    for w in arrays.values():
        if w.ndim > 1:
            w[np.abs(w) < np.median(np.abs(w))] = 0
    arrays = projected(arrays, initial_patterns(resnet8, arrays, Joint(spatial=0.5, winograd=0.6)))
    save_file(arrays, tmp_path / "checkpoint.safetensors")
    card = {"network": resnet8.name, "sparsity_sd": 0.5, "sparsity_wd": 0.6}
    (tmp_path / "checkpoint.json").write_text(json.dumps(card))
    regularizer = JointRegularizer(resnet8, {"default": 2})
    before = np.abs(regularizer.transform(arrays).copy()) < 1e-6
    zeros = {}
    for hold in (False, True):
        recipe = CompressionRecipe(relative_cell=0.3, hold=hold)
        model = compress_checkpoint(tmp_path, tmp_path / "m.dual", recipe)
        zeros[hold] = (np.abs(regularizer.transform(dict(model.network.arrays))) < 1e-6)[before].mean()
        if hold:
            filters = winograd_model(model)
            of_file = np.concatenate([(W == 0).ravel() for W in filters.values()])
            assert of_file[before].all()
    assert before.mean() >= 0.6
    assert zeros[True] == 1.0
    assert zeros[False] < 1.0


def test_a_recipe_measures_on_the_test_images(tmp_path, resnet8, bz2_coder):
    images = image_set(40)
    content = {
        f"{split}_{key}": value
        for split in ("train", "test")
        for key, value in (("images", np.repeat(np.repeat(images.pixels, 4, 1), 4, 2)), ("labels", images.labels))
    }
    np.savez(tmp_path / "data.npz", **content)
    save_file(initial_arrays(resnet8, 1), tmp_path / "w.safetensors")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"network: {resnet8.name}\ncell: 0.3\nspatial: 0.9\nwinograd: 0.5\ncalibration: 4\n"
        f"data: {{kind: npz, path: {tmp_path / 'data.npz'}}}\n"
        f"reference: {{network: {resnet8.name}, weights: {tmp_path / 'w.safetensors'}}}\nworkers: 1\n"
        "tune: {steps: 1, batch: 8, statistics: 1}\n"
    )
    lines = []
    settings = load_compression_recipe(recipe)
    model = compress_checkpoint(tmp_path / "w.safetensors", tmp_path / "x.dual", settings, lines.append)
    assert set(model.accuracy) == {"top1_reference", "top1_spatial", "top1_winograd"}
    assert all(0 <= value <= 100 for value in model.accuracy.values())
    assert set(model.input_density) == {f"{name}" for name in spatial_densities(model)}
    assert any("fine-tuning" in line for line in lines)
    assert any(f"with these {(tmp_path / 'x.dual').stat().st_size} bytes" in line for line in lines)


def test_an_interrupted_fine_tuning_goes_on_to_the_same_file(tmp_path, resnet8, bz2_coder):
    images = image_set(40)
    pixels = np.repeat(np.repeat(images.pixels, 4, 1), 4, 2)
    content = {f"{split}_images": pixels for split in ("train", "test")}
    np.savez(tmp_path / "data.npz", **content, train_labels=images.labels, test_labels=images.labels)
    weights = tmp_path / "w.safetensors"
    save_file(initial_arrays(resnet8, 1), weights)
    tune = {"steps": 3, "batch": 8, "statistics": 1, "weight_rate": 0.01, "checkpoint_steps": 2}
    recipe = CompressionRecipe(
        network=resnet8.name,
        cell=0.3,
        spatial=0.5,
        winograd=0.5,
        data={"kind": "npz", "path": str(tmp_path / "data.npz")},
        calibration=4,
        tune=tune,
        workers=1,
    )
    whole = compress_checkpoint(weights, tmp_path / "whole.dual", recipe)

    def stop(line):
        if "step 3" in line:
            raise KeyboardInterrupt

    out = tmp_path / "x.dual"
    with pytest.raises(KeyboardInterrupt):
        compress_checkpoint(weights, out, recipe, stop)
    with pytest.raises(InputError, match="expected --resume"):
        compress_checkpoint(weights, out, recipe)
    other = recipe.model_copy(update={"cell": 0.25})
    with pytest.raises(InputError, match="another recipe"):
        compress_checkpoint(weights, out, other, resume=True)
    assert compress_checkpoint(weights, out, recipe, resume=True).sha256 == whole.sha256
    assert sorted(path.name for path in tmp_path.glob("*.dual*")) == ["whole.dual", "x.dual"]
    with pytest.raises(InputError, match="No such file or directory, expected the state"):
        compress_checkpoint(weights, out, recipe, resume=True)


def test_coarser_cells_make_a_smaller_file(tmp_path, resnet8, bz2_coder):
    weights = tmp_path / "w.safetensors"
    save_file(initial_arrays(resnet8, 1), weights)
    recipe = CompressionRecipe(network=resnet8.name, relative_cell=0.5, spatial=0.5, winograd=0.4)
    plain = compress_checkpoint(weights, tmp_path / "x.dual", recipe)
    coarser = compress_checkpoint(weights, tmp_path / "y.dual", recipe.model_copy(update={"coarser": 1.5}))
    by_hand = compress_checkpoint(weights, tmp_path / "z.dual", recipe.model_copy(update={"relative_cell": 0.75}))
    assert coarser.file_bytes < plain.file_bytes
    assert coarser.sha256 == by_hand.sha256
    with pytest.raises(ValueError, match="coarser: expected the key relative_cell"):
        CompressionRecipe(cell=0.1, coarser=1.1)


def test_an_interrupted_rounding_goes_on_to_the_same_file(tmp_path, resnet8, bz2_coder):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    labels = np.arange(12) % 10
    np.savez(tmp_path / "data.npz", train_images=pixels, test_images=pixels, train_labels=labels, test_labels=labels)
    weights = tmp_path / "w.safetensors"
    save_file(initial_arrays(resnet8, 1), weights)
    recipe = CompressionRecipe(
        network=resnet8.name,
        relative_cell=0.5,
        spatial=0.5,
        winograd=0.4,
        hold=True,
        fit=8,
        data={"kind": "npz", "path": str(tmp_path / "data.npz")},
        calibration=4,
        workers=1,
    )
    lines: list[str] = []
    whole = compress_checkpoint(weights, tmp_path / "whole.dual", recipe, lines.append)
    assert sum(line.startswith("rounded layer ") for line in lines) == 8
    out = tmp_path / "x.dual"

    def stop(line):
        if line.startswith("rounded layer 3 of 8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress_checkpoint(weights, out, recipe, stop)
    with pytest.raises(InputError, match="expected --resume"):
        compress_checkpoint(weights, out, recipe)
    with pytest.raises(InputError, match="another recipe"):
        compress_checkpoint(weights, out, recipe.model_copy(update={"fit": 9}), resume=True)
    lines.clear()
    assert compress_checkpoint(weights, out, recipe, lines.append, resume=True).sha256 == whole.sha256
    assert lines[0] == "going on after 3 of 8 layers"
    assert sum(line.startswith("rounded layer ") for line in lines) == 5
    assert sorted(path.name for path in tmp_path.glob("*.dual*")) == ["whole.dual", "x.dual"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("cel: 0.1", "cel: unknown key, did you mean 'cell'"),
        ("cell: -1", "cell"),
        ("cell: [", "not YAML"),
        ("winograd: 2", "winograd"),
        ("tune: {step: 1}", "tune.step"),
        ("{hold: true, dither: 1}", "hold: expected neither dither nor tune"),
        ("fit: 10", "fit: expected the key data to name its images"),
        ("{cell: 0.1, relative_cell: 0.1}", "cell: expected no relative_cell beside it"),
        ("relative_cell: much", r"yaml: relative_cell: input should be a valid number"),
        ("images: ../x.npz", "images: '../x.npz', expected the name of a file beside the model"),
        ("images: ''", "images: '', expected the name of a file"),
        ("{images: x.npz, provenance: {images: y.npz}}", "provenance.images: is the key images"),
        ("provenance: {'': x}", "provenance.*at least 1 character"),
        ("calibration: 10", "calibration: means nothing without data"),
        ("cell: '0.1'", "cell: input should be a valid number, got '0.1'"),
        ("tune: {steps: 1}", "tune: expected the key data"),
        ("correct: true", "correct: expected the key data"),
        ("search: {images: 5}", "search: expected the key data"),
        ("{tune: {steps: 1}, data: {kind: super_resolution, path: sr}}", "tune: expected images with labels"),
    ],
)
def test_faults_of_a_recipe_are_one_line(tmp_path, text, match):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        load_compression_recipe(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_faults_of_a_checkpoint_are_one_line(checkpoint, tmp_path):
    out = tmp_path / "x.dual"
    with pytest.raises(InputError, match="bare weight file"):
        compress_checkpoint(tmp_path / "none.safetensors", out, CompressionRecipe())
    with pytest.raises(InputError, match="network 'resnet21' is not known"):
        compress_checkpoint(checkpoint, out, CompressionRecipe(network="resnet21"))
    with pytest.raises(InputError, match="too small"):
        compress_checkpoint(checkpoint, out, CompressionRecipe(cell=1e-9))
    (checkpoint / "checkpoint.json").write_text('{"network": "resnet20-cifar10"}')
    with pytest.raises(InputError, match="states no sparsity_sd, expected a recipe with the key spatial"):
        compress_checkpoint(checkpoint, out, CompressionRecipe())
    (checkpoint / "checkpoint.json").write_text("{")
    with pytest.raises(InputError, match="not a checkpoint's card"):
        compress_checkpoint(checkpoint, out, CompressionRecipe())
    assert not out.exists()


def test_layers_that_the_checkpoint_keeps_out_of_the_winograd_domain_stay_out():
    network = small_network()
    regularizer = JointRegularizer(network.graph, {"default": 2})
    first, *rest = regularizer.winograd
    card = {"network": "resnet20-cifar10", "sparsity_sd": 0.2, "sparsity_wd": 0.3, "winograd_m": dict.fromkeys(rest, 2)}
    tiles = layer_tiles(network.graph, CompressionRecipe(tile=4), card)
    assert tiles == dict.fromkeys(rest, 4)
    assert layer_tiles(network.graph, CompressionRecipe(), {}) == {first: 2} | dict.fromkeys(rest, 2)
    theta = winograd_threshold(network, tiles, 0.5)
    compressed = compressed_network(quantize(network, 0.1, 0.1), winograd_m=tiles, winograd_threshold=theta)
    model = decode_dual(encode_dual(compressed), "m.dual")
    assert model.winograd_m == tiles
    assert first not in winograd_densities(model)
