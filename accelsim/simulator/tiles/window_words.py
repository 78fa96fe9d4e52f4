"""Operand windows (``selection``) all of whose multiplies fit a word: many windows walk side by side, bit by bit.

A word of 64 bits is one column's window: of each position as many bits as a column has filters, the
first set where any of them multiplies there, the next where two do, and so on.  The lowest bit is
the column's next multiply, so a cycle is a few operations on all words at once: what is asked for,
of each bank the lowest of that, and those bits cleared where they are a column's lowest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Flags, Ints

WORD = 64
AT_ONCE = 1 << 15  # words that walk side by side: what they need stays in a core's cache

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class WordStreams:
    """What the columns of some windows do.

    words: (columns, windows).  loads: positions at which columns multiply.
    """

    words: Words
    loads: int

    @staticmethod
    def of(planes: Sequence[Words]) -> "WordStreams":
        """planes: where a column does one multiply or more, two or more, and so on; (windows, columns) each."""
        words = spread(planes)
        return WordStreams(words=np.ascontiguousarray(words.T), loads=int(ones(planes[0]).sum()))

    @staticmethod
    def of_all(streams: "Sequence[WordStreams]") -> "WordStreams":
        """Streams one behind the other, of as many columns each."""
        words = np.concatenate([some.words for some in streams], axis=1)
        return WordStreams(words=words, loads=sum(some.loads for some in streams))

    def walk(self, banks: int, each: int) -> tuple[Ints, Ints]:
        """Cycles of each window, and vectors read from it: (windows,) each."""
        first_column = self.words[0]
        cycles = ones(first_column).astype(np.int64)  # where all columns do the same, as of dense filters
        reads = ones(first_column & _bits(range(0, WORD, each))).astype(np.int64)
        differ = np.flatnonzero((self.words != first_column).any(axis=0))
        # so that windows side by side end at about the same time
        by_length = differ[np.argsort(ones(self.words[:, differ]).max(axis=0, initial=0), kind="stable")]
        at_once = max(1, AT_ONCE // len(self.words))
        for first in range(0, len(differ), at_once):
            some = by_length[first : first + at_once]
            cycles[some], reads[some] = _side_by_side(self.words[:, some], banks, each)
        return cycles, reads


def _bits(numbers: Iterable[int]) -> np.uint64:
    """A word with these bits set."""
    return np.uint64(sum(1 << bit for bit in numbers))


def _side_by_side(words: Words, banks: int, each: int) -> tuple[Ints, Ints]:
    """``WordStreams.walk`` of windows together, cycle by cycle."""
    cycles = np.zeros(words.shape[1], np.int64)
    reads = np.zeros(words.shape[1], np.int64)
    of_bank = np.array([_bits(range(bank * each, WORD, banks * each)) for bank in range(banks)])[:, None]
    again = _bits(bit for bit in range(WORD) if bit % each)
    while True:
        lowest = words & -words
        asked = np.bitwise_or.reduce(lowest, axis=0)
        busy = asked != 0
        if not busy.any():
            return cycles, reads
        gives = asked & of_bank
        gives &= -gives
        words ^= lowest & (np.bitwise_or.reduce(gives, axis=0) | again)
        cycles += busy
        reads += (gives != 0).sum(axis=0, dtype=np.int32)


def packed(flags: Flags) -> Words:
    """Flags of a window as a word, the first in the lowest bit: (..., up to 64) bool -> (...)."""
    eights = np.packbits(flags, axis=-1, bitorder="little")
    whole = np.zeros((*eights.shape[:-1], WORD // 8), np.uint8)
    whole[..., : eights.shape[-1]] = eights
    return whole.view("<u8")[..., 0]


def at_least(filters: Sequence[Words]) -> list[Words]:
    """Where one of some filters or more has a bit, two or more, and so on, up to all: words of their shape."""
    found = [np.zeros_like(filters[0]) for _ in filters]
    for i, bits in enumerate(filters):
        for n in range(i, 0, -1):
            found[n] |= found[n - 1] & bits
        found[0] |= bits
    return found


def spread(planes: Sequence[Words]) -> Words:
    """Words whose bit p x planes + i is bit p of the i-th plane; bits beyond the word must be zero."""
    each = len(planes)
    if each == 1:
        return planes[0].copy()
    found = np.zeros_like(planes[0])
    table = _spread_bytes(each)
    for i, plane in enumerate(planes):
        for eight in range(-(-WORD // (8 * each))):
            low = (plane >> np.uint64(8 * eight)) & np.uint64(0xFF)
            found |= table[low.astype(np.intp)] << np.uint64(8 * each * eight + i)
    return found


@lru_cache(maxsize=8)
def _spread_bytes(each: int) -> Words:
    """Of each byte the word whose bit p x each is its bit p: (256,)."""
    bits = [p for p in range(8) if p * each < WORD]
    return np.array([sum(1 << p * each for p in bits if byte >> p & 1) for byte in range(256)], np.uint64)


def ones(words: Words) -> NDArray[np.uint8]:
    """Bits of each word that are set, added up in twos, fours and eights: same shape."""
    x = words - ((words >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.asarray((x * np.uint64(0x0101010101010101)) >> np.uint64(56), np.uint8)
