"""The rows of a CSV file from outside, read strictly: a quote that is not closed would swallow the rows behind it."""

import csv
import io
from pathlib import Path

from accelsim.errors import InputError


def csv_rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Number (the first is 1) and cells of every row that is not blank.

    path: of the file, for messages.  text: its content.  Raises InputError that names the file and
    the row.
    """
    rows = []
    number = 0
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1):
            if cells:
                rows.append((number, cells))
    except csv.Error as error:
        fault = "a quote is not closed" if "unexpected end of data" in str(error) else str(error)
        raise InputError(f"{path}: row {number + 1}: {fault}, expected a CSV file") from None
    return rows
