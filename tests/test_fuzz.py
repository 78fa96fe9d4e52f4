"""Random bytes, files, formulas, machines and layers for a few minutes: one line or a right result, in little time.

The seed is printed, and FUZZ_SEED=N repeats it.  Each input is read in this process, under a limit of memory, and may
end in no error but InputError.
"""

import contextlib
import hashlib
import json
import math
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

import accelsim
from accelsim.cli import main
from accelsim.compression.recipe import load_compression_recipe
from accelsim.dual.container import pack, unpack
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.explore.description import read_description
from accelsim.explore.expressions import evaluate
from accelsim.network.images import read_images
from accelsim.network.pictures import read_picture
from accelsim.network.tables import read_table
from accelsim.network.weights import read_safetensors, read_weights
from accelsim.report.tables import read_csv
from accelsim.simulator.run import run
from accelsim.training.recipe import load_recipe

from .simulator.random_layers import layers
from .simulator.random_machines import machines
from .small_dual import ROOT, write_images, write_small

T = TypeVar("T")
SEED = int(os.environ["FUZZ_SEED"])  # set by conftest.py where it is not given
MOST_SECONDS = 5.0
MOST_BYTES = 1 << 30  # beyond what the process has
MEMBER_BYTES = 1 << 24
FUZZ = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Fails where the block takes over a gigabyte more, or MOST_SECONDS of processor time."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, hard))
    started = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - started < MOST_SECONDS


def outcome(compute: Callable[[], T]) -> tuple[T | None, str]:
    """What is computed under the limits, or the message of the one error that there may be."""
    with limits():
        try:
            return compute(), ""
        except InputError as error:
            return None, str(error)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Sound bytes with a few places changed, doubled, cut out or filled with something telling."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 1, 2, 4, 8, 64, 1024]))
        telling = st.sampled_from(
            [
                b"",
                b"\0",
                b"\xff" * 4,
                b"\xff" * 8,
                b"\x7f\xff\xff\xff",
                b"-1",
                b"0",
                b"1e309",
                b"nan",
                b"9" * 30,
                b"[",
                b"{",
            ]
            + [b"\n", b",", b'"', b": ", b"*a", b"&a", b"\xef\xbb\xbf", b"\r", bytes(range(256))]
        )
        filling = draw(st.one_of(telling, st.binary(max_size=8), st.just(bytes(content[at : at + length]) * 2)))
        content[at : at + length] = filling
    return bytes(content)


def onnx_network(path: Path) -> object:
    pytest.importorskip("onnx")
    from accelsim.network.onnx.reader import read_onnx

    return read_onnx(path)


def write_safetensors(path: Path) -> None:
    save_file({"a.weight": np.ones((4, 3, 3, 3), np.float32), "b": np.zeros(7, np.float16)}, path)


def write_onnx(path: Path) -> None:
    pytest.importorskip("onnx")
    from accelsim.dual.export import export_model

    export_model(read_dual(write_small(path.with_suffix(".dual"))), path)


def copied(source: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes((ROOT / source).read_bytes())


# File name, what writes a sound one, what reads it.
READERS: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    "machine": ("m.yaml", copied("hwconfigs/winograd-16x16.yaml"), accelsim.load_hardware),
    "row-stationary": ("m.yaml", copied("hwconfigs/eyeriss.yaml"), accelsim.load_hardware),
    "table": ("t.csv", copied("workloads/resnet18.csv"), read_table),
    "sweep": ("s.yaml", copied("sweeps/resnet20-codesign.yaml"), read_description),
    "training recipe": ("r.yaml", copied("recipes/resnet20-joint.yaml"), load_recipe),
    "compression recipe": ("c.yaml", copied("recipes/resnet20-compress.yaml"), load_compression_recipe),
    "dual": ("n.dual", write_small, read_dual),
    "picture": ("p.png", lambda path: Image.new("RGB", (9, 7)).save(path), read_picture),
    "jpeg": ("p.jpg", lambda path: Image.new("RGB", (9, 7)).save(path), read_picture),
    "images": ("i.npz", write_images, read_images),
    "weights": ("w.npz", lambda path: np.savez(path, a=np.ones((2, 3), np.float32)), read_weights),
    "safetensors": ("w.safetensors", write_safetensors, read_safetensors),
    "onnx": ("n.onnx", write_onnx, onnx_network),
}


@pytest.mark.parametrize("reader", READERS)
def test_damaged_bytes_of_every_reader(reader: str, tmp_path: Path) -> None:
    name, write, read = READERS[reader]
    write(tmp_path / name)
    sound = (tmp_path / name).read_bytes()
    read(tmp_path / name)

    @seed(SEED)
    @settings(FUZZ, max_examples=300)
    @given(damaged(sound))
    def fuzz(content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        outcome(lambda: read(tmp_path / name))

    fuzz()


def test_damaged_tables_and_labels_of_folders(tmp_path: Path) -> None:
    Image.new("RGB", (9, 7)).save(tmp_path / "a.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label,reference\na.png,3,4\n")
    read_images(tmp_path)
    results = tmp_path / "results"
    assert main(["compare", str(write_small(tmp_path / "n.dual")), "spatial-16x16", "-o", str(results)]) == 0
    tables = {path: path.read_bytes() for path in sorted(results.glob("*.csv"))}
    read_csv(results)

    @seed(SEED)
    @settings(FUZZ, max_examples=300)
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        labels.write_bytes(data.draw(damaged(b"file,label,reference\na.png,3,4\n")))
        outcome(lambda: read_images(tmp_path))
        path = data.draw(st.sampled_from(list(tables)))
        path.write_bytes(data.draw(damaged(tables[path])))
        outcome(lambda: read_csv(results))
        path.write_bytes(tables[path])

    fuzz()


def test_files_with_the_digest_that_belongs_to_their_damage(tmp_path: Path) -> None:
    path = write_small(tmp_path / "n.dual")
    members = unpack(path.read_bytes(), MEMBER_BYTES)
    packed = frozenset(name for name in members if name == "manifest.json")
    manifest = json.loads(members["manifest.json"])
    numbers = [place for place in places(manifest) if isinstance(value_at(manifest, place), int | float)]
    assert numbers

    @seed(SEED)
    @settings(FUZZ, max_examples=800)
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        parts = dict(members)
        if data.draw(st.booleans()):
            changed = json.loads(members["manifest.json"])
            for place in data.draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=3)):
                value = st.one_of(st.integers(-2, 1 << 40), st.sampled_from([1 << 20, 1 << 31, 4096, 1e30, 0.5, None]))
                value_at(changed, place[:-1])[place[-1]] = data.draw(value)
            parts["manifest.json"] = json.dumps(changed, separators=(",", ":")).encode()
        else:
            name = data.draw(st.sampled_from([name for name in members if name != "digest"]))
            parts[name] = data.draw(damaged(members[name]))
        parts["digest"] = hashlib.sha256(b"".join(c for name, c in parts.items() if name != "digest")).digest()
        path.write_bytes(pack(parts, packed))
        outcome(lambda: read_dual(path))

    fuzz()


def places(content: object, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path to every value inside JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from places(value, (*place, key))


def value_at(content: object, place: tuple[str | int, ...]) -> object:
    for key in place:
        content = content[key]
    return content


ATOMS = st.sampled_from(["a", "b", "text", "0", "1", "2.5", "1e308", "9" * 40, "'x'", "True", "None", "()", "inf"])


@pytest.mark.filterwarnings("error")
@seed(SEED)
@settings(FUZZ, max_examples=3000)
@given(
    st.one_of(
        st.recursive(
            ATOMS,
            lambda inner: st.one_of(
                st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", "and", "if a else"]), inner)
                .map(" ".join)
                .map("({})".format),
                st.tuples(st.sampled_from(["min", "max", "round", "abs", "sqrt", "log2", "-", "not "]), inner).map(
                    lambda call: f"{call[0]}({call[1]})"
                ),
                st.lists(inner, max_size=3).map(lambda several: f"max({', '.join(several)})"),
            ),
            max_leaves=12,
        ),
        st.text(alphabet="ab019.+-*/()<>=,'[]{}_:@ \\\n", max_size=60),
    )
)
def test_formulas(text: str) -> None:
    value, message = outcome(lambda: evaluate(text, {"a": 3, "b": -0.5, "text": "x"}))
    assert len(message) < 2500
    assert not (isinstance(value, float) and math.isnan(value))


@seed(SEED)
@settings(FUZZ, max_examples=1000)
@given(machines(), layers())
def test_machines_and_layers_of_all_families(machine: accelsim.Machine, work: object) -> None:
    result, message = outcome(lambda: run([work], machine, engine="fast"))
    if result is None:
        assert machine.name in message
        return
    total = result.total
    assert total["cycles"] > 0
    assert 0 <= total["utilization"] <= 1
    for column in ("energy_pj", "latency_ms", "area_mm2", "power_mw"):
        assert math.isfinite(total[column])
        stated = machine.area if column == "area_mm2" else machine.energy
        free = column != "latency_ms" and any(price == 0 for price in stated.model_dump().values())
        assert total[column] > 0 or (
            total[column] == 0 and free
        )  # but by a file's own price nothing is done for nothing
    bound = ("useful", "imbalance", "edge", "transform", "dram")
    row = result.layers.iloc[0]
    assert sum(row[f"{part}_cycles"] for part in bound) == pytest.approx(total["cycles"])
