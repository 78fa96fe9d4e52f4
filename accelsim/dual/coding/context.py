"""Our own lossless coding of quantized weights: context modelling with a range coder.

Each index is a zero flag, a sign, and a magnitude in unary (beyond ``UNARY``, exponential Golomb).
Each of these bits is predicted (``mixing``) from what the decoder already has: neighbours in the
same 2-D kernel, the whole kernel so far, how many weights of this filter, of this input channel and
of this tensor are not zero, and how large they were.  A range coder (``rangecoder``) turns bits and
predictions into bytes.  No parameter is trained or stored: encoder and decoder learn the statistics
alike as they go.

Order: tensors as given; within one, blocks of input channels; within a block, kernel positions in
raster order; within a position, the block's channels and all filters.  Magnitudes of ``NEAR`` or
more are told apart at the end of the block, all positions together.  A block is large enough for
array work, small enough to learn from.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Flags, Ints, Levels
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.kernels import kernel_axes
from accelsim.dual.coding.mixing import BitModel, Context
from accelsim.dual.coding.neighbourhood import NEAR, POSITIONS, Filters, Kernels, Near, Neighbours, Picked
from accelsim.dual.coding.rangecoder import BitCoder, checksum

UNARY = 14  # magnitudes up to it have a flag of their own for each step
MAX_EXPONENT = 16  # of the exponential Golomb code
BLOCK_SHARE = 64  # batches that a tensor is coded in, about
SMALLEST_BLOCK = 128  # bits of a batch
LARGEST_BLOCK = 8192  # bits of a batch


# Slots of a mean magnitude or of a share, on a logarithmic scale.
SLOTS = 16
_SHARE = np.array([0] + [min(15, max(1, int(8.5 + 1.4 * math.log(s / 64)))) for s in range(1, 257)], np.int64)
_MEAN = np.array([min(15, int(3.3 * math.log(1 + t / 8))) for t in range(1024)], np.int64)


class _Weights:
    """Codes the tensors of one network, one after the other."""

    def __init__(self, coder: BitCoder, total: int) -> None:
        self._coder = coder
        # The context that is the whole kernel so far goes by a hash; one slot a weight, within
        # bounds.
        self._hash_bits = max(12, min(20, int(total).bit_length()))
        prefix = 1 << self._hash_bits
        P = POSITIONS
        S = SLOTS
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
        K, C, R, S = kernel_axes(shape)
        values = np.zeros((C, K, R * S), np.int64)
        if values.size == 0:
            return values.astype(np.int32).reshape(shape)
        if known is not None:
            values[:] = known.reshape(K, C, R * S).swapaxes(0, 1)
        for model, i in ((self._zero, 0), (self._zero, 5), (self._magnitude, 0)):
            model.forget(i)
        filters = Filters(np.zeros(K, np.int64), np.zeros(K, np.int64))
        step = _block_channels(shape)
        for first in range(0, C, step):
            self._block(values[first : first + step], filters, S, known is not None)
        return values.swapaxes(0, 1).astype(np.int32).reshape(shape)

    def _block(self, whole: Ints, filters: Filters, S: int, encoding: bool) -> None:
        """Code a block (channels, K, R S), which is filled in if it is not known.

        S: columns of the kernel.
        """
        a, K, positions = whole.shape
        values = np.minimum(np.maximum(whole, -NEAR), NEAR)
        kernels = Kernels(a, K)
        outside = Near.view(np.zeros((1, 1), np.int64))
        coded: list[Near] = []
        for position in range(positions):
            near = Neighbours.around(position, S, coded, outside)
            v = values[:, :, position]
            hashed = _hash(kernels.prefix, position, self._hash_bits)
            flags = self._zeros(near, hashed, kernels, filters, v if encoding else None)
            picked = Picked(flags, a, K)
            known = v.ravel().take(picked.where) if encoding else None
            positive = self._signs(near, hashed, picked, known)
            sizes = self._sizes(near, kernels, filters, picked, positive, known)
            size = np.zeros(a * K, np.int64)
            size[picked.where] = sizes
            if not encoding:
                signed = np.zeros(a * K, np.int64)
                signed[picked.where] = np.where(positive, sizes, -sizes)
                values[:, :, position] = signed.reshape(a, K)
            nonzero = flags.reshape(a, K)
            kernels.add(nonzero, size.reshape(a, K))
            filters.add(nonzero, size.reshape(a, K))
            if position + 1 < positions:
                coded.append(Near.view(v))
                kernels.extend_prefix(v)
        large = self._far(values, kernels, filters, whole if encoding else None)
        if not encoding:
            whole[:] = values
            where = np.abs(values) == NEAR
            whole[where] = np.sign(values[where]) * large

    def _zeros(
        self,
        near: Neighbours,
        hashed: Ints,
        kernels: Kernels,
        filters: Filters,
        known: Ints | None,
    ) -> Flags:
        """Code which indices of a kernel position are not zero: (a K,).  known: (a, K)."""
        K = kernels.nonzeros.shape[1]
        p = near.slot
        sizes = near.left.size * 4 + near.up.size
        corners = np.minimum(near.up_left.size, 2) * 3 + np.minimum(near.up_right.size, 2)
        filter_slot = _share(filters.nonzeros, filters.weights)
        channel_slot = _share(kernels.channel_nonzeros, K * near.position)
        kernel_slot = _MEAN.take(np.minimum(kernels.magnitude * 64, 1023))
        close = near.left.clip2 * 5 + near.up.clip2
        distant = near.left2.clip2 * 5 + near.up2.clip2
        contexts: list[Context] = [
            (p, 0),
            (p, sizes * 9 + corners),
            (int(near.position > 0), filter_slot * SLOTS + channel_slot),
            (p, np.minimum(kernels.nonzeros, 9) * SLOTS + kernel_slot),
            (0, hashed),
            (0, filter_slot * 3 + np.minimum(kernels.nonzeros, 2)),
            (p, close * 25 + distant),
        ]
        flags = None if known is None else (known != 0).ravel()
        return self._coder.modelled(self._zero, contexts, kernels.nonzeros.shape, flags, int(near.position > 0))

    def _signs(self, near: Neighbours, hashed: Ints, picked: Picked, known: Ints | None) -> Flags:
        """Code which of the indices that are not zero are positive, (n,)."""
        p = near.slot
        contexts: list[Context] = [
            (p, picked.pick(near.left.sign * 3 + near.up.sign)),
            (p, picked.pick(near.left.clip3 * 7 + near.left2.clip3)),
            (p, picked.pick(near.up.clip3 * 7 + near.up2.clip3)),
            (0, picked.pick(hashed)),
        ]
        flags = None if known is None else known > 0
        return self._coder.modelled(self._sign, contexts, picked.where.shape, flags)

    def _sizes(
        self,
        near: Neighbours,
        kernels: Kernels,
        filters: Filters,
        picked: Picked,
        positive: Flags,
        known: Ints | None,
    ) -> Ints:
        """Code how large the indices that are not zero are, as far as ``NEAR``: (n,)."""
        filter_mean = _mean(filters.magnitude, filters.nonzeros).take(picked.filter)
        channel_mean = _mean(kernels.channel_magnitude, kernels.channel_nonzeros)
        kernel_mean = picked.pick(_mean(kernels.magnitude, kernels.nonzeros))
        contexts = [
            near.slot,
            picked.pick(near.left.size * 4 + near.up.size),
            kernel_mean * SLOTS + filter_mean,
            filter_mean * SLOTS + channel_mean[:, 0].take(picked.channel),
        ]
        prefix = kernels.prefix.ravel().take(picked.where) * np.uint64(2) + positive.astype(np.uint64)
        return self._magnitudes(contexts, prefix, None if known is None else np.abs(known))

    def _far(self, values: Ints, kernels: Kernels, filters: Filters, known: Ints | None) -> Ints:
        """Code the magnitudes of the block's indices that are at least ``NEAR``, (n,).

        values: clipped to it.
        """
        where = np.nonzero(np.abs(values) == NEAR)
        channel, filter_, position = where
        filter_mean = _mean(filters.magnitude, filters.nonzeros)[filter_]
        channel_mean = _mean(kernels.channel_magnitude, kernels.channel_nonzeros)[channel, 0]
        position = np.minimum(position, POSITIONS - 1)
        magnitudes = None if known is None else np.abs(known[where])
        return self._large(position, filter_mean * SLOTS + channel_mean, magnitudes)

    def _magnitudes(
        self,
        contexts: list[Ints | int],
        prefix: NDArray[np.uint64],
        known: Ints | None,
    ) -> Ints:
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
        """Exponential Golomb: the number of bits in unary, then the bits.  Numbers from 1."""
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


def _block_channels(shape: tuple[int, ...]) -> int:
    """Channels of a block of a tensor that is not empty."""
    batch = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, math.prod(shape) // BLOCK_SHARE))
    return -(-batch // kernel_axes(shape)[0])


def coding_steps(shapes: Sequence[tuple[int, ...]]) -> int:
    """Kernel positions of all blocks.

    They are coded one after the other, and each takes time even for one weight.
    """
    steps = 0
    for shape in shapes:
        _, C, R, S = kernel_axes(shape)
        if math.prod(shape):
            steps += -(-C // _block_channels(shape)) * R * S
    return steps


def encode_context(tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    coder = BitCoder(None)
    bits = _code(coder, [tensor.shape for tensor in tensors], list(tensors))[1]
    return checksum(tensors) + coder.finish(), bits


def decode_context(
    content: bytes,
    shapes: Sequence[tuple[int, ...]],
) -> tuple[list[Levels], list[int]]:
    """What ``encode_context`` was given, and the bits of each.

    Raises DamagedFile if the content does not fit.
    """
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
