"""``validate`` and ``calibrate``: a model on real images in the whole numbers that machines compute in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import accelsim
from accelsim.commands.machines import several
from accelsim.commands.options import Json, Machines, Model, OneMachine, Overrides
from accelsim.commands.words import print_json, say
from accelsim.errors import InputError

if TYPE_CHECKING:
    from accelsim.dual.model import DualModel
    from accelsim.simulator.machines.machine import Machine


@dataclass(frozen=True)
class ValidationOptions:
    """What a model is validated on, and how strictly."""

    images: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="An .npz file or a folder with labels.csv; default: the model's sample."),
    ] = None
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The uncompressed network, to compare with: .onnx, .safetensors, .npz, .pt or .dual."
        ),
    ] = None
    overrides: Overrides = None
    integers: Annotated[
        bool, typer.Option("--integers/--float", help="In the whole numbers of each machine, or in float32.")
    ] = True
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="Loss of top-1 that is allowed; default: 1 in integers, 2 in float32."),
    ] = None
    search_widths: Annotated[
        bool, typer.Option("--search-widths", help="Find the cheapest widths of each machine that hold the accuracy.")
    ] = False


def validate(
    context: typer.Context,
    model: Model,
    machines: Machines,
    how: ValidationOptions,
    json: Json = False,
) -> None:
    """Run the file on real images as each machine computes it; exit status 1 unless all hold the accuracy."""
    from accelsim.report.console import console
    from accelsim.report.validation import image_bar, show_validation

    loaded = accelsim.load_model(model)
    descriptions = several(context, machines, how.overrides)
    if how.search_widths:
        _search_widths(loaded, descriptions, how.images or accelsim.sample_images(loaded, model), how, json)
    with image_bar() as progress:
        result = accelsim.validate(
            loaded,
            descriptions,
            how.images or accelsim.sample_images(loaded, model),
            reference=how.reference,
            arithmetic="integers" if how.integers else "float",
            tolerance_points=how.tolerance,
            progress=progress,
        )
    if json:
        print_json(result.to_dict())
    else:
        show_validation(console(), loaded, result)
    raise typer.Exit(0 if result.served_by_both else 1)


def _search_widths(
    model: "DualModel",
    machines: "Sequence[Machine]",
    images: Path,
    how: ValidationOptions,
    json: bool,
) -> NoReturn:
    """Print each machine's cheapest words; exit status 1 where those of one lose too much as they are."""
    from accelsim.report.console import console
    from accelsim.report.validation import show_widths

    if not how.integers:
        raise InputError("--search-widths is of whole numbers, expected no --float with it")
    if how.reference is not None:
        raise InputError("--search-widths goes by the labels alone, expected no --reference with it")
    found = accelsim.search_widths(model, machines, images, tolerance_points=how.tolerance)
    if json:
        print_json({"machines": [machine.to_dict() for machine in found]})
    else:
        show_widths(console(), found)
    raise typer.Exit(0 if all(machine.uniform is not None for machine in found) else 1)


@dataclass(frozen=True)
class CalibrationOptions:
    """What scales are found on, and where they go."""

    images: Annotated[Path, typer.Option(metavar="FILE|DIR", help="An .npz file or a folder with labels.csv.")]
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL.dual", help="The file to write.")]
    count: Annotated[int, typer.Option(metavar="N", help="Only the first N images.")] = 256
    overrides: Overrides = None


def calibrate(
    context: typer.Context,
    model: Model,
    machine: OneMachine,
    how: CalibrationOptions,
    json: Json = False,
) -> None:
    """Find the scales of a machine's whole numbers on some images, and keep them with the model."""
    (description,) = several(context, [machine], how.overrides)
    calibration = accelsim.calibrate(model, description, how.images, how.output, count=how.count)
    if json:
        print_json(calibration.model_dump())
    else:
        say(f"{how.output}: scales of {len(calibration.units)} feature maps, found on {calibration.images} images")
