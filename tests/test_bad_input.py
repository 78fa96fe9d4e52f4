"""Bad input gives exit status 2 and one line that names the file, the key and what was expected, and writes nothing."""

import importlib
import pkgutil
import subprocess
import sys
from typing import Annotated, get_args, get_origin

import numpy as np
import pytest
from pydantic import BaseModel

import accelsim
from accelsim.cli import main
from tests.small_dual import ROOT, write_images, write_small
from tests.undrawn import without_pictures


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_images(folder / "images.npz")
    return write_small(folder / "small.dual")


@pytest.fixture
def fail(capsys, tmp_path):
    """Run a command that must fail; its message.  ``words`` must all be in it; nothing may be written."""

    def fail(*arguments, words):
        before = sorted(tmp_path.rglob("*"))
        assert main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        assert printed.err.endswith("\n")
        assert printed.err.count("\n") == 1
        for word in words:
            assert word in printed.err, printed.err
        assert sorted(tmp_path.rglob("*")) == before
        return printed.err

    return fail


@pytest.fixture
def machine(tmp_path):
    """A machine file with one piece of spatial-16x16 replaced."""

    def machine(old="", new=""):
        text = (ROOT / "hwconfigs" / "spatial-16x16.yaml").read_text()
        assert old in text
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(old, new, 1))
        return path

    return machine


@pytest.mark.parametrize("command", ["simulate", "compare", "validate"])
def test_missing_model(fail, command):
    fail(command, "nowhere.dual", "spatial-16x16", words=["nowhere.dual", "No such file", "expected a .dual file"])


def test_missing_file_to_inspect(fail):
    fail("inspect", "nowhere.dual", words=["nowhere.dual", "expected a .dual file"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tile", "0"], ["--tile 0", "expected 1 to 16"]),
        (["--tile", "17"], ["--tile 17"]),
        (["--threshold", "-1"], ["small.dual", "must be 0 or more"]),
        (["--sparsity", "2"], ["small.dual", "must be in 0..1"]),
        (["--sparsity", "0.5", "--threshold", "0.5"], ["not both"]),
    ],
)
def test_bad_deployment(fail, model, options, words):
    fail("inspect", model, *options, words=words)


def test_deployment_of_a_machine(fail):
    fail("inspect", "spatial-16x16", "--tile", "2", words=["spatial-16x16", "expected a .dual file"])


def test_folder_instead_of_a_model(fail, tmp_path):
    fail("inspect", tmp_path / "", "--json", words=[str(tmp_path)])
    (tmp_path / "folder.dual").mkdir()
    fail("simulate", tmp_path / "folder.dual", "spatial-16x16", words=["folder.dual", "expected a .dual file"])


def test_not_a_dual_file(fail, tmp_path):
    path = tmp_path / "picture.dual"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    fail("simulate", path, "spatial-16x16", words=["picture.dual"])
    path.write_bytes(b"")
    fail("simulate", path, "spatial-16x16", words=["picture.dual"])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_dual_file(fail, tmp_path, model, share):
    content = model.read_bytes()
    path = tmp_path / "cut.dual"
    path.write_bytes(content[: int(share * len(content))])
    fail("compare", path, "spatial-16x16", "winograd-16x16", "-o", tmp_path / "out", words=["cut.dual"])


def test_damaged_dual_file(fail, tmp_path, model):
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "damaged.dual"
    path.write_bytes(bytes(content))
    fail("simulate", path, "spatial-16x16", words=["damaged.dual"])


def test_unknown_key_names_the_nearest(fail, model, machine):
    path = machine("dataflow:", "dataflw:")
    fail("simulate", model, path, words=["mine.yaml", "dataflw", "did you mean 'dataflow'"])
    path = machine("weight_kb: 64", "weigth_kb: 64")
    fail("inspect", path, words=["buffers.weigth_kb", "did you mean 'weight_kb'", "buffers.weight_kb: missing"])


def test_negative_rows(fail, model, machine):
    path = machine("rows: 16", "rows: -16")
    fail("compare", model, path, words=["mine.yaml", "pe_array.rows", "greater than or equal to 1", "-16"])


@pytest.mark.parametrize("rows", ["many", "[16]", "1.5", ".nan", "1e400", "null"])
def test_wrong_type(fail, model, machine, rows):
    path = machine("rows: 16", f"rows: {rows}")
    fail("simulate", model, path, words=["mine.yaml", "pe_array.rows"])


def test_several_faults_at_once(fail, model, machine):
    text = "rows: -1, colums: 4, cols: sixteen"
    path = machine("rows: 16, cols: 16", text)
    fail("simulate", model, path, words=["pe_array.rows", "pe_array.colums", "pe_array.cols", "did you mean 'cols'"])


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "kind: [", "kind: quantum\n", "\x00", "a: &a [*a]\n"])
def test_not_a_machine(fail, model, tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    fail("simulate", model, path, words=["odd.yaml"])


def test_buffer_too_small_for_one_tile(fail, model):
    words = ["spatial-16x16", "buffers.input_kb", "too small for one tile of layer", "expected at least"]
    fail("simulate", model, "spatial-16x16", "--level=layers", "--set", "buffers.input_kb=0.01", words=words)
    tiny = "buffers={weight_kb: 64, input_kb: 0.01, output_kb: 0.01, activations: shared}"
    fail("simulate", model, "spatial-16x16", "--set", tiny, words=["spatial-16x16", "too small for one tile of layer"])
    fail("compare", model, "winograd-16x16", "--set", "buffers.weight_kb=0.01", words=["buffers.weight_kb", "tile"])


def test_unknown_machine_names_the_nearest(fail, model):
    fail("compare", model, "spatial-16x61", words=["spatial-16x61", "did you mean 'spatial-16x16'"])
    fail("inspect", "winograd-16x61", words=["did you mean 'winograd-16x16'"])
    fail("simulate", model, "nowhere.yaml", words=["nowhere.yaml", "No such file"])


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("rows", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("pe_array.rows=", "pe_array.rows"),
        ("pe_array.rows=0", "pe_array.rows"),
        ("pe_array.rows=[", "not a YAML value"),
        ("pe_aray.rows=3", "did you mean 'pe_array'"),
        ("clock_mhz.fast=3", "clock_mhz"),
        ("clock_mhz=.inf", "clock_mhz"),
        ("clock_mhz=4_00", "clock_mhz"),
        ("clock_mhz='400'", "clock_mhz"),
        ("clock_mhz=0400", "clock_mhz"),
        ("pe_array.rows=1_6", "pe_array.rows"),
        ("pe_array.rows=99999999999", "pe_array.rows"),
    ],
)
def test_bad_override(fail, model, override, word):
    fail("simulate", model, "spatial-16x16", "--set", override, words=[word])


def test_engine_typo(fail, model, tmp_path):
    fail("simulate", model, "spatial-16x16", "--engine", "evnt", words=["'evnt'", "event", "fast"])
    trace = tmp_path / "trace.json"
    arguments = ("simulate", model, "spatial-16x16", "--engine", "fast", "--trace", trace)
    fail(*arguments, words=["--trace", "event"])


@pytest.mark.parametrize("batch", ["0", "-1", "many", "1.5", "100000000000", "1_0", "2.0", "1e1", "\uff12", " 2", ""])
def test_bad_batch(fail, model, batch):
    fail("compare", model, "spatial-16x16", "--batch", batch, words=["batch"])


@pytest.mark.parametrize(
    "arguments", [["simulate"], ["compare", "x.dual"], ["inspect"], ["nothing"], ["simulate", "a", "b", "--colour"]]
)
def test_wrong_usage(fail, arguments):
    fail(*arguments, words=[])


def test_mistyped_command_names_the_nearest(fail):
    fail("simulat", words=["simulate"])


def test_output_that_cannot_be_written(fail, model, tmp_path, undrawn):
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        fail("compare", model, "spatial-16x16", "-o", output, words=[str(output), "expected a folder to write to"])
    trace = tmp_path / "file" / "trace.json"
    fail("simulate", model, "spatial-16x16", "--trace", trace, words=["file"])
    (tmp_path / "folder").mkdir()
    fail("simulate", model, "spatial-16x16", "--trace", tmp_path / "folder", words=["folder"])


def test_bad_images(fail, model, tmp_path):
    machines = ("spatial-16x16", "winograd-16x16")
    fail("validate", model, *machines, "--images", tmp_path / "none.npz", words=["none.npz"])
    (tmp_path / "text.npz").write_text("no archive")
    fail("validate", model, *machines, "--images", tmp_path / "text.npz", words=["text.npz"])
    np.savez(tmp_path / "nolabels.npz", images=np.zeros((2, 12, 12, 3), np.uint8))
    fail("validate", model, *machines, "--images", tmp_path / "nolabels.npz", words=["nolabels.npz", "labels"])
    np.savez(tmp_path / "small.npz", images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.zeros(2, int))
    fail("validate", model, *machines, "--images", tmp_path / "small.npz", words=["(8, 8, 3)", "(12, 12, 3)"])
    labels = np.array([3, 10])
    np.savez(tmp_path / "classes.npz", images=np.zeros((2, 12, 12, 3), np.uint8), labels=labels)
    fail("validate", model, *machines, "--images", tmp_path / "classes.npz", words=["label 10"])
    np.savez(tmp_path / "pickled.npz", images=np.array([{}], object), labels=labels)
    fail("validate", model, *machines, "--images", tmp_path / "pickled.npz", words=["pickled.npz"])


def test_model_that_names_no_sample_or_one_elsewhere(fail, tmp_path):
    none = write_small(tmp_path / "none.dual", images="")
    fail("validate", none, "spatial-16x16", words=["none.dual", "--images"])
    outside = write_small(tmp_path / "outside.dual", images="../../etc/passwd")
    fail("validate", outside, "spatial-16x16", words=["outside.dual", "provenance.images", "beside the model"])


@pytest.fixture(scope="module")
def report(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with without_pictures():
        assert main(["compare", str(model), "spatial-16x16", "-o", str(folder), "--json"]) == 0
    return {name: (folder / name).read_text() for name in ("totals.csv", "spatial-16x16.csv")}


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("totals.csv", "lanes", "lines", ["totals.csv", "'lanes'"]),
        ("totals.csv", "spatial-16x16.csv", "../x.csv", ["totals.csv", "layers_csv"]),
        ("totals.csv", "spatial-16x16.csv", "other.csv", ["other.csv", "No such file"]),
        ("spatial-16x16.csv", ",conv,", ",conv,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", ["spatial-16x16.csv"]),
    ],
)
def test_bad_report_folder(fail, report, tmp_path, file, old, new, words):
    for name, text in report.items():
        assert name != file or old in text
        (tmp_path / name).write_text(text.replace(old, new, 1) if name == file else text)
    fail("report", tmp_path, "-o", tmp_path / "out", words=words)


def test_report_of_a_folder_without_results(fail, tmp_path):
    fail("report", tmp_path, words=["totals.csv", "accelsim compare -o"])


def test_no_traceback_from_the_installed_command():
    command = [sys.executable, "-m", "accelsim.cli", "simulate", "nowhere.dual", "spatial-16x16"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nowhere.dual: No such file or directory, expected a .dual file\n"


def descriptions(kind=BaseModel):
    """All classes that describe what a file of the user's may hold."""
    for inner in kind.__subclasses__():
        yield from descriptions(inner)
        if inner.__module__.startswith("accelsim."):
            yield inner


def numbers(annotation, bounds=()):
    """The numbers of an annotation: int or float, with what bounds them."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from numbers(inner, (*bounds, *more))
    elif annotation in (int, float):
        yield annotation, [part for bound in bounds for part in getattr(bound, "metadata", [bound])]
    else:
        for inner in get_args(annotation):
            yield from numbers(inner, bounds)


FREE = {
    "arithmetic",  # compared with the machine's, which is bounded
    "axes",  # of a sweep: finite, then bounded as the key that they are given to
    "derived",
    "set",
    "dtype",
    "points",  # of a machine: by a reader of their own (transforms/points.py)
}


def test_every_number_of_every_file_has_bounds():
    """A whole number has a largest value, any other is finite, whichever key of whichever file it is."""
    for module in pkgutil.walk_packages(accelsim.__path__, "accelsim."):
        importlib.import_module(module.name)
    seen, unbounded = 0, []
    for kind in set(descriptions()):
        for name, field in kind.model_fields.items():
            for number, bounds in numbers(Annotated[(field.annotation, *field.metadata, None)]):
                seen += 1
                above = any(hasattr(bound, "le") or hasattr(bound, "lt") for bound in bounds)
                finite = any(getattr(bound, "allow_inf_nan", None) is False for bound in bounds)
                if name not in FREE and not above and not (number is float and finite):
                    unbounded.append(f"{kind.__module__}.{kind.__name__}.{name}: {number.__name__}")
    assert seen > 300
    assert sorted(unbounded) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sweep", "SWEEP", "-o", "out", "--dry-run", "--workers", "0"), "--workers 0, expected 1 to"),
        (("sweep", "SWEEP", "-o", "out", "--workers", "-1"), "--workers -1, expected 1 to"),
        (("sweep", "SWEEP", "-o", "out", "--dry-run", "--search", "5"), "--search with --dry-run"),
        (("sweep", "SWEEP", "-o", "out", "--dry-run", "--scheduler", "tcp://a:1"), "--scheduler with --dry-run"),
        (("sweep", "SWEEP", "-o", "out", "--dry-run", "--table", "t.csv"), "--table with --dry-run"),
        (("sweep", "SWEEP", "-o", "out", "--dry-run", "--band"), "--band with --dry-run"),
        (("sweep", "SWEEP", "-o", "out", "--workers", "2", "--scheduler", "tcp://a:1"), "expected one of them"),
        (("export", "MODEL", "-o", "x.onnx", "--machine", "spatial-16x16"), "--machine without --int8"),
        (("export", "MODEL", "-o", "x.onnx", "--images", "i.npz"), "--images without --int8"),
    ],
)
def test_options_that_would_not_be_used_are_refused(fail, model, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    sweep = tmp_path / "s.yaml"
    sweep.write_text(f"models: [{model}]\nmachines: {{s: {{base: spatial-16x16}}}}\naxes: {{clock_mhz: [400, 800]}}\n")
    given = {"SWEEP": sweep, "MODEL": model}
    fail(*(given.get(argument, argument) for argument in arguments), words=[words])
