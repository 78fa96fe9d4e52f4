"""The spatial-domain MAC array that holds outputs, weights or inputs still: rows x cols lanes on spatial filters.

``output_stationary``: each row computes one output position, each column one filter; a lane
accumulates one output.  ``weight_stationary``: each column holds weights of one filter, ``rows`` at
a time; positions stream past, one a cycle, and the column's products are summed on the way.
``input_stationary``: each column holds inputs of one position, ``rows`` at a time; filters stream
past, one a cycle.

What lanes do about zeros: ``tiles.gemm``; what a step takes beyond its multiplies:
``tiles.overhead``.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from accelsim.hardware.parts import Count, PeArray
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.tiles.description import SkippingDescription
from accelsim.simulator.tiles.gemm import gemm_mode
from accelsim.simulator.tiles.mode import Feed, LaneArray, Mode
from accelsim.simulator.tiles.schedule import best_planner, best_schedule, check_steps
from accelsim.simulator.tiles.selection import serve_together
from accelsim.simulator.time.plan import Planner
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork


class FedArray(PeArray):
    """Lanes in rows and columns, and how operands reach them."""

    feed: Feed = "broadcast"
    """To all lanes at once, from neighbour to neighbour, or over a mesh (``tiles.overhead``).
    Default: broadcast."""


class StationaryMachine(SkippingDescription, Machine):
    """An array whose lanes hold outputs, weights or inputs while the other operands stream past."""

    kind: Literal["spatial"]
    """Always ``spatial``."""
    dataflow: Literal["output_stationary", "weight_stationary", "input_stationary"] = "output_stationary"
    """What the lanes hold.  Default: output_stationary."""
    zero_handling: Literal["none", "gate", "skip_weights", "skip_both"] = "skip_weights"
    """What lanes do about zeros (``tiles.gemm``).  Default: skip_weights."""
    pe_array: FedArray
    """Lanes in rows and columns."""
    chunk: Count | None = None
    """Positions of a bitmask that an inner join takes at once, each chunk a cycle at least.
    Default: no such bound."""

    @model_validator(mode="after")
    def _check(self) -> "StationaryMachine":
        faults = []
        skips = self.zero_handling in {"skip_weights", "skip_both"}
        output_stationary = self.dataflow == "output_stationary"
        if skips and self.pe_array.feed != "broadcast":
            faults.append(
                f"pe_array.feed {self.pe_array.feed!r} keeps lanes in step, expected zero_handling none or gate"
            )
        if self.pe_array.feed == "mesh" and not output_stationary:
            faults.append("pe_array.feed 'mesh' expects dataflow output_stationary")
        if skips and self.dataflow == "input_stationary":
            faults.append("dataflow input_stationary expects zero_handling none or gate")
        if self.zero_handling == "skip_both" and not output_stationary:
            faults.append("zero_handling skip_both expects dataflow output_stationary")
        if self.chunk is not None and not (self.zero_handling == "skip_both" and output_stationary):
            faults.append("chunk expects zero_handling skip_both, dataflow output_stationary")
        if self.window > 1 and not (skips and output_stationary):
            faults.append("window over 1 expects zero_handling skip_weights or skip_both, dataflow output_stationary")
        faults += self.lane_faults(output_stationary and self.pe_array.feed == "broadcast")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def lanes(self) -> int:
        """Multipliers of the whole array."""
        return self.pe_array.rows * self.pe_array.cols

    @property
    def holds_weights(self) -> bool:
        """Whether the dataflow is weight-stationary."""
        return self.dataflow == "weight_stationary"

    @property
    def chunk_size(self) -> int | None:
        """Input channels that a lane looks at together, the key ``chunk``."""
        return self.chunk

    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of the layer at its best tiling."""
        return best_schedule(work, self)

    def planner(self, work: LayerWork) -> Planner:
        """Plans of the layer: the best mode's in each surroundings."""
        return best_planner(work, self)

    def prepare(self, works: Sequence[LayerWork]) -> None:
        """Serve the operand windows of all layers side by side, where lanes have them."""
        if self.operand_window is not None:
            serve_together(mode for work in works if work.weights is not None for mode in self.modes(work))

    def check(self, work: LayerWork) -> None:
        """Refuse a layer none of whose tilings fits in MAX_STEPS steps."""
        check_steps(work, self)

    def modes(self, work: LayerWork) -> tuple[Mode, ...]:
        """The one way in which the array executes a conv or linear layer: its dataflow."""
        rows = self.pe_array.rows
        cols = self.pe_array.cols
        match self.dataflow:
            case "output_stationary":
                name = "gemm-os"
                lanes = LaneArray(
                    positions=rows,
                    filters=cols,
                    feed=self.pe_array.feed,
                    **self.lanes_by_zeros,
                )
            case "weight_stationary":
                name = "gemm-ws"
                lanes = LaneArray(
                    filters=cols,
                    reduction=rows,
                    stationary="weight",
                    feed=self.pe_array.feed,
                )
            case "input_stationary":
                name = "gemm-is"
                lanes = LaneArray(
                    positions=cols,
                    reduction=rows,
                    stationary="input",
                    feed=self.pe_array.feed,
                )
        return (gemm_mode(work, self, name, lanes),)
