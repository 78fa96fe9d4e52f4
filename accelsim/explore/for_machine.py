"""A network made just as sparse as a machine asks for: ``sparsify --machine M`` with a latency or an energy.

What an image costs on the machine takes the place of a budget of multiplies.  The whole network is
simulated at each pair of shares that its layers were priced at: the smallest weights left out, in
the Winograd domain as many entries as priced.  So every layer has its own cost by its own zeros,
bound by the lanes, the transforms or the memory as it may be, and zeros go where this machine gains
by them (``training.prices.Cost``).

The costs of a network's layers depend on each other, so each choice of shares is simulated as a
whole, and the dearest whose estimate keeps to what is asked is found by bisection; then the network
is made sparse, the file is simulated, and where it takes too much, the estimate is asked for that
much less.

Left out: that zeros of a reconstruction lie elsewhere than the smallest weights, which is what the
next try is for.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.arrays import Array, Floats
from accelsim.compression.importing import Wishes, eight_bit_file
from accelsim.compression.sparsified import (
    Asked,
    CurvePoint,
    Say,
    opened,
    point_of,
    sparsify_file,
    summary,
    work_folder,
    write_sparse,
)
from accelsim.compression.sparsify import Sparsifier
from accelsim.dual.file import decode_dual
from accelsim.errors import InputError
from accelsim.settings import PLAIN_NUMBER
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.result import Result
from accelsim.simulator.run import run
from accelsim.training.prices import OFFSETS, Cost, LayerPrice, Points, goals_at
from accelsim.workload import LayerWork, layer_works

LEVEL = "resident"
HALVINGS = 7
TRIES = 3  # files that are made
SPARE = 0.99  # of what is asked for next, where a file takes too much


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


@dataclass(frozen=True)
class Target:
    """What is to be kept: at most so much of the quantity for an image on the machine."""

    machine: Machine
    quantity: Quantity
    most: float

    def needed(self, works: Sequence[LayerWork]) -> float:
        """What an image of these layers takes."""
        return float(self.result(works).total[self.quantity.column])

    def result(self, works: Sequence[LayerWork]) -> Result:
        """The simulation of an image."""
        return run(works, self.machine, engine="fast", level=LEVEL)


@dataclass(frozen=True)
class Demand:
    """What a user asks of a machine: both as text, such as ``5ms`` and ``200uJ``, or None."""

    machine: Machine | None = None
    latency: str | None = None
    energy: str | None = None

    def target(self) -> Target | None:
        """What is to be kept, None without a machine.

        Raises InputError if the wishes do not fit together.
        """
        wanted = [(LATENCY, self.latency), (ENERGY, self.energy)]
        named = [(quantity, text) for quantity, text in wanted if text is not None]
        if self.machine is None and not named:
            return None
        if self.machine is None or len(named) != 1:
            raise InputError(
                "--machine, --latency and --energy: expected a machine and one of the others, "
                "as in --machine winograd-32x32 --latency 5ms"
            )
        quantity, text = named[0]
        return Target(self.machine, quantity, quantity.read(text))


@dataclass(frozen=True)
class Kept:
    """A file that keeps to the target.

    needed, dense: what the file and the network at 8 bits take.
    """

    point: CurvePoint
    needed: float
    dense: float


def make_sparse(
    source: Path,
    out: Path,
    wishes: Wishes,
    asked: Asked,
    demand: Demand,
    say: Say,
) -> dict[str, Any]:
    """Write a sparse file, to budgets or to what a machine may take; what `sparsify --json` prints.

    Raises InputError as ``sparsify_file`` and ``sparsify_for``.
    """
    target = demand.target()
    with _saying_what_is_kept(out):
        if target is None:
            return summary(sparsify_file(source, out, wishes, asked, say), out)
        kept = sparsify_for(target, source, out, wishes, asked, say)
    name, unit = target.quantity.column.rsplit("_", 1)
    return {
        **summary([kept.point], out),
        "machine": target.machine.name,
        f"{name}_{unit}": kept.needed,
        f"{name}_asked_{unit}": target.most,
        f"{name}_dense_{unit}": kept.dense,
    }


@contextmanager
def _saying_what_is_kept(out: Path) -> Iterator[None]:
    """Where bad input ends a run behind its first prices, which are the same for all budgets, the message says so."""
    work = work_folder(out)
    before = work.exists()
    try:
        yield
    except InputError as error:
        if before or not work.exists():
            raise
        raise InputError(f"{error} (what was found on the way is kept in {work}, for a run with --resume)") from None


def sparsify_for(
    target: Target,
    source: Path,
    out: Path,
    wishes: Wishes,
    asked: Asked,
    say: Say,
) -> Kept:
    """Write the sparse file ``out`` that keeps to the target, and the table of its layers beside it.

    Raises InputError if a file cannot be read, or the target cannot be kept.
    """
    if asked.cost_reduction is not None or asked.curve:
        flag = target.quantity.flag
        raise InputError(f"{flag}: expected neither --cost-reduction, which it takes the place of, nor --curve")
    sparsifier = opened(source, out, wishes, asked, say).with_budgets(asked.ratio, None)
    at_8_bits = eight_bit_file(sparsifier.network, asked.images)
    dense = tuple(layer_works(decode_dual(at_8_bits, "the network at 8 bits")))
    search = _Search(sparsifier, sparsifier.price_layers(), target, dense)
    aim = target.most
    for _ in range(TRIES):
        taken, expected = search.dearest(aim)
        say(f"{target.quantity.shown(expected)} on {target.machine.name} expected")
        sparse = sparsifier.with_shares(taken)
        needed = target.needed(layer_works(sparse.model))
        if needed <= target.most:
            write_sparse(out, sparse)
            shutil.rmtree(sparsifier.work, ignore_errors=True)
            return Kept(point_of(sparse), needed, search.dense_needs)
        say(f"the file takes {target.quantity.shown(needed)}, sparser then")
        aim *= SPARE * target.most / needed
    raise search.missed(needed)


@dataclass
class _Search:
    """What the machine would need, by how much of it the layers that can be sparse may have together."""

    sparsifier: Sparsifier
    points: Points
    target: Target
    dense: tuple[LayerWork, ...]
    known: dict[float, tuple[dict[str, LayerPrice], float]] = field(default_factory=dict)

    @cached_property
    def dense_needs(self) -> float:
        """What the dense network takes."""
        return self.target.needed(self.dense)

    @cached_property
    def costs(self) -> dict[str, Floats]:
        """(offsets, shares) of each layer: what it takes with all layers at these shares."""
        budget = self.sparsifier.wish.reconstruction.budget
        assert budget is not None
        found = {name: np.zeros((len(grid), len(budget.zeros))) for name, grid in self.points.items()}
        for offset in range(max(len(grid) for grid in self.points.values())):
            for share in range(len(budget.zeros)):
                own = self.target.result(self._at(offset, share)).layers
                by_name = dict(zip(own["name"], own[self.target.quantity.layers], strict=True))
                for name, cost in found.items():
                    cost[min(offset, len(cost) - 1), share] = by_name[name]
        return found

    def _at(self, offset: int, share: int) -> list[LayerWork]:
        """The network with every layer at one of the pairs of shares that it was priced at."""
        wish = self.sparsifier.wish
        budget = wish.reconstruction.budget
        assert budget is not None
        kron = self.sparsifier.regularizer.kron
        middle = len(budget.cells) // 2
        taken = {}
        for name, grid in self.points.items():
            point = grid[min(offset, len(grid) - 1)][share]
            w = self.sparsifier.network.arrays[f"{name}.weight"]
            zeros = goals_at(w, kron.get(name), budget.zeros[share], OFFSETS[offset] if name in kron else 0.0)
            taken[name] = LayerPrice(
                *zeros, budget.cells[middle], point.loss, point.bits[middle], point.multiplies[middle]
            )
        return [_thinned(work, taken, wish.tile) for work in self.dense]

    def estimate(self, most: float) -> tuple[dict[str, LayerPrice], float]:
        """(shares, what the machine would need) where the layers may take so much.

        Raises InputError if they cannot.
        """
        if most not in self.known:
            taken = self.sparsifier.shares(self.points, Cost(self.costs, most))
            works = [_thinned(work, taken, self.sparsifier.wish.tile) for work in self.dense]
            self.known[most] = taken, self.target.needed(works)
        return self.known[most]

    def dearest(self, aim: float) -> tuple[dict[str, LayerPrice], float]:
        """The dearest shares whose estimate is at most the aim, and it.

        Raises InputError if there are none.
        """
        loosest = sum(float(cost.max()) for cost in self.costs.values())
        tightest = 1.001 * sum(float(cost.min()) for cost in self.costs.values())
        found = self.estimate(loosest)
        if found[1] <= aim:
            return found
        least = found[1]
        low = tightest
        high = loosest
        most = tightest
        for _ in range(HALVINGS):
            try:
                tried = self.estimate(most)
            except InputError:  # the file's size leaves no room for it
                low = most
            else:
                least = min(least, tried[1])
                if tried[1] > aim:
                    high = most
                else:
                    low = most
                    found = tried
            if high <= tightest:
                break
            most = (low * high) ** 0.5
        if found[1] > aim:
            raise self.missed(least)
        return found

    def missed(self, least: float) -> InputError:
        """That the target cannot be kept."""
        quantity = self.target.quantity
        asked = f"{quantity.flag} {quantity.shown(self.target.most)} cannot be kept on {self.target.machine.name}"
        return InputError(
            f"{self.sparsifier.network.graph.name}: {asked}: dense it takes {quantity.shown(self.dense_needs)}, "
            f"as sparse as it can be {quantity.shown(least)}"
        )


def _thinned(work: LayerWork, taken: Mapping[str, LayerPrice], tile: int) -> LayerWork:
    """A layer with as many zeros as it would take: its smallest entries, in each domain."""
    price = taken.get(work.name)
    if price is None or work.weights is None:
        return work
    K, C = work.weights.shape[:2]
    taps = np.prod([tile + r - 1 for r in work.kernel])
    return replace(
        work,
        weights=_without_smallest(work.filters(), price.zeros_sd),
        winograd_density=None if work.winograd_threshold is None else 1 - price.zeros_wd / (K * C * float(taps)),
        coded_bits=None if work.coded_bits is None else round(price.bits),
    )


def _without_smallest(w: Array, zeros: int) -> Array:
    """The weights, so many of the smallest of them 0."""
    if zeros <= 0:
        return w
    order = np.argpartition(np.abs(w), min(zeros, w.size) - 1, axis=None)
    found = w.copy()
    found.flat[order[:zeros]] = 0
    return found
