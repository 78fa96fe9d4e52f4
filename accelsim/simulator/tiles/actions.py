"""The count of everything that costs energy in a layer, for one schedule or for all tilings of a search at once.

Memory accesses, each of whole operands at the width they are stored with:

- a weight, index included, is read once for each round of position lanes (output-stationary) or
  once a step (weight-stationary: it then stays in its lane), and broadcast to the lanes that share
  it;
- spatial inputs: a round of position lanes reads each distinct pixel under its outputs once for
  each filter group and multicasts it, or injects R S of them a channel at each row where the feed
  is systolic (weight-stationary: once for each position and row of weights);
- Winograd: the transform reads the n^2 pixels of each tile-channel and writes its n^2 transformed
  values; the lanes read those once for each filter group, whether or not a filter skips them;
- partial sums that leave the lanes (several channel tiles, or taps one after the other) are written
  to the output buffer and read back at accumulator width; finished outputs are written once and
  read once by the DMA.
- operand windows (``selection``): every position is written once for each group of filters, and
  read for the columns that ask for it together; what a column takes in passes the choice among the
  banks.  A lane of several sums chooses one of them at every multiply;
- transforms between buffer and lanes (``streamed``) read the pixels under the tiles of a round of
  position lanes, those that tiles share once, and transform them for each group of filters and
  taps; lanes that transform results (``in_lanes``) add each finished tap into a row of outputs,
  each finished row into the m x m, and these leave as outputs do.

Under the energy table ``gates``, also what streams and transform units do, and the bits between
buffers and array.

Left out: network-on-chip wires, the post-processing unit's own energy.
"""

from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.simulator.tiles.activity import multiplies
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.selection import served
from accelsim.simulator.time.schedule import ActionCounts, Number, dram_actions


@dataclass(frozen=True)
class LayerSums:
    """What the actions of a layer are counted from.

    Numbers, or arrays over tilings that broadcast.
    """

    tiles: Number  # of m x m outputs
    rounds: Number  # of position lanes
    position_tiles: Number  # parts that the positions are cut into
    filter_tiles: Number  # parts that the filters are cut into
    channel_tiles: Number  # parts that the channels are cut into
    rows: Number  # outputs of a position tile
    cols: Number  # outputs of a position tile
    tile_channels: Number  # channels of m x m tiles that are loaded
    filter_channels: Number  # channels of filters that are loaded
    weight_bytes: Number  # moved from DRAM
    input_bytes: Number  # moved from DRAM
    output_bytes: Number  # moved to DRAM
    folds: tuple[int, int]  # of ``fold_counts``


def fold_counts(mode: Mode, barriers: Ints) -> tuple[int, int]:
    """Folds of the reduction: that inputs are read for, and in which partial sums leave.

    (0, 0) where lanes hold outputs.  barriers: of ``lanes.lane_cycles``.
    """
    folds = barriers.sum(axis=1)
    if mode.lanes.stationary == "weight":
        filters = np.diff(np.append(mode.group_starts, mode.work.out_channels))
        return int(folds.sum()), int((folds * filters).sum())
    if mode.lanes.stationary == "input":
        return int(folds.max()), int(folds.sum())
    return 0, 0


def count_actions(mode: Mode, sums: LayerSums) -> ActionCounts:
    """How often the layer does each thing that costs energy (module docstring), by the names of the price list."""
    widths = mode.widths
    macs = mode.executed * sums.tiles
    actions: ActionCounts = {
        **_count_lanes(mode, sums),
        "weight_read": _weight_reads(mode, sums) * float(mode.stored_bits.sum()),
        "weight_write": 8 * sums.weight_bytes,
        "input_write": 8 * sums.input_bytes,
        **dram_actions(sums.weight_bytes + sums.input_bytes, sums.output_bytes),
    }
    if mode.decoder_rate:
        actions["decode_symbol"] = sums.filter_channels * mode.kernel_size
    _count_selection(mode, sums, macs, actions)
    if mode.units.streamed or mode.units.in_lanes:
        partial_sums: Number = _count_lane_transforms(mode, sums, actions)
    elif mode.transforms:
        partial_sums = _count_transforms(mode, sums, actions)
    elif mode.units.input_adds or mode.units.inverse_adds:
        partial_sums = _count_transforms_on_the_fly(mode, sums, actions)
    elif mode.lanes.stationary == "output":
        read: Number = sums.tiles * _pixels_per_output(mode, sums)
        channels = mode.group_channels * len(mode.group_starts)
        actions["input_read"] = read * (channels * widths.activation_bits)
        partial_sums = mode.work.outputs * (sums.channel_tiles - 1)
    else:
        read_folds, left_folds = sums.folds
        read = sums.tiles * read_folds * _input_streams(mode, sums)
        actions["input_read"] = read * (mode.lanes.reduction * widths.activation_bits)
        partial_sums = sums.tiles * (left_folds - mode.work.out_channels)
    finished_bits = mode.work.outputs * widths.activation_bits
    output_bits = finished_bits + partial_sums * widths.accumulator_bits
    actions["output_write"] = output_bits
    actions["output_read"] = output_bits
    if mode.products is not None:
        to_lanes = ("weight_read", "input_read", "transformed_write", "transformed_read")
        from_lanes = output_bits + partial_sums * widths.accumulator_bits  # written, and read back
        there = [actions[name] for name in to_lanes if name in actions]
        actions["wire"] = sum(there, start=from_lanes)
    return actions


def _count_lanes(mode: Mode, sums: LayerSums) -> ActionCounts:
    """Multiplies and what brings their operands.

    As published energies tell them apart, or as gates do.
    """
    macs = mode.executed * sums.tiles
    gated = mode.gated * sums.tiles
    if mode.products is None:
        return multiplies(macs, mode.cell_products, mode.mac_action) | {
            "gated_mac": gated,
            "register_bit": _register_bits(mode, sums, macs),
            "index": _indices(mode, sums, macs) if mode.widths.weight_format != "dense" else 0,
        }
    steps, starts = _count_streams(mode, sums)
    return multiplies(macs, mode.products, mode.mac_action, mode.lanes.stationary != "output") | {
        "gated_mac": gated,
        "stream_step": steps,
        "stream_start": starts,
    }


def _count_streams(mode: Mode, sums: LayerSums) -> tuple[Number, Number]:
    """Weights that streams hand to their lanes, and streams begun.

    Each of a filter group, tap group and channel tile.

    Lanes that hold weights or inputs instead take a set of operands a position or filter, and each
    is filled anew.
    """
    lanes = mode.lanes
    if lanes.stationary == "output":
        taps = -(-mode.taps // lanes.taps) * lanes.taps
        filters = len(mode.group_starts) * lanes.filters
        handed = (mode.executed + mode.gated) / lanes.reduction
        reads = _weight_reads(mode, sums)
        return reads * handed, reads * sums.channel_tiles * (taps * filters)
    read_folds, _ = sums.folds
    held = lanes.reduction * lanes.filters * lanes.positions
    return sums.tiles * read_folds, sums.position_tiles * (read_folds * held)


def _input_streams(mode: Mode, sums: LayerSums) -> Number:
    """How often the inputs of a fold are read.

    Lanes that hold inputs read those of each filter tile and its groups.
    """
    if mode.lanes.stationary == "weight":
        return 1
    return np.maximum(sums.filter_tiles, mode.work.groups)


def _weight_reads(mode: Mode, sums: LayerSums) -> Number:
    """How often all weights are read from their buffer."""
    if mode.lanes.stationary == "weight":
        return sums.position_tiles
    return -(-sums.rounds // mode.weight_reuse)


def _count_transforms(mode: Mode, sums: LayerSums, actions: ActionCounts) -> Number:
    """Add what transform units do.

    Gives the values that are written to the output buffer and read back.
    """
    units = mode.units
    K = mode.work.out_channels
    transforms = sums.tile_channels * units.input_adds + sums.tiles * K * units.inverse_adds
    if mode.products is None:
        actions["transform_add"] = transforms + sums.filter_channels * units.weight_adds
    else:
        actions["transform_add"] = sums.filter_channels * units.weight_adds
        actions[f"input_tile{mode.of_tile_size}"] = sums.tile_channels * units.phases
        actions[f"inverse_tile{mode.of_tile_size}"] = sums.tiles * (K * units.phases)
    _count_stored_inputs(mode, sums, actions)
    left: Number = sums.tiles * K * mode.taps * _leaves(mode, sums)
    return left


def _count_stored_inputs(mode: Mode, sums: LayerSums, actions: ActionCounts) -> None:
    """Add what transformed inputs in a buffer of their own cost."""
    actions["input_read"] = sums.tile_channels * (mode.taps * mode.widths.activation_bits)
    actions["transformed_write"] = sums.tile_channels * (mode.taps * mode.operand_bits)
    operands = mode.group_channels * mode.taps * len(mode.group_starts)
    actions["transformed_read"] = sums.tiles * (operands * mode.operand_bits)


def _leaves(mode: Mode, sums: LayerSums) -> Number:
    """How often the sum of a tap leaves its lane.

    Where all taps are worked on at once, between channel tiles alone.
    """
    if mode.lanes.taps < mode.taps:
        return sums.channel_tiles
    return np.where(np.asarray(sums.channel_tiles) > 1, sums.channel_tiles, 0)


def _register_bits(mode: Mode, sums: LayerSums, macs: Number) -> Number:
    """Bits of operand registers.

    A weight is kept for all outputs of its lane, an operand for all of its filters.
    """
    lanes = mode.lanes
    operands = macs
    if lanes.operands is not None:
        operands = served(mode).loads * sums.tiles
    elif mode.slots_are_dense:
        operands = macs / lanes.filters_each
    return macs * mode.widths.weight_bits / lanes.outputs_each + operands * mode.operand_bits


def _indices(mode: Mode, sums: LayerSums, macs: Number) -> Number:
    """Addresses of operands that are computed.

    Of every multiply, or, from operand windows, of every weight that a stream gives.
    """
    if mode.lanes.operands is None:
        return macs
    return mode.executed * -(-sums.rounds // mode.weight_reuse)


def _count_selection(mode: Mode, sums: LayerSums, macs: Number, actions: ActionCounts) -> None:
    """Add what operand windows, and the choice among a lane's sums, cost."""
    lanes = mode.lanes
    if lanes.sums_each > 1:
        levels = ceil(log2(lanes.sums_each))
        actions["sum_select_bit"] = macs * (mode.widths.accumulator_bits * levels)
    if lanes.operands is None:
        return
    counted = served(mode)
    banks = lanes.operands.banks
    filled = mode.taps * mode.group_channels * mode.positions_each * len(mode.group_starts)
    actions["window_fill_bit"] = sums.tiles * (filled * mode.operand_bits)
    actions["window_fetch_bit"] = sums.tiles * (counted.fetches * mode.operand_bits)
    levels = ceil(log2(banks)) if banks > 1 else 0
    actions["select_bit"] = sums.tiles * (counted.loads * mode.operand_bits * levels)


def _count_lane_transforms(mode: Mode, sums: LayerSums, actions: ActionCounts) -> Number:
    """Add transforms between buffer and lanes, or in the lanes, beside those of units.

    Gives the values that leave.

    Results that are already transformed leave as m x m partial sums, the others tap by tap.
    """
    units = mode.units
    tiles_filters = sums.tiles * mode.work.out_channels
    by_units: Number = sums.filter_channels * units.weight_adds
    if units.streamed:
        passes = mode.group_channels * len(mode.group_starts) * mode.tap_groups
        actions["stream_add"] = sums.tiles * (passes * units.input_adds)
        pixels = sums.tiles * _pixels_per_tile(mode, sums)
        actions["input_read"] = pixels * (passes * mode.widths.activation_bits)
    else:
        if mode.products is None:
            by_units = by_units + sums.tile_channels * units.input_adds
        else:
            actions[f"input_tile{mode.of_tile_size}"] = sums.tile_channels * units.phases
        _count_stored_inputs(mode, sums, actions)
    if units.in_lanes:
        actions["lane_inverse_add"] = tiles_filters * sums.channel_tiles * units.inverse_adds
        partial_sums: Number = mode.work.outputs * (sums.channel_tiles - 1)
    else:
        if mode.products is None:
            by_units = by_units + tiles_filters * units.inverse_adds
        else:
            actions[f"inverse_tile{mode.of_tile_size}"] = tiles_filters * units.phases
        partial_sums = tiles_filters * mode.taps * _leaves(mode, sums)
    actions["transform_add"] = by_units
    return partial_sums


def _pixels_per_tile(mode: Mode, sums: LayerSums) -> Floats:
    """Distinct pixels under the m x m tiles of a full round of position lanes, for each tile.

    At most its own.
    """
    R, S = mode.work.kernel
    m = mode.m
    wide = np.minimum(mode.lanes.positions, -(-np.asarray(sums.cols) // m))
    high = np.minimum(-(-np.asarray(sums.rows) // m), -(-mode.lanes.positions // wide))
    return np.asarray((high * m + R - 1) * (wide * m + S - 1) / (high * wide))


def _count_transforms_on_the_fly(mode: Mode, sums: LayerSums, actions: ActionCounts) -> Number:
    """Add transforms of inputs at every read and of results at every fold of the channels.

    Gives partial sums.
    """
    units = mode.units
    reads = sums.tiles * (mode.group_channels * len(mode.group_starts))
    folds = -(-mode.group_channels // mode.lanes.reduction)
    results = sums.tiles * (mode.work.out_channels * folds * units.inverse_adds)
    actions["transform_add"] = reads * units.input_adds + results
    actions["input_read"] = reads * (mode.taps * mode.widths.activation_bits)
    return mode.work.outputs * (sums.channel_tiles - 1)


def _pixels_per_output(mode: Mode, sums: LayerSums) -> Floats:
    """Distinct pixels that a full round of position lanes reads, for each of its outputs.

    At most R S.

    A systolic feed injects the operands of each row by themselves: R S.
    """
    R, S = mode.work.kernel
    if mode.lanes.feed == "systolic":
        return np.asarray(float(R * S))
    stride_h, stride_w = mode.work.stride
    dilation_h, dilation_w = mode.work.dilation
    cols = np.minimum(mode.lanes.positions, sums.cols)
    rows = np.minimum(sums.rows, -(-mode.lanes.positions // cols))
    high = (rows - 1) * stride_h + dilation_h * (R - 1) + 1
    wide = (cols - 1) * stride_w + dilation_w * (S - 1) + 1
    return np.asarray(np.minimum(R * S, high * wide / (rows * cols)))
