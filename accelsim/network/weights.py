"""Weights from safetensors, .npz and .pt files, with PyTorch's names and layouts; none is executed or trusted.

Safetensors files are written, too.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from accelsim.errors import InputError
from accelsim.files import SAFETENSORS, WEIGHTS, read_bytes, write_bytes
from accelsim.network import state_dict
from accelsim.network.graph import Graph, Network
from accelsim.network.npz import read_npz


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The file's floating-point tensors as float32, by name.

    Raises InputError if the file cannot be read, is over 2 GiB, is no safetensors file, or holds a number that is
    not finite.
    """
    content = read_bytes(path, SAFETENSORS)
    try:
        tensors = load(content)
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a safetensors file ({' '.join(str(error).split())[:200]})") from None
    return _floats(path, tensors)


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The floating-point arrays of a .safetensors, .npz or .pt file as float32, by name.

    In an .npz file a name without a dot is a layer's weight: ``conv00`` becomes ``conv00.weight``.
    Raises InputError as ``read_safetensors``, or if the file's name ends otherwise.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    if path.suffix == ".npz":
        arrays = read_npz(path, WEIGHTS.most_bytes)
        return _floats(path, {name if "." in name else f"{name}.weight": array for name, array in arrays.items()})
    if path.suffix in state_dict.ENDINGS:
        return _floats(path, state_dict.read_state_dict(path))
    raise InputError(f"{path}: expected a .safetensors, .npz or .pt file of weights")


def load_network(graph: Graph, path: Path) -> Network:
    """The graph with the weights of a file (``read_weights``).  Raises InputError if they do not fit the graph."""
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
            raise InputError(f"{path}: tensor {name!r} holds NaN, infinity or beyond float32, expected finite numbers")
        arrays[name] = tensor.astype(np.float32)
    return arrays
