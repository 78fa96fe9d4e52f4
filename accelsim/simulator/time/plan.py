"""A layer's plan in its surroundings.

The schedule without what no longer moves, what it scores, and the room it needs.

A schedule is made as if all maps lay in DRAM.  Where they do not, its loads and stores fall away,
and with them the accesses of the buffers that they made: a map on chip is read where it lies, and
written there once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from accelsim.arrays import SUM_ERROR, round_up
from accelsim.errors import InputError
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import Transfer
from accelsim.simulator.time.schedule import Schedule, dram_actions, without_weights
from accelsim.workload import LayerWork, Surroundings


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """How a machine runs a layer in its surroundings."""

    work: LayerWork
    machine: MachineDescription
    score: float  # by the machine's objective, as predicted
    needs: dict[str, int]  # bytes of each buffer
    weights_whole: bool  # whether all weights lie in the buffer at once
    weight_bytes: int  # of all weights, on chip or off, where they are fewer; 0: not known
    make: Callable[[], Schedule]  # the steps, were all maps in DRAM

    @cached_property
    def tile_bytes(self) -> int:
        """Bytes that its tiles take of the memories in which maps lie."""
        return sum(self.needs.get(name, 0) for name in self.machine.buffers.map_buffers)

    @cached_property
    def whole(self) -> Schedule:
        """The steps, were all maps in DRAM: one with outputs to store finishes an output tile."""
        return self.make()

    @cached_property
    def schedule(self) -> Schedule:
        """The steps in the layer's surroundings."""
        return amid(self.whole, self.work, self.machine)

    def with_steps(self) -> "LayerPlan":
        """The same plan with its steps, which holds nothing of the layer's weights."""
        whole = self.whole
        return replace(self, work=self.work.without_weights(), make=lambda: whole)


Planner = Callable[[Surroundings], LayerPlan]  # of one layer; raises InputError where it finds no room


def amid(schedule: Schedule, work: LayerWork, machine: MachineDescription) -> Schedule:
    """The schedule of a layer whose maps lie where its surroundings say."""
    around = work.around
    if around.weights == "there":
        schedule = without_weights(schedule)
    if around.input_share == 1 and around.stores and around.output_share == 1:
        return schedule
    inputs = spread(schedule.inputs, around.input_share)
    outputs = spread(schedule.outputs, around.output_share * around.stores)
    read = int(inputs.n_bytes.sum() + schedule.weights.n_bytes.sum())
    actions = dict(schedule.counts)
    actions["input_write"] *= around.input_share
    if not around.stores or around.output_share < 1:  # the DMA does not read them
        unread = work.outputs * machine.arithmetic.activation_bits
        actions["output_read"] = max(0.0, actions["output_read"] - unread)
    off_chip = dram_actions(read, int(outputs.n_bytes.sum()))
    actions |= {name: float(count) for name, count in off_chip.items()}
    return replace(schedule, inputs=inputs, outputs=outputs, counts=actions)


def spread(transfer: Transfer, share: float) -> Transfer:
    """A share of requests that follow one another: of all bytes exactly, rounded up once.

    None is split further.

    transfer: (steps,).
    """
    if share == 1:
        return transfer
    n_bytes = np.diff(round_up(share * transfer.n_bytes.cumsum(), SUM_ERROR), prepend=0)
    less = transfer.part(share)
    planes = less.planes * (n_bytes > 0)
    lines = np.minimum(less.lines, -(-n_bytes // np.maximum(planes, 1)))
    return replace(less, n_bytes=n_bytes, planes=planes, lines=lines)


def check_room(machine: MachineDescription, work: LayerWork, needs: dict[str, int]) -> None:
    """Raise InputError if a layer needs more than the room that its surroundings leave to tiles."""
    around = work.around
    assert around.room is not None
    if around.shared:
        short = sum(needs.get(name, 0) for name in machine.buffers.map_buffers) > around.room[0]
    else:
        taken = needs["input"], needs["output"]
        short = any(need > room for need, room in zip(taken, around.room, strict=True))
    if short:
        where = f"{machine.name}: layer {work.name}"
        raise InputError(f"{where}: no room for its tiles beside the maps on chip")
