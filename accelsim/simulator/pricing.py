"""What cycles and actions cost on a machine: a row a layer, and the total."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.hardware.energy import area_mm2, dram_refresh_mw, dram_standby_mw, prices, static_mw
from accelsim.hardware.price import ENERGY_PARTS, Price
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.timing import Timed
from accelsim.simulator.result import DRAM_ACTIONS, DRAM_POWERS, round_energy, totals
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork


@dataclass(frozen=True)
class Pricing:
    """What a machine's cycles and actions cost."""

    machine: Machine
    prices: dict[str, Price]
    static_mw: float
    dram_mw: dict[str, float]  # standby and refresh: what the DRAM takes whether it moves something or not

    @classmethod
    def of(cls, machine: Machine) -> "Pricing":
        """By the machine's tables and its own figures."""
        powers = {"standby": dram_standby_mw(machine), "refresh": dram_refresh_mw(machine)}
        return cls(machine, prices(machine), static_mw(machine), powers)

    def action_energies(self, actions: Mapping[str, float]) -> dict[str, float]:
        """pJ of each action of a layer."""
        return {action: round_energy(count * self.prices[action].pj) for action, count in actions.items()}

    def dram_energies(self, actions: dict[str, float], cycles: int) -> dict[str, float]:
        """pJ of each part of a layer's DRAM energy, as columns.

        actions: of ``action_energies``.
        """
        ns = cycles * self.machine.ns_per_cycle
        commands = {column: sum(actions[name] for name in names) for column, names in DRAM_ACTIONS.items()}
        powers = {column: round_energy(self.dram_mw[name] * ns) for column, name in DRAM_POWERS.items()}
        return commands | powers

    def part_energies(
        self,
        actions: dict[str, float],
        dram_pj: float,
        cycles: int,
    ) -> dict[str, float]:
        """pJ of each part of a layer's energy.  actions: of ``action_energies``.

        dram_pj: of all off-chip parts.
        """
        energy: dict[str, float] = dict.fromkeys(ENERGY_PARTS, 0.0)
        for action, pj in actions.items():
            energy[self.prices[action].part] += pj
        energy["dram"] = dram_pj
        energy["static"] = round_energy(self.static_mw * cycles * self.machine.ns_per_cycle)
        return {f"energy_{part}_pj": pj for part, pj in energy.items()}


def priced(
    timed: Iterable[tuple[LayerWork, Timed, int]], pricing: Pricing, more: dict[str, int]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and total of layers, each with what it took and the DRAM rows that it opened.  more: of the total."""
    rows = [_row(work, took, opened, pricing) for work, took, opened in timed]
    return rows, total_of(rows, pricing, more)


def total_of(rows: Sequence[Mapping[str, Any]], pricing: Pricing, more: dict[str, int]) -> dict[str, Any]:
    """The total of layers' rows.  more: of the network."""
    machine = pricing.machine
    total = totals(rows, machine.lanes) | more
    ns = total["cycles"] * machine.ns_per_cycle
    total["latency_ms"] = ns / 1e6
    total["area_mm2"] = area_mm2(machine)
    total["power_mw"] = total["energy_pj"] / ns if ns else 0.0  # pJ / ns = mW
    return total


def _row(work: LayerWork, took: Timed, opened: int, pricing: Pricing) -> dict[str, Any]:
    """One layer's row of the result.  opened: rows of the DRAM."""
    schedule = took.schedule
    cycles = took.cycles
    lanes = pricing.machine.lanes
    compute = int(schedule.compute_cycles.sum())
    weights = int(schedule.weights.n_bytes.sum())
    inputs = int(schedule.inputs.n_bytes.sum())
    outputs = int(schedule.outputs.n_bytes.sum())
    actions = pricing.action_energies(schedule.counts | {"dram_activate": float(opened)})
    dram = pricing.dram_energies(actions, cycles)
    parts = pricing.part_energies(actions, sum(dram.values()), cycles)
    return {
        "name": work.name,
        "kind": work.kind,
        "mode": schedule.mode,
        "tiling": schedule.tiling,
        "loop_order": schedule.loop_order,
        "cycles": cycles,
        "compute_cycles": compute,
        "stall_cycles": cycles - compute,
        **took.parts,
        "dense_macs": took.dense_macs,
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
        "dma_cycles": took.dma_cycles,
        "roofline_cycles": took.roofline_cycles,
        **took.places,
    }


def _sram_bytes(schedule: Schedule, direction: str) -> int:
    """Bytes read from or written to all global buffers."""
    return int(np.ceil(sum(bits for name, bits in schedule.counts.items() if name.endswith(direction)) / 8))


def cost_of(machine: Machine, total: Mapping[str, Any]) -> float:
    """What a run costs by the machine's objective."""
    match machine.objective:
        case "dram":
            return float(total["dram_read_bytes"] + total["dram_write_bytes"])
        case "energy":
            return float(total["energy_pj"])
        case "edp":
            return float(total["energy_pj"] * total["cycles"])
    return float(total["cycles"])
