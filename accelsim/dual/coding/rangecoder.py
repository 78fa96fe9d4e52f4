"""A stream of bits with a predicted probability each, as bytes.

Range coding by the library ``constriction``.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Flags, Floats, Ints, Levels
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.mixing import EVEN, PROBABILITY, BitModel, Context

Bytes = NDArray[np.uint8]
Chances = Callable[[Sequence[int]], Sequence[Floats]]

# Of each prediction: the probabilities of a zero and of a one (as one complex number).
_PAIR = (1 - PROBABILITY / 65536) + 1j * (PROBABILITY / 65536)
PENDING = 64  # batches whose cost is summed at once
ALIKE = 1 << 18  # bits whose sums are exact whatever they are
TAIL = 64  # bits that a decoder holds after it has read the last word


@cache
def _bit_costs() -> Ints:
    """Of each prediction and bit: the cost in 2^-16 bits.  Made when the first bits are counted."""
    ones = [int(one) for one in PROBABILITY.tolist()]
    pairs = [[round(-math.log2(p / 65536) * 65536) for p in (65536 - one, one)] for one in ones]
    return np.array(pairs, np.int64).ravel()


class BitCoder:
    """One bit stream, written if ``payload`` is None, else read.  Counts the bits spent.

    Raises DamagedFile if the payload is no whole number of words.
    """

    def __init__(self, payload: bytes | None) -> None:
        self._family = constriction.stream.model.Categorical(perfect=False)
        self._encoder = constriction.stream.queue.RangeEncoder()
        self._decoder = None
        if payload is not None:
            if len(payload) % 4:
                raise DamagedFile(f"damaged: {len(payload)} bytes of code, expected a multiple of 4")
            words = np.frombuffer(payload, "<u4").astype(np.uint32)
            self._decoder = constriction.stream.queue.RangeDecoder(words)
        self._beyond = 0  # bits after the decoder has read the last word
        self._spent = 0
        # cases (prediction and bit) that ``_spent`` does not count yet
        self._coded: list[Ints] = []

    def bits(self, prediction: Ints, known: Flags | None) -> Flags:
        """Write the known bits or read unknown ones.

        prediction: of each, as ``BitModel.predict`` gives it.

        Raises DamagedFile if the stream is damaged, or once more has been read than it can hold.
        """
        pairs = _PAIR.take(prediction).view(np.float64).reshape(-1, 2)
        exhausted = self._decoder is not None and self._decoder.maybe_exhausted()
        if self._decoder is None:
            assert known is not None
            self._encoder.encode(known.astype(np.int32), self._family, pairs)
            bits = known
        else:
            try:
                bits = self._decoder.decode(self._family, pairs).astype(bool)
            except AssertionError as error:  # constriction's word for bytes that no encoder wrote
                raise DamagedFile(f"damaged: {str(error)[:100]}") from None
        self._coded.append(2 * prediction + bits)
        if exhausted:
            self._beyond += int(_bit_costs().take(self._coded[-1]).sum())
            if self._beyond > TAIL << 16:
                raise DamagedFile("damaged: the numbers need more bits than the file has")
        if len(self._coded) == PENDING:
            self.spent()
        return np.asarray(bits)

    def run(self, model: Any, count: int, known: Levels | None, cost: Floats) -> Levels:
        """Write known symbols of one model, or read ``count``; None: there is only one symbol.

        cost: bits of each symbol.

        Raises DamagedFile as ``bits``.
        """
        if model is None:
            return np.zeros(count, np.int32)
        if self._decoder is None:
            assert known is not None
            self._encoder.encode(known, model)
            return known
        exhausted = self._decoder.maybe_exhausted()
        try:
            symbols: Levels = self._decoder.decode(model, count)
        except AssertionError as error:
            raise DamagedFile(f"damaged: {str(error)[:100]}") from None
        if exhausted:
            self._beyond += int(65536 * float(np.bincount(symbols, minlength=len(cost)) @ cost))
            if self._beyond > TAIL << 16:
                raise DamagedFile("damaged: the numbers need more bits than the file has")
        return symbols

    def spent(self) -> int:
        """The cost of all bits so far, in 2^-16 bits."""
        self._spent += int(_bit_costs().take(np.concatenate(self._coded)).sum()) if self._coded else 0
        self._coded.clear()
        return self._spent

    def modelled(
        self,
        model: BitModel,
        contexts: Sequence[Context],
        shape: tuple[int, ...],
        known: Flags | None,
        k: int = 0,
    ) -> Flags:
        """Bits predicted by a model, which learns them; flat.  contexts: broadcast to the shape."""
        if 0 in shape:
            return np.zeros(0, bool)
        bits = self.bits(model.predict(contexts, shape, k), known)
        model.learn(bits)
        return bits

    def plain(self, count: int, width: int, known: Ints | None) -> Ints:
        """``count`` numbers of ``width`` equally likely bits each, highest first."""
        shifts = np.arange(width)[::-1]
        flags = None if known is None else ((known[:, None] >> shifts) & 1).astype(bool).ravel()
        bits = self.bits(np.full(count * width, EVEN), flags).reshape(count, width)
        return np.asarray((bits.astype(np.int64) << shifts).sum(axis=1))

    def alike(self, model: BitModel, rows: Sequence[int], count: int, known: Flags | None) -> Flags:
        """``modelled`` of ``count`` bits that all have the same contexts, rows of tables of one column."""
        if not 0 < count < ALIKE:
            return self.modelled(model, [(row, 0) for row in rows], (count,), known)
        bits = self.bits(np.full(count, model.predict_alike(rows)), known)
        model.learn_alike(count, int(np.count_nonzero(bits)))
        return bits

    def tails(self, width: Ints, known: Ints | None) -> Ints:
        """Numbers whose highest bit is bit ``width``, (n,): lower bits, all equally likely."""
        number = np.ones(width.size, np.int64)
        for w in np.unique(width[width > 0]).tolist():
            chosen = np.flatnonzero(width == w)
            low = None if known is None else known[chosen] - (1 << w)
            number[chosen] = (1 << w) + self.plain(chosen.size, w, low)
        return number

    def finish(self) -> bytes:
        """All that was written, as bytes."""
        return bytes(self._encoder.get_compressed().astype("<u4").tobytes())


class ClassCoder:
    """Symbols that each belong to a class with fixed probabilities, on a bit stream.

    They are sorted by class, so that a class's symbols are coded at once.
    """

    def __init__(self, coder: BitCoder) -> None:
        self._coder = coder
        # and the cost in bits of each symbol
        self._models: dict[Chances, dict[int, tuple[Any, Floats]]] = {}
        self._costs: list[Floats] = []  # of the last symbols, class by class
        self._found: list[Bytes] = []  # the last symbols, class by class
        self._order = np.zeros(0, np.int64)  # and where each belongs

    def symbols(self, classes: NDArray[Any], chances: Chances, known: NDArray[Any] | None) -> Bytes:
        """Write the known symbols or read unknown ones: (n,) uint8.

        classes: (n,) of an unsigned type, or not below zero.  chances: the probabilities of the
        symbols of each of some classes.

        Raises DamagedFile as ``BitCoder.bits``.
        """
        order = np.argsort(classes, kind="stable")
        counts = np.bincount(classes)
        present = np.flatnonzero(counts)
        ends = np.cumsum(counts[present]).tolist()
        wanted = None if known is None else known.take(order).astype(np.int32)
        self._order = order
        self._costs = []
        found = [np.zeros(0, np.uint8)]
        start = 0
        for (model, cost), end in zip(self._known(present.tolist(), chances), ends, strict=True):
            run = self._coder.run(model, end - start, None if wanted is None else wanted[start:end], cost)
            found.append(run.astype(np.uint8))
            self._costs.append(cost)
            start = end
        self._found = found[1:]
        symbols = np.empty(len(classes), np.uint8)
        symbols[order] = np.concatenate(found)
        return symbols

    def _known(self, keys: Sequence[int], chances: Chances) -> list[tuple[Any, Floats]]:
        """The models of some classes, in ascending order, and their costs."""
        models = self._models.setdefault(chances, {})
        new = [key for key in keys if key not in models]
        for key, p in zip(new, chances(new), strict=True):
            model = constriction.stream.model.Categorical(p, perfect=False) if len(p) > 1 else None
            models[key] = model, -np.log2(np.maximum(p, 2.0**-24))
        return [models[key] for key in keys]

    def cost(self) -> float:
        """Bits of the symbols last coded."""
        runs = zip(self._found, self._costs, strict=True)
        return sum((_cost(run, cost) for run, cost in runs), start=0.0)

    def costs(self, starts: Ints) -> Floats:
        """Bits of the symbols last coded, of each stretch of them: (stretches,).

        starts: where each begins.
        """
        runs = [cost.take(run) for run, cost in zip(self._found, self._costs, strict=True)]
        each = np.empty(len(self._order) + 1)
        each[self._order] = np.concatenate([np.zeros(0), *runs])
        each[-1] = 0  # where the last stretches are empty
        sums = np.add.reduceat(each, starts)
        sums[np.append(starts[1:], len(self._order)) == starts] = 0
        return np.asarray(sums)

    def plain(self, count: int, width: int, known: Ints | None) -> Ints:
        """Code numbers of so many bits as they are, as ``BitCoder.plain`` does."""
        return self._coder.plain(count, width, known)


def _cost(symbols: Bytes, cost: Floats) -> float:
    """Bits of symbols of one model.  cost: of each symbol."""
    if len(cost) == 2:
        ones = np.count_nonzero(symbols)
        return float(ones * cost[1] + (len(symbols) - ones) * cost[0])
    return float(cost.take(symbols).sum())


def checksum(arrays: Sequence[Levels]) -> bytes:
    """CRC-32 of the arrays as little-endian int32, one after the other: 4 bytes."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array, "<i4").tobytes(), crc)
    return crc.to_bytes(4, "little")
