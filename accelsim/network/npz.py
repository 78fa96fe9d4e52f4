"""Reading .npz files from strangers: no pickle, no unknown types, and never more memory than was agreed to."""

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.files import IMAGES, WEIGHTS, Kind, opened

# what reading a damaged ZIP archive ends in
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    EOFError,
    ValueError,
    IndexError,
    struct.error,
    tokenize.TokenError,  # of NumPy, where an array's header is no text that it would write
    SyntaxError,
)
MAX_MEMBERS = 10_000
_CHUNK = 1 << 20  # bytes that are unpacked at a time
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, max_bytes: int, kind: Kind = WEIGHTS) -> dict[str, NDArray[Any]]:
    """The file's arrays by name, read-only; dtypes are bool, integer or floating point.

    max_bytes: of the file, and of all arrays together once unpacked; checked before anything is
    unpacked.
    kind: what messages call it.
    Raises InputError if the file cannot be read, is damaged, is larger, or holds anything but plain
    arrays.
    """
    with _archive(path, max_bytes, kind) as archive:
        members = archive.infolist()
        return {m.filename.removesuffix(".npy"): _array(path, archive, m) for m in members}


def first_axis(path: Path, name: str, max_bytes: int = IMAGES.most_bytes) -> int:
    """How many entries an array of the file has along its first axis, by its header alone.

    Raises InputError as ``read_npz``, or if the file has no such array.
    """
    with _archive(path, max_bytes, IMAGES) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise InputError(f"{path}: no array {name!r}")
        with archive.open(f"{name}.npy") as stream:
            shape, _, _ = _header(path, name, stream)
    return int(shape[0]) if shape else 0


@contextmanager
def _archive(path: Path, max_bytes: int, kind: Kind) -> Iterator[zipfile.ZipFile]:
    """An .npz file whose members are what they may be; raises InputError as ``read_npz``."""
    try:
        with opened(path, kind._replace(most_bytes=max_bytes)) as stream, zipfile.ZipFile(stream) as archive:
            _check_members(path, archive.infolist(), max_bytes)
            yield archive
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected {kind.name}") from None
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a whole .npz file ({_one_line(error)})") from None


def _check_members(path: Path, members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    names = [member.filename for member in members]
    if len(members) > MAX_MEMBERS:
        raise InputError(f"{path}: {len(members)} members, expected at most {MAX_MEMBERS}")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two members have one name, expected each once")
    if (total := sum(member.file_size for member in members)) > max_bytes:
        raise InputError(f"{path}: {total} bytes once unpacked, expected at most {max_bytes}")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise InputError(f"{path}: member {member.filename!r} is no .npy array")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{path}: member {member.filename!r} is neither stored nor deflated")


def _array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """The array of one .npy member, whose bytes must be exactly those that its header announces.

    That is checked before they are unpacked, and they are there once.
    """
    name = member.filename
    with archive.open(member) as stream:
        shape, fortran_order, dtype = _header(path, name, stream)
        here = member.file_size - stream.tell()
        if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != here:
            raise InputError(f"{path}: member {name!r} announces {shape} {dtype}, but holds {here} bytes")
        array = np.empty(prod(shape), dtype)
        content = array.view(np.uint8)
        filled = 0
        while chunk := stream.read(_CHUNK):
            content[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
            filled += len(chunk)
    if filled != here:
        raise InputError(f"{path}: member {name!r} announces {here} bytes, but holds {filled}")
    array.setflags(write=False)
    return array.reshape(shape, order="F" if fortran_order else "C")


def _header(
    path: Path,
    name: str,
    stream: IO[bytes],
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that a .npy member announces."""
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"format version {version} is not known")
        shape, fortran_order, dtype = _HEADERS[version](stream)
        if any(type(size) is not int for size in shape):
            raise ValueError(f"shape is not valid: {shape}")
    except (ValueError, SyntaxError, TypeError, EOFError) as error:
        raise InputError(f"{path}: member {name!r} is no .npy array ({_one_line(error)})") from None
    if dtype.kind not in "biuf":
        raise InputError(f"{path}: member {name!r} holds {dtype}, expected numbers")
    return shape, fortran_order, dtype


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
