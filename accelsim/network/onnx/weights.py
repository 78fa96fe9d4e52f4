"""The constants of an ONNX file.

In the file, or in a file beside it that the ONNX file names (PyTorch's default).

The file's large ones are read by the place where their numbers lie (``large``).

No path leads elsewhere, and all that is read of such files is bounded.
"""

import hashlib
import os
from collections.abc import Mapping
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.files import ONNX, ONNX_DATA, opened
from accelsim.network.onnx.draft import Unfit
from accelsim.network.onnx.large import Span
from accelsim.network.onnx.package import one_line

# numbers of the types that NumPy has, as TensorProto counts them
NATIVE = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13}
EXTERNAL_KEYS = ("location", "offset", "length", "checksum")
# numbers of a constant that may say a shape, which the package's own shape inference reads
SMALL = 1 << 10


class Weights:
    """Reads tensors, and remembers how much of other files it has read."""

    def __init__(self, onnx: Any, path: Path, large: Mapping[str, Span]) -> None:
        """large: where in the file the numbers of the graph's constants lie that are not in its parsed form."""
        self.onnx = onnx
        self.path = path
        self.large = large
        self.read_bytes = 0  # of other files
        self.sums: dict[Path, str] = {}  # SHA-1 of those whose sum a tensor states
        self.read = 0  # numbers

    def constant(self, tensor: Any) -> NDArray[Any]:
        """The values of one of the graph's constants, as ``array``."""
        return self.array(tensor, self.large.get(tensor.name))

    def array(self, tensor: Any, place: Span | None = None) -> NDArray[Any]:
        """A tensor's values, bfloat16 as float32.

        Raises Unfit if they are damaged, no numbers, or not finite.

        place: where in the file they lie, if not in the tensor.
        """
        if min(tensor.dims, default=0) < 0:
            raise Unfit(f"tensor {tensor.name!r} is {list(tensor.dims)[:16]}, expected sizes from 0")
        try:
            if tensor.data_location == self.onnx.TensorProto.EXTERNAL or tensor.external_data:
                array = self._beside(tensor)
            elif place is not None:
                array = self._at(tensor, place)
            else:
                array = np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, InputError | Unfit):
                raise
            raise Unfit(f"tensor {tensor.name!r} is damaged ({one_line(error)})") from None
        self.read += array.size
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        if array.dtype.kind not in "biuf":
            raise Unfit(f"tensor {tensor.name!r} holds {array.dtype}, expected numbers")
        if array.dtype.kind == "f" and array.size > 1 and not np.isfinite(array).all():
            raise Unfit(f"tensor {tensor.name!r} holds NaN or infinity, expected finite numbers")
        return array

    def _beside(self, tensor: Any) -> NDArray[Any]:
        """A tensor whose values lie in a file beside the ONNX file."""
        keys = _external(tensor)
        name = keys.get("location", "")
        file = self.path.parent / name
        if not name or Path(name).name != name or "\\" in name or name in {".", ".."} or file.is_symlink():
            raise Unfit(f"tensor {tensor.name!r} lies in {name[:100]!r}, expected a file beside this one")
        if tensor.raw_data:
            raise Unfit(f"tensor {tensor.name!r} holds values and lies in another file, too, expected one of both")
        dtype, shape, wanted = self._kind(tensor)
        offset, length = (_size(tensor, keys.get(key, usual)) for key, usual in (("offset", 0), ("length", wanted)))
        if min(shape, default=0) < 0 or length != wanted:
            raise Unfit(
                f"tensor {tensor.name!r}: {length} bytes in {name[:100]!r}, expected {wanted} for {list(shape)}"
            )
        self.read_bytes += wanted
        if self.read_bytes > ONNX_DATA.most_bytes:
            raise Unfit(f"over {ONNX_DATA.most_bytes} bytes of weights in other files, expected at most that")
        with opened(file, ONNX_DATA) as stream:
            if offset + wanted > os.fstat(stream.fileno()).st_size:
                raise Unfit(f"tensor {tensor.name!r} ends at byte {offset + wanted}, beyond the end of {name[:100]!r}")
            self._check_sum(tensor, file, stream, keys.get("checksum", ""))
            stream.seek(offset)
            content = stream.read(wanted)
        return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape)

    def _check_sum(self, tensor: Any, file: Path, stream: BufferedReader, stated: str) -> None:
        """Raise Unfit if the file beside has another SHA-1 than the tensor states; most state none."""
        if not stated:
            return
        if file not in self.sums:
            self.sums[file] = hashlib.file_digest(stream, "sha1").hexdigest()
        if stated.lower() != self.sums[file]:
            raise Unfit(f"tensor {tensor.name!r}: checksum {stated[:40]!r}, that of {file.name[:100]!r} is another")

    def _at(self, tensor: Any, place: Span) -> NDArray[Any]:
        """A tensor whose values lie at a place in the ONNX file itself."""
        dtype, shape, wanted = self._kind(tensor)
        if tensor.data_type not in NATIVE or place[1] - place[0] != wanted:
            # the package packs or refuses it
            with opened(self.path, ONNX) as stream:
                tensor.raw_data = os.pread(stream.fileno(), place[1] - place[0], place[0])
            found = np.asarray(self.onnx.numpy_helper.to_array(tensor))
            tensor.ClearField("raw_data")
            return found
        array = np.empty(shape, dtype.newbyteorder("<"))
        with opened(self.path, ONNX) as stream:
            stream.seek(place[0])
            if stream.readinto(array.reshape(-1).view(np.uint8).data) != wanted:
                raise Unfit(f"tensor {tensor.name!r} is cut off, expected {wanted} bytes")
        return array

    def _kind(self, tensor: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
        """(what a tensor's numbers are, its shape, its bytes)."""
        dtype = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        shape = tuple(tensor.dims)
        return dtype, shape, prod(shape) * dtype.itemsize


def without_numbers(onnx: Any, model: Any) -> Any:
    """The model again, its large constants without their numbers.

    A parsed message gives back no part of its memory until nothing of it is held any more.
    """
    light = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _copy(light, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _copy(light.graph, field.name, value)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    return light


def _copy(message: Any, name: str, value: Any) -> None:
    """Give a field of a message a copy of a value."""
    if hasattr(value, "extend") or hasattr(value, "add"):
        getattr(message, name).extend(value)
    elif hasattr(value, "CopyFrom"):
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _external(tensor: Any) -> dict[str, str]:
    """Where a tensor's values lie in another file, by key.

    Raises Unfit if a key is not known or there twice.
    """
    keys = {entry.key: entry.value for entry in tensor.external_data}
    if unknown := [key for key in keys if key not in EXTERNAL_KEYS]:
        known = ", ".join(EXTERNAL_KEYS)
        raise Unfit(f"tensor {tensor.name!r}: external data with {unknown[0][:40]!r}, expected {known}")
    if len(keys) < len(tensor.external_data):
        raise Unfit(f"tensor {tensor.name!r}: external data with a key twice, expected each once")
    return keys


def _size(tensor: Any, value: str | int) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Unfit(f"tensor {tensor.name!r}: {text[:40]!r}, expected a number of bytes")
    return int(text)
