"""What a dry run says of a sweep: how many points it has, and how long they would take here.

The first layers of one point are timed; what a measurement of accuracy takes is a stated cost of a
multiply.  It needs no tables, so it does not wait for pandas.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from accelsim.explore.description import Accuracy, SweepDescription, read_description
from accelsim.explore.evaluate import works_on
from accelsim.explore.local import processes
from accelsim.explore.machines import machine_from
from accelsim.explore.outline import Outline, outline, whole_outline
from accelsim.explore.space import Point
from accelsim.explore.store import FILE_NAME, Store, has_results
from accelsim.explore.tasks import check_same, images_of, measurement_of, read_tasks, simulation_of
from accelsim.explore.variants import variant_model
from accelsim.network.count import dense_macs
from accelsim.network.npz import first_axis
from accelsim.simulator.run import run_rows

TIMED_LAYERS = 10  # at most
# Of a dense MAC of a network that runs in whole numbers, on one core of a Xeon that others used, too: ResNet-20 took
# 0.19 ns on 600 images as the spatial machine computes it, 0.27 in tiles of 2 and 0.29 in tiles of 4.
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
    """What is stored and what is still to be done."""

    stored: int
    simulations: int
    measurements: int


def estimate(
    path: Path,
    folder: Path,
    workers: int | None = None,
    *,
    replace: bool = False,
) -> Estimate:
    """How many points a sweep has and how long those not stored yet would take.

    Computes nothing that is kept.  replace, and InputError, as of ``run_sweep``.
    """
    count = processes(workers)
    if not replace:
        check_same(path, folder)
    description = read_description(path)
    found, left = _counted(description, path, folder / FILE_NAME)
    point = None
    if left.simulations:
        point = _point_seconds(found.some[len(found.some) // 2], description)
    measurement = None
    if left.measurements and description.accuracy is not None:
        measurement = _measurement_seconds(found.measured[0], description.accuracy, path.parent)
    pending = left.simulations + left.measurements
    seconds = (left.simulations * (point or 0) + left.measurements * (measurement or 0)) / count
    return Estimate(
        points=found.points,
        stored=left.stored,
        pending=pending,
        measurements=left.measurements,
        about=found.about,
        workers=count,
        point_seconds=point,
        measurement_seconds=measurement,
        seconds=seconds if pending else None,
    )


def _counted(description: SweepDescription, path: Path, results: Path) -> tuple[Outline, _Left]:
    """The sweep's points and what is left of them, laid out one by one only where nothing less tells."""
    found = outline(description, path.parent)
    if found is not None and not has_results(results):
        return found, _Left(0, found.simulations, found.measurements)
    if found is not None and (left := _remembered(found, description, path.parent, results)):
        return found, left
    laid = read_tasks(path)
    pending = list(laid.unique.values())
    if has_results(results):
        with Store(results) as store:
            pending = laid.pending(store)
    simulations = sum(task.kind == "simulate" for task in pending)
    left = _Left(len(laid.unique) - len(pending), simulations, len(pending) - simulations)
    return whole_outline(laid), left


def _remembered(
    found: Outline,
    description: SweepDescription,
    root: Path,
    path: Path,
) -> _Left | None:
    """What is left, by the points that the store remembers; None if those are others, or older code computed them."""
    with Store(path) as store:
        finished = store.finished()
        try:
            remembered = [json.loads(content) for content in store.points()]
            simulations = {entry["key"] for entry in remembered} - {None}
            measurements = {entry["accuracy"] for entry in remembered} - {None}
        except (ValueError, KeyError, TypeError):
            return None
    tasks = [simulation_of(point, description) for point in found.some]
    if description.accuracy is not None:
        tasks += [measurement_of(point, description.accuracy, root) for point in found.measured]
    known = simulations | measurements
    if found.about or len(remembered) != found.points or any(task and task.key not in known for task in tasks):
        return None
    return _Left(len(known & finished), len(simulations - finished), len(measurements - finished))


def _point_seconds(point: Point, description: SweepDescription) -> float:
    """How long a simulation takes a core that does nothing else, its model being in memory: by its first layers."""
    machine = machine_from({**(point.machine or {}), "name": "machine"})
    works = works_on(point.variant, machine, description.batch)
    some = works[:TIMED_LAYERS]
    start = time.process_time()
    run_rows(some, machine, description.engine, description.level_of(point.parameters))
    return (time.process_time() - start) * len(works) / len(some)


def _measurement_seconds(point: Point, accuracy: Accuracy, root: Path) -> float:
    """How long a measurement of accuracy takes, by the multiplies of its images."""
    images = first_axis(images_of(accuracy, root), "labels")
    macs = sum(dense_macs(variant_model(point.variant).network.graph).values())
    return MAC_SECONDS * macs * min(images, accuracy.count or images)
