"""A sweep on the terminal: its progress on standard error, and what it found on standard output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from accelsim.explore.answers import Answers
from accelsim.explore.sweep import Estimate
from accelsim.report.terminal import escape

FRONT_ROWS = 12


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f} points/s")


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, int], None]]:
    """A bar with points, points/s and time left; call it as (finished, failed, total).  Silent where stderr is no
    terminal, but for a line at each tenth."""
    console = Console(stderr=True)
    columns = (TextColumn("points"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        said = 0

        def show(finished: int, failed: int, total: int) -> None:
            nonlocal said
            bar.update(task, completed=finished, total=total, description=f"{failed} failed" if failed else "")
            if not console.is_terminal and 10 * finished // total > said:
                said = 10 * finished // total
                console.print(f"{finished} of {total} points, {failed} failed", highlight=False)

        yield show


def show_estimate(out: Console, e: Estimate) -> None:
    """What a dry run found."""
    out.print(f"{e.points} points; results stored {e.stored}, to compute {e.pending}", highlight=False)
    if e.seconds is not None and e.point_seconds is not None:
        out.print(
            f"about {1000 * e.point_seconds:.0f} ms a point, {_time(e.seconds)} with {e.workers} worker(s)",
            highlight=False,
        )


def show_answers(out: Console, answers: Answers, counts: dict[str, int], parameters: list[str]) -> None:
    """Counts, the front of all machines with its knee, the answers to the questions, the strongest axes."""
    out.print(", ".join(f"{count} {status}" for status, count in counts.items() if count), highlight=False)
    rows = answers.fronts["all"]
    objectives = [objective.removeprefix("-") for objective in answers.objectives]
    shown = rows if len(rows) <= FRONT_ROWS else rows.iloc[:: -(-len(rows) // FRONT_ROWS)]
    families = rows["family"].value_counts()
    kinds = ", ".join(f"{count} {escape(str(name))}" for name, count in families.items())
    out.print(f"Pareto front over {', '.join(objectives)}: {len(rows)} points ({kinds})", highlight=False)
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("point", "family", *objectives):
        table.add_column(escape(name), justify="left" if name == "family" else "right")
    table.add_column("parameters", overflow="fold")
    knee = answers.knees["all"]
    if knee not in shown.index:
        shown = pd.concat([shown, rows.loc[[knee]]])
    for index, row in shown.iterrows():
        mark = " (knee)" if index == knee else ""
        numbers = (f"{row[name]:.5g}" for name in objectives)
        settings = " ".join(f"{name}={_plain(row[name])}" for name in parameters if not pd.isna(row[name]))
        table.add_row(f"{row['point']}{mark}", escape(str(row["family"])), *numbers, escape(settings))
    out.print(table)
    for question, best in answers.cheapest:
        limits = ", ".join(f"{column} <= {limit:g}" for column, limit in question.limits.items())
        found = "none" if best is None else f"point {best['point']} ({best['family']}), {best[question.minimize]:.5g}"
        out.print(escape(f"least {question.minimize} with {limits or 'no limits'}: {found}"), highlight=False)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
