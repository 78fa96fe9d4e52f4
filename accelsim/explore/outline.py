"""What a sweep amounts to, without laying out each of its points.

What excludes a sample before its machine is made are formulas of parameters.  The grid of the axes
that they read is walked, and each of its samples stands for as many as the other axes have values.
Whether a sample is a sound machine, and meets what is asked of its area, is tried on a few that are
drawn evenly from a seed, or on all of a small family.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.errors import InputError
from accelsim.explore import expressions
from accelsim.explore.axes import Axis
from accelsim.explore.description import MAX_POINTS, MachineEntry, SweepDescription
from accelsim.explore.expressions import Value
from accelsim.explore.space import (
    Point,
    Variant,
    all_variants,
    axis_values,
    check_size,
    draft,
    kind_of,
    make,
    samples,
    split_constraints,
    too_many,
    variants_for,
)
from accelsim.explore.tasks import MeasuredArithmetic, PointTasks, check_measurable

ALL = 64  # samples of a family, at most, all of whose machines are made
TRIED = 12  # of a larger one, if all of those are sound and meet the constraints, else ``ALL``
DRAWN = 1024  # samples of a grid that are drawn to find them
_Made = tuple[dict[str, Value], Mapping[str, Any], Any]  # a sound machine, as of ``make``


@dataclass(frozen=True)
class Outline:
    """What a sweep amounts to."""

    points: int
    simulations: int  # that they need
    measurements: int  # of accuracy, that they need
    some: Sequence[Point]  # of the sound ones, variant after variant in turn
    measured: Sequence[Point]  # some that need a measurement each
    about: bool = False  # the counts are scaled from what came of the machines that were tried


@dataclass(frozen=True)
class _Family:
    """What was tried of one family of machines."""

    name: str
    kept: int  # samples that no formula of parameters excludes
    tried: int  # of those, the ones whose machine was made
    met: int  # of the tried ones, those that meet every constraint
    sound: Sequence[_Made]  # of those, the sound machines, each once


def whole_outline(laid: PointTasks) -> Outline:
    """What a sweep amounts to all of whose points are laid out."""
    simulations = {task.key: point for point, task in zip(laid.points, laid.tasks, strict=True) if task is not None}
    measured = {task.key: point for point, task in zip(laid.points, laid.accuracy, strict=True) if task is not None}
    return Outline(
        points=len(laid.points),
        simulations=len(simulations),
        measurements=len(measured),
        some=list(simulations.values()),
        measured=list(measured.values()),
    )


def outline(description: SweepDescription, root: Path) -> Outline | None:
    """What a sweep amounts to; None where only laying out all of it tells.

    So it is where not one of the tried machines of a family is sound and meets the constraints.
    root: the folder of the sweep's file.  Raises InputError as ``points`` and ``tasks_of``.
    """
    check_size(description)
    variants = all_variants(description, root)
    check_measurable(description, variants)
    families = [_tried(description, name) for name in description.machines]
    if not all(family.sound for family in families):
        return None
    if sum(family.kept * family.met / family.tried for family in families) > MAX_POINTS // len(variants):
        raise too_many(description)
    points = 0.0
    simulations = 0.0
    measurements = 0
    some: list[Point] = []
    measured: list[Point] = []
    for family in families:
        seen = list(variants_for(variants, kind_of(description, family.name)).values())
        each = family.kept * len(seen) / family.tried
        points += each * family.met
        simulations += each * len(family.sound)
        some += _points(itertools.cycle(seen), family)
        found = _measured(description, family, seen)
        measurements += len(found) * sum(not variant.is_table for variant in seen)
        measured += found
    about = any(len(family.sound) < family.tried < family.kept for family in families)
    return Outline(round(points), round(simulations), measurements, some, measured, about)


def _tried(description: SweepDescription, family: str) -> _Family:
    """Make some of a family's machines."""
    kept = _kept(description, family)
    drafted = (sample for sample in _drawn(description, family) if draft(description, family, sample) is not None)
    tried = 0
    met = 0
    sound: dict[str, _Made] = {}
    for sample in itertools.islice(drafted, ALL):
        made = make(description, family, sample)
        tried += 1
        met += made is not None
        machine = None if made is None else made[1]
        if made is not None and machine is not None:
            parameters, _, known = made
            sound.setdefault(repr((machine, description.level_of(parameters))), (parameters, machine, known))
        if tried == len(sound) == TRIED and kept > ALL:
            break
    return _Family(family, kept, tried, met, list(sound.values()))


def _kept(description: SweepDescription, family: str) -> int:
    """How many samples of a family no formula of parameters excludes."""
    entry = description.machines[family]
    if description.sampling.method != "grid":
        return sum(draft(description, family, sample) is not None for sample in samples(description, entry))
    axes = {name: axis_values(axis) for name, axis in _axes(description, entry).items()}
    read = _read(description, entry)
    walked = {name: values if name in read else values[:1] for name, values in axes.items()}
    others = math.prod(len(values) for name, values in axes.items() if name not in read)
    grid = itertools.product(*walked.values())
    return others * sum(draft(description, family, dict(zip(axes, values, strict=True))) is not None for values in grid)


def _axes(description: SweepDescription, entry: MachineEntry) -> dict[str, Axis]:
    return {**description.axes, **entry.axes}


def _read(description: SweepDescription, entry: MachineEntry) -> set[str]:
    """Names that can decide whether a sample is excluded, or has a formula without a value.

    A key that is set to an axis as it is always has one.
    """
    early, _ = split_constraints(description, entry)
    derived = description.derived_of(entry)
    known = {*_axes(description, entry), *derived}
    formulas = [str(value) for value in entry.set.values() if isinstance(value, str) and value not in known]
    texts = (*early, *map(str, derived.values()), *formulas)
    return set().union(*(_names(text) for text in texts))


def _names(text: str) -> frozenset[str]:
    """The names that a text reads; none if it is no formula, but a word."""
    try:
        return expressions.names(text)
    except InputError:
        return frozenset()


def _drawn(description: SweepDescription, family: str) -> Iterator[dict[str, Value]]:
    """Samples of a family, evenly, at most ``DRAWN`` of a grid, each once."""
    entry = description.machines[family]
    if description.sampling.method != "grid":  # drawn as they are
        yield from samples(description, entry)
        return
    axes = {name: axis_values(axis) for name, axis in _axes(description, entry).items()}
    total = math.prod(len(values) for values in axes.values())
    for index in np.random.default_rng(0).choice(total, min(total, DRAWN), replace=False):
        rest = int(index)
        sample: dict[str, Value] = {}
        for name, values in axes.items():
            rest, position = divmod(rest, len(values))
            sample[name] = values[position]
        yield sample


def _points(variants: Iterable[Variant], family: _Family) -> list[Point]:
    """The sound machines, with variant after variant."""
    return [Point(0, variant, family.name, *made) for variant, made in zip(variants, family.sound, strict=False)]


def _measured(
    description: SweepDescription,
    family: _Family,
    seen: Sequence[Variant],
) -> list[Point]:
    """One point of each arithmetic, in which the accuracy of each variant is measured."""
    variant = next((variant for variant in seen if not variant.is_table), None)
    if description.accuracy is None or variant is None:
        return []
    found = {}
    for point in _points(itertools.repeat(variant), family):
        if point.machine is not None:
            found[repr(MeasuredArithmetic.of(point.machine, description.accuracy))] = point
    return list(found.values())
