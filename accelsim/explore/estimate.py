"""What a dry run says of a sweep: how many points it has, and how long they would take here.

It needs no tables, so it does not wait for pandas.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from accelsim.explore.evaluate import evaluate
from accelsim.explore.local import processes
from accelsim.explore.store import FILE_NAME, Store, has_results
from accelsim.explore.tasks import check_same, read_tasks

TIMED_POINTS = 12  # at most
# No other point is timed after so long, or after this share of the time that is foretold.
TIMED_SECONDS = 0.3
TIMED_SHARE = 0.01


@dataclass(frozen=True)
class Estimate:
    """What a dry run says."""

    points: int
    stored: int  # tasks that have a result
    pending: int  # tasks that have none
    workers: int
    point_seconds: float | None  # None if there is nothing to do
    seconds: float | None  # of all pending tasks


def estimate(path: Path, folder: Path, workers: int | None = None, *, replace: bool = False) -> Estimate:
    """How many points a sweep has and how long those not stored yet would take, by timing a few of them here.

    Computes nothing that is kept.  replace, and InputError, as of ``run_sweep``.
    """
    count = processes(workers)
    if not replace:
        check_same(path, folder)
    sweep_tasks = read_tasks(path)
    pending = list(sweep_tasks.unique.values())
    if has_results(folder / FILE_NAME):
        with Store(folder / FILE_NAME) as store:
            pending = sweep_tasks.pending(store)
    stored = len(sweep_tasks.unique) - len(pending)
    if not pending:
        return Estimate(len(sweep_tasks.points), stored, 0, count, None, None)
    evaluate(pending[0])  # loads the model and everything else that is done once
    some = pending[:: max(1, len(pending) // TIMED_POINTS)]
    middle = len(some) // 2
    taken = 0.0
    each = 0.0
    # from the middle on: the first ones are all at one end of the axes
    for timed, task in enumerate((*some[middle:], *some[:middle]), 1):
        start = time.perf_counter()
        evaluate(task)
        taken += time.perf_counter() - start
        each = taken / timed
        if taken > min(TIMED_SECONDS, TIMED_SHARE * each * len(pending)):
            break
    return Estimate(len(sweep_tasks.points), stored, len(pending), count, each, each * len(pending) / count)
