"""From layer works and a machine to a result: plan each layer, time it, price it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from accelsim.hardware.energy import PARTS, Price, area_mm2, prices, static_mw
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.machines.cartesian import plan_cartesian
from accelsim.simulator.machines.cells import cell_modes
from accelsim.simulator.machines.matrix_vector import plan_interleaved
from accelsim.simulator.machines.row_stationary.search import plan_row_stationary
from accelsim.simulator.machines.stationary import spatial_modes
from accelsim.simulator.machines.vector import plan_vector
from accelsim.simulator.machines.winograd import winograd_modes
from accelsim.simulator.result import DRAM_COLUMNS, Result, round_energy, totals
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.schedule import best_schedule
from accelsim.simulator.time.bottleneck import breakdown
from accelsim.simulator.time.event import event
from accelsim.simulator.time.pipeline import Durations, Engine, durations, fast
from accelsim.simulator.time.schedule import Schedule
from accelsim.transforms.adders import input_unit, inverse_unit
from accelsim.workload import LayerWork

ENGINES: dict[str, Engine] = {"event": event, "fast": fast}
# Dataflows that are not tiles of a matrix product plan a layer on their own.
PLANNERS = {"row_stationary": plan_row_stationary, "cartesian": plan_cartesian, "interleaved": plan_interleaved}


def modes(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> list[Mode]:
    """The ways in which the machine can execute a conv or linear layer."""
    if isinstance(machine, SpatialMachine):
        return spatial_modes(work, machine)
    return winograd_modes(work, machine) if machine.cells is None else cell_modes(work, machine, machine.cells)


def plan(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> Schedule:
    """The schedule of one layer.  Raises InputError if the machine's buffers are too small for it."""
    if work.weights is None:
        return plan_vector(work, machine)
    if isinstance(machine, SpatialMachine) and machine.dataflow in PLANNERS:
        return PLANNERS[machine.dataflow](work, machine)
    return best_schedule(modes(work, machine), machine)


def run(
    works: Iterable[LayerWork],
    machine: SpatialMachine | WinogradMachine,
    model: str = "",
    engine: str = "event",
    synthetic: bool = False,
) -> Result:
    """Simulate the layers one after the other.

    engine: ``event`` (SimPy) or ``fast`` (the same recurrence).  Raises InputError if a layer does not fit the machine,
    KeyError if there is no such engine.
    """
    rows, total = run_rows(works, machine, engine)
    return Result(model, machine.name, engine, pd.DataFrame(rows), pd.Series(total, dtype=object), synthetic)


def run_rows(
    works: Iterable[LayerWork], machine: SpatialMachine | WinogradMachine, engine: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """``run`` as plain values, for sweeps: one row a layer, and the total."""
    time = ENGINES[engine]
    table, static = prices(machine), static_mw(machine)
    rows = []
    for work in works:
        schedule = plan(work, machine)
        d = durations(schedule, machine)
        rows.append(_row(work, machine, schedule, d, time(d), table, static))
    total = totals(rows, machine.lanes)
    ns = total["cycles"] * machine.ns_per_cycle
    total["latency_ms"] = ns / 1e6
    total["area_mm2"] = float(sum(areas_mm2(machine).values()))
    total["power_mw"] = total["energy_pj"] / ns if ns else 0.0  # pJ / ns = mW
    return rows, total


def areas_mm2(machine: SpatialMachine | WinogradMachine) -> dict[str, float]:
    """Area by part; transform units as F(m x m, 3 x 3) needs them."""
    if isinstance(machine, SpatialMachine):
        return area_mm2(machine)
    m, a = machine.tile, machine.arithmetic
    units = input_unit(m, a.activation_bits, a.transformed_bits), inverse_unit(m, a.accumulator_bits)
    return area_mm2(machine, *units)


def _row(
    work: LayerWork,
    machine: SpatialMachine | WinogradMachine,
    plan: Schedule,
    d: Durations,
    cycles: int,
    table: dict[str, Price],
    static: float,
) -> dict[str, Any]:
    """One layer's row of the result."""
    compute = int(plan.compute_cycles.sum())
    weight, inputs, output = (int(t.n_bytes.sum()) for t in (plan.weights, plan.inputs, plan.outputs))
    priced = {action: round_energy(count * table[action].pj) for action, count in plan.actions.items()}
    energy = dict.fromkeys(PARTS, 0.0)
    for action, pj in priced.items():
        energy[table[action].part] += pj
    energy["static"] = round_energy(static * cycles * machine.ns_per_cycle)
    parts = {f"energy_{part}_pj": pj for part, pj in energy.items()}
    return {
        "name": work.name,
        "kind": work.kind,
        "mode": plan.mode,
        "cycles": cycles,
        "compute_cycles": compute,
        "stall_cycles": cycles - compute,
        **breakdown(plan, d, cycles, machine.lanes),
        "dense_macs": work.dense_macs,
        "effectual_macs": plan.effectual_macs,
        "utilization": plan.effectual_macs / (machine.lanes * cycles) if cycles else 0.0,
        "dram_read_bytes": weight + inputs,
        "dram_write_bytes": output,
        "dram_weight_bytes": weight,
        "dram_input_bytes": inputs,
        "dram_output_bytes": output,
        "sram_read_bytes": _sram_bytes(plan, "_read"),
        "sram_write_bytes": _sram_bytes(plan, "_write"),
        "energy_pj": sum(parts.values()),
        **parts,
        **{column: priced[action] for column, action in DRAM_COLUMNS.items()},
        "dma_cycles": d.dma_cycles,
        "roofline_cycles": max(compute, d.dma_cycles, int(d.transform.sum()), int(d.inverse.sum())),
    }


def _sram_bytes(plan: Schedule, direction: str) -> int:
    """Bytes read from or written to all global buffers."""
    return int(np.ceil(sum(bits for name, bits in plan.actions.items() if name.endswith(direction)) / 8))
