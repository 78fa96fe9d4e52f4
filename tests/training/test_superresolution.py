"""Super-resolution: the published bicubic figures, strips that equal the whole image, and a run that gains on them."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.recipe import CompressionRecipe
from accelsim.errors import InputError
from accelsim.network.graph import Network
from accelsim.network.weights import save_network
from accelsim.network.zoo import named_graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.training import psnr as evaluation
from accelsim.training.compiled import CompiledNetwork
from accelsim.training.first_weights import identity_arrays, initial_arrays
from accelsim.training.psnr import bicubic_psnr, enhance, psnr
from accelsim.training.recipe import Data
from accelsim.training.run import train_recipe
from accelsim.training.superresolution import (
    ONE_CHANNEL,
    cubic_matrix,
    degrade,
    luminance,
    photographs,
    read_planes,
    training_patches,
)
from accelsim.training.winograd_op import winograd_operations
from tests.network.reference_data import data_folder


def write_archives(folder: Path, counts: dict[str, int], side: int = 36) -> Path:
    """Zip archives of smooth pictures with sharp edges."""
    rng = np.random.default_rng(5)
    for name, count in counts.items():
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for i in range(count):
                pixels = np.full((side + i, side, 3), 40, np.uint8)
                for _ in range(6):
                    top, left = rng.integers(0, side - 8, 2)
                    pixels[top : top + 14, left : left + 9] = rng.integers(0, 256, 3)
                buffer = BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                archive.writestr(f"{i}.png", buffer.getvalue())
    return folder


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    folder = tmp_path / "sr"
    folder.mkdir()
    return write_archives(folder, {"train91": 3, "set5": 2, "set14": 1})


def settings(folder: Path, **changes: object) -> Data:
    return Data.model_validate({"kind": "super_resolution", "path": str(folder), "patch": 24} | changes)


@pytest.mark.parametrize(("have", "want"), [(12, 4), (4, 12), (17, 17), (9, 3), (30, 10), (7, 14)])
def test_cubic_resampling_keeps_constants_and_symmetry(have: int, want: int) -> None:
    matrix = cubic_matrix(have, want)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)
    if have == want:
        np.testing.assert_allclose(matrix, np.eye(have), atol=1e-12)


@pytest.mark.parametrize(("have", "want"), [(60, 20), (20, 60), (48, 24), (24, 48)])
def test_cubic_resampling_is_pillows_away_from_the_edges(have: int, want: int) -> None:
    """Pillow's BICUBIC has the same kernel (a = -1/2, widened when reducing) but cuts it off at the edges."""
    signal = np.random.default_rng(1).random((1, have)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(signal).resize((want, 1), Image.Resampling.BICUBIC))[0]
    ours = cubic_matrix(have, want) @ signal[0]
    edge = 3 * max(want // have, 1)
    np.testing.assert_allclose(ours[edge:-edge], theirs[edge:-edge], atol=1e-6)


def test_luminance_of_black_white_and_the_primaries_is_that_of_bt_601() -> None:
    """ITU-R BT.601: 16 and 235 for black and white; red, green and blue have 81, 145 and 41."""
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(luminance(colours), [[16, 235, 81, 145, 41]])


def test_a_file_of_one_channel_is_taken_as_it_is(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.fromarray(np.full((10, 11), 200, np.uint8)).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"{ONE_CHANNEL[0]}.png", buffer.getvalue())
        archive.writestr("other.png", buffer.getvalue())
    planes = read_planes(tmp_path / "a.zip", 3)
    assert planes[f"{ONE_CHANNEL[0]}.png"].shape == (9, 9)  # cut to a multiple of 3
    assert (planes[f"{ONE_CHANNEL[0]}.png"] == 200).all()
    assert (planes["other.png"] == np.floor(16 + 219 * 200 / 255 + 0.5)).all()


def test_psnr_is_that_of_its_definition() -> None:
    truth = np.full((8, 8), 100, np.float32)
    y = truth + 5
    y[0] = 0  # in the border
    assert psnr(y, truth, 1) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(truth + 0.4, truth, 1) == float("inf")  # rounded to 8 bits


def test_patches_are_equally_turned_pieces_of_both_images(archives: Path) -> None:
    patches = training_patches(settings(archives), archives)
    index = np.arange(len(patches))
    low, high = patches.pairs(index)
    assert low.shape == high.shape == (len(patches), 24, 24, 1)
    image, top, left = patches.corners[-1]
    np.testing.assert_array_equal(high[-1, :, :, 0], patches.high[image][top : top + 24, left : left + 24])
    turned_low, turned_high = patches.pairs(index, np.random.default_rng(0))
    assert (turned_low != low).any()
    differences = [((a - b) ** 2).mean(axis=(1, 2, 3)) for a, b in ((turned_low, turned_high), (low, high))]
    np.testing.assert_allclose(*differences, rtol=1e-5)


@pytest.mark.parametrize("m", [2, 4])
def test_strips_equal_the_whole_image(m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with pruned Winograd filters, which are no convolution: what they do depends on where a tile begins."""
    graph = named_graph("ct-srcnn9")
    arrays = initial_arrays(graph, 3)
    regularizer = JointRegularizer(graph, {"default": m, "conv1": 0})
    assert "conv1" in regularizer.spatial
    assert "conv1" not in regularizer.winograd
    filters = regularizer.pruned_winograd(arrays, regularizer.thresholds(arrays, 0, 0.7)[1])
    plane = (255 * np.random.default_rng(2).random((135, 20))).astype(np.float32)
    whole_graph = graph.with_input_shape((135, 20, 1))
    for options in ({}, {"filters": filters, "tiles": regularizer.winograd}):
        operations = winograd_operations(filters, regularizer.winograd) if options else {}
        compiled = CompiledNetwork(whole_graph, arrays, 1, operations=operations)
        whole = 255 * compiled.forward(plane[None, :, :, None] / np.float32(255))[0, :, :, 0]
        monkeypatch.setattr(evaluation, "STRIP", 20 * 36)
        strips = enhance(graph, arrays, plane, **options)
        np.testing.assert_allclose(strips, whole, rtol=1e-4, atol=1e-3 * np.abs(whole).max())


def test_identity_start_is_bicubic_enlargement(archives: Path) -> None:
    graph = named_graph("ct-srcnn9")
    low = photographs(settings(archives), archives, ("set5",)).low["set5"]["0.png"]
    np.testing.assert_allclose(enhance(graph, identity_arrays(graph, 1), low), low.clip(0), atol=1e-4)
    with pytest.raises(InputError, match=r"start: identity.*resnet20"):
        identity_arrays(named_graph("resnet20-cifar10"), 1)


def recipe(folder: Path, archives: Path, **changes: object) -> Path:
    content = {
        "network": "ct-srcnn9",
        "start": "identity",
        "data": settings(archives).model_dump(exclude_defaults=True) | {"kind": "super_resolution"},
        "epochs": 20,
        "batch": 3,
        "seed": 1,
        "threads": 1,
        "log_steps": 1,
        "optimizer": {"rate": 1e-3, "warmup": 0.2},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def test_a_run_gains_on_bicubic_and_is_measured_in_both_domains(tmp_path: Path, archives: Path) -> None:
    card = train_recipe(recipe(tmp_path, archives), tmp_path / "dense")
    assert card["images"] == 3
    assert set(card["psnr"]) == {"bicubic", "unpruned"}
    assert card["psnr"]["unpruned"]["set5"] > card["psnr"]["bicubic"]["set5"] + 1
    weights = str(tmp_path / "dense" / "checkpoint.safetensors")
    joint = recipe(
        tmp_path,
        archives,
        start=weights,
        teacher={"network": "ct-srcnn9", "weights": weights, "share": 0.5},
        joint={"spatial": 0.3, "winograd": 0.3, "alpha": 1e-3, "z_start": "balanced"},
        epochs=1,
    )
    card = train_recipe(joint, tmp_path / "joint")
    assert set(card["psnr"]) == {"bicubic", "unpruned", "spatial", "winograd"}
    assert all(set(figures) == {"set5", "set14"} for figures in card["psnr"].values())
    assert card["winograd_m"]["conv2"] == 2


def test_folders_in_an_archive_are_passed_over(archives: Path) -> None:
    found = read_planes(archives / "set5.zip", 3)
    with zipfile.ZipFile(archives / "set5.zip", "a") as archive:
        archive.writestr("pictures/", b"")
    assert list(read_planes(archives / "set5.zip", 3)) == list(found)


def test_bad_data_and_networks_are_refused_in_one_line(tmp_path: Path, archives: Path) -> None:
    with pytest.raises(InputError, match=r"key network: resnet20-cifar10, expected a super-resolution network"):
        train_recipe(recipe(tmp_path, archives, network="resnet20-cifar10", start=None), tmp_path / "out")
    with pytest.raises(InputError, match=r"train91.zip: no image holds a patch of 100 pixels"):
        training_patches(settings(archives, patch=100), archives)
    with pytest.raises(InputError, match=r"set5.zip: '0.png' is 36 x 36 pixels, expected 39 to 4096 each way"):
        read_planes(archives / "set5.zip", 13)  # 26 x 26 of them, less a border of 13, is nothing: its PSNR was NaN
    with pytest.raises(InputError, match=r"set5.zip: '0.png' is 36 x 36 pixels, expected 111 to 4096 each way"):
        read_planes(archives / "set5.zip", 37)  # ended in a division by zero
    buffer = BytesIO()
    Image.new("L", (4097, 9)).save(buffer, "PNG")
    with zipfile.ZipFile(archives / "set14.zip", "a") as archive:
        archive.writestr("wide.png", buffer.getvalue())
    with pytest.raises(InputError, match=r"set14.zip: 'wide.png' is 9 x 4097 pixels, expected 9 to 4096 each way"):
        read_planes(archives / "set14.zip", 3)  # its matrices have the square of its side: 40,000 took 4 GB
    whole = (archives / "set14.zip").read_bytes()
    (archives / "set14.zip").write_bytes(whole.replace(b"\x89PNG", b"\x00PNG", 1))
    with pytest.raises(InputError, match=r"set14.zip: .*CRC.*expected a zip archive of images"):
        photographs(settings(archives), archives)
    with zipfile.ZipFile(archives / "train91.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("0.png", archive.read("1.png"))
    with pytest.raises(InputError, match=r"train91.zip: two images are called '0.png', expected one"):
        training_patches(settings(archives), archives)
    (archives / "set5.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"set5.zip: .*expected a zip archive of images"):
        photographs(settings(archives), archives)
    (archives / "set5.zip").unlink()
    with pytest.raises(InputError, match=r"set5.zip: No such file"):
        photographs(settings(archives), archives)


@pytest.mark.big_data
@pytest.mark.parametrize(("scale", "set5", "set14"), [(2, 33.66, 30.24), (3, 30.39, 27.55), (4, 28.42, 26.00)])
def test_bicubic_figures_are_the_published_ones(scale: int, set5: float, set14: float) -> None:
    """Kim et al., CVPR 2016, table 3 (Set14 x3 is 27.54 or 27.55 in the literature)."""
    folder = data_folder() / "sr"
    figures = bicubic_psnr(photographs(settings(folder, scale=scale), folder))
    assert figures["set5"] == pytest.approx(set5, abs=0.006)
    assert figures["set14"] == pytest.approx(set14, abs=0.0105)


def test_planes_are_degraded_and_keep_their_size() -> None:
    plane = np.tile(np.float32([0, 255]), (12, 6))
    low = degrade(plane, 2)
    assert low.shape == plane.shape
    assert low.std() < 0.3 * plane.std()


def test_a_super_resolution_network_is_compressed_and_measured_in_db(
    tmp_path: Path, archives: Path, bz2_coder: None
) -> None:
    graph = named_graph("ct-srcnn9")
    arrays = identity_arrays(graph, 1)
    save_network(Network(graph, arrays), tmp_path / "w.safetensors")
    content = {
        "network": "ct-srcnn9",
        "relative_cell": 0.01,
        "spatial": 0.0,
        "winograd": 0.0,
        "value_bits": 16,
        "calibration": 2,
        "data": {"kind": "super_resolution", "path": str(archives), "patch": 24},
        "reference": {"network": "ct-srcnn9", "weights": str(tmp_path / "w.safetensors")},
    }
    model = compress_checkpoint(
        tmp_path / "w.safetensors", tmp_path / "m.dual", CompressionRecipe.model_validate(content)
    )
    names = [f"psnr_{name}_{domain}" for domain in ("reference", "spatial", "winograd") for name in ("set5", "set14")]
    assert sorted(model.accuracy) == sorted(names)
    bicubic = bicubic_psnr(photographs(settings(archives), archives))
    for name in names:
        assert model.accuracy[name] == pytest.approx(bicubic[name.split("_")[1]], abs=0.05)
    assert 0 < model.input_density["conv2"].mean() < 1
    searched = compress_checkpoint(
        tmp_path / "w.safetensors",
        tmp_path / "s.dual",
        CompressionRecipe.model_validate(content | {"search": {"images": 2, "factors": [0.5, 2]}, "correct": True}),
    )
    assert searched.accuracy["psnr_set5_spatial"] == pytest.approx(bicubic["set5"], abs=0.05)
