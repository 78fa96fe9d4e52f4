"""From a mode and a tiling to the steps of a layer."""

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Ints
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.tiles.actions import Totals, count_actions, fold_counts
from accelsim.simulator.tiles.mode import MOST_SUMS, Mode
from accelsim.simulator.tiles.overhead import TRANSFORM_STEP_CYCLES
from accelsim.simulator.tiles.ports import lane_bits, through_ports
from accelsim.simulator.tiles.search import choose
from accelsim.simulator.tiles.steps import steps
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.simulator.time.objective import measured
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import keep


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
    work, row_bytes = mode.work, machine.dram.timing.row_bytes
    of = steps(mode.shape, tiling, row_bytes)
    barriers = mode.lane_cycles(tiling.filters, of.edges)
    rounds = -(-of.of_positions // mode.position_lanes)
    # One row a step.
    cycles = np.add.reduceat(barriers, mode.filter_barriers(tiling.filters), axis=0)[of.filter, of.channel]
    rounds_of_step = rounds[of.position]
    compute = rounds_of_step * cycles
    compute += mode.fill_cycles(1, 1, of.tiles, rounds_of_step, of.lane_groups, of.filters, cycles)
    if mode.feed == "systolic":
        compute[-1] -= 1  # the closed forms count from cycle 0
    weight_bytes = keep(
        mode.kept,
        ("weight tiles", tiling.filters, tiling.channels),
        lambda: _weight_tile_bytes(mode.dram_bits, of.k_starts, of.edges),
        MOST_SUMS,
    )
    none = np.zeros(len(of), np.int64)
    transform_cycles = inverse_cycles = weight_transform_cycles = none
    if mode.transforms:
        transform = -(-of.tiles * of.channels * mode.phases // mode.transform_rate)
        inverse = -(-of.tiles * of.filters * mode.phases // mode.inverse_rate)
        transform_cycles = (transform + TRANSFORM_STEP_CYCLES) * of.new_inputs
        inverse_cycles = (inverse + TRANSFORM_STEP_CYCLES) * of.last
    if mode.arrival_cycles:
        arrival = np.ceil(of.weight_channels * mode.arrival_cycles - 1e-6).astype(np.int64)
        weight_transform_cycles = arrival * of.new_weights
    weights = Transfer.contiguous(weight_bytes[of.filter, of.channel] * of.new_weights, row_bytes)
    transfers = (of.inputs, weights, of.outputs)
    input_bytes, weight_total, output_bytes = (int(t.n_bytes.sum()) for t in transfers)
    actions = count_actions(
        mode,
        Totals(
            tiles=of.all_tiles,
            rounds=int(rounds.sum()),
            position_tiles=of.position_tiles,
            filter_tiles=of.filter_tiles,
            channel_tiles=of.channel_tiles,
            rows=tiling.rows,
            cols=tiling.cols,
            tile_channels=of.tile_channels,
            filter_channels=of.filter_channels,
            weight_bytes=weight_total,
            input_bytes=input_bytes,
            output_bytes=output_bytes,
            dram_rows=sum(int(t.rows.sum()) for t in transfers),
            folds=fold_counts(mode, barriers),
        ),
    )
    if mode.transforms:
        transform_bits = float(max(actions["input_read"], actions["transformed_write"]))
        transform_cycles = through_ports(transform_cycles, transform_bits, machine.buffers)
    return Schedule(
        mode=mode.name,
        inputs=of.inputs,
        weights=weights,
        transform_cycles=transform_cycles,
        compute_cycles=through_ports(compute, max(lane_bits(mode, actions).values()), machine.buffers),
        inverse_cycles=inverse_cycles,
        outputs=of.outputs,
        weight_transform_cycles=weight_transform_cycles,
        transforms=mode.transforms,
        effectual_macs=int(mode.executed * of.all_tiles),
        useful_slots=(mode.executed + mode.gated) * work.outputs / (mode.m * mode.m * work.out_channels),
        waiting_slots=mode.waiting_slots(tiling.filters, of.edges) * of.all_tiles,
        actions={name: float(count) for name, count in actions.items()},
    )


def _weight_tile_bytes(bits: NDArray[np.float64], k_starts: Ints, edges: Ints) -> Ints:
    """Stored bytes of each weight tile: (filter tiles, channel tiles)."""
    of_tile = np.add.reduceat(np.add.reduceat(bits, k_starts, axis=0), edges[:-1], axis=1)
    return np.ceil(of_tile / 8 - 1e-6).astype(np.int64)
