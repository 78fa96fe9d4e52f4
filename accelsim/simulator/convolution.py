"""From a mode and a tiling to the steps of a layer."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.actions import Totals, count_actions, fold_counts
from accelsim.simulator.array import TRANSFORM_STEP_CYCLES
from accelsim.simulator.mapping import choose
from accelsim.simulator.mode import Mode
from accelsim.simulator.objective import measured
from accelsim.simulator.ports import lane_bits, through_ports
from accelsim.simulator.schedule import Schedule, changes
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
    """The best mode's schedule by the machine's objective, each mode at its best tiling.

    Raises InputError if no mode fits the buffers.
    """
    plans, faults = [], []
    for mode in modes:
        try:
            plans.append(schedule(mode, choose(mode, machine)[0], machine))
        except InputError as fault:
            faults.append(fault)
    if not plans:
        raise faults[0]
    return plans[0] if len(plans) == 1 else min(plans, key=lambda plan: measured(plan, machine))


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
    new_weights = changes(i_k * len(c) + i_c)
    new_inputs = changes((i_t * len(k) + input_group[i_k]) * len(c) + i_c)
    if tiling.weights_stay:
        new_weights *= i_t == 0
    if tiling.inputs_stay:
        new_inputs *= changes(input_group)[i_k]
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
    if mode.arrival_cycles:
        arrival = np.ceil(k[i_k] * c[i_c] * mode.arrival_cycles - 1e-6).astype(np.int64)
        weight_transform_cycles = arrival * new_weights
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
    actions = count_actions(
        mode,
        Totals(
            tiles=total_tiles,
            rounds=int(rounds.sum()),
            position_tiles=len(tiles),
            filter_tiles=len(k),
            channel_tiles=len(c),
            rows=tiling.rows,
            cols=tiling.cols,
            tile_channels=int((tiles[i_t] * channels * new_inputs).sum()),
            filter_channels=int((k[i_k] * c[i_c] * new_weights).sum()),
            weight_bytes=int(plan.weights.n_bytes.sum()),
            input_bytes=int(plan.inputs.n_bytes.sum()),
            output_bytes=int(plan.outputs.n_bytes.sum()),
            dram_rows=sum(int(t.rows.sum()) for t in plan.transfers),
            folds=fold_counts(mode, barriers),
        ),
    )
    busiest = max(lane_bits(mode, actions).values())
    if mode.transforms:
        transform_bits = float(max(actions["input_read"], actions["transformed_write"]))
        transform_cycles = through_ports(transform_cycles, transform_bits, machine.buffers)
    return replace(
        plan,
        compute_cycles=through_ports(compute, busiest, machine.buffers),
        transform_cycles=transform_cycles,
        actions={name: float(count) for name, count in actions.items()},
    )


def _weight_tile_bytes(bits: NDArray[np.float64], k_starts: Ints, edges: Ints) -> Ints:
    """Stored bytes of each weight tile: (filter tiles, channel tiles)."""
    of_tile = np.add.reduceat(np.add.reduceat(bits, k_starts, axis=0), edges[:-1], axis=1)
    return np.ceil(of_tile / 8 - 1e-6).astype(np.int64)
