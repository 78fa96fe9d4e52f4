"""A sweep from its file to its results.

Lay out the points, compute those that are not stored yet, read all back.

The folder of a sweep holds ``sweep.yaml`` (a copy of its description), ``results.sqlite`` and
``points.csv``.
"""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from accelsim.errors import InputError
from accelsim.explore.answers import Answers, answer, parameters_of
from accelsim.explore.description import SweepDescription, read_description
from accelsim.explore.evaluate import Outcome, Task
from accelsim.explore.local import processes, run_local
from accelsim.explore.search import check_search, search_points
from accelsim.explore.space import Point
from accelsim.explore.store import FILE_NAME, Store
from accelsim.explore.table import layer_table, make_table, write_table
from accelsim.explore.tasks import PointTasks, check_same, read_tasks, tasks_of
from accelsim.faults import shown
from accelsim.files import SWEEP, alone_in, read_bytes, write_bytes
from accelsim.links import same_place
from accelsim.results_folder import SWEEP as SWEEP_RESULTS
from accelsim.results_folder import check_kind

Executor = Callable[[Iterable[Task]], Generator[Outcome, None, None]]
Progress = Callable[[int, int, int], None]  # finished and failed so far, of how many


@dataclass(frozen=True)
class Sweep:
    """A finished sweep.

    table: one row a point (``make_table``).  layers: one row a layer of each finished point
    (``layer_table``).
    damaged: stored rows that did not fit their checksum; they were dropped and, in a run, computed
    again.
    paths: of the models' files, where they were found, by the table's word for them.
    """

    description: SweepDescription
    table: pd.DataFrame
    layers: pd.DataFrame
    damaged: int = 0
    paths: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: how many points, and what became of them."""
        counts = ", ".join(f"{count:,} {status}" for status, count in self.counts.items() if count)
        return f"Sweep({self.description.name!r}, {counts})"

    @property
    def counts(self) -> dict[str, int]:
        """How many points are done, failed, crashed and missing."""
        counts = Counter(self.table["status"])
        return {status: int(counts.get(status, 0)) for status in ("done", "failed", "crashed", "missing")}

    @property
    def synthetic(self) -> list[str]:
        """The models that are tables of layers, with random weights."""
        if "synthetic" not in self.table:
            return []
        return [str(name) for name in self.table.loc[self.table["synthetic"].notna(), "model"].unique()]

    @property
    def parameters(self) -> list[str]:
        """The columns of the table that are the sweep's axes and derived parameters."""
        return parameters_of(self.description, self.table)

    @cached_property
    def answers(self) -> Answers:
        """Fronts, knees, cheapest machines, sensitivities."""
        return answer(self.description, self.table)


def run_sweep(
    path: Path,
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    search: int | None = None,
    progress: Progress | None = None,
    replace: bool = False,
) -> Sweep:
    """Compute the points of a sweep that ``folder`` does not hold yet, and return all.

    workers: processes on this computer, all its cores by default.  scheduler: address of a Dask
    cluster instead.
    search: visit at most so many points, guided by the results, instead of all.
    replace: the folder may hold another sweep, whose place this one takes; results of the same
    points are used.
    Raises InputError if the sweep file is not sound, the folder holds another sweep or other
    results, is in use by one or cannot be written, the cluster is not to be had, or not one point
    can be simulated.
    """
    execute = executor(workers, scheduler)
    check_kind(folder, SWEEP_RESULTS)
    if not replace:
        check_same(path, folder)
    if search is None:
        sweep_tasks = read_tasks(path)
    else:
        description = read_description(path)
        check_search(description, search)
    with alone_in(folder, "another sweep"), Store(folder / FILE_NAME) as store:
        if not replace:
            check_same(path, folder)  # another one may have ended there since
        if not same_place(path, folder / "sweep.yaml"):
            write_bytes(folder / "sweep.yaml", read_bytes(path, SWEEP))
        if search is None:
            _remember(sweep_tasks, store)  # so that an interrupted sweep can be reported
            run_tasks(sweep_tasks.pending(store), store, execute, progress)
        else:
            sweep_tasks = guided(description, path.parent, search, store, execute, progress)
        sweep = read_back(sweep_tasks, store)
    write_table(sweep.table, folder / "points.csv")
    return sweep


def _store_of(folder: Path) -> Path:
    """The file of a folder's results.  Raises InputError if there is none."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise InputError(f"{folder}: holds no sweep, expected a folder with {FILE_NAME}")
    return path


def read_sweep(folder: Path) -> Sweep:
    """The sweep that a folder holds, as its last run left it.

    Nothing is computed, no model is read.

    Points that have no result yet are ``missing``.  Raises InputError if the folder holds none.
    """
    path = _store_of(folder)
    description = read_description(folder / "sweep.yaml")
    with Store(path) as store:
        try:
            kept = [json.loads(content) for content in store.points()]
            some = [Point.from_plain(content["point"]) for content in kept]
            keys = [content["key"] for content in kept]
            accuracy = [content["accuracy"] for content in kept]
            files = {content.get("of", description.digest) for content in kept}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{folder / FILE_NAME}: {error}, expected the points of a sweep; run it again") from None
        if not kept:
            raise InputError(f"{folder}: holds no points yet, expected a sweep that was begun; run it again")
        if files != {description.digest}:
            raise InputError(
                f"{folder / 'sweep.yaml'}: another sweep than that of the points in {FILE_NAME}, expected it as it was "
                "but for its report; run it again"
            )
        return _tables(description, some, keys, accuracy, store)


def read_points(folder: Path) -> list[Point]:
    """The points of the sweep that a folder holds.  Raises InputError if it holds none."""
    path = _store_of(folder)
    with Store(path) as store:
        return [Point.from_plain(json.loads(content)["point"]) for content in store.points()]


def read_back(sweep_tasks: PointTasks, store: Store) -> Sweep:
    """What is stored of a sweep's points; the store learns what they are."""
    _remember(sweep_tasks, store)
    keys = _keys(sweep_tasks.tasks)
    accuracy = _keys(sweep_tasks.accuracy)
    return _tables(sweep_tasks.description, sweep_tasks.points, keys, accuracy, store)


def _remember(sweep_tasks: PointTasks, store: Store) -> None:
    """Tell the store what the points are, and of which sweep (older stores do not say).

    Their facts may be infinite (unlimited memory), which our JSON can hold.
    """
    digest = sweep_tasks.description.digest
    rows = zip(sweep_tasks.points, _keys(sweep_tasks.tasks), _keys(sweep_tasks.accuracy), strict=True)
    store.put_points(
        json.dumps({"point": asdict(point), "key": key, "accuracy": measured, "of": digest}, separators=(",", ":"))
        for point, key, measured in rows
    )


def _keys(tasks: Sequence[Task | None]) -> list[str | None]:
    return [None if task is None else task.key for task in tasks]


def _tables(
    description: SweepDescription,
    some: Sequence[Point],
    keys: Sequence[str | None],
    accuracy: Sequence[str | None],
    store: Store,
) -> Sweep:
    table = make_table(some, keys, accuracy, store)
    layers = layer_table(some, keys, store)
    paths = {Path(point.variant.path).stem: point.variant.path for point in some}
    return Sweep(description, table, layers, store.damaged, paths)


def run_tasks(tasks: Sequence[Task], store: Store, execute: Executor, progress: Progress | None = None) -> None:
    """Do the tasks and keep each outcome as it comes."""
    if not tasks:
        return
    finished = 0
    failed = 0
    outcomes = execute(tasks)
    try:
        for outcome in outcomes:
            store.add(outcome)
            finished += 1
            failed += outcome.status != "done"
            if progress is not None:
                progress(finished, failed, len(tasks))
    finally:
        outcomes.close()


def guided(
    description: SweepDescription,
    root: Path,
    budget: int,
    store: Store,
    execute: Executor,
    progress: Progress | None = None,
) -> PointTasks:
    """The points that a guided search visits, in that order, computed and stored."""
    visited: list[Point] = []
    finished = 0

    def visit(some: Sequence[Point]) -> pd.DataFrame:
        nonlocal finished
        visited.extend(some)
        _remember(tasks_of(description, visited, root), store)
        batch = tasks_of(description, some, root)
        run_tasks(batch.pending(store), store, execute)
        finished += len(some)
        if progress is not None:
            progress(finished, 0, budget)
        return make_table(batch.points, _keys(batch.tasks), _keys(batch.accuracy), store)

    search_points(description, root, budget, visit)
    return tasks_of(description, visited, root)


def executor(workers: int | None, scheduler: str | None) -> Executor:
    """What runs the tasks: worker processes of this computer, or a Dask cluster."""
    if scheduler is not None:
        from accelsim.explore.cluster import check_scheduler, run_cluster

        if not isinstance(scheduler, str):
            raise InputError(f"scheduler {shown(scheduler)}, expected the address of a Dask cluster")
        if workers is not None:
            raise InputError(f"--workers {workers} with --scheduler, whose workers it has, expected one of them")
        check_scheduler(scheduler)
        return lambda tasks: run_cluster(tasks, scheduler)
    count = processes(workers)
    return lambda tasks: run_local(tasks, count)
