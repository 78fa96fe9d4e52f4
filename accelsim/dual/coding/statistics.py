"""The statistics that ``static`` stores in front of the weights, and how they are written."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Ints
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.kernels import kernel_axes
from accelsim.dual.coding.numbers import NumberCoder

Shape = tuple[int, ...]
UNIT = 8  # steps of a logit
LIMIT = 96  # the largest logit, in those steps
COARSE = 4  # steps of what is stored for each filter and channel
WEIGHT = 2  # steps of a neighbour's weight
NEIGHBOURS = 8  # kernel positions before one that its flag and sign see
PLAIN = 8  # magnitudes up to it have a logit of their own for each step
LARGEST = 256  # magnitude beyond which bits are stored plain
MOST = 1 << 12  # of a stored logit, in magnitude
PIECE = 32  # numbers of the first piece of an array of statistics
LINK = 4  # steps of a link
# Magnitudes of a kernel's first non-zero that the others tell apart; steps of theirs it decides.
FIRSTS = 4
MEANS = 64  # logits of a magnitude that are told apart
COUNTS = 10  # numbers of non-zeros in a kernel that are told apart
# Of each number of neighbours: a constant, a weight for each neighbour that is not zero, and for
# each pair of such two: one, and one that counts against them if their signs differ.
FLAG_WEIGHTS = [1 + j + j * (j - 1) for j in range(NEIGHBOURS + 1)]


@dataclass(frozen=True)
class KernelGroup:
    """Layers that are coded together."""

    layers: tuple[int, ...]  # their places in the network
    shape: tuple[int, int]  # rows and columns of their kernels

    @property
    def positions(self) -> int:
        """Weights of a kernel."""
        return self.shape[0] * self.shape[1]


@dataclass
class Statistics:
    """All that is stored in front, as whole numbers; logits in steps of 1 / ``UNIT``."""

    alike: Ints  # (layers,) a number that layers of one kernel shape share if they are one group
    largest: Ints  # (layers,) the largest magnitude of each
    density: Ints  # (layers,) of a flag
    sign: Ints  # (layers,) of a positive sign
    filters: Ints  # (filters of all layers,) of a flag, in steps of ``COARSE``
    # (layers,) how much of its filters' number the next layer's channels have, in 1 / ``LINK``
    links: Ints
    channels: Ints  # (channels of all layers,) what they have beyond that
    filter_means: Ints  # (filters of all layers,) of a magnitude's growth, in steps of ``COARSE``
    channel_means: Ints  # (channels of all layers,) the same
    flags: list[Ints]  # of each group: the weights of ``FLAG_WEIGHTS``, one row after the other
    # of each group: (COUNTS,) of a magnitude's growth, in a kernel of so many non-zeros
    counts: list[Ints]
    # of each group: (FIRSTS, FIRSTS) of growth, by the first non-zero and the step
    firsts: list[Ints]
    signs: list[Ints]  # of each group: a weight for each neighbour, one row after the other
    # of each layer: of the magnitude u being larger than u, by ``step_slots``, in steps of 2
    growth: list[Ints]


def groups_of(shapes: Sequence[Shape], alike: Ints) -> list[KernelGroup]:
    """The groups of a network's weight arrays (K, C / groups, ...), in the order of their first layers."""
    found: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        R, S = kernel_axes(shape)[2:]
        if math.prod(shape):
            found.setdefault((R, S, int(alike[i])), []).append(i)
    return [KernelGroup(tuple(layers), (key[0], key[1])) for key, layers in found.items()]


def neighbours(position: int, S: int) -> list[int]:
    """Positions before one in raster order, the nearest first.  S: columns of the kernel."""
    r, s = divmod(position, S)
    rows = range(max(0, r - 3), r + 1)
    near = [row * S + column for row in rows for column in range(max(0, s - 8), min(S, s + 9))]
    near = [q for q in near if q < position]
    near.sort(key=lambda q: ((r - q // S) ** 2 + (s - q % S) ** 2, -q))
    return near[:NEIGHBOURS]


def history(signs: NDArray[np.int8], places: Sequence[int]) -> NDArray[np.int16]:
    """One number for the signs at some places: (n,), below 3^places.

    signs: (positions, n) of -1, 0, 1.
    """
    code = np.zeros(signs.shape[1], np.int16)
    for j, q in enumerate(places):
        code += 3**j * (signs[q].astype(np.int16) + 1)
    return code


@functools.cache
def flag_features(j: int) -> Array:
    """What the weights of a flag with j neighbours count, of each history.

    (3^j, FLAG_WEIGHTS[j]).
    """
    signs = (np.arange(3**j)[:, None] // 3 ** np.arange(j) % 3 - 1).astype(np.float32)
    pairs = [signs[:, a] * signs[:, b] for a in range(j) for b in range(a)]
    columns = [np.ones(3**j, np.float32), *np.abs(signs).T, *map(np.abs, pairs), *pairs]
    return np.stack(columns, axis=1)


@functools.cache
def step_slots(largest: int) -> Ints:
    """Which logit tells whether a magnitude u = 1..largest - 1 is larger: (largest - 1,), from 0.

    Up to ``PLAIN`` each has its own, then two an octave.
    """
    u = np.arange(1, max(1, min(largest, LARGEST)))
    slots = [x - 1 if x <= PLAIN else PLAIN + math.floor(2 * math.log2((x - 0.5) / PLAIN)) for x in u.tolist()]
    return np.array(slots, np.int64)


def channel_numbers(links: Ints, filters: Ints, channels: Ints, axes: Sequence[Shape]) -> Ints:
    """What all channels' logits add, in steps of ``COARSE``.

    What is stored, and part of what their filters add.

    A layer's channels are taken for the filters of the layer before it, if those are as many.
    """
    whole = channels.copy()
    first_filter = np.cumsum([0, *(K for K, *_ in axes)]).tolist()
    first_channel = np.cumsum([0, *(C for _, C, *_ in axes)]).tolist()
    for i in range(1, len(axes)):
        if links[i] and axes[i][1] == axes[i - 1][0]:
            made = filters[first_filter[i - 1] : first_filter[i]]
            whole[first_channel[i] : first_channel[i + 1]] += links[i] * made // LINK
    return whole


def code_statistics(
    coder: NumberCoder,
    shapes: Sequence[Shape],
    known: Statistics | None,
) -> Statistics:
    """Write the statistics, or read them.

    Raises DamagedFile if they are beyond what a writer gives.
    """
    axes = [kernel_axes(shape) for shape in shapes]
    filters = sum(K for K, *_ in axes)
    channels = sum(C for _, C, *_ in axes)
    n = len(shapes)

    def code(kind: int, sizes: Sequence[int], parts: list[Ints] | None) -> list[Ints]:
        content = None if parts is None else np.concatenate([*parts, np.zeros(0, np.int64)])
        whole = coder.pieces(kind, sum(sizes), content, PIECE)
        if np.abs(whole).max(initial=0) > (1 << 16 if kind == 0 else MOST):
            raise DamagedFile("damaged: the statistics of the weights are out of range")
        return np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []

    k = known
    alike, largest, density, sign, links = code(
        0, [n] * 5, None if k is None else [k.alike, k.largest, k.density, k.sign, k.links]
    )
    if largest.min(initial=0) < 0:
        raise DamagedFile("damaged: a layer's largest index is negative")
    groups = groups_of(shapes, alike)
    slots = [int(step_slots(x).max(initial=-1)) + 1 for x in largest.tolist()]
    of_filters = code(1, [filters], None if k is None else [k.filters])[0]
    of_channels = code(2, [channels], None if k is None else [k.channels])[0]
    filter_means = code(3, [filters], None if k is None else [k.filter_means])[0]
    channel_means = code(4, [channels], None if k is None else [k.channel_means])[0]
    flag_sizes = [sum(_rows(FLAG_WEIGHTS, group)) for group in groups]
    sign_sizes = [sum(_rows(range(NEIGHBOURS + 1), group)) for group in groups]
    count_sizes = [min(group.positions, COUNTS) for group in groups]
    flags = code(5, flag_sizes, None if k is None else k.flags)
    counts = code(6, count_sizes, None if k is None else k.counts)
    firsts = code(6, [FIRSTS * FIRSTS] * len(groups), None if k is None else k.firsts)
    signs = code(5, sign_sizes, None if k is None else k.signs)
    growth = _from_changes(code(7, slots, None if k is None else _changes(k.growth)))
    return Statistics(
        alike=alike,
        largest=largest,
        density=density,
        sign=sign,
        filters=of_filters,
        links=links,
        channels=of_channels,
        filter_means=filter_means,
        channel_means=channel_means,
        flags=flags,
        counts=counts,
        firsts=firsts,
        signs=signs,
        growth=growth,
    )


def _changes(growth: Sequence[Ints]) -> list[Ints]:
    """What each layer's numbers differ from those of the layer before, as far as it has them."""
    changes = []
    before = np.zeros(0, np.int64)
    for numbers in growth:
        shared = min(len(before), len(numbers))
        change = numbers.copy()
        change[:shared] -= before[:shared]
        changes.append(change)
        before = numbers if len(numbers) else before
    return changes


def _from_changes(changes: Sequence[Ints]) -> list[Ints]:
    """The numbers of each layer again."""
    growth = []
    before = np.zeros(0, np.int64)
    for change in changes:
        shared = min(len(before), len(change))
        numbers = change.copy()
        numbers[:shared] += before[:shared]
        growth.append(numbers)
        before = numbers if len(numbers) else before
    return growth


def _rows(sizes: Sequence[int], group: KernelGroup) -> Sequence[int]:
    """Those of the sizes, one for each number of neighbours, that a group's kernels have use for."""
    return sizes[: min(group.positions, NEIGHBOURS + 1)]
