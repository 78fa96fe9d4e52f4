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
from accelsim.simulator.mode import Mode
from accelsim.simulator.schedule import Schedule
from accelsim.simulator.tiling import (
    Tiling,
    channel_tiles,
    choose,
    feature_map_pieces,
    input_extents,
    line_bytes,
    weight_tile_bytes,
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
    C = mode.slots.shape[2]

    # Sizes of each tile along each dimension.
    n = _sizes(N, tiling.images)
    p, q = _sizes(P, tiling.rows), _sizes(Q, tiling.cols)
    h, w = input_extents(work, 0, tiling.rows), input_extents(work, 1, tiling.cols)
    k, c = _sizes(K, tiling.filters), _sizes(C, tiling.channels)
    conv_groups = np.maximum(k // mode.filters_per_group, 1)

    # (position tiles,) and (filter tiles, channel tiles).
    tiles = np.multiply.outer(n, np.multiply.outer(-(-p // m), -(-q // m))).ravel()
    outputs = np.multiply.outer(n, np.multiply.outer(p, q)).ravel()
    pixels = np.multiply.outer(n, np.multiply.outer(h, w)).ravel()
    in_rows, out_rows = (np.tile(np.repeat(x, len(q)), len(n)) for x in (h, p))
    images = np.repeat(n, len(p) * len(q))
    cycles = np.add.reduceat(
        mode.group_cycles(channel_tiles(mode, tiling.channels)), _first_groups(mode, tiling.filters), axis=0
    )
    weight_bytes = weight_tile_bytes(mode, tiling.filters, tiling.channels)

    # One row a step.
    shape = (len(k), len(tiles), len(c)) if tiling.weights_first else (len(tiles), len(k), len(c))
    first, second, i_c = (index.ravel() for index in np.indices(shape))
    i_k, i_t = (first, second) if tiling.weights_first else (second, first)
    new_weights = _changes(i_k * len(c) + i_c)
    own_inputs = work.groups > 1  # each filter tile reads its own channels
    new_inputs = _changes((i_t * len(k) + i_k if own_inputs else i_t) * len(c) + i_c)
    last = i_c == len(c) - 1

    rounds = -(-tiles // mode.position_lanes)
    channels = c[i_c] * conv_groups[i_k]
    row_bytes, whole_width = machine.dram.timing.row_bytes, np.bool_(len(q) == 1)
    in_line, out_line = line_bytes(mode, work.width, work.in_channels), line_bytes(mode, Q, K)
    in_pieces = feature_map_pieces(images[i_t], in_rows[i_t], channels, whole_width, in_line, row_bytes)
    out_pieces = feature_map_pieces(images[i_t], out_rows[i_t], k[i_k], whole_width, out_line, row_bytes)
    in_bytes = -(-pixels[i_t] * channels * mode.activation_bits // 8)
    out_bytes = -(-outputs[i_t] * k[i_k] * mode.activation_bits // 8)
    transform_cycles = inverse_cycles = np.zeros(len(i_k), np.int64)
    if mode.transforms:
        transform_cycles = -(-tiles[i_t] * channels // mode.transform_rate) * new_inputs
        inverse_cycles = -(-tiles[i_t] * k[i_k] // mode.inverse_rate) * last
    plan = Schedule(
        mode=mode.name,
        inputs=Transfer(in_bytes * new_inputs, in_pieces[0] * new_inputs, in_pieces[1] * new_inputs),
        weights=Transfer.contiguous(weight_bytes[i_k, i_c] * new_weights, row_bytes),
        transform_cycles=transform_cycles,
        compute_cycles=rounds[i_t] * cycles[i_k, i_c],
        inverse_cycles=inverse_cycles,
        outputs=Transfer(out_bytes * last, out_pieces[0] * last, out_pieces[1] * last),
        transforms=mode.transforms,
        effectual_macs=int(mode.executed * tiles.sum()),
        actions={},
    )
    tile_channels = int((tiles[i_t] * channels * new_inputs).sum())
    return replace(plan, actions=_actions(mode, tiling, plan, tiles, len(c), tile_channels))


def _sizes(size: int, tile: int) -> Ints:
    """Sizes of the tiles of a dimension: all ``tile``, the last one what remains."""
    starts = np.arange(0, size, tile)
    return np.minimum(tile, size - starts)


def _changes(index: Ints) -> Ints:
    """1 where a step works on another tile than the step before, else 0."""
    return np.append(1, (np.diff(index) != 0).astype(np.int64))


def _first_groups(mode: Mode, filters: int) -> Ints:
    """First filter group of each filter tile."""
    return np.searchsorted(mode.group_starts, np.arange(0, mode.work.out_channels, filters))


def _actions(
    mode: Mode,
    tiling: Tiling,
    plan: Schedule,
    tiles: Ints,
    channel_parts: int,
    tile_channels: int,
) -> dict[str, float]:
    """How often the layer does each thing that costs energy (module docstring), by the names of the price list.

    tiles: output tiles of each position tile.  tile_channels: channels of tiles that the input transform takes.
    """
    work = mode.work
    act, acc = mode.activation_bits, mode.accumulator_bits
    C_g, K = mode.slots.shape[2], work.out_channels
    total_tiles, groups = int(tiles.sum()), len(mode.group_starts)
    stationary = mode.reduction_lanes > 1
    weight_passes = len(tiles) if stationary else int((-(-tiles // mode.position_lanes)).sum())
    operand_bits = mode.transformed_bits if mode.transforms else act
    dram = (plan.inputs, plan.weights, plan.outputs)
    outputs = work.outputs
    skips = mode.weight_format != "dense"
    actions: dict[str, float] = {
        "mac": plan.effectual_macs,
        "gated_mac": mode.gated * total_tiles,
        "register_bit": plan.effectual_macs * (mode.weight_bits + operand_bits),
        "index": plan.effectual_macs if skips else 0,
        "weight_read": weight_passes * float(mode.filter_stored_bits.sum()),
        "weight_write": 8 * int(plan.weights.n_bytes.sum()),
        "input_write": 8 * int(plan.inputs.n_bytes.sum()),
        "output_read": outputs * act,
        "output_write": outputs * act,
        "dram_bit": 8 * sum(int(t.n_bytes.sum()) for t in dram),
        "dram_activate": sum(int(t.rows.sum()) for t in dram),
    }
    if mode.transforms:
        adds_in, adds_out = mode.transform_adds
        actions["transform_add"] = tile_channels * adds_in + total_tiles * K * adds_out
        actions["input_read"] = tile_channels * mode.taps * act
        actions["transformed_write"] = tile_channels * mode.taps * mode.transformed_bits
        actions["transformed_read"] = total_tiles * C_g * mode.taps * groups * mode.transformed_bits
        leaves = channel_parts if channel_parts > 1 or mode.tap_lanes < mode.taps else 0
        actions["output_write"] += total_tiles * K * mode.taps * leaves * acc
        actions["output_read"] += total_tiles * K * mode.taps * leaves * acc
    elif stationary:
        reads = mode.group_cycles(channel_tiles(mode, tiling.channels)).sum() * mode.reduction_lanes
        actions["input_read"] = total_tiles * float(reads) * act
        visits = mode.group_cycles(channel_tiles(mode, tiling.channels)).sum() * mode.filter_lanes - K
        actions["output_write"] += total_tiles * max(0.0, float(visits)) * acc
        actions["output_read"] += total_tiles * max(0.0, float(visits)) * acc
    else:
        actions["input_read"] = total_tiles * _pixels_per_output(mode, tiling) * C_g * groups * act
        actions["output_write"] += outputs * (channel_parts - 1) * acc
        actions["output_read"] += outputs * (channel_parts - 1) * acc
    return actions


def _pixels_per_output(mode: Mode, tiling: Tiling) -> float:
    """Distinct pixels that a full round of position lanes reads, for each of its outputs; at most R S."""
    (R, S), (stride_h, stride_w), (dil_h, dil_w) = mode.work.kernel, mode.work.stride, mode.work.dilation
    cols = min(mode.position_lanes, tiling.cols)
    rows = min(tiling.rows, -(-mode.position_lanes // cols))
    high = (rows - 1) * stride_h + dil_h * (R - 1) + 1
    wide = (cols - 1) * stride_w + dil_w * (S - 1) + 1
    return min(R * S, high * wide / (rows * cols))
