"""The bar that a person watches while a network trains; on stderr, so stdout is left alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from accelsim.sparsity.reconstruction import LayerReport
from accelsim.training.prices import Grid
from accelsim.training.trainer import StepReport


class Watch(Protocol):
    """Called after each step with what it measured and the speed in images per second."""

    def __call__(self, report: StepReport, images_per_s: float) -> None: ...


@contextmanager
def progress_bar(total_steps: int, done_steps: int, unit: str = "%") -> Iterator[Watch]:
    """A bar with loss, accuracy in its unit, sparsities, coefficients, speed and the time left."""
    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as progress:
        task = progress.add_task("", total=total_steps, completed=done_steps, figures="")
        smooth = np.zeros(2)
        seen = 0

        def watch(report: StepReport, images_per_s: float) -> None:
            nonlocal seen, smooth
            seen += 1
            smooth = smooth + (np.array([report.loss, report.accuracy]) - smooth) / min(seen, 50)
            parts = [f"loss {smooth[0]:.3g}", f"train {smooth[1]:.1f} {unit}"]
            for name, penalty, z in (("SD", report.spatial, report.z_sd), ("WD", report.winograd, report.z_wd)):
                if penalty is not None:
                    pull = f"R {penalty.value:.1e} x {np.exp(z):.1e}"
                    parts.append(f"{name} {100 * penalty.sparsity:.0f} % {pull}")
            parts.append(f"{images_per_s:.0f} images/s")
            progress.update(task, completed=report.step, figures="  ".join(parts))

        yield watch


def show_line(line: str) -> None:
    """A line of progress on stderr."""
    Console(stderr=True).print(line, highlight=False, soft_wrap=True)


def show_layer(report: LayerReport) -> None:
    """One line on stderr for a reconstructed layer."""
    winograd = f", {100 * report.zeros_wd:.0f} % small in the Winograd domain" if report.zeros_wd else ""
    line = f"{report.name}: {100 * report.zeros_sd:.0f} % zeros{winograd}"
    line += f", error {100 * report.error:.2f} %, {report.seconds:.1f} s"
    show_line(line)


def show_prices(name: str, grid: Grid) -> None:
    """One line on stderr for a layer whose prices are measured."""
    points = [point for row in grid for point in row]
    losses = [point.loss for point in points]
    bits = [bits for point in points for bits in point.bits]
    line = f"{name}: {len(points)} shares of zeros, loss {min(losses):.2g} to {max(losses):.2g}"
    line += f", {min(bits) / 8192:.1f} to {max(bits) / 8192:.1f} KiB"
    show_line(line)
