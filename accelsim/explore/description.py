"""What a sweep file says.

Models, axes, derived parameters, constraints, machines, and what to report.

    models: [models/resnet20-cifar10.dual]
    axes:
      lanes: [64, 256, 1024]
      rows: {from: 4, to: 32, count: 4, scale: log}
      clock_mhz: [400, 800]
    derived: {cols: lanes / rows}
    constraints: [cols >= 4, area_mm2 <= 4]
    machines:
      spatial: {base: spatial-16x16, set: {pe_array.rows: rows, pe_array.cols: cols}}

A key of a machine is set by a formula under ``set``, or by an axis or derived parameter of the
key's own name.  Every name is checked when the file is read, before the first point: a machine key
against the machine's own record, a name in a formula against the axes, the derived parameters and
what is known of a machine before it runs.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from accelsim.errors import InputError
from accelsim.explore import expressions
from accelsim.explore.axes import MAX_VALUES, Axis, Name, Range, Scalar, SweepPart, listed
from accelsim.explore.machines import MACHINE_FACTS, base_machine, machine_keys
from accelsim.faults import nearest, shown, validated
from accelsim.files import SWEEP
from accelsim.names import of_file
from accelsim.settings import read_settings
from accelsim.simulator.network.planning import LEVELS, Level
from accelsim.simulator.result import COUNT_COLUMNS, DRAM_COLUMNS, ENERGY_COLUMNS
from accelsim.workload import MAX_BATCH

LEVEL = "level"  # the axis that sets no key of a machine, but how far its layers run as one network
MAX_SAMPLES = 1_000_000  # combinations of values, before constraints
MAX_POINTS = 100_000  # that constraints leave: each takes some kilobytes
# Columns that say what a point is and what became of it: no parameter can be called so.
POINT_COLUMNS = ("point", "model", "synthetic", "family", "status", "error")
# Columns of a result besides counts and energies.
RESULT_COLUMNS = ("edp_pj_ms", "latency_ms", "power_mw", "utilization")

Share = Annotated[float, Field(ge=0, le=1)]


Threshold = Annotated[float, Field(ge=0, le=3e38)]  # of float32


class ModelEntry(SweepPart):
    """One model, or several made from it; lists multiply.

    A table of layers (``.csv``) is one model, as it is.
    """

    path: str
    """A ``.dual`` file, a table, or the bare name of one of either in ``models/`` or ``workloads/``."""
    winograd_sparsity: tuple[Share, ...] = ()
    """Target shares of zeros among the Winograd-domain filter entries, instead of the file's
    threshold."""
    winograd_threshold: tuple[Threshold, ...] = ()
    """Thresholds of Winograd-domain filter entries, instead of the file's."""
    spatial_sparsity: tuple[Share, ...] = ()
    """Shares of zeros that the weights themselves are pruned to further, smallest first, over the
    whole network."""
    scope: Literal["network", "layer"] = "network"
    """Whether a target share has one threshold for the network, or one a layer.  Default: network."""
    layer_thresholds: dict[
        str, Annotated[tuple[Threshold, ...], Field(min_length=1, max_length=MAX_VALUES), BeforeValidator(listed)]
    ] = Field(default_factory=dict)
    """Thresholds of single layers, by node name, on top of the others; one or several each."""

    @model_validator(mode="after")
    def _check(self) -> "ModelEntry":
        if self.winograd_sparsity and self.winograd_threshold:
            raise ValueError("has both winograd_sparsity and winograd_threshold, expected one of them")
        return self


def _model_entry(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class MachineEntry(SweepPart):
    """A family of machines: a machine file, and formulas for the keys that vary."""

    base: str
    """A machine's file, or its bare name in ``hwconfigs/``."""
    axes: dict[Name, Axis] = Field(default_factory=dict)
    """Axes of this family only."""
    derived: dict[Name, str | int | float] = Field(default_factory=dict)
    """Parameters of this family only, by formula."""
    constraints: tuple[str, ...] = ()
    """Formulas that every machine of this family fulfils."""
    set: dict[str, Scalar] = Field(default_factory=dict)
    """Dotted machine key -> value or formula."""


class Sampling(SweepPart):
    """Which combinations of the axes' values there are."""

    method: Literal["grid", "random", "latin_hypercube"] = "grid"
    """Every combination, or draws.  Default: grid."""
    points: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] | None = None
    """Draws for each family and model."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the draws.  Default: 0."""

    @model_validator(mode="after")
    def _check(self) -> "Sampling":
        if (self.method == "grid") != (self.points is None):
            raise ValueError(f"method {self.method}, expected points with random and latin_hypercube, and only there")
        return self


class Accuracy(SweepPart):
    """Measure each model variant's accuracy on real images, as each kind of machine computes it."""

    images: str
    """An ``.npz`` file of images."""
    count: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Only the first so many images.  Default: all."""
    word_widths: bool = True
    """Whether in the whole numbers of each machine's ``arithmetic``, or in float32.  Default: yes."""


class Question(SweepPart):
    """``cheapest`` machine: the least of a column among those within the limits (column -> largest value)."""

    minimize: str
    """The column of the table that is to be least (``-column``: to be largest)."""
    limits: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Column -> largest value."""

    @property
    def column(self) -> str:
        """What is to be least, or largest."""
        return self.minimize.removeprefix("-")


class ReportOptions(SweepPart):
    """What the report shows."""

    objectives: Annotated[tuple[str, ...], Field(min_length=1)] = ("cycles", "energy_pj", "area_mm2")
    """Columns of the Pareto front, all to be small (``-column``: to be large)."""
    cheapest: tuple[Question, ...] = ()
    """Questions for the least of a column within limits."""
    heat_map: tuple[str, str] | None = None
    """Two axes of a map of the first objective."""
    break_even: str = "bandwidth_gbs"
    """The column along which the break-even density of each layer is shown."""
    least_top1: Annotated[float, Field(ge=0, le=100)] | None = None
    """Top-1 in percent below which a point is on no front and answers nothing.  Default: 2 below
    the model's best."""

    @model_validator(mode="after")
    def _distinct(self) -> "ReportOptions":
        columns = [objective.removeprefix("-") for objective in self.objectives]
        if twice := next((column for column in columns if columns.count(column) > 1), None):
            raise ValueError(f"objectives: {twice!r} is there twice, expected each column once")
        if self.heat_map is not None and self.heat_map[0] == self.heat_map[1]:
            raise ValueError(f"heat_map: {self.heat_map[0]!r} is there twice, expected two columns")
        return self


class SweepDescription(SweepPart):
    """A whole sweep file."""

    name: str = "sweep"
    """What the report calls the sweep.  Default: the name of its file."""
    description: str = ""
    """A sentence for people, on top of the report.  Default: none."""
    models: Annotated[tuple[Annotated[ModelEntry, BeforeValidator(_model_entry)], ...], Field(min_length=1)]
    """Models and tables of layers that every machine runs; a path alone stands for ``{path: ...}``."""
    machines: Annotated[dict[Name, MachineEntry], Field(min_length=1)]
    """Families of machines, by a name of their own."""
    axes: dict[Name, Axis] = Field(default_factory=dict)
    """Parameters of all families: a list of values, or a range.  One named like a machine's key
    sets that key."""
    derived: dict[Name, str | int | float] = Field(default_factory=dict)
    """Parameters that follow from others, by formula."""
    constraints: tuple[str, ...] = ()
    """Formulas that every machine fulfils, of parameters and of what is known of a machine (lanes,
    area_mm2, ...)."""
    sampling: Sampling = Sampling()
    """Which points of the space are visited.  Default: all."""
    engine: Literal["fast", "event"] = "fast"
    """What counts the cycles; both count the same.  Default: fast."""
    batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1
    """Images that a run works on, 1 to 4,096.  Default: 1."""
    level: Level = "resident"
    """How far layers run as one network (``simulator.network.planning``), unless an axis of this
    name says."""
    accuracy: Accuracy | None = None
    """Images on which each model variant is measured.  Default: nothing is measured."""
    report: ReportOptions = ReportOptions()
    """What the report asks and shows."""

    @model_validator(mode="after")
    def _check(self) -> "SweepDescription":
        faults = []
        for family, entry in self.machines.items():
            faults += [f"machines.{family}.{fault}" for fault in _family_faults(self, entry)]
        faults += _report_faults(self)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def digest(self) -> str:
        """Of all that the file says and that decides the points: not of names, and not of the report."""
        said = self.model_dump_json(exclude={"name", "description", "report"}, exclude_unset=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def level_of(self, parameters: Mapping[str, Any]) -> str:
        """How far the layers of a point run as one network.

        What its axis ``level`` says, or the sweep's own.
        """
        return str(parameters.get(LEVEL, self.level))

    def derived_of(self, entry: MachineEntry) -> dict[str, str | int | float]:
        """Derived parameters of a family, in the order they are computed."""
        return {**self.derived, **entry.derived}

    def constraints_of(self, entry: MachineEntry) -> tuple[str, ...]:
        """Constraints on a family."""
        return (*self.constraints, *entry.constraints)


def _family_faults(sweep: SweepDescription, entry: MachineEntry) -> list[str]:
    """What is wrong with one family's names."""
    try:
        base = base_machine(entry.base)
    except InputError as error:
        return [f"base: {error}"]
    keys = machine_keys(type(base))
    faults = [f"set: {base.kind} machines have no key {k!r}{nearest(k, keys)}" for k in entry.set if k not in keys]
    axes = {**sweep.axes, **entry.axes}
    named = {*axes, *sweep.derived_of(entry)}
    faults += [
        f"set.{k}: is set by the axis or parameter of its name, too, expected one" for k in entry.set if k in named
    ]
    faults += [f"axes: {n!r} is an axis of the sweep already" for n in entry.axes if n in sweep.axes]
    taken = {*POINT_COLUMNS, *COUNT_COLUMNS, *ENERGY_COLUMNS, *DRAM_COLUMNS, *RESULT_COLUMNS}
    faults += [f"axes.{n}: is a column of the results, expected another name" for n in sorted(named & taken)]
    faults += [
        f"axes.{n}: {shown(value)} is a text, expected a number"
        for n, axis in axes.items()
        for value in (axis if isinstance(axis, tuple) and not keys.get(n, True) else ())
        if isinstance(value, str)
    ]
    if sweep.sampling.method == "grid":
        faults += [
            f"axes.{n}: a range without step or count needs sampling random or latin_hypercube"
            for n, axis in axes.items()
            if isinstance(axis, Range) and axis.continuous
        ]
    known = {*axes, "kind"}
    derived = sweep.derived_of(entry)
    for n, formula in derived.items():
        faults += [f"derived.{n}: {fault}" for fault in _formula_faults(str(formula), known)]
        if n in known:
            faults.append(f"derived.{n}: is the name of an axis or of another parameter")
        known.add(n)
    for key, value in entry.set.items():
        if isinstance(value, str) and not (keys.get(key) and is_word(value, known)):
            faults += [f"set.{key}: {fault}" for fault in _formula_faults(value, known)]
    constraints = sweep.constraints_of(entry)
    for constraint in constraints:
        faults += [f"constraints: {fault}" for fault in _formula_faults(constraint, known | MACHINE_FACTS)]
    texts = [*entry.set.values(), *derived.values(), *constraints]
    read = known | MACHINE_FACTS
    used = set(keys).union(*(expressions.names(str(text)) for text in texts if not is_word(str(text), read)))
    faults += _level_faults(axes.get(LEVEL))
    for n in sorted({*axes, *derived} - used - {LEVEL}):
        faults.append(f"axes.{n}: sets no key and no formula uses it{nearest(n, {*keys, *known} - {n})}")
    return faults


def _level_faults(axis: Axis | None) -> list[str]:
    """What is wrong with the axis of that name."""
    if isinstance(axis, Range):
        return [f"axes.{LEVEL}: a range, expected some of {', '.join(LEVELS)}"]
    return [f"axes.{LEVEL}: {value!r}{nearest(str(value), LEVELS)}" for value in axis or () if value not in LEVELS]


def _report_faults(sweep: SweepDescription) -> list[str]:
    """Columns that the report asks for and no point will have."""
    parameters = {*sweep.axes, *sweep.derived}
    for entry in sweep.machines.values():
        parameters |= {*entry.axes, *entry.derived}
    results = {*COUNT_COLUMNS, *ENERGY_COLUMNS, *DRAM_COLUMNS, *RESULT_COLUMNS, *MACHINE_FACTS} - {"kind"}
    known = parameters | results | {"spatial_sparsity", "winograd_sparsity", "winograd_threshold"}
    known |= {f"threshold.{name}" for entry in sweep.models for name in entry.layer_thresholds}
    if sweep.accuracy is not None:
        known |= {"top1", "images", "file_bytes", "spatial_density", "winograd_density"}
    report = sweep.report
    asked = [("objectives", objective.removeprefix("-")) for objective in report.objectives]
    asked += [("cheapest", column) for q in report.cheapest for column in (q.column, *q.limits)]
    asked += [("heat_map", column) for column in report.heat_map or ()]
    asked += [("break_even", report.break_even)]
    return [
        f"report.{key}: no column {column!r}{nearest(column, known)}" for key, column in asked if column not in known
    ]


def is_word(text: str, known: Iterable[str]) -> bool:
    """Whether a text is meant as it stands (a DRAM type) and not as a formula of known parameters."""
    try:
        return not expressions.names(text) <= set(known)
    except InputError:
        return True


def _formula_faults(text: str, known: set[str]) -> list[str]:
    try:
        unknown = sorted(expressions.names(text) - known)
    except InputError as error:
        return [str(error)]
    return [f"{text!r}: no parameter {name!r}{nearest(name, known)}" for name in unknown]


def read_description(path: Path) -> SweepDescription:
    """Read a sweep file.

    Raises InputError naming the file and every fault in it, with the nearest valid names.
    """
    data = read_settings(path, SWEEP)
    data.setdefault("name", of_file(path))
    return validated(path, SweepDescription, data)
