"""A dry run on the terminal."""

from rich.console import Console

from accelsim.explore.estimate import Estimate


def show_estimate(out: Console, e: Estimate) -> None:
    """What a dry run found."""
    out.print(f"{e.points} points; results stored {e.stored}, to compute {e.pending}", highlight=False)
    if e.seconds is not None and e.point_seconds is not None:
        out.print(
            f"about {1000 * e.point_seconds:.0f} ms a point, {_time(e.seconds)} with {e.workers} worker(s)",
            highlight=False,
        )


def _time(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
