"""The fit of what predicts how large weights are.

A magnitude u grows to u + 1 by a chance whose logit its layer, filter, channel, the number of
non-zeros in its kernel and the first of them say.  The growth of a layer is drawn towards that of
the layer before it.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.dual.coding.fit_parts import ROUNDS, Parts, chance_of, coarse, fine, newton_step
from accelsim.dual.coding.statistics import (
    COARSE,
    COUNTS,
    FIRSTS,
    LARGEST,
    LIMIT,
    MEANS,
    UNIT,
    Statistics,
    step_slots,
)

COUNT_PRIOR = 0.1  # of the number of non-zeros in a kernel
MEAN_PRIOR = 8.0  # of a filter's or channel's number
GROWTH_PRIOR = 3.0  # of a magnitude's growth, towards the layer before


@dataclass
class _Means:
    """The fit of what predicts the magnitudes of a group."""

    growth: list[Floats]  # of each layer, by slot
    counts: Floats
    firsts: Floats  # (FIRSTS + 1, FIRSTS); row 0 stays zero
    filters: Floats
    channels: Floats


def fit_magnitudes(
    parts: Parts,
    found: Statistics,
    first_filter: Ints,
    first_channel: Ints,
) -> None:
    """Fit what predicts the magnitudes of a group, and put it among the statistics, rounded.

    first_filter, first_channel: of each layer, among those of the network.
    """
    position, kernel = np.nonzero(parts.flags)
    size = np.minimum(np.abs(parts.values[position, kernel]), LARGEST)
    count = np.minimum(parts.flags.sum(axis=0, dtype=np.int64), COUNTS)[kernel] - 1
    first = parts.flags.argmax(axis=0)
    leading = np.abs(parts.values[first, np.arange(len(first))])
    place = np.where(position == first[kernel], 0, np.minimum(leading[kernel], FIRSTS))
    layer = parts.layer[kernel]
    filter_ = parts.filter[kernel]
    channel = parts.channel[kernel]
    largest = [min(LARGEST, int(found.largest[i])) for i in parts.group.layers]
    slots = [step_slots(x) for x in largest]
    rows = min(parts.group.positions, COUNTS)
    means = _Means(
        growth=[np.zeros(int(s.max(initial=-1)) + 1) for s in slots],
        counts=np.zeros(rows),
        firsts=np.zeros((FIRSTS + 1, FIRSTS)),
        filters=np.zeros(parts.filters),
        channels=np.zeros(parts.channels),
    )
    owners = (
        (means.counts, count, COUNT_PRIOR),
        (means.filters, filter_, MEAN_PRIOR),
        (means.channels, channel, MEAN_PRIOR),
    )
    for turn in range(ROUNDS + 2):
        if turn == ROUNDS:
            for numbers in (means.filters, means.channels):
                numbers[:] = coarse(numbers) * (COARSE / UNIT)
            means.counts[:] = fine(means.counts) / UNIT
            means.firsts[:] = np.rint(means.firsts * UNIT / 2) * (2 / UNIT)
        logit = means.counts[count] + means.filters[filter_] + means.channels[channel]
        mean = np.clip(np.floor(logit * UNIT / 2).astype(np.int64) + MEANS // 2, 0, MEANS - 1)
        slope, curvature = _grow(means, slots, layer, place * MEANS + mean, size, turn < ROUNDS)
        if turn < ROUNDS:
            numbers, owner, prior = owners[turn % 3]
            n = len(numbers)
            numbers += newton_step(np.bincount(owner, slope, n), np.bincount(owner, curvature, n), numbers, prior)
    parts.spread(found.filter_means, first_filter, 0, coarse(means.filters))
    parts.spread(found.channel_means, first_channel, 1, coarse(means.channels))
    found.counts.append(fine(means.counts))
    found.firsts.append(np.rint(np.clip(means.firsts[1:] * UNIT / 2, -LIMIT, LIMIT)).astype(np.int64).ravel())
    for i, growth in zip(parts.group.layers, means.growth, strict=True):
        found.growth[i] = np.rint(np.clip(growth * UNIT / 2, -LIMIT, LIMIT)).astype(np.int64)


def _grow(
    means: _Means, slots: list[Ints], layer: Ints, case: Ints, size: Ints, with_firsts: bool
) -> tuple[Floats, Floats]:
    """Move the growth of each layer, and the slope and curvature of each magnitude's logit then.

    case: of each magnitude: of its kernel's first, and its mean.
    """
    slope, curvature = np.zeros((2, len(size)))
    before = np.zeros(0)
    ends = np.searchsorted(np.sort(layer), np.arange(len(slots) + 1))
    order = np.argsort(layer, kind="stable")
    cases = MEANS * (FIRSTS + 1)
    offset = np.tile((2 / UNIT) * (np.arange(MEANS) - MEANS // 2), FIRSTS + 1)[:, None]
    g_firsts, v_firsts = np.zeros((2, FIRSTS + 1, FIRSTS))
    for number, slot in enumerate(slots):
        chosen = order[ends[number] : ends[number + 1]]
        growth = means.growth[number]
        if not len(slot) or not len(chosen):
            continue
        top = len(slot) + 1
        key = case[chosen] * (top + 1) + size[chosen]
        # magnitudes 1..top
        seen = np.bincount(key, minlength=cases * (top + 1)).reshape(cases, top + 1)[:, 1:]
        at_least = np.cumsum(seen[:, ::-1], axis=1)[:, ::-1]
        more = at_least[:, 1:]
        reached = at_least[:, :-1]
        by_first = np.zeros((FIRSTS + 1, max(FIRSTS, len(growth))))
        by_first[:, :FIRSTS] = means.firsts
        base = offset + by_first[:, slot].repeat(MEANS, axis=0)
        chance = chance_of(base + growth[slot])
        error = more - reached * chance
        variance = reached * chance * (1 - chance)
        expected = np.zeros(len(growth))
        shared = min(len(before), len(growth))
        expected[:shared] = before[:shared]
        g = np.bincount(slot, error.sum(axis=0), len(growth))
        v = np.bincount(slot, variance.sum(axis=0), len(growth))
        early = min(FIRSTS, len(slot))  # the first steps have slots of their own
        g_firsts[:, :early] += error[:, :early].reshape(FIRSTS + 1, MEANS, early).sum(axis=1)
        v_firsts[:, :early] += variance[:, :early].reshape(FIRSTS + 1, MEANS, early).sum(axis=1)
        growth += np.clip((g - GROWTH_PRIOR * (growth - expected)) / (v + GROWTH_PRIOR), -1, 1)
        before = growth
        chance = chance_of(base + growth[slot])
        passed = np.cumsum(1 - chance, axis=1)
        variance = np.cumsum(chance * (1 - chance), axis=1)
        # of the magnitude u: u - 1 steps taken, and one not taken unless u is the largest
        slopes = np.concatenate([np.zeros((cases, 2)), passed], axis=1)
        slopes[:, 1:-1] -= chance
        curvatures = np.concatenate([np.zeros((cases, 1)), variance, variance[:, -1:]], axis=1)
        slope[chosen] = slopes.ravel()[key]
        curvature[chosen] = curvatures.ravel()[key]
    if with_firsts:
        means.firsts[1:] += 0.7 * newton_step(g_firsts, v_firsts, means.firsts, 1.0)[1:]
    return slope, curvature
