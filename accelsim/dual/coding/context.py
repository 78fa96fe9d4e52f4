"""Our own lossless coding of quantized weights: context modelling with a range coder.

Each index is a zero flag, a sign, and a magnitude in unary (beyond ``UNARY``, exponential Golomb).  Each of these bits
is predicted (``mixing``) from what the decoder already has: neighbours in the same 2-D kernel, the whole kernel so far,
how many weights of this filter, of this input channel and of this tensor are not zero, and how large they were.  A
range coder (``rangecoder``) turns bits and predictions into bytes.  No parameter is trained or stored: encoder and
decoder learn the statistics alike as they go.

Order: tensors as given; within one, blocks of input channels; within a block, kernel positions in raster order; within
a position, the block's channels and all filters.  Magnitudes of ``NEAR`` or more are told apart at the end of the
block, all positions together.  A block is large enough for array work, small enough to learn from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Ints, Levels
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.mixing import BitModel, Context
from accelsim.dual.coding.rangecoder import BitCoder, checksum

NEAR = 6  # magnitudes up to it are coded position by position, and contexts see no larger ones
UNARY = 14  # magnitudes up to it have a flag of their own for each step
MAX_EXPONENT = 16  # of the exponential Golomb code
POSITIONS = 32  # kernel positions that contexts tell apart
BLOCK_SHARE = 64  # batches that a tensor is coded in, about
SMALLEST_BLOCK = 128  # bits of a batch
LARGEST_BLOCK = 8192  # bits of a batch


# Slots of a mean magnitude or of a share, on a logarithmic scale.
SLOTS = 16
_SHARE = np.array([0] + [min(15, max(1, int(8.5 + 1.4 * math.log(s / 64)))) for s in range(1, 257)], np.int64)
_V = np.arange(-NEAR, NEAR + 1)
_TABLES = (np.minimum(np.abs(_V), 3), np.sign(_V) + 1, np.clip(_V, -2, 2) + 2, np.clip(_V, -3, 3) + 3)
_MEAN = np.array([min(15, int(3.3 * math.log(1 + t / 8))) for t in range(1024)], np.int64)


@dataclass
class _Seen:
    """What is known of one tensor: non-zeros and magnitudes of each filter, channel, and channel at each position."""

    filter_nonzeros: Ints
    filter_magnitude: Ints
    weights: int = 0  # of each filter


@dataclass(frozen=True)
class _Near:
    """What contexts see of the indices at one kernel position: (a, K) each, or (1, 1) outside the kernel.

    size: min(|v|, 3).  sign: 0..2.  clip2, clip3: v clipped to +-2 and +-3, from 0.
    """

    size: Ints
    sign: Ints
    clip2: Ints
    clip3: Ints

    @staticmethod
    def of(v: Ints) -> "_Near":
        """v: indices clipped to +-NEAR."""
        v = v + NEAR
        return _Near(*(table.take(v) for table in _TABLES))


class _Weights:
    """Codes the tensors of one network, one after the other."""

    def __init__(self, coder: BitCoder, total: int) -> None:
        self._coder = coder
        # The context that is the whole kernel so far goes by a hash; one slot a weight, within bounds.
        self._hash_bits = max(12, min(20, int(total).bit_length()))
        prefix = 1 << self._hash_bits
        P, S = POSITIONS, SLOTS
        self._zero = BitModel(
            ((P, 1), (P, 144), (2, S * S), (P, 10 * S), (1, prefix), (1, S * 3), (P, 625)), sets=2, bias=-1.5
        )
        self._sign = BitModel(((P, 9), (P, 49), (P, 49), (1, prefix)))
        self._magnitude = BitModel(((NEAR, P), (NEAR, 16), (NEAR, S * S), (NEAR, S * S), (1, prefix)), sets=NEAR)
        U = UNARY + 1
        self._excess = BitModel(((U, P), (U, S * S), (U, 1)), sets=U)
        self._exponent = BitModel(((MAX_EXPONENT, 1),))

    def tensor(self, shape: tuple[int, ...], known: Levels | None) -> Levels:
        """Code one tensor (K, C / groups, ...)."""
        K, C, R, S = _axes(shape)
        values = np.zeros((C, K, R * S), np.int64)
        if values.size == 0:
            return values.astype(np.int32).reshape(shape)
        if known is not None:
            values[:] = known.reshape(K, C, R * S).swapaxes(0, 1)
        for model, i in ((self._zero, 0), (self._zero, 5), (self._magnitude, 0)):
            model.forget(i)
        seen = _Seen(np.zeros(K, np.int64), np.zeros(K, np.int64))
        step = _block_channels(shape)
        for first in range(0, C, step):
            block = values[first : first + step]
            self._block(block, seen, R, S, known is not None)
        return values.swapaxes(0, 1).astype(np.int32).reshape(shape)

    def _block(self, values: Ints, seen: _Seen, R: int, S: int, encoding: bool) -> None:
        """Code values: (channels, K, R * S), which are filled in if they are not known."""
        a, K, _ = values.shape
        whole = values
        values = np.minimum(np.maximum(values, -NEAR), NEAR)
        kernel_nonzeros = np.zeros((a, K), np.int64)
        kernel_magnitude = np.zeros((a, K), np.int64)
        prefix = np.zeros((a, K), np.uint64)
        channel_nonzeros = np.zeros((a, 1), np.int64)
        channel_magnitude = np.zeros((a, 1), np.int64)
        outside = _Near.of(np.zeros((1, 1), np.int64))
        done: list[_Near] = []

        def at(r: int, s: int) -> _Near:
            return done[r * S + s] if 0 <= r and 0 <= s < S else outside

        for position in range(R * S):
            r, s = divmod(position, S)
            p = min(position, POSITIONS - 1)
            left = at(r, s - 1)
            up = at(r - 1, s)
            up_left = at(r - 1, s - 1)
            up_right = at(r - 1, s + 1)
            left2 = at(r, s - 2)
            up2 = at(r - 2, s)
            sizes = left.size * 4 + up.size
            filter_slot = _share(seen.filter_nonzeros, seen.weights)
            channel_slot = _share(channel_nonzeros, K * position)
            kernel_slot = _MEAN.take(np.minimum(kernel_magnitude * 64, 1023))
            hashed = _hash(prefix, position, self._hash_bits)
            zero_contexts: list[Context] = [
                (p, 0),
                (p, sizes * 9 + (np.minimum(up_left.size, 2) * 3 + np.minimum(up_right.size, 2))),
                (int(position > 0), filter_slot * SLOTS + channel_slot),
                (p, np.minimum(kernel_nonzeros, 9) * SLOTS + kernel_slot),
                (0, hashed),
                (0, filter_slot * 3 + np.minimum(kernel_nonzeros, 2)),
                (p, (left.clip2 * 5 + up.clip2) * 25 + left2.clip2 * 5 + up2.clip2),
            ]
            v = values[:, :, position]
            flags = self._coder.modelled(
                self._zero, zero_contexts, (a, K), (v != 0).ravel() if encoding else None, int(p > 0)
            )
            nonzero = flags.reshape(a, K)
            where = np.flatnonzero(flags)
            channel, filter_ = np.divmod(where, K)

            def pick(
                context: Ints, where: Ints = where, channel: Ints = channel, filter_: Ints = filter_
            ) -> Ints | int:
                """A context (a, K), (a, 1), (1, K) or (1, 1) of the weights that are not zero."""
                if context.shape == (a, K):
                    return context.ravel().take(where)
                if context.shape == (1, 1):
                    return int(context[0, 0])
                return context[:, 0].take(channel) if context.shape[1] == 1 else context[0].take(filter_)

            sign_contexts: list[Context] = [
                (p, pick(left.sign * 3 + up.sign)),
                (p, pick(left.clip3 * 7 + left2.clip3)),
                (p, pick(up.clip3 * 7 + up2.clip3)),
                (0, pick(hashed)),
            ]
            known = v.ravel().take(where) if encoding else None
            positive = self._coder.modelled(
                self._sign, sign_contexts, where.shape, None if known is None else known > 0
            )
            filter_mean = _mean(seen.filter_magnitude, seen.filter_nonzeros)
            channel_mean = _mean(channel_magnitude, channel_nonzeros)
            picked_mean = filter_mean.take(filter_)
            magnitude = self._magnitudes(
                [
                    p,
                    pick(sizes),
                    pick(_mean(kernel_magnitude, kernel_nonzeros)) * SLOTS + picked_mean,
                    picked_mean * SLOTS + channel_mean[:, 0].take(channel),
                ],
                prefix.ravel().take(where) * np.uint64(2) + positive.astype(np.uint64),
                None if known is None else np.abs(known),
            )
            size = np.zeros(a * K, np.int64)
            size[where] = magnitude
            if not encoding:
                signed = np.zeros(a * K, np.int64)
                signed[where] = np.where(positive, magnitude, -magnitude)
                values[:, :, position] = signed.reshape(a, K)
            size = size.reshape(a, K)
            kernel_nonzeros += nonzero
            kernel_magnitude += size
            channel_nonzeros += nonzero.sum(axis=1, keepdims=True)
            channel_magnitude += size.sum(axis=1, keepdims=True)
            seen.filter_nonzeros += nonzero.sum(axis=0)
            seen.filter_magnitude += size.sum(axis=0)
            seen.weights += a
            if position + 1 < R * S:
                done.append(_Near.of(v))
                prefix = prefix * np.uint64(0x100000001B3) + v.astype(np.uint64) + np.uint64(1)
        channel, filter_, position_ = np.nonzero(np.abs(values) == NEAR)
        means = [
            _mean(seen.filter_magnitude, seen.filter_nonzeros)[filter_],
            _mean(channel_magnitude, channel_nonzeros)[channel, 0],
        ]
        known = np.abs(whole[channel, filter_, position_]) if encoding else None
        large = self._large(np.minimum(position_, POSITIONS - 1), means[0] * SLOTS + means[1], known)
        if not encoding:
            whole[:] = values
            whole[channel, filter_, position_] = np.sign(values[channel, filter_, position_]) * large

    def _magnitudes(self, contexts: list[Ints | int], prefix: NDArray[np.uint64], known: Ints | None) -> Ints:
        """Code the absolute values of non-zero indices as far as ``NEAR``, (n,)."""
        magnitude = np.ones(prefix.size, np.int64)
        alive = np.arange(prefix.size)
        for u in range(1, NEAR):
            chosen: list[Context] = [*((u, context) for context in contexts), (0, _hash(prefix, u, self._hash_bits))]
            flags = self._coder.modelled(
                self._magnitude, chosen, alive.shape, None if known is None else known[alive] > u, u
            )
            alive = alive[flags]
            if alive.size == 0:
                return magnitude
            magnitude[alive] += 1
            prefix = prefix[flags]
            contexts = [context[flags] if isinstance(context, np.ndarray) else context for context in contexts]
        return magnitude

    def _large(self, position: Ints, means: Ints, known: Ints | None) -> Ints:
        """Code magnitudes of ``NEAR`` or more, (n,)."""
        magnitude = np.full(position.size, NEAR, np.int64)
        alive = np.arange(position.size)
        for u in range(NEAR, UNARY + 1):
            contexts: list[Context] = [(u, position[alive]), (u, means[alive]), (u, 0)]
            flags = self._coder.modelled(
                self._excess, contexts, alive.shape, None if known is None else known[alive] > u, u
            )
            alive = alive[flags]
            if alive.size == 0:
                return magnitude
            magnitude[alive] += 1
        rest = None if known is None else known[alive] - UNARY  # 1, 2, ...
        magnitude[alive] = UNARY + self._escape(alive.size, rest)
        return magnitude

    def _escape(self, count: int, known: Ints | None) -> Ints:
        """Exponential Golomb: the number of bits in unary, then the bits.  Floats from 1."""
        width = np.zeros(count, np.int64)
        known_width = None if known is None else np.floor(np.log2(known)).astype(np.int64)
        alive = np.arange(count)
        for e in range(MAX_EXPONENT):
            flags = self._coder.modelled(
                self._exponent, [(e, 0)], alive.shape, None if known_width is None else known_width[alive] > e
            )
            alive = alive[flags]
            width[alive] += 1
        if alive.size:
            raise DamagedFile(f"damaged: an index is beyond {1 << MAX_EXPONENT}")
        return self._coder.tails(width, known)


def _share(part: Ints, whole: int) -> Ints:
    """Slot of part / whole, 0 where the whole is 0."""
    return _SHARE.take((part * 256) // max(whole, 1))


def _mean(total: Ints, count: Ints) -> Ints:
    """Slot of total / count, 0 where the count is 0."""
    return _MEAN.take(np.minimum(total * 16 // np.maximum(count, 1), 1023))


def _hash(prefix: NDArray[np.uint64], salt: int, bits: int) -> Ints:
    mixed = (prefix + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(64 - bits)).astype(np.int64)


def _axes(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Filters, channels, height and width of the kernel; what lies beyond two axes of it is one row."""
    K, C = (*shape[:2], 1, 1)[:2]
    R, S = shape[2:] if len(shape) == 4 else (1, math.prod(shape[2:]))
    return K, C, R, S


def _block_channels(shape: tuple[int, ...]) -> int:
    """Channels of a block of a tensor that is not empty."""
    batch = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, math.prod(shape) // BLOCK_SHARE))
    return -(-batch // _axes(shape)[0])


def coding_steps(shapes: Sequence[tuple[int, ...]]) -> int:
    """Kernel positions of all blocks.  They are coded one after the other, and each takes time even for one weight."""
    steps = 0
    for shape in shapes:
        _, C, R, S = _axes(shape)
        if math.prod(shape):
            steps += -(-C // _block_channels(shape)) * R * S
    return steps


def encode_context(tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    coder = BitCoder(None)
    bits = _code(coder, [tensor.shape for tensor in tensors], list(tensors))[1]
    return checksum(tensors) + coder.finish(), bits


def decode_context(content: bytes, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Levels], list[int]]:
    """What ``encode_context`` was given, and the bits of each.  Raises DamagedFile if the content does not fit."""
    tensors, bits = _code(BitCoder(content[4:]), shapes, None)
    if checksum(tensors) != content[:4]:
        raise DamagedFile("damaged: the checksum of the weights differs")
    return tensors, bits


def _code(
    coder: BitCoder, shapes: Sequence[tuple[int, ...]], known: list[Levels] | None
) -> tuple[list[Levels], list[int]]:
    weights = _Weights(coder, sum(math.prod(shape) for shape in shapes))
    tensors = []
    bits = []
    before = 0
    for i, shape in enumerate(shapes):
        tensors.append(weights.tensor(shape, None if known is None else known[i]))
        spent = coder.spent()
        bits.append((spent - before) >> 16)
        before = spent
    return tensors, bits
