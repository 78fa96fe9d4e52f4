"""A stream of bits with a predicted probability each, as bytes: range coding by the library ``constriction``."""

import math
import zlib
from collections.abc import Sequence

import constriction
import numpy as np
from numpy.typing import NDArray

from accelsim.compression.container import ContainerError
from accelsim.compression.mixing import BitModel, Index

Bits = NDArray[np.bool_]

_COST = np.array([16 << 16] + [round(-math.log2(p / 65536) * 65536) for p in range(1, 65537)], np.int64)  # 2^-16 bits


class BitCoder:
    """One bit stream, written if ``payload`` is None, else read.  Counts the bits spent.

    Raises ContainerError if the payload is no whole number of words.
    """

    def __init__(self, payload: bytes | None) -> None:
        self._family = constriction.stream.model.Categorical(perfect=False)
        self._encoder = constriction.stream.queue.RangeEncoder()
        self._decoder = None
        self._available = math.inf
        if payload is not None:
            if len(payload) % 4:
                raise ContainerError(f"damaged: {len(payload)} bytes of code, expected a multiple of 4")
            words = np.frombuffer(payload, "<u4").astype(np.uint32)
            self._decoder = constriction.stream.queue.RangeDecoder(words)
            self._available = 8 * len(payload) + 64
        self.cost = 0  # in 2^-16 bits

    def bits(self, probability: Index, known: Bits | None) -> Bits:
        """Write the known bits or read unknown ones.  probability: of a one, in 1/65536.

        Raises ContainerError if the stream is damaged, or once more has been read than it can hold.
        """
        pairs = np.empty((probability.size, 2))
        np.multiply(probability, 1 / 65536, out=pairs[:, 1])
        np.subtract(1, pairs[:, 1], out=pairs[:, 0])
        if self._decoder is None:
            assert known is not None
            self._encoder.encode(known.astype(np.int32), self._family, pairs)
            bits = known
        else:
            try:
                bits = self._decoder.decode(self._family, pairs).astype(bool)
            except AssertionError as error:  # constriction's word for bytes that no encoder wrote
                raise ContainerError(f"damaged: {str(error)[:100]}") from None
        self.cost += int(_COST.take(np.where(bits, probability, 65536 - probability)).sum())
        if self.cost > self._available * 65536:
            raise ContainerError("damaged: the numbers need more bits than the file has")
        return np.asarray(bits)

    def modelled(
        self,
        model: BitModel,
        contexts: Sequence[Index | int],
        shape: tuple[int, ...],
        known: Bits | None,
        k: int = 0,
    ) -> Bits:
        """Bits predicted by a model, which learns them; flat.  contexts: broadcast to the shape."""
        if 0 in shape:
            return np.zeros(0, bool)
        bits = self.bits(model.predict(contexts, shape, k), known)
        model.learn(bits)
        return bits

    def plain(self, count: int, width: int, known: Index | None) -> Index:
        """``count`` numbers of ``width`` equally likely bits each, highest first."""
        shifts = np.arange(width)[::-1]
        flags = None if known is None else ((known[:, None] >> shifts) & 1).astype(bool).ravel()
        half = np.full(count * width, 32768, np.int64)
        bits = self.bits(half, flags).reshape(count, width)
        return np.asarray((bits.astype(np.int64) << shifts).sum(axis=1))

    def tails(self, width: Index, known: Index | None) -> Index:
        """Numbers whose highest bit is bit ``width``, (n,): their lower bits, all equally likely."""
        number = np.ones(width.size, np.int64)
        for w in np.unique(width[width > 0]).tolist():
            chosen = np.flatnonzero(width == w)
            low = None if known is None else known[chosen] - (1 << w)
            number[chosen] = (1 << w) + self.plain(chosen.size, w, low)
        return number

    def finish(self) -> bytes:
        """What was written."""
        return bytes(self._encoder.get_compressed().astype("<u4").tobytes())


def checksum(arrays: Sequence[NDArray[np.int32]]) -> bytes:
    """CRC-32 of the arrays as little-endian int32, one after the other: 4 bytes."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array, "<i4").tobytes(), crc)
    return crc.to_bytes(4, "little")
