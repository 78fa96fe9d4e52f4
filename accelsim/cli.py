"""The command line: each command parses, calls the face, and prints.  The names and flags are a contract.

Exit status: 0 done, 1 a check failed, 2 bad input (one line ``error: ...`` on stderr, nothing half-written), 130
Ctrl-C.
Results go to stdout, everything else to stderr; ``--json`` puts one JSON object there and nothing else.

A new command is a function with ``@app.command()`` that imports what it needs inside, so that ``--help`` and a mistyped
file name answer at once.  It raises InputError for bad input and leaves printing the error to ``main``.
"""

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import accelsim
from accelsim import shipped
from accelsim.errors import InputError, NumericalError
from accelsim.files import write_text
from accelsim.names import one_line, visible

if TYPE_CHECKING:
    from accelsim.simulator.machines import Families
    from accelsim.simulator.machines.machine import Machine

app = typer.Typer(
    name="accelsim",
    help="One compressed CNN on simulated spatial-domain and Winograd-domain accelerators.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _starts(begin: str, *rooms: shipped.Room) -> list[str]:
    """Bare names that a shell completes."""
    return [name for room in rooms for name in shipped.known(room) if name.startswith(begin)]


def _models(incomplete: str) -> list[str]:
    return _starts(incomplete, "models")


def _workloads(incomplete: str) -> list[str]:
    return _starts(incomplete, "models", "workloads")


def _machines(incomplete: str) -> list[str]:
    return _starts(incomplete, "hwconfigs")


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A compressed model: a .dual file, or a bare name that `accelsim models` lists.",
        show_default=False,
        autocompletion=_models,
    ),
]
Workload = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A compressed model (.dual); or a table of layers without weights: NETWORK.csv, a SCALE-Sim topology.  "
        "Or a bare name that `accelsim models` lists.",
        show_default=False,
        autocompletion=_workloads,
    ),
]
OneMachine = Annotated[
    str,
    typer.Argument(
        metavar="MACHINE",
        help="A YAML file, or a bare name that `accelsim machines` lists.",
        autocompletion=_machines,
    ),
]
Machines = Annotated[
    list[str],
    typer.Argument(
        metavar="MACHINE...",
        help="YAML files, or bare names that `accelsim machines` lists.",
        autocompletion=_machines,
    ),
]
Engine = Annotated[
    str, typer.Option(metavar="event|fast", help="event: discrete events; fast: the same cycles, sooner.")
]
Level = Annotated[
    str,
    typer.Option(
        metavar="layers|fused|resident",
        help="How far layers run as one network: not at all; additions and poolings ride on outputs; feature maps stay "
        "on chip, too, and layers overlap.",
    ),
]
Batch = Annotated[int, typer.Option(metavar="N", help="Images that a run works on.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[MACHINE:]KEY=VALUE",
        help="Change all machines, such as pe_array.rows=32, or the named one alone.  Repeatable.",
    ),
]
InputShape = Annotated[
    str | None, typer.Option(metavar="C,H,W", help="The input's size, where an ONNX file leaves it open.")
]
KeepUnknown = Annotated[
    bool, typer.Option("--keep-unknown", help="Cost operators that are not known as traffic, and say so.")
]
Mean = Annotated[str | None, typer.Option(metavar="M,M,M", help="Means that are taken from pixels, RGB or one.")]
Std = Annotated[str | None, typer.Option(metavar="S,S,S", help="What pixels are then divided by.")]
Bgr = Annotated[bool, typer.Option("--bgr", help="Pixels go in as blue, green, red.")]
Pixels = Annotated[
    str | None, typer.Option("--range", metavar="0:1|0:255|-1:1", help="What 0..255 becomes first; default 0:1.")
]
MAX_TILE = 16  # as in a .dual file
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Sensitivity = Annotated[bool, typer.Option("--sensitivity", help="Show the energies under each energy table, too.")]
Band = Annotated[bool, typer.Option("--band", help="Show the ratios under each assumption that is not measured, too.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write CSV, plots and report.html.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"accelsim {accelsim.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    """One compressed CNN on simulated spatial-domain and Winograd-domain accelerators."""


@app.command(epilog="Example: accelsim compare resnet20-cifar10 spatial-16x16 winograd-16x16 -o out")
def compare(
    context: typer.Context,
    model: Workload,
    machines: Machines,
    output: Output = None,
    engine: Engine = "event",
    batch: Batch = 1,
    level: Level = "resident",
    overrides: Overrides = None,
    sensitivity: Sensitivity = False,
    band: Band = False,
    json: Json = False,
) -> None:
    """Run one model on several machines and set the results side by side."""
    from accelsim.report.terminal import console, show_band, show_comparison, show_sensitivity

    loaded = accelsim.load_workload(model)
    descriptions = several(context, machines, overrides)
    results = accelsim.compare(loaded, descriptions, engine=engine, batch=batch, level=level)
    ratios = accelsim.ratios(results)
    energies = accelsim.sensitivity(loaded, descriptions, batch=batch, level=level) if sensitivity else None
    cases = accelsim.band(loaded, descriptions, batch=batch, level=level) if band else None
    if output is not None:
        from accelsim.report.band import band_files
        from accelsim.report.tables import gather
        from accelsim.report.write import report_files, write_comparison

        files = report_files(gather(loaded, descriptions, results, batch, overrides or ()))
        write_comparison(output, files | ({} if cases is None else band_files(cases)))
    if json:
        tables: dict[str, Any] = {}
        if energies is not None:
            tables["sensitivity"] = energies.to_dict(orient="records")
        if cases is not None:
            tables["band"] = cases.to_dict(orient="records")
            tables["verdicts"] = [verdict.to_dict() for verdict in accelsim.verdicts(cases)]
        print_json({"results": [r.to_json() for r in results], "ratios": ratios.to_dict(orient="index"), **tables})
    else:
        show_comparison(console(), loaded, results, ratios, batch, overrides or ())
        if energies is not None:
            show_sensitivity(console(), energies)
        if cases is not None:
            show_band(console(), cases)
    if output is not None:
        say(f"report: {output / 'report.html'}")


@app.command(epilog="Example: accelsim simulate resnet18 winograd-32x32 --set tile=4 --batch 8 --trace trace.json")
def simulate(
    context: typer.Context,
    model: Workload,
    machine: OneMachine,
    engine: Engine = "event",
    batch: Batch = 1,
    level: Level = "resident",
    overrides: Overrides = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write a timeline of the event engine for ui.perfetto.dev."),
    ] = None,
    sensitivity: Sensitivity = False,
    json: Json = False,
) -> None:
    """Run one model on one machine, layer by layer."""
    from accelsim.report.terminal import console, show_result, show_sensitivity

    loaded = accelsim.load_workload(model)
    (description,) = several(context, [machine], overrides)
    if trace is not None and engine != "event":
        raise InputError(f"--trace with engine {engine!r}, expected engine 'event'")
    result = accelsim.simulate(loaded, description, engine=engine, batch=batch, level=level)
    energies = accelsim.sensitivity(loaded, [description], batch=batch, level=level) if sensitivity else None
    if trace is not None:
        from accelsim.report.plain import to_json
        from accelsim.report.trace import trace as timeline

        write_text(trace, to_json(timeline(loaded, description, batch, level)))
    if json:
        tables = {} if energies is None else {"sensitivity": energies.to_dict(orient="records")}
        print_json(result.to_json() | tables)
    else:
        show_result(console(), loaded, result, batch, overrides or ())
        if energies is not None:
            show_sensitivity(console(), energies)


@app.command(epilog="Examples: accelsim inspect resnet20-cifar10 --tile 4; accelsim inspect spatial-16x16")
def inspect(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="MODEL|MACHINE", help="A model, or a machine.")],
    tile: Annotated[int | None, typer.Option(metavar="M", help="A model in F(M, r) instead of the file's.")] = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="T", help="Winograd entries up to T are zero, instead of the file's.")
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option(metavar="S", help="Instead of a threshold, this share of zeros, 0 to 1.")
    ] = None,
    json: Json = False,
) -> None:
    """What a model or a machine is made of: densities and bits, or prices, areas and their sources."""
    from accelsim.report.describe import describe_machine, describe_model
    from accelsim.report.terminal import console, show_machine, show_model

    if file.endswith(".dual") or (shipped.find("models", file) and not shipped.find("hwconfigs", file)):
        model = accelsim.load_model(file)
        if tile is not None and not 1 <= tile <= MAX_TILE:
            raise InputError(f"--tile {tile}, expected 1 to {MAX_TILE}")
        try:
            description = describe_model(model, m=tile, threshold=threshold, sparsity=sparsity)
        except ValueError as error:
            raise InputError(f"{file}: {error}") from None
        if not json:
            show_model(console(), model, description)
    elif (tile, threshold, sparsity) != (None, None, None):
        raise InputError(f"{file}: --tile, --threshold and --sparsity are of a model, expected a .dual file")
    else:
        description = describe_machine(hardware(context, file))
        if not json:
            show_machine(console(), description)
    if json:
        print_json(description)


@app.command(epilog="Example: accelsim validate resnet20-cifar10 spatial-16x16 winograd-16x16")
def validate(
    context: typer.Context,
    model: Model,
    machines: Machines,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="An .npz file or a folder with labels.csv; default: the model's sample."),
    ] = None,
    overrides: Overrides = None,
    integers: Annotated[
        bool, typer.Option("--integers/--float", help="In the whole numbers of each machine, or in float32.")
    ] = True,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="Loss of top-1 that is allowed; default: 1 in integers, 2 in float32."),
    ] = None,
    search_widths: Annotated[
        bool, typer.Option("--search-widths", help="Find the cheapest widths of each machine that hold the accuracy.")
    ] = False,
    json: Json = False,
) -> None:
    """Run the file on real images as each machine computes it; exit status 1 unless all hold the accuracy."""
    from accelsim.report.terminal import console
    from accelsim.report.validation import image_bar, show_validation, show_widths

    loaded = accelsim.load_model(model)
    descriptions = several(context, machines, overrides)
    if search_widths:
        if not integers:
            raise InputError("--search-widths is of whole numbers, expected no --float with it")
        some = images or accelsim.sample_images(loaded, model)
        found = accelsim.search_widths(loaded, descriptions, some, tolerance_points=tolerance)
        if json:
            print_json({"machines": [machine.to_dict() for machine in found]})
        else:
            show_widths(console(), found)
        raise typer.Exit(0 if all(machine.uniform is not None for machine in found) else 1)
    with image_bar() as progress:
        result = accelsim.validate(
            loaded,
            descriptions,
            images or accelsim.sample_images(loaded, model),
            arithmetic="integers" if integers else "float",
            tolerance_points=tolerance,
            progress=progress,
        )
    if json:
        print_json(result.to_dict())
    else:
        show_validation(console(), loaded, result)
    raise typer.Exit(0 if result.served_by_both else 1)


@app.command(epilog="Example: accelsim calibrate MODEL.dual winograd-16x16 --images images.npz -o CALIBRATED.dual")
def calibrate(
    context: typer.Context,
    model: Model,
    machine: OneMachine,
    images: Annotated[Path, typer.Option(metavar="FILE|DIR", help="An .npz file or a folder with labels.csv.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL.dual", help="The file to write.")],
    count: Annotated[int, typer.Option(metavar="N", help="Only the first N images.")] = 256,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Find the scales of a machine's whole numbers on some images, and keep them with the model."""
    calibration = accelsim.calibrate(model, hardware(context, machine, overrides), images, output, count=count)
    if json:
        print_json(calibration.model_dump())
    else:
        say(f"{output}: scales of {len(calibration.units)} feature maps, found on {calibration.images} images")


@app.command("machines")
def list_machines(json: Json = False) -> None:
    """The machines that come with the package, with lanes, memories, bandwidth, area and source."""
    from accelsim.report.shelf import machine_rows
    from accelsim.report.terminal import console, show_machines

    rows = machine_rows()
    if json:
        print_json({"machines": rows})
    else:
        show_machines(console(), rows)


@app.command("models")
def list_models(json: Json = False) -> None:
    """The models and the tables of layers that come with the package, with size and measured accuracy."""
    from accelsim.report.shelf import model_rows, table_rows
    from accelsim.report.terminal import console, show_models, show_tables

    models = model_rows()
    tables = table_rows()
    if json:
        print_json({"models": models, "tables": tables})
    else:
        show_models(console(), models)
        show_tables(console(), tables)


@app.command(epilog="Example: accelsim train resnet20-joint -o runs/resnet20-joint")
def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="What to train, and how.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Log, state and checkpoint go there.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in DIR.")] = False,
    json: Json = False,
) -> None:
    """Train a network, jointly sparse in both domains if the recipe says so."""
    from accelsim.training.run import summary, train_recipe

    card = train_recipe(shipped.found_or_given("recipes", recipe), output, resume)
    if json:
        print_json(card)
    else:
        typer.echo(summary(card, output))


@app.command(epilog="Example: accelsim compress runs/resnet20-joint -o model.dual --recipe resnet20-compress")
def compress(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A run's folder, or a .safetensors file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL.dual", help="The file to write.")],
    recipe: Annotated[Path | None, typer.Option("--recipe", metavar="RECIPE.yaml", help="Cell size, data, ...")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted compression.")] = False,
    json: Json = False,
) -> None:
    """Prune, quantize and code a trained network into one file for both kinds of machine."""
    from accelsim.compression.pipeline import compress_checkpoint, summary
    from accelsim.compression.recipe import CompressionRecipe, load_compression_recipe

    path = None if recipe is None else shipped.found_or_given("recipes", recipe)
    settings = CompressionRecipe() if path is None else load_compression_recipe(path)
    model = compress_checkpoint(checkpoint, output, settings, say, resume)
    if json:
        print_json(summary(model, output))


@app.command(epilog="Example: accelsim sparsify net.onnx --images pictures --ratio 20 --cost-reduction 4 -o net.dual")
def sparsify(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help=".onnx, .safetensors, .npz or .dual", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL.dual", help="The file to write.")],
    images: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="Pictures, from 50 to a few hundred; no labels are needed.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS.csv", help="Columns file and label, to state top-1, too.")
    ] = None,
    ratio: Annotated[float | None, typer.Option(metavar="R", help="Float32 size over the file's, at least.")] = None,
    cost_reduction: Annotated[
        float | None, typer.Option(metavar="C", help="Dense MACs over multiplies in the Winograd domain, at least.")
    ] = None,
    tile: Annotated[int, typer.Option(metavar="M", help="m of F(m, r) on Winograd machines.")] = 2,
    curve: Annotated[bool, typer.Option("--curve", help="Other budgets, too: MODEL.curve.csv.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    network: Annotated[str | None, typer.Option(metavar="NAME", help="A weight file's network, of the zoo.")] = None,
    input_shape: InputShape = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the network is called from now on.")] = None,
    mean: Mean = None,
    std: Std = None,
    bgr: Bgr = False,
    pixels: Pixels = None,
    json: Json = False,
) -> None:
    """Make a trained network small and sparse in both domains, from some pictures, without training."""
    from accelsim.compression.importing import Wishes, numbers, sizes
    from accelsim.compression.sparsified import Asked, sparsify_file, summary
    from accelsim.report.terminal import console, show_sparsified

    wishes = Wishes(
        network=network,
        input_shape=sizes("--input-shape", input_shape),
        name=name,
        mean=numbers("--mean", mean),
        std=numbers("--std", std),
        bgr=bgr,
        range=pixels,
    )
    asked = Asked(
        ratio=ratio,
        cost_reduction=cost_reduction,
        tile=tile,
        images=images,
        labels=labels,
        curve=curve,
        resume=resume,
    )
    points = sparsify_file(model, output, wishes, asked, say)
    if json:
        print_json(summary(points, output))
    else:
        show_sparsified(console(), summary(points, output))


@app.command(epilog="Example: accelsim explore net.onnx --images pictures -o out")
def explore(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help=".onnx, .safetensors, .npz or .dual", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The page and the files go there.")],
    images: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="Pictures, from 50 to a few hundred; no labels are needed.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS.csv", help="Columns file and label, to state top-1, too.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take what DIR already holds.")] = False,
    network: Annotated[str | None, typer.Option(metavar="NAME", help="A weight file's network, of the zoo.")] = None,
    input_shape: InputShape = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the network is called from now on.")] = None,
    mean: Mean = None,
    std: Std = None,
    bgr: Bgr = False,
    pixels: Pixels = None,
) -> None:
    """Which machine for a network of your own, at which sparsity, and why: some files, pairs of machines, one page."""
    from accelsim.compression.importing import Wishes, numbers, sizes
    from accelsim.compression.sparsified import Asked
    from accelsim.explore.own_network import explore_network, sentences
    from accelsim.report.explored import write_exploration

    wishes = Wishes(
        network=network,
        input_shape=sizes("--input-shape", input_shape),
        name=name,
        mean=numbers("--mean", mean),
        std=numbers("--std", std),
        bgr=bgr,
        range=pixels,
    )
    asked = Asked(images=images, labels=labels, resume=resume)
    found = explore_network(model, output, wishes, asked, say)
    write_exploration(output, found[0].model.network.graph.name, found)
    for sentence in sentences(found):
        typer.echo(sentence)
    say(f"report: {output / 'index.html'}")


@app.command("import", epilog="Example: accelsim import model.onnx -o model.dual")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help=".onnx, .safetensors, .npz, or a topology.csv", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help=".dual, .safetensors or .csv")],
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network that a weight file belongs to, by the zoo's name.")
    ] = None,
    input_shape: InputShape = None,
    keep_unknown: KeepUnknown = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the network is called from now on.")] = None,
    mean: Mean = None,
    std: Std = None,
    bgr: Bgr = False,
    pixels: Pixels = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="Pictures to measure on how many activations are zero.")
    ] = None,
) -> None:
    """Take over another tool's file: a network as a .dual file of 8-bit weights, weights, or a table of layers."""
    from accelsim.compression.importing import Wishes, import_file, numbers, sizes

    wishes = Wishes(
        network=network,
        input_shape=sizes("--input-shape", input_shape),
        keep_unknown=keep_unknown,
        name=name,
        mean=numbers("--mean", mean),
        std=numbers("--std", std),
        bgr=bgr,
        range=pixels,
        images=images,
    )
    for line in import_file(source, output, wishes):
        say(line)


@app.command(epilog="Example: accelsim export resnet20-cifar10 -o resnet20.onnx")
def export(
    context: typer.Context,
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help=".safetensors or .onnx")],
    int8: Annotated[
        bool, typer.Option("--int8", help="ONNX in whole numbers (QDQ), as a spatial machine runs it.")
    ] = False,
    machine: Annotated[str, typer.Option(metavar="MACHINE", help="The spatial machine of --int8.")] = "spatial-16x16",
    images: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="Find the scales of --int8 on these; default: the sample.")
    ] = None,
) -> None:
    """Write the decoded weights for other tools: as safetensors, or the whole network as ONNX."""
    from accelsim.dual.export import export_model

    loaded = accelsim.load_model(model)
    if not int8:
        if images is not None:
            raise InputError("--images without --int8: only whole numbers have scales to be found")
        export_model(loaded, output)
        return
    if output.suffix != ".onnx":
        raise InputError(f"{output}: ending {output.suffix!r}, expected .onnx for --int8")
    accelsim.export_int8(loaded, hardware(context, machine), images or accelsim.sample_images(loaded, model), output)


@app.command(epilog="Example: accelsim report out")
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `accelsim compare -o DIR` or `sweep -o DIR` wrote.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to write; default: the same folder.")
    ] = None,
) -> None:
    """Draw the plots and the page of a comparison or a sweep again from what it wrote."""
    from accelsim.explore.store import FILE_NAME
    from accelsim.report.tables import read_csv
    from accelsim.report.write import report_files, write_comparison

    target = output or folder
    if (folder / FILE_NAME).is_file():
        from accelsim.explore.sweep import read_sweep
        from accelsim.report.sweep_report import write_sweep_report

        stored = read_sweep(folder)
        say_progress(stored.counts, stored.damaged)
        write_sweep_report(stored, target)
        say(f"report: {target / 'report.html'}")
        return
    write_comparison(target, report_files(read_csv(folder), with_tables=output is not None))
    say(f"report: {target / 'report.html'}")


@app.command(epilog="Example: accelsim sweep resnet20-machines -o sweep-out")
def sweep(
    description: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="Models, machines, axes, constraints.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where results are kept.")],
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes; default: one a core.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask cluster instead.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep that DIR must hold, also where its file has changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many points and how long, and do nothing.")
    ] = False,
    search: Annotated[
        int | None, typer.Option(metavar="N", help="Guided search: at most N points of the grid.")
    ] = None,
    json: Json = False,
) -> None:
    """Run models on thousands of machines and find the few worth building.  What DIR holds is not computed again."""
    from accelsim.explore.store import FILE_NAME
    from accelsim.explore.sweep import estimate, run_sweep
    from accelsim.report.sweep_report import write_sweep_report
    from accelsim.report.sweep_terminal import progress_bar, show_answers, show_estimate
    from accelsim.report.terminal import console

    description = shipped.found_or_given("sweeps", description)
    if resume and not (output / FILE_NAME).is_file():
        raise InputError(f"{output}: holds no sweep, expected a folder with {FILE_NAME} for --resume")
    if dry_run:
        found = estimate(description, output, workers)
        if json:
            print_json(asdict(found))
        else:
            show_estimate(console(), found)
        return
    with progress_bar() as progress:
        done = run_sweep(
            description,
            output,
            workers=workers,
            scheduler=scheduler,
            search=search,
            progress=progress,
            replace=resume,
        )
    say_progress(done.counts, done.damaged)
    write_sweep_report(done, output)
    if json:
        synthetic = {"synthetic": done.synthetic} if done.synthetic else {}
        print_json({"counts": done.counts, **synthetic, **done.answers.to_json(done.parameters)})
    else:
        if done.synthetic:
            say(f"synthetic (tables of layers, random zeros): {', '.join(done.synthetic)}")
        show_answers(console(), done.answers, done.counts, done.parameters)
    say(f"report: {output / 'report.html'}")


def hardware(context: typer.Context, name: str, overrides: Sequence[str] | None = None) -> "Machine":
    """A machine of the package's families, or of those that ``main`` was given."""
    return accelsim.load_hardware(name, overrides or (), context.obj or ())


def several(context: typer.Context, names: Sequence[str], overrides: Sequence[str] | None) -> "list[Machine]":
    """Machines, each with its overrides: ``KEY=VALUE`` is every machine's, ``NAME:KEY=VALUE`` that of the name's.

    Raises InputError if an override names none of the machines, or as ``hardware``.
    """
    own: dict[str, list[str]] = {name: [] for name in names}
    for override in overrides or ():
        key = override.partition("=")[0]
        owner, colon, _ = key.rpartition(":")
        if not colon:
            wanted = list(own)
        elif owner in own:
            wanted = [owner]
        else:
            raise InputError(f"--set {override}: {owner!r} is not among the machines, expected one of {', '.join(own)}")
        for name in wanted:
            own[name].append(override.removeprefix(f"{owner}:") if colon else override)
    return [hardware(context, name, own[name]) for name in names]


def say_progress(counts: dict[str, int], damaged: int) -> None:
    """How much of a sweep is there, where it is not all; and stored rows that had to be dropped."""
    total = sum(counts.values())
    if damaged:
        say(f"{damaged} stored rows do not fit their checksum and are not used; a run computes them again")
    if left := counts["missing"] + counts["crashed"]:
        say(f"{total - left} of {total} points have a result; run the sweep again for the others")


def say(line: str) -> None:
    """A word to the user on stderr, where it is in no result's way; without one it goes unsaid."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(visible(line) + "\n")


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on stdout; NaN and infinity, which JSON does not have, become null."""
    from accelsim.report.plain import to_json

    sys.stdout.write(to_json(content) + "\n")


def main(arguments: Sequence[str] | None = None, own_families: "Families" = ()) -> int:
    """Run one command and return its exit status.  The one place where errors become messages.

    own_families: classes of machines that ``compare``, ``simulate``, ``validate`` and ``inspect`` know beside the
    package's own.
    """
    if sys.stderr is None:  # closed by whoever called us
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        return _fail("standard output is closed, expected somewhere to write to", 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that the terminal's encoding lacks is no reason to stop
    try:
        status = app(arguments, prog_name="accelsim", standalone_mode=False, obj=own_families)
        sys.stdout.flush()
    except InputError as error:
        return _fail(str(error), 2)
    except NumericalError as error:
        return _fail(str(error), 1)
    except typer.TyperException as error:  # a wrong flag or argument
        return _fail(error.format_message(), 2)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        _drop_output()
        return 141
    except OSError as error:
        if error.filename is None:  # our own output: what is left of it must not be tried again at exit
            _drop_output()
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", 2)
    except (MemoryError, OverflowError, RecursionError) as error:
        return _fail(f"too large to compute: {error or 'out of memory'}", 2)
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    if message:  # there is none where the help has said it all
        say(f"error: {one_line(message)}")
    return status


def _drop_output() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
