"""``compare`` and ``simulate``: one model on machines, and what of it is printed, drawn and written."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import accelsim
from accelsim.commands.machines import several
from accelsim.commands.options import (
    Json,
    Machines,
    OneMachine,
    Overrides,
    Workload,
    check_apart,
    check_table,
    is_decimal,
)
from accelsim.commands.words import print_json, say, typed
from accelsim.errors import InputError
from accelsim.files import check_output, write_text
from accelsim.links import same_place
from accelsim.results_folder import COMPARISON, check_kind

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.dual.model import DualModel
    from accelsim.simulator.machines.machine import Machine
    from accelsim.workload import LayerTable

Engine = Annotated[
    str, typer.Option(metavar="event|fast", help="event: discrete events; fast: the same cycles, sooner.")
]
Level = Annotated[
    str,
    typer.Option(
        metavar="layers|fused|resident|depth-first",
        help="How far layers run as one network: not at all; additions and poolings ride on outputs; feature maps stay "
        "on chip, too, and layers overlap; in stripes of rows where maps do not fit.",
    ),
]
Batch = Annotated[int, typer.Option(metavar="N", help="Images that a run works on.")]
Sensitivity = Annotated[bool, typer.Option("--sensitivity", help="Show the energies under each energy table, too.")]
Band = Annotated[bool, typer.Option("--band", help="Show the ratios under each assumption that is not measured, too.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write CSV, plots and report.html.")]
Trace = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help="Write a timeline of the event engine for ui.perfetto.dev.")
]

Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="T", help="On a Winograd machine: its filters' entries up to T are zero, not as the file says."
    ),
]
Sparsity = Annotated[
    float | None, typer.Option(metavar="S", help="Instead of a threshold, this share of zeros, 0 to 1.")
]
Scope = Annotated[
    str,
    typer.Option(
        metavar="network|layer", help="Whether --sparsity is reached by one threshold for the network, or one a layer."
    ),
]
LayerThreshold = Annotated[
    list[str] | None,
    typer.Option(metavar="LAYER=T", help="The threshold of one layer, instead of what the others say.  Repeatable."),
]
Prune = Annotated[
    float | None,
    typer.Option(metavar="S", help="Set the smallest weights to zero until this share of all is; nothing is trained."),
]
Table = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a row a layer, as the ending says: .csv, .parquet or .arrow."),
]


@dataclass(frozen=True)
class RunOptions:
    """How a model runs on machines."""

    engine: Engine = "event"
    batch: Batch = 1
    level: Level = "resident"
    overrides: Overrides = None


@dataclass(frozen=True)
class ComparisonOptions:
    """What of a comparison is shown, and how."""

    table: Table = None
    sensitivity: Sensitivity = False
    band: Band = False
    json: Json = False


@dataclass(frozen=True)
class SimulationOptions:
    """What of one machine's run is shown, and how."""

    trace: Trace = None
    table: Table = None
    sensitivity: Sensitivity = False
    json: Json = False


@dataclass(frozen=True)
class Zeros:
    """How sparse a model is deployed, in the Winograd domain and before."""

    threshold: Threshold = None
    sparsity: Sparsity = None
    scope: Scope = "network"
    layer_threshold: LayerThreshold = None
    prune: Prune = None

    @property
    def words(self) -> tuple[str, ...]:
        """What of it is asked for, as it is said."""
        pruned = () if self.prune is None else (f"prune {self.prune:g}",)
        return (*pruned, *self._in_the_winograd_domain)

    @property
    def _in_the_winograd_domain(self) -> tuple[str, ...]:
        given = (("threshold", self.threshold), ("sparsity", self.sparsity))
        shares = [f"{name} {value:g}" for name, value in given if value is not None]
        scope = [f"scope {self.scope}"] if self.scope != "network" else []
        return (*shares, *scope, *(f"layer-threshold {text}" for text in self.layer_threshold or ()))

    def of(self, model: "DualModel | LayerTable", machine: "Machine") -> "DualModel | LayerTable":
        """The model as the machine deploys it.  Raises InputError if either knows no such zeros."""
        from accelsim.dual.deploy import pruned_further
        from accelsim.workload import LayerTable

        if not self.words:
            return model
        if isinstance(model, LayerTable):
            raise InputError(f"--{self.words[0]}: {model.name} is a table of layers, expected a .dual file")
        if self.prune is not None:
            try:
                model = pruned_further(model, self.prune)
            except ValueError as error:
                raise InputError(f"--prune {self.prune:g}: {error}") from None
        if not self._in_the_winograd_domain:
            return model
        if machine.kind != "winograd":
            word = self._in_the_winograd_domain[0]
            raise InputError(f"--{word}: {machine.name} is no machine with Winograd transforms")
        return self._deployed(model, machine.datapath.m)

    def _deployed(self, model: "DualModel", m: int | None) -> "DualModel":
        """The model with these zeros at a tile size."""
        from accelsim.dual.deploy import at_other_zeros

        if self.scope not in ("network", "layer"):
            raise InputError(f"--scope {self.scope!r}, expected network or layer")
        if self.scope == "layer" and self.sparsity is None:
            raise InputError("--scope layer without --sparsity, whose thresholds it is of")
        layers = _layer_thresholds(self.layer_threshold or ())
        try:
            return at_other_zeros(
                model,
                m,
                threshold=self.threshold,
                sparsity=self.sparsity,
                scope="layer" if self.scope == "layer" else "network",
                layers=layers,
            )
        except ValueError as error:
            raise InputError(f"--{self._in_the_winograd_domain[-1]}: {error}") from None


def _layer_thresholds(texts: Sequence[str]) -> dict[str, float]:
    """Thresholds by layer.  Raises InputError for a text that is not LAYER=T, or a layer that is there twice."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        if not name or not is_decimal(value):
            raise InputError(f"--layer-threshold {text[:80]!r}, expected LAYER=T, such as layer1.0.conv1=0.05")
        if name in found:
            raise InputError(f"--layer-threshold {text}: the layer is there twice, expected each once")
        found[name] = float(value)
    return found


def compare(
    context: typer.Context,
    model: Workload,
    machines: Machines,
    *,
    output: Output = None,
    how: RunOptions,
    show: ComparisonOptions,
) -> None:
    """Run one model on several machines and set the results side by side."""
    from accelsim.report.console import console
    from accelsim.report.terminal import show_band, show_comparison, show_favours, show_sensitivity
    from accelsim.simulator.result import ratios_of

    check_table(show.table, model, *machines)
    if output is not None:
        check_kind(output, COMPARISON)
    if show.band and len(machines) < 2:
        raise InputError(f"--band with {len(machines)} machine, expected at least two for a verdict")
    loaded = accelsim.load_workload(model)
    descriptions = several(context, machines, how.overrides)
    changes = how.overrides or ()
    results = accelsim.compare(loaded, descriptions, engine=how.engine, batch=how.batch, level=how.level)
    energies = _energies(loaded, descriptions, how) if show.sensitivity else None
    cases = accelsim.band(loaded, descriptions, batch=how.batch, level=how.level) if show.band else None
    files: dict[str, bytes] = {}
    if output is not None:
        from accelsim.report.band import CSV_NAME, band_files
        from accelsim.report.tables import gather
        from accelsim.report.write import report_files, write_comparison

        gathered = gather(loaded, descriptions, results, how.batch, changes, typed(sys.argv))
        check_apart(show.table, output, [COMPARISON.file, CSV_NAME, *gathered.totals["layers_csv"]])
        files = report_files(gathered) | ({} if cases is None else band_files(cases))
    if show.table is not None:
        accelsim.write_table(results, show.table)
    if output is not None:
        write_comparison(output, files)
    if show.json:
        tables = _sensitivity_table(energies)
        if cases is not None:
            tables["band"] = cases.to_dict(orient="records")
            tables["verdicts"] = [verdict.to_dict() for verdict in accelsim.verdicts(cases)]
        print_json({"results": [r.to_json() for r in results], "ratios": ratios_of(results), **tables})
    else:
        show_comparison(console(), loaded, results, how.batch, changes)
        show_favours(console(), descriptions)
        if energies is not None:
            show_sensitivity(console(), energies)
        if cases is not None:
            show_band(console(), cases)
    if output is not None:
        say(f"report: {output / 'report.html'}")


def simulate(
    context: typer.Context,
    model: Workload,
    machine: OneMachine,
    how: RunOptions,
    zeros: Zeros,
    show: SimulationOptions,
) -> None:
    """Run one model on one machine, layer by layer."""
    from accelsim.report.console import console
    from accelsim.report.terminal import show_favours, show_result, show_sensitivity

    check_table(show.table, model, machine)
    if show.trace is not None:
        check_output(show.trace, model, machine)
        if show.table is not None and same_place(show.table, show.trace):
            raise InputError(f"--table and --trace are both {show.trace}, expected two files")
    (description,) = several(context, [machine], how.overrides)
    loaded = zeros.of(accelsim.load_workload(model), description)
    if show.trace is not None and how.engine != "event":
        raise InputError(f"--trace with engine {how.engine!r}, expected engine 'event'")
    result = accelsim.simulate(loaded, description, engine=how.engine, batch=how.batch, level=how.level)
    energies = _energies(loaded, [description], how) if show.sensitivity else None
    if show.trace is not None:
        from accelsim.report.plain import to_json
        from accelsim.report.trace import trace as timeline

        write_text(show.trace, to_json(timeline(loaded, description, how.batch, how.level)))
    if show.table is not None:
        accelsim.write_table(result, show.table)
    if show.json:
        print_json(result.to_json() | _sensitivity_table(energies))
    else:
        show_result(console(), loaded, result, how.batch, (*(how.overrides or ()), *zeros.words))
        show_favours(console(), [description])
        if energies is not None:
            show_sensitivity(console(), energies)


def _energies(
    model: "DualModel | LayerTable",
    machines: "Sequence[Machine]",
    how: RunOptions,
) -> "pd.DataFrame":
    """Energies of the machines under each energy table."""
    return accelsim.sensitivity(model, machines, batch=how.batch, level=how.level)


def _sensitivity_table(energies: "pd.DataFrame | None") -> dict[str, Any]:
    """What a JSON object gains by the energies, where they were asked for."""
    return {} if energies is None else {"sensitivity": energies.to_dict(orient="records")}
