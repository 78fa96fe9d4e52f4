"""Cycles that an array takes beyond its multiplies, as counted in the register-transfer model (``tests/rtl``).

A step is one tile of outputs x filters x channels.  The units do not overlap their own steps, so each step pays for

- the lanes (output-stationary, Winograd): 3 cycles before the first multiply (take the step, fetch the weight counts of
  the first filter group, hand them to the streams) and 3 behind the last (operand, multiply, write the sums);
- a weight-stationary array: 1 cycle to take the step, ``rows`` to load the first weights, a row a cycle, and 2 behind
  the last position (multiply, add up and write).  Later weights are loaded behind the positions of the pass before, so
  a pass takes max(positions, rows);
- either transform unit: 1 cycle to start, 2 for its two passes.

Between filter groups and tap groups nothing is lost, but a group in which no lane has a weight takes the one cycle that
hands over its zero sums.  Input-stationary broadcast arrays are not part of the register-transfer model: they pay
nothing here.  Systolic and mesh feeds: see ``mode``.
"""

from typing import Literal

import numpy as np

from accelsim.arrays import Ints

Counts = int | Ints

LANE_STEP_CYCLES = 6
STATIONARY_STEP_CYCLES = 3
TRANSFORM_STEP_CYCLES = 3
EMPTY_GROUP_CYCLES = 1


def step_cycles(
    stationary: Literal["output", "weight", "input"], rows: int, steps: Counts, parts: Counts, tiles: Counts,
    passes: Counts,
) -> Ints:  # fmt: skip
    """Start-up, drain and waits for weights of broadcast arrays: of each step, or of all steps together.

    steps: 1 for each step, or their number.  The rest counts for ``weight`` only: rows, how many weights of a filter a
    column holds; tiles of outputs, that stream past in so many parts; passes, sets of weights of a part.
    """
    if stationary == "output":
        return np.asarray(LANE_STEP_CYCLES * steps)
    if stationary == "weight":
        waits = (parts * passes - steps) * np.maximum(rows - tiles // parts, 0)
        return np.asarray((STATIONARY_STEP_CYCLES + rows) * steps + waits)
    return np.zeros_like(steps, np.int64)
