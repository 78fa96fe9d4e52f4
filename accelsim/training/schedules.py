"""Learning rates and sparsity targets as functions of
the progress through the training, from 0 to 1.
"""

import math
from collections.abc import Sequence
from typing import Literal


def learning_rate(
    progress: float,
    peak: float,
    kind: Literal["constant", "step", "cosine", "one_cycle"],
    *,
    warmup: float = 0.0,
    milestones: Sequence[float] = (0.5, 0.75),
    gamma: float = 0.1,
    final: float = 0.0,
) -> float:
    """The rate at ``progress``.

    warmup: the share of the training over which the rate climbs to ``peak`` (linearly; for
    ``one_cycle`` by a cosine from peak / 25).  milestones, gamma: where ``step`` multiplies the
    rate by gamma.  final: the rate that ``cosine`` and ``one_cycle`` end at, as a share of peak.
    """
    if kind == "one_cycle":
        if progress < warmup:
            return peak * _cosine(progress / warmup, 1 / 25, 1)
        return peak * _cosine((progress - warmup) / (1 - warmup), 1, final)
    if progress < warmup:
        return peak * progress / warmup
    if kind == "step":
        return peak * gamma ** sum(progress >= milestone for milestone in milestones)
    if kind == "cosine":
        return peak * _cosine((progress - warmup) / (1 - warmup), 1, final)
    return peak


def _cosine(t: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2


def growing(progress: float, start: float, end: float, until: float) -> float:
    """A sparsity that grows from start to end by the cubic law of Zhu & Gupta (2017),
    and is ``end`` from ``until``.
    """
    if progress >= until:
        return end
    return end + (start - end) * (1 - progress / until) ** 3
