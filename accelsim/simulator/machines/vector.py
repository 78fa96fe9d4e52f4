"""Layers without weights.

Pooling, residual addition and other element-wise passes, on ``vector_lanes`` simple lanes.

A lane reads one operand a cycle: an addition of two tensors takes two operands an output, a pool
its whole window.  Tiles are shares of the tensors in storage order (planes of 16 channels, row by
row), each a DRAM row or what the double-buffered input and output buffers hold.  A pool streams:
the rows that its windows share stay in the input buffer and are not read twice, and running results
stay in the output buffer.  A local response normalisation counts as one operand an output.
"""

import numpy as np

from accelsim.errors import InputError
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.dram import Transfer, behind
from accelsim.simulator.storage.feature_map import activation_bits, whole_bytes
from accelsim.simulator.time.objective import predicted
from accelsim.simulator.time.plan import LayerPlan, amid, check_room
from accelsim.simulator.time.schedule import Schedule, untransformed
from accelsim.workload import CHANNEL_BLOCK, LayerWork

MAX_PARTS = 1 << 22  # of a layer: some 400 MB of schedule


def vector_schedule(work: LayerWork, machine: MachineDescription) -> Schedule:
    """The schedule of a pool, add or other layer.

    Raises InputError if the input buffer cannot hold a pool's rows, or there are over MAX_PARTS
    parts.
    """
    bits = machine.arithmetic.activation_bits
    in_total, out_total = _tensor_bytes(work, machine)
    parts = count_parts(work, machine)

    # Cumulative shares, so that the parts sum to the tensors exactly.
    edges = np.arange(parts + 1)
    in_bytes = np.diff(in_total * edges // parts)
    out_bytes = np.diff(out_total * edges // parts)
    operands = work.outputs * work.inputs * work.kernel[0] * work.kernel[1]
    cycles = np.diff(-(-operands * edges // (parts * machine.vector_lanes)))
    none = np.zeros(parts, np.int64)
    tensors = np.full(parts, work.inputs)
    inputs = Transfer(
        n_bytes=in_bytes,
        address=behind(-(-in_bytes // work.inputs)),
        planes=tensors,
        plane_bytes=np.full(parts, -(-in_total // work.inputs)),
        lines=np.ones_like(tensors),
        line_bytes=none,
    )
    return untransformed(
        mode="vector",
        inputs=inputs,
        weights=Transfer.contiguous(none),
        compute_cycles=cycles,
        outputs=Transfer.contiguous(out_bytes),
        dram=machine.dram,
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


def vector_plan(work: LayerWork, machine: MachineDescription) -> LayerPlan:
    """The plan of a pool, add or other layer in its surroundings.

    Raises InputError as ``vector_schedule``, or if its parts do not fit the room.
    """
    around = work.around
    whole = vector_schedule(work, machine)
    schedule = amid(whole, work, machine)
    shared = _shared_bytes(work, machine.arithmetic.activation_bits)
    in_need = 2 * (int(whole.inputs.n_bytes.max()) + shared)
    out_need = 2 * int(whole.outputs.n_bytes.max())
    needs = {"weight": 0, "input": in_need if around.input_share else 0, "output": out_need if around.stores else 0}
    if around.room is not None:
        check_room(machine, work, needs)
    return LayerPlan(
        work=work,
        machine=machine,
        score=predicted(schedule, machine),
        needs=needs,
        weights_whole=True,
        weight_bytes=0,
        make=lambda: whole,
    )


def _tensor_bytes(work: LayerWork, machine: MachineDescription) -> tuple[int, int]:
    """Bytes of all inputs and of the output."""
    elements = work.inputs * work.batch * work.height * work.width * work.in_channels
    in_bytes = whole_bytes(elements, activation_bits(machine, work.input_density))
    return int(in_bytes), int(whole_bytes(work.outputs, activation_bits(machine, work.output_density)))


def count_parts(work: LayerWork, machine: MachineDescription) -> int:
    """Into how many parts the tensors are cut.  Raises InputError as ``vector_schedule``.

    A DRAM row of each input at a time, or less where the buffers are smaller: finer parts overlap
    better, and parts below a row would open it twice.
    """
    in_bytes, out_bytes = _tensor_bytes(work, machine)
    streamed = -(-in_bytes // (work.inputs * machine.dram.timing.row_bytes))
    parts = max(streamed, _parts_held(work, machine, in_bytes, out_bytes))
    if parts > MAX_PARTS:
        raise InputError(
            f"{machine.name}: layer {work.name} passes {in_bytes} bytes in {parts} parts (DRAM rows, or what a buffer "
            f"holds), expected at most {MAX_PARTS}"
        )
    return parts


def _parts_held(work: LayerWork, machine: MachineDescription, in_bytes: int, out_bytes: int) -> int:
    """Into how many parts tensors are cut for the buffers to hold two.

    Raises InputError if they cannot hold any.
    """
    buffers = machine.buffers
    shared = _shared_bytes(work, machine.arithmetic.activation_bits)
    names = buffers.map_buffers if buffers.one_memory else ("input",)
    room = sum(buffers.half_bytes(name) for name in names) - shared
    if buffers.one_memory:
        room = int(room) - 1  # bytes of both parts are rounded up
    if room < 1:
        keys = " + ".join(f"{name}_kb" for name in names)
        raise InputError(
            f"{machine.name}: buffers.{keys} is {sum(buffers.sizes_kb[name] for name in names):g}, too small for the "
            f"rows shared by the windows of layer {work.name}, expected at least {-(-2 * (shared + 1) // 1024)}"
        )
    if buffers.one_memory:
        return int(np.ceil((in_bytes + out_bytes) / room))
    parts_in = int(np.ceil(in_bytes / room))
    parts_out = int(np.ceil(out_bytes / buffers.half_bytes("output")))
    return max(parts_in, parts_out)


def _shared_bytes(work: LayerWork, bits: int) -> int:
    """Bytes of the input rows that a window shares with the one below it, of one plane of 16 channels."""
    rows = max(0, work.kernel[0] - work.stride[0]) if work.out_height > 1 else 0
    return -(-rows * work.width * min(work.in_channels, CHANNEL_BLOCK) * bits // 8)
