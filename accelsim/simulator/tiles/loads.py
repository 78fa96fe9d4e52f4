"""What each candidate of a layer loads and stores, and how long the DMA takes for it, over the whole layer.

An operand is loaded when its tile changes from one step to the next; one all of whose tiles fit its
buffer stays there and is loaded once.  Every tile counts as the largest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.simulator.tiles.candidates import WEIGHTS_FIRST, Traffic
from accelsim.simulator.tiles.rooms import Rooms
from accelsim.simulator.time.objective import Dma


@dataclass(frozen=True)
class Loads:
    """How often each candidate loads all weights and all inputs.

    Arrays over the candidates (``candidates``).
    """

    of_weights: Ints
    of_inputs: Ints
    weights: Traffic  # the request for all weights once
    inputs: Traffic  # the request for all inputs once, as far as they come from DRAM
    outputs: Traffic  # all that is stored
    operands: Traffic  # of additions that ride on the outputs

    @property
    def dram_bytes(self) -> Ints:
        """Weights, inputs and outputs."""
        return self.dram_bytes_at(np.asarray)

    def dram_bytes_at(self, pick: Callable[[Ints], Ints]) -> Ints:
        """Those of some candidates: what is picked of each array over all of them."""
        loaded = pick(self.weights.n_bytes) * pick(self.of_weights) + pick(self.inputs.n_bytes) * pick(self.of_inputs)
        return np.asarray(loaded + pick(self.outputs.n_bytes) + pick(self.operands.n_bytes))


def count_loads(rooms: Rooms) -> Loads:
    """The loads of all candidates."""
    base = rooms.base
    candidates = rooms.candidates
    around = rooms.mode.work.around
    of_weights = base.of_weights
    if around.weights == "there":
        of_weights = np.zeros_like(of_weights)
    elif rooms.weights_stay is not base.weights_stay:
        of_weights = base.weight_loads(rooms.weights_stay)
    return Loads(
        of_weights=of_weights,
        of_inputs=np.where(rooms.inputs_stay | candidates.input_once, 1, candidates.in_group),
        weights=base.weights,
        inputs=candidates.inputs.part(around.input_share),
        outputs=candidates.outputs.part(around.output_share * around.stores),
        operands=candidates.outputs.part(around.operands),
    )


@dataclass(frozen=True)
class DmaCycles:
    """Cycles of a DMA over the whole layer."""

    inputs: Floats  # loaded once
    outputs: Floats
    weights: Floats  # loaded once
    all: Floats

    def once(self, loads: Loads) -> Floats:
        """The part of them that loads what is loaded once."""
        inputs_once = np.where(loads.of_inputs == 1, self.inputs, 0)
        weights_once = np.where(loads.of_weights == 1, self.weights, 0)
        return np.where(WEIGHTS_FIRST, inputs_once, weights_once)


def dma_cycles(rooms: Rooms, loads: Loads, dma: Dma) -> DmaCycles:
    """A DMA's cycles of all candidates."""
    inputs = loads.inputs.moved_bytes / dma.bytes_per_cycle
    outputs = loads.outputs.moved_bytes / dma.bytes_per_cycle
    weights = rooms.base.weight_cycles(dma)
    around = rooms.mode.work.around
    if around.stores:  # every store but the last one stands between loads
        stores = rooms.candidates.out_loads
        outputs = outputs + (stores - 1) * dma.turned(loads.outputs.n_bytes / stores)
    if around.operands:
        outputs = outputs + loads.operands.moved_bytes / dma.bytes_per_cycle
    return DmaCycles(
        inputs=inputs,
        outputs=outputs,
        weights=weights,
        all=inputs * loads.of_inputs + outputs + weights * loads.of_weights,
    )
