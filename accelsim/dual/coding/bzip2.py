"""Coding of integer arrays by bzip2, as the paper does it, or by Huffman codes alone.

Huffman codes (deflate) take a tenth of the time.  Here, too: the unpacking of what a stranger may
have packed.

One stream a tensor, little-endian, in the narrowest of 1, 2 or 4 bytes that holds it.
"""

import bz2
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from accelsim.arrays import Levels
from accelsim.dual.coding.damaged import DamagedFile

_HEADER = struct.Struct("<BI")  # bytes an integer, bytes of the stream


def encode_bz2(tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    return _encoded(tensors, bz2.compress)


def encode_deflate(tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """As ``encode_bz2``, by Huffman codes."""
    return _encoded(tensors, _huffman)


def _huffman(content: bytes) -> bytes:
    compressor = zlib.compressobj(level=1, wbits=15, memLevel=9, strategy=zlib.Z_HUFFMAN_ONLY)
    return compressor.compress(content) + compressor.flush()


def _encoded(
    tensors: Sequence[Levels],
    compress: Callable[[bytes], bytes],
) -> tuple[bytes, list[int]]:
    pieces = []
    bits = []
    for tensor in tensors:
        largest = max(int(tensor.max(initial=0)), -int(tensor.min(initial=0)))
        width = next(width for width in (1, 2, 4) if largest < 1 << (8 * width - 1))
        packed = compress(tensor.astype(f"<i{width}").tobytes())
        pieces.append(_HEADER.pack(width, len(packed)) + packed)
        bits.append(8 * len(pieces[-1]))
    return b"".join(pieces), bits


def decode_bz2(content: bytes, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Levels], list[int]]:
    """What ``encode_bz2`` was given, and the bits of each.

    Raises DamagedFile if the content does not fit.
    """
    return _decoded(content, shapes, bunzip)


def decode_deflate(
    content: bytes,
    shapes: Sequence[tuple[int, ...]],
) -> tuple[list[Levels], list[int]]:
    """What ``encode_deflate`` was given, and the bits of each.

    Raises DamagedFile if the content does not fit.
    """
    return _decoded(content, shapes, inflate)


def _decoded(
    content: bytes, shapes: Sequence[tuple[int, ...]], unpack: Callable[[bytes, int, str], bytes]
) -> tuple[list[Levels], list[int]]:
    tensors = []
    bits = []
    offset = 0
    for i, shape in enumerate(shapes):
        if offset + _HEADER.size > len(content):
            raise DamagedFile(f"the weights end before tensor {i} of {len(shapes)}")
        width, length = _HEADER.unpack_from(content, offset)
        if width not in (1, 2, 4):
            raise DamagedFile(f"tensor {i} has {width}-byte integers, expected 1, 2 or 4")
        start = offset + _HEADER.size
        size = int(np.prod(shape, dtype=np.int64))
        raw = unpack(content[start : start + length], width * size, f"tensor {i}")
        tensors.append(np.frombuffer(raw, f"<i{width}").astype(np.int32).reshape(shape))
        bits.append(8 * (_HEADER.size + length))
        offset = start + length
    if offset != len(content):
        raise DamagedFile(f"{len(content) - offset} bytes follow the last tensor")
    return tensors, bits


def bunzip(packed: bytes, size: int, what: str) -> bytes:
    """The ``size`` bytes of one bzip2 stream.

    Raises DamagedFile if it is damaged, longer or shorter.
    """
    decompressor = bz2.BZ2Decompressor()
    try:
        content = decompressor.decompress(packed, max_length=size + 1)
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{what} is damaged ({error})") from None
    if len(content) != size or not decompressor.eof or decompressor.unused_data:
        raise DamagedFile(f"{what} is damaged: it does not unpack to the {size} bytes it should")
    return content


def inflate(packed: bytes, size: int, what: str) -> bytes:
    """The ``size`` bytes of one zlib stream.

    Raises DamagedFile if it is damaged, longer or shorter.
    """
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(packed, size + 1)
    except zlib.error as error:
        raise DamagedFile(f"{what} is damaged ({error})") from None
    if len(content) != size or not decompressor.eof or decompressor.unused_data or decompressor.unconsumed_tail:
        raise DamagedFile(f"{what} is damaged: it does not unpack to the {size} bytes it should")
    return content
