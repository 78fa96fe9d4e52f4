"""The onnx package, imported only when a file is read or written, and what of a model it settles itself."""

from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from accelsim.network.graph import Preprocessing
from accelsim.network.onnx.draft import Unfit

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


def inlined(onnx: Any, model: Any) -> Any:
    """The model without functions of its own."""
    if not model.functions:
        return model
    try:
        from onnx.inliner import inline_local_functions

        return inline_local_functions(model)
    except Exception as error:  # of the package's own kind
        raise Unfit(f"its functions cannot be inlined ({one_line(error)})") from None


def preprocessing_of(model: Any) -> Preprocessing:
    """What the model's metadata say of the images before its first layer."""
    for entry in model.metadata_props:
        if entry.key == METADATA:
            return Preprocessing.model_validate_json(entry.value)
    return Preprocessing()
