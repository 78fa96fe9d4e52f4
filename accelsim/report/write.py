"""A folder of results: CSV tables, plots as PNG and SVG, and ``report.html``."""

from collections.abc import Collection, Mapping
from pathlib import Path

from accelsim.errors import InputError
from accelsim.files import write_folder
from accelsim.report.html import page
from accelsim.report.plots import plots
from accelsim.report.tables import TOTALS, Comparison, older_files, to_csv
from accelsim.results_folder import COMPARISON, check_kind


def report_files(comparison: Comparison, *, with_tables: bool = True) -> dict[str, bytes]:
    """Content of each file of the report by its name; the same comparison gives the same bytes."""
    files = to_csv(comparison) if with_tables else {}
    return files | plots(comparison) | {"report.html": page(comparison).encode()}


def write_comparison(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a report's files, all at once, in the place of those of an older report.

    Raises InputError if the folder holds other results, or cannot be written.
    """
    check_kind(folder, COMPARISON)
    write_files(folder, files, older_files(folder) if TOTALS in files else ())


def write_files(folder: Path, files: Mapping[str, bytes], replaced: Collection[str] = ()) -> None:
    """Write the files all at once; ``replaced`` go.

    Raises InputError if the folder cannot be written.
    """
    try:
        write_folder(folder, files, replaced)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}, expected a folder to write to") from None
