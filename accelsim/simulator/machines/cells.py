"""Cells of multipliers with a direct and a Winograd mode, as NVDLA's convolution core.

A cell works on one filter.  Directly it multiplies taps x channels input channels of one kernel position a cycle; by
F(m x m, r x r) it multiplies n x n taps x channels.  Inputs are transformed on their way to the cells, every time that
they are read (pre-add), results before they are accumulated (post-add), so that neither takes time or a buffer; filters
come transformed off line, with n^2 / r^2 positions.  Layers with the Winograd kernel size at stride 1 run by Winograd,
all others directly; a ``hybrid`` machine takes what scores lower.

Rounding: channels come in atoms, filters in groups of all cells (columns), outputs of the Winograd mode in blocks of
m x m tiles.  Directly, a layer of few channels at stride s may fold s x s pixels into s^2 times the channels and
ceil(R / s) x ceil(S / s) kernel positions, where that takes fewer slots (channel extension).  A cell holds its weights
for a stripe of output positions, read once.

Sources: NVDLA primer and hardware architecture specification (cells of 64, 4 x 4 taps x 4 channels, atoms, stripes,
channel extension); MAC cycles of the open performance sheet, ceil16(C s^2) ceil(P) ceil(Q) ceil16(K) R S / s^2 / MACs,
/ 2.25 where 3 x 3 (nvdla/hw issue 51), which keeps fractions where this file rounds up.
Left out: latency of the pipeline beyond a step's start-up, bank conflicts of the convolution buffer, zero-skipping of
stored weights by the compressed weight format (moved fewer, multiplied all).
"""

import numpy as np

from accelsim.arrays import Ints
from accelsim.hardware.machine import WinogradMachine
from accelsim.hardware.parts import Cells
from accelsim.simulator.machines.stationary import dense_slots, operand_settings, weight_bits
from accelsim.simulator.tiles.mode import Mode
from accelsim.transforms.adders import tile_additions
from accelsim.workload import CHANNEL_BLOCK, LayerWork


def cell_modes(work: LayerWork, machine: WinogradMachine, cells: Cells) -> list[Mode]:
    """The ways in which the machine executes a conv or linear layer: Winograd where it applies, or directly."""
    served = work.winograd_threshold is not None and work.stride == work.dilation == (1, 1)
    if not served or cells.kernel is None or work.kernel != (cells.kernel, cells.kernel):
        return [_mode(work, machine, cells, 1)]
    winograd = _mode(work, machine, cells, machine.tile)
    return [winograd, _mode(work, machine, cells, 1)] if machine.hybrid else [winograd]


def _mode(work: LayerWork, machine: WinogradMachine, cells: Cells, m: int) -> Mode:
    """Directly (m = 1), or by F(m x m, r x r)."""
    array = machine.pe_array
    blocks = work.block_nonzeros(m)
    (R, S), in_winograd = work.kernel, m > 1
    tiles = cells.block**2 if in_winograd else 1
    if in_winograd:
        of_block, window = _in_atoms(work, cells.channel_atom), len(blocks)
    else:
        of_block, window = _direct_slots(work, cells.channel_atom), R * S
    stored = weight_bits(work, machine, blocks.sum(axis=0), window)
    dense, kept = int(dense_slots(work, blocks, 1 if in_winograd else R * S).sum()), int(blocks.sum())
    if not in_winograd and machine.zero_handling == "gate":  # zero inputs too; transformed ones are rarely zero
        density = np.broadcast_to(work.input_density, (work.in_channels,)).reshape(work.groups, -1).astype(np.float64)
        of_filters = np.repeat(density, work.out_channels // work.groups, axis=0)
        kept = round(float((work.nonzeros()[0] * of_filters).sum()))
    gates = machine.zero_handling == "gate"
    adds_in, adds_out = tile_additions(m, work.kernel)[1:] if in_winograd else (0, 0)
    return Mode(
        name=f"winograd-f{m}" if in_winograd else "direct",
        work=work,
        m=m * (cells.block if in_winograd else 1),
        slots=np.array(np.broadcast_to(of_block, (tiles * len(blocks), *blocks.shape[1:])), np.int64),
        executed=tiles * (kept if gates else dense),
        gated=tiles * (dense - kept) if gates else 0,
        stored_bits=stored,
        dram_bits=stored,
        position_lanes=array.rows,
        filter_lanes=array.cols,
        tap_lanes=array.taps if in_winograd else 1,
        reduction_lanes=cells.channels * (1 if in_winograd else array.taps),
        transformed_bits=machine.arithmetic.activation_bits,
        **operand_settings(work, machine),
        transform_adds=(tiles * adds_in, tiles * adds_out),
        weight_reuse=cells.stripe,
    )


def _in_atoms(work: LayerWork, atom: int, fold: int = 1) -> Ints:
    """Channels of each block, ``fold`` pixels folded into each, in whole atoms: (blocks,)."""
    channels = work.in_channels // work.groups
    in_block = np.minimum(CHANNEL_BLOCK, channels - np.arange(0, channels, CHANNEL_BLOCK))
    return np.asarray(-(-in_block * fold // atom) * atom)


def _direct_slots(work: LayerWork, atom: int) -> Ints:
    """Slots of one output of a filter for each block of channels: (blocks,)."""
    (R, S), (s_h, s_w) = work.kernel, work.stride
    folded = _in_atoms(work, atom, s_h * s_w) * -(-R // s_h) * -(-S // s_w)
    return np.minimum(_in_atoms(work, atom) * R * S, folded)
