"""A machine's cycles, time or energy as the budget of a recipe: ``reconstruction.budget.machine``.

Training and compression know nothing of the simulator; ``accelsim train`` and ``compress`` hand
them these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accelsim.arrays import Array, Levels
from accelsim.compression.eightbit import eight_bit
from accelsim.dual.file import decode_dual, encode_dual
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.explore.machine_shares import MachineShares
from accelsim.explore.machine_target import CYCLES, ENERGY, LATENCY, Target
from accelsim.network import Network
from accelsim.simulator.machines.load import load_hardware
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.keeping import Share
from accelsim.sparsity.recipe import Budget, Reconstruction
from accelsim.training.prices import LayerPrice, Points, chosen
from accelsim.workload import LayerWork, layer_works

IMAGES = 64  # on which input densities are measured
WHOLE = 1e-3  # of a cell: what is less in the Winograd domain is a zero; F(4, 3) has entries of 1/576


@dataclass(frozen=True)
class RecipeMachine:
    """What a network's layers may take together of a machine.

    dense: its layers at 8 bits.
    """

    network: Network
    regularizer: JointRegularizer
    target: Target
    dense: tuple[LayerWork, ...]

    def chosen(self, points: Points, budget: Budget, strain: float) -> dict[str, LayerPrice]:
        """What each layer takes for the machine to need its budget over ``strain``.

        Raises InputError if it cannot.
        """
        search = MachineShares(self.network, self.regularizer, budget, points, self.target, self.dense)
        taken, _ = search.dearest(
            lambda cost: chosen(self.network, points, self.regularizer, budget, cost), self.target.most / strain
        )
        return taken

    def share(self, weights: Mapping[str, Levels]) -> Share:
        """What the network has of the budget.  weights: of the sparse layers, in cells."""
        works = []
        for work in self.dense:
            own = weights.get(work.name)
            if own is not None and work.weights is not None:
                threshold = None if work.winograd_threshold is None else WHOLE
                levels = own.astype(np.float32).reshape(work.weights.shape)
                work = replace(work, weights=levels, winograd_threshold=threshold)
            works.append(work)
        return self.target.share(works)


def machine_budgets(
    network: Network, regularizer: JointRegularizer, settings: Reconstruction, images: Array
) -> RecipeMachine:
    """The machine's budget of a recipe (``accelsim.training.to_budget.MachineBudgets``).

    Raises InputError if there is no such machine, or the budget is none.
    """
    assert settings.budget is not None
    target = target_of(settings.budget.model_dump())
    at_8_bits = encode_dual(eight_bit(network, {}, images[:IMAGES]), "deflate")
    dense = tuple(layer_works(decode_dual(at_8_bits, "the network at 8 bits")))
    return RecipeMachine(network, regularizer, target, dense)


def of_machine(budget: Mapping[str, Any]) -> Callable[[DualModel], Share]:
    """What a file has of a machine's budget (``accelsim.compression.budget.OfMachine``).

    budget: the recipe's section.  Raises InputError as ``target_of``.
    """
    target = target_of(budget)
    return lambda model: target.share(layer_works(model))


def target_of(budget: Mapping[str, Any]) -> Target:
    """What a recipe's budget asks of its machine.

    Raises InputError if there is no such machine, or the budget is none.
    """
    machine = load_hardware(str(budget["machine"]))
    if isinstance(cycles := budget.get("cycles"), int):
        return Target(machine, CYCLES, cycles)
    for quantity in (LATENCY, ENERGY):
        own = replace(quantity, flag=quantity.flag.removeprefix("--"))
        if isinstance(text := budget.get(own.flag), str):
            return Target(machine, own, own.read(text))
    raise InputError(f"machine {budget['machine']}: expected cycles, latency or energy beside it")
