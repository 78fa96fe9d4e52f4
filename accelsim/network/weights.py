"""Weights from safetensors, .npz and .pt files, with PyTorch's names and layouts; none is executed or trusted.

Safetensors files are written, too.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from accelsim.errors import InputError
from accelsim.files import SAFETENSORS, WEIGHTS, read_bytes, write_bytes
from accelsim.network import state_dict
from accelsim.network.graph import Graph, Network
from accelsim.network.npz import read_npz

MOST_TENSORS = 100_000
# NumPy's types of what a safetensors file may hold; None of bfloat16, the first half of a float32.
# Complex numbers and those of less than 16 bits have no place in a network of ours.
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": None, "BOOL": "?"}
TYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The file's floating-point tensors as float32, by name.

    Raises InputError if the file cannot be read, is over 2 GiB, is no safetensors file, names a
    tensor twice, or holds numbers of another type than ``TYPES`` or one that is not finite.
    """
    content = read_bytes(path, SAFETENSORS)
    try:
        tensors = deserialize(content)  # type: ignore[no-untyped-call, unused-ignore]
        _check_header(path, content)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a safetensors file ({' '.join(str(error).split())[:200]})") from None
    return _floats(path, {name: _tensor(path, name, entry) for name, entry in tensors})


def _check_header(path: Path, content: bytes) -> None:
    """Raise InputError if the header of a sound safetensors file names a tensor twice, or too many."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise InputError(f"{path}: a tensor is there twice, expected each name once")
        return found

    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=once)
    if len(header) > MOST_TENSORS:
        raise InputError(f"{path}: {len(header)} tensors, expected at most {MOST_TENSORS}")


def _tensor(path: Path, name: str, entry: dict[str, Any]) -> NDArray[Any]:
    """One tensor of a safetensors file, bfloat16 as float32."""
    found = str(entry["dtype"])
    if found not in TYPES:
        raise InputError(f"{path}: tensor {name[:100]!r} holds {found}, expected one of {', '.join(TYPES)}")
    if found == "BF16":
        wide = np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(entry["shape"])
    return np.frombuffer(entry["data"], TYPES[found]).reshape(entry["shape"])


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The floating-point arrays of a .safetensors, .npz or .pt file as float32, by name.

    In an .npz file a name without a dot is a layer's weight: ``conv00`` becomes ``conv00.weight``.
    Raises InputError as ``read_safetensors``, or if the file's name ends otherwise.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    if path.suffix == ".npz":
        arrays = read_npz(path, WEIGHTS.most_bytes)
        if twice := sorted(name for name in arrays if "." not in name and f"{name}.weight" in arrays):
            raise InputError(f"{path}: arrays {twice[0][:100]!r} and {twice[0][:100] + '.weight'!r}, expected one")
        return _floats(path, {name if "." in name else f"{name}.weight": array for name, array in arrays.items()})
    if path.suffix in state_dict.ENDINGS:
        return _floats(path, state_dict.read_state_dict(path))
    raise InputError(f"{path}: expected a .safetensors, .npz or .pt file of weights")


def load_network(graph: Graph, path: Path) -> Network:
    """The graph with the weights of a file (``read_weights``).

    Raises InputError if they do not fit the graph.
    """
    try:
        return Network(graph, read_weights(path))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error}") from None


def save_network(network: Network, path: Path) -> None:
    """Write the network's arrays as a safetensors file, atomically."""
    arrays = {name: np.ascontiguousarray(network.arrays[name]) for name in network.graph.parameters}
    write_bytes(path, save(arrays))


def _floats(path: Path, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The floating-point tensors as float32; others (counters of batches) are left out."""
    arrays = {}
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            continue
        if not np.isfinite(tensor).all() or np.abs(tensor).max(initial=0) > np.finfo(np.float32).max:
            raise InputError(
                f"{path}: tensor {name[:100]!r} holds NaN, infinity or beyond float32, expected finite numbers"
            )
        arrays[name] = tensor.astype(np.float32)
    return arrays
