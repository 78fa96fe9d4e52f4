"""A network straight from PyTorch.

Exported to an ONNX file in a folder that is then removed, and read from there.
"""

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from accelsim.network.graph import Network
from accelsim.network.onnx import read_onnx


def torch_network(module: Any, example: Any) -> Network:
    """The network of a ``torch.nn.Module`` as it infers, read for the size of the example, (1, C, H, W) or a tuple.

    Raises InputError if torch or onnx is not installed, the export fails, or the network holds what
    is not known.
    """
    try:
        import torch
    except ImportError:
        raise InputError("from_torch: PyTorch is not installed, expected pip install torch") from None
    arguments = tuple(example) if isinstance(example, Sequence) else (example,)
    # The exporter over torch.export where what it needs is there; it is the default one, but not a
    # part of PyTorch.
    modern = find_spec("onnxscript") is not None
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"from_torch: {type(module).__name__}, expected a torch.nn.Module")
    # parts may be frozen, each by itself
    training = {part: part.training for part in module.modules()}
    with tempfile.TemporaryDirectory(prefix="accelsim-") as folder:
        path = Path(folder) / f"{type(module).__name__}.onnx"
        module.eval()
        try:
            with torch.no_grad():
                torch.onnx.export(module, arguments, str(path), dynamo=modern, verbose=False)
        except Exception as error:  # of the exporter's own kinds
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"from_torch: {type(module).__name__} cannot be exported: {lines[0][:200]}") from None
        finally:
            for part, was in training.items():
                part.training = was
        return read_onnx(path)
