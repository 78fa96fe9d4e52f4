"""Reading a machine from YAML, with overrides, and saying all that is wrong with it in one line."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from accelsim.errors import InputError
from accelsim.faults import explain, nearest, shown
from accelsim.files import MACHINE
from accelsim.hardware.machine import Machine, SpatialMachine, WinogradMachine
from accelsim.settings import read_settings, read_value

_KINDS: dict[str, type[BaseModel]] = {"spatial": SpatialMachine, "winograd": WinogradMachine}


STAND_IN = 8  # for a number that is wrong or missing, to see what else is


def machine_folders() -> tuple[Path, ...]:
    """Where bare machine names are looked up: ./hwconfigs, the source tree's, the installed package's."""
    package = Path(__file__).resolve().parents[1]
    return Path("hwconfigs"), package.parent / "hwconfigs", package / "hwconfigs"


def load_hardware(name: str | Path, overrides: Iterable[str] = ()) -> SpatialMachine | WinogradMachine:
    """Read a machine from a YAML path, or by the bare name of a file in ``hwconfigs/``.

    overrides: ``KEY=VALUE`` with dotted keys (``pe_array.rows=32``), applied in order; values are read as YAML.
    Raises InputError naming the file and every fault in it.
    """
    path = _find(name)
    data = read_settings(path, MACHINE)
    for override in overrides:
        _override(data, override)
    data.setdefault("name", path.stem)
    try:
        machine: SpatialMachine | WinogradMachine = TypeAdapter(Machine).validate_python(data)
    except ValidationError as error:
        if not isinstance(kind := data.get("kind"), str) or kind not in _KINDS:
            raise InputError(f"{path}: kind: {shown(kind)}, expected one of {sorted(_KINDS)}") from None
        faults = [explain(error, _KINDS[kind], ignore=_KINDS), *_contradictions(data, error)]
        raise InputError(f"{path}: {'; '.join(faults)}") from None
    return machine


def _contradictions(data: dict[str, Any], error: ValidationError) -> list[str]:
    """What else does not go together, were it not for wrong keys and values: these hide it from the checks."""
    rest = copy.deepcopy(data)
    for fault in error.errors():
        *parents, last = [part for part in fault["loc"] if part not in _KINDS] or [""]
        target: Any = rest
        for parent in parents:
            target = target.get(parent, {}) if isinstance(target, dict) else {}
        if not isinstance(target, dict):
            continue
        target.pop(last, None)
        if fault["type"].startswith(("int_", "float_", "greater_", "less_", "missing")):
            target[last] = STAND_IN
    try:
        TypeAdapter(Machine).validate_python(rest)
    except ValidationError as further:
        said = {fault["msg"] for fault in error.errors()}
        return [str(f["ctx"]["error"]) for f in further.errors() if f["type"] == "value_error" and f["msg"] not in said]
    return []


def _find(name: str | Path) -> Path:
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return path
    for folder in machine_folders():
        candidate = folder / f"{name}.yaml"
        if candidate.is_file():
            return candidate
    known = sorted({p.stem for folder in machine_folders() for p in folder.glob("*.yaml")})
    raise InputError(f"{name}: no such machine{nearest(str(name), known)}")


def _override(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: expected KEY=VALUE, such as pe_array.rows=32")
    try:
        value = read_value(text)
    except ValueError:
        raise InputError(f"--set {override[:200]}: {text[:100]!r} is not a YAML value") from None
    *parents, last = key.split(".")
    target = data
    for parent in parents:
        target = target.setdefault(parent, {})
        if not isinstance(target, dict):
            raise InputError(f"--set {override}: {parent!r} is a value, not a group of keys")
    target[last] = value
