"""The terminal or the pipe: lines of words, tables, and what may stand in them.

Plain ASCII besides rich's rules.  Names from files are shown without markup, hidden characters as
their codes.
"""

import textwrap

from rich.console import Console
from rich.markup import escape as no_markup
from rich.table import Table

from accelsim.names import visible
from accelsim.report.grid import grid

LEAST_WIDTH = 40  # columns, however narrow the terminal says it is: some say 0
WORDS = {  # columns of words, flush left
    *("mode", "bound by", "per", "part", "source", "shape", "accuracy"),
    *("input", "output", "weights", "priced by"),
}


class Output(Console):
    """Standard output, whose reader may have gone: that is said by the command's status, and rich's would be 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def escape(text: str) -> str:
    """The text as rich shows it: no markup in it, hidden characters as their codes."""
    return no_markup(visible(text))


def console() -> Console:
    """Standard output: colours on a terminal, 80 plain columns in a pipe."""
    out = Output(highlight=False, soft_wrap=False)
    out.width = max(out.width, LEAST_WIDTH)
    return out


def line(out: Console, text: str) -> None:
    """A line of words: whole in a pipe, broken between words on a terminal."""
    out.print(escape(text), highlight=False, soft_wrap=not out.is_terminal)


def named_table(first: str, *columns: str) -> Table:
    table = grid()
    table.add_column(first, overflow="fold")
    for column in columns:
        words = column in WORDS
        table.add_column(escape(column), justify="left" if words else "right", overflow="fold")
    return table


def put_words(out: Console, *texts: str, indent: int = 0) -> None:
    """Words broken at the console's width, in a pipe, too; a path that is longer stays whole.

    A text goes on in the line of the one before it only if it fits there as a whole.
    """
    room = out.width - indent
    lines = [""]
    for text in texts:
        broken = textwrap.wrap(visible(text), room, break_long_words=False, break_on_hyphens=False)
        if len(broken) == 1 and len(lines[-1]) + 1 + len(broken[0]) <= room:
            lines[-1] = f"{lines[-1]} {broken[0]}".strip()
        else:
            lines += broken
    for words in filter(None, lines):
        line(out, " " * indent + words)
