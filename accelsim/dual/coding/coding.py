"""Lossless coding of integer arrays whose shapes the reader knows, by one of two coders.

``context`` is ours.  ``bz2`` is the paper's: one stream a tensor, little-endian, in the narrowest of 1, 2 or 4 bytes
that holds it.
"""

import bz2
import struct
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.dual.coding.context import decode_context, encode_context
from accelsim.dual.container import ContainerError, bunzip

Levels = NDArray[np.int32]
Coder = Literal["bz2", "context"]
_HEADER = struct.Struct("<BI")  # bytes an integer, bytes of the stream


def encode_bz2(tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    pieces, bits = [], []
    for tensor in tensors:
        largest = int(np.abs(tensor.astype(np.int64)).max(initial=0))
        width = next(width for width in (1, 2, 4) if largest < 1 << (8 * width - 1))
        packed = bz2.compress(tensor.astype(f"<i{width}").tobytes())
        pieces.append(_HEADER.pack(width, len(packed)) + packed)
        bits.append(8 * len(pieces[-1]))
    return b"".join(pieces), bits


def decode_bz2(content: bytes, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Levels], list[int]]:
    """What ``encode_bz2`` was given, and the bits of each.  Raises ContainerError if the content does not fit."""
    tensors, bits, offset = [], [], 0
    for i, shape in enumerate(shapes):
        if offset + _HEADER.size > len(content):
            raise ContainerError(f"the weights end before tensor {i} of {len(shapes)}")
        width, length = _HEADER.unpack_from(content, offset)
        if width not in (1, 2, 4):
            raise ContainerError(f"tensor {i} has {width}-byte integers, expected 1, 2 or 4")
        start = offset + _HEADER.size
        size = int(np.prod(shape, dtype=np.int64))
        raw = bunzip(content[start : start + length], width * size, f"tensor {i}")
        tensors.append(np.frombuffer(raw, f"<i{width}").astype(np.int32).reshape(shape))
        bits.append(8 * (_HEADER.size + length))
        offset = start + length
    if offset != len(content):
        raise ContainerError(f"{len(content) - offset} bytes follow the last tensor")
    return tensors, bits


def encode(tensors: Sequence[Levels], coder: Coder) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    return encode_bz2(tensors) if coder == "bz2" else encode_context(tensors)


def decode(content: bytes, shapes: Sequence[tuple[int, ...]], coder: Coder) -> tuple[list[Levels], list[int]]:
    """What ``encode`` was given, and the bits of each.  Raises ContainerError if the content does not fit."""
    return decode_bz2(content, shapes) if coder == "bz2" else decode_context(content, shapes)
