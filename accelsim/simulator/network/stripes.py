"""Which rows of each layer of a stack every stripe works on.

Plain whole numbers, whatever the machine.

A stack is worked on in stripes of rows of its last layer's output, from the top: for each stripe
all of its layers in turn, each on the rows that those behind it ask for (``needed_first``,
``needed_end``).  Rows that two stripes ask for are either kept on chip, so that each row of each
layer is computed once, or computed again in each stripe: two of the modes of depth-first schedules
of DeFiNES (HPCA 2023), which cuts columns, too.  Where a layer computes tiles of m x m outputs its
stripes are multiples of m rows: it runs ahead by up to m - 1 rows.

What a stack reads from outside comes stripe by stripe: with the rows that overlap, or, where rows
are kept, without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Rows(NamedTuple):
    """Rows of a map from ``first`` to before ``end``."""

    first: int
    end: int

    @property
    def height(self) -> int:
        """How many rows these are."""
        return self.end - self.first


@dataclass(frozen=True)
class Stage:
    """A layer of a stack, as far as its rows go; a stage stands behind those that it reads."""

    # numbers of earlier stages; what comes from outside the stack is left out
    reads: tuple[int, ...]
    size: int  # rows of its input
    outputs: int  # rows of its output
    stride: int
    reach: int  # rows of input that a row of output reaches over
    padding: int  # rows above the input
    granule: int = 1  # rows of output come in multiples of it, but for the last ones

    def needed_first(self, row: int) -> int:
        """The first row of input that this row of output and those below it read."""
        return min(max(row * self.stride - self.padding, 0), self.size)

    def needed_end(self, end: int) -> int:
        """How many rows of input the rows of output up to ``end`` read.

        All of them read to the last, as in a layer.
        """
        if end >= self.outputs:
            return self.size
        return min(max((end - 1) * self.stride - self.padding + self.reach, 0), self.size) if end else 0

    def asked_end(self, end: int) -> int:
        """``needed_end``, below 1 where rows further down are what is asked for.

        end: of rows of output, that may still be below 1 itself.
        """
        if end >= self.outputs:
            return self.size
        return min((end - 1) * self.stride - self.padding + self.reach, self.size)

    def up(self, rows: int) -> int:
        """So many rows in whole granules."""
        return min(-(-rows // self.granule) * self.granule, self.outputs)

    def down(self, row: int) -> int:
        """The first row of a row's granule."""
        return row // self.granule * self.granule


def cut(stages: Sequence[Stage], height: int, keeps: bool) -> list[list[Rows]]:
    """Rows that each stage computes in each stripe of ``height`` rows of the last one: [stripe][stage].

    keeps: whether rows that stripes share stay on chip; else each stripe computes them again.
    """
    done = [0] * len(stages)
    found = []
    for start in range(0, stages[-1].outputs, height):
        asked = Rows(start, min(start + height, stages[-1].outputs))
        rows = _of_stripe(stages, asked, done if keeps else None)
        done = [of_stage.end for of_stage in rows]
        found.append(rows)
    return found


def cut_with_lead(stages: Sequence[Stage], height: int) -> list[list[Rows]]:
    """``cut`` where rows are kept, with stripes in front in which the first stages alone get ahead.

    So no stage computes more rows in the first stripes than in any other, and buffers need not hold
    them.
    """
    start = height
    while max(_ends(stages, start - height)) > 0:
        start -= height
    done = [0] * len(stages)
    found = []
    for end in range(start, stages[-1].outputs + height, height):
        asked = _ends(stages, min(end, stages[-1].outputs))
        rows = [Rows(before, max(before, to)) for before, to in zip(done, asked, strict=True)]
        done = [of_stage.end for of_stage in rows]
        found.append(rows)
    return found


def _ends(stages: Sequence[Stage], end: int) -> list[int]:
    """How many rows each stage has where the last one has come to ``end``.

    Below 1 for how far it is away.
    """
    ends = [end] * len(stages)
    asked: list[list[int]] = [[] for _ in stages]
    for i in reversed(range(len(stages))):
        if asked[i]:
            ends[i] = stages[i].up(max(asked[i]))
        for source in stages[i].reads:
            asked[source].append(stages[i].asked_end(ends[i]))
    return ends


def _of_stripe(stages: Sequence[Stage], asked: Rows, done: Sequence[int] | None) -> list[Rows]:
    """Rows of each stage in one stripe.  done: rows of each that are there already."""
    firsts = [stage.outputs for stage in stages]
    ends = [0] * len(stages)
    firsts[-1], ends[-1] = asked
    for i in reversed(range(len(stages))):
        stage = stages[i]
        if i < len(stages) - 1:
            ends[i] = stage.up(ends[i])
            firsts[i] = stage.down(min(firsts[i], ends[i]))
        if done is not None:
            firsts[i] = done[i]
            ends[i] = max(ends[i], done[i])
        for source in stage.reads:
            ends[source] = max(ends[source], stage.needed_end(ends[i]))
            firsts[source] = min(firsts[source], stage.needed_first(firsts[i]))
    return [Rows(first, end) for first, end in zip(firsts, ends, strict=True)]


def buffered_rows(
    stages: Sequence[Stage],
    stripes: Sequence[Sequence[Rows]],
    i: int,
    keeps: bool,
) -> int:
    """Rows of a stage's output that its buffer holds at most.

    Kept ones and new ones, or those of one stripe.
    """
    if not keeps:
        return max(rows[i].height for rows in stripes)
    readers = [j for j, stage in enumerate(stages) if i in stage.reads]
    return max(rows[i].end - min(stages[j].needed_first(rows[j].first) for j in readers) for rows in stripes)
