"""Matrix-vector products on lanes that hold interleaved rows of the matrix, with a queue of inputs each, as EIE does.

Filter k of a tile belongs to lane k mod lanes, which stores its weights column by column.  Non-zero inputs are
broadcast, one a cycle, into queues of ``window`` places, one before each lane; a lane works off the oldest input, a
stored weight of its column a cycle (one cycle at least), and the broadcast waits while any queue is full:

    t[j] = max(t[j - 1] + 1, max over lanes of f[j - window, lane])        input j is broadcast
    f[j, lane] = max(f[j - 1, lane], t[j]) + max(1, stored[j, lane])       the lane is done with it

So ``window`` is how many inputs a lane may run ahead of the slowest; where other dataflows set a barrier after every
window, here the window slides.  Weight masks are the real ones; run-length coding pads runs of over 15 rows of a lane
within a column with stored zeros, counted one by one.  Inputs are drawn: ``DRAWS`` vectors (or one for each output
position, if those are fewer) by each channel's density, from a fixed seed; other positions take their average.  A
convolution is one such product for each output position.

Source: Han et al., EIE, ISCA 2016 (recurrences ours, after its description).  Left out: the detection of non-zeros and
the pipeline's four stages, reading the column pointers, the codebook of shared weights.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.hardware.formats import RUN_BITS
from accelsim.hardware.machine import SpatialMachine
from accelsim.simulator.schedule import Schedule
from accelsim.simulator.spatial import activation_bits, weight_bits
from accelsim.simulator.tiling import (
    balanced_cuts,
    feature_map_pieces,
    input_extents,
    line_bytes,
    tile_sizes,
    whole_bytes,
)
from accelsim.workload import LayerWork

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
DRAWS = 4


def queue_cycles(stored: Ints, places: int) -> int:
    """Cycles until all lanes are done.  stored: (inputs, lanes) weights of each broadcast input; places: of a queue."""
    work, done = np.maximum(stored, 1), np.zeros(stored.shape[1], np.int64)
    freed: list[int] = []  # when each input has left all queues
    sent = -1
    for j in range(len(work)):
        sent = max(sent + 1, freed[j - places]) if j >= places else sent + 1
        done = np.maximum(done, sent) + work[j]
        freed.append(int(done.max()))
    return freed[-1] if freed else 0


def stored_weights(mask: Flags, lanes: int, fmt: str) -> tuple[Ints, Ints]:
    """Non-zero weights, and those stored with padding zeros, of each column and lane: (columns, lanes) both.

    mask: (filters, columns) of non-zero weights.
    """
    filters, columns = mask.shape
    rows = -(-filters // lanes)
    padded = np.zeros((rows * lanes, columns), bool)
    padded[:filters] = mask
    kept = padded.reshape(rows, lanes, columns)
    nonzeros = kept.sum(axis=0).astype(np.int64)
    stored = nonzeros
    if fmt in RUN_BITS:
        at = np.where(kept, np.arange(rows, dtype=np.int32)[:, None, None], np.int32(-1))
        before = np.maximum.accumulate(at, axis=0)
        zeros = at[1:] - before[:-1] - 1  # in front of each non-zero, of the first row none
        stored = nonzeros + ((zeros >> RUN_BITS[fmt]) * kept[1:]).sum(axis=0)
    return nonzeros.T, stored.T


def plan_interleaved(work: LayerWork, machine: SpatialMachine) -> Schedule:
    """The schedule of a conv or linear layer.  Raises InputError if its rows do not fit the input buffer."""
    assert work.weights is not None
    a, row_bytes, lanes = machine.arithmetic, machine.dram.timing.row_bytes, machine.lanes
    N, K, per_group = work.batch, work.out_channels, work.out_channels // work.groups
    channels, (R, S) = work.in_channels // work.groups, work.kernel

    # Tiles of filters, each half a weight buffer at most, and tiles of output rows, each half an input buffer.
    filter_bits = weight_bits(work, machine, work.block_nonzeros().sum(axis=0), R * S).sum(axis=1)
    largest = float(filter_bits.max()) / 8
    room = 512 * machine.buffers.weight_kb
    filters = max((k for k in balanced_cuts(per_group, lanes) if k * largest <= room), default=min(lanes, per_group))
    starts = np.add.outer(np.arange(0, K, per_group), np.arange(0, per_group, filters)).ravel()
    in_tile = np.diff(np.append(starts, K))
    in_bits = activation_bits(machine, work.input_density)
    fitting = [
        rows
        for rows in balanced_cuts(work.out_height, 1)
        if int(input_extents(work, 0, rows).max()) * work.width * channels * in_bits / 8
        <= 512 * machine.buffers.input_kb
    ]
    if not fitting:
        raise InputError(
            f"{machine.name}: buffers.input_kb is {machine.buffers.input_kb:g}, too small for one output row of layer "
            f"{work.name}, expected a larger one"
        )
    out_rows, in_rows = tile_sizes(work.out_height, max(fitting)), input_extents(work, 0, max(fitting))

    cycles, stored, products = np.array(
        [_product(work, machine, start, count) for start, count in zip(starts, in_tile, strict=True)]
    ).T

    # One row a step: tiles of filters, then images and rows.
    n_t = N * len(out_rows)
    i_k, i_t = (index.ravel() for index in np.indices((len(starts), n_t)))
    rows, in_high = out_rows[i_t % len(out_rows)], in_rows[i_t % len(out_rows)]
    positions = rows * work.out_width
    new_weights = (i_t == 0).astype(np.int64)
    conv_group = starts // per_group
    again = np.append(False, np.diff(conv_group[i_k]) == 0) & (n_t == 1)
    new_inputs = 1 - again.astype(np.int64)
    in_bytes = whole_bytes(in_high * work.width * channels, in_bits) * new_inputs
    out_bits = activation_bits(machine, work.output_density)
    out_bytes = whole_bytes(positions * in_tile[i_k], out_bits)
    weight_bytes = np.ceil(np.add.reduceat(filter_bits, starts) / 8 - 1e-6).astype(np.int64)
    line = line_bytes(work.width, work.in_channels, in_bits)
    in_pieces = feature_map_pieces(1, in_high, channels, True, line, row_bytes)
    line = line_bytes(work.out_width, K, out_bits)
    out_pieces = feature_map_pieces(1, rows, in_tile[i_k], True, line, row_bytes)
    inputs = Transfer(in_bytes, in_pieces[0] * new_inputs, in_pieces[1] * new_inputs)
    weights = Transfer.contiguous(weight_bytes[i_k] * new_weights, row_bytes)
    outputs = Transfer(out_bytes, *out_pieces)
    compute = np.maximum(1, np.ceil(cycles[i_k] * positions - 1e-9)).astype(np.int64)
    none = np.zeros(len(compute), np.int64)
    macs, read = (int((values[i_k] * positions).sum()) for values in (products, stored))
    dram = (inputs, weights, outputs)
    return Schedule(
        mode="matrix-vector",
        inputs=inputs,
        weights=weights,
        transform_cycles=none,
        compute_cycles=compute,
        inverse_cycles=none,
        outputs=outputs,
        weight_transform_cycles=none,
        transforms=False,
        effectual_macs=macs,
        useful_slots=float(macs),
        waiting_slots=float(lanes * int(compute.sum()) - read),
        actions={
            "mac": macs,
            "register_bit": macs * 2 * a.accumulator_bits,
            "index": macs,
            "weight_read": read * (a.weight_bits + RUN_BITS.get(machine.weight_format, 0)),
            "weight_write": 8 * int(weights.n_bytes.sum()),
            "input_read": float((positions * R * S * channels).sum()) * a.activation_bits,
            "input_write": 8 * int(in_bytes.sum()),
            "output_write": work.outputs * a.activation_bits,
            "output_read": work.outputs * a.activation_bits,
            "dram_bit": 8 * sum(int(t.n_bytes.sum()) for t in dram),
            "dram_activate": sum(int(t.rows.sum()) for t in dram),
        },
    )


def _product(work: LayerWork, machine: SpatialMachine, start: int, filters: int) -> tuple[float, float, float]:
    """Cycles, stored weights read and products of one output position, on average, of a tile of filters."""
    assert work.weights is not None
    group = start // (work.out_channels // work.groups)
    matrix = work.weights[start : start + filters].reshape(filters, -1)
    density = np.broadcast_to(work.input_density, (work.in_channels,)).reshape(work.groups, -1)[group]
    density = np.repeat(density, work.kernel[0] * work.kernel[1])
    rng = np.random.default_rng(0)
    draws = min(DRAWS, work.batch * work.out_height * work.out_width)
    total = np.zeros(3)
    for _ in range(draws):
        active = np.flatnonzero(rng.random(len(density)) < density)
        nonzeros, stored = stored_weights(matrix[:, active] != 0, machine.lanes, machine.weight_format)
        total += queue_cycles(stored, machine.window), stored.sum(), nonzeros.sum()
    cycles, stored_reads, products = (float(value) for value in total / draws)
    return ceil(cycles), min(stored_reads, ceil(cycles) * machine.lanes), products
