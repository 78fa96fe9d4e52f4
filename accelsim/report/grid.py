"""Plain tables on a terminal: a rule below the head, no frame, an empty line above and below, no blank at an end."""

from itertools import dropwhile

from rich.box import SIMPLE
from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Table


def grid() -> Table:
    """A table without columns yet."""
    return Table(
        box=SIMPLE,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        header_style="bold",
    )


def put(out: Console, table: Table) -> None:
    """Print the table on the console."""
    out.print()
    for line in out.render_lines(table, pad=False):
        out.print(Segments([*_trimmed(line), Segment.line()]), end="")
    out.print()


def _trimmed(line: list[Segment]) -> list[Segment]:
    """The line without the blanks at its end."""
    kept = list(dropwhile(lambda part: not part.text.strip(), reversed(line)))
    kept.reverse()
    if kept:
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style, kept[-1].control)
    return kept
