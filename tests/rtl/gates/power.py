"""Toggles x energy: what a netlist spent while it was measured, by who spent it.

A toggle costs its driver's internal energy and C V^2 / 2 of its net.  A flip-flop also pays for its clock pin, rise and
fall, and for every toggle of its data pin, by its state.  At 1.1 V, the library's voltage.
"""

from dataclasses import dataclass

import numpy as np

from tests.rtl.gates.icarus import Toggles
from tests.rtl.gates.netlist import CLOCK_WIRE_FF, FIRST_SLEW_NS, Netlist

VOLTS = 1.1


@dataclass(frozen=True)
class Energy:
    """pJ a cycle."""

    logic: float  # gates, and the nets they drive
    data: float  # flip-flops that change: their outputs, and their data pins
    clock: float  # clock pins

    @property
    def total(self) -> float:
        """All of it."""
        return self.logic + self.data + self.clock


def spent(net: Netlist, toggles: Toggles) -> Energy:
    """Energy a cycle; leakage apart (``Netlist.leakage_nw``)."""
    logic = data = clock = 0.0
    for bits in net.inputs.values():  # what drives the unit is not its own, the nets are
        logic += sum(_toggles(toggles, n) * net.load_ff.get(n, 0.0) * VOLTS**2 / 2 for n in bits)
    for i, cell in enumerate(net.cells):
        pins = net.pins[i]
        slew = FIRST_SLEW_NS if cell.flip_flop else net.cell_slew(i)
        spent_here = 0.0
        changes = 0
        for pin, output in cell.outputs.items():
            if pin not in pins:
                continue
            n = int(pins[pin])
            changes = _toggles(toggles, n)
            load = net.load_ff.get(n, 0.0)
            internal = output.energy.at(slew, load) if output.energy else 0.0
            spent_here += changes * (internal + load * VOLTS**2 / 2)
        if not cell.flip_flop:
            logic += spent_here
            continue
        data += spent_here + _data_pin(net, i, toggles)
        clock += _clock_pin(net, i, changes, toggles.cycles)
    scale = 1 / (1000 * toggles.cycles)
    return Energy(logic * scale, data * scale, clock * scale)


def _toggles(toggles: Toggles, n: int) -> int:
    return toggles.high.get(n, 0) + toggles.low.get(n, 0)


def _data_pin(net: Netlist, i: int, toggles: Toggles) -> float:
    """fJ of a flip-flop's data pin."""
    n = net.pins[i]["D"]
    if not isinstance(n, int):
        return 0.0
    hidden = net.cells[i].hidden
    slew = net.slew_ns.get(n, FIRST_SLEW_NS)
    energy = {
        level: np.mean(
            [
                table.at(slew, 0)
                for edge in ("rise", "fall")
                for when, table in hidden["D", edge]
                if when.startswith("!CK") == (level == "low")
            ]
        )
        for level in ("high", "low")
    }
    return float(energy["high"] * toggles.high.get(n, 0) + energy["low"] * toggles.low.get(n, 0))


def _clock_pin(net: Netlist, i: int, changes: int, cycles: int) -> float:
    """fJ of a flip-flop's clock pin: a rise and a fall each cycle; a rise that changes the state is the output's."""
    cell = net.cells[i]
    energy: dict[tuple[str, bool], float] = {}
    for edge in ("rise", "fall"):
        for same in (True, False):
            tables = [
                table for when, table in cell.hidden["CK", edge] if (when in ("!D & !Q & QN", "D & Q & !QN")) == same
            ]
            energy[edge, same] = float(np.mean([table.at(FIRST_SLEW_NS, 0) for table in tables]))
    still = max(cycles - changes, 0)
    pins = cycles * (cell.inputs["CK"] + CLOCK_WIRE_FF) * VOLTS**2
    return still * (energy["rise", True] + energy["fall", True]) + changes * energy["fall", False] + pins
