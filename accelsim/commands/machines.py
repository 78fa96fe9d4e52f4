"""The machines that a user names on the command line, with the changes that ``--set`` makes to them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

import accelsim
from accelsim.errors import InputError

if TYPE_CHECKING:
    from accelsim.simulator.machines.machine import Machine


def hardware(
    context: typer.Context,
    name: str,
    overrides: Sequence[str] | None = None,
) -> "Machine":
    """A machine of the package's families, or of those that ``cli.main`` was given."""
    return accelsim.load_hardware(name, overrides or (), context.obj or ())


def several(
    context: typer.Context,
    names: Sequence[str],
    overrides: Sequence[str] | None,
) -> "list[Machine]":
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
