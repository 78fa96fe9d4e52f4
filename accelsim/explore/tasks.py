"""A sweep's points and the tasks that they need, before any is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from accelsim.explore.description import Accuracy, SweepDescription, read_description
from accelsim.explore.evaluate import Task, accuracy_task, simulate_task
from accelsim.explore.machines import machine_from
from accelsim.explore.space import Point, Variant, points
from accelsim.explore.store import Store
from accelsim.hardware.datapath import Datapath


@dataclass(frozen=True)
class PointTasks:
    """A sweep's points, and the tasks that they need."""

    description: SweepDescription
    points: Sequence[Point]
    tasks: Sequence[Task | None]  # by point, the simulation
    accuracy: Sequence[Task | None]  # by point, the measurement of its model variant, or None

    @property
    def unique(self) -> dict[str, Task]:
        """Every task once, by key; measurements of accuracy first, as they take longest."""
        tasks = (*self.accuracy, *self.tasks)
        return {task.key: task for task in tasks if task is not None}

    def pending(self, store: Store) -> list[Task]:
        """The tasks without a result."""
        finished = store.finished()
        return [task for key, task in self.unique.items() if key not in finished]


def read_tasks(path: Path) -> PointTasks:
    """Read a sweep file and lay out its points.

    Raises InputError as ``read_description`` and ``points``.
    """
    description = read_description(path)
    return tasks_of(description, points(description, path.parent), path.parent)


def tasks_of(description: SweepDescription, some: Sequence[Point], root: Path) -> PointTasks:
    """The tasks of some points.

    Raises InputError if accuracy is to be measured of no model that has weights, or images are
    missing.
    """
    check_measurable(description, [point.variant for point in some])
    tasks = [simulation_of(point, description) for point in some]
    accuracy: list[Task | None] = [None] * len(some)
    if description.accuracy is not None:
        accuracy = [measurement_of(point, description.accuracy, root) for point in some]
    return PointTasks(description, some, tasks, accuracy)


def check_measurable(description: SweepDescription, variants: Sequence[Variant]) -> None:
    """Raise InputError if accuracy is to be measured of tables alone."""
    if description.accuracy is not None and all(variant.is_table for variant in variants):
        raise InputError("accuracy: the models are tables, without weights to measure, expected a .dual file")


def simulation_of(point: Point, description: SweepDescription) -> Task | None:
    """The run of a point; None if its machine is none."""
    if point.machine is None:
        return None
    level = description.level_of(point.parameters)
    return simulate_task(point.variant, point.machine, description.engine, description.batch, level)


def measurement_of(point: Point, accuracy: Accuracy, root: Path) -> Task | None:
    """The measurement of a point's model variant on its machine; None if there is none."""
    if point.machine is None or point.variant.is_table:
        return None
    arithmetic = MeasuredArithmetic.of(point.machine, accuracy)
    images = images_of(accuracy, root)
    return accuracy_task(point.variant, arithmetic.kind, arithmetic.m, images, accuracy.count, arithmetic.datapath)


@dataclass(frozen=True)
class MeasuredArithmetic:
    """What of a machine decides the accuracy of a model on it."""

    kind: str
    m: int | None  # tile size, if it has one
    datapath: Datapath | None  # its whole numbers; None for float32

    @staticmethod
    def of(machine: Mapping[str, Any], accuracy: Accuracy) -> "MeasuredArithmetic":
        """That of a machine's ``model_dump``."""
        m = machine.get("tile")
        datapath = machine_from(machine).datapath if accuracy.word_widths else None
        return MeasuredArithmetic(str(machine["kind"]), m if isinstance(m, int) else None, datapath)


def images_of(accuracy: Accuracy, root: Path) -> Path:
    """The file of images: from the working folder, or beside the sweep's file."""
    given = Path(accuracy.images)
    return next((p for p in (given, root / given, root.parent / given) if p.exists()), given)


def check_same(path: Path, folder: Path) -> None:
    """Raises InputError if a folder is none, or holds another sweep than a file's."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: no folder, expected one to keep results in")
    held = folder / "sweep.yaml"
    given = read_description(path)
    if held.is_file() and read_description(held).model_copy(update={"name": given.name}) != given:
        raise InputError(
            f"{folder}: holds another sweep than {path}, expected a new folder, or --resume to go on in it"
        )
