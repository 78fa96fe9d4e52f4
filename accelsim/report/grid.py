"""Plain tables on a terminal: a rule below the head, no frame, an empty line above and below."""

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table


def grid() -> Table:
    """A table without columns yet."""
    return Table(box=SIMPLE, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")


def put(out: Console, table: Table) -> None:
    """Print the table."""
    out.print()
    out.print(table)
    out.print()
