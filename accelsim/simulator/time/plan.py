"""A layer's plan in its surroundings: the schedule without what no longer moves, what it scores, and the room it needs.

A schedule is made as if all maps lay in DRAM.  Where they do not, its loads and stores fall away, and with them the
accesses of the buffers that they made: a map on chip is read where it lies, and written there once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from accelsim.arrays import SUM_ERROR, round_up
from accelsim.errors import InputError
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import Transfer
from accelsim.simulator.time.schedule import Schedule, dram_actions
from accelsim.workload import LayerWork


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """How a machine runs a layer in its surroundings."""

    work: LayerWork
    machine: MachineDescription
    score: float  # by the machine's objective, as predicted
    needs: dict[str, int]  # bytes of each buffer
    weights_whole: bool  # whether all weights lie in the buffer at once
    make: Callable[[], Schedule]  # the steps, were all maps in DRAM

    @cached_property
    def whole(self) -> Schedule:
        """The steps, were all maps in DRAM: one with outputs to store finishes an output tile."""
        return self.make()

    @cached_property
    def schedule(self) -> Schedule:
        """The steps in the layer's surroundings."""
        return amid(self.whole, self.work, self.machine)


def amid(schedule: Schedule, work: LayerWork, machine: MachineDescription) -> Schedule:
    """The schedule of a layer whose maps lie where its surroundings say."""
    around = work.around
    if around.input_share == 1 and around.stores and around.output_share == 1:
        return schedule
    inputs = spread(schedule.inputs, around.input_share)
    outputs = spread(schedule.outputs, around.output_share * around.stores)
    transfers = (inputs, schedule.weights, outputs)
    n_bytes = sum(int(transfer.n_bytes.sum()) for transfer in transfers)
    rows = sum(int(transfer.rows.sum()) for transfer in transfers)
    actions = dict(schedule.actions)
    actions["input_write"] *= around.input_share
    if not around.stores or around.output_share < 1:  # the DMA does not read them
        unread = work.outputs * machine.arithmetic.activation_bits
        actions["output_read"] = max(0.0, actions["output_read"] - unread)
    actions |= {name: float(count) for name, count in dram_actions(n_bytes, rows).items()}
    return replace(schedule, inputs=inputs, outputs=outputs, actions=actions)


def spread(transfer: Transfer, share: float) -> Transfer:
    """A share of requests that follow one another: of all bytes exactly, rounded up once; none is split further.

    transfer: (steps,).
    """
    if share == 1:
        return transfer
    n_bytes = np.diff(round_up(share * transfer.n_bytes.cumsum(), SUM_ERROR), prepend=0)
    less = transfer.part(share)
    there = n_bytes > 0
    return Transfer(n_bytes=n_bytes, pieces=np.minimum(less.pieces, n_bytes) * there, rows=less.rows * there)


def check_room(machine: MachineDescription, work: LayerWork, needs: dict[str, int]) -> None:
    """Raise InputError if a layer needs more than the room that its surroundings leave to tiles."""
    around = work.around
    assert around.room is not None
    taken = needs["input"], needs["output"]
    short = (
        sum(taken) > around.room[0]
        if around.shared
        else any(need > room for need, room in zip(taken, around.room, strict=True))
    )
    if short:
        raise InputError(f"{machine.name}: layer {work.name}: no room for its tiles beside the maps on chip")
