"""``sparsify``, ``explore``, ``import`` and ``export``: a user's own network in, made sparse, and out again."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import accelsim
from accelsim.commands.machines import hardware
from accelsim.commands.options import Json, Model
from accelsim.commands.words import print_json, say, typed
from accelsim.errors import InputError
from accelsim.names import visible

if TYPE_CHECKING:
    from accelsim.compression.importing import Wishes
    from accelsim.explore.own_network import Made


Source = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help=".onnx, .safetensors, .npz, .pt or .dual",
        show_default=False,
    ),
]
Images = Annotated[
    Path | None, typer.Option(metavar="FILE|DIR", help="Pictures, from 50 to a few hundred; no labels are needed.")
]
Labels = Annotated[Path | None, typer.Option(metavar="LABELS.csv", help="Columns file and label, to state top-1, too.")]
KeepUnknown = Annotated[
    bool, typer.Option("--keep-unknown", help="Cost operators that are not known as traffic, and say so.")
]
Pictures = Annotated[
    Path | None, typer.Option(metavar="FILE|DIR", help="Pictures to measure on how many activations are zero.")
]


@dataclass(frozen=True)
class NetworkOptions:
    """Which network a file holds."""

    network: Annotated[str | None, typer.Option(metavar="NAME", help="A weight file's network, of the zoo.")] = None
    input_shape: Annotated[
        str | None, typer.Option(metavar="C,H,W", help="The input's size, where an ONNX file leaves it open.")
    ] = None


@dataclass(frozen=True)
class PixelOptions:
    """What the network is called, and what becomes of pixels before they go in."""

    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the network is called from now on.")] = None
    mean: Annotated[str | None, typer.Option(metavar="M,M,M", help="Means that are taken from pixels, RGB or one.")] = (
        None
    )
    std: Annotated[str | None, typer.Option(metavar="S,S,S", help="What pixels are then divided by.")] = None
    bgr: Annotated[bool, typer.Option("--bgr", help="Pixels go in as blue, green, red.")] = False
    pixels: Annotated[
        str | None, typer.Option("--range", metavar="0:1|0:255|-1:1", help="What 0..255 becomes first; default 0:1.")
    ] = None


@dataclass(frozen=True)
class SparsityOptions:
    """How small and how sparse a network is to become, and on what."""

    images: Images = None
    labels: Labels = None
    ratio: Annotated[float | None, typer.Option(metavar="R", help="Float32 size over the file's, at least.")] = None
    cost_reduction: Annotated[
        float | None, typer.Option(metavar="C", help="Dense MACs over multiplies in the Winograd domain, at least.")
    ] = None
    tile: Annotated[int, typer.Option(metavar="M", help="m of F(m, r) on Winograd machines.")] = 2
    curve: Annotated[bool, typer.Option("--curve", help="Other budgets, too: MODEL.curve.csv.")] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False


@dataclass(frozen=True)
class MachineOptions:
    """What a machine may take, instead of a budget of multiplies."""

    machine: Annotated[str | None, typer.Option(metavar="MACHINE", help="The machine of --latency or --energy.")] = None
    latency: Annotated[
        str | None, typer.Option(metavar="T", help="Time of an image on --machine, at most: 5ms, 300us.")
    ] = None
    energy: Annotated[
        str | None, typer.Option(metavar="E", help="Energy of an image on --machine, at most: 2mJ, 300uJ.")
    ] = None


@dataclass(frozen=True)
class ExplorationOptions:
    """What a network is explored on."""

    images: Images = None
    labels: Labels = None
    resume: Annotated[bool, typer.Option("--resume", help="Take what DIR already holds.")] = False


def sparsify(
    context: typer.Context,
    model: Source,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL.dual", help="The file to write.")],
    how: SparsityOptions,
    on: MachineOptions,
    which: NetworkOptions,
    pixels: PixelOptions,
    json: Json = False,
) -> None:
    """Make a trained network small and sparse in both domains, from some pictures, without training."""
    from accelsim.compression.sparsified import Asked
    from accelsim.explore.for_machine import Demand, make_sparse
    from accelsim.report.console import console
    from accelsim.report.sparsified_tables import show_sparsified

    machine = None if on.machine is None else hardware(context, on.machine)
    demand = Demand(machine, on.latency, on.energy)
    found = make_sparse(model, output, _wishes(which, pixels), Asked(**asdict(how)), demand, say)
    if json:
        print_json(found)
    else:
        show_sparsified(console(), found)


def explore(
    model: Source,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The page and the files go there.")],
    how: ExplorationOptions,
    which: NetworkOptions,
    pixels: PixelOptions,
    json: Json = False,
) -> None:
    """Which machine for a network of your own, at which sparsity, and why: some files, pairs of machines, one page."""
    from accelsim.compression.sparsified import Asked
    from accelsim.explore.own_network import explore_network, sentences
    from accelsim.report.explored import PAGE, ExplorationPages, point_rows

    again = typed(sys.argv)
    pages = ExplorationPages(output, f"{again} -o DIR" if again else "")

    def show(so_far: "Sequence[Made]", awaited: int) -> None:
        pages.write(so_far, awaited)
        if awaited:
            say(f"page so far: {output / PAGE}")

    found = explore_network(model, output, _wishes(which, pixels), Asked(**asdict(how)), say, show)
    if json:
        print_json({"sentences": sentences(found), "points": point_rows(found)})
    else:
        for sentence in sentences(found):
            typer.echo(visible(sentence))
    say(f"report: {output / PAGE}")


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".onnx, .safetensors, .npz, .pt, or a topology.csv",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help=".dual, .safetensors or .csv")],
    which: NetworkOptions,
    *,
    keep_unknown: KeepUnknown = False,
    pixels: PixelOptions,
    images: Pictures = None,
) -> None:
    """Take over another tool's file: a network as a .dual file of 8-bit weights, weights, or a table of layers."""
    from accelsim.compression.importing import import_file

    wishes = replace(_wishes(which, pixels), keep_unknown=keep_unknown, images=images)
    for line in import_file(source, output, wishes):
        say(line)


def export(
    context: typer.Context,
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help=".safetensors or .onnx")],
    int8: Annotated[
        bool, typer.Option("--int8", help="ONNX in whole numbers (QDQ), as a spatial machine runs it.")
    ] = False,
    machine: Annotated[
        str | None, typer.Option(metavar="MACHINE", help="The spatial machine of --int8; default: spatial-16x16.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR", help="Find the scales of --int8 on these; default: the file's, or the sample."
        ),
    ] = None,
) -> None:
    """Write the decoded weights for other tools: as safetensors, or the whole network as ONNX."""
    from accelsim.dual.export import export_model

    if not int8:
        for flag, value in (("--images", images), ("--machine", machine)):
            if value is not None:
                raise InputError(f"{flag} without --int8: only whole numbers are those of a machine, with scales")
        export_model(accelsim.load_model(model), output)
        return
    if output.suffix != ".onnx":
        raise InputError(f"{output}: ending {output.suffix!r}, expected .onnx for --int8")
    accelsim.export_int8(model, hardware(context, machine or "spatial-16x16"), images, output)


def _wishes(which: NetworkOptions, pixels: PixelOptions) -> "Wishes":
    """What the user says of a file that comes from elsewhere."""
    from accelsim.compression.importing import Wishes, numbers, sizes

    return Wishes(
        network=which.network,
        input_shape=sizes("--input-shape", which.input_shape),
        name=pixels.name,
        mean=numbers("--mean", pixels.mean),
        std=numbers("--std", pixels.std),
        bgr=pixels.bgr,
        range=pixels.pixels,
    )
