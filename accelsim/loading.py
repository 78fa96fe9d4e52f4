"""Models, tables of layers and machines by path or bare name, for all that is called from Python.

Each function imports what it needs when it is called.  All are found in ``accelsim`` itself.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim import shipped
from accelsim.errors import InputError

if TYPE_CHECKING:
    from accelsim.dual.model import DualModel
    from accelsim.simulator.machines import Families
    from accelsim.simulator.machines.machine import Machine
    from accelsim.workload import LayerTable


Say = Callable[[str], None]
MAX_PATH = 4095  # bytes, of Linux
MAX_NAME = 255


def silent(line: str) -> None:
    """Say nothing."""


def path_of(what: str, value: object) -> Path:
    """A path that Python was given.  Raises InputError if it is none, or longer than a system takes."""
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise InputError(f"{what} {value!r:.100}, expected a path")
    path = Path(value)
    try:
        names = [os.fsencode(part) for part in path.parts]
    except UnicodeEncodeError:
        raise InputError(f"{what} {value!r:.100}, expected a path of characters that a file's name may have") from None
    if sum(map(len, names)) + len(names) > MAX_PATH or any(len(name) > MAX_NAME for name in names):
        raise InputError(f"{what} {str(value)[:100]!r}: File name too long, expected at most {MAX_NAME} bytes a name")
    return path


def path_or_none(what: str, value: object) -> Path | None:
    """As ``path_of``, of what need not be given."""
    return None if value is None else path_of(what, value)


def load_model(name: str | Path) -> "DualModel":
    """Read a ``.dual`` file, by its path or by the bare name of one that comes with the package.

    Raises InputError if it is missing or not a sound one.

    >>> accelsim.load_model("resnet20-cifar10")
    DualModel('resnet20-cifar10', 269,722 parameters, 36,007 bytes)
    """
    from accelsim.dual.file import read_dual

    path_of("model", name)
    return read_dual(model_path(name))


def load_workload(name: str | Path, seed: int = 0) -> "DualModel | LayerTable":
    """Read a ``.dual`` file, or a table of layers without weights (``.csv``) whose zeros are drawn from the seed.

    A table is a NETWORK.csv or a SCALE-Sim topology.  Both may be the bare name of one that comes
    with the package (``models/``, ``workloads/``).  Raises InputError if it is missing or not a
    sound one, or the seed is negative.

    >>> accelsim.load_workload("alexnet")
    LayerTable('alexnet', layers: 13, 60,954,656 weights, seed 0)
    """
    from accelsim.given import whole_number
    from accelsim.workload import find_table, load_table

    seed = whole_number("seed", seed, 0)
    path_of("model", name)
    model = Path(name).is_file() or shipped.find("models", name)
    table = None if model and Path(name).suffix != ".csv" else find_table(name)
    return load_model(name) if table is None else load_table(table, seed)


def load_hardware(
    name: str | Path,
    overrides: Iterable[str] = (),
    own_families: "Families" = (),
) -> "Machine":
    """Read a machine from a YAML path, or by the bare name of a file in ``hwconfigs/``.

    overrides: ``KEY=VALUE`` with dotted keys (``pe_array.rows=32``), applied in order.
    own_families: classes of machines (``accelsim.Machine``) that the file may describe beside the
    package's own.
    Raises InputError naming the file and every fault in it.

    >>> accelsim.load_hardware("spatial-16x16", ["pe_array.rows=32"])  # doctest: +ELLIPSIS
    StationaryMachine('spatial-16x16', 512 lanes, ...)
    """
    from accelsim.simulator.machines import FAMILIES
    from accelsim.simulator.machines.load import load_hardware as load
    from accelsim.simulator.machines.machine import Machine

    path_of("machine", name)
    changes = list(overrides) if isinstance(overrides, Iterable) else [overrides]
    if isinstance(overrides, str) or not all(isinstance(change, str) for change in changes):
        raise InputError(f"overrides {overrides!r:.100}, expected a list of KEY=VALUE")
    own = list(own_families) if isinstance(own_families, Iterable) else [own_families]
    if not all(isinstance(family, type) and issubclass(family, Machine) for family in own):
        raise InputError(f"own_families {own_families!r:.100}, expected classes of accelsim.Machine")
    return load(name, changes, (*FAMILIES, *own))


def model_path(name: str | Path) -> Path:
    """Where a model is.

    Raises InputError with the nearest name if a bare name is none of the package's.
    """
    from accelsim.faults import nearest

    path = shipped.found_or_given("models", name)
    if path.suffix or path.name != str(name) or path.exists():
        return path
    if shipped.find("workloads", name):
        raise InputError(f"{name}: a table of layers, without weights, expected a .dual file")
    known = (*shipped.known("models"), *shipped.known("workloads"))
    raise InputError(f"{name}: no such model{nearest(str(name), known)}")


def machine_of(machine: "Machine | str | Path") -> "Machine":
    """A machine, read if it is not there yet.  Raises InputError if it is none."""
    from accelsim.simulator.machines.machine import Machine

    if isinstance(machine, str | Path):
        return load_hardware(machine)
    if not isinstance(machine, Machine):
        raise InputError(f"machine {machine!r:.100}, expected a file, a bare name, or what load_hardware returned")
    return machine


def machines_of(machines: "Iterable[Machine | str | Path]") -> "list[Machine]":
    """Machines, each read if it is not there yet.

    Raises InputError if they are none, or no list.
    """
    if isinstance(machines, str | bytes | Path) or not isinstance(machines, Iterable):
        raise InputError(f"machines {machines!r:.100}, expected a list of them")
    return [machine_of(machine) for machine in machines]


def model_of(model: "DualModel | str | Path") -> "DualModel":
    """A model, read if it is not there yet.  Raises InputError if it is none."""
    from accelsim.dual.model import DualModel

    if isinstance(model, str | Path):
        return load_model(model)
    if not isinstance(model, DualModel):
        raise InputError(f"model {model!r:.100}, expected a .dual file, a bare name, or what load_model returned")
    return model


def workload_of(model: "DualModel | LayerTable | str | Path") -> "DualModel | LayerTable":
    """A model or a table of layers, read if it is not there yet.

    Raises InputError if it is neither.
    """
    from accelsim.workload import LayerTable

    if isinstance(model, str | Path):
        return load_workload(model)
    return model if isinstance(model, LayerTable) else model_of(model)


def sample_images(model: "DualModel", path: str | Path) -> Path:
    """The images that the model names as its sample: a file or folder beside the model file ``path``, or bare name.

    Raises InputError if it names none, or nothing beside it.
    """
    path_of("path", path)
    name = model_of(model).provenance.get("images", "")
    if not name:
        raise InputError(f"{path}: names no sample of images, expected --images FILE or DIR")
    if name in {".", ".."} or Path(name).name != name:
        raise InputError(f"{path}: provenance.images is {name!r}, expected the name of a file beside the model")
    return model_path(path).parent / name
