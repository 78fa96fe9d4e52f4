"""From a mode and a tiling to the steps of a layer, and the count of everything that costs energy.

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

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.array import TRANSFORM_STEP_CYCLES
from accelsim.simulator.mapping import choose
from accelsim.simulator.mode import Mode
from accelsim.simulator.schedule import Schedule
from accelsim.simulator.tiling import (
    Tiling,
    block_edges,
    feature_map_pieces,
    input_extents,
    line_bytes,
    tile_sizes,
    whole_bytes,
)

Ints = NDArray[np.int64]


def best_schedule(modes: list[Mode], machine: SpatialMachine | WinogradMachine) -> Schedule:
    """The schedule of the mode whose best tiling scores lowest.  Raises InputError if none fits the buffers."""
    scored = [(choose(mode, machine), mode) for mode in modes]
    (tiling, _), mode = min(scored, key=lambda entry: entry[0][1])
    return schedule(mode, tiling, machine)


def schedule(mode: Mode, tiling: Tiling, machine: SpatialMachine | WinogradMachine) -> Schedule:
    """The steps of the layer for one tiling, which must fit the machine's buffers."""
    work, m = mode.work, mode.m
    N, P, Q, K = work.batch, work.out_height, work.out_width, work.out_channels
    per_group = mode.filters_per_group

    # Sizes of each tile along each dimension.
    n, p, q = tile_sizes(N, tiling.images), tile_sizes(P, tiling.rows), tile_sizes(Q, tiling.cols)
    h, w = input_extents(work, 0, tiling.rows), input_extents(work, 1, tiling.cols)
    k_starts, edges = mode.filter_starts(tiling.filters), block_edges(mode.group_channels, tiling.channels)
    k, c = np.diff(np.append(k_starts, K)), tile_sizes(mode.group_channels, tiling.channels)
    conv_groups = np.maximum(k // per_group, 1)
    input_group = k_starts // (per_group * max(tiling.filters // per_group, 1))

    # (position tiles,) and (filter tiles, channel tiles).
    tiles = np.multiply.outer(n, np.multiply.outer(-(-p // m), -(-q // m))).ravel()
    outputs = np.multiply.outer(n, np.multiply.outer(p, q)).ravel()
    pixels = np.multiply.outer(n, np.multiply.outer(h, w)).ravel()
    in_rows, out_rows = (np.tile(np.repeat(x, len(q)), len(n)) for x in (h, p))
    images = np.repeat(n, len(p) * len(q))
    barriers = mode.lane_cycles(tiling.filters, edges)
    cycles = np.add.reduceat(barriers, mode.filter_barriers(tiling.filters), axis=0)
    groups = np.diff(np.append(np.searchsorted(mode.group_starts, k_starts), len(mode.group_starts)))
    weight_bytes = _weight_tile_bytes(mode.dram_bits, k_starts, edges)

    # One row a step.
    shape = (len(k), len(tiles), len(c)) if tiling.weights_first else (len(tiles), len(k), len(c))
    first, second, i_c = (index.ravel() for index in np.indices(shape))
    i_k, i_t = (first, second) if tiling.weights_first else (second, first)
    new_weights = _changes(i_k * len(c) + i_c)
    new_inputs = _changes((i_t * len(k) + input_group[i_k]) * len(c) + i_c)
    if tiling.weights_stay:
        new_weights *= i_t == 0
    if tiling.inputs_stay:
        new_inputs *= _changes(input_group)[i_k]
    last = i_c == len(c) - 1

    rounds = -(-tiles // mode.position_lanes)
    compute = rounds[i_t] * cycles[i_k, i_c]
    compute += mode.fill_cycles(1, 1, tiles[i_t], rounds[i_t], groups[i_k], k[i_k], cycles[i_k, i_c])
    if mode.feed == "systolic":
        compute[-1] -= 1  # the closed forms count from cycle 0
    channels = c[i_c] * conv_groups[i_k]
    row_bytes, whole_width = machine.dram.timing.row_bytes, np.bool_(len(q) == 1)
    in_line = line_bytes(work.width, work.in_channels, mode.input_bits)
    out_line = line_bytes(Q, K, mode.output_bits)
    in_pieces = feature_map_pieces(images[i_t], in_rows[i_t], channels, whole_width, in_line, row_bytes)
    out_pieces = feature_map_pieces(images[i_t], out_rows[i_t], k[i_k], whole_width, out_line, row_bytes)
    in_bytes = whole_bytes(pixels[i_t] * channels, mode.input_bits)
    out_bytes = whole_bytes(outputs[i_t] * k[i_k], mode.output_bits)
    transform_cycles = inverse_cycles = np.zeros(len(i_k), np.int64)
    if mode.transforms:
        transform_cycles = (
            -(-tiles[i_t] * channels * mode.phases // mode.transform_rate) + TRANSFORM_STEP_CYCLES
        ) * new_inputs
        inverse_cycles = (-(-tiles[i_t] * k[i_k] * mode.phases // mode.inverse_rate) + TRANSFORM_STEP_CYCLES) * last
    weight_transform_cycles = np.zeros(len(i_k), np.int64)
    if mode.weight_transform_rate:
        weight_transform_cycles = -(-k[i_k] * c[i_c] // mode.weight_transform_rate) * new_weights
    total_tiles = int(tiles.sum())
    plan = Schedule(
        mode=mode.name,
        inputs=Transfer(in_bytes * new_inputs, in_pieces[0] * new_inputs, in_pieces[1] * new_inputs),
        weights=Transfer.contiguous(weight_bytes[i_k, i_c] * new_weights, row_bytes),
        transform_cycles=transform_cycles,
        compute_cycles=compute,
        inverse_cycles=inverse_cycles,
        outputs=Transfer(out_bytes * last, out_pieces[0] * last, out_pieces[1] * last),
        weight_transform_cycles=weight_transform_cycles,
        transforms=mode.transforms,
        effectual_macs=int(mode.executed * total_tiles),
        useful_slots=(mode.executed + mode.gated) * work.outputs / (m * m * K),
        waiting_slots=mode.waiting_slots(tiling.filters, edges) * total_tiles,
        actions={},
    )
    new_filters = int((k[i_k] * c[i_c] * new_weights).sum())
    new_tiles = int((tiles[i_t] * channels * new_inputs).sum())
    return replace(plan, actions=_actions(mode, tiling, plan, tiles, barriers, len(c), len(k), new_tiles, new_filters))


def _weight_tile_bytes(bits: NDArray[np.float64], k_starts: Ints, edges: Ints) -> Ints:
    """Stored bytes of each weight tile: (filter tiles, channel tiles)."""
    of_tile = np.add.reduceat(np.add.reduceat(bits, k_starts, axis=0), edges[:-1], axis=1)
    return np.ceil(of_tile / 8 - 1e-6).astype(np.int64)


def _changes(index: Ints) -> Ints:
    """1 where a step works on another tile than the step before, else 0."""
    return np.append(1, (np.diff(index) != 0).astype(np.int64))


def _actions(
    mode: Mode,
    tiling: Tiling,
    plan: Schedule,
    tiles: Ints,
    barriers: Ints,
    channel_parts: int,
    filter_parts: int,
    tile_channels: int,
    filter_channels: int,
) -> dict[str, float]:
    """How often the layer does each thing that costs energy (module docstring), by the names of the price list.

    tiles: output tiles of each position tile.  barriers: cycles of ``lane_cycles``.  channel_parts, filter_parts:
    tiles of each.  tile_channels: channels of tiles that the input transform takes.
    filter_channels: that are loaded.
    """
    work = mode.work
    act, acc = mode.activation_bits, mode.accumulator_bits
    C_g, K = mode.group_channels, work.out_channels
    total_tiles, groups = int(tiles.sum()), len(mode.group_starts)
    rounds = int((-(-tiles // mode.position_lanes)).sum())
    operand_bits = mode.transformed_bits if mode.transforms else act
    dram = (plan.inputs, plan.weights, plan.outputs)
    outputs = work.outputs
    skips = mode.weight_format != "dense"
    actions: dict[str, float] = {
        "mac": plan.effectual_macs,
        "gated_mac": mode.gated * total_tiles,
        "register_bit": plan.effectual_macs * (mode.weight_bits + operand_bits),
        "index": plan.effectual_macs if skips else 0,
        "weight_read": (len(tiles) if mode.stationary == "weight" else -(-rounds // mode.weight_reuse))
        * float(mode.stored_bits.sum()),
        "weight_write": 8 * int(plan.weights.n_bytes.sum()),
        "input_write": 8 * int(plan.inputs.n_bytes.sum()),
        "output_read": outputs * act,
        "output_write": outputs * act,
        "dram_bit": 8 * sum(int(t.n_bytes.sum()) for t in dram),
        "dram_activate": sum(int(t.rows.sum()) for t in dram),
    }
    partial_sums = 0.0  # values written to the output buffer and read back
    if mode.transforms:
        adds_in, adds_out = mode.transform_adds
        actions["transform_add"] = tile_channels * adds_in + total_tiles * K * adds_out
        actions["transform_add"] += filter_channels * mode.weight_transform_adds
        actions["input_read"] = tile_channels * mode.taps * act
        actions["transformed_write"] = tile_channels * mode.taps * mode.transformed_bits
        actions["transformed_read"] = total_tiles * C_g * mode.taps * groups * mode.transformed_bits
        leaves = channel_parts if channel_parts > 1 or mode.tap_lanes < mode.taps else 0
        partial_sums = total_tiles * K * mode.taps * leaves
    elif any(mode.transform_adds):  # on the fly: inputs at every read, results of every fold of the channels
        adds_in, adds_out = mode.transform_adds
        reads, folds = total_tiles * C_g * groups, -(-C_g // mode.reduction_lanes)
        actions["transform_add"] = reads * adds_in + total_tiles * K * folds * adds_out
        actions["input_read"] = reads * mode.taps * act
        partial_sums = outputs * (channel_parts - 1)
    elif mode.stationary == "weight":
        folds = barriers.sum(axis=1)  # of each filter group
        actions["input_read"] = total_tiles * int(folds.sum()) * mode.reduction_lanes * act
        in_group = np.diff(np.append(mode.group_starts, K))
        partial_sums = total_tiles * (int((folds * in_group).sum()) - K)
    elif mode.stationary == "input":
        folds = barriers.sum(axis=1)  # of each filter
        actions["input_read"] = total_tiles * int(folds.max()) * filter_parts * mode.reduction_lanes * act
        partial_sums = total_tiles * (int(folds.sum()) - K)
    else:
        actions["input_read"] = total_tiles * _pixels_per_output(mode, tiling) * C_g * groups * act
        partial_sums = outputs * (channel_parts - 1)
    actions["output_write"] += partial_sums * acc
    actions["output_read"] += partial_sums * acc
    return actions


def _pixels_per_output(mode: Mode, tiling: Tiling) -> float:
    """Distinct pixels that a full round of position lanes reads, for each of its outputs; at most R S."""
    (R, S), (stride_h, stride_w), (dil_h, dil_w) = mode.work.kernel, mode.work.stride, mode.work.dilation
    cols = min(mode.position_lanes, tiling.cols)
    rows = min(tiling.rows, -(-mode.position_lanes // cols))
    high = (rows - 1) * stride_h + dil_h * (R - 1) + 1
    wide = (cols - 1) * stride_w + dil_w * (S - 1) + 1
    return min(R * S, high * wide / (rows * cols))
