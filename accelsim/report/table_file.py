"""A table in the format that its file's ending says: CSV, or Parquet and Arrow, which keep types and are read at once.

Parquet and Arrow files are written by pyarrow (extra ``tables``).  A result's model, machine,
engine, level and total go into their metadata, as JSON under the key ``accelsim``.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.errors import InputError
from accelsim.explore.table import to_csv
from accelsim.files import write_bytes
from accelsim.report.plain import to_json
from accelsim.simulator.result import Result

ENDINGS = (".csv", ".parquet", ".arrow")
METADATA = "accelsim"


def check_ending(path: Path) -> None:
    """Raise InputError if a table cannot be written there, for its ending or for want of pyarrow."""
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: ending {path.suffix!r}, expected one of {', '.join(ENDINGS)}")
    if path.suffix != ".csv":
        _pyarrow(path)


def write_results(results: Sequence[Result], path: Path) -> None:
    """Write the layers of some results, a row a layer, in front of each the model and the machine; atomically.

    Raises InputError as ``check_ending``, or if the file cannot be written.
    """
    frames = []
    for result in results:
        names = pd.DataFrame({"model": result.model, "machine": result.machine}, index=result.layers.index)
        frames.append(pd.concat([names, result.layers], axis=1))
    facts = [{key: value for key, value in result.to_json().items() if key != "layers"} for result in results]
    write_table(pd.concat(frames, ignore_index=True), path, {"results": facts})


def write_table(table: pd.DataFrame, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a table, atomically.  facts: for the metadata of Parquet and Arrow.

    Raises as ``write_results``.
    """
    check_ending(path)
    if path.suffix == ".csv":
        write_bytes(path, to_csv(table).encode())
        return
    pyarrow = _pyarrow(path)
    content = pyarrow.Table.from_pandas(table, preserve_index=False)
    content = content.replace_schema_metadata({METADATA: to_json(facts or {})})
    sink = io.BytesIO()
    if path.suffix == ".parquet":
        from pyarrow import parquet

        parquet.write_table(content, sink)
    else:
        with pyarrow.ipc.new_file(sink, content.schema) as file:
            file.write_table(content)
    write_bytes(path, sink.getvalue())


def _pyarrow(path: Path) -> Any:
    """The module ``pyarrow``.  Raises InputError that says how to install it."""
    try:
        import pyarrow
    except ImportError:
        raise InputError(f"{path}: Parquet and Arrow files need a package more, pip install pyarrow") from None
    return pyarrow
