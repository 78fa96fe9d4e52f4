"""A sweep's results as one table: a row a point, in the order of the points."""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.explore.evaluate import Outcome, Task
from accelsim.explore.space import Point
from accelsim.explore.store import Store
from accelsim.files import write_text


def make_table(
    points: Sequence[Point], tasks: Sequence[Task | None], accuracy: Sequence[Task | None], store: Store
) -> pd.DataFrame:
    """One row a point.

    Columns: point, model and its variant, family, the parameters, what is known of the machine, status (done, failed,
    crashed, missing), error, every column of a result's total, ``edp_pj_ms`` (energy x latency), and of the model
    variant what its measurement of accuracy says.
    """
    keys = [task.key for task in (*tasks, *accuracy) if task is not None]
    outcomes = {outcome.key: outcome for outcome in store.get(dict.fromkeys(keys))}
    rows = []
    for point, task, measured in zip(points, tasks, accuracy, strict=True):
        outcome = Outcome("", "failed", point.error) if task is None else outcomes.get(task.key)
        row: dict[str, Any] = {"point": point.index, **point.variant.columns, "family": point.family}
        row |= {**point.parameters, **point.facts}
        row["status"] = "missing" if outcome is None else outcome.status
        row["error"] = "" if outcome is None else outcome.error
        if outcome is not None and outcome.total:
            total = json.loads(outcome.total)
            row |= total
            row["edp_pj_ms"] = total["energy_pj"] * total["latency_ms"]
        other = outcomes.get(measured.key) if measured is not None else None
        if other is not None and other.total:
            row |= json.loads(other.total)
        rows.append(row)
    return pd.DataFrame(rows)


def layer_table(points: Iterable[Point], tasks: Iterable[Task | None], store: Store) -> pd.DataFrame:
    """One row a layer of each finished point: ``point`` and the layer's columns."""
    wanted = {task.key: None for task in tasks if task is not None}
    texts = {outcome.key: outcome.layers for outcome in store.get(wanted) if outcome.layers}
    frames = [
        pd.DataFrame(json.loads(texts[task.key])).assign(point=point.index)
        for point, task in zip(points, tasks, strict=True)
        if task is not None and task.key in texts
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def to_csv(table: pd.DataFrame) -> str:
    """As CSV, floats with all their digits; the same table gives the same text."""
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    write_text(path, to_csv(table))
