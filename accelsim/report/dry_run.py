"""A dry run on the terminal."""

from rich.console import Console

from accelsim.explore.estimate import Estimate


def show_estimate(out: Console, e: Estimate) -> None:
    """What a dry run found."""
    about = "about " if e.about else ""
    of_accuracy = f" ({e.measurements} of accuracy)" if e.measurements else ""
    line = f"{about}{e.points} points; results stored {e.stored}, to compute {about}{e.pending}{of_accuracy}"
    out.print(line, highlight=False)
    if e.seconds is None:
        return
    parts = []
    if e.point_seconds is not None:
        parts.append(f"{1000 * e.point_seconds:.0f} ms a point")
    if e.measurement_seconds is not None:
        parts.append(f"{_time(e.measurement_seconds)} a measurement of accuracy")
    out.print(f"about {', '.join(parts)}, {_time(e.seconds)} with {e.workers} worker(s)", highlight=False)


def _time(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
