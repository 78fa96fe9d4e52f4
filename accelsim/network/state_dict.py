"""State dicts as ``torch.save`` writes them (.pt, .pth), read where PyTorch is installed.

Such a file is a ZIP archive with a pickle in it, and a pickle can run code.  So it is never
unpickled here, and by PyTorch only with ``weights_only=True``, which builds tensors and plain
containers and calls nothing else; a PyTorch before 2.6, whose ``weights_only`` could be got round
(CVE-2025-32434), is refused.  All sizes are bounded before memory is taken: of the file, of its
members, of all tensors as they unfold.  Safetensors hold the same without a pickle.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.files import STATE_DICT, read_bytes

ENDINGS = (".pt", ".pth")
OLDEST = (2, 6)  # of PyTorch
MOST_TENSORS = 100_000
# tensors that may show the same bytes: a file of few could be stretched to gigabytes
MOST_VIEWS = 4
WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep a state dict


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """The file's floating-point tensors by name.

    Raises InputError if PyTorch is missing or too old, or the file is over 2 GiB or holds anything
    but a state dict.
    """
    torch = _torch(path)
    content = read_bytes(path, STATE_DICT)
    _check_archive(path, content)
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of the loader's own kinds, many
        raise InputError(f"{path}: not a state dict ({' '.join(str(error).split())[:200]})") from None
    for _ in WRAPPERS:
        inner = [key for key in WRAPPERS if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)]
        if len(inner) > 1:
            raise InputError(f"{path}: holds {' and '.join(map(repr, inner))}, expected one state dict")
        loaded = loaded[inner[0]] if inner else loaded
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise InputError(f"{path}: holds no state dict, expected what torch.save(network.state_dict(), FILE) writes")
    if not all(isinstance(name, str) for name in loaded):
        raise InputError(f"{path}: tensors by other things than their names, expected a state dict")
    most = min(STATE_DICT.most_bytes // 4, MOST_VIEWS * len(content))
    if len(loaded) > MOST_TENSORS or sum(tensor.numel() for tensor in loaded.values()) > most:
        raise InputError(f"{path}: over {MOST_TENSORS} tensors or {most} numbers in them")
    floats = {name: tensor for name, tensor in loaded.items() if tensor.is_floating_point()}
    for name, tensor in floats.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_nested:
            what = f"{tensor.layout} on {tensor.device.type}"
            raise InputError(f"{path}: tensor {name[:100]!r} is {what}, expected all its numbers one after the other")
    return {name: np.array(tensor.detach().to(torch.float32).numpy()) for name, tensor in floats.items()}


def _check_archive(path: Path, content: bytes) -> None:
    """Raise InputError unless the file is a ZIP archive whose members are stored as they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError):
        # of a version that nobody writes
        raise InputError(f"{path}: not a file of torch.save, expected one of PyTorch 1.6 or newer") from None
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > len(content):
        raise InputError(f"{path}: its members are packed, expected them stored as torch.save does")


def _torch(path: Path) -> Any:
    """PyTorch.  Raises InputError that says what to do where it is missing or too old."""
    instead = "or write safetensors (safetensors.torch.save_file)"
    try:
        import torch
    except ImportError:
        raise InputError(f"{path}: .pt files are read by PyTorch, pip install torch, {instead}") from None
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST:
        oldest = ".".join(str(part) for part in OLDEST)
        raise InputError(f"{path}: PyTorch {torch.__version__}, expected {oldest} or newer, {instead}")
    return torch
