"""Which source files can change a result, found by walking the imports; and one digest over them.

A sweep's results are kept by this digest, among other things: once the code of a machine, a
transform or a table changes, what was computed before is not taken for what would be computed now.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "accelsim"
# and what holds some; expressions hold no import
STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
ROOT = Path(__file__).resolve().parents[1]
DATA = {".csv"}  # tables that modules read
# beside the package's ``__init__``: no point runs their functions
FACE = {"loading.py", "making.py", "showing.py", "validating.py"}


def source_files(module: str, root: Path = ROOT) -> tuple[Path, ...]:
    """All files of the package that a module may execute or read, in order.

    module: a dotted name.  root: the package's folder.
    Followed: every import of the package, also those inside functions, but for those that are for
    type checkers alone.  A package's ``__init__`` counts with what it imports itself, not with what
    its functions import; so do the modules of the package's face.  Tables count that lie in the
    folder of a module, or in a folder ``data`` or ``tables`` beside it.
    """
    seen: set[Path] = set()
    waiting = [(path, True) for path in _files_of(module, root)]
    while waiting:
        path, whole = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in _imports(ast.parse(path.read_text(encoding="utf-8")), whole):
            waiting += [(found, not _is_face(found, root)) for found in _files_of(name, root)]
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


def _files_of(name: str, root: Path) -> list[Path]:
    """The files that importing a dotted name executes.

    The module's, or the package's, and those of all above it.

    The last part may be something that the module defines.
    """
    package, *parts = name.split(".")
    if package != PACKAGE:
        return []
    found = [root / "__init__.py"]
    folder = root
    for part in parts:
        if (folder / part / "__init__.py").is_file():
            folder = folder / part
            found.append(folder / "__init__.py")
        elif (folder / f"{part}.py").is_file():
            found.append(folder / f"{part}.py")
            break
    return found


def _imports(tree: ast.AST, whole: bool) -> Iterator[str]:
    """Dotted names that the statements import.  whole: also inside functions and classes."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, STATEMENTS):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif whole or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _imports(node, whole)
