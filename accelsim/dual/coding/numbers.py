"""Lossless coding of the few numbers beside the weights.

Biases, scales and shifts, codebook, input densities.

A number is the width of its magnitude in bits (unary), its sign, its highest bits below the leading
one, and the rest plain.  All but the rest are predicted from the statistics of numbers of the same
kind.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from accelsim.arrays import Ints, Levels
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.mixing import BitModel
from accelsim.dual.coding.rangecoder import BitCoder, checksum

KINDS = 8
WIDTHS = 32
TOP = 2  # modelled bits below the leading one
FIRST_PIECE = 8  # numbers of the first piece of those of one kind


class NumberCoder:
    """Codes arrays of numbers, one after the other, with the statistics of those before."""

    def __init__(self, coder: BitCoder) -> None:
        self._coder = coder
        self._width = BitModel(((KINDS * WIDTHS, 1), (WIDTHS, 1)))
        self._sign = BitModel(((KINDS, 1),))
        self._top = BitModel(((KINDS, WIDTHS << TOP), (1, WIDTHS << TOP)))

    def code(self, kind: int, count: int, known: Ints | None) -> Ints:
        """One array of numbers of a kind, (count,)."""
        size = None if known is None else np.abs(known)
        # 0 for 0
        known_width = None if size is None else np.frexp(size.astype(np.float64))[1].astype(np.int64)
        width = self._widths(kind, count, known_width)
        where = np.flatnonzero(width)
        sign = self._coder.alike(self._sign, [kind], len(where), None if known is None else known[where] < 0)
        magnitude = np.zeros(count, np.int64)
        magnitude[where] = self._magnitudes(kind, width[where] - 1, None if size is None else size[where])
        magnitude[where[sign]] *= -1
        return magnitude

    def pieces(self, kind: int, count: int, known: Ints | None, first: int) -> Ints:
        """One array in pieces of first, 2 first, 4 first, ... numbers, each with the statistics of those before."""
        pieces: list[Ints] = [np.zeros(0, np.int64)]
        start = 0
        size = first
        while start < count:
            part = slice(start, min(count, start + size))
            pieces.append(self.code(kind, part.stop - start, None if known is None else known[part]))
            start = part.stop
            size = 2 * size
        return np.concatenate(pieces)

    def _widths(self, kind: int, count: int, known: Ints | None) -> Ints:
        width = np.zeros(count, np.int64)
        alive = np.arange(count)
        for w in range(WIDTHS - 1):
            longer = None if known is None else known[alive] > w
            flags = self._coder.alike(self._width, [kind * WIDTHS + w, w], len(alive), longer)
            alive = alive[flags]
            width[alive] += 1
        if alive.size:
            raise DamagedFile(f"damaged: a number has {WIDTHS} bits or more")
        return width

    def _magnitudes(self, kind: int, width: Ints, known: Ints | None) -> Ints:
        """Magnitudes whose highest bit is bit ``width``, (n,)."""
        number = np.ones(width.size, np.int64)
        for bit in range(TOP):
            alive = np.flatnonzero(width > bit)
            slot = (width[alive] << TOP) + number[alive] - 1
            wanted = None if known is None else (known[alive] >> (width[alive] - bit - 1)) & 1 == 1
            flags = self._coder.modelled(self._top, [(kind, slot), (0, slot)], slot.shape, wanted)
            number[alive] = 2 * number[alive] + flags
        rest = np.maximum(width - TOP, 0)
        for w in np.unique(rest[rest > 0]).tolist():
            chosen = np.flatnonzero(rest == w)
            low = None if known is None else known[chosen] & ((1 << w) - 1)
            number[chosen] = (number[chosen] << w) + self._coder.plain(chosen.size, w, low)
        return number


def encode_numbers(
    arrays: Sequence[Levels],
    kinds: Sequence[int],
    *,
    joined: bool = False,
) -> bytes:
    """The arrays (n,) of int32, each of a kind 0..``KINDS`` - 1, as one byte string.

    joined: those of a kind are coded as one array, in pieces, which decodes faster than many short
    ones.
    """
    coder = BitCoder(None)
    numbers = NumberCoder(coder)
    if joined:
        for kind, places in _places(kinds):
            whole = np.concatenate([arrays[i].ravel() for i in places]).astype(np.int64)
            numbers.pieces(kind, whole.size, whole, FIRST_PIECE)
    else:
        for array, kind in zip(arrays, kinds, strict=True):
            numbers.code(kind, array.size, array.astype(np.int64).ravel())
    return checksum(arrays) + coder.finish()


def decode_numbers(
    content: bytes,
    sizes: Sequence[int],
    kinds: Sequence[int],
    *,
    joined: bool = False,
) -> list[Levels]:
    """What ``encode_numbers`` was given.  Raises DamagedFile if the content does not fit."""
    numbers = NumberCoder(BitCoder(content[4:]))
    if joined:
        arrays: list[Levels] = [np.zeros(0, np.int32)] * len(sizes)
        for kind, places in _places(kinds):
            ends = np.cumsum([sizes[i] for i in places])
            whole = numbers.pieces(kind, int(ends[-1]), None, FIRST_PIECE).astype(np.int32)
            for i, part in zip(places, np.split(whole, ends[:-1]), strict=True):
                arrays[i] = part
    else:
        arrays = [numbers.code(kind, size, None).astype(np.int32) for size, kind in zip(sizes, kinds, strict=True)]
    if checksum(arrays) != content[:4]:
        raise DamagedFile("damaged: the checksum of the values differs")
    return arrays


def _places(kinds: Sequence[int]) -> Iterable[tuple[int, list[int]]]:
    """Each kind, ascending, and which arrays are of it."""
    return [(kind, [i for i, found in enumerate(kinds) if found == kind]) for kind in sorted(set(kinds))]
