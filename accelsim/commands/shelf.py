"""``inspect``, ``machines`` and ``models``: what a model or a machine is made of, and which ones there are."""

from typing import Annotated

import typer

import accelsim
from accelsim import shipped
from accelsim.commands.machines import hardware
from accelsim.commands.options import Json
from accelsim.commands.words import print_json
from accelsim.errors import InputError


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
    from accelsim.report.console import console
    from accelsim.report.describe import MAX_TILE, describe_machine, describe_model
    from accelsim.report.shelf_tables import show_machine, show_model

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
    elif shipped.find("workloads", file) and not shipped.find("hwconfigs", file):
        raise InputError(f"{file}: a table of layers, without weights to look at, expected a model or a machine")
    elif (tile, threshold, sparsity) != (None, None, None):
        raise InputError(f"{file}: --tile, --threshold and --sparsity are of a model, expected a .dual file")
    else:
        description = describe_machine(hardware(context, file))
        if not json:
            show_machine(console(), description)
    if json:
        print_json(description)


def list_machines(json: Json = False) -> None:
    """The machines that come with the package, with lanes, memories, bandwidth, area and source."""
    from accelsim.report.console import console
    from accelsim.report.shelf import machine_rows
    from accelsim.report.shelf_tables import show_machines

    rows = machine_rows()
    if json:
        print_json({"machines": rows})
    else:
        show_machines(console(), rows)


def list_models(json: Json = False) -> None:
    """The models and the tables of layers that come with the package, with size and measured accuracy."""
    from accelsim.report.console import console
    from accelsim.report.shelf import model_rows, table_rows
    from accelsim.report.shelf_tables import show_models, show_tables

    models = model_rows()
    tables = table_rows()
    if json:
        print_json({"models": models, "tables": tables})
    else:
        show_models(console(), models)
        show_tables(console(), tables)
