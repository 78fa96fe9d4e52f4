"""What a folder of results holds, by the one file that each kind of results has: no folder holds two kinds."""

from pathlib import Path
from typing import NamedTuple

from accelsim.errors import InputError
from accelsim.files import check_folder


class Results(NamedTuple):
    """A kind of results: what messages call it, and the file by which it is known."""

    name: str
    file: str


COMPARISON = Results("a comparison", "totals.csv")
SWEEP = Results("a sweep", "results.sqlite")
EXPLORATION = Results("an exploration", "points.json")
KINDS = (COMPARISON, SWEEP, EXPLORATION)


def check_kind(folder: Path, kind: Results, read: Path | None = None) -> None:
    """Raise InputError if such results cannot go into a folder.

    It cannot be written to, holds others, whose page they would replace, or is the folder that is read for them.
    """
    check_folder(folder)
    if read is not None and folder.is_dir() and read.is_dir() and folder.samefile(read):
        raise InputError(f"{folder}: is read for what would be written there, expected another folder")
    for other in KINDS:
        if other != kind and (folder / other.file).is_file():
            raise InputError(f"{folder}: holds {other.name} ({other.file}), expected another folder for {kind.name}")
