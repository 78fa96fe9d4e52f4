"""Reading a machine from YAML, with overrides, and saying all that is wrong with it in one line."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from accelsim import shipped
from accelsim.errors import InputError
from accelsim.faults import nearest
from accelsim.files import MACHINE, read_text
from accelsim.names import of_file
from accelsim.settings import read_settings, read_value, set_dotted
from accelsim.simulator.machines import FAMILIES, Families
from accelsim.simulator.machines.choice import machine_from
from accelsim.simulator.machines.foreign import scale_sim_keys, zigzag_keys
from accelsim.simulator.machines.machine import Machine

TIMELOOP = re.compile(r"^(architecture|arch):", re.MULTILINE)


def load_hardware(
    name: str | Path,
    overrides: Iterable[str] = (),
    families: Families = FAMILIES,
) -> Machine:
    """Read a machine from a YAML path, or by the bare name of a file in ``hwconfigs/``.

    SCALE-Sim's ``.cfg`` and ZigZag's hardware YAML are read, too (``foreign``).

    overrides: ``KEY=VALUE`` with dotted keys (``pe_array.rows=32``), applied in order; values are
    read as YAML.  families: that the file may describe; with a user's own, ``(*FAMILIES,
    MyMachine)``.
    Raises InputError naming the file and every fault in it.
    """
    path = _find(name)
    data = _read(path)
    for override in overrides:
        _override(data, override)
    data.setdefault("name", of_file(path))
    try:
        return machine_from(data, families)
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from None


def _read(path: Path) -> dict[str, Any]:
    """The keys of a machine file, one of ours or of another simulator's."""
    try:
        if path.suffix.lower() == ".cfg":
            return scale_sim_keys(read_text(path, MACHINE))
        if TIMELOOP.search(read_text(path, MACHINE)):
            raise InputError(
                "a Timeloop or AccelForge architecture, whose tree of components says more than array, buffers and "
                "bandwidth, expected a machine file of ours, SCALE-Sim's .cfg or ZigZag's hardware YAML"
            )
        data = read_settings(path, MACHINE)
        return zigzag_keys(data) if "operational_array" in data else data
    except InputError as fault:
        raise fault if str(fault).startswith(str(path)) else InputError(f"{path}: {fault}") from None


def _find(name: str | Path) -> Path:
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return path
    found = shipped.find("hwconfigs", name)
    if found is None:
        raise InputError(f"{name}: no such machine{nearest(str(name), shipped.known('hwconfigs'))}")
    return found


def _override(data: dict[str, Any], override: str) -> None:
    """Set one key of the description."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: expected KEY=VALUE, such as pe_array.rows=32")
    try:
        value = read_value(text)
    except ValueError:
        raise InputError(f"--set {override[:200]}: {text[:100]!r} is not a YAML value") from None
    try:
        set_dotted(data, key, value)
    except KeyError as error:
        raise InputError(f"--set {override}: {error.args[0]!r} is a value, not a group of keys") from None
