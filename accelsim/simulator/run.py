"""From layer works and a machine to a result: schedule each layer, time it, price it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from accelsim.hardware.energy import area_mm2, dram_refresh_mw, dram_standby_mw, prices, static_mw
from accelsim.hardware.price import ENERGY_PARTS, Price
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.vector import count_parts, vector_schedule
from accelsim.simulator.result import DRAM_ACTIONS, DRAM_POWERS, Result, round_energy, totals
from accelsim.simulator.time.bottleneck import breakdown
from accelsim.simulator.time.event import event_cycles
from accelsim.simulator.time.pipeline import Durations, durations, pipeline_cycles
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork, without_weights

Engine = Callable[[Durations], int]  # -> cycles from the first request to the last byte stored
LARGE_LAYER = 1 << 24  # outputs, all images together
ENGINES: dict[str, Engine] = {"event": event_cycles, "fast": pipeline_cycles}


def schedule_layer(work: LayerWork, machine: Machine) -> Schedule:
    """The schedule of one layer.  Raises InputError if the machine's buffers are too small for it."""
    if work.weights is None:
        return vector_schedule(work, machine)
    return machine.schedule(work)


def run(
    works: Iterable[LayerWork],
    machine: Machine,
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


def _check_large_layers(works: Sequence[LayerWork], machine: Machine) -> None:
    """Raise InputError where a large layer needs too many steps, before an hour goes into the ones in front of it."""
    for i, work in enumerate(without_weights(works)):
        if work.outputs <= LARGE_LAYER:
            continue
        if work.kind in ("conv", "linear"):
            machine.check(works[i])
        else:
            count_parts(work, machine)


def run_rows(works: Iterable[LayerWork], machine: Machine, engine: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """``run`` as plain values, for sweeps: one row a layer, and the total."""
    count_cycles = ENGINES[engine]
    works = works if isinstance(works, Sequence) else tuple(works)
    _check_large_layers(works, machine)
    power = {"standby": dram_standby_mw(machine), "refresh": dram_refresh_mw(machine)}
    pricing = _Pricing(machine, prices(machine), static_mw(machine), power)
    rows = []
    for work in works:
        schedule = schedule_layer(work, machine)
        steps = durations(schedule, machine)
        rows.append(_row(work, schedule, steps, count_cycles(steps), pricing))
    total = totals(rows, machine.lanes)
    ns = total["cycles"] * machine.ns_per_cycle
    total["latency_ms"] = ns / 1e6
    total["area_mm2"] = area_mm2(machine)
    total["power_mw"] = total["energy_pj"] / ns if ns else 0.0  # pJ / ns = mW
    return rows, total


@dataclass(frozen=True)
class _Pricing:
    """What a machine's cycles and actions cost."""

    machine: Machine
    prices: dict[str, Price]
    static_mw: float
    dram_mw: dict[str, float]  # standby, refresh

    def action_energies(self, schedule: Schedule) -> dict[str, float]:
        """pJ of each action of a layer."""
        return {action: round_energy(count * self.prices[action].pj) for action, count in schedule.actions.items()}

    def dram_energies(self, actions: dict[str, float], cycles: int) -> dict[str, float]:
        """pJ of each part of a layer's DRAM energy, as columns.  actions: of ``action_energies``."""
        ns = cycles * self.machine.ns_per_cycle
        commands = {column: sum(actions[name] for name in names) for column, names in DRAM_ACTIONS.items()}
        powers = {column: round_energy(self.dram_mw[name] * ns) for column, name in DRAM_POWERS.items()}
        return commands | powers

    def part_energies(self, actions: dict[str, float], dram_pj: float, cycles: int) -> dict[str, float]:
        """pJ of each part of a layer's energy.  actions: of ``action_energies``.  dram_pj: of all off-chip parts."""
        energy: dict[str, float] = dict.fromkeys(ENERGY_PARTS, 0.0)
        for action, pj in actions.items():
            energy[self.prices[action].part] += pj
        energy["dram"] = dram_pj
        energy["static"] = round_energy(self.static_mw * cycles * self.machine.ns_per_cycle)
        return {f"energy_{part}_pj": pj for part, pj in energy.items()}


def _row(work: LayerWork, schedule: Schedule, steps: Durations, cycles: int, pricing: _Pricing) -> dict[str, Any]:
    """One layer's row of the result."""
    lanes = pricing.machine.lanes
    compute = int(schedule.compute_cycles.sum())
    weights = int(schedule.weights.n_bytes.sum())
    inputs = int(schedule.inputs.n_bytes.sum())
    outputs = int(schedule.outputs.n_bytes.sum())
    actions = pricing.action_energies(schedule)
    dram = pricing.dram_energies(actions, cycles)
    parts = pricing.part_energies(actions, sum(dram.values()), cycles)
    return {
        "name": work.name,
        "kind": work.kind,
        "mode": schedule.mode,
        "cycles": cycles,
        "compute_cycles": compute,
        "stall_cycles": cycles - compute,
        **breakdown(schedule, steps, cycles, lanes),
        "dense_macs": work.dense_macs,
        "effectual_macs": schedule.effectual_macs,
        "utilization": schedule.effectual_macs / (lanes * cycles) if cycles else 0.0,
        "dram_read_bytes": weights + inputs,
        "dram_write_bytes": outputs,
        "dram_weight_bytes": weights,
        "dram_input_bytes": inputs,
        "dram_output_bytes": outputs,
        "sram_read_bytes": _sram_bytes(schedule, "_read"),
        "sram_write_bytes": _sram_bytes(schedule, "_write"),
        "energy_pj": sum(parts.values()),
        **parts,
        **dram,
        "dma_cycles": steps.dma_cycles,
        "roofline_cycles": max(compute, steps.dma_cycles, int(steps.transform.sum()), int(steps.inverse.sum())),
    }


def _sram_bytes(schedule: Schedule, direction: str) -> int:
    """Bytes read from or written to all global buffers."""
    return int(np.ceil(sum(bits for name, bits in schedule.actions.items() if name.endswith(direction)) / 8))
