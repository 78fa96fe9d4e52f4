"""Lossless coding of integer arrays whose shapes the reader knows, by one of four coders.

``context`` and ``static`` are ours (the second decodes about ten times as fast), ``bz2`` is the
paper's, ``deflate`` the quickest.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from accelsim.arrays import Levels
from accelsim.dual.coding.bzip2 import decode_bz2, decode_deflate, encode_bz2, encode_deflate
from accelsim.dual.coding.context import decode_context, encode_context
from accelsim.dual.coding.fit import encode_static
from accelsim.dual.coding.static import decode_static

Coder = Literal["bz2", "context", "deflate", "static"]
Coded = tuple[bytes, list[int]]
Decoded = tuple[list[Levels], list[int]]

ENCODERS: dict[Coder, Callable[[Sequence[Levels]], Coded]] = {
    "bz2": encode_bz2,
    "context": encode_context,
    "deflate": encode_deflate,
    "static": encode_static,
}
DECODERS: dict[Coder, Callable[[bytes, Sequence[tuple[int, ...]]], Decoded]] = {
    "bz2": decode_bz2,
    "context": decode_context,
    "deflate": decode_deflate,
    "static": decode_static,
}


def encode(tensors: Sequence[Levels], coder: Coder) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    return ENCODERS[coder](tensors)


def decode(
    content: bytes,
    shapes: Sequence[tuple[int, ...]],
    coder: Coder,
) -> tuple[list[Levels], list[int]]:
    """What ``encode`` was given, and the bits of each.

    Raises DamagedFile if the content does not fit.
    """
    return DECODERS[coder](content, shapes)
