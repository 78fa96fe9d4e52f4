"""The onnx package, imported only when a file is read or written."""

from pathlib import Path
from typing import Any

from accelsim.errors import InputError

METADATA = "accelsim.preprocessing"


def package(path: Path) -> Any:
    """The module ``onnx``.  Raises InputError that says how to install it."""
    try:
        import onnx
    except ImportError:
        raise InputError(f"{path}: ONNX files need a package more, pip install onnx") from None
    return onnx


def one_line(error: object) -> str:
    """An error's text without its line breaks, cut."""
    return " ".join(str(error).split())[:300]
