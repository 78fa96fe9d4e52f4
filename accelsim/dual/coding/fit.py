"""The statistics that ``static`` stores, fitted to the weights by Newton's method on the coding cost.

Each kind of number is moved in turn with the others held, towards 0 where the weights say little (a
quadratic prior).  What comes out are whole numbers; only the encoder runs this, so it need not be
the same everywhere.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Flags, Floats, Ints, Levels
from accelsim.dual.coding.context import kernel_axes
from accelsim.dual.coding.static import (
    COARSE,
    COUNTS,
    FIRSTS,
    FLAG_WEIGHTS,
    LARGEST,
    LIMIT,
    LINK,
    MEANS,
    NEIGHBOURS,
    UNIT,
    WEIGHT,
    Bytes,
    Group,
    Statistics,
    channel_numbers,
    encode_by,
    flag_features,
    groups_of,
    history,
    kernels_of,
    neighbours,
    step_slots,
)

_Real = TypeVar("_Real", np.float32, np.float64)

ROUNDS = 24  # of moving each kind of number once
PRIOR = 1.0  # curvature of the prior of a flag's number of a filter or channel
MEAN_PRIOR = 8.0  # of a magnitude's
WEIGHT_PRIOR = 2.0  # of a neighbour's weight
PAIR_PRIOR = 15.0  # of that of a pair of signs
GROWTH_PRIOR = 3.0  # of a magnitude's growth, towards the layer before
SET_BITS = 500  # that a further set of weights costs, about
LONGEST = 1.0  # logits that a number moves at a time


def encode_static(tensors: Sequence[Levels]) -> tuple[bytes, list[int]]:
    """The tensors as one byte string, and the bits that each takes in it."""
    return encode_by(fit(tensors), tensors)


def fit(tensors: Sequence[Levels]) -> Statistics:
    """The statistics by which the tensors take few bytes, with their own."""
    shapes = [tensor.shape for tensor in tensors]
    alike = _alike(tensors)
    found = Statistics(
        alike=alike,
        largest=np.array([min(1 << 16, np.abs(tensor).max(initial=0)) for tensor in tensors], np.int64),
        density=np.zeros(len(tensors), np.int64),
        sign=np.zeros(len(tensors), np.int64),
        filters=np.zeros(sum(kernel_axes(shape)[0] for shape in shapes), np.int64),
        links=np.zeros(len(tensors), np.int64),
        channels=np.zeros(sum(kernel_axes(shape)[1] for shape in shapes), np.int64),
        filter_means=np.zeros(sum(kernel_axes(shape)[0] for shape in shapes), np.int64),
        channel_means=np.zeros(sum(kernel_axes(shape)[1] for shape in shapes), np.int64),
        flags=[],
        counts=[],
        firsts=[],
        signs=[],
        growth=[np.zeros(0, np.int64) for _ in tensors],
    )
    first_filter = np.cumsum([0, *(kernel_axes(shape)[0] for shape in shapes)])
    first_channel = np.cumsum([0, *(kernel_axes(shape)[1] for shape in shapes)])
    groups = groups_of(shapes, alike)
    fitted = []
    channels = np.zeros(len(found.channels))
    for group in groups:
        flags = _Flags(_Parts(group, [tensors[i] for i in group.layers]))
        for kinds in (("weights",), ("filters",), ("channels",), ("layers",)) * (ROUNDS // 4):
            flags.move(kinds)
        flags.parts.spread(found.filters, first_filter, 0, _coarse(flags.filters))
        flags.parts.spread(channels, first_channel, 1, flags.channels * (UNIT / COARSE))
        fitted.append(flags)
    axes = [kernel_axes(shape) for shape in shapes]
    found.links[:] = _links(axes, found.filters, channels)
    nothing = np.zeros_like(found.channels)
    found.channels[:] = np.rint(channels - channel_numbers(found.links, found.filters, nothing, axes))
    whole = channel_numbers(found.links, found.filters, found.channels, axes)
    for flags in fitted:
        flags.filters[:] = flags.parts.gather(found.filters, first_filter, 0) * (COARSE / UNIT)
        flags.channels[:] = flags.parts.gather(whole, first_channel, 1) * (COARSE / UNIT)
        _round_flags(flags, found)
        _fit_magnitudes(flags.parts, found, first_filter, first_channel)
        _fit_signs(flags.parts, found)
    return found


def _links(axes: Sequence[tuple[int, ...]], filters: Ints, channels: Floats) -> list[int]:
    """How much of the filters' numbers each layer's channels have, so that the rest is small."""
    links = [0]
    k = c = 0
    for (K, before_C, *_), (_, C, *_) in itertools.pairwise(axes):
        made, own = filters[k : k + K], channels[c + before_C : c + before_C + C]
        k += K
        c += before_C
        rests = [np.log2(1 + np.abs(own - x * made / LINK)).sum() if K == C else 0 for x in range(2 * LINK)]
        links.append(int(np.argmin(rests)))
    return links


class _Parts:
    """The kernels of a group, and what they belong to."""

    def __init__(self, group: Group, tensors: Sequence[Levels]) -> None:
        self.group = group
        # (positions, kernels)
        self.values = np.concatenate([kernels_of(tensor) for tensor in tensors]).T.copy()
        self.flags: Bytes = (self.values != 0).astype(np.uint8)
        # filters and channels of each layer
        self.sizes = [kernel_axes(tensor.shape)[:2] for tensor in tensors]
        self.filters = sum(K for K, _ in self.sizes)
        self.channels = sum(C for _, C in self.sizes)
        firsts = itertools.pairwise(itertools.accumulate((K * C for K, C in self.sizes), initial=0))
        self.slices = [slice(first, end) for first, end in firsts]
        filters, channels, layers = [], [], []
        k = c = 0
        for place, (K, C) in enumerate(self.sizes):
            filters.append(np.repeat(np.arange(k, k + K), C))
            channels.append(np.tile(np.arange(c, c + C), K))
            layers.append(np.full(K * C, place))
            k += K
            c += C
        self.filter = np.concatenate(filters)  # of each kernel, among the group's
        self.channel = np.concatenate(channels)
        self.layer = np.concatenate(layers)
        S = group.shape[1]
        self.places = [neighbours(p, S) for p in range(group.positions)]

    def spread(self, whole: Ints | Floats, firsts: Ints, axis: int, found: Ints | Floats) -> None:
        """Put the group's numbers of each filter (axis 0) or channel (1) among those of the network."""
        start = 0
        for i, sizes in zip(self.group.layers, self.sizes, strict=True):
            whole[firsts[i] : firsts[i] + sizes[axis]] = found[start : start + sizes[axis]]
            start += sizes[axis]

    def gather(self, whole: Ints, firsts: Ints, axis: int) -> Ints:
        """The group's numbers of each filter or channel among those of the network."""
        pairs = zip(self.group.layers, self.sizes, strict=True)
        return np.concatenate([whole[firsts[i] : firsts[i] + sizes[axis]] for i, sizes in pairs])


def _step(slope: NDArray[Any], curvature: NDArray[Any], now: Floats, prior: float) -> Floats:
    """Newton's step of independent numbers."""
    step: Floats = np.clip((slope - prior * now) / (curvature + prior), -LONGEST, LONGEST)
    return step


def _coarse(logits: Floats) -> Ints:
    return np.rint(logits * (UNIT / COARSE)).astype(np.int64)


def _stored(weights: Sequence[Floats]) -> Ints:
    return np.rint(np.clip(np.concatenate(weights) * (UNIT / WEIGHT), -LIMIT, LIMIT)).astype(np.int64)


def _fine(logits: Floats) -> Ints:
    return np.rint(np.clip(logits * UNIT, -2 * LIMIT, 2 * LIMIT)).astype(np.int64)


class _Flags:
    """The fit of what predicts the flags of a group."""

    def __init__(self, parts: _Parts) -> None:
        self.parts = parts
        signs = np.sign(parts.values).astype(np.int8)
        self.histories = [history(signs, places) for places in parts.places]
        share = [(parts.flags[:, part].mean() + 1e-4) / 1.0002 for part in parts.slices]
        self.layers = np.log(np.array(share) / (1 - np.array(share)))
        self.filters = np.zeros(parts.filters)
        self.channels = np.zeros(parts.channels)
        rows = min(parts.group.positions, NEIGHBOURS + 1)
        self.features = [flag_features(j) for j in range(rows)]
        self.weights = [np.zeros(size) for size in FLAG_WEIGHTS[:rows]]

    @staticmethod
    def prior(count: int) -> Floats:
        """Curvature of the prior of each of so many weights: pairs of signs seldom say much."""
        j = int((count - 1) ** 0.5)
        return np.repeat([WEIGHT_PRIOR, PAIR_PRIOR], [1 + j + j * (j - 1) // 2, j * (j - 1) // 2])

    def move(self, kinds: Sequence[str]) -> None:
        """One Newton step of numbers of these kinds at once: they are told apart by the weights."""
        parts = self.parts
        offset = self.layers[parts.layer] + self.filters[parts.filter] + self.channels[parts.channel]
        offset = offset.astype(np.float32)
        slope = np.zeros(len(offset), np.float32)
        curvature = np.zeros(len(offset), np.float32)
        cells = [(np.zeros(3**j), np.zeros(3**j)) for j in range(len(self.weights))]
        for p, places in enumerate(parts.places):
            j = len(places)
            table = (self.features[j] @ self.weights[j]).astype(np.float32)
            chance = _chance(offset + table.take(self.histories[p]))
            error = parts.flags[p] - chance
            variance = chance * (1 - chance)
            if "weights" in kinds:
                cells[j][0][:] += np.bincount(self.histories[p], error, 3**j)
                cells[j][1][:] += np.bincount(self.histories[p], variance, 3**j)
            slope += error
            curvature += variance
        if "weights" in kinds:
            for weights, features, (g, v) in zip(self.weights, self.features, cells, strict=True):
                held = self.prior(len(weights))
                matrix = (features.T * v) @ features + np.diag(held)
                weights += np.clip(np.linalg.solve(matrix, features.T @ g - held * weights), -1, 1)
        for kind, numbers, owner, prior in (
            ("layers", self.layers, parts.layer, 1e-3),
            ("filters", self.filters, parts.filter, PRIOR),
            ("channels", self.channels, parts.channel, PRIOR),
        ):
            if kind in kinds:
                n = len(numbers)
                numbers += _step(np.bincount(owner, slope, n), np.bincount(owner, curvature, n), numbers, prior)

    def demands(self) -> list["_Demand"]:
        """What each layer asks of the weights, at those found for all."""
        parts = self.parts
        offset = self.layers[parts.layer] + self.filters[parts.filter] + self.channels[parts.channel]
        demands = [_Demand([], []) for _ in parts.slices]
        for j, (weights, features) in enumerate(zip(self.weights, self.features, strict=True)):
            table = (features @ weights).astype(np.float32)
            cells = np.zeros((len(demands), 2, 3**j))
            for p, places in enumerate(parts.places):
                if len(places) != j:
                    continue
                seen = self.histories[p]
                chance = _chance(offset.astype(np.float32) + table.take(seen))
                for cell, part in zip(cells, parts.slices, strict=True):
                    share = chance[part]
                    cell[0] += np.bincount(seen[part], parts.flags[p][part] - share, 3**j)
                    cell[1] += np.bincount(seen[part], share * (1 - share), 3**j)
            for demand, (slope, curvature) in zip(demands, cells, strict=True):
                demand.slopes.append(features.T @ slope)
                demand.curvatures.append((features.T * curvature) @ features)
        return demands


@dataclass
class _Demand:
    """Slope and curvature of the coding cost by the weights, of each number of neighbours."""

    slopes: list[Floats]
    curvatures: list[Floats]

    def __add__(self, other: "_Demand") -> "_Demand":
        """That of both together."""
        slopes = [a + b for a, b in zip(self.slopes, other.slopes, strict=True)]
        return _Demand(slopes, [a + b for a, b in zip(self.curvatures, other.curvatures, strict=True)])

    def gain(self) -> float:
        """Bits that weights of its own save, about."""
        gain = 0.0
        for slope, curvature in zip(self.slopes, self.curvatures, strict=True):
            gain += float(slope @ np.linalg.solve(curvature + np.eye(len(slope)), slope))
        return 0.5 * gain / math.log(2)


def _alike(tensors: Sequence[Levels]) -> Ints:
    """Which layers of one kernel shape share their weights: a number of each, from 0."""
    shapes = [tensor.shape for tensor in tensors]
    alike = np.zeros(len(tensors), np.int64)
    for group in groups_of(shapes, alike):
        if len(group.layers) == 1 or group.positions == 1:
            continue
        flags = _Flags(_Parts(group, [tensors[i] for i in group.layers]))
        for kinds in (("weights",), ("filters",), ("channels",), ("layers",)) * 2:
            flags.move(kinds)
        for number, places in enumerate(_merged(flags.demands())):
            alike[[group.layers[place] for place in places]] = number
    return alike


def _merged(demands: list[_Demand]) -> list[list[int]]:
    """Sets of layers, each worth weights of its own.

    The two that lose least are merged, as long as that pays.
    """
    sets = [[i] for i in range(len(demands))]
    gains = [demand.gain() for demand in demands]
    losses: dict[tuple[int, int], float] = {}
    alive = set(range(len(demands)))
    demands = list(demands)
    while len(alive) > 1:
        for a, b in itertools.combinations(sorted(alive), 2):
            if (a, b) not in losses:
                losses[a, b] = gains[a] + gains[b] - (demands[a] + demands[b]).gain()
        (a, b), loss = min(((pair, x) for pair, x in losses.items() if alive.issuperset(pair)), key=lambda it: it[1])
        if loss > SET_BITS:
            break
        alive -= {a, b}
        alive.add(len(demands))
        sets.append(sorted(sets[a] + sets[b]))
        demands.append(demands[a] + demands[b])
        gains.append(demands[-1].gain())
    return sorted(sets[i] for i in alive)


def _chance(logit: NDArray[_Real]) -> NDArray[_Real]:
    chance: NDArray[Any] = 1 / (1 + np.exp(-np.clip(logit, -12, 12)))
    return chance


def _round_flags(flags: _Flags, found: Statistics) -> None:
    """Fit the weights to the rounded numbers of filters and channels, and round them, too."""
    flags.move(("layers",))
    flags.move(("weights",))
    flags.weights = np.split(_stored(flags.weights) * (WEIGHT / UNIT), np.cumsum([len(w) for w in flags.weights])[:-1])
    flags.move(("layers",))
    found.density[list(flags.parts.group.layers)] = _fine(flags.layers)
    found.flags.append(_stored(flags.weights))


@dataclass
class _Means:
    """The fit of what predicts the magnitudes of a group."""

    growth: list[Floats]  # of each layer, by slot
    counts: Floats
    firsts: Floats  # (FIRSTS + 1, FIRSTS); row 0 stays zero
    filters: Floats
    channels: Floats


def _fit_magnitudes(parts: _Parts, found: Statistics, first_filter: Ints, first_channel: Ints) -> None:
    position, kernel = np.nonzero(parts.flags)
    size = np.minimum(np.abs(parts.values[position, kernel]), LARGEST)
    count = np.minimum(parts.flags.sum(axis=0, dtype=np.int64), COUNTS)[kernel] - 1
    first = parts.flags.argmax(axis=0)
    leading = np.abs(parts.values[first, np.arange(len(first))])
    place = np.where(position == first[kernel], 0, np.minimum(leading[kernel], FIRSTS))
    layer, filter_, channel = parts.layer[kernel], parts.filter[kernel], parts.channel[kernel]
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
    owners = ((means.counts, count, 0.1), (means.filters, filter_, MEAN_PRIOR), (means.channels, channel, MEAN_PRIOR))
    for turn in range(ROUNDS + 2):
        if turn == ROUNDS:
            for numbers in (means.filters, means.channels):
                numbers[:] = _coarse(numbers) * (COARSE / UNIT)
            means.counts[:] = _fine(means.counts) / UNIT
            means.firsts[:] = np.rint(means.firsts * UNIT / 2) * (2 / UNIT)
        logit = means.counts[count] + means.filters[filter_] + means.channels[channel]
        mean = np.clip(np.floor(logit * UNIT / 2).astype(np.int64) + MEANS // 2, 0, MEANS - 1)
        slope, curvature = _grow(means, slots, layer, place * MEANS + mean, size, turn < ROUNDS)
        if turn < ROUNDS:
            numbers, owner, prior = owners[turn % 3]
            n = len(numbers)
            numbers += _step(np.bincount(owner, slope, n), np.bincount(owner, curvature, n), numbers, prior)
    parts.spread(found.filter_means, first_filter, 0, _coarse(means.filters))
    parts.spread(found.channel_means, first_channel, 1, _coarse(means.channels))
    found.counts.append(_fine(means.counts))
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
        more, reached = at_least[:, 1:], at_least[:, :-1]
        by_first = np.zeros((FIRSTS + 1, max(FIRSTS, len(growth))))
        by_first[:, :FIRSTS] = means.firsts
        base = offset + by_first[:, slot].repeat(MEANS, axis=0)
        chance = _chance(base + growth[slot])
        error, variance = more - reached * chance, reached * chance * (1 - chance)
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
        chance = _chance(base + growth[slot])
        passed = np.cumsum(1 - chance, axis=1)
        variance = np.cumsum(chance * (1 - chance), axis=1)
        # of the magnitude u: u - 1 steps taken, and one not taken unless u is the largest
        slopes = np.concatenate([np.zeros((cases, 2)), passed], axis=1)
        slopes[:, 1:-1] -= chance
        curvatures = np.concatenate([np.zeros((cases, 1)), variance, variance[:, -1:]], axis=1)
        slope[chosen] = slopes.ravel()[key]
        curvature[chosen] = curvatures.ravel()[key]
    if with_firsts:
        means.firsts[1:] += 0.7 * _step(g_firsts, v_firsts, means.firsts, 1.0)[1:]
    return slope, curvature


def _fit_signs(parts: _Parts, found: Statistics) -> None:
    positive = parts.values > 0
    for i, part in zip(parts.group.layers, parts.slices, strict=True):
        share = (positive[:, part].sum() + 1.0) / (parts.flags[:, part].sum() + 2.0)
        found.sign[i] = _fine(np.log(share / (1 - share)))
    offset = (found.sign[list(parts.group.layers)] / UNIT)[parts.layer]
    signs = np.sign(parts.values).astype(np.int8)
    weights = []
    for j in range(min(parts.group.positions, NEIGHBOURS + 1)):
        chosen = [p for p, places in enumerate(parts.places) if len(places) == j]
        weights.append(_sign_weights(parts, [(p, parts.places[p]) for p in chosen], j, signs, positive, offset))
    found.signs.append(_stored(weights))


def _sign_weights(
    parts: _Parts,
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
            chance = _chance(offset.take(where).astype(np.float32) + weights.astype(np.float32) @ x)
            matrix += (x * (chance * (1 - chance))) @ x.T
            slope += x @ (positive[p].take(where) - chance)
        weights += np.clip(np.linalg.solve(matrix, slope), -1, 1)
    return weights
