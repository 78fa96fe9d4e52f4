"""The count of everything that costs energy in a layer, for one schedule or for all tilings of a search at once.

Memory accesses, each of whole operands at the width they are stored with:

- a weight, index included, is read once for each round of position lanes (output-stationary) or once a step
  (weight-stationary: it then stays in its lane), and broadcast to the lanes that share it;
- spatial inputs: a round of position lanes reads each distinct pixel under its outputs once for each filter group and
  multicasts it (weight-stationary: once for each position and row of weights);
- Winograd: the transform reads the n^2 pixels of each tile-channel and writes its n^2 transformed values; the lanes
  read those once for each filter group, whether or not a filter skips them;
- partial sums that leave the lanes (several channel tiles, or taps one after the other) are written to the output
  buffer and read back at accumulator width; finished outputs are written once and read once by the DMA.

Left out: network-on-chip wires, the post-processing unit's own energy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Ints
from accelsim.simulator.tiles.mode import Mode

Number = int | float | NDArray[Any]
Counts = dict[str, Number]


@dataclass(frozen=True)
class Totals:
    """Sums over a layer: numbers, or arrays over tilings that broadcast.

    tiles: tiles of m x m outputs.  rounds: of position lanes.  position_tiles, filter_tiles, channel_tiles: parts that
    each dimension is cut into.  rows, cols: outputs of a position tile.  tile_channels: channels of tiles that are
    loaded; filter_channels: channels of filters.  weight_bytes, input_bytes, output_bytes: moved to and from DRAM,
    which opens ``dram_rows``.  folds: of ``fold_counts``.
    """

    tiles: Number
    rounds: Number
    position_tiles: Number
    filter_tiles: Number
    channel_tiles: Number
    rows: Number
    cols: Number
    tile_channels: Number
    filter_channels: Number
    weight_bytes: Number
    input_bytes: Number
    output_bytes: Number
    dram_rows: Number
    folds: tuple[int, int]


def fold_counts(mode: Mode, barriers: Ints) -> tuple[int, int]:
    """Folds of the reduction: that inputs are read for, and in which partial sums leave.

    (0, 0) where lanes hold outputs.  barriers: of ``Mode.lane_cycles``.
    """
    of_group = barriers.sum(axis=1)
    if mode.stationary == "weight":
        in_group = np.diff(np.append(mode.group_starts, mode.work.out_channels))
        return int(of_group.sum()), int((of_group * in_group).sum())
    if mode.stationary == "input":
        return int(of_group.max()), int(of_group.sum())
    return 0, 0


def count_actions(mode: Mode, t: Totals) -> Counts:
    """How often the layer does each thing that costs energy (module docstring), by the names of the price list."""
    work = mode.work
    act, acc = mode.activation_bits, mode.accumulator_bits
    C_g, K = mode.group_channels, work.out_channels
    groups, outputs = len(mode.group_starts), work.outputs
    operand_bits = mode.transformed_bits if mode.transforms else act
    macs = mode.executed * t.tiles
    weight_reads = t.position_tiles if mode.stationary == "weight" else -(-t.rounds // mode.weight_reuse)
    actions: Counts = {
        "mac": macs,
        "gated_mac": mode.gated * t.tiles,
        "register_bit": macs * (mode.weight_bits + operand_bits),
        "index": macs if mode.weight_format != "dense" else 0,
        "weight_read": weight_reads * float(mode.stored_bits.sum()),
        "weight_write": 8 * t.weight_bytes,
        "input_write": 8 * t.input_bytes,
        **dram_actions(t.weight_bytes + t.input_bytes + t.output_bytes, t.dram_rows),
    }
    if mode.decoder_rate:
        actions["decode_symbol"] = t.filter_channels * mode.kernel_size
    partial_sums: Number  # values written to the output buffer and read back
    adds_in, adds_out = mode.transform_adds
    if mode.transforms:
        transforms = t.tile_channels * adds_in + t.tiles * K * adds_out
        actions["transform_add"] = transforms + t.filter_channels * mode.weight_transform_adds
        actions["input_read"] = t.tile_channels * (mode.taps * act)
        actions["transformed_write"] = t.tile_channels * (mode.taps * mode.transformed_bits)
        actions["transformed_read"] = t.tiles * (C_g * mode.taps * groups * mode.transformed_bits)
        serial = mode.tap_lanes < mode.taps
        leaves = t.channel_tiles if serial else np.where(np.asarray(t.channel_tiles) > 1, t.channel_tiles, 0)
        partial_sums = t.tiles * K * mode.taps * leaves
    elif any(mode.transform_adds):  # on the fly: inputs at every read, results of every fold of the channels
        reads, folds = t.tiles * (C_g * groups), -(-C_g // mode.reduction_lanes)
        actions["transform_add"] = reads * adds_in + t.tiles * (K * folds * adds_out)
        actions["input_read"] = reads * (mode.taps * act)
        partial_sums = outputs * (t.channel_tiles - 1)
    elif mode.stationary == "output":
        actions["input_read"] = t.tiles * _pixels_per_output(mode, t) * (C_g * groups * act)
        partial_sums = outputs * (t.channel_tiles - 1)
    else:
        reading, leaving = t.folds
        streams = t.filter_tiles if mode.stationary == "input" else 1
        actions["input_read"] = t.tiles * reading * streams * (mode.reduction_lanes * act)
        partial_sums = t.tiles * (leaving - K)
    actions["output_write"] = outputs * act + partial_sums * acc
    actions["output_read"] = outputs * act + partial_sums * acc
    return actions


def dram_actions(n_bytes: Number, rows: Number) -> Counts:
    """What moving bytes to and from DRAM costs: rows opened, bits moved on its chips, bits driven over the line."""
    return {"dram_activate": rows, "dram_move_bit": 8 * n_bytes, "dram_io_bit": 8 * n_bytes}


def _pixels_per_output(mode: Mode, t: Totals) -> NDArray[np.float64]:
    """Distinct pixels that a full round of position lanes reads, for each of its outputs; at most R S."""
    (R, S), (stride_h, stride_w), (dil_h, dil_w) = mode.work.kernel, mode.work.stride, mode.work.dilation
    cols = np.minimum(mode.position_lanes, t.cols)
    rows = np.minimum(t.rows, -(-mode.position_lanes // cols))
    high = (rows - 1) * stride_h + dil_h * (R - 1) + 1
    wide = (cols - 1) * stride_w + dil_w * (S - 1) + 1
    return np.asarray(np.minimum(R * S, high * wide / (rows * cols)))
