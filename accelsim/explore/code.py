"""Which source files can change a result, found by walking the imports; and one digest over them.

A sweep's results are kept by this digest, among other things: once the code of a machine, a
transform or a table changes, what was computed before is not taken for what would be computed now.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path

PACKAGE = "accelsim"
ROOT = Path(__file__).resolve().parents[1]
DATA = {".csv"}  # tables that modules read
# beside the package's ``__init__``: no point runs their functions
FACE = {"loading.py", "making.py", "showing.py", "validating.py"}

# Imports as our formatter writes them, one a line or in parentheses.  Python's own parser takes
# most of a second over all files; a test holds what is found against it.
_IMPORT = re.compile(rf"^( *)(?:from ({PACKAGE}[.\w]*) import (\([^)]*\)|.*)|import ({PACKAGE}[.\w]*))", re.MULTILINE)
_FOR_TYPES = re.compile(r"^( *)if (?:typing\.)?TYPE_CHECKING:.*\n(?:(?:\1 +.*)?\n)*", re.MULTILINE)
_COMMENT = re.compile(r"#.*")


def source_files(module: str, root: Path = ROOT) -> tuple[Path, ...]:
    """All files of the package that a module may execute or read, in order.

    module: a dotted name.  root: the package's folder.
    Followed: every import of the package, also those inside functions, but for those that are for
    type checkers alone.  A package's ``__init__`` counts with what it imports itself, not with what
    its functions import; so do the modules of the package's face.  Tables count that lie in the
    folder of a module, or in a folder ``data`` or ``tables`` beside it.
    """
    known = _modules(root)
    seen: set[Path] = set()
    waiting = [(path, True) for path in _files_of(module, known)]
    while waiting:
        path, whole = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in set(imports_of(path.read_text(encoding="utf-8"), whole)):
            waiting += [(found, not _is_face(found, root)) for found in _files_of(name, known)]
    folders = {path.parent for path in seen}
    places = {folder / name for folder in folders for name in ("", "data", "tables")}
    tables = [table for place in places for table in place.glob("*") if _is_data(table)]
    return tuple(sorted({*seen, *tables}))


@cache
def code_version(module: str) -> str:
    """SHA-256 over the names and contents of ``source_files``."""
    digest = hashlib.sha256()
    for path in source_files(module):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_face(path: Path, root: Path) -> bool:
    return path.name == "__init__.py" or (path.parent == root and path.name in FACE)


def _is_data(path: Path) -> bool:
    return path.suffix in DATA and path.is_file()


def _modules(root: Path) -> dict[str, Path]:
    """The files of all modules and packages, by dotted name."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        inner = parts[:-1] if path.name == "__init__.py" else parts
        found[".".join((PACKAGE, *inner))] = path
    return found


def _files_of(name: str, known: Mapping[str, Path]) -> list[Path]:
    """The files that importing a dotted name executes.

    The module's, or the package's, and those of all above it.  The last part may be something that
    the module defines.
    """
    above = accumulate(name.split("."), "{}.{}".format)
    return [known[module] for module in above if module in known]


def imports_of(source: str, whole: bool) -> Iterator[str]:
    """Dotted names of the package that a module imports, but for those that are for type checkers alone.

    whole: also inside functions and classes.
    """
    for indent, module, names, alone in _IMPORT.findall(_FOR_TYPES.sub("", source)):
        if indent and not whole:
            continue
        if alone:
            yield alone
        for name in _COMMENT.sub("", names).strip("() \n").split(",") if module else ():
            if name.strip():
                yield f"{module}.{name.split()[0]}"
