"""What an image may take on a machine: a time, cycles or an energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelsim.errors import InputError
from accelsim.settings import PLAIN_NUMBER
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.result import Result
from accelsim.simulator.run import run
from accelsim.sparsity.keeping import Share
from accelsim.workload import LayerWork

LEVEL = "resident"


@dataclass(frozen=True)
class Quantity:
    """What a machine is to need little of.

    column: of all results.  layers: the column that says it of a layer, in any unit.  units: what
    each is of column's.
    """

    flag: str
    column: str
    layers: str
    units: Mapping[str, float]
    example: str

    def read(self, text: str) -> float:
        """A value such as ``5ms``, in the column's unit.  Raises InputError if it is none."""
        number = text.strip().rstrip("".join(set("".join(self.units))))
        unit = text.strip()[len(number) :]
        known = unit in self.units and PLAIN_NUMBER.fullmatch(number)
        found = float(number) * self.units[unit] if known else 0.0
        if not 0 < found < 1e21:
            *some, last = self.units
            kind = {"latency_ms": "a time", "energy_pj": "an energy"}[self.column]
            units = f"{', '.join(some)} or {last}"
            raise InputError(f"{self.flag} {text}: expected {kind} above 0 in {units}, such as {self.example}")
        return found

    def shown(self, value: float) -> str:
        """A value with the largest unit that leaves 1 or more of it."""
        fitting = [unit for unit, size in self.units.items() if value >= size]
        unit = max(fitting, key=self.units.__getitem__) if fitting else min(self.units, key=self.units.__getitem__)
        return f"{value / self.units[unit]:.4g}{unit}"


LATENCY = Quantity("--latency", "latency_ms", "cycles", {"us": 1e-3, "ms": 1.0, "s": 1e3}, "5ms")
ENERGY = Quantity("--energy", "energy_pj", "energy_pj", {"nJ": 1e3, "uJ": 1e6, "mJ": 1e9}, "200uJ")

CYCLES = Quantity("cycles", "cycles", "cycles", {" cycles": 1.0}, "50000")


@dataclass(frozen=True)
class Target:
    """What is to be kept: at most so much of the quantity for an image on the machine."""

    machine: Machine
    quantity: Quantity
    most: float

    def needed(self, works: Sequence[LayerWork]) -> float:
        """What an image of these layers takes."""
        return float(self.result(works).total[self.quantity.column])

    def share(self, works: Sequence[LayerWork]) -> Share:
        """What a network of these layers has of it."""
        needed = self.needed(works)
        return Share(self.most / needed, f"{self.quantity.shown(needed)} on {self.machine.name}")

    def result(self, works: Sequence[LayerWork]) -> Result:
        """The simulation of an image."""
        return run(works, self.machine, engine="fast", level=LEVEL)
