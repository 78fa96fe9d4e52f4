"""Weights to and from safetensors files, with PyTorch's names and layouts; nothing in a file is executed or trusted."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from accelsim.errors import InputError
from accelsim.files import write_bytes
from accelsim.network.graph import Graph, Network

MAX_FILE_BYTES = 2 << 30


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The file's floating-point tensors as float32, by name.

    Raises InputError if the file cannot be read, is over 2 GiB, is no safetensors file, or holds a number that is
    not finite.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path}: {size} bytes, expected at most {MAX_FILE_BYTES}")
        tensors = load(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a safetensors file") from None
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a safetensors file ({error})") from None
    arrays = {}
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            continue
        arrays[name] = tensor.astype(np.float32)
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinity, expected finite numbers")
    return arrays


def load_network(graph: Graph, path: Path) -> Network:
    """The graph with the weights of a safetensors file.  Raises InputError if they do not fit the graph."""
    try:
        return Network(graph, read_safetensors(path))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error}") from None


def save_network(network: Network, path: Path) -> None:
    """Write the network's arrays as a safetensors file, atomically."""
    arrays = {name: np.ascontiguousarray(network.arrays[name]) for name in network.graph.parameters}
    write_bytes(path, save(arrays))
