"""Arguments and options that several commands share, what a shell completes, and options as records.

A command with many options takes those that belong together as one record: a frozen dataclass whose fields are
annotated as a command's parameters are.  ``with_records`` shows its fields to the parser in the record's place, and
gathers their values again for the call.
"""

import inspect
import re
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from accelsim import shipped
from accelsim.errors import InputError
from accelsim.files import check_output
from accelsim.links import same_place


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
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[MACHINE:]KEY=VALUE",
        help="Change all machines, such as pe_array.rows=32, or the named one alone.  Repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def with_records(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each parameter that is a record replaced by the record's fields, as keywords in their place."""
    hints = get_type_hints(command, include_extras=True)
    names = inspect.signature(command).parameters
    records = {name: hints[name] for name in names if is_dataclass(hints[name])}
    shown: list[Parameter] = []
    for name in names:
        if name in records:
            shown += _parameters(records[name])
        else:
            plain = _plain(hints[name])
            shown.append(Parameter(name, Parameter.KEYWORD_ONLY, annotation=plain, default=names[name].default))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, record in records.items():
            values[name] = record(**{field.name: values.pop(field.name) for field in fields(record)})
        command(**values)

    run.__signature__ = Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return run


def _parameters(record: type[Any]) -> list[Parameter]:
    """A record's fields as parameters of a command."""
    hints = get_type_hints(record, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            annotation=_plain(hints[field.name]),
            default=Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(record)
    ]


def _plain(annotation: Any) -> Any:
    """The annotation of an option, whose number is read as people write it.

    Python, which the parser would ask, takes ``1_0`` for 10, and the digits of all scripts.
    """
    kinds = [kind for kind in (int, float) if get_args(annotation)[:1] in ((kind,), (kind | None,))]
    if not kinds:
        return annotation
    info = copy(get_args(annotation)[1])
    info.parser = _whole if kinds[0] is int else _decimal
    return Annotated[get_args(annotation)[0], info]


def _whole(text: str | int) -> int:
    if not re.fullmatch(r"[-+]?[0-9]{1,30}", str(text)):
        raise typer.BadParameter(f"{str(text)[:60]!r}, expected a whole number")
    return int(text)


def _decimal(text: str | float) -> float:
    if not is_decimal(str(text)):
        raise typer.BadParameter(f"{str(text)[:60]!r}, expected a number")
    return float(text)


def is_decimal(text: str) -> bool:
    """Whether a text is a number as people write it."""
    from accelsim.settings import PLAIN_NUMBER  # with pydantic, which a command's help has no need of

    return PLAIN_NUMBER.fullmatch(text) is not None


def check_apart(path: Path | None, folder: Path, names: Collection[str]) -> None:
    """Raise InputError if a table would go where a file of a folder of results does.

    names: of the files.
    """
    if path is not None and path.name in names and same_place(path.parent, folder):
        raise InputError(f"--table {path}: a file of -o {folder}, expected another name")


def check_table(path: Path | None, *read: str | Path) -> None:
    """Raise InputError if no table can be written there, before time goes into what would be in it.

    read: the files that it is made from.
    """
    if path is not None:
        from accelsim.report.table_file import check_ending

        check_ending(path)
        check_output(path, *read)
