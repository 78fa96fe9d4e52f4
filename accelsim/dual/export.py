"""A decoded ``.dual`` file for other tools: weights as safetensors, or the network as ONNX."""

from pathlib import Path

from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.files import check_output
from accelsim.network.onnx import write_onnx
from accelsim.network.weights import save_network

WRITERS = {".safetensors": save_network, ".onnx": write_onnx}


def export_model(model: DualModel, path: Path) -> None:
    """Write the model's network with its pruned, quantized weights.

    The ending says which kind of file.

    Raises InputError if the ending is another one, or the onnx package is not installed.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: ending {path.suffix!r}, expected one of {', '.join(WRITERS)}")
    check_output(path)
    WRITERS[path.suffix](model.network, path)
