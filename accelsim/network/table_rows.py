"""Rows of a table of layers, cell by cell: the columns, and what is wrong in them.

A row takes note of every fault, so that all of a file are told at once.
"""

from pathlib import Path

from accelsim.csv_rows import csv_rows
from accelsim.errors import InputError
from accelsim.files import LAYER_TABLE, read_text
from accelsim.settings import PLAIN_NUMBER

COLUMNS = (
    *("name", "kind", "in_channels", "out_channels", "height", "width", "kernel_h", "kernel_w"),
    *("stride", "padding", "groups", "weight_density", "activation_density"),
)
# Stride and padding across, where they are others than down; steps between a kernel's taps; images
# that go in together; earlier layers, or ``input``, that are read, with semicolons between them.
MORE_COLUMNS = ("stride_w", "padding_w", "dilation", "batch", "inputs")
USUAL = (None, None, 1, 1, None)  # what they are where the column is not there
DEFAULTS = {
    "stride": "1",
    "padding": "0",
    "groups": "1",
    "weight_density": "1",
    "activation_density": "1",
    "stride_w": "",
    "padding_w": "",
    "dilation": "1",
    "batch": "1",
    "inputs": "",
}
MAX_LAYERS = 10_000  # of a table
MAX_NAME = 200  # characters of a layer's name
MAX_SIZE = 1 << 20  # of any number of a row


def table_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Row numbers and stripped cells of all rows that are not blank, trailing commas dropped."""
    content = read_text(path, LAYER_TABLE)
    rows = [(number, [text.strip() for text in row]) for number, row in csv_rows(path, content)]
    for _, cells in rows:
        while cells and not cells[-1]:
            cells.pop()
    rows = [(number, cells) for number, cells in rows if cells]
    if not rows:
        raise InputError(f"{path}: empty, expected a header line and one layer a row")
    if len(rows) > MAX_LAYERS + 1:
        raise InputError(f"{path}: {len(rows) - 1} layers, expected at most {MAX_LAYERS}")
    return rows


class Row:
    """One row's cells by column, and what is wrong with them."""

    def __init__(self, number: int, header: list[str], cells: list[str]) -> None:
        self.number = number
        self.header = header
        self.faults: list[str] = []
        self.cells = dict(zip(header, cells, strict=False))
        if len(cells) > len(header):
            self.faults.append(f"row {number}: {len(cells)} cells, the header has {len(header)}")

    def column(self, start: str) -> str:
        """The name of the column that begins so, or the beginning where there is none."""
        return next((name for name in self.header if name.startswith(start)), start)

    def fault(self, column: str, message: str) -> None:
        self.faults.append(f"row {self.number}, column {column!r}: {message}")

    def text(self, column: str) -> str:
        """The cell, or its column's default."""
        value = self.cells.get(column, "") or DEFAULTS.get(column, "")
        if not value:
            self.fault(column, "empty")
        return value

    def integer(self, column: str, least: int = 1, most: int = MAX_SIZE) -> int:
        """The cell as a whole number of least..most; ``least`` where it is none."""
        value = self.text(column)
        if value and not (value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most):
            self.fault(column, f"{value[:40]!r}, expected a whole number of {least} to {most}")
            return least
        return int(value) if value else least

    def share(self, column: str) -> float:
        """The cell as a number of 0..1."""
        value = self.text(column)
        number = float(value) if PLAIN_NUMBER.fullmatch(value) else -1.0
        if not 0 <= number <= 1:
            self.fault(column, f"{value[:40]!r}, expected a number of 0 to 1")
            return 1.0
        return number + 0.0  # of -0, 0
