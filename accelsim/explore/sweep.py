"""A sweep from its file to its table: plan the points, compute those that are not stored yet, read all back.

The folder of a sweep holds ``sweep.yaml`` (a copy of its description), ``results.sqlite`` and ``points.csv``.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from accelsim.errors import InputError
from accelsim.explore.description import Accuracy, Description, read_description
from accelsim.explore.evaluate import Outcome, Task, accuracy_task, evaluate, simulate_task
from accelsim.explore.local import default_workers, run_local
from accelsim.explore.space import Point, points
from accelsim.explore.store import FILE_NAME, Store
from accelsim.explore.table import make_table, write_table
from accelsim.files import write_bytes

Executor = Callable[[Iterable[Task]], Iterator[Outcome]]
Progress = Callable[[int, int], None]  # finished, failed so far

DRY_RUN_POINTS, DRY_RUN_SECONDS = 12, 10.0


@dataclass(frozen=True)
class Plan:
    """A sweep's points, and the tasks that they need.

    tasks: by point, the simulation; accuracy: by point, the measurement of its model variant, or None.
    """

    description: Description
    points: Sequence[Point]
    tasks: Sequence[Task | None]
    accuracy: Sequence[Task | None]

    @property
    def unique(self) -> dict[str, Task]:
        """Every task once, by key; measurements of accuracy first, as they take longest."""
        tasks = (*self.accuracy, *self.tasks)
        return {task.key: task for task in tasks if task is not None}

    def pending(self, store: Store) -> list[Task]:
        """The tasks without a result."""
        finished = store.finished()
        return [task for key, task in self.unique.items() if key not in finished]


@dataclass(frozen=True)
class Estimate:
    """What a dry run says.  seconds: None if there is nothing to do."""

    points: int
    stored: int
    pending: int
    workers: int
    point_seconds: float | None
    seconds: float | None


def plan(path: Path) -> Plan:
    """Read a sweep file and lay out its points.  Raises InputError as ``read_description`` and ``points``."""
    description = read_description(path)
    laid = points(description, path.parent)
    tasks = [
        None
        if point.machine is None
        else simulate_task(point.variant, point.machine, description.engine, description.batch)
        for point in laid
    ]
    accuracy: list[Task | None] = [None] * len(laid)
    if description.accuracy is not None:
        accuracy = [_accuracy(point, description.accuracy, path.parent) for point in laid]
    return Plan(description, laid, tasks, accuracy)


def _accuracy(point: Point, accuracy: Accuracy, root: Path) -> Task | None:
    if point.machine is None:
        return None
    images = next((p for p in (Path(accuracy.images), root / accuracy.images) if p.exists()), Path(accuracy.images))
    kind = str(point.machine["kind"])
    m = point.machine.get("tile")
    return accuracy_task(point.variant, kind, m if isinstance(m, int) else None, images, accuracy.count)


def run_sweep(
    path: Path,
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compute the points of a sweep that ``folder`` does not hold yet, and return all as a table, one row a point.

    workers: processes on this computer, all its cores by default.  scheduler: address of a Dask cluster instead.
    Raises InputError if the sweep file is not sound, the folder cannot be written, or the cluster is not to be had.
    """
    laid = plan(path)
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder / FILE_NAME) as store:
        write_bytes(folder / "sweep.yaml", path.read_bytes())
        pending = laid.pending(store)
        run_tasks(pending, store, executor(workers, scheduler), progress)
        table = make_table(laid.points, laid.tasks, laid.accuracy, store)
    write_table(table, folder / "points.csv")
    return table


def run_tasks(tasks: Sequence[Task], store: Store, execute: Executor, progress: Progress | None = None) -> None:
    """Do the tasks and keep each outcome as it comes."""
    if not tasks:
        return
    finished, failed = 0, 0
    with closing(execute(tasks)) as outcomes:  # type: ignore[type-var]
        for outcome in outcomes:
            store.add(outcome)
            finished += 1
            failed += outcome.status != "done"
            if progress is not None:
                progress(finished, failed)


def executor(workers: int | None, scheduler: str | None) -> Executor:
    """Where tasks run."""
    if scheduler is not None:
        from accelsim.explore.cluster import run_cluster

        return lambda tasks: run_cluster(tasks, scheduler)
    count = default_workers() if workers is None else workers
    if count < 1:
        raise InputError(f"--workers {count}, expected at least 1")
    return lambda tasks: run_local(tasks, count)


def estimate(path: Path, folder: Path, workers: int | None = None) -> Estimate:
    """How many points a sweep has and how long those not stored yet would take, by timing a few of them here.

    Writes nothing.
    """
    laid = plan(path)
    count = default_workers() if workers is None else workers
    pending = list(laid.unique.values())
    if (folder / FILE_NAME).is_file():
        with Store(folder / FILE_NAME) as store:
            pending = laid.pending(store)
    stored = len(laid.unique) - len(pending)
    if not pending:
        return Estimate(len(laid.points), stored, 0, count, None, None)
    evaluate(pending[0])  # loads the model and everything else that is done once
    step = max(1, len(pending) // DRY_RUN_POINTS)
    times = []
    begin = time.perf_counter()
    for task in pending[::step]:
        start = time.perf_counter()
        evaluate(task)
        times.append(time.perf_counter() - start)
        if time.perf_counter() - begin > DRY_RUN_SECONDS:
            break
    each = sum(times) / len(times)
    return Estimate(len(laid.points), stored, len(pending), count, each, each * len(pending) / count)


def summary(table: pd.DataFrame) -> dict[str, int]:
    """How many points are done, failed, crashed and missing."""
    counts = Counter(table["status"])
    return {status: int(counts.get(status, 0)) for status in ("done", "failed", "crashed", "missing")}
