"""What commands are given that cannot be meant: refused in one line, and no file that they read is written over."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import accelsim
from accelsim.cli import main
from accelsim.dual.deploy import at_other_zeros, winograd_model
from accelsim.errors import InputError, NumericalError
from accelsim.sparsity.recipe import Joint
from accelsim.training import checkpoint
from accelsim.training.datasets import load_split
from accelsim.training.evaluate import top1
from accelsim.training.recipe import Data, OptimizerSettings, Recipe, Teacher
from tests.small_dual import write_images, write_small

TABLE = (
    "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding\nc1,conv,16,32,16,16,3,3,1,1\n"
)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``small.dual``, ``images.npz`` and ``net.csv``, where commands run."""
    monkeypatch.chdir(tmp_path)
    write_small(Path("small.dual"))
    write_images(Path("images.npz"))
    Path("net.csv").write_text(TABLE)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command is refused with."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("key", ["weight_bits", "activation_bits", "transformed_bits", "codebook_bits"])
def test_words_of_one_bit_compute_nothing(small: Path, capsys: pytest.CaptureFixture[str], key: str) -> None:
    wish = ("--images", "images.npz", "--set", f"arithmetic.{key}=1")
    for command in (["validate"], ["validate", "--search-widths"], ["calibrate", "-o", "new.dual"]):
        if key != "codebook_bits" or len(command) != 2:  # a search says that it knows no codebooks
            line = refused(capsys, command[0], "small.dual", "winograd-16x16", *wish, *command[1:])
            assert f"winograd-16x16: arithmetic.{key} 1, expected at least 2" in line
    assert not Path("new.dual").exists()


def test_a_reference_that_the_network_cannot_give_is_no_reference(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("other.npz"), reference=np.full(20, 10))  # ten classes: 0 to 9
    line = refused(capsys, "validate", "small.dual", "spatial-16x16", "winograd-16x16", "--images", "other.npz")
    assert "other.npz: reference 10, small has the classes 0 to 9" in line


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("calibrate small.dual spatial-16x16 --images images.npz -o images.npz", "images.npz"),
        ("calibrate small.dual spatial-16x16 --images small.dual -o small.dual", "small.dual"),
        ("simulate net.csv spatial-16x16 --engine fast --table net.csv", "net.csv"),
        ("compare net.csv spatial-16x16 winograd-16x16 --engine fast --table ./net.csv", "net.csv"),
        ("simulate small.dual spatial-16x16 --trace small.dual", "small.dual"),
        ("compress small.safetensors -o small.safetensors", "small.safetensors"),
        ("import topology.csv -o topology.csv", "topology.csv"),
    ],
)
def test_what_a_command_reads_it_does_not_write_over(
    small: Path, capsys: pytest.CaptureFixture[str], command: str, file: str
) -> None:
    save_file({"w": np.zeros(3, np.float32)}, "small.safetensors")
    head = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
    Path("topology.csv").write_text(f"{head}\nconv1, 34, 34, 3, 3, 3, 16, 1,\n")
    before = Path(file).read_bytes()
    assert f"{file}: " in refused(capsys, *command.split())
    assert Path(file).read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        "simulate small.dual spatial-16x16 --trace -",
        "simulate small.dual spatial-16x16 --trace folder",
        "compress small.safetensors -o folder.dual",
        "calibrate small.dual spatial-16x16 --images images.npz -o folder.dual",
        "calibrate small.dual spatial-16x16 --images images.npz -o new.txt",
        "export small.dual -o folder.onnx",
    ],
)
def test_where_no_file_can_be_written_is_said_at_once(
    small: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for name in ("folder", "folder.dual", "folder.onnx"):
        Path(name).mkdir()
    before = sorted(small.iterdir())
    assert "expected" in refused(capsys, *command.split())
    assert sorted(small.iterdir()) == before


def test_a_machine_of_calibrate_takes_its_own_overrides(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wish = [
        "calibrate",
        "small.dual",
        "spatial-16x16",
        "--images",
        "images.npz",
        "-o",
        "new.dual",
        "--count",
        "2",
        "--set",
    ]
    assert main([*wish, "spatial-16x16:arithmetic.activation_bits=6"]) == 0
    (kept,) = accelsim.load_model("new.dual").calibrations
    assert kept.arithmetic["activation_bits"] == 6
    capsys.readouterr()
    assert "'other' is not among the machines" in refused(capsys, *wish, "other:arithmetic.activation_bits=6")


def test_a_table_is_no_model_with_weights(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("validate", "export"):
        line = refused(capsys, command, "alexnet", *(["spatial-16x16"] if command == "validate" else ["-o", "x.onnx"]))
        assert "alexnet: a table of layers, without weights" in line


def test_zeros_are_asked_for_in_one_way(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = accelsim.load_model("small.dual")
    for deploy in (winograd_model, at_other_zeros):
        with pytest.raises(ValueError, match="not both"):
            deploy(model, m=2, threshold=0.1, sparsity=0.5)
        for beyond in (float("inf"), float("nan"), 1e39, -1.0):  # float32 ends at 3.4e38
            with pytest.raises(ValueError, match=r"threshold must be 0 or more, up to 3\.4e\+38"):
                deploy(model, m=2, threshold=beyond)
    line = refused(capsys, *["simulate", "small.dual", "winograd-16x16", "--sparsity", "0.5", "--threshold", "0.1"])
    assert "not both" in line


NOTHING: tuple[Any, ...] = (None, b"small.dual", 3, "a\0b")


@pytest.mark.parametrize("nothing", NOTHING)
def test_what_is_no_path_is_refused(small: Path, nothing: Any) -> None:
    doors = (
        lambda: accelsim.load_model(nothing),
        lambda: accelsim.load_workload(nothing),
        lambda: accelsim.load_hardware(nothing),
        lambda: accelsim.train(nothing, "out"),
        lambda: accelsim.compress("small.dual", nothing),
        lambda: accelsim.compress(nothing, "x.dual"),
        lambda: accelsim.sparsify("small.dual", nothing),
        lambda: accelsim.import_file(nothing, "x.dual"),
        lambda: accelsim.explore_network("small.dual", nothing),
        lambda: accelsim.export("small.dual", nothing),
        lambda: accelsim.calibrate("small.dual", "spatial-16x16", "images.npz", nothing),
        lambda: accelsim.calibrate("small.dual", "spatial-16x16", nothing, "x.dual"),
        lambda: accelsim.export_int8("small.dual", "spatial-16x16", "images.npz", nothing),
        lambda: accelsim.redraw_report(nothing),
        lambda: accelsim.write_table(accelsim.load_model("small.dual"), nothing),  # type: ignore[arg-type]
        lambda: accelsim.sweep(nothing, "out"),
    )
    before = sorted(small.iterdir())
    for door in doors:
        with pytest.raises(InputError):
            door()
    assert sorted(small.iterdir()) == before


def sweep_file(models: str) -> Path:
    path = Path("sweep.yaml")
    path.write_text(f"models: [{models}]\naxes: {{clock_mhz: [400]}}\nmachines: {{w: {{base: winograd-16x16}}}}\n")
    return path


def test_a_threshold_of_a_layer_that_is_not_there_is_refused_before_a_point(small: Path) -> None:
    path = sweep_file("{path: small.dual, layer_thresholds: {conv9: [0.1]}}")
    with pytest.raises(InputError, match="'conv9' is no convolution that Winograd can serve, did you mean 'conv"):
        accelsim.sweep(path, "out", workers=1)
    assert not Path("out").exists()


def test_a_scheduler_is_an_address(small: Path) -> None:
    with pytest.raises(InputError, match="scheduler 3, expected the address"):
        accelsim.sweep(sweep_file("net.csv"), "out", scheduler=3)  # type: ignore[arg-type]


def test_a_dry_run_writes_into_no_empty_file(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    kept = Path("out/results.sqlite")
    kept.touch()
    assert main(["sweep", str(sweep_file("net.csv")), "-o", "out", "--dry-run", "--workers", "1"]) == 0
    assert kept.read_bytes() == b""
    with sqlite3.connect(kept) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_images_to_train_on_fit_the_network_in_channels_and_bear_known_names(tmp_path: Path) -> None:
    arrays = {f"{split}_labels": np.zeros(2, np.uint8) for split in ("train", "test")}
    for split in ("train", "test"):
        arrays[f"{split}_images"] = np.zeros((2, 8, 8, 1), np.uint8)
    data = Data(kind="npz", path=str(tmp_path / "grey.npz"))
    np.savez(data.path, **arrays)
    assert len(load_split(data, "train", (8, 8, 1), 1)) == 2
    with pytest.raises(InputError, match=r"images of \(8, 8, 1\), expected \(8, 8, 3\)"):
        load_split(data, "train", (8, 8, 3), 1)
    np.savez(data.path, **arrays, train_weights=np.ones(2))
    with pytest.raises(InputError, match="array 'train_weights' is not known"):
        load_split(data, "train", (8, 8, 1), 1)


def test_a_state_with_a_flipped_bit_is_not_gone_on_from(tmp_path: Path) -> None:
    checkpoint.save_state(tmp_path, {"values": np.ones(64, np.float32)}, {"step": 3})
    arrays, notes = checkpoint.load_state(tmp_path)
    assert notes == {"step": 3}
    state = tmp_path / checkpoint.STATE
    content = bytearray(state.read_bytes())
    content[-2] ^= 1  # of the last weight: still a finite number
    state.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load_state(tmp_path)
    save_file(arrays, state, {"state": '{"step": 3}'})  # as states were written before they had a sum
    assert checkpoint.load_state(tmp_path)[1] == notes
    with safe_open(state, framework="np") as stored:
        assert stored.metadata() == {"state": '{"step": 3}'}


@pytest.mark.parametrize(
    ("section", "key", "beyond"),
    [
        (OptimizerSettings, "weight_decay", 1e30),
        (Teacher, "temperature", 1e-300),
        (Teacher, "temperature", 1e300),
        (Teacher, "hint_weight", 1e30),
        (Joint, "alpha", 1e300),
        (Joint, "z_rate", 1e30),
    ],
)
def test_numbers_of_a_recipe_stay_within_float32(section: Any, key: str, beyond: float) -> None:
    needed = {"network": "vgg16", "hint": "x"} if section is Teacher else {}
    with pytest.raises(ValueError, match=key):
        section.model_validate({**needed, key: beyond})


def test_a_run_does_not_stop_after_its_end() -> None:
    data = {"kind": "npz", "path": "x.npz"}
    Recipe.model_validate({"network": "vgg16", "data": data, "epochs": 3, "stop_after": 3})
    with pytest.raises(ValueError, match="stop_after: 4, expected at most the 3 of epochs"):
        Recipe.model_validate({"network": "vgg16", "data": data, "epochs": 3, "stop_after": 4})


def test_outputs_that_are_not_finite_have_no_accuracy(small: Path) -> None:
    network = accelsim.load_model("small.dual").network
    arrays = dict(network.arrays) | {"classes.bias": np.full(10, np.nan, np.float32)}
    data = Data(kind="npz", path="./images8.npz")
    pixels = np.zeros((2, 12, 12, 3), np.uint8)
    np.savez("images8.npz", test_images=pixels, test_labels=[0, 0])
    images = load_split(data, "test", (12, 12, 3), 10)
    assert top1(network.graph, network.arrays, images) in {0.0, 50.0, 100.0}
    with pytest.raises(NumericalError, match="small: an output is not finite"):
        top1(network.graph, arrays, images)
