"""Learning rates and sparsity targets as functions of the progress, from 0 to 1."""

import math

from accelsim.training.recipe import OptimizerSettings


def learning_rate(progress: float, settings: OptimizerSettings) -> float:
    """The rate at ``progress``.

    While it warms up the rate climbs linearly, for ``one_cycle`` by a cosine from 1/25 of the
    largest.
    """
    peak = settings.rate
    warmup = settings.warmup
    if settings.schedule == "one_cycle":
        if progress < warmup:
            return peak * _cosine(progress / warmup, 1 / 25, 1)
        return peak * _cosine((progress - warmup) / (1 - warmup), 1, settings.final)
    if progress < warmup:
        return peak * progress / warmup
    if settings.schedule == "step":
        passed = sum(progress >= milestone for milestone in settings.milestones)
        return peak * settings.gamma**passed
    if settings.schedule == "cosine":
        return peak * _cosine((progress - warmup) / (1 - warmup), 1, settings.final)
    return peak


def _cosine(t: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2


def growing(progress: float, start: float, end: float, until: float) -> float:
    """A sparsity that grows from start to end by the cubic law of Zhu & Gupta (2017).

    It is ``end`` from ``until``.
    """
    if progress >= until:
        return end
    return end + (start - end) * (1 - progress / until) ** 3
