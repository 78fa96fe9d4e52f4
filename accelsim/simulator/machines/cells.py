"""Cells of multipliers with a direct and a Winograd mode, as NVDLA's convolution core.

A cell works on one filter.  Directly it multiplies taps x channels input channels of one kernel
position a cycle; by F(m x m, r x r) it multiplies n x n taps x channels.  Inputs are transformed on
their way to the cells, every time that they are read (pre-add), results before they are accumulated
(post-add), so that neither takes time or a buffer; filters come transformed off line, with n^2 /
r^2 positions.  Layers with the Winograd kernel size at stride 1 run by Winograd, all others
directly; a ``hybrid`` machine takes what scores lower.

Rounding: channels come in atoms, filters in groups of all cells (columns), outputs of the Winograd
mode in blocks of m x m tiles.  Directly, a layer of few channels at stride s may fold s x s pixels
into s^2 times the channels and ceil(R / s) x ceil(S / s) kernel positions, where that takes fewer
slots (channel extension).  A cell holds its weights for a stripe of output positions, read once.

Sources: NVDLA primer and hardware architecture specification (cells of 64, 4 x 4 taps x 4 channels,
atoms, stripes, channel extension); MAC cycles of the open performance sheet, ceil16(C s^2) ceil(P)
ceil(Q) ceil16(K) R S / s^2 / MACs, / 2.25 where 3 x 3 (nvdla/hw issue 51), which keeps fractions
where this file rounds up.
Left out: latency of the pipeline beyond a step's start-up, bank conflicts of the convolution
buffer, zero-skipping of stored weights by the compressed weight format (moved fewer, multiplied
all).
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from accelsim.arrays import Ints
from accelsim.hardware.parts import Count, KeyGroup
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.winograd_domain import WinogradDescription
from accelsim.simulator.storage.weights import dense_slots, weight_bits
from accelsim.simulator.tiles.activity import spatial_products, winograd_products
from accelsim.simulator.tiles.mode import LaneArray, Mode, Slots, TransformUnits, operand_widths
from accelsim.simulator.tiles.schedule import best_planner, best_schedule, check_steps
from accelsim.simulator.time.plan import Planner
from accelsim.simulator.time.schedule import Schedule
from accelsim.transforms.adders import tile_additions
from accelsim.workload import LayerWork, block_sizes, over_taps


class Cells(KeyGroup):
    """What a cell multiplies at once, and in which multiples layers come."""

    channels: Count
    """Channels summed at each tap; taps x channels where a layer runs directly."""
    channel_atom: Literal[1, 2, 4, 8, 16] = 16
    """Channels come in multiples of it.  Default: 16."""
    block: Annotated[int, Field(ge=1, le=4)] = 1
    """Outputs are padded to block x block tiles.  Default: 1."""
    kernel: Annotated[int, Field(ge=2, le=5)] | None = 3
    """The kernel size that Winograd serves, null for none.  Default: 3."""
    stripe: Count = 16
    """Output positions for which a cell holds its weights.  Default: 16."""


class CellsMachine(WinogradDescription, Machine):
    """Cells that work in step, each on one filter, and transform on the fly."""

    zero_handling: Literal["none", "gate"]
    """What multipliers do about zeros; they never skip."""
    cells: Cells
    """The cells, one a filter (column)."""

    @model_validator(mode="after")
    def _check(self) -> "CellsMachine":
        faults = []
        array = self.pe_array
        if self.cells.kernel is not None:
            taps = (self.tile + self.cells.kernel - 1) ** 2
            if taps % array.taps:
                faults.append(f"pe_array.taps {array.taps}, expected a divisor of the {taps} taps of cells")
        for key, rate, needed in (
            ("transform_rate", self.transform_rate, array.rows * self.cells.channels),
            ("inverse_rate", self.inverse_rate, array.rows * array.cols),
        ):
            if rate < needed:
                faults.append(f"{key} {rate}, expected at least {needed} to keep pace with the cells")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def lanes(self) -> int:
        """Multipliers of the whole array."""
        array = self.pe_array
        return array.taps * self.cells.channels * array.rows * array.cols

    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of the layer in its best mode, at its best tiling."""
        return best_schedule(work, self)

    def planner(self, work: LayerWork) -> Planner:
        """Plans of the layer: the best mode's in each surroundings."""
        return best_planner(work, self)

    def check(self, work: LayerWork) -> None:
        """Refuse a layer none of whose tilings fits in MAX_STEPS steps."""
        check_steps(work, self)

    def modes(self, work: LayerWork) -> tuple[Mode, ...]:
        """The ways in which the machine executes a conv or linear layer: Winograd where it applies, or directly."""
        kernel = self.cells.kernel
        served = work.winograd_threshold is not None and work.stride == work.dilation == (1, 1)
        if not served or kernel is None or work.kernel != (kernel, kernel):
            return (_direct_mode(work, self),)
        winograd = _winograd_mode(work, self)
        return (winograd, _direct_mode(work, self)) if self.hybrid else (winograd,)


def _direct_mode(work: LayerWork, machine: CellsMachine) -> Mode:
    """One kernel position of taps x channels input channels a cycle."""
    array = machine.pe_array
    cells = machine.cells
    R, S = work.kernel
    blocks = work.block_nonzeros()
    stored = weight_bits(work, machine, over_taps(blocks), R * S)
    dense = int(dense_slots(work, blocks, R * S).sum())
    executed = dense
    gated = 0
    if machine.zero_handling == "gate":  # zero inputs count, too
        density = np.repeat(work.group_density(), work.out_channels // work.groups, axis=0)
        executed = round(float((work.nonzeros()[0] * density).sum()))
        gated = dense - executed
    return Mode(
        name="direct",
        work=work.without_weights(),
        m=1,
        slots=Slots(np.array(np.broadcast_to(_direct_slots(work, cells.channel_atom), blocks.shape), np.int64)),
        executed=executed,
        gated=gated,
        stored_bits=stored,
        dram_bits=stored,
        widths=operand_widths(work, machine),
        operand_bits=machine.arithmetic.activation_bits,
        lanes=LaneArray(
            positions=array.rows,
            filters=array.cols,
            reduction=cells.channels * array.taps,
        ),
        cell_products=spatial_products(work, machine),
        weight_reuse=cells.stripe,
    )


def _winograd_mode(work: LayerWork, machine: CellsMachine) -> Mode:
    """F(m x m, r x r) on blocks of tiles.

    Transformed inputs are rarely zero, so gating counts zero weights.
    """
    array = machine.pe_array
    cells = machine.cells
    m = machine.tile
    tiles = cells.block**2
    points = machine.points_of(m)
    blocks = work.block_nonzeros(m, points=points)
    taps, K, channel_blocks = blocks.shape
    stored = weight_bits(work, machine, over_taps(blocks), taps)
    dense = int(dense_slots(work, blocks, 1).sum())
    gates = machine.zero_handling == "gate"
    nonzeros = int(blocks.sum())
    slots = np.broadcast_to(_in_atoms(work, cells.channel_atom), (tiles * taps, K, channel_blocks))
    _, input_adds, inverse_adds = tile_additions(m, work.kernel, points)
    return Mode(
        name=f"winograd-f{m}",
        work=work.without_weights(),
        m=m * cells.block,
        slots=Slots(np.array(slots, np.int64)),
        executed=tiles * (nonzeros if gates else dense),
        gated=tiles * (dense - nonzeros) if gates else 0,
        stored_bits=stored,
        dram_bits=stored,
        widths=operand_widths(work, machine),
        operand_bits=machine.arithmetic.activation_bits,
        lanes=LaneArray(
            positions=array.rows,
            filters=array.cols,
            taps=array.taps,
            reduction=cells.channels,
        ),
        units=TransformUnits(input_adds=tiles * input_adds, inverse_adds=tiles * inverse_adds),
        cell_products=winograd_products(work, machine, m, dense, (), points),
        weight_reuse=cells.stripe,
    )


def _in_atoms(work: LayerWork, atom: int, fold: int = 1) -> Ints:
    """Channels of each block, ``fold`` pixels folded into each, in whole atoms: (blocks,)."""
    sizes = block_sizes(work.in_channels // work.groups)
    return np.asarray(-(-sizes * fold // atom) * atom)


def _direct_slots(work: LayerWork, atom: int) -> Ints:
    """Slots of one output of a filter for each block of channels: (blocks,)."""
    R, S = work.kernel
    stride_h, stride_w = work.stride
    folded = _in_atoms(work, atom, stride_h * stride_w) * -(-R // stride_h) * -(-S // stride_w)
    return np.minimum(_in_atoms(work, atom) * R * S, folded)
