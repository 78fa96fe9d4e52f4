"""Layers without weights: pooling, residual addition and other element-wise passes, on ``vector_lanes`` simple lanes.

A lane reads one operand a cycle: an addition of two tensors takes two operands an output, a pool its whole window.
Tiles are bands of the output's elements in storage order, sized to the double-buffered input and output buffers; a
pool's overlap between bands is not read twice (rows stay in the buffer).
"""

import numpy as np

from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.schedule import Schedule
from accelsim.workload import LayerWork


def plan_vector(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> Schedule:
    """The schedule of a pool, add or other layer.  Raises InputError if the buffers are too small for one row."""
    bits = machine.arithmetic.activation_bits
    in_elements = work.inputs * work.batch * work.height * work.width * work.in_channels
    out_rows = work.batch * work.out_height
    in_row_bytes = -(-in_elements * bits // (8 * out_rows))
    out_row_bytes = -(-work.outputs * bits // (8 * out_rows))
    room = min(
        1024 * machine.buffers.input_kb / 2 / (in_row_bytes + _overlap_bytes(work, bits)),
        1024 * machine.buffers.output_kb / 2 / out_row_bytes,
    )
    if room < 1:
        raise InputError(
            f"{machine.name}: buffers are too small for one row of layer {work.name}, expected larger ones"
        )
    parts = -(-out_rows // int(room))
    edges = np.arange(parts + 1) * out_rows // parts
    # Cumulative shares, so that the parts sum to the tensors exactly.
    in_bytes = np.diff(-(-in_elements * bits // 8) * edges // out_rows)
    out_bytes = np.diff(-(-work.outputs * bits // 8) * edges // out_rows)
    operands = work.outputs * work.inputs * work.kernel[0] * work.kernel[1]
    cycles = np.diff(-(-operands * edges // (out_rows * machine.vector_lanes)))
    none = np.zeros(parts, np.int64)
    row_bytes = machine.dram.timing.row_bytes
    one = -(-in_bytes // work.inputs)  # bytes of each input tensor
    inputs = Transfer(in_bytes, np.full(parts, work.inputs), work.inputs * -(-one // row_bytes))
    outputs = Transfer.contiguous(out_bytes, row_bytes)
    return Schedule(
        mode="vector",
        inputs=inputs,
        weights=Transfer(none, none, none),
        transform_cycles=none,
        compute_cycles=cycles,
        inverse_cycles=none,
        outputs=outputs,
        transforms=False,
        effectual_macs=0,
        actions={
            "input_write": 8 * int(in_bytes.sum()),
            "input_read": operands * bits,
            "output_write": work.outputs * bits,
            "output_read": work.outputs * bits,
            "dram_bit": 8 * int(in_bytes.sum() + out_bytes.sum()),
            "dram_activate": float(inputs.rows.sum() + outputs.rows.sum()),
        },
    )


def _overlap_bytes(work: LayerWork, bits: int) -> int:
    """Bytes of the input rows that a pool's window keeps beyond its stride."""
    rows = max(0, work.kernel[0] - work.stride[0]) if work.kernel[0] < work.height else 0
    return -(-rows * work.width * work.in_channels * bits // 8)
