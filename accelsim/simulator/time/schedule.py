"""What a machine plans for one layer: its steps in order, in bytes and cycles, without any notion of time.

A step is one tile of outputs x one tile of filters x one tile of input channels.  A step that starts a new input or
weight tile loads it; a step that finishes an output tile (its last channel tile) stores it.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Ints
from accelsim.hardware.dram import Transfer
from accelsim.simulator.tiles.actions import dram_actions


@dataclass(frozen=True)
class Schedule:
    """Steps of one layer on one machine.  Arrays: (steps,) int64, zero where a step does not do the thing.

    inputs, weights: loaded before the step may compute.
    transform_cycles: input transform of the new input tile; all zero unless ``transforms``.
    weight_transform_cycles: of the new weight tile, decoded and transformed as it arrives; zero where that is
        off line.
    compute_cycles: of the lanes.  inverse_cycles: inverse transform of the finished output tile.
    outputs: stored when the step finishes an output tile.
    transforms: whether inputs pass through the transform unit and outputs through the inverse transform unit.
    useful_slots, waiting_slots: cycles times lanes spent on multiplies of real outputs, and waiting for fuller lanes.
    actions: how often the layer does each thing that costs energy, by the names of ``hardware.energy``.
    """

    mode: str
    inputs: Transfer
    weights: Transfer
    transform_cycles: Ints
    compute_cycles: Ints
    inverse_cycles: Ints
    outputs: Transfer
    weight_transform_cycles: Ints
    transforms: bool
    effectual_macs: int
    useful_slots: float
    waiting_slots: float
    actions: dict[str, float]

    @property
    def transfers(self) -> tuple[Transfer, Transfer, Transfer]:
        """All that moves to and from DRAM."""
        return self.inputs, self.weights, self.outputs

    @property
    def dram_bytes(self) -> int:
        """Of all transfers together."""
        return sum(int(transfer.n_bytes.sum()) for transfer in self.transfers)

    def __len__(self) -> int:
        return len(self.compute_cycles)


def untransformed(
    mode: str,
    inputs: Transfer,
    weights: Transfer,
    compute_cycles: Ints,
    outputs: Transfer,
    *,
    effectual_macs: int,
    useful_slots: float,
    waiting_slots: float,
    actions: dict[str, float],
) -> Schedule:
    """Steps of a machine without transform units.  actions: on the chip; what the DRAM does is added to them."""
    none = np.zeros_like(compute_cycles)
    n_bytes, rows = (
        sum(int(getattr(t, what).sum()) for t in (inputs, weights, outputs)) for what in ("n_bytes", "rows")
    )
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
        effectual_macs=effectual_macs,
        useful_slots=useful_slots,
        waiting_slots=waiting_slots,
        actions={**actions, **{name: float(count) for name, count in dram_actions(n_bytes, rows).items()}},
    )


def changes(index: Ints) -> Ints:
    """1 where a step works on another tile than the step before, else 0.  index: of each step's tile."""
    return np.append(1, (np.diff(index) != 0).astype(np.int64))
