"""One row of the validation report."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One quantity compared with one reference over some cases.

    mean_percent, worst_percent: of |simulator - reference| / reference, in percent; where points of a share are
    compared (a utilization, an efficiency), the points.  command: makes the comparison again.  remark: the worst case,
    and what was fitted on what, if anything was.
    """

    what: str
    reference: str
    cases: int
    mean_percent: float
    worst_percent: float
    command: str
    remark: str = ""


def errors(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Mean and worst |simulator - reference| / reference of (simulator, reference) pairs, in percent."""
    found = [100 * abs(ours - theirs) / abs(theirs) for ours, theirs in pairs]
    return sum(found) / len(found), max(found)


def compared(what: str, reference: str, pairs: Sequence[tuple[float, float]], command: str, remark: str = "") -> Row:
    """The row of (simulator, reference) pairs, one a case."""
    mean, worst = errors(pairs)
    return Row(
        what=what,
        reference=reference,
        cases=len(pairs),
        mean_percent=mean,
        worst_percent=worst,
        command=command,
        remark=remark,
    )
