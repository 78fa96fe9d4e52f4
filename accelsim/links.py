"""Paths without links: what is written goes to where a link leads, and two names of one place are known as one.

Python before 3.13 ends in a RuntimeError where links lead in a circle, later ones say nothing.
"""

from pathlib import Path

from accelsim.errors import InputError


def without_links(path: Path) -> Path:
    """The whole path, links followed, whether or not something is there.

    Raises InputError where links lead in a circle.
    """
    try:
        found = path.resolve()
    except RuntimeError:
        found = path
    if found.is_symlink():
        raise InputError(f"{path}: links that lead in a circle, expected a file or a folder")
    return found


def followed(path: Path) -> Path:
    """What a link leads to, else the path as it is.  Raises InputError as ``without_links``."""
    return without_links(path) if path.is_symlink() else path


def same_place(one: Path, other: Path) -> bool:
    """Whether two paths are of one place, there or not.  Raises InputError as ``without_links``."""
    return without_links(one) == without_links(other)
