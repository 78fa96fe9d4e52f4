"""A sweep on the terminal: its progress on standard error, and what it found on standard output."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from accelsim.explore.answers import Answers
from accelsim.explore.bands import Band
from accelsim.explore.naming import named
from accelsim.report.console import escape, line
from accelsim.report.grid import grid, put

FRONT_ROWS = 12


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f} points/s")


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, int], None]]:
    """A bar with points, points/s and time left; call it as (finished, failed, total).

    Silent where stderr is no terminal, but for a line at each tenth.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _each_tenth(console)
        return
    columns = (TextColumn("points"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task("", total=None)

        def show(finished: int, failed: int, total: int) -> None:
            bar.update(task, completed=finished, total=total, description=f"{failed} failed" if failed else "")

        yield show


def _each_tenth(console: Console) -> Callable[[int, int, int], None]:
    """A line at each tenth."""
    said = 0

    def show(finished: int, failed: int, total: int) -> None:
        nonlocal said
        if 10 * finished // total > said:
            said = 10 * finished // total
            console.print(f"{finished} of {total} points, {failed} failed", highlight=False)

    return show


def missing_lines(counts: dict[str, int], damaged: int) -> list[str]:
    """How much of a sweep is there, where it is not all; and stored rows that had to be dropped."""
    lines = []
    total = sum(counts.values())
    if damaged:
        lines.append(f"{damaged} stored rows do not fit their checksum and are not used; a run computes them again")
    if left := counts["missing"] + counts["crashed"]:
        lines.append(f"{total - left} of {total} points have a result; run the sweep again for the others")
    return lines


def show_answers(
    out: Console,
    answers: Answers,
    counts: dict[str, int],
    parameters: list[str],
) -> None:
    """Counts; for each model the front of all machines with its knee.

    The answers to the questions.
    """
    out.print(", ".join(f"{count} {status}" for status, count in counts.items() if count), highlight=False)
    for model, floor in answers.floors.items():
        line(out, f"{model}: points below {floor:.2f} % top-1 answer nothing")
    for model in answers.models:
        _show_front(out, answers, model, parameters)
    for found in answers.cheapest:
        question = found.question
        row = found.row
        limits = ", ".join(f"{column} <= {limit:g}" for column, limit in question.limits.items())
        text = "none"
        if row is not None:
            text = f"{_figure(row[question.column])} by {row['family']} {named(row, parameters)} (point {row['point']})"
        of_model = f"{found.model}: " if len(answers.models) > 1 else ""
        asked = f"{of_model}least {question.minimize} with {limits or 'no limits'}: {text}"
        line(out, asked)


def show_bands(out: Console, bands: Sequence[Band]) -> None:
    """The verdict between the families' cheapest machines of each question, over the assumptions."""
    for band in bands:
        limits = ", ".join(f"{column} <= {limit:g}" for column, limit in band.question.limits.items())
        points = ", ".join(f"{family} point {index}" for family, index in band.points.items())
        asked = f"{band.model}: least {band.question.minimize} with {limits or 'no limits'}: {points}"
        line(out, asked)
        for sentence in band.sentences:
            line(out, sentence)


def _show_front(out: Console, answers: Answers, model: str, parameters: list[str]) -> None:
    """One model's front over all families of machines, its knee marked."""
    name = answers.scope(model)
    if name not in answers.fronts:
        line(out, f"{model}: no point reaches the accuracy asked for")
        return
    rows = answers.fronts[name]
    objectives = [objective.removeprefix("-") for objective in answers.objectives]
    shown = rows if len(rows) <= FRONT_ROWS else rows.iloc[:: -(-len(rows) // FRONT_ROWS)]
    families = rows["family"].value_counts()
    kinds = ", ".join(f"{count} {family}" for family, count in families.items())
    of_model = f" of {model}" if len(answers.models) > 1 else ""
    heading = f"Pareto front{of_model} over {', '.join(objectives)}: {len(rows)} points ({kinds})"
    line(out, heading)
    table = grid()
    for column in ("point", "family", *objectives):
        table.add_column(escape(column), justify="left" if column == "family" else "right", no_wrap=True)
    table.add_column("parameters")
    knee = answers.knees[name]
    if knee not in shown.index:
        shown = pd.concat([shown, rows.loc[[knee]]])
    for index, row in shown.iterrows():
        mark = "*" if index == knee else ""
        numbers = (_figure(row[column]) for column in objectives)
        table.add_row(f"{mark}{row['point']}", escape(str(row["family"])), *numbers, escape(named(row, parameters)))
    put(out, table)
    out.print("*: the front's knee", highlight=False)


def _figure(value: float) -> str:
    """A figure of a point, without powers of ten."""
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1e5 else f"{value:.5g}"
