"""From a mode and a tiling to the steps of a layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from accelsim.arrays import SUM_ERROR, Ints, round_up
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer, behind
from accelsim.simulator.tiles.actions import LayerSums, count_actions, fold_counts
from accelsim.simulator.tiles.cutting import of_fitting_modes
from accelsim.simulator.tiles.description import TiledDescription
from accelsim.simulator.tiles.lanes import first_barriers, lane_cycles, waiting_slots
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.overhead import TRANSFORM_STEP_CYCLES, FoldSizes, fill_cycles
from accelsim.simulator.tiles.ports import lane_bits, through_ports, transform_bits
from accelsim.simulator.tiles.rooms import worth_scoring
from accelsim.simulator.tiles.search import choices_with_needs, choose_tilings, choose_with_needs
from accelsim.simulator.tiles.steps import Steps, steps_of
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.simulator.time.objective import best, measured_as
from accelsim.simulator.time.pipeline import durations
from accelsim.simulator.time.plan import LayerPlan, Planner
from accelsim.simulator.time.schedule import ActionCounts, Schedule
from accelsim.workload import LayerWork, Surroundings


def best_schedule(work: LayerWork, machine: TiledDescription) -> Schedule:
    """The best schedule by the machine's objective, of all modes at the tilings worth timing.

    Raises InputError if no mode fits the buffers, however the layer is cut.
    """
    return of_fitting_modes(work, machine, lambda modes: _best_schedule(modes, machine))


def _best_schedule(modes: Sequence[Mode], machine: TiledDescription) -> Schedule:
    """``best_schedule`` of these modes."""
    schedules = []
    faults = []
    for mode in modes:
        try:
            tilings = choose_tilings(mode, machine)
        except InputError as fault:
            faults.append(fault)
        else:
            schedules += [tiled_schedule(mode, tiling, machine) for tiling in tilings]
    if not schedules:
        raise faults[0]
    return schedules[0] if len(schedules) == 1 else best(schedules, machine)


def best_planner(work: LayerWork, machine: TiledDescription) -> Planner:
    """Plans of a layer in any surroundings: the best mode's, each mode at its best tiling.

    Where all room is that of the buffers, tiles are chosen as for a layer by itself, as timed; else
    by their score.  Raises InputError if no mode fits the room, or the layer fits no buffers
    however it is cut.
    """
    modes = machine.modes(work)

    def plan(around: Surroundings) -> LayerPlan:
        there = tuple(mode.amid(around) for mode in modes)
        return of_fitting_modes(work.amid(around), machine, lambda some: _best_plan(some, machine), there)

    return plan


def _best_plan(modes: Sequence[Mode], machine: TiledDescription) -> LayerPlan:
    """The best plan of these modes.

    Its score is the least that any of them is predicted: so it is a bound, which neither more room nor fewer moves
    make worse, whichever mode is best as timed.
    """
    found = []
    faults = []
    for mode in modes:
        try:
            choices = [choose_with_needs(mode, machine)] if mode.work.around.room else choices_with_needs(mode, machine)
        except InputError as fault:
            faults.append(fault)
        else:
            found += [(mode, *choice) for choice in choices]
    if not found:
        raise faults[0]
    score = min(score for _, _, score, _ in found)
    plans = [_plan(mode, machine, tiling, score, needs) for mode, tiling, _, needs in found]
    if len(plans) == 1:
        return plans[0]
    if modes[0].work.around.room:
        return min(plans, key=lambda plan: _timed(plan, machine))
    chosen = best([plan.schedule for plan in plans], machine)
    return next(plan for plan in plans if plan.schedule is chosen)


def _timed(plan: LayerPlan, machine: TiledDescription) -> float:
    """What a plan scores as timed: a map on chip comes and goes tile by tile, too, in no time."""
    d = durations(plan.schedule, machine)
    starts = plan.whole.inputs.n_bytes > 0
    ends = plan.whole.outputs.n_bytes > 0
    return measured_as(plan.schedule, machine, replace(d, input_starts=starts, output_ends=ends))


def _plan(
    mode: Mode,
    machine: TiledDescription,
    tiling: Tiling,
    score: float,
    needs: dict[str, int],
) -> LayerPlan:
    """One mode's plan at a tiling."""
    return LayerPlan(
        work=mode.work,
        machine=machine,
        score=score,
        needs=needs,
        weights_whole=weights_stay(mode, tiling),
        weight_bytes=int(min(mode.stored_bits.sum(), mode.dram_bits.sum()) / 8),
        make=lambda: tiled_schedule(mode, tiling, machine),
    )


def weights_stay(mode: Mode, tiling: Tiling) -> bool:
    """Whether all weights of the layer lie in the buffer at once."""
    whole = tiling.filters >= mode.work.out_channels and tiling.channels >= mode.group_channels
    return tiling.weights_stay or whole


def check_steps(work: LayerWork, machine: TiledDescription) -> None:
    """Raises InputError as ``best_schedule``, without a search."""
    of_fitting_modes(work, machine, lambda modes: _check_steps(modes, machine))


def _check_steps(modes: Sequence[Mode], machine: TiledDescription) -> None:
    """``check_steps`` of these modes."""
    faults = []
    for mode in modes:
        try:
            worth_scoring(mode, machine)
        except InputError as fault:
            faults.append(fault)
        else:
            return
    raise faults[0]


def tiled_schedule(mode: Mode, tiling: Tiling, machine: TiledDescription) -> Schedule:
    """The steps of the layer for one tiling, which must fit the machine's buffers."""
    steps = steps_of(mode.shape, tiling)
    barriers = lane_cycles(mode, tiling.filters, steps.block_edges)
    weights = _weights(mode, tiling, steps)
    actions = _actions(mode, tiling, steps, weights, barriers)
    units = _unit_cycles(mode, steps)
    transform_cycles = units.transform
    if mode.transforms:
        moved = transform_bits(actions, machine.buffers)
        transform_cycles = through_ports(transform_cycles, moved, machine.buffers)
    compute_cycles = _compute_cycles(mode, tiling, steps, barriers)
    lanes_bits = max(lane_bits(mode, actions, machine.buffers).values())
    work = mode.work
    outputs_of_tile = mode.m * mode.m * work.out_channels
    return Schedule(
        mode=mode.name,
        inputs=steps.inputs,
        weights=weights,
        transform_cycles=transform_cycles,
        compute_cycles=through_ports(compute_cycles, lanes_bits, machine.buffers),
        inverse_cycles=units.inverse,
        outputs=steps.outputs,
        dram=machine.dram,
        weight_transform_cycles=units.weight_transform,
        transforms=mode.transforms,
        inverts=mode.inverts,
        effectual_macs=int(mode.executed * steps.all_tiles),
        useful_slots=(mode.executed + mode.gated) * work.outputs / outputs_of_tile,
        waiting_slots=waiting_slots(mode, tiling.filters, steps.block_edges) * steps.all_tiles,
        counts={name: float(count) for name, count in actions.items()},
        on_arrival=_on_arrival(mode, steps, actions),
        tiling=tiling.sizes,
        loop_order=tiling.order,
    )


def _on_arrival(mode: Mode, steps: Steps, actions: ActionCounts) -> dict[str, float]:
    """Of the actions those of weights that are decoded or transformed as they arrive."""
    found = {"transform_add": float(steps.filter_channels * mode.units.weight_adds)} if mode.units.weight_adds else {}
    return found | {name: float(actions[name]) for name in ("decode_symbol",) if name in actions}


def _compute_cycles(mode: Mode, tiling: Tiling, steps: Steps, barriers: Ints) -> Ints:
    """Cycles of the lanes in each step."""
    tile_cycles = np.add.reduceat(barriers, first_barriers(mode, tiling.filters), axis=0)
    cycles = tile_cycles[steps.filter, steps.channel]
    rounds = _rounds(mode, steps)[steps.position]
    fill = fill_cycles(
        mode.lanes,
        FoldSizes(
            steps=1,
            position_tiles=1,
            tiles=steps.tiles,
            rounds=rounds,
            filter_groups=steps.lane_groups,
            filters=steps.filters,
            cycles=cycles,
        ),
    )
    compute = np.asarray(rounds * cycles + fill)
    if mode.lanes.feed == "systolic":
        # The closed forms count from cycle 0; an array of one lane neither fills nor drains.
        compute[-1] -= min(1, int(np.broadcast_to(fill, compute.shape)[-1]))
    return compute


def _rounds(mode: Mode, steps: Steps) -> Ints:
    """Rounds of position lanes of each position tile."""
    return np.asarray(-(-steps.position_sizes // mode.lanes.positions))


@dataclass(frozen=True)
class _UnitCycles:
    """Cycles of the transform units, and of weights as they arrive, in each step."""

    transform: Ints
    inverse: Ints
    weight_transform: Ints


def _unit_cycles(mode: Mode, steps: Steps) -> _UnitCycles:
    """What each step takes beside the lanes."""
    units = mode.units
    none = np.zeros(len(steps), np.int64)
    transform = inverse = arrival = none
    if mode.transforms:
        transform = -(-steps.tiles * steps.channels * units.phases // units.input_rate)
        transform = (transform + TRANSFORM_STEP_CYCLES) * steps.new_inputs
    if mode.inverts:
        inverse = -(-steps.tiles * steps.filters * units.phases // units.inverse_rate)
        inverse = (inverse + TRANSFORM_STEP_CYCLES) * steps.last
    if mode.arrival_cycles:
        tile_cycles = round_up(steps.weight_channels * mode.arrival_cycles, SUM_ERROR)
        arrival = tile_cycles * steps.new_weights
    return _UnitCycles(transform, inverse, arrival)


def _actions(
    mode: Mode,
    tiling: Tiling,
    steps: Steps,
    weights: Transfer,
    barriers: Ints,
) -> ActionCounts:
    """What the layer does that costs energy, but for opening DRAM rows."""
    sums = LayerSums(
        tiles=steps.all_tiles,
        rounds=int(_rounds(mode, steps).sum()),
        position_tiles=steps.position_tiles,
        filter_tiles=steps.filter_tiles,
        channel_tiles=steps.channel_tiles,
        rows=tiling.rows,
        cols=tiling.cols,
        tile_channels=steps.tile_channels,
        filter_channels=steps.filter_channels,
        weight_bytes=int(weights.n_bytes.sum()),
        input_bytes=int(steps.inputs.n_bytes.sum()),
        output_bytes=int(steps.outputs.n_bytes.sum()),
        folds=fold_counts(mode, barriers),
    )
    return count_actions(mode, sums)


def _weights(mode: Mode, tiling: Tiling, steps: Steps) -> Transfer:
    """Requests to the DRAM for weights: tiles as stored, one behind the other."""

    def count() -> Ints:
        tile_filters = np.add.reduceat(mode.dram_bits, steps.first_filters, axis=0)
        bits = np.add.reduceat(tile_filters, steps.block_edges[:-1], axis=1)
        return round_up(bits / 8, SUM_ERROR)

    tile_bytes = mode.sums.tile_bytes.get((tiling.filters, tiling.channels), count)
    address = behind(tile_bytes.ravel()).reshape(tile_bytes.shape)
    tile = steps.filter, steps.channel
    return Transfer.contiguous(tile_bytes[tile] * steps.new_weights, address[tile])
