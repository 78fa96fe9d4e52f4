"""The log of a training run: one row of a CSV file every so many steps."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.errors import InputError
from accelsim.files import LOG, read_text, write_text
from accelsim.sparsity.joint import Penalty
from accelsim.training.trainer import StepReport

COLUMNS = (
    "step",
    "epoch",
    "seconds",
    "loss",
    "accuracy",
    "rate",
    "s_sd",
    "s_wd",
    "sparsity_sd",
    "sparsity_wd",
    "R_sd",
    "R_wd",
    "theta_sd",
    "theta_wd",
    "coefficient_sd",
    "coefficient_wd",
    "images_per_s",
)


class TrainingLog:
    """The rows so far, and the file that always holds them all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, str]] = []

    def resume(self, steps: int) -> None:
        """Go on with the file's rows of the first so many steps.

        Raises InputError if it is no log.
        """
        if self._path.exists():
            try:
                rows = csv.DictReader(io.StringIO(read_text(self._path, LOG), newline=""))
                self._rows = [row for row in rows if int(row["step"]) <= steps]
            except (KeyError, TypeError, ValueError, csv.Error) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{self._path}: {error}, expected the log of this run") from None

    def add(
        self,
        report: StepReport,
        epoch: int,
        seconds: float,
        targets: tuple[float, float],
        images_per_s: float,
    ) -> None:
        """Add a row and write the file.

        seconds: of training so far.  targets: (s_SD, s_WD) of the coming step.
        """
        row = {
            "step": str(report.step),
            "epoch": str(epoch),
            "seconds": f"{seconds:.1f}",
            "loss": f"{report.loss:.5f}",
            "accuracy": f"{report.accuracy:.2f}",
            "rate": f"{report.rate:.3e}",
            "s_sd": f"{targets[0]:.4f}",
            "s_wd": f"{targets[1]:.4f}",
            **_penalty(report.spatial, report.z_sd, "sd"),
            **_penalty(report.winograd, report.z_wd, "wd"),
            "images_per_s": f"{images_per_s:.1f}",
        }
        self._rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._path, text.getvalue())


def _penalty(penalty: Penalty | None, z: float, domain: str) -> dict[str, Any]:
    """The columns of one domain, empty if it was not regularized."""
    figures = {
        "sparsity": "" if penalty is None else f"{penalty.sparsity:.4f}",
        "R": "" if penalty is None else f"{penalty.value:.4e}",
        "theta": "" if penalty is None else f"{penalty.threshold:.4e}",
        "coefficient": "" if penalty is None else f"{np.exp(z):.4e}",
    }
    return {f"{name}_{domain}": figure for name, figure in figures.items()}
