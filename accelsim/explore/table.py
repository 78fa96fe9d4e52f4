"""A sweep's results as one table: a row a point, in the order of the points."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.errors import InputError
from accelsim.explore.evaluate import Outcome
from accelsim.explore.space import Point
from accelsim.explore.store import Store
from accelsim.files import write_text
from accelsim.names import cell

AMOUNTS = ("cycles", "energy_pj", "latency_ms")  # that every result has


def make_table(
    points: Sequence[Point], keys: Sequence[str | None], accuracy: Sequence[str | None], store: Store
) -> pd.DataFrame:
    """One row a point.

    keys, accuracy: of each point's simulation and of the measurement of its model variant; None
    where there is none.
    Columns: point, model and its variant, family, the parameters, what is known of the machine,
    status (done, failed, crashed, missing), error, every column of a result's total, ``edp_pj_ms``
    (energy x latency), and of the model variant what its measurement of accuracy says.
    """
    wanted = dict.fromkeys(key for key in (*keys, *accuracy) if key is not None)
    outcomes = {outcome.key: outcome for outcome in store.get(wanted)}
    rows = []
    for point, key, measured in zip(points, keys, accuracy, strict=True):
        outcome = Outcome("", "failed", point.error) if key is None else outcomes.get(key)
        row: dict[str, Any] = {"point": point.index, **point.variant.columns, "family": point.family}
        row |= {**point.parameters, **point.facts}
        row["status"] = "missing" if outcome is None else outcome.status
        row["error"] = "" if outcome is None else outcome.error
        if outcome is not None and outcome.total:
            total = _record(outcome.total, store)
            if not all(_is_amount(total.get(key)) for key in AMOUNTS):
                raise InputError(f"{store.path}: a result without {', '.join(AMOUNTS)}, expected those of a sweep")
            row |= total
            row["edp_pj_ms"] = total["energy_pj"] * total["latency_ms"]
        other = outcomes.get(measured) if measured is not None else None
        if other is not None and other.total:
            row |= _record(other.total, store)
        rows.append(row)
    return pd.DataFrame(rows)


def _record(text: str, store: Store) -> dict[str, Any]:
    """What is stored of a result, by column.  Raises InputError if it is no record."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{store.path}: {error}, expected the results of a sweep") from None
    if not isinstance(found, dict):
        raise InputError(f"{store.path}: a result that is no record, expected those of a sweep")
    return found


def _is_amount(value: object) -> bool:
    """Whether it is a number of 0 or more, which may be infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def layer_table(points: Sequence[Point], keys: Sequence[str | None], store: Store) -> pd.DataFrame:
    """One row a layer of each finished point: ``point`` and the layer's columns."""
    wanted = dict.fromkeys(key for key in keys if key is not None)
    texts = {outcome.key: outcome.layers for outcome in store.get(wanted) if outcome.layers}
    frames = []
    for point, key in zip(points, keys, strict=True):
        if key in texts:
            try:
                frames.append(pd.DataFrame(_record(texts[key], store)).assign(point=point.index))
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{store.path}: layers: {error}, expected those of a sweep") from None
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV: floats with all their digits, texts as no formulas.

    Equal tables give equal text.
    """
    text = io.StringIO()
    texts = table.select_dtypes(exclude="number").columns
    shown = {column: table[column].map(lambda v: cell(v) if isinstance(v, str) else v) for column in texts}
    table.assign(**shown).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    write_text(path, to_csv(table))
