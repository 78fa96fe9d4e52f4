"""Layers without weights: pooling, residual addition and other element-wise passes, on ``vector_lanes`` simple lanes.

A lane reads one operand a cycle: an addition of two tensors takes two operands an output, a pool its whole window.
Tiles are shares of the tensors in storage order (planes of 16 channels, row by row), each a DRAM row or what the
double-buffered input and output buffers hold.  A pool streams: the rows that its windows share stay in the input
buffer and are not read twice, and running results stay in the output buffer.  A local response normalisation counts
as one operand an output.
"""

import numpy as np

from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.machines.stationary import activation_bits
from accelsim.simulator.tiles.tiling import whole_bytes
from accelsim.simulator.time.schedule import Schedule, untransformed
from accelsim.workload import CHANNEL_BLOCK, LayerWork

MAX_PARTS = 1 << 22  # of a layer: some 400 MB of schedule


def plan_vector(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> Schedule:
    """The schedule of a pool, add or other layer.  Raises InputError if the input buffer cannot hold a pool's rows."""
    bits = machine.arithmetic.activation_bits
    elements = work.inputs * work.batch * work.height * work.width * work.in_channels
    in_total = int(whole_bytes(elements, activation_bits(machine, work.input_density)))
    out_total = int(whole_bytes(work.outputs, activation_bits(machine, work.output_density)))
    kept = _overlap_bytes(work, bits)
    in_room, out_room = 512 * machine.buffers.input_kb - kept, 512 * machine.buffers.output_kb
    if in_room < 1:
        raise InputError(
            f"{machine.name}: buffers.input_kb is {machine.buffers.input_kb:g}, too small for the rows shared by the "
            f"windows of layer {work.name}, expected at least {-(-2 * (kept + 1) // 1024)}"
        )
    # A DRAM row of each input at a time, or less where the buffers are smaller: finer parts overlap better, and parts
    # below a row would open it twice.
    row_bytes = machine.dram.timing.row_bytes
    streamed = -(-in_total // (work.inputs * row_bytes))
    parts = max(streamed, int(np.ceil(in_total / in_room)), int(np.ceil(out_total / out_room)))
    if parts > MAX_PARTS:
        raise InputError(
            f"{machine.name}: layer {work.name} passes {in_total} bytes in {parts} parts (DRAM rows, or what a buffer "
            f"holds), expected at most {MAX_PARTS}"
        )
    edges = np.arange(parts + 1)
    # Cumulative shares, so that the parts sum to the tensors exactly.
    in_bytes, out_bytes = np.diff(in_total * edges // parts), np.diff(out_total * edges // parts)
    operands = work.outputs * work.inputs * work.kernel[0] * work.kernel[1]
    cycles = np.diff(-(-operands * edges // (parts * machine.vector_lanes)))
    none = np.zeros(parts, np.int64)
    one = -(-in_bytes // work.inputs)  # bytes of each input tensor
    inputs = Transfer(in_bytes, np.full(parts, work.inputs), work.inputs * -(-one // row_bytes))
    outputs = Transfer.contiguous(out_bytes, row_bytes)
    return untransformed(
        "vector",
        inputs,
        Transfer(none, none, none),
        cycles,
        outputs,
        effectual_macs=0,
        useful_slots=float(operands) / machine.vector_lanes * machine.lanes,
        waiting_slots=0.0,
        actions={
            "input_write": 8 * int(in_bytes.sum()),
            "input_read": operands * bits,
            "output_write": work.outputs * bits,
            "output_read": work.outputs * bits,
        },
    )


def _overlap_bytes(work: LayerWork, bits: int) -> int:
    """Bytes of the input rows that a window shares with the one below it, of one plane of 16 channels."""
    rows = max(0, work.kernel[0] - work.stride[0]) if work.out_height > 1 else 0
    return -(-rows * work.width * min(work.in_channels, CHANNEL_BLOCK) * bits // 8)
