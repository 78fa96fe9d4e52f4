"""What a machine plans for one layer: its steps in order, in bytes and cycles.

There is no notion of time in it.

A step is one tile of outputs x one tile of filters x one tile of input channels.  A step that
starts a new input or weight tile loads it; a step that finishes an output tile (its last channel
tile) stores it.  The DMA serves these requests in a fixed order, so that the rows of the DRAM that
each opens are known here, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Ints
from accelsim.hardware.dram import Transfer, busiest_share, opened_rows
from accelsim.hardware.parts import Dram

AHEAD = 2  # steps whose tiles are loaded before a step is done
APART = 1 << 40  # bytes between the tensors of two layers, which share no row
TOGETHER = 1 << 16  # steps of schedules whose rows are counted together

Number = int | float | NDArray[Any]
# how often each thing happens that costs energy, by the names of ``hardware.energy``
ActionCounts = dict[str, Number]


def dram_actions(read_bytes: Number, written_bytes: Number) -> ActionCounts:
    """What bytes from and to DRAM cost, rows apart.

    Bits read and written on its chips and driven over the line.
    """
    return {
        "dram_read_bit": 8 * read_bytes,
        "dram_write_bit": 8 * written_bytes,
        "dram_read_io_bit": 8 * read_bytes,
        "dram_write_io_bit": 8 * written_bytes,
    }


@lru_cache(maxsize=256)
def request_order(steps: int) -> Ints:
    """The DMA's order: loads of steps 0 and 1, then loads of i + 2, store of i.

    Inputs come before weights.  As an index into all loads of inputs, all loads of weights, all
    stores, laid end to end.
    """
    step = np.arange(steps)
    loads = np.where(step < AHEAD, step, 2 * step - AHEAD)
    stores = 2 * step + AHEAD + 1
    return np.argsort(np.concatenate([2 * loads, 2 * loads + 1, 2 * stores]))


@dataclass(frozen=True)
class Schedule:
    """Steps of one layer on one machine.

    Arrays: (steps,) int64, zero where a step does not do the thing.
    """

    mode: str  # how the machine runs the layer
    inputs: Transfer  # loaded before the step may compute
    weights: Transfer  # loaded before the step may compute
    transform_cycles: Ints  # input transform of the new input tile; all zero unless ``transforms``
    compute_cycles: Ints  # of the lanes
    inverse_cycles: Ints  # inverse transform of the finished output tile
    outputs: Transfer  # stored when the step finishes an output tile
    dram: Dram  # that serves these loads and stores
    # of the new weight tile, decoded and transformed as it arrives; else zero
    weight_transform_cycles: Ints
    transforms: bool  # whether inputs pass through a transform unit, into a buffer of their own
    inverts: bool  # whether the sums of the lanes pass through an inverse transform unit
    effectual_macs: int  # multiplies executed
    useful_slots: float  # cycles x lanes spent on multiplies of real outputs
    waiting_slots: float  # cycles x lanes spent waiting for fuller lanes
    # how often the layer does each thing that costs energy, but for DRAM rows opened
    counts: dict[str, float]
    # of these what weights bring with them as they arrive: decoding, transforms
    on_arrival: dict[str, float] = field(default_factory=dict)
    # sizes of a tile, ``n=1 p=16 q=32 k=16 c=16``: images, output rows, columns, filters, channels
    tiling: str = ""
    # of the tiles, the outermost loop first, by the same letters; what stays on the chip
    loop_order: str = ""

    @cached_property
    def rows(self) -> Ints:
        """DRAM rows that each request newly opens: (3, steps), inputs, weights, outputs."""
        order = request_order(len(self))
        return opened_rows(self.dram.timing, self.dram.channels, self.transfers, order)

    @cached_property
    def busiest_share(self) -> float:
        """Share of the layer's DRAM bursts that the busiest channel moves."""
        run = np.zeros(len(self), np.int64)
        return float(busiest_share(self.dram.timing, self.dram.channels, self.transfers, run)[0])

    @cached_property
    def actions(self) -> dict[str, float]:
        """How often the layer does each thing that costs energy."""
        return {**self.counts, "dram_activate": float(self.dram_rows)}

    @property
    def transfers(self) -> tuple[Transfer, Transfer, Transfer]:
        """All that moves to and from DRAM."""
        return self.inputs, self.weights, self.outputs

    @property
    def dram_bytes(self) -> int:
        """Bytes of all transfers together."""
        return sum(int(transfer.n_bytes.sum()) for transfer in self.transfers)

    @property
    def dram_rows(self) -> int:
        """DRAM rows that all transfers together open."""
        return int(self.rows.sum())

    def __len__(self) -> int:
        return len(self.compute_cycles)


def rows_of_all(schedules: Sequence[Schedule]) -> list[int]:
    """DRAM rows that each of some schedules on one DRAM opens, as ``Schedule.dram_rows``; of few steps at once."""
    timing = schedules[0].dram.timing
    steps = sum(len(schedule) for schedule in schedules)
    if steps > TOGETHER or APART % (timing.row_bytes * timing.interleaved_groups) or APART % timing.burst_bytes:
        return [schedule.dram_rows for schedule in schedules]
    return _rows_at_once(schedules)


def _rows_at_once(schedules: Sequence[Schedule]) -> list[int]:
    """``rows_of_all``, one behind the other, in banks that the ones before have left open at other rows."""
    dram = schedules[0].dram
    lengths = np.array([len(schedule) for schedule in schedules])
    first = np.cumsum(lengths) - lengths
    together = [
        Transfer.of_all([replace(one, address=one.address + i * APART) for i, one in enumerate(kind)])
        for kind in zip(*(schedule.transfers for schedule in schedules), strict=True)
    ]
    orders = []
    for begin, steps in zip(first.tolist(), lengths.tolist(), strict=True):
        kind, step = np.divmod(request_order(steps), steps)
        orders.append(kind * int(lengths.sum()) + begin + step)
    rows = opened_rows(dram.timing, dram.channels, together, np.concatenate(orders))
    return [int(count) for count in np.add.reduceat(rows.sum(axis=0), first)]


def untransformed(
    *,
    mode: str,
    inputs: Transfer,
    weights: Transfer,
    compute_cycles: Ints,
    outputs: Transfer,
    dram: Dram,
    effectual_macs: int,
    useful_slots: float,
    waiting_slots: float,
    actions: dict[str, float],
) -> Schedule:
    """Steps of a machine without transform units.

    actions: on the chip; what the DRAM does is added to them.
    """
    none = np.zeros_like(compute_cycles)
    read = int(inputs.n_bytes.sum() + weights.n_bytes.sum())
    written = int(outputs.n_bytes.sum())
    off_chip = {name: float(count) for name, count in dram_actions(read, written).items()}
    return Schedule(
        mode=mode,
        inputs=inputs,
        weights=weights,
        transform_cycles=none,
        compute_cycles=compute_cycles,
        inverse_cycles=none,
        outputs=outputs,
        dram=dram,
        weight_transform_cycles=none,
        transforms=False,
        inverts=False,
        effectual_macs=effectual_macs,
        useful_slots=useful_slots,
        waiting_slots=waiting_slots,
        counts={**actions, **off_chip},
    )


def without_weights(schedule: Schedule) -> Schedule:
    """A layer's steps when its weights are there already."""
    none = np.zeros_like(schedule.compute_cycles)
    read = int(schedule.inputs.n_bytes.sum())
    written = int(schedule.outputs.n_bytes.sum())
    off_chip = {name: float(count) for name, count in dram_actions(read, written).items()}
    without = {name: schedule.counts[name] - count for name, count in schedule.on_arrival.items()}
    return replace(
        schedule,
        weights=Transfer.contiguous(none),
        weight_transform_cycles=none,
        counts=schedule.counts | without | off_chip | {"weight_write": 0.0},
        on_arrival={},
    )


def changes(index: Ints) -> Ints:
    """1 where a step works on another tile than the step before, else 0.

    index: of each step's tile.
    """
    return np.append(1, (np.diff(index) != 0).astype(np.int64))
