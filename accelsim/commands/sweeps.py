"""``sweep`` and ``report``: a model on thousands of machines, and the pages of what was found, drawn again."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

import accelsim
from accelsim import shipped
from accelsim.commands.options import Json, check_apart, check_table
from accelsim.commands.words import print_json, say
from accelsim.errors import InputError


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is run."""

    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes; default: one a core.")] = None
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask cluster instead.")] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep that DIR must hold, also where its file has changed.")
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many points and how long, and do nothing.")] = (
        False
    )
    search: Annotated[int | None, typer.Option(metavar="N", help="Guided search: at most N points of the grid.")] = None
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a row a point, as the ending says: .csv, .parquet or .arrow."),
    ] = None
    band: Annotated[
        bool, typer.Option("--band", help="Hold the families' cheapest machines against each other, over assumptions.")
    ] = False


def sweep(
    description: Annotated[
        Path, typer.Argument(metavar="SWEEP.yaml", help="Models, machines, axes: a file, or a bare name.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where results are kept.")],
    how: SweepOptions,
    json: Json = False,
) -> None:
    """Run models on thousands of machines and find the few worth building.  What DIR holds is not computed again."""
    from accelsim.explore.store import FILE_NAME

    description = shipped.required("sweeps", description)
    if how.resume and not (output / FILE_NAME).is_file():
        raise InputError(f"{output}: holds no sweep, expected a folder with {FILE_NAME} for --resume")
    if how.dry_run:
        _check_dry_run(how)
        _dry_run(description, output, how, json)
        return

    # with pandas and Matplotlib, which a dry run does not wait for
    from accelsim.explore.bands import bands
    from accelsim.explore.sweep import run_sweep
    from accelsim.report.band import write_bands
    from accelsim.report.console import console
    from accelsim.report.sweep_report import TABLES, write_sweep_report
    from accelsim.report.sweep_terminal import missing_lines, progress_bar, show_answers, show_bands
    from accelsim.report.table_file import write_table

    check_table(how.table, description)
    check_apart(how.table, output, TABLES)
    with progress_bar() as progress:
        done = run_sweep(
            description,
            output,
            workers=how.workers,
            scheduler=how.scheduler,
            search=how.search,
            progress=progress,
            replace=how.resume,
        )
    for line in missing_lines(done.counts, done.damaged):
        say(line)
    write_sweep_report(done, output)
    if how.table is not None:
        write_table(done.table, how.table)
    found_bands = bands(done, output) if how.band else []
    write_bands(found_bands, output)
    if json:
        synthetic = {"synthetic": done.synthetic} if done.synthetic else {}
        banded = {"bands": [band.to_json() for band in found_bands]} if how.band else {}
        print_json({"counts": done.counts, **synthetic, **done.answers.to_json(done.parameters), **banded})
    else:
        if done.synthetic:
            say(f"synthetic (tables of layers, random zeros): {', '.join(done.synthetic)}")
        show_answers(console(), done.answers, done.counts, done.parameters)
        show_bands(console(), found_bands)
    say(f"report: {output / 'report.html'}")


def _dry_run(description: Path, output: Path, how: SweepOptions, json: bool) -> None:
    """Say how many points there are, and how long they would take."""
    from accelsim.explore.estimate import estimate
    from accelsim.report.console import console
    from accelsim.report.dry_run import show_estimate

    found = estimate(description, output, how.workers, replace=how.resume)
    if json:
        print_json(asdict(found))
    else:
        show_estimate(console(), found)


def _check_dry_run(how: SweepOptions) -> None:
    """Raise InputError for an option that a dry run would not use."""
    for flag, value in (("--search", how.search), ("--scheduler", how.scheduler)):
        if value is not None:
            raise InputError(f"{flag} with --dry-run, which is of all points on this computer")
    for flag, asked in (("--table", how.table is not None), ("--band", how.band)):
        if asked:
            raise InputError(f"{flag} with --dry-run, which has no results, expected one of them")


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `accelsim compare -o DIR` or `sweep -o DIR` wrote.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to write; default: the same folder.")
    ] = None,
) -> None:
    """Draw the plots and the page of a comparison or a sweep again from what it wrote."""
    say(f"report: {accelsim.redraw_report(folder, output, say=say)}")
