"""The command line.

Parses, runs one command, and makes a message and an exit status of what went wrong.

Names and flags are a contract.  Exit status: 0 done, 1 a check failed, 2 bad input (one line
``error: ...`` on stderr, nothing half-written), 130 Ctrl-C.  Results go to stdout, everything else
to stderr; ``--json`` puts one JSON object there and nothing else.

A new command is a function in ``accelsim.commands`` and a line in ``COMMANDS``.
"""

import contextlib
import gc
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

import accelsim
from accelsim.commands.options import with_records
from accelsim.commands.own_networks import explore, export, import_, sparsify
from accelsim.commands.runs import compare, simulate
from accelsim.commands.shelf import inspect, list_machines, list_models
from accelsim.commands.sweeps import report, sweep
from accelsim.commands.training import compress, train
from accelsim.commands.validation import calibrate, validate
from accelsim.commands.words import say
from accelsim.errors import InputError, NumericalError
from accelsim.names import one_line

if TYPE_CHECKING:
    from accelsim.simulator.machines import Families

# Name, function and examples of each command, in the order of the help.
COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("compare", compare, "accelsim compare resnet20-cifar10 spatial-16x16 winograd-16x16 -o out"),
    (
        "simulate",
        simulate,
        "accelsim simulate resnet18 winograd-32x32 --set tile=4 --batch 8; "
        "accelsim simulate resnet20-cifar10 spatial-16x16 --trace trace.json",
    ),
    ("inspect", inspect, "accelsim inspect resnet20-cifar10 --tile 4; accelsim inspect spatial-16x16"),
    ("validate", validate, "accelsim validate resnet20-cifar10 spatial-16x16 winograd-16x16"),
    (
        "calibrate",
        calibrate,
        "accelsim calibrate net.dual winograd-16x16 --images pictures -o scaled.dual",
    ),
    ("machines", list_machines, ""),
    ("models", list_models, ""),
    ("train", train, "accelsim train resnet20-joint -o runs/resnet20-joint"),
    ("compress", compress, "accelsim compress runs/resnet20-joint -o net.dual --recipe resnet20-compress"),
    (
        "sparsify",
        sparsify,
        "accelsim sparsify net.onnx --images pictures --ratio 20 -o net.dual; "
        "accelsim sparsify net.onnx --images pictures --cost-reduction 4 -o net.dual",
    ),
    ("explore", explore, "accelsim explore net.onnx --images pictures -o out"),
    ("import", import_, "accelsim import model.onnx -o model.dual"),
    ("export", export, "accelsim export resnet20-cifar10 -o resnet20.onnx"),
    ("report", report, "accelsim report out"),
    ("sweep", sweep, "accelsim sweep resnet20-machines -o sweep-out"),
)

COMPLETION = "_ACCELSIM_COMPLETE"  # set by a shell that asks how a line may go on
INSTRUCTION = re.compile("(source|complete)_(bash|zsh|fish|powershell|pwsh)")  # what it says there

app = typer.Typer(
    name="accelsim",
    help="One compressed CNN on simulated spatial-domain and Winograd-domain accelerators.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: half the time, and long words stay whole at 80 columns
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"accelsim {accelsim.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and stop.",
            is_eager=True,
            callback=_version,
        ),
    ] = False,
) -> None:
    """One compressed CNN on simulated spatial-domain and Winograd-domain accelerators."""


def _first_sentence(command: Callable[..., None]) -> str:
    """What the list of commands says of one, in full: cut, it would end in dots."""
    return " ".join((command.__doc__ or "").split("\n\n")[0].split())


def _epilog(examples: str) -> str:
    """The examples below a command's help, a line each, as they are to be typed."""
    lines = [f"  {example}" for example in examples.split("; ") if example]
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *lines]) if lines else ""


for _name, _function, _examples in COMMANDS:
    app.command(_name, short_help=_first_sentence(_function), epilog=_epilog(_examples))(with_records(_function))


def main(arguments: Sequence[str] | None = None, own_families: "Families" = ()) -> int:
    """Run one command and return its exit status.  The one place where errors become messages.

    own_families: classes of machines that ``compare``, ``simulate``, ``validate`` and ``inspect``
    know beside the package's own.
    """
    if sys.stderr is None:  # closed by whoever called us
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        return _fail("standard output is closed, expected somewhere to write to", 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a name that the terminal's encoding lacks is no reason to stop
            stream.reconfigure(errors="replace")
    if (asked := os.environ.get(COMPLETION)) and not INSTRUCTION.fullmatch(asked):
        return _fail(f"{COMPLETION}: {asked[:60]!r} is not as a shell sets it, expected such as complete_bash", 2)
    try:
        status = app(arguments, prog_name="accelsim", standalone_mode=False, obj=own_families)
        sys.stdout.flush()
    except InputError as error:
        return _fail(str(error), 2)
    except NumericalError as error:
        return _fail(str(error), 1)
    except typer.TyperException as error:  # a wrong flag or argument
        return _fail(error.format_message(), 2)
    except (BrokenPipeError, SystemExit) as error:  # the reader of our output has gone, as `head` does
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):  # the parser's
            raise
        _drop_output()
        return 141
    except OSError as error:
        if error.filename is None:
            # our own output: what is left of it must not be tried again at exit
            _drop_output()
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", 2)
    except (MemoryError, OverflowError, RecursionError) as error:
        return _fail(f"too large to compute: {error or 'out of memory'}", 2)
    except (KeyError, ValueError) as error:
        if COMPLETION not in os.environ:
            raise
        return _fail(f"{COMPLETION}: {error} is not as a shell sets it, expected COMP_WORDS and COMP_CWORD", 2)
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0


def run() -> int:
    """``main`` as a process of its own, whose pictures go to files: a notebook's backend is not asked for.

    Everything it made goes with the process: to look for circles in it first takes a tenth of a second.
    """
    os.environ.pop("MPLBACKEND", None)
    status = main()
    gc.freeze()
    return status


def _fail(message: str, status: int) -> int:
    if message:  # there is none where the help has said it all
        say(f"error: {one_line(message)}")
    return status


def _drop_output() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(run())
