"""The files that come with the package, found by bare name.

Machines, models, tables of layers, sweeps, recipes.

A folder of the same name where the command runs comes first, so that a user's own ``hwconfigs/`` is
looked at, too.
"""

from pathlib import Path
from typing import Literal

from accelsim.errors import InputError

Room = Literal["hwconfigs", "models", "recipes", "sweeps", "workloads"]
MAX_NAME = 240  # bytes, of 255
SUFFIXES: dict[Room, str] = {
    "hwconfigs": ".yaml",
    "models": ".dual",
    "recipes": ".yaml",
    "sweeps": ".yaml",
    "workloads": ".csv",
}


def folders(room: Room) -> tuple[Path, ...]:
    """Where the bare names of a room are looked up.

    The working folder, the source tree, the installed package.
    """
    package = Path(__file__).resolve().parent
    return Path(room), package.parent / room, package / room


def find(room: Room, name: str | Path) -> Path | None:
    """The file that a bare name such as ``resnet20-cifar10`` means, or None.

    A path with folders means none, nor does what is longer than a file's name can be with an ending.
    """
    if Path(name).name != str(name) or len(str(name).encode(errors="replace")) > MAX_NAME:
        return None
    candidates = (folder / f"{name}{SUFFIXES[room]}" for folder in folders(room))
    return next((path for path in candidates if path.is_file()), None)


def found_or_given(room: Room, name: str | Path) -> Path:
    """The path as it is if there is such a file, else what its bare name means, else the path as it is."""
    path = Path(name)
    return path if path.is_file() else find(room, name) or path


def required(room: Room, name: str | Path) -> Path:
    """As ``found_or_given``, for a name that a command cannot do without.

    Raises InputError with the nearest name if a bare name is none of the room's.
    """
    from accelsim.faults import nearest  # with pydantic, which a command's help has no need of

    path = found_or_given(room, name)
    if path.suffix or path.name != str(name) or path.exists():
        return path
    raise InputError(f"{name}: no such {room.removesuffix('s')}{nearest(str(name), known(room))}")


def known(room: Room) -> dict[str, Path]:
    """Every file of a room by its bare name, in alphabetical order.

    Of equal names the one that ``find`` finds.
    """
    paths: dict[str, Path] = {}
    for folder in folders(room):
        for path in folder.glob(f"*{SUFFIXES[room]}"):
            paths.setdefault(path.stem, path)
    return dict(sorted(paths.items()))
