"""Lossless coding of integer arrays whose shapes the reader knows, by one of two coders.

``context`` is ours, ``bz2`` the paper's.
"""

from collections.abc import Sequence
from typing import Literal

from accelsim.arrays import Levels
from accelsim.dual.coding.bzip2 import decode_bz2, encode_bz2
from accelsim.dual.coding.context import decode_context, encode_context

Coder = Literal["bz2", "context"]


def encode(tensors: Sequence[Levels], coder: Coder) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    return encode_bz2(tensors) if coder == "bz2" else encode_context(tensors)


def decode(content: bytes, shapes: Sequence[tuple[int, ...]], coder: Coder) -> tuple[list[Levels], list[int]]:
    """What ``encode`` was given, and the bits of each.

    Raises DamagedFile if the content does not fit.
    """
    return decode_bz2(content, shapes) if coder == "bz2" else decode_context(content, shapes)
