"""No command writes over what it reads, and no folder holds results of two kinds."""

from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.errors import InputError
from accelsim.files import alone_in
from accelsim.results_folder import COMPARISON, EXPLORATION, KINDS, SWEEP, Results

from .small_dual import ROOT, write_images, write_small
from .test_public_faults import one_line, run

SWEEP_FILE = """
models: [small.dual]
machines:
  spatial: {base: spatial-16x16, axes: {clock_mhz: [100, 200]}}
"""


def test_an_exploration_keeps_the_file_that_it_explores(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    images = write_images(tmp_path / "images.npz")
    for name in ("dense", "sparse-6x"):
        source = write_small(folder / f"{name}.dual")
        before = source.read_bytes()
        said = one_line(*run("explore", source, "--images", images, "-o", folder))
        assert f"{name}.dual: is read for what would be written there" in said
        assert source.read_bytes() == before


def test_sparsify_and_compress_keep_what_they_read(tmp_path: Path) -> None:
    source = write_small(tmp_path / "small.dual")
    labels = tmp_path / "other.layers.csv"
    labels.write_text("file,label\n0.png,0\n")
    assert "is read for" in one_line(*run("sparsify", source, "-o", source))
    said = one_line(*run("sparsify", source, "--images", tmp_path, "--labels", labels, "-o", tmp_path / "other.dual"))
    assert "other.layers.csv: is read for" in said
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"rounded: {source}\nfit: 8\ndata: {{kind: npz, path: images.npz}}\n")
    assert "small.dual: is read for" in one_line(*run("compress", tmp_path, "--recipe", recipe, "-o", source))


def writers(kind: Results, model: Path, folder: Path) -> tuple[object, ...]:
    """The command that writes results of a kind into a folder."""
    if kind == COMPARISON:
        return "compare", model, "spatial-16x16", "-o", folder
    if kind == EXPLORATION:
        return "explore", model, "-o", folder
    sweep = model.with_name("sweep.yaml")
    sweep.write_text(SWEEP_FILE)
    return "sweep", sweep, "-o", folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_holds_one_kind_of_results(tmp_path: Path, kind: Results) -> None:
    model = write_small(tmp_path / "small.dual")
    for other in KINDS:
        if other == kind:
            continue
        folder = tmp_path / other.file
        folder.mkdir()
        (folder / other.file).write_text("what is there")
        said = one_line(*run(*writers(kind, model, folder)))
        assert f"holds {other.name} ({other.file}), expected another folder for {kind.name}" in said
        assert [path.name for path in folder.iterdir()] == [other.file]


def test_a_page_drawn_again_does_not_go_into_another_sweep(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / SWEEP.file).touch()
    with pytest.raises(InputError, match="other: holds a sweep of its own"):
        accelsim.redraw_report(tmp_path / "one", tmp_path / "other")


def test_a_table_is_none_of_the_files_beside_it(tmp_path: Path) -> None:
    model = write_small(tmp_path / "small.dual")
    for name in ("totals.csv", "spatial-16x16.csv", "band.csv"):
        arguments = ("--engine", "fast", "-o", tmp_path / "out", "--table", tmp_path / "out" / name)
        assert "a file of -o" in one_line(*run("compare", model, "spatial-16x16", *arguments))
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP_FILE)
    said = one_line(*run("sweep", sweep, "-o", tmp_path / "out", "--table", tmp_path / "out" / "front.csv"))
    assert "a file of -o" in said
    assert not (tmp_path / "out").exists()
    both = tmp_path / "x.csv"
    assert "expected two files" in one_line(*run("simulate", model, "spatial-16x16", "--table", both, "--trace", both))


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "none.dual", "spatial-16x16"),
        ("explore", "none.dual"),
        ("sweep", "none.yaml"),
        ("train", "none.yaml"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        said = one_line(*run(*words, "-o", folder))
        assert f"{folder}: {tmp_path / 'file'} is no folder, expected a folder to write to" in said


@pytest.mark.parametrize(
    "words",
    [
        ("sparsify", "none.onnx", "-o", "x.dual"),
        ("simulate", "none.dual", "spatial-16x16", "--trace", "x.json"),
        ("simulate", "none.dual", "spatial-16x16", "--table", "x.csv"),
        ("import", "none.onnx", "-o", "x.dual"),
    ],
)
def test_nor_is_a_file_in_such_a_folder(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("in the way")
    *first, name = words
    said = one_line(*run(*first, tmp_path / "file" / name))
    assert f"{tmp_path / 'file'} is no folder, expected a folder to write to" in said


def test_two_runs_do_not_make_one_file(tmp_path: Path) -> None:
    """Neither takes the other's work, nor removes it, nor writes its own layers beside the other's file."""
    model = write_small(tmp_path / "small.dual")
    images = write_images(tmp_path / "images.npz")
    work = tmp_path / "out.dual.work"
    for more in ((), ("--resume",), ("--machine", "winograd-16x16", "--latency", "5ms")):
        with alone_in(work, "mine"):
            said = one_line(*run("sparsify", model, "--images", images, *more, "-o", tmp_path / "out.dual"))
        assert "another run for out.dual is running there" in said
        assert not work.exists()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"fit: 8\ncell: 0.1\ndata: {{kind: npz, path: {tmp_path}/pixels.npz}}\n")
    pixels = np.zeros((8, 32, 32, 3), np.uint8)
    labels = np.zeros(8, int)
    np.savez(tmp_path / "pixels.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    checkpoint = ROOT / "models" / "checkpoints" / "resnet20-joint"
    with alone_in(tmp_path / "out.dual.rounding", "mine"):
        said = one_line(*run("compress", checkpoint, "--recipe", recipe, "-o", tmp_path / "out.dual"))
    assert "another compression is running there" in said


def test_a_run_that_is_refused_leaves_no_folder_but_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(InputError, match="refused"), alone_in(tmp_path / name, "another run"):
            raise InputError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
