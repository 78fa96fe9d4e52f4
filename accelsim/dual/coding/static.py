"""Lossless coding of quantized weights that decodes fast.

Contexts as in ``context``, but with statistics that are fitted once by the encoder (``fit``),
stored in front and the same to the end.

So nothing has to be learned between one weight and the next, and the weights of many layers decode
at once as arrays.  A non-zero index is a flag, a magnitude and a sign.  Each is predicted by a
logit, a sum of a few whole numbers:

    flag:       what its layer, its filter, its input channel, and the signs before it in its 2-D kernel say;
    magnitude:  what its layer, filter, channel, the number of non-zeros in its kernel and the first of them say;
    sign:       what its layer and the signs before it in its kernel say.

Order: layers of one kernel shape that the encoder finds alike are one ``KernelGroup``; a group's 2-D
kernels are cut into chunks.  In a chunk come, kernel position after position, the flags and the
signs, then the magnitudes: of each kernel's first non-zero, then of the others.  Among symbols that
come together, those of the smallest logit come first (``rangecoder.ClassCoder``).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Flags, Floats, Ints, Levels
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.kernels import kernel_axes, kernels_of
from accelsim.dual.coding.numbers import NumberCoder
from accelsim.dual.coding.rangecoder import BitCoder, ClassCoder, checksum
from accelsim.dual.coding.statistics import (
    COARSE,
    COUNTS,
    FIRSTS,
    FLAG_WEIGHTS,
    LARGEST,
    LIMIT,
    MEANS,
    NEIGHBOURS,
    UNIT,
    WEIGHT,
    KernelGroup,
    Shape,
    Statistics,
    channel_numbers,
    code_statistics,
    flag_features,
    groups_of,
    history,
    neighbours,
    step_slots,
)

Bytes = NDArray[np.uint8]

CHUNK = 1 << 16  # kernels of a chunk
ESCAPED_BITS = 16

# Of each logit: the probability of a one.
_ONE = (
    np.array([min(65528, max(8, round(65536 / (1 + math.exp(-x / UNIT))))) for x in range(-LIMIT, LIMIT + 1)]) / 65536
)


def static_steps(shapes: Sequence[Shape]) -> int:
    """Kernel positions of all chunks, at most: each takes time even for one weight."""
    steps = 0
    for shape in shapes:
        K, C, R, S = kernel_axes(shape)
        steps += -(-K * C // CHUNK) * R * S
    return steps


def _binary_models(keys: Sequence[int]) -> list[Floats]:
    """Probabilities of a zero and of a one of each logit."""
    return [np.array([1 - _ONE[key], _ONE[key]]) for key in keys]


def row_of(weights: Ints, sizes: Sequence[int], j: int) -> Ints:
    """The part of a concatenation that belongs to j neighbours."""
    start = sum(sizes[:j])
    return weights[start : start + sizes[j]]


class _Network:
    """Codes the weights of one network by given statistics."""

    def __init__(self, coder: ClassCoder, shapes: Sequence[Shape], statistics: Statistics) -> None:
        self._coder = coder
        self._axes = [kernel_axes(shape) for shape in shapes]
        self._statistics = statistics
        self._first_filter = np.cumsum([0, *(K for K, *_ in self._axes)])
        self._first_channel = np.cumsum([0, *(C for _, C, *_ in self._axes)])
        self._channels = channel_numbers(statistics.links, statistics.filters, statistics.channels, self._axes)
        self._group_of: dict[int, int] = {}
        self.bits = np.zeros(len(shapes))

    def group(self, group: KernelGroup, number: int, values: Levels, known: bool) -> None:
        """Code the kernels of group ``number``.

        Values (kernels, positions), filled in unless known.
        """
        s = self._statistics
        self._group_of.update(dict.fromkeys(group.layers, number))
        density = self._offsets(group, s.filters, self._channels, s.density)
        means = self._offsets(group, s.filter_means, s.channel_means, np.zeros_like(s.density))
        kernels = [self._axes[i][0] * self._axes[i][1] for i in group.layers]
        layer = np.repeat(np.array(group.layers), kernels)
        for first in range(0, len(values), CHUNK):
            part = slice(first, first + CHUNK)
            starts = np.flatnonzero(np.diff(layer[part], prepend=-1))
            chunk = _Chunk(group, number, density[part], means[part], layer[part], starts)
            values[part] = self._chunk(chunk, values[part] if known else None)

    def _offsets(
        self,
        group: KernelGroup,
        filters: Ints,
        channels: Ints,
        layers: Ints,
    ) -> NDArray[np.int16]:
        """What layer, filter and channel add to the logits of each kernel: (kernels,)."""
        parts = []
        for i in group.layers:
            a = COARSE * filters[self._first_filter[i] : self._first_filter[i + 1]] + layers[i]
            b = COARSE * channels[self._first_channel[i] : self._first_channel[i + 1]]
            parts.append((a[:, None] + b).astype(np.int16).ravel())
        return np.concatenate(parts)

    def _chunk(self, chunk: "_Chunk", known: Levels | None) -> Levels:
        """Code a chunk: (kernels, positions)."""
        signs = np.zeros((chunk.group.positions, len(chunk.layer)), np.int8)
        for p, row in enumerate(signs):
            places = neighbours(p, chunk.group.shape[1])
            wanted = None if known is None else known[:, p]
            flags = self._flags(chunk, history(signs, places), len(places), wanted)
            where = np.flatnonzero(flags.view(bool))  # faster than of numbers
            positive = self._signs(chunk, signs, places, where, wanted)
            row[where] = 2 * positive.astype(np.int8) - 1
        values = signs.T.astype(np.int32, order="C")
        where = np.flatnonzero(values != 0)
        sizes = None if known is None else np.abs(known.ravel().take(where))
        values.ravel()[where] *= self._magnitudes(chunk, where // chunk.group.positions, sizes)
        return values

    def _flags(
        self,
        chunk: "_Chunk",
        seen: NDArray[np.int16],
        j: int,
        known: Levels | None,
    ) -> Bytes:
        """Code which indices of a position with j neighbours are not zero: (kernels,).

        seen: what those were.
        """
        weights = row_of(self._statistics.flags[chunk.number], FLAG_WEIGHTS, j)
        sums = (flag_features(j) @ weights.astype(np.float32)).astype(np.int64)  # exact: below 2^24
        table = (WEIGHT * sums).astype(np.int16)
        return self._binary(chunk, chunk.density + table.take(seen), None if known is None else known != 0)

    def _signs(
        self,
        chunk: "_Chunk",
        signs: NDArray[np.int8],
        places: Sequence[int],
        where: Ints,
        known: Levels | None,
    ) -> Bytes:
        """Code which of a position's indices that are not zero are positive: (n,).

        where: their kernels.
        """
        weights = row_of(self._statistics.signs[chunk.number], range(NEIGHBOURS + 1), len(places))
        logit = self._statistics.sign.take(chunk.layer.take(where)).astype(np.int16)
        for weight, q in zip(weights.tolist(), places, strict=True):
            if weight:
                logit += np.int16(WEIGHT * weight) * signs[q].take(where)
        return self._binary(chunk, logit, None if known is None else known.take(where) > 0, where)

    def _binary(
        self,
        chunk: "_Chunk",
        logit: NDArray[np.int16],
        known: Flags | None,
        where: Ints | None = None,
    ) -> Bytes:
        """Code bits of the chunk's kernels, or of those at ``where``, by their logits: (n,)."""
        classes = (np.minimum(np.maximum(logit, -LIMIT), LIMIT) + LIMIT).astype(np.uint8)
        bits = self._coder.symbols(classes, _binary_models, known)
        self._count(chunk, where)
        return bits

    def _count(self, chunk: "_Chunk", where: Ints | None) -> None:
        """Book the cost of the symbols just coded on their layers."""
        if chunk.only:
            self.bits[chunk.layer[0]] += self._coder.cost()
        else:
            starts = chunk.starts if where is None else np.searchsorted(where, chunk.starts)
            self.bits[chunk.layer.take(chunk.starts)] += self._coder.costs(starts)

    def _magnitudes(self, chunk: "_Chunk", kernel: Ints, known: Levels | None) -> Levels:
        """Code how large the indices that are not zero are, kernel after kernel: (n,).

        kernel: of each.
        """
        count = np.minimum(np.bincount(kernel, minlength=len(chunk.layer)), COUNTS) - 1
        logit = (chunk.means + self._statistics.counts[chunk.number].take(count, mode="clip")).take(kernel)
        mean = np.minimum(np.maximum(logit // 2 + MEANS // 2, 0), MEANS - 1)
        classes = chunk.layer.take(kernel) * (MEANS * (FIRSTS + 1)) + mean
        first = np.diff(kernel, prepend=-1) != 0
        magnitude = np.zeros(len(kernel), np.int32)
        of_kernel = np.zeros(len(chunk.layer), np.int64)
        for chosen in (np.flatnonzero(first), np.flatnonzero(~first)):
            kernels = kernel.take(chosen)
            keys = classes.take(chosen) + MEANS * of_kernel.take(kernels)
            symbols = None if known is None else np.minimum(known.take(chosen), LARGEST) - 1
            found = self._coder.symbols(_narrow(keys), self._size_models, symbols).astype(np.int32)
            self._count(chunk, kernels)
            magnitude[chosen] = found + 1
            of_kernel[kernels] = np.minimum(found + 1, FIRSTS)
        beyond = np.flatnonzero(magnitude == LARGEST)
        if beyond.size:
            rest = None if known is None else known[beyond].astype(np.int64) - LARGEST
            magnitude[beyond] += self._coder.plain(beyond.size, ESCAPED_BITS, rest)
            np.add.at(self.bits, chunk.layer.take(kernel.take(beyond)), ESCAPED_BITS)
        return magnitude

    def _size_models(self, keys: Sequence[int]) -> list[Floats]:
        """Probabilities of the magnitudes 1, 2, ... of each class.  keys: ascending."""
        models: list[Floats] = []
        for layer, some in itertools.groupby(keys, lambda key: key // (MEANS * (FIRSTS + 1))):
            first, mean = np.divmod(np.array([*some]) % (MEANS * (FIRSTS + 1)), MEANS)
            logit = self._statistics.growth[layer] + (mean - MEANS // 2)[:, None]
            by_first = self._statistics.firsts[self._group_of[layer]].reshape(FIRSTS, FIRSTS)
            by_first = np.concatenate([np.zeros((1, FIRSTS), np.int64), by_first])
            logit[:, :FIRSTS] += by_first[first, : logit.shape[1]]
            logit = 2 * logit[:, step_slots(int(self._statistics.largest[layer]))]
            more = _ONE.take(np.minimum(np.maximum(logit, -LIMIT), LIMIT) + LIMIT)
            chances = np.ones((len(mean), more.shape[1] + 1))
            np.multiply.accumulate(more, axis=1, out=chances[:, 1:])  # that it gets so far
            chances[:, :-1] *= 1 - more
            models.extend(chances)
        return models


@dataclass(frozen=True)
class _Chunk:
    """Kernels that are coded together: (n,) each."""

    group: KernelGroup
    number: int  # of the group
    density: NDArray[np.int16]  # what layer, filter and channel add to a flag's logit
    means: NDArray[np.int16]  # and to a magnitude's
    layer: Ints  # which layer a kernel belongs to
    starts: Ints  # (layers of the chunk,) where each begins

    @property
    def only(self) -> bool:
        """Whether all are of one layer."""
        return len(self.starts) == 1


def _narrow(keys: Ints) -> NDArray[np.integer]:
    """The same numbers in two bytes where they fit, which sorts faster."""
    return keys.astype(np.uint16) if keys.max(initial=0) < 1 << 16 else keys


def encode_by(statistics: Statistics, tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it, by given statistics."""
    shapes = [tensor.shape for tensor in tensors]
    coder = BitCoder(None)
    code_statistics(NumberCoder(coder), shapes, statistics)
    bits = _code(coder, shapes, statistics, [kernels_of(tensor) for tensor in tensors], known=True)
    return checksum(tensors) + coder.finish(), bits


def decode_static(content: bytes, shapes: Sequence[Shape]) -> tuple[list[Levels], list[int]]:
    """What the encoder was given, and the bits of each.

    Raises DamagedFile if the content does not fit.
    """
    coder = BitCoder(content[4:])
    statistics = code_statistics(NumberCoder(coder), shapes, None)
    kernels = []
    for shape in shapes:
        K, C, R, S = kernel_axes(shape)
        kernels.append(np.zeros((K * C, R * S), np.int32))
    bits = _code(coder, shapes, statistics, kernels, known=False)
    tensors = [part.reshape(shape) for part, shape in zip(kernels, shapes, strict=True)]
    if checksum(tensors) != content[:4]:
        raise DamagedFile("damaged: the checksum of the weights differs")
    return tensors, bits


def _code(
    coder: BitCoder,
    shapes: Sequence[Shape],
    statistics: Statistics,
    kernels: list[Levels],
    *,
    known: bool,
) -> list[int]:
    """Code all groups; the bits of each tensor."""
    network = _Network(ClassCoder(coder), shapes, statistics)
    stored = np.array([sum(kernel_axes(shape)[:2]) for shape in shapes], np.float64)
    # of the statistics, about
    network.bits += stored * (coder.spent() / 65536 / max(1.0, stored.sum()))
    for number, group in enumerate(groups_of(shapes, statistics.alike)):
        whole = kernels[group.layers[0]]
        if len(group.layers) > 1:
            whole = np.concatenate([kernels[i] for i in group.layers])
        network.group(group, number, whole, known)
        if len(group.layers) > 1 and not known:
            ends = np.cumsum([len(kernels[i]) for i in group.layers])[:-1]
            for i, part in zip(group.layers, np.split(whole, ends), strict=True):
                kernels[i] = part
    return [round(found) for found in network.bits.tolist()]
