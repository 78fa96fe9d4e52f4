"""What the fits of ``static``'s statistics share: a group's kernels, Newton's step, roundings."""

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Floats, Ints, Levels
from accelsim.dual.coding.kernels import kernel_axes, kernels_of
from accelsim.dual.coding.statistics import (
    COARSE,
    LIMIT,
    UNIT,
    WEIGHT,
    KernelGroup,
    neighbours,
)

Real = TypeVar("Real", np.float32, np.float64)
ROUNDS = 24  # of moving each kind of number once
WEIGHT_PRIOR = 2.0  # curvature of the prior of a neighbour's weight
LONGEST = 1.0  # logits that a number moves at a time


class Parts:
    """The kernels of a group, and what they belong to."""

    def __init__(self, group: KernelGroup, tensors: Sequence[Levels]) -> None:
        self.group = group
        # (positions, kernels)
        self.values = np.concatenate([kernels_of(tensor) for tensor in tensors]).T.copy()
        self.flags: NDArray[np.uint8] = (self.values != 0).astype(np.uint8)
        # filters and channels of each layer
        self.sizes = [kernel_axes(tensor.shape)[:2] for tensor in tensors]
        self.filters = sum(K for K, _ in self.sizes)
        self.channels = sum(C for _, C in self.sizes)
        firsts = itertools.pairwise(itertools.accumulate((K * C for K, C in self.sizes), initial=0))
        self.slices = [slice(first, end) for first, end in firsts]
        filters = []
        channels = []
        layers = []
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


def newton_step(slope: NDArray[Any], curvature: NDArray[Any], now: Floats, prior: float) -> Floats:
    """Newton's step of independent numbers."""
    step: Floats = np.clip((slope - prior * now) / (curvature + prior), -LONGEST, LONGEST)
    return step


def coarse(logits: Floats) -> Ints:
    return np.rint(logits * (UNIT / COARSE)).astype(np.int64)


def stored(weights: Sequence[Floats]) -> Ints:
    return np.rint(np.clip(np.concatenate(weights) * (UNIT / WEIGHT), -LIMIT, LIMIT)).astype(np.int64)


def fine(logits: Floats) -> Ints:
    return np.rint(np.clip(logits * UNIT, -2 * LIMIT, 2 * LIMIT)).astype(np.int64)


def chance_of(logit: NDArray[Real]) -> NDArray[Real]:
    chance: NDArray[Any] = 1 / (1 + np.exp(-np.clip(logit, -12, 12)))
    return chance
