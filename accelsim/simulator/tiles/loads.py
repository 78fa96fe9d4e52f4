"""What each candidate of a layer loads and stores, and how long the DMA takes for it, over the whole layer.

An operand is loaded when its tile changes from one step to the next; one all of whose tiles fit its
buffer stays there and is loaded once.  Every tile counts as the largest.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.simulator.tiles.candidates import WEIGHTS_FIRST, Traffic
from accelsim.simulator.tiles.description import TiledDescription
from accelsim.simulator.tiles.mode import Mode
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
    dram_bytes: Ints  # weights, inputs and outputs


def count_loads(mode: Mode, machine: TiledDescription, rooms: Rooms) -> Loads:
    """The loads of all candidates."""
    candidates = rooms.candidates
    of_weights = np.where(rooms.weights_stay | candidates.weight_once, 1, candidates.count)
    if mode.work.around.weights == "there":
        of_weights = np.zeros_like(of_weights)
    of_inputs = np.where(rooms.inputs_stay | candidates.input_once, 1, candidates.in_group)
    n_bytes = np.int64(np.ceil(mode.dram_bits.sum() / 8))
    pieces = candidates.n_k * candidates.n_c
    rows_a_piece = -(-n_bytes // (pieces * machine.dram.timing.row_bytes))
    weights = Traffic.of(np.asarray(n_bytes), pieces, rows_a_piece * pieces)
    around = mode.work.around
    inputs = candidates.inputs.part(around.input_share)
    outputs = candidates.outputs.part(around.output_share * around.stores)
    operands = candidates.outputs.part(around.operands)
    loaded = weights.n_bytes * of_weights + inputs.n_bytes * of_inputs
    return Loads(
        of_weights=of_weights,
        of_inputs=of_inputs,
        weights=weights,
        inputs=inputs,
        outputs=outputs,
        operands=operands,
        dram_bytes=np.asarray(loaded + outputs.n_bytes + operands.n_bytes),
    )


@dataclass(frozen=True)
class DmaCycles:
    """Cycles of the DMA over the whole layer, and the part of them that loads what is loaded once."""

    all: Floats
    once: Floats


def dma_cycles(mode: Mode, rooms: Rooms, loads: Loads, dma: Dma) -> DmaCycles:
    """A DMA's cycles of all candidates."""
    candidates = rooms.candidates
    inputs, weights, outputs = (
        operand.moved_bytes / dma.bytes_per_cycle for operand in (loads.inputs, loads.weights, loads.outputs)
    )
    around = mode.work.around
    if around.stores:  # every store but the last one stands between loads
        outputs = outputs + (candidates.out_loads - 1) * dma.turn_cycles
    if around.operands:
        outputs = outputs + loads.operands.moved_bytes / dma.bytes_per_cycle
    if mode.arrival_cycles:
        arrival = mode.work.out_channels * mode.group_channels * mode.arrival_cycles
        weights = np.maximum(weights, arrival)
    inputs_once = np.where(loads.of_inputs == 1, inputs, 0)
    weights_once = np.where(loads.of_weights == 1, weights, 0)
    return DmaCycles(
        all=inputs * loads.of_inputs + outputs + weights * loads.of_weights,
        once=np.where(WEIGHTS_FIRST, inputs_once, weights_once),
    )
