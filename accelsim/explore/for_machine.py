"""A network made just as sparse as a machine asks for: ``sparsify --machine M`` with a latency or an energy.

Zeros go where the machine gains by them (``machine_shares``); then the network is made sparse, the
file is simulated, and where it takes too much, the estimate is asked for that much less.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.arrays import Floats
from accelsim.compression.budget import FileBudgets
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
from accelsim.compression.sparsify import Sparse, Sparsifier
from accelsim.dual.file import decode_dual
from accelsim.errors import InputError
from accelsim.explore.machine_shares import MachineShares
from accelsim.explore.machine_target import ENERGY, LATENCY, Target
from accelsim.simulator.machines.machine import Machine
from accelsim.sparsity.keeping import Made, keeping
from accelsim.workload import layer_works


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
    before = _holds_something(work)
    try:
        yield
    except InputError as error:
        if before or not _holds_something(work):
            raise
        raise InputError(f"{error} (what was found on the way is kept in {work}, for a run with --resume)") from None


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


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
    with opened(source, out, wishes, asked, say) as sparsifier:
        return _kept(sparsifier, target, out, asked, say)


def _kept(sparsifier: Sparsifier, target: Target, out: Path, asked: Asked, say: Say) -> Kept:
    """As ``sparsify_for``."""
    at_8_bits = eight_bit_file(sparsifier.network, asked.images)
    dense = tuple(layer_works(decode_dual(at_8_bits, "the network at 8 bits")))
    points = sparsifier.price_layers()
    search = MachineShares(sparsifier.network, sparsifier.regularizer, sparsifier.budget, points, target, dense)
    budgets = FileBudgets(asked.ratio, machine=lambda model: target.share(layer_works(model)))

    def at(strain: Floats) -> Made[Sparse] | None:
        *of_ratio, of_machine = strain.tolist()
        smaller = sparsifier.with_budgets(None if asked.ratio is None else asked.ratio * of_ratio[0], None)
        try:
            taken, expected = search.dearest(lambda cost: smaller.shares(points, cost), target.most / of_machine)
        except InputError:
            if (strain == 1).all():
                raise
            return None  # no layer can give more
        say(f"{target.quantity.shown(expected)} on {target.machine.name} expected")
        sparse = sparsifier.with_shares(taken)
        return Made(sparse, budgets.shares(sparse.model))

    found = keeping(at, budgets.count, say)
    needed = target.needed(layer_works(found.thing.model))
    if needed > target.most:
        raise search.missed(needed)
    found.warn(say)
    write_sparse(out, found.thing)
    shutil.rmtree(sparsifier.work, ignore_errors=True)
    return Kept(point_of(found.thing), needed, search.dense_needs)
