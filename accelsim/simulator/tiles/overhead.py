"""Cycles that an array takes beyond its multiplies: to start a step, to fill and to drain.

``broadcast`` feeds reach all lanes at once.  As counted in the register-transfer model
(``tests/rtl``), each step, one tile of outputs x filters x channels, pays for

- the lanes (output-stationary, Winograd): 3 cycles before the first multiply (take the step, fetch
  the weight counts of the first filter group, hand them to the streams) and 3 behind the last
  (operand, multiply, write the sums);
- a weight-stationary array: 1 cycle to take the step, ``rows`` to load the first weights, a row a
  cycle, and 2 behind the last position (multiply, add up and write).  Later weights are loaded
  behind the positions of the pass before, so a pass takes max(positions, rows);
- either transform unit: 1 cycle to start, 2 for its two passes.

The units do not overlap their own steps.  Between filter groups and tap groups nothing is lost, but
a group in which no lane has a weight takes the one cycle that hands over its zero sums.
Input-stationary broadcast arrays are not part of the register-transfer model: they pay nothing
here.

``systolic`` feeds add H + W - 2 cycles to each fold of an H x W array where it holds outputs and 2
H + W - 2 where it holds weights or inputs, less one of these cycles a layer (the closed forms of
SCALE-Sim 3); a ``mesh`` adds rows used + columns used + 3 to each fold (STONNE's output-stationary mesh).
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Ints
from accelsim.simulator.tiles.mode import LaneArray

IntOrInts = int | Ints

LANE_STEP_CYCLES = 6
STATIONARY_STEP_CYCLES = 3
TRANSFORM_STEP_CYCLES = 3
EMPTY_GROUP_CYCLES = 1


@dataclass(frozen=True)
class FoldSizes:
    """What overheads are counted from.

    Of single steps, as arrays, or, of sums, of a whole layer.
    """

    steps: IntOrInts  # how many
    position_tiles: IntOrInts  # parts that the outputs stream past in
    tiles: IntOrInts  # of m x m outputs
    rounds: IntOrInts  # of position lanes
    filter_groups: IntOrInts  # groups of filters side by side
    filters: IntOrInts  # in the filter tile
    cycles: IntOrInts  # of ``lanes.lane_cycles``


def fill_cycles(lanes: LaneArray, sizes: FoldSizes) -> Ints:
    """Cycles that starting, filling and draining the array adds."""
    if lanes.feed == "broadcast":
        return _step_cycles(lanes, sizes)
    if lanes.feed == "mesh":
        rows_and_starts = (sizes.tiles + 3 * sizes.rounds) * sizes.filter_groups
        return np.asarray(rows_and_starts + sizes.filters * sizes.rounds)
    if lanes.stationary == "output":
        fold = lanes.positions + lanes.filters - 2
        return np.asarray(fold * sizes.rounds * sizes.filter_groups)
    columns = lanes.filters if lanes.stationary == "weight" else lanes.positions
    fold = 2 * lanes.reduction + columns - 2
    if lanes.stationary == "weight":
        return np.asarray(fold * sizes.position_tiles * sizes.cycles)
    return np.asarray(fold * sizes.rounds * (sizes.cycles // sizes.filters))


def _step_cycles(lanes: LaneArray, sizes: FoldSizes) -> Ints:
    """Start-up, drain and waits for weights of broadcast arrays."""
    if lanes.stationary == "output":
        return np.asarray((LANE_STEP_CYCLES + lanes.start_cycles) * sizes.steps)
    if lanes.stationary == "weight":
        rows = lanes.reduction
        later_passes = sizes.position_tiles * sizes.cycles - sizes.steps
        waits = later_passes * np.maximum(rows - sizes.tiles // sizes.position_tiles, 0)
        return np.asarray((STATIONARY_STEP_CYCLES + rows) * sizes.steps + waits)
    return np.zeros_like(sizes.steps, np.int64)
