"""``train`` and ``compress``: from a recipe to a checkpoint, and from that to one file for all machines."""

from pathlib import Path
from typing import Annotated

import typer

from accelsim import shipped
from accelsim.commands.options import Json
from accelsim.commands.words import print_json, say


def train(
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE.yaml", help="What to train, and how: a file, or a bare name.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Log, state and checkpoint go there.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in DIR.")] = False,
    json: Json = False,
) -> None:
    """Train a network, jointly sparse in both domains if the recipe says so."""
    from accelsim.explore.recipe_machine import machine_budgets
    from accelsim.training.run import summary, train_recipe

    card = train_recipe(shipped.required("recipes", recipe), output, resume, machine_budgets)
    if json:
        print_json(card)
    else:
        typer.echo(summary(card, output))


def compress(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A run's folder, or a .safetensors file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL.dual", help="The file to write.")],
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE.yaml", help="Cell size, data, ...: a file, or a bare name."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted compression.")] = False,
    json: Json = False,
) -> None:
    """Prune, quantize and code a trained network into one file for both kinds of machine."""
    from accelsim.compression.pipeline import compress_checkpoint, summary
    from accelsim.compression.recipe import CompressionRecipe, load_compression_recipe
    from accelsim.explore.recipe_machine import of_machine

    path = None if recipe is None else shipped.required("recipes", recipe)
    settings = CompressionRecipe() if path is None else load_compression_recipe(path)
    model = compress_checkpoint(checkpoint, output, settings, say, resume, of_machine)
    if json:
        print_json(summary(model, output))
