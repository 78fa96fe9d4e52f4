"""From a sweep's description to its points, always the same and in the same order.

A point is one model variant on one machine.  Points that a constraint excludes do not exist; a
machine whose values its own record refuses is a point that fails.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim import shipped
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.explore import expressions
from accelsim.explore.axes import Axis, Range, Scalar
from accelsim.explore.description import (
    MAX_POINTS,
    MAX_SAMPLES,
    MachineEntry,
    ModelEntry,
    SweepDescription,
    is_word,
)
from accelsim.explore.expressions import Value
from accelsim.explore.machines import base_machine, facts, machine_keys, make_machine
from accelsim.faults import nearest, shown
from accelsim.files import MODEL, read_bytes
from accelsim.workload import find_table

SCOPE = "winograd_scope"  # the column of it, where a share has a threshold a layer
LAYER_THRESHOLD = "threshold."  # and the layer's name: the column of a threshold of its own


@dataclass(frozen=True)
class Variant:
    """A model file, and what is changed of it (``ModelEntry``)."""

    path: str  # of the file
    sha256: str  # of the file
    spatial_sparsity: float | None = None  # share of zeros that the weights are pruned to
    winograd_sparsity: float | None = None  # share of zeros of the Winograd-domain entries
    winograd_threshold: float | None = None  # of Winograd-domain entries
    scope: str = "network"  # of the threshold that a share leads to
    layer_thresholds: tuple[tuple[str, float], ...] = ()  # of single layers, by node name

    def seen_by(self, kind: str) -> "Variant":
        """The variant without what makes no difference to a kind of machine."""
        if kind == "winograd":
            return self
        return replace(self, winograd_sparsity=None, winograd_threshold=None, scope="network", layer_thresholds=())

    @staticmethod
    def from_plain(content: Mapping[str, Any]) -> "Variant":
        """The variant that ``dataclasses.asdict`` and JSON made plain."""
        pairs = tuple((str(name), float(value)) for name, value in content["layer_thresholds"])
        return Variant(**{**content, "layer_thresholds": pairs})

    @property
    def is_table(self) -> bool:
        """Whether it is a table of layers, whose weights are drawn from a seed.

        Its results are synthetic.
        """
        return Path(self.path).suffix == ".csv"

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides what the variant is, which its place on disk does not."""
        return {key: value for key, value in asdict(self).items() if key != "path"}

    @property
    def columns(self) -> dict[str, Scalar]:
        """The variant as columns of a table."""
        shares = ("spatial_sparsity", "winograd_sparsity", "winograd_threshold")
        given: dict[str, Scalar] = {key: value for key in shares if (value := getattr(self, key)) is not None}
        if self.scope == "layer":
            given[SCOPE] = self.scope
        own = {f"{LAYER_THRESHOLD}{name}": threshold for name, threshold in self.layer_thresholds}
        return {"model": Path(self.path).stem, **({"synthetic": True} if self.is_table else {}), **given, **own}


@dataclass(frozen=True)
class Point:
    """One model variant on one machine."""

    index: int  # of the sweep's points
    variant: Variant
    family: str  # its name in the sweep file
    parameters: Mapping[str, Value]  # axes and derived
    # ``model_dump`` of the description, None where ``error`` says why not
    machine: Mapping[str, Any] | None
    facts: Mapping[str, Value]  # what is known of the machine before a run
    error: str = ""

    @staticmethod
    def from_plain(content: Mapping[str, Any]) -> "Point":
        """The point that ``dataclasses.asdict`` and JSON made plain."""
        return Point(**{**content, "variant": Variant.from_plain(content["variant"])})


def model_variants(entry: ModelEntry, root: Path) -> list[Variant]:
    """The variants of one entry; a relative path is looked up from the working folder, then beside the sweep file.

    A table of layers, or the bare name of one in ``workloads/``, is one variant.

    Raises InputError if the file cannot be read.
    """
    given = Path(entry.path)
    by_name = shipped.find("models", entry.path) or find_table(entry.path) or given
    # the parent: of sweeps that come with the package
    places = (given, root / given, root.parent / given, by_name)
    path = next((p for p in places if p.is_file()), given)
    sha256 = hashlib.sha256(read_bytes(path, MODEL)).hexdigest()
    pruning = {"spatial_sparsity", "winograd_sparsity", "winograd_threshold", "layer_thresholds"}
    if path.suffix == ".csv" and (asked := sorted(name for name in pruning if getattr(entry, name))):
        raise InputError(f"models: {entry.path}: {asked[0]} of a table, which has no weights, expected a .dual file")
    _check_layers(entry, path)
    original = Variant(str(path), sha256, scope=entry.scope)
    # `scope` says nothing where no target sparsity is given; one meaning, one key.
    if not entry.winograd_sparsity:
        original = replace(original, scope="network")
    names = entry.layer_thresholds
    lists = entry.layer_thresholds.values()
    layers = [tuple(zip(names, values, strict=True)) for values in itertools.product(*lists)]
    return [
        replace(original, spatial_sparsity=s, winograd_sparsity=w, winograd_threshold=t, layer_thresholds=own)
        for s in entry.spatial_sparsity or (None,)
        for w in entry.winograd_sparsity or (None,)
        for t in entry.winograd_threshold or (None,)
        for own in layers
    ]


def _check_layers(entry: ModelEntry, path: Path) -> None:
    """Raise InputError, before a point is computed, if the model has not a layer that the entry names."""
    if not entry.layer_thresholds:
        return
    known = read_dual(path).winograd_m
    if unknown := [name for name in entry.layer_thresholds if name not in known]:
        close = nearest(unknown[0], known)
        fault = f"{shown(unknown[0])} is no convolution that Winograd can serve{close}"
        raise InputError(f"models: {entry.path}: layer_thresholds: {fault}")


def axis_values(axis: Axis) -> tuple[Scalar, ...]:
    """All values of an axis that has a finite number of them."""
    return axis.values if isinstance(axis, Range) else axis


def samples(description: SweepDescription, entry: MachineEntry) -> Iterator[dict[str, Value]]:
    """Values of the axes of one family, sample by sample.

    Sampled axes of the whole sweep take the same values in each family, sample by sample, so that
    the kinds of machine are compared at equal lanes, memory and bandwidth.
    """
    sampling = description.sampling
    if sampling.method == "grid":
        axes = {**description.axes, **entry.axes}
        for values in itertools.product(*(axis_values(axis) for axis in axes.values())):
            yield dict(zip(axes, values, strict=True))
        return
    points = sampling.points or 0
    shares = [
        _shares(len(axes), points, sampling.method, [sampling.seed, *entropy])
        for axes, entropy in ((description.axes, []), (entry.axes, list(entry.base.encode())))
    ]
    for common, own in zip(*shares, strict=True):
        drawn = (*common, *own)
        axes = {**description.axes, **entry.axes}
        yield {name: _pick(axis, share) for (name, axis), share in zip(axes.items(), drawn, strict=True)}


def _shares(dimensions: int, points: int, method: str, entropy: list[int]) -> NDArray[np.float64]:
    """Points in the unit cube: (points, dimensions).

    A Latin hypercube cuts each dimension into as many slices as there are points and draws once
    from each slice.
    """
    rng = np.random.default_rng(entropy)
    shares = rng.random((points, dimensions))
    if method == "latin_hypercube":
        slices = np.tile(np.arange(points)[:, None], (1, dimensions))
        shares = (rng.permuted(slices, axis=0) + shares) / points
    return shares


def _pick(axis: Axis, share: float) -> Value:
    if isinstance(axis, Range) and axis.continuous:
        return axis.at(share)
    values = axis_values(axis)
    return values[min(int(share * len(values)), len(values) - 1)]


def size(description: SweepDescription) -> int:
    """Samples of all families and models before constraints.  Cheap, however many they are."""
    variants = 0
    for model in description.models:
        lists = (model.spatial_sparsity, model.winograd_sparsity, model.winograd_threshold)
        variants += math.prod(max(1, len(values)) for values in (*lists, *model.layer_thresholds.values()))
    machines = 0
    for entry in description.machines.values():
        if description.sampling.method == "grid":
            axes = (*description.axes.values(), *entry.axes.values())
            machines += math.prod(len(axis_values(axis)) for axis in axes)
        else:
            machines += description.sampling.points or 0
    return variants * machines


def machine_points(description: SweepDescription) -> Iterator[tuple[str, dict[str, Value], dict[str, Any] | None, Any]]:
    """Every machine that no constraint excludes.

    Family, parameters, ``model_dump`` (or None), facts (or the error).
    """
    for family, entry in description.machines.items():
        for sample in samples(description, entry):
            made = make(description, family, sample)
            if made is not None:
                yield family, *made


def make(
    description: SweepDescription, family: str, sample: Mapping[str, Value]
) -> tuple[dict[str, Value], dict[str, Any] | None, Any] | None:
    """The machine of one sample: parameters, ``model_dump`` (or None), facts (or the error).

    None if it is excluded.
    """
    drafted = draft(description, family, sample)
    if drafted is None:
        return None
    if drafted.error:
        return drafted.parameters, None, drafted.error
    entry = description.machines[family]
    base = base_machine(entry.base)
    values = {**drafted.parameters, "kind": base.kind}
    try:
        machine = make_machine(base, family, drafted.settings)
        known = facts(machine)
        _, late = split_constraints(description, entry)
        if not all(_holds(c, {**known, **values}) for c in late):
            return None
    except InputError as error:
        return drafted.parameters, None, str(error)
    return drafted.parameters, machine.model_dump(mode="json"), known


@dataclass(frozen=True)
class PointDraft:
    """A sample before its machine is made."""

    parameters: dict[str, Value]
    settings: Mapping[str, Value]  # of its base machine, by dotted key
    error: str = ""  # why it is no machine, if a formula says so


def draft(description: SweepDescription, family: str, sample: Mapping[str, Value]) -> PointDraft | None:
    """A sample as its formulas have it; None if a constraint that reads parameters alone excludes it."""
    entry = description.machines[family]
    parameters: dict[str, Value] = {name: expressions.whole(value) for name, value in sample.items()}
    values = {**parameters, "kind": base_machine(entry.base).kind}
    try:
        for name, formula in description.derived_of(entry).items():
            values[name] = parameters[name] = expressions.evaluate(str(formula), values)
        settings = settings_of(entry, parameters)
    except InputError as error:
        return PointDraft(parameters, {}, f"{family}: {error}")
    early, _ = split_constraints(description, entry)
    try:
        if not all(_holds(c, values) for c in early):
            return None
    except InputError as error:
        return PointDraft(parameters, {}, str(error))
    return PointDraft(parameters, settings)


def split_constraints(description: SweepDescription, entry: MachineEntry) -> tuple[list[str], list[str]]:
    """The constraints on a family that need no machine, and those that do.

    The former come first: many samples are no machine at all (16 lanes in 32 rows).
    """
    known = {*description.axes, *entry.axes, *description.derived_of(entry), "kind"}
    constraints = description.constraints_of(entry)
    early = [c for c in constraints if expressions.names(c) <= known]
    return early, [c for c in constraints if c not in early]


def _holds(constraint: str, values: Mapping[str, Value]) -> bool:
    """Whether a constraint holds.

    Raises InputError if it has no value, or one that is neither yes nor no.
    """
    found = expressions.evaluate(constraint, values)
    if not isinstance(found, bool):
        raise InputError(f"constraints: {constraint!r} gives {found!r}, expected a comparison")
    return found


def settings_of(entry: MachineEntry, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """What a point sets of its base machine, by dotted key.

    Raises InputError if a formula has no value.
    """
    base = base_machine(entry.base)
    keys = machine_keys(type(base))
    values = {**parameters, "kind": base.kind}
    settings: dict[str, Value] = {key: value for key, value in parameters.items() if key in keys}
    for key, value in entry.set.items():
        word = not isinstance(value, str) or (keys[key] and is_word(value, values))
        settings[key] = value if word else expressions.evaluate(str(value), values)
    return settings


def points(description: SweepDescription, root: Path) -> list[Point]:
    """All points in order: model by model, family by family.

    Raises InputError if there are none or too many, a model is missing, or not one machine is
    sound.
    """
    check_size(description)
    variants = all_variants(description, root)
    most = MAX_POINTS // max(1, len(variants))
    machines = list(itertools.islice(machine_points(description), most + 1))
    if len(machines) > most:
        raise too_many(description)
    if not machines:
        raise InputError(f"{description.name}: no point meets the constraints")
    for family in description.machines:
        mine = [m for m in machines if m[0] == family]
        if mine and all(m[2] is None for m in mine):
            raise InputError(f"machines.{mine[0][3]} (and no other point of this family is sound)")
    seen = {family: variants_for(variants, kind_of(description, family)) for family in description.machines}
    made = itertools.product(range(len(variants)), machines)
    chosen = [(seen_as, *machine) for i, machine in made if (seen_as := seen[machine[0]].get(i)) is not None]
    return [point_of(i, *parts) for i, parts in enumerate(chosen)]


def check_size(description: SweepDescription) -> None:
    """Raise InputError if there are too many samples, or points that no constraint could make fewer."""
    if (count := size(description)) > MAX_SAMPLES:
        raise InputError(f"{description.name}: {count} samples, expected at most {MAX_SAMPLES}")
    if count > MAX_POINTS and not any(map(description.constraints_of, description.machines.values())):
        raise InputError(f"{description.name}: {count} points, expected at most {MAX_POINTS}")


def too_many(description: SweepDescription) -> InputError:
    """What to raise where constraints leave too many points."""
    return InputError(f"{description.name}: over {MAX_POINTS} points, expected fewer: constraints leave out others")


def kind_of(description: SweepDescription, family: str) -> str:
    """The kind of a family's machines."""
    return base_machine(description.machines[family].base).kind


def variants_for(variants: Sequence[Variant], kind: str) -> dict[int, Variant]:
    """The variants as a kind of machine sees them, each once, by the position of the first that looks so."""
    seen: dict[Variant, int] = {}
    for i, variant in enumerate(variants):
        seen.setdefault(variant.seen_by(kind), i)
    return {i: variant for variant, i in seen.items()}


def all_variants(description: SweepDescription, root: Path) -> list[Variant]:
    """The variants of all models, in order.  Raises InputError if two files are called the same."""
    variants = [variant for entry in description.models for variant in model_variants(entry, root)]
    paths: dict[str, str] = {}
    for variant in variants:
        name = Path(variant.path).stem
        if (other := paths.setdefault(name, variant.path)) != variant.path:
            raise InputError(f"models: {other} and {variant.path} are both called {name}, expected names that differ")
    return variants


def point_of(
    index: int,
    variant: Variant,
    family: str,
    parameters: Mapping[str, Value],
    machine: Mapping[str, Any] | None,
    known: Any,
) -> Point:
    """A point from a variant and what ``make`` says of its machine."""
    if machine is None:
        return Point(index, variant, family, parameters, None, {}, str(known))
    return Point(index, variant, family, parameters, machine, known)


def content_key(*parts: Any) -> str:
    """SHA-256 of plain data, whatever order its mappings are in."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
