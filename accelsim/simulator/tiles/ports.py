"""Buffers with few ports: the lanes and the transform unit wait for their operands.

A buffer of ``banks`` banks gives and takes ``banks`` x ``port_bits`` bits a cycle.  What the lanes
read of weights, inputs (transformed ones on a Winograd machine) and partial sums, and write of
these, has to pass in the cycles of the lanes; what the transform unit reads and writes, in its own.
Accesses are taken as spread evenly over a layer, so that each step takes longer by the factor by
which the layer's accesses exceed its cycles.  The wait counts as ``edge``.

The DMA and the inverse transform work on the other half of each double buffer, which has ports of
its own.  Of ``activations: one`` all but weights pass through the ports of one memory: the transform
unit takes as long as what it moves there, and the lanes, beside which it works on the next tiles, as
long as what both do.  Left out: conflicts of accesses that meet in one bank while another is idle;
the mapping does not know of ports.
"""

from accelsim.arrays import Ints, round_up
from accelsim.simulator.tiles.description import TiledBuffers
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.time.schedule import ActionCounts


def lane_bits(mode: Mode, actions: ActionCounts, buffers: TiledBuffers) -> dict[str, float]:
    """Bits that pass each memory's ports while the lanes work, the whole layer.

    They are the lanes' own, and in one memory those of the input transform, too.  actions: of
    ``count_actions``.
    """
    finished = mode.work.outputs * mode.widths.activation_bits
    operands = "transformed" if mode.transforms else "input"
    read_back = float(actions["output_read"]) - finished
    written = float(actions["output_write"]) - finished
    found = {"weight": float(actions["weight_read"])}
    for buffer, bits in ((operands, float(actions[f"{operands}_read"])), ("output", read_back + written)):
        memory = buffers.memory_of(buffer)
        found[memory] = found.get(memory, 0.0) + bits
    if buffers.one_memory and mode.transforms:
        found[buffers.memory_of(operands)] += transform_bits(actions, buffers)
    return found


def transform_bits(actions: ActionCounts, buffers: TiledBuffers) -> float:
    """Bits that the input transform unit moves through the ports of one memory, the whole layer."""
    read = float(actions["input_read"])
    written = float(actions["transformed_write"])
    return read + written if buffers.one_memory else max(read, written)


def through_ports(cycles: Ints, bits: float, buffers: TiledBuffers) -> Ints:
    """Cycles of each step where all of them move so many bits through one buffer.

    (steps,) int64, never fewer.
    """
    total = int(cycles.sum())
    if buffers.banks is None or not total:
        return cycles
    needed = bits / (buffers.banks * buffers.port_bits)
    return round_up(cycles * max(1.0, needed / total))
