"""The row-stationary array: a convolution as passes over sets of processing elements, as on Eyeriss.

Words and structure are those of Chen et al., JSSC 52(1), 2017.  A processing element (PE) slides one filter row over
one input row.  A set of R x e of them computes e rows of one output plane: filter rows lie along its rows, output rows
along its columns, input rows run diagonally, and partial sums are added up along a column.  A set wider than the array
is folded below itself.  r x t sets work at once: r stacked in the same columns, which hand their sums on, work on other
input channels, t on other filters.  Each PE interleaves q channels of p filters, as its scratch-pads allow:

    p <= psum words        q (span of the window) <= input words        p q S <= filter words

Such a pass works on n images, e x f outputs, p t filters and q r channels.  Passes of a layer are all configured alike:
where p t or q r do not divide the layer, the last pass has idle slots.  The order is, from outside: groups, tiles of m
filters, images, columns, strips of e rows, channels, the m / (p t) passes.  Partial sums of n m e f outputs stay in the
buffer, which they share with the q r input channels of a step; every pass reads and writes those of its filters.
Where the buffer holds all inputs of a group beside them, these are loaded once, also the rows that strips share.

A pass takes as long as its PEs multiply, n f p q S, or as the slowest bus between buffer and array moves what it needs,
whichever is longer; and before and behind it the array waits (ramp-up):

- for the filters of the pass, which each scratch-pad holds once, unless they are there already,
- for the first window of every input row,
- for the last partial sums of every filter and output row.

A kernel with more rows than the array, or a window longer than the pad, is folded into parts that follow one another.
Hops (``hop_bit``): each word that a PE receives from a bus, each partial sum handed to the next PE, and each that
crosses the bus to or from the buffer.  A gated PE reads its input, finds the zero and holds all else still.  Left out:
skew between PEs, biases, filter reuse between layers.  Input tiles are loaded ahead although the buffer has room for
one only: its rows fall free one by one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine
from accelsim.hardware.parts import RowStationary
from accelsim.simulator.feature_map import feature_maps
from accelsim.simulator.schedule import Schedule, changes, untransformed
from accelsim.simulator.spatial import executed_macs, weight_tile_bytes
from accelsim.simulator.tiling import Axis, input_extents, tile_sizes
from accelsim.workload import LayerWork

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mapping:
    """Sizes of a pass and of what stays in the buffer; the letters are those of the published mapping.

    m: filters whose partial sums the buffer holds.  n: images, e: output rows, f: output columns of a pass.
    p, q: filters and channels that each PE interleaves.  r, t: sets side by side on other channels and filters.
    """

    m: int
    n: int
    e: int
    f: int
    p: int
    q: int
    r: int
    t: int


@dataclass(frozen=True)
class Fold:
    """The part of a kernel that a pass works on: rows R, taps a row S, inputs that a row's window spans; and parts."""

    rows: int
    taps: int
    span: int
    parts: int


def fold_kernel(work: LayerWork, machine: SpatialMachine) -> Fold:
    """The whole kernel where the array and the scratch-pads can hold it, else equal parts of it."""
    (R, S), dilation, pads = work.kernel, work.dilation[1], row_stationary(machine)
    folds = -(-R // machine.pe_array.rows)
    longest = min(pads.filter_words, (pads.input_words - 1) // dilation + 1)
    cuts = -(-S // longest)
    taps = -(-S // cuts)
    return Fold(-(-R // folds), taps, dilation * (taps - 1) + 1, folds * cuts)


def row_stationary(machine: SpatialMachine) -> RowStationary:
    """What a machine with this dataflow describes; the description is refused without it."""
    assert machine.row_stationary is not None
    return machine.row_stationary


def sets_of(kernel_rows: int, e: int, rows: int, cols: int) -> tuple[int, int]:
    """How many sets of kernel_rows x e PEs lie on rows x cols of them: below and beside each other; wide ones fold."""
    folds = -(-e // cols)
    return rows // kernel_rows // folds, cols // e if folds == 1 else 1


def active_pes(work: LayerWork, machine: SpatialMachine, mapping: Mapping) -> int:
    """PEs that a full pass uses."""
    return fold_kernel(work, machine).rows * mapping.e * mapping.r * mapping.t


def padded(work: LayerWork, axis: int, outputs: ArrayLike, kernel: int) -> Ints:
    """Input rows (axis 0) or columns (axis 1) under some outputs, padding included, for a kernel of that size."""
    reach = work.dilation[axis] * (kernel - 1) + 1
    return np.asarray((np.asarray(outputs, np.int64) - 1) * work.stride[axis] + reach)


def filters_stay(work: LayerWork, machine: SpatialMachine, m: ArrayLike) -> NDArray[np.bool_]:
    """Whether the filter buffer holds all filters of a tile, so that they come from DRAM once."""
    assert work.weights is not None
    bits = np.asarray(m) * (work.weights[0].size * machine.arithmetic.weight_bits)
    return np.asarray(bits <= 8 * 1024 * machine.buffers.weight_kb)


def psum_bytes(machine: SpatialMachine, n: ArrayLike, m: ArrayLike, e: ArrayLike, f: ArrayLike) -> Floats:
    """Bytes of the partial sums that stay in the buffer."""
    words = np.asarray(n) * np.asarray(m) * np.asarray(e) * np.asarray(f)
    return np.asarray(words * machine.arithmetic.accumulator_bits / 8)


def inputs_stay(work: LayerWork, machine: SpatialMachine, held_bytes: ArrayLike) -> NDArray[np.bool_]:
    """Whether all inputs of a group fit beside the partial sums, both in whole banks."""
    bank = 1024 * row_stationary(machine).bank_kb
    pixels = work.batch * work.height * work.width * (work.in_channels // work.groups)
    banks = np.ceil(np.asarray(held_bytes) / bank) + np.ceil(pixels * machine.arithmetic.activation_bits / 8 / bank)
    return np.asarray(banks <= bank_count(machine))


def bank_count(machine: SpatialMachine) -> int:
    """Banks that inputs and partial sums share."""
    return int((machine.buffers.input_kb + machine.buffers.output_kb) / row_stationary(machine).bank_kb)


def fresh_extents(work: LayerWork, axis: int, tile: int) -> Ints:
    """Input rows (axis 0) or columns (axis 1) that each output tile is the first to read: (tiles,) int64."""
    of = Axis.of(work, axis)
    first = np.maximum(np.arange(0, of.outputs, tile) * of.stride - of.padding, 0)
    last = first + input_extents(work, axis, tile)
    return np.asarray(np.maximum(last - np.maximum(first, np.append(0, last[:-1])), 0))


def schedule_passes(work: LayerWork, machine: SpatialMachine, mapping: Mapping) -> Schedule:
    """The steps of the layer, one a (filter tile, images, columns, strip, channels of a pass), for one mapping.

    The mapping must fit the machine (``row_mapping.fits``); a given one may be worse than the one searched for.
    """
    a, x, fold = machine.arithmetic, row_stationary(machine), fold_kernel(work, machine)
    G, per_group, channels = work.groups, work.out_channels // work.groups, work.in_channels // work.groups
    p, q, r, t = mapping.p, mapping.q, mapping.r, mapping.t
    sizes = (
        np.ones(G, np.int64),
        tile_sizes(per_group, mapping.m),
        tile_sizes(work.batch, mapping.n),
        tile_sizes(work.out_width, mapping.f),
        tile_sizes(work.out_height, mapping.e),
        tile_sizes(channels, q * r),
    )
    shape = tuple(len(size) for size in sizes)
    i_g, i_m, i_n, i_f, i_e, i_c = (index.ravel() for index in np.indices(shape))
    m, n, f, e, c = (size[i] for size, i in zip(sizes[1:], (i_m, i_n, i_f, i_e, i_c), strict=True))
    position = (i_n * shape[3] + i_f) * shape[4] + i_e
    first_position, first_channel, last_channel = position == 0, i_c == 0, i_c == shape[5] - 1

    # What one pass of k filters moves, in words, and how long it takes.
    high, wide = padded(work, 0, e, fold.rows), padded(work, 1, f, work.kernel[1])
    in_pads = shape[5] * fold.parts * -(-mapping.m // (p * t)) == 1
    loads_filters = first_position if in_pads else np.ones_like(first_position)
    inputs = n * high * wide * c

    def bus(words: Ints, word_bits: int, bus_bits: int) -> Ints:
        return -(-words * word_bits // bus_bits)

    def cycles(k: Ints) -> Ints:
        steady = np.maximum(n * f * p * q * fold.taps, bus(k * e * f * n, a.accumulator_bits, x.psum_bus_bits))
        steady = np.maximum(steady, bus(inputs, a.activation_bits, x.input_bus_bits))
        ramp = loads_filters * bus(k * c * fold.rows * fold.taps, a.weight_bits, x.filter_bus_bits)
        ramp = ramp + bus(high * fold.span * c, a.activation_bits, x.input_bus_bits)
        return np.asarray(steady + ramp + bus(k * e, a.accumulator_bits, x.psum_bus_bits))

    full, rest = m // (p * t), m % (p * t)
    compute = fold.parts * (full * cycles(np.full_like(m, p * t)) + (rest > 0) * cycles(rest))
    passes = fold.parts * -(-m // (p * t))

    # DRAM.  The filters of a tile come once where the buffer holds them or nothing takes their place.
    stay = bool(filters_stay(work, machine, mapping.m)) or shape[5] == 1
    new_weights = first_position if stay else np.ones_like(first_position)
    starts = np.add.outer(np.arange(0, work.out_channels, per_group), np.append(0, sizes[1].cumsum()[:-1])).ravel()
    tiles = weight_tile_bytes(work, machine, starts, sizes[5])
    weights = Transfer.contiguous(tiles[i_g * shape[1] + i_m, i_c] * new_weights, machine.dram.timing.row_bytes)
    new_inputs = changes((i_g * shape[2] * shape[3] * shape[4] + position) * shape[5] + i_c)
    extents = input_extents
    if inputs_stay(work, machine, psum_bytes(machine, mapping.n, mapping.m, mapping.e, mapping.f)):
        extents, new_inputs = fresh_extents, new_inputs * (i_m == 0)
    rows, cols = (extents(work, axis, size)[i] for axis, size, i in ((0, mapping.e, i_e), (1, mapping.f, i_f)))
    whole_width = shape[3] == 1
    input_map, output_map = feature_maps(work, machine)
    loads = input_map.transfer(n, rows, cols, c, whole_width, new_inputs)
    stores = output_map.transfer(n, e, f, m, whole_width, last_channel.astype(np.int64))
    executed, gated = executed_macs(work, machine)
    positions = work.outputs // work.out_channels

    # Words between buffer, buses and PEs, of all passes.
    filter_words = float((m * c * fold.rows * fold.taps * fold.parts * loads_filters).sum())
    filters_received = float((m * c * fold.rows * fold.taps * fold.parts * loads_filters * e).sum())
    inputs_received = float((n * wide * c * fold.rows * e * fold.parts * -(-m // p)).sum())
    psums_out = float((n * e * f * m * fold.parts).sum())
    psums_in = psums_out - float((n * e * f * m * first_channel).sum())
    handed_on = float((n * e * f * m * fold.parts * (fold.rows * -(-c // q) - 1)).sum())
    received = filters_received * a.weight_bits + inputs_received * a.activation_bits
    macs, idle = executed * positions, gated * positions
    operands = a.weight_bits + a.activation_bits + 2 * a.accumulator_bits
    actions: dict[str, float] = {
        "mac": macs,
        "gated_mac": idle,
        "register_bit": macs * operands + idle * a.activation_bits + received,
        "hop_bit": received + (handed_on + psums_in + psums_out) * a.accumulator_bits,
        "weight_read": filter_words * a.weight_bits,
        "weight_write": 8 * float(weights.n_bytes.sum()),
        "input_read": float((inputs * passes).sum()) * a.activation_bits,
        "input_write": float((n * rows * cols * c * new_inputs).sum()) * a.activation_bits,
        "output_write": psums_out * a.accumulator_bits,
        "output_read": psums_in * a.accumulator_bits + work.outputs * a.activation_bits,
    }
    return untransformed(
        "row-stationary",
        loads,
        weights,
        compute,
        stores,
        effectual_macs=macs,
        useful_slots=float(macs + idle),
        waiting_slots=0.0,
        actions=actions,
    )
