"""Buffers with few ports: the lanes and the transform unit wait for their operands.

A buffer of ``banks`` banks gives and takes ``banks`` x ``port_bits`` bits a cycle.  What the lanes read of weights,
inputs (transformed ones on a Winograd machine) and partial sums, and write of these, has to pass in the cycles of the
lanes; what the transform unit reads and writes, in its own.  Accesses are taken as spread evenly over a layer, so that
each step takes longer by the factor by which the layer's accesses exceed its cycles.  The wait counts as ``edge``.

The DMA and the inverse transform work on the other half of each double buffer, which has ports of its own.
Left out: conflicts of accesses that meet in one bank while another is idle; the mapping does not know of ports.
"""

import numpy as np

from accelsim.arrays import Ints
from accelsim.hardware.parts import Buffers
from accelsim.simulator.tiles.actions import Counts
from accelsim.simulator.tiles.mode import Mode


def lane_bits(mode: Mode, actions: Counts) -> dict[str, float]:
    """Bits that the lanes move through each buffer's ports, the whole layer.  actions: of ``count_actions``."""
    finished = mode.work.outputs * mode.activation_bits
    operands = "transformed_read" if mode.transforms else "input_read"
    return {
        "weight": float(actions["weight_read"]),
        operands.removesuffix("_read"): float(actions[operands]),
        "output": float(actions["output_read"]) - finished + float(actions["output_write"]) - finished,
    }


def through_ports(cycles: Ints, bits: float, buffers: Buffers) -> Ints:
    """Cycles of each step where all of them move so many bits through one buffer: (steps,) int64, never fewer."""
    total = int(cycles.sum())
    if buffers.banks is None or not total:
        return cycles
    needed = bits / (buffers.banks * buffers.port_bits)
    return np.asarray(np.ceil(cycles * max(1.0, needed / total) - 1e-9).astype(np.int64))
