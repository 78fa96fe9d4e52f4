"""What a dry run says of a sweep: how many points it has, and how long they would take here.

One point is timed; what a measurement of accuracy takes is a stated cost of a multiply.  It needs
no tables, so it does not wait for pandas.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from accelsim.explore.description import read_description
from accelsim.explore.evaluate import Task, evaluate, load
from accelsim.explore.local import processes
from accelsim.explore.outline import Outline, outline, whole_outline
from accelsim.explore.space import size
from accelsim.explore.store import FILE_NAME, Store, has_results
from accelsim.explore.tasks import PointTasks, check_same, read_tasks
from accelsim.explore.variants import variant_model
from accelsim.network.count import dense_macs
from accelsim.network.npz import first_axis

LAID_OUT = 64  # samples, at most, of a sweep all of whose points are laid out
# Of a dense MAC of a network that runs in whole numbers, on one core of a 2.x GHz Xeon that others used, too: ResNet-20
# took 0.19 ns on 600 images as the spatial machine computes it, 0.27 in tiles of 2 and 0.29 in tiles of 4.
MAC_SECONDS = 0.25e-9


@dataclass(frozen=True)
class Estimate:
    """What a dry run says."""

    points: int
    stored: int  # tasks that have a result
    pending: int  # tasks that have none: simulations and measurements of accuracy
    measurements: int  # of those, the measurements
    about: bool  # the counts are scaled from what came of the machines that were tried
    workers: int
    point_seconds: float | None  # of a simulation; None if none is to be done
    measurement_seconds: float | None  # of a measurement of accuracy; None if none is to be done
    seconds: float | None  # of all pending tasks; None if there are none


@dataclass(frozen=True)
class _Left:
    """What there is and what is still to be done."""

    points: int
    stored: int
    simulations: int
    measurements: int


def estimate(path: Path, folder: Path, workers: int | None = None, *, replace: bool = False) -> Estimate:
    """How many points a sweep has and how long those not stored yet would take.

    Computes nothing that is kept.  replace, and InputError, as of ``run_sweep``.
    """
    count = processes(workers)
    if not replace:
        check_same(path, folder)
    store = folder / FILE_NAME
    description = read_description(path)
    found = outline(description, path.parent) if size(description) > LAID_OUT else None
    left = None if found is None else _left(found, store)
    if found is None or left is None:
        laid = read_tasks(path)
        found = whole_outline(laid)
        left = _left_of(laid, store)
    point = _point_seconds(found.some[len(found.some) // 2]) if left.simulations else None
    measurement = _measurement_seconds(found.measured[0]) if left.measurements else None
    pending = left.simulations + left.measurements
    seconds = (left.simulations * (point or 0) + left.measurements * (measurement or 0)) / count
    return Estimate(
        points=left.points,
        stored=left.stored,
        pending=pending,
        measurements=left.measurements,
        about=found.about,
        workers=count,
        point_seconds=point,
        measurement_seconds=measurement,
        seconds=seconds if pending else None,
    )


def _left(found: Outline, path: Path) -> _Left | None:
    """What is left by what the store remembers of its points; None if those are not the sweep's, or old code's."""
    if not has_results(path):
        return _Left(found.points, 0, found.simulations, found.measurements)
    with Store(path) as store:
        finished = store.finished()
        try:
            remembered = [json.loads(content) for content in store.points()]
            simulations = {entry["key"] for entry in remembered} - {None}
            measurements = {entry["accuracy"] for entry in remembered} - {None}
        except (ValueError, KeyError, TypeError):
            return None
    known = simulations | measurements
    if any(task.key not in known for task in (*found.some, *found.measured)):
        return None
    if len(remembered) != found.points and not found.about:  # a guided search's
        return None
    return _Left(
        points=len(remembered),
        stored=len(known & finished),
        simulations=len(simulations - finished),
        measurements=len(measurements - finished),
    )


def _left_of(laid: PointTasks, path: Path) -> _Left:
    """What is left of a sweep all of whose points are laid out."""
    unique = laid.unique
    pending = list(unique.values())
    if has_results(path):
        with Store(path) as store:
            pending = laid.pending(store)
    simulations = sum(task.kind == "simulate" for task in pending)
    return _Left(len(laid.points), len(unique) - len(pending), simulations, len(pending) - simulations)


def _point_seconds(task: Task) -> float:
    """How long a simulation takes, its model being in memory."""
    load(task)
    start = time.perf_counter()
    evaluate(task)
    return time.perf_counter() - start


def _measurement_seconds(task: Task) -> float:
    """How long a measurement of accuracy takes, by the multiplies of its images."""
    images = first_axis(Path(task.options["images"]), "labels")
    macs = sum(dense_macs(variant_model(task.variant).network.graph).values())
    return MAC_SECONDS * macs * min(images, task.options["count"] or images)
