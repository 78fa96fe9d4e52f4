"""A network made just as sparse as a machine needs to run it in a given time: ``sparsify --machine M --latency T``.

The reduction of multiplies takes the place of a budget.  What time it leads to is first estimated, from the shares of
zeros that each layer would take: its smallest weights are left out, in the Winograd domain as many entries as priced,
and the machine is simulated.  The least reduction whose estimate keeps to the time is found by bisection; then the
network is made sparse, the file is simulated, and where it takes too long, the estimate is asked for that much less.

Left out: that zeros of a reconstruction lie elsewhere than the smallest weights, which is what the second try is for.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.compression.importing import Wishes, eight_bit_file
from accelsim.compression.sparsified import (
    Asked,
    Point,
    Say,
    notes_of,
    opened,
    sparsify_file,
    summary,
    work_folder,
    write_sparse,
)
from accelsim.compression.sparsify import (
    Pictures,
    make_wish,
    price_layers,
    reached,
    shares,
    sparsify,
)
from accelsim.dual.file import decode_dual
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.network import Network
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run
from accelsim.training.prices import Points, Price
from accelsim.workload import LayerWork, layer_works

LEVEL = "resident"
LEAST = 1.001  # reduction of multiplies: none
STEP = 1.5  # from one reduction to the next, on the way up
HALVINGS = 7
TRIES = 3  # files that are made
SPARE = 0.99  # of the time that is asked for next, where a file takes too long
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Target:
    """A time to be kept."""

    machine: Machine
    latency_ms: float  # of an image


@dataclass(frozen=True)
class Kept:
    """A file that keeps to the time.

    latency_ms: of the file.  dense_ms: of the network at 8 bits.
    """

    point: Point
    latency_ms: float
    dense_ms: float


def make_sparse(
    source: Path, out: Path, wishes: Wishes, asked: Asked, machine: Machine | None, latency: str | None, say: Say
) -> dict[str, Any]:
    """Write a sparse file, to budgets or, with a machine, to a time; what ``accelsim sparsify --json`` prints.

    latency: as ``read_latency``.  Raises InputError as ``sparsify_file`` and ``sparsify_to_latency``.
    """
    if machine is None and latency is None:
        return summary(sparsify_file(source, out, wishes, asked, say), out)
    if machine is None or latency is None:
        raise InputError("--latency and --machine: expected both, as in --machine winograd-32x32 --latency 5ms")
    target = Target(machine, read_latency(latency))
    kept = sparsify_to_latency(source, out, wishes, asked, target, say)
    return {
        **summary([kept.point], out),
        "machine": machine.name,
        "latency_ms": kept.latency_ms,
        "latency_asked_ms": target.latency_ms,
        "latency_dense_ms": kept.dense_ms,
    }


def read_latency(text: str) -> float:
    """A time such as ``5ms`` in milliseconds.  Raises InputError if it is none."""
    number = text.strip().rstrip("usm")
    unit = text.strip()[len(number) :]
    try:
        found = float(number) * UNITS_MS[unit]
    except (ValueError, KeyError):
        found = 0.0
    if not 0 < found < 1e9:
        raise InputError(f"--latency {text}: expected a time above 0 in us, ms or s, such as 5ms")
    return found


def sparsify_to_latency(source: Path, out: Path, wishes: Wishes, asked: Asked, target: Target, say: Say) -> Kept:
    """Write the sparse file ``out`` that the machine runs in the time, and the table of its layers beside it.

    Raises InputError if a file cannot be read, or the time cannot be kept.
    """
    if asked.cost_reduction is not None or asked.curve:
        raise InputError("--latency: expected neither --cost-reduction, which it takes the place of, nor --curve")
    network, pictures = opened(source, out, wishes, asked, say)
    work = work_folder(out)
    wish = make_wish(network, pictures, asked.ratio, LEAST, asked.tile)
    points = price_layers(network, pictures, wish, work, say)
    dense = decode_dual(eight_bit_file(network, asked.images), "the network at 8 bits")
    search = _Search(network, pictures, points, asked, target, dense)
    aim = target.latency_ms
    for _ in range(TRIES):
        reduction = search.least_reduction(aim)
        expected = search.estimate(reduction)
        say(f"{reduction:g} times fewer multiplies: {expected:.4g} ms on {target.machine.name} expected")
        wish = make_wish(network, pictures, asked.ratio, reduction, asked.tile)
        sparse = sparsify(network, pictures, wish, work, notes_of(source, pictures), say)
        latency = _latency(layer_works(sparse.model), target.machine)
        if latency <= target.latency_ms:
            write_sparse(out, sparse)
            shutil.rmtree(work, ignore_errors=True)
            return Kept(Point(*reached(network, sparse), sparse), latency, search.dense_ms)
        say(f"the file takes {latency:.4g} ms, sparser then")
        aim *= SPARE * target.latency_ms / latency
    raise search.missed(latency)


def _latency(works: Sequence[LayerWork], machine: Machine) -> float:
    """Milliseconds of one image."""
    return float(run(works, machine, engine="fast", level=LEVEL).total["latency_ms"])


@dataclass
class _Search:
    """How long the network would take, at reductions of its multiplies."""

    network: Network
    pictures: Pictures
    points: Points
    asked: Asked
    target: Target
    dense: DualModel
    known: dict[float, float] = field(default_factory=dict)  # milliseconds

    @cached_property
    def works(self) -> tuple[LayerWork, ...]:
        """The layers of the dense network."""
        return tuple(layer_works(self.dense))

    @cached_property
    def dense_ms(self) -> float:
        """What the dense network takes."""
        return _latency(self.works, self.target.machine)

    def estimate(self, reduction: float) -> float:
        """Milliseconds at a reduction.  Raises InputError if the layers cannot have it."""
        if reduction not in self.known:
            wish = make_wish(self.network, self.pictures, self.asked.ratio, reduction, self.asked.tile)
            taken = shares(self.network, self.points, wish)
            works = [_thinned(work, taken, self.asked.tile) for work in self.works]
            self.known[reduction] = _latency(works, self.target.machine)
        return self.known[reduction]

    def least_reduction(self, aim_ms: float) -> float:
        """The least reduction whose estimate is at most the aim.  Raises InputError if there is none."""
        low = high = LEAST
        while self.estimate(high) > aim_ms:
            low, high = high, self._higher(high)
        for _ in range(HALVINGS if high > LEAST else 0):
            middle = ceil(1000 * (low * high) ** 0.5) / 1000
            if middle >= high:
                break
            low, high = (low, middle) if self.estimate(middle) <= aim_ms else (middle, high)
        return high

    def _higher(self, reduction: float) -> float:
        """A higher reduction that the layers can have.  Raises InputError if there is none that is much higher."""
        for step in (STEP, 1.15, 1.05):
            higher = round(step * reduction, 3)
            try:
                self.estimate(higher)
            except InputError:
                continue
            return higher
        raise self.missed(min(self.known.values()))

    def missed(self, least_ms: float) -> InputError:
        """That the time cannot be kept."""
        asked = f"--latency {self.target.latency_ms:g}ms cannot be kept on {self.target.machine.name}"
        return InputError(
            f"{self.network.graph.name}: {asked}: dense it takes {self.dense_ms:.4g} ms, "
            f"as sparse as it can be {least_ms:.4g} ms"
        )


def _thinned(work: LayerWork, taken: Mapping[str, Price], tile: int) -> LayerWork:
    """A layer with as many zeros as it would take: its smallest entries, in each domain."""
    price = taken.get(work.name)
    if price is None or work.weights is None:
        return work
    K, C = work.weights.shape[:2]
    taps = np.prod([tile + r - 1 for r in work.kernel])
    return replace(
        work,
        weights=_without_smallest(work.weights, price.zeros_sd),
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
