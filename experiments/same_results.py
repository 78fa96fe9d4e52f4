"""Digests of all that the tool computes, and what differs from those of another tree.

    python -m experiments.same_results before.json                     # in the tree before the change
    python -m experiments.same_results after.json --against before.json

Each case is one command line, run in this process from the repository's root; its digest is that of exit status and
output, or of the files that it writes.  ``--quick`` leaves out the large tables, the sweeps and the training;
``--only sweep`` runs one kind of case alone, ``--every 10`` only every tenth point of a sweep.  With ``--keep DIR`` the
outputs themselves are kept, so that a difference can be looked at.
"""

import argparse
import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an older tree may have them elsewhere
    from accelsim.dual.model import DualModel
    from accelsim.workload import LayerTable, LayerWork

ROOT = Path.cwd()  # of the tree that is looked at, which may be older than this file
MODELS = tuple(sorted(f"models/{path.name}" for path in (ROOT / "models").glob("*.dual")))
TABLES = tuple(sorted(path.stem for path in (ROOT / "workloads").glob("*.csv")))
MACHINES = tuple(sorted(path.stem for path in (ROOT / "hwconfigs").glob("*.yaml")))
QUICK = ("models/resnet20-cifar10.dual", "mobilenet-v1")
PAIRS = (("spatial-16x16", "winograd-16x16"), ("spatial-64x64", "winograd-64x64"), ("eyeriss", "scnn-like", "eie-like"))
# A file of one sweep has one line a point; keys are left out, as they hold a digest of the code.
SWEEPS = ("resnet20-machines", "resnet20-codesign")
RECIPE = {
    "network": "resnet20-cifar10",
    "data": {"kind": "npz", "path": ""},
    "epochs": 2,
    "batch": 10,
    "optimizer": {"kind": "adam", "rate": 0.001},
    "joint": {"mode": "joint", "spatial": 0.5, "winograd": 0.4},
    "reestimate": 2,
    "threads": 1,
}
SETTINGS = (
    ("spatial-16x16", "objective=energy"),
    ("spatial-16x16", "objective=dram"),
    ("spatial-16x16", "objective=edp"),
    ("spatial-16x16", "zero_handling=skip_both", "chunk=128"),
    ("spatial-16x16", "window=4", "balance=paired"),
    ("spatial-16x16", "buffers.banks=4", "decoder.symbols_per_cycle=4"),
    ("spatial-16x16", "buffers.shared=true"),
    ("spatial-16x16", "dataflow=weight_stationary"),
    ("spatial-16x16", "dataflow=input_stationary", "zero_handling=gate"),
    ("winograd-16x16", "objective=energy"),
    ("winograd-16x16", "tile=4", "hybrid=true", "polyphase=true"),
    ("winograd-16x16", "weight_transform=on_chip", "decoder.symbols_per_cycle=4"),
    ("winograd-16x16", "buffers.banks=4", "window=4", "balance=greedy"),
    ("winograd-16x16", "largest_kernel=2", "weight_format=csr"),
    ("eyeriss", "objective=energy"),
    ("scnn-like", "objective=edp"),
    ("eie-like", "objective=dram", "vector_registers=2"),
    ("nvdla-full", "hybrid=true"),
)

EVERY = "SAME_RESULTS_EVERY"  # tells the processes of the pool

Case = tuple[str, tuple[str, ...]]


def cases(quick: bool) -> list[Case]:
    """All cases, the slow ones first: (kind, command line)."""
    found: list[Case] = [] if quick else [("sweep", (name,)) for name in SWEEPS]
    if not quick:
        found += [("train", ()), ("compress", ())]
    for model in MODELS + TABLES:
        if quick and model not in QUICK:
            continue
        found.append(("machines", (model,)))
    for pair in PAIRS:
        found.append(("json", ("compare", QUICK[0], *pair, "--json", "--sensitivity")))
    found.append(("folder", ("compare", QUICK[0], *PAIRS[0])))
    found.append(("json", ("simulate", QUICK[0], "winograd-16x16", "--batch", "4", "--json")))
    for machine, *changes in SETTINGS:
        flags = [part for change in changes for part in ("--set", change)]
        found.append(("json", ("simulate", QUICK[0], machine, *flags, "--json", "--engine", "fast")))
    found += [("json", ("inspect", machine, "--json")) for machine in MACHINES]
    found += [("json", ("inspect", model, "--json")) for model in MODELS if not quick or model in QUICK]
    for pair in PAIRS[:1]:
        found.append(("json", ("validate", QUICK[0], *pair, "--json")))
        found.append(("json", ("validate", QUICK[0], *pair, "--json", "--set", "tile=4")))
    return found


def run(arguments: tuple[str, ...]) -> str:
    """Exit status and output of one command line."""
    from accelsim.cli import main

    out = io.StringIO()
    err = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return f"{status}\n{out.getvalue()}{err.getvalue()}"


def outputs(case: Case) -> Iterator[tuple[str, str]]:
    """Name and text of each result of a case."""
    kind, arguments = case
    name = " ".join((kind, *arguments))
    with tempfile.TemporaryDirectory() as folder:
        yield from ((f"{name} {part}".strip(), text) for part, text in _KINDS[kind](arguments, Path(folder)))


def _json(arguments: tuple[str, ...], folder: Path) -> Iterator[tuple[str, str]]:
    """What one command prints."""
    yield "", run(arguments)


def _machines(arguments: tuple[str, ...], folder: Path) -> Iterator[tuple[str, str]]:
    """One model on each machine."""
    (model,) = arguments
    engine = "event" if model in QUICK else "fast"
    for machine in MACHINES:
        yield machine, run(("simulate", model, machine, "--json", "--engine", engine))


def _folder(arguments: tuple[str, ...], folder: Path) -> Iterator[tuple[str, str]]:
    """The tables and the page that one command writes."""
    run((*arguments, "-o", str(folder)))
    for path in sorted(folder.iterdir()):
        if path.suffix in {".csv", ".html", ".json"}:
            yield path.name, path.read_text(encoding="utf-8")


def _sweep(arguments: tuple[str, ...], folder: Path) -> Iterator[tuple[str, str]]:
    """The tables of a shipped sweep; points that are left out are failed ones there."""
    _leave_out_points(int(os.environ.get(EVERY, "1")))
    run(("sweep", f"sweeps/{arguments[0]}.yaml", "-o", str(folder), "--workers", "1"))
    for path in sorted(folder.rglob("*.csv")):
        yield str(path.relative_to(folder)), path.read_text(encoding="utf-8")


def _leave_out_points(every: int) -> None:
    """Let this process compute every so many-th point only, in the order of the sweep."""
    from accelsim.explore import local
    from accelsim.explore.evaluate import Outcome, Task, evaluate

    number = itertools.count()

    def some(task: Task) -> Outcome:
        return Outcome(task.key, "failed", "left out") if next(number) % every else evaluate(task)

    local.evaluate = some  # type: ignore[attr-defined]


def _train(arguments: tuple[str, ...], folder: Path) -> Iterator[tuple[str, str]]:
    """A training of 4 steps on the shipped sample, and the file that comes of its checkpoint without a recipe."""
    import numpy as np
    import yaml

    sample = np.load("models/cifar10-sample.npz")
    pixels = sample["images"]
    labels = sample["labels"]
    data = {"train_images": pixels[:20], "train_labels": labels[:20], "test_images": pixels[20:40]}
    np.savez(folder / "data.npz", **data, test_labels=labels[20:40])
    recipe = RECIPE | {"data": {"kind": "npz", "path": str(folder / "data.npz")}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run(("train", str(folder / "recipe.yaml"), "-o", str(folder / "run")))
    # Not the state: it holds a digest of the recipe, and that the folder's name.
    for path in sorted((folder / "run").rglob("checkpoint.safetensors")):
        yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def _compress(arguments: tuple[str, ...], folder: Path) -> Iterator[tuple[str, str]]:
    """The shipped file from its checkpoint and recipe where the data are, else a file without a recipe."""
    target = folder / "x.dual"
    checkpoint = "models/checkpoints/resnet20-joint-refined"
    recipe = ("--recipe", "recipes/resnet20-compress.yaml") if os.environ.get("ACCELSIM_DATA") else ()
    run(("compress", checkpoint, "-o", str(target), *recipe))
    yield "dual", hashlib.sha256(target.read_bytes()).hexdigest() if target.is_file() else "none"


_KINDS: dict[str, Callable[[tuple[str, ...], Path], Iterator[tuple[str, str]]]] = {
    "json": _json,
    "machines": _machines,
    "folder": _folder,
    "sweep": _sweep,
    "train": _train,
    "compress": _compress,
}


def digests(case: Case, keep: Path | None) -> dict[str, str]:
    """SHA-256 of each result of a case."""
    _remember_the_model()
    found = {}
    for name, text in outputs(case):
        found[name] = hashlib.sha256(text.encode()).hexdigest()
        if keep is not None:
            (keep / (name.replace("/", "_").replace(" ", "~")[:180])).write_text(text, encoding="utf-8")
    return found


def _remember_the_model() -> None:
    """Read the model of a case, and draw a table's zeros, once for all machines."""
    import accelsim
    from accelsim import workload

    if hasattr(accelsim.load_workload, "cache_info"):
        return
    accelsim.load_workload = functools.lru_cache(maxsize=1)(accelsim.load_workload)
    count = workload.layer_works
    last: tuple[object, int, tuple[LayerWork, ...]] = (None, 0, ())

    def layer_works(model: "DualModel | LayerTable", batch: int = 1) -> "tuple[LayerWork, ...]":
        nonlocal last
        if last[0] is not model or last[1] != batch:
            last = (model, batch, tuple(count(model, batch)))
        return last[2]

    workload.layer_works = layer_works


def main() -> int:
    """Write the digests; with ``--against``, say what differs and return 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=sorted(_KINDS), help="one kind of case")
    parser.add_argument("--every", type=int, default=1, help="of a sweep's points")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    os.environ[EVERY] = str(options.every)
    wanted = [case for case in cases(options.quick) if options.only in (None, case[0])]
    found: dict[str, str] = {}
    with ProcessPoolExecutor(options.workers) as pool:
        for part in pool.map(functools.partial(digests, keep=options.keep), wanted):
            found |= part
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(found)} results")
    if options.against is None:
        return 0
    before = json.loads(options.against.read_text())
    some = options.quick or options.only
    common = before.keys() & found.keys() if some else before.keys() | found.keys()
    different = sorted(name for name in common if before.get(name) != found.get(name))
    for name in different:
        print(f"differs: {name}")
    print(f"{len(common) - len(different)} of {len(common)} as before")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
