"""What a machine plans for one layer: its steps in order, in bytes and cycles, without any notion of time.

A step is one tile of outputs x one tile of filters x one tile of input channels.  A step that starts a new input or
weight tile loads it; a step that finishes an output tile (its last channel tile) stores it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Ints
from accelsim.hardware.dram import Transfer

Number = int | float | NDArray[Any]
ActionCounts = dict[str, Number]  # how often each thing happens that costs energy, by the names of ``hardware.energy``


def dram_actions(n_bytes: Number, rows: Number) -> ActionCounts:
    """What moving bytes to and from DRAM costs: rows opened, bits moved on its chips, bits driven over the line."""
    return {"dram_activate": rows, "dram_move_bit": 8 * n_bytes, "dram_io_bit": 8 * n_bytes}


@dataclass(frozen=True)
class Schedule:
    """Steps of one layer on one machine.  Arrays: (steps,) int64, zero where a step does not do the thing."""

    mode: str  # how the machine runs the layer
    inputs: Transfer  # loaded before the step may compute
    weights: Transfer  # loaded before the step may compute
    transform_cycles: Ints  # input transform of the new input tile; all zero unless ``transforms``
    compute_cycles: Ints  # of the lanes
    inverse_cycles: Ints  # inverse transform of the finished output tile
    outputs: Transfer  # stored when the step finishes an output tile
    weight_transform_cycles: Ints  # of the new weight tile, decoded and transformed as it arrives; else zero
    transforms: bool  # whether inputs pass through a transform unit, into a buffer of their own
    inverts: bool  # whether the sums of the lanes pass through an inverse transform unit
    effectual_macs: int  # multiplies executed
    useful_slots: float  # cycles x lanes spent on multiplies of real outputs
    waiting_slots: float  # cycles x lanes spent waiting for fuller lanes
    actions: dict[str, float]  # how often the layer does each thing that costs energy
    tiling: str = ""  # sizes of a tile, ``n=1 p=16 q=32 k=16 c=16``: images, output rows, columns, filters, channels
    loop_order: str = ""  # of the tiles, the outermost loop first, by the same letters; what stays on the chip

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
        return sum(int(transfer.rows.sum()) for transfer in self.transfers)

    def __len__(self) -> int:
        return len(self.compute_cycles)


def untransformed(
    *,
    mode: str,
    inputs: Transfer,
    weights: Transfer,
    compute_cycles: Ints,
    outputs: Transfer,
    effectual_macs: int,
    useful_slots: float,
    waiting_slots: float,
    actions: dict[str, float],
) -> Schedule:
    """Steps of a machine without transform units.  actions: on the chip; what the DRAM does is added to them."""
    none = np.zeros_like(compute_cycles)
    n_bytes = sum(int(transfer.n_bytes.sum()) for transfer in (inputs, weights, outputs))
    rows = sum(int(transfer.rows.sum()) for transfer in (inputs, weights, outputs))
    off_chip = {name: float(count) for name, count in dram_actions(n_bytes, rows).items()}
    return Schedule(
        mode=mode,
        inputs=inputs,
        weights=weights,
        transform_cycles=none,
        compute_cycles=compute_cycles,
        inverse_cycles=none,
        outputs=outputs,
        weight_transform_cycles=none,
        transforms=False,
        inverts=False,
        effectual_macs=effectual_macs,
        useful_slots=useful_slots,
        waiting_slots=waiting_slots,
        actions={**actions, **off_chip},
    )


def changes(index: Ints) -> Ints:
    """1 where a step works on another tile than the step before, else 0.  index: of each step's tile."""
    return np.append(1, (np.diff(index) != 0).astype(np.int64))
