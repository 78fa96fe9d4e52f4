"""One task of a sweep, from plain data to plain data, so that any process on any computer can do it.

A task is identified by the content of all that decides its result: model, machine, engine and code.
Results hold no time of day, so that equal tasks have equal bytes wherever they ran.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

from accelsim.errors import InputError
from accelsim.explore.code import code_version
from accelsim.explore.machines import machine_from
from accelsim.explore.space import Variant, content_key
from accelsim.explore.variants import variant_densities, variant_works
from accelsim.files import IMAGES, read_bytes
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run_rows
from accelsim.transforms.points import write_points
from accelsim.workload import LayerWork

MODULE = "accelsim.explore.evaluate"  # this one: what it imports decides what a result is
LAYER_COLUMNS = ("name", "kind", "mode", "cycles", "effectual_macs", "energy_pj", "dram_read_bytes", "dram_write_bytes")

Status = Literal["done", "failed", "crashed"]


@dataclass(frozen=True)
class Task:
    """What to do, as plain data."""

    key: str  # of all that decides the result
    kind: str  # ``simulate`` or ``accuracy``
    variant: Variant
    code: str  # version of the code that is to do it
    options: Mapping[str, Any]  # what the kind needs

    def to_json(self) -> str:
        """One line, for another process."""
        return to_text(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Task":
        """The task that ``to_json`` wrote."""
        data = json.loads(text)
        return Task(**{**data, "variant": Variant.from_plain(data["variant"])})


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    status: ``done``; ``failed``, the input is at fault and will be again; ``crashed``, to be tried
    again another time.
    """

    key: str  # of the task
    status: Status
    error: str = ""  # what went wrong
    total: str = ""  # JSON, empty unless done
    layers: str = ""  # JSON, column -> values, empty unless done

    def to_json(self) -> str:
        """One line, for another process."""
        return to_text(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Outcome":
        """The outcome that ``to_json`` wrote."""
        return Outcome(**json.loads(text))


def simulate_task(
    variant: Variant, machine: Mapping[str, Any], engine: str, batch: int, level: str = "resident"
) -> Task:
    """Simulate a model variant on a machine (its ``model_dump``, whose name and description do not matter)."""
    identity = {key: value for key, value in machine.items() if key not in {"name", "description"}}
    variant = variant.seen_by(str(machine["kind"]))
    key = content_key("simulate", code_version(MODULE), variant.identity, identity, engine, batch, level)
    machine = {**identity, "name": "machine"}
    options = {"machine": machine, "engine": engine, "batch": batch, "level": level}
    return Task(key, "simulate", variant, code_version(MODULE), options)


def accuracy_task(
    variant: Variant,
    kind: str,
    m: int | None,
    images: Path,
    count: int | None,
    datapath: Datapath | None,
) -> Task:
    """Measure top-1 of a model variant as a kind of machine computes it (``codesign.measure``).

    datapath: the machine's, to run its whole numbers; None for float32.
    Raises InputError without the images.
    """
    sha256 = _file_hash(images)
    words = None if datapath is None else _plain(datapath)
    variant = variant.seen_by(kind)
    key = content_key("accuracy", code_version(MODULE), variant.identity, kind, m, sha256, count, words)
    options = {"kind": kind, "m": m, "images": str(images), "count": count, "datapath": words}
    return Task(key, "accuracy", variant, code_version(MODULE), options)


@cache
def _file_hash(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, IMAGES)).hexdigest()


def evaluate(task: Task) -> Outcome:
    """Do a task.  Never raises an Exception: what went wrong is in the outcome."""
    try:
        if task.code != code_version(MODULE):
            raise RuntimeError("this computer has another version of accelsim than the sweep began with")
        total, layers = _WORK[task.kind](task.variant, task.options)
    except InputError as error:
        return Outcome(task.key, "failed", str(error))
    except Exception as error:
        return Outcome(task.key, "crashed", f"{type(error).__name__}: {error}")
    return Outcome(task.key, "done", "", to_text(total), to_text(layers))


def evaluate_text(task: str) -> str:
    """``evaluate``, between lines of JSON."""
    return evaluate(Task.from_json(task)).to_json()


def to_text(content: Mapping[str, Any]) -> str:
    """Compact JSON; floats keep every bit."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False, default=lambda number: number.item())


def _simulate(
    variant: Variant,
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    machine = machine_from(options["machine"])
    works = works_on(variant, machine, options["batch"])
    m = machine.datapath.m
    rows, total = run_rows(works, machine, options["engine"], options["level"])
    total = {key: value for key, value in total.items() if key not in {"name", "kind", "mode"}}
    layers: dict[str, Any] = {column: [row[column] for row in rows] for column in LAYER_COLUMNS}
    densities = {} if m is None or variant.is_table else variant_densities(variant, m, options["batch"])
    layers["winograd_density"] = [densities.get(name) for name in layers["name"]]
    return total, layers


def works_on(variant: Variant, machine: Machine, batch: int) -> Sequence[LayerWork]:
    """What a model variant asks of a machine, layer by layer.  Raises InputError if it is not to be had."""
    return variant_works(variant, machine.datapath.m, batch)


def _plain(datapath: Datapath) -> dict[str, Any]:
    """A machine's arithmetic as plain values; its name does not matter."""
    words = asdict(replace(datapath, machine="machine"))
    points = words.pop("points")
    del words["layer_m"]  # a point's accuracy is that of the machine's largest tile size
    return words | ({"points": write_points(points)} if points else {})


def datapath_from(words: Mapping[str, Any]) -> Datapath:
    """A machine's arithmetic from the plain values that a task carries."""
    own = tuple((str(name), float(threshold)) for name, threshold in words["layer_thresholds"])
    points = tuple((int(m), tuple(map(Fraction, listed))) for m, listed in words.get("points", {}).items())
    bits = tuple((str(name), int(width)) for name, width in words["layer_weight_bits"])
    integers = Integers(**words["integers"])
    known = {"layer_thresholds": own, "layer_weight_bits": bits, "integers": integers, "points": points}
    return Datapath(**{**words, **known})


def _accuracy(
    variant: Variant,
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    from accelsim.explore.codesign import measure  # with the machines' arithmetic, which a simulation does not need

    words = options["datapath"]
    datapath = None if words is None else datapath_from(words)
    return measure(variant, options["kind"], options["m"], Path(options["images"]), options["count"], datapath)


_WORK = {"simulate": _simulate, "accuracy": _accuracy}
