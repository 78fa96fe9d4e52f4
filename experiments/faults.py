"""The table of faults that people met: each input, what comes out of it today, and whether that is right.

    python -m experiments.faults FOLDER [--only WORD] [--rows 1,4-30]

FOLDER holds the inputs (csv/, crude/, images/, onnx/, sweep/, validate/, yaml/).  Every command runs in a process of
its own, bounded in time and memory.  Right values come from outside the code: by hand from a layer's shape, another
runtime's forward pass, the arithmetic of the file's own text.  Exit status 1 if a row is wrong.  The same faults, with
inputs that they build themselves, are tests (``tests/test_public_faults.py``).
"""

import argparse
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.paths import MODELS, ROOT

PAIR = ("spatial-16x16", "winograd-16x16")
RESNET = MODELS / "resnet20-cifar10.dual"
SAMPLE = MODELS / "cifar10-sample.npz"
CHECKPOINT = MODELS / "checkpoints" / "resnet20-joint"
MOST_SECONDS = 1800
MOST_BYTES = 6 << 30
SOME = 200  # images, of those of a sample, in float32
FEW = 60  # images in whole numbers
WARM_SECONDS = 300  # that a refusal may take on a busy machine, its start included


class WrongError(Exception):
    """What is not as it should be."""


@dataclass(frozen=True)
class Done:
    """One command that ran."""

    status: int
    out: str
    err: str
    seconds: float
    megabytes: int

    @property
    def said(self) -> str:
        """The last line of what it printed."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1][:160] if lines else "(nothing)"

    def json(self) -> dict[str, object]:
        """What ``--json`` printed, with status 0 or 1."""
        if self.status not in (0, 1):
            raise WrongError(f"status {self.status}: {self.said}")
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def limited() -> None:
    """Bounds of a command's own process."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


def accelsim(*arguments: object, cwd: Path = ROOT, **environment: str) -> Done:
    """Run a command."""
    line = [sys.executable, "-m", "accelsim.cli", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    begin = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with subprocess.Popen(line, stdout=out, stderr=err, cwd=cwd, env=env, preexec_fn=limited) as process:
            try:
                process.wait(MOST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        seconds = time.monotonic() - begin
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    return Done(process.returncode, texts[0], texts[1], seconds, peak)


def must(right: bool, found: object) -> None:
    """Raise WrongError with what was found instead, unless that is right."""
    if not right:
        raise WrongError(str(found))


def refused(done: Done, *words: str) -> str:
    """The one line of a command that is refused; some of its words."""
    one = done.status == 2 and not done.out and done.err.count("\n") == 1 and done.err.startswith("error: ")
    must(one and len(done.err) < 2500, f"status {done.status}, {done.err.count(chr(10))} lines: {done.said}")
    must(all(word in done.err for word in words), f"{done.said}, without {words}")
    must(done.seconds < WARM_SECONDS, f"{done.seconds:.0f} s")
    return done.said


def total(folder: Path, name: str, machine: str = PAIR[0]) -> dict[str, float]:
    """The totals of a table of layers."""
    found = accelsim("simulate", folder / "csv" / name, machine, "--json").json()["total"]
    assert isinstance(found, dict)
    return found


def verdict(*arguments: object) -> tuple[int, dict[str, object]]:
    """Status and result of ``validate``."""
    done = accelsim("validate", *arguments, "--json")
    return done.status, done.json()


def first(number: int, source: Path, work: Path) -> Path:
    """A file of the first images of another: whole numbers take minutes on all."""
    with np.load(source) as arrays:
        some = {name: array[:number] for name, array in arrays.items()}
    path = work / f"{source.stem}-{number}.npz"
    np.savez(path, **some)
    return path


def losses(found: dict[str, object]) -> list[float | None]:
    """Points that each machine loses."""
    machines = found["machines"]
    assert isinstance(machines, list)
    return [machine["loss_points"] for machine in machines]


# --- the rows: each returns what it found, or raises WrongError


def compress_without_recipe(folder: Path, work: Path) -> str:
    done = accelsim("compress", CHECKPOINT, "-o", work / "x.dual")
    must(done.status == 0, done.said)
    _, found = verdict(work / "x.dual", *PAIR, "--images", first(SOME, SAMPLE, work), "--float")
    machines = found["machines"]
    assert isinstance(machines, list)
    top1 = [machine["top1"] for machine in machines]
    must(min(top1) > 88, top1)
    return f"{(work / 'x.dual').stat().st_size} bytes, top-1 {top1} of {SOME} images"


def no_reference(folder: Path, work: Path) -> str:
    crude = folder / "crude"
    said = []
    for flags, number in (((), FEW), (("--float",), 300)):
        images = first(FEW, crude / "noref.npz", work)
        status, found = verdict(crude / "crude.dual", *PAIR, "--images", images, *flags)
        must(status == 1 and found["served_by_both"] is None and losses(found) == [None, None], found)
        images = first(number, crude / "ref.npz", work)
        status, found = verdict(crude / "crude.dual", *PAIR, "--images", images, *flags)
        must(status == 1 and found["served_by_both"] is False, found)
        said.append(f"{losses(found)} points")
    must("80.0" in said[1], said)
    return f"no reference: not known, status 1; with it: integers {said[0]}, float {said[1]}, no, status 1"


def integers(folder: Path, work: Path) -> str:
    images = ("--images", first(FEW, SAMPLE, work))
    status, found = verdict(RESNET, *reversed(PAIR), "--set", "winograd-16x16:tile=4", *images)
    words = ("--set", "arithmetic.weight_bits=2", "--set", "arithmetic.activation_bits=2")
    narrow, two = verdict(RESNET, *PAIR, *words, *images)
    must(narrow == 1 and two["served_by_both"] is False, two)
    return f"tile 4: {losses(found)} points, status {status}; 2 bits: {losses(two)} points, no; {FEW} images"


def as_another_runtime(folder: Path, work: Path, *names: str) -> str:
    import onnxruntime

    from accelsim.network import forward
    from accelsim.network.onnx import read_onnx

    worst = 0.0
    for name in names:
        path = folder / "onnx" / name
        done = accelsim("import", path, "-o", work / "x.dual")
        must(done.status == 0, f"{name}: {done.said}")
        network = read_onnx(path)
        x = np.random.default_rng(0).standard_normal((1, *network.graph.input_shape)).astype(np.float32)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        theirs = session.run(None, {taken.name: x.transpose(0, 3, 1, 2)})[0]
        ours = forward(network, x)
        ours = ours.transpose(0, 3, 1, 2) if ours.ndim == 4 else ours
        worst = max(worst, float(np.abs(ours.reshape(theirs.shape) - theirs).max() / max(np.abs(theirs).max(), 1e-9)))
    must(worst < 1e-4, worst)
    return f"{len(names)} imported, at most {worst:.1e} from onnxruntime"


def exporters(folder: Path, work: Path) -> str:
    names = ["lenet.dynamo.onnx", "mob6.dynamo.onnx", "mob6.legacy.onnx", "same.dynamo.onnx", "res_init.legacy.onnx"]
    names += [f"torch1/{path.name}" for path in sorted((folder / "onnx" / "torch1").glob("*.onnx"))]
    return as_another_runtime(folder, work, *names)


def operators(folder: Path, work: Path) -> str:
    names = ("drop_mask", "bn_spatial1", "reducemean", "id_init", "c_asympad")
    said = as_another_runtime(folder, work, *(f"{name}.onnx" for name in names))
    done = accelsim("import", folder / "onnx" / "gemm_bN1.onnx", "-o", work / "x.dual")
    if done.status:
        return f"{said}; gemm_bN1 refused: {refused(done)[-60:]}"
    return f"{said}; {as_another_runtime(folder, work, 'gemm_bN1.onnx')}"


def two_strides(folder: Path, work: Path) -> str:
    macs = total(folder, "stride_hw.csv", "spatial-dense-16x16")["dense_macs"]
    must(macs == 62 * 31 * 16 * 9 * 32, macs)
    return f"{macs:,} MACs"


def columns(folder: Path, work: Path) -> str:
    sparse, batch = total(folder, "sparsity_ratio.csv"), total(folder, "batch_col.csv")
    share = sparse["effectual_macs"] / sparse["dense_macs"]
    must(abs(share - 0.25) < 0.02 and sparse["dense_macs"] == 4_718_592, sparse)
    must(batch["dense_macs"] == 8 * 4_718_592, batch["dense_macs"])
    path = work / "unknown.csv"
    lines = (folder / "csv" / "batch_col.csv").read_text().replace("Batch Size", "Dilation")
    path.write_text(lines)
    return f"{share:.3f} of the MACs; 8 x 4,718,592; {refused(accelsim('simulate', path, PAIR[0]), 'dilation')[-90:]}"


def depthwise(folder: Path, work: Path) -> str:
    found = accelsim("simulate", folder / "csv" / "dp.csv", PAIR[0], "--json").json()
    layers, whole = found["layers"], found["total"]
    assert isinstance(layers, list)
    assert isinstance(whole, dict)
    must(len(layers) == 32 and whole["dram_output_bytes"] == 32_768, (len(layers), whole["dram_output_bytes"]))
    return f"{len(layers)} layers, {whole['dram_output_bytes']:,} output bytes"


def one_name_twice(folder: Path, work: Path) -> str:
    layers = accelsim("simulate", folder / "csv" / "dup.csv", PAIR[0], "--json").json()["layers"]
    assert isinstance(layers, list)
    names = [layer["name"] for layer in layers]
    must(len(set(names)) == 2, names)
    return f"layers {', '.join(names)}"


def sweep(folder: Path, work: Path, name: str, *more: str) -> Done:
    where = more or ("--workers", "1")
    return accelsim("sweep", folder / "sweep" / name, "-o", work / name, *where, cwd=folder / "sweep")


def infinities(folder: Path, work: Path) -> str:
    done = sweep(folder, work, "mixed_ideal.yaml")
    must(done.status == 0 and (work / "mixed_ideal.yaml" / "points.csv").exists(), done.said)
    return f"a report of infinite ratios; NaN: {refused(sweep(folder, work, 'nan_axis.yaml'), 'nan')[-90:]}"


def interrupted(folder: Path, work: Path) -> str:
    out = work / "mixed_ideal.yaml"
    if not out.exists():
        sweep(folder, work, "mixed_ideal.yaml")
    with closing(sqlite3.connect(out / "results.sqlite")) as store:
        store.execute("DELETE FROM results WHERE key = (SELECT min(key) FROM results)")
        store.commit()
    done = accelsim("report", out)
    must(done.status == 0 and "7 of 8 points have a result" in done.err, done.err[-300:])
    return "7 of 8 points have a result"


def a_key_twice(folder: Path, work: Path) -> str:
    one = refused(sweep(folder, work, "dup_axes.yaml"), "'axes' is there twice", "line")
    refused(accelsim("inspect", folder / "yaml" / "dup_top.yaml"), "is there twice", "line")
    return one[-100:]


def tracebacks(folder: Path, work: Path) -> str:
    said = [refused(sweep(folder, work, name)) for name in ("heat_same.yaml", "obj_none.yaml")]
    said += [refused(accelsim("inspect", folder / "yaml" / name)) for name in ("clock_date.yaml", "kind_lst.yaml")]
    said.append(refused(accelsim("simulate", folder / "csv" / "hugeNM.csv", PAIR[0])))
    said.append(refused(accelsim("simulate", RESNET, PAIR[0], "--set", "clock_mhz=2024-13-45"), "clock_mhz"))
    return f"{len(said)} times one line"


def text_times_number(folder: Path, work: Path) -> str:
    return refused(sweep(folder, work, "x_strmul.yaml"), "numbers")


def laughs(folder: Path, work: Path) -> str:
    return refused(accelsim("inspect", folder / "yaml" / "laughs8.yaml"), "aliases")


def no_regular_files(folder: Path, work: Path) -> str:
    os.mkfifo(work / "pipe.yaml")
    os.mkfifo(work / "pipe.dual")
    said = [refused(accelsim("inspect", work / "pipe.yaml"), "FIFO")]
    said.append(refused(accelsim("simulate", work / "pipe.dual", PAIR[0]), "FIFO"))
    said.append(refused(accelsim("simulate", "/dev/zero", PAIR[0]), "device"))
    said.append(refused(accelsim("inspect", work)))
    return f"{len(said)} times one line (every reader: tests)"


def pictures(folder: Path, work: Path) -> str:
    images = folder / "images"
    one = refused(accelsim("validate", RESNET, *PAIR, "--images", images / "eps"), "PNG, JPEG")
    refused(accelsim("validate", RESNET, *PAIR, "--images", images / "bomb"), "13000 x 13000", "32 x 32")
    return one[-90:]


def large_kernel(folder: Path, work: Path) -> str:
    model = folder / "validate" / "k21.dual"
    status, found = verdict(model, *PAIR, "--images", folder / "validate" / "img28", "--float")
    machines = found["machines"]
    assert isinstance(machines, list)
    must(all(machine["max_abs_error"] < 1 for machine in machines), machines)
    must(accelsim("inspect", model).status == 0, "inspect")
    return f"runs as a product on both, status {status}"


def huge_maps(folder: Path, work: Path) -> str:
    model = folder / "validate"
    images = work / "zeros.npz"
    np.savez(images, images=np.zeros((60, 32, 32, 3), np.uint8), labels=np.zeros(60, int))
    said = refused(accelsim("validate", model / "padch.dual", *PAIR, "--images", images), "bytes of activations")
    refused(accelsim("simulate", model / "bigimg_pool.dual", PAIR[0]), "expected at most")
    refused(accelsim("simulate", folder / "csv" / "pool_max.csv", PAIR[0]), "expected at most")
    return said


def all_zero(folder: Path, work: Path) -> str:
    from accelsim.network import Graph, Network, Node
    from accelsim.network.layers import Conv
    from accelsim.network.onnx import write_onnx

    sizes = []
    for channels, share in ((256, 1.0), (512, 0.999)):
        layer = Conv(in_channels=channels, out_channels=channels, kernel=(3, 3), padding=(1, 1))
        graph = Graph(name="g", input_shape=(8, 8, channels), nodes=(Node(name="c", layer=layer, inputs=("input",)),))
        rng = np.random.default_rng(0)
        weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
        weight[rng.random(weight.shape) < share] = 0
        write_onnx(Network(graph, {"c.weight": weight}), work / "z.onnx")
        must(accelsim("import", work / "z.onnx", "-o", work / "z.dual").status == 0, "not written")
        done = accelsim("inspect", work / "z.dual", "--json")
        must(done.json()["parameters"] == weight.size, done.said)
        sizes.append((work / "z.dual").stat().st_size)
    return f"files of {sizes} bytes, read again"


def one_dimension(folder: Path, work: Path) -> str:
    macs = total(folder, "conv1d.csv", "scnn-like")["dense_macs"]
    must(macs == 4 * 64 * 7 * 16, macs)  # padding is that of both directions: 4 rows
    return f"{macs:,} MACs"


def dollars(folder: Path, work: Path) -> str:
    done = accelsim("compare", folder / "csv" / "dollar.csv", PAIR[0], "-o", work / "dollar")
    must(done.status == 0, done.said)
    must("cost_$x^{2$" in (work / "dollar" / "report.html").read_text(), "not as it is")
    return "cost_$x^{2$ as it is"


def terminals(folder: Path, work: Path) -> str:
    done = accelsim("compare", folder / "csv" / "unicode.csv", PAIR[0], PYTHONIOENCODING="cp1252")
    must(done.status == 0 and not done.err, done.said)
    line = f"exec {sys.executable} -m accelsim.cli simulate {folder / 'csv' / 'dp.csv'} {PAIR[0]} --json >&-"
    closed = subprocess.run(["sh", "-c", line], capture_output=True, cwd=ROOT, text=True)
    must(closed.returncode == 2 and closed.stderr.count("\n") == 1, closed.stderr)
    return f"other letters; closed: {closed.stderr.strip()}"


def killed(folder: Path, work: Path) -> str:
    out, table = work / "killed", folder / "csv" / "dp.csv"
    must(accelsim("compare", table, PAIR[0], "-o", out).status == 0, "compare")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    line = [sys.executable, "-m", "accelsim.cli", "compare", str(table), PAIR[1], "-o", str(out)]
    rng = np.random.default_rng(0)
    for _ in range(4):
        with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(float(rng.uniform(1, 20)))
            process.send_signal(signal.SIGKILL)
        names = {path.name for path in out.iterdir()}
        new = f"{PAIR[1]}.csv" in names
        must(new or {path.name: path.read_bytes() for path in out.iterdir()} == before, sorted(names))
        must(not (new and f"{PAIR[0]}.csv" in names), sorted(names))
    return "killed 4 times: the old folder or the new one (12 times while it writes: tests)"


def flipped_bit(folder: Path, work: Path) -> str:
    out = work / "mixed_ideal.yaml"
    good = sweep(folder, work, "mixed_ideal.yaml")
    must(good.status == 0, good.said)
    points = (out / "points.csv").read_bytes()
    store = out / "results.sqlite"
    content = bytearray(store.read_bytes())
    content[content.index(b'"cycles":') + len(b'"cycles":')] ^= 1
    store.write_bytes(content)
    done = sweep(folder, work, "mixed_ideal.yaml")
    must(done.status == 0 and "do not fit their checksum" in done.err, done.err[-300:])
    must((out / "points.csv").read_bytes() == points, "other points")
    return "found, said and computed again"


def wrong_scheduler(folder: Path, work: Path) -> str:
    return refused(sweep(folder, work, "mixed_ideal.yaml", "--scheduler", "nonsense"), "nonsense")


def permissions(folder: Path, work: Path) -> str:
    before = os.umask(0o077)
    try:
        done = accelsim("simulate", folder / "csv" / "dp.csv", PAIR[0], "--trace", work / "t.json")
    finally:
        os.umask(before)
    mode = (work / "t.json").stat().st_mode & 0o777
    must(done.status == 0 and mode == 0o600, oct(mode))
    accelsim("simulate", folder / "csv" / "dp.csv", PAIR[0], "--trace", "/dev/null")
    must(not Path("/dev/null").is_file(), "/dev/null is a file")
    return "mode 600; /dev/null is a device still"


def state_of_nan(folder: Path, work: Path) -> str:
    from accelsim.errors import InputError
    from accelsim.training.checkpoint import load_state, save_state

    save_state(work, {"values": np.array([1, np.nan], np.float32)}, {"step": 1})
    try:
        load_state(work)
    except InputError as error:
        said = str(error)
    else:
        raise WrongError("a state of NaN is resumed")
    other = work / "other"
    other.mkdir()
    content = bytearray((CHECKPOINT / "checkpoint.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "checkpoint.safetensors").write_bytes(content)
    (other / "checkpoint.json").write_bytes((CHECKPOINT / "checkpoint.json").read_bytes())
    refused(accelsim("compress", other, "-o", work / "o.dual"), "sha256")
    return said[-60:]


def many_steps(folder: Path, work: Path) -> str:
    return refused(
        accelsim("simulate", "vgg16", PAIR[0], "--engine", "fast", "--batch", 4096), "steps, expected at most"
    )


def hostile_names(folder: Path, work: Path) -> str:
    for name in ("esc.csv", "formula.csv"):
        done = accelsim("compare", folder / "csv" / name, PAIR[0], "-o", work / name)
        must(done.status == 0 and "\x1b[31m" not in done.out, done.said)
        for table in (work / name).glob("*.csv"):
            lines = table.read_text().splitlines()
            must(not any(line.startswith(("=", '"=')) or "\x1b" in line for line in lines), table)
    return "escaped in terminal and tables"


ROWS: dict[str, Callable[[Path, Path], str]] = {
    "compress without a recipe, validate": compress_without_recipe,
    "validate without a reference": no_reference,
    "validate at tile 4, at 2 bits": integers,
    "import what PyTorch exports": exporters,
    "import operators; Gemm with a column": operators,
    "a topology with two strides": two_strides,
    "columns Sparsity Ratio, Batch Size, others": columns,
    "SCALE-Sim's DP rows": depthwise,
    "two layers of one name": one_name_twice,
    "sweeps with infinities and NaN": infinities,
    "report of an interrupted sweep": interrupted,
    "a key twice in YAML": a_key_twice,
    "dates, lists, huge numbers, empty objectives": tracebacks,
    "a formula of texts": text_times_number,
    "a billion laughs": laughs,
    "FIFO, /dev/zero, a folder": no_regular_files,
    "EPS, a picture bomb": pictures,
    "a kernel of 21": large_kernel,
    "activations beyond memory": huge_maps,
    "weights that are all zero": all_zero,
    "one dimension on scnn-like": one_dimension,
    "names with dollars": dollars,
    "a terminal of cp1252; stdout closed": terminals,
    "compare -o killed": killed,
    "a flipped bit in a sweep's store": flipped_bit,
    "a wrong scheduler": wrong_scheduler,
    "umask 077; --trace /dev/null": permissions,
    "a state of NaN; weights of another card": state_of_nan,
    "VGG-16 in a batch of 4096": many_steps,
    "ESC and formulas as names": hostile_names,
}


def rows_of(text: str) -> set[int]:
    """Numbers of rows, counted from 1, of a text such as ``1,4-30``."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def table(folder: Path, rows: list[str]) -> Iterator[tuple[str, bool, str, float]]:
    """Name, whether it is right, what was found and seconds of each row."""
    with tempfile.TemporaryDirectory() as work:
        for name in rows:
            begin = time.monotonic()
            try:
                found, right = ROWS[name](folder, Path(work)), True
            except (WrongError, OSError, ValueError, KeyError) as error:
                found, right = f"{type(error).__name__}: {error}", False
            yield name, right, " ".join(found.split())[:200], time.monotonic() - begin


def main() -> None:
    """Print the table; exit status 1 if a row is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the inputs")
    parser.add_argument("--only", default="", metavar="WORD", help="rows whose name has this word")
    parser.add_argument(
        "--rows", type=rows_of, default=rows_of(f"1-{len(ROWS)}"), metavar="N,N-N", help="by number, from 1"
    )
    arguments = parser.parse_args()
    numbered = enumerate(ROWS, 1)
    chosen = {name: number for number, name in numbered if number in arguments.rows and arguments.only in name}
    wrong = 0
    for name, right, found, seconds in table(arguments.folder.resolve(), list(chosen)):
        wrong += not right
        print(f"{chosen[name]:2} {'right' if right else 'WRONG'}  {name}: {found} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen)} rows, {wrong} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
