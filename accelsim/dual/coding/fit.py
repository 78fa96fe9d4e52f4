"""The statistics that ``static`` stores, fitted to the weights by Newton's method on the cost.

Each kind of number is moved in turn with the others held, towards 0 where the weights say little (a
quadratic prior).  What comes out are whole numbers; only the encoder runs this, so it need not be
the same everywhere.  Flags: ``fit_flags``; magnitudes: ``fit_magnitudes``; signs and how they go
together: here.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from accelsim.arrays import Flags, Floats, Ints, Levels
from accelsim.dual.coding.fit_flags import FlagFit, alike_layers, round_flags
from accelsim.dual.coding.fit_magnitudes import fit_magnitudes
from accelsim.dual.coding.fit_parts import ROUNDS, WEIGHT_PRIOR, Parts, chance_of, coarse, fine, stored
from accelsim.dual.coding.kernels import kernel_axes
from accelsim.dual.coding.static import encode_by
from accelsim.dual.coding.statistics import (
    COARSE,
    LINK,
    NEIGHBOURS,
    UNIT,
    Statistics,
    channel_numbers,
    groups_of,
)


def encode_static(tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    return encode_by(fit(tensors), tensors)


def fit(tensors: Sequence[Levels]) -> Statistics:
    """The statistics by which the tensors take few bytes, with their own."""
    shapes = [tensor.shape for tensor in tensors]
    axes = [kernel_axes(shape) for shape in shapes]
    found = _nothing_yet(tensors, alike_layers(tensors))
    first_filter = np.cumsum([0, *(K for K, *_ in axes)])
    first_channel = np.cumsum([0, *(C for _, C, *_ in axes)])
    groups = groups_of(shapes, found.alike)
    fitted = []
    channels = np.zeros(len(found.channels))
    for group in groups:
        flags = FlagFit(Parts(group, [tensors[i] for i in group.layers]))
        for kinds in (("weights",), ("filters",), ("channels",), ("layers",)) * (ROUNDS // 4):
            flags.move(kinds)
        flags.parts.spread(found.filters, first_filter, 0, coarse(flags.filters))
        flags.parts.spread(channels, first_channel, 1, flags.channels * (UNIT / COARSE))
        fitted.append(flags)
    found.links[:] = _links(axes, found.filters, channels)
    nothing = np.zeros_like(found.channels)
    found.channels[:] = np.rint(channels - channel_numbers(found.links, found.filters, nothing, axes))
    whole = channel_numbers(found.links, found.filters, found.channels, axes)
    for flags in fitted:
        flags.filters[:] = flags.parts.gather(found.filters, first_filter, 0) * (COARSE / UNIT)
        flags.channels[:] = flags.parts.gather(whole, first_channel, 1) * (COARSE / UNIT)
        round_flags(flags, found)
        fit_magnitudes(flags.parts, found, first_filter, first_channel)
        _fit_signs(flags.parts, found)
    return found


def _nothing_yet(tensors: Sequence[Levels], alike: Ints) -> Statistics:
    """Statistics of these weights with everything still at zero, but for the largest magnitudes."""
    layers = len(tensors)
    axes = [kernel_axes(tensor.shape) for tensor in tensors]
    filters = sum(K for K, *_ in axes)
    channels = sum(C for _, C, *_ in axes)
    largest = [min(1 << 16, np.abs(tensor).max(initial=0)) for tensor in tensors]
    return Statistics(
        alike=alike,
        largest=np.array(largest, np.int64),
        density=np.zeros(layers, np.int64),
        sign=np.zeros(layers, np.int64),
        filters=np.zeros(filters, np.int64),
        links=np.zeros(layers, np.int64),
        channels=np.zeros(channels, np.int64),
        filter_means=np.zeros(filters, np.int64),
        channel_means=np.zeros(channels, np.int64),
        flags=[],
        counts=[],
        firsts=[],
        signs=[],
        growth=[np.zeros(0, np.int64) for _ in tensors],
    )


def _links(axes: Sequence[tuple[int, ...]], filters: Ints, channels: Floats) -> list[int]:
    """How much of the filters' numbers each layer's channels have, so that the rest is small."""
    links = [0]
    k = c = 0
    for (K, before_C, *_), (_, C, *_) in itertools.pairwise(axes):
        made = filters[k : k + K]
        own = channels[c + before_C : c + before_C + C]
        k += K
        c += before_C
        link = 0
        if K == C:
            rests = [np.log2(1 + np.abs(own - x * made / LINK)).sum() for x in range(2 * LINK)]
            link = int(np.argmin(rests))
        links.append(link)
    return links


def _fit_signs(parts: Parts, found: Statistics) -> None:
    """Fit what predicts the signs of a group."""
    positive = parts.values > 0
    for i, part in zip(parts.group.layers, parts.slices, strict=True):
        share = (positive[:, part].sum() + 1.0) / (parts.flags[:, part].sum() + 2.0)
        found.sign[i] = fine(np.log(share / (1 - share)))
    offset = (found.sign[list(parts.group.layers)] / UNIT)[parts.layer]
    signs = np.sign(parts.values).astype(np.int8)
    weights = []
    for j in range(min(parts.group.positions, NEIGHBOURS + 1)):
        chosen = [p for p, places in enumerate(parts.places) if len(places) == j]
        positions = [(p, parts.places[p]) for p in chosen]
        weights.append(_sign_weights(parts, positions, j, signs, positive, offset))
    found.signs.append(stored(weights))


def _sign_weights(
    parts: Parts,
    positions: Sequence[tuple[int, Sequence[int]]],
    j: int,
    signs: np.ndarray,
    positive: Flags,
    offset: Floats,
) -> Floats:
    """Weights of the j neighbours' signs at positions that have so many."""
    weights = np.zeros(j)
    if not j:
        return weights
    for _ in range(4):
        matrix = WEIGHT_PRIOR * np.eye(j)
        slope = -WEIGHT_PRIOR * weights
        for p, places in positions:
            where = np.flatnonzero(parts.flags[p])
            x = np.stack([signs[q].take(where) for q in places]).astype(np.float32)
            logit = offset.take(where).astype(np.float32) + weights.astype(np.float32) @ x
            chance = chance_of(logit)
            matrix += (x * (chance * (1 - chance))) @ x.T
            slope += x @ (positive[p].take(where) - chance)
        weights += np.clip(np.linalg.solve(matrix, slope), -1, 1)
    return weights
