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

from accelsim.arrays import Floats, Ints
from accelsim.hardware.dram import Transfer
from accelsim.hardware.machine import SpatialMachine
from accelsim.hardware.parts import RowStationary
from accelsim.simulator.machines.stationary import executed_macs, weight_tile_bytes
from accelsim.simulator.storage.feature_map import feature_maps
from accelsim.simulator.tiles.tiling import Axis, input_extents, tile_sizes
from accelsim.simulator.time.schedule import Schedule, changes, untransformed
from accelsim.workload import LayerWork


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
    steps = _Steps(work, machine, mapping)
    weights = steps.weights()
    executed, gated = executed_macs(work, machine)
    positions = work.outputs // work.out_channels
    macs, idle = executed * positions, gated * positions
    return untransformed(
        "row-stationary",
        steps.loads(),
        weights,
        steps.cycles(),
        steps.stores(),
        effectual_macs=macs,
        useful_slots=float(macs + idle),
        waiting_slots=0.0,
        actions=steps.actions(macs, idle) | {"weight_write": 8 * float(weights.n_bytes.sum())},
    )


class _Steps:
    """The steps of one layer under one mapping; an array holds one entry a step.

    m, n, f, e, c: filters, images, output columns, output rows and channels.  k: filters of a full pass.
    inputs: words under the outputs of a pass, padding included.  loads_filters: whether the passes load theirs into the
    scratch-pads.  new_inputs: whether inputs come from DRAM, ``rows`` x ``cols`` of them.
    """

    def __init__(self, work: LayerWork, machine: SpatialMachine, mapping: Mapping):
        self.work, self.machine, self.mapping = work, machine, mapping
        self.fold, self.k = fold_kernel(work, machine), mapping.p * mapping.t
        self.sizes = (
            np.ones(work.groups, np.int64),
            tile_sizes(work.out_channels // work.groups, mapping.m),
            tile_sizes(work.batch, mapping.n),
            tile_sizes(work.out_width, mapping.f),
            tile_sizes(work.out_height, mapping.e),
            tile_sizes(work.in_channels // work.groups, mapping.q * mapping.r),
        )
        self.shape = tuple(len(size) for size in self.sizes)
        N, F, E, C = self.shape[2:]
        self.i_g, self.i_m, i_n, i_f, i_e, self.i_c = (index.ravel() for index in np.indices(self.shape))
        self.m, self.n, self.f = self.sizes[1][self.i_m], self.sizes[2][i_n], self.sizes[3][i_f]
        self.e, self.c = self.sizes[4][i_e], self.sizes[5][self.i_c]
        position = (i_n * F + i_f) * E + i_e
        self.first_position = position == 0

        self.high, self.wide = padded(work, 0, self.e, self.fold.rows), padded(work, 1, self.f, work.kernel[1])
        self.inputs = self.n * self.high * self.wide * self.c
        in_pads = C * self.fold.parts * -(-mapping.m // self.k) == 1
        self.loads_filters = self.first_position if in_pads else np.ones_like(self.first_position)

        extents, self.new_inputs = input_extents, changes((self.i_g * N * F * E + position) * C + self.i_c)
        if inputs_stay(work, machine, psum_bytes(machine, mapping.n, mapping.m, mapping.e, mapping.f)):
            extents, self.new_inputs = fresh_extents, self.new_inputs * (self.i_m == 0)
        self.rows, self.cols = extents(work, 0, mapping.e)[i_e], extents(work, 1, mapping.f)[i_f]

    def cycles(self) -> Ints:
        """Of all passes of each step."""
        full, rest = self.m // self.k, self.m % self.k
        full_pass, last_pass = self._pass_cycles(np.full_like(self.m, self.k)), self._pass_cycles(rest)
        return np.asarray(self.fold.parts * (full * full_pass + (rest > 0) * last_pass))

    def _pass_cycles(self, k: Ints) -> Ints:
        """Of one pass of k filters: its multiplications or its slowest bus, and the ramp-up."""
        a, x, fold = self.machine.arithmetic, row_stationary(self.machine), self.fold

        def bus(words: Ints, word_bits: int, bus_bits: int) -> Ints:
            return -(-words * word_bits // bus_bits)

        steady = np.maximum(
            self.n * self.f * self.mapping.p * self.mapping.q * fold.taps,
            bus(k * self.e * self.f * self.n, a.accumulator_bits, x.psum_bus_bits),
        )
        steady = np.maximum(steady, bus(self.inputs, a.activation_bits, x.input_bus_bits))
        ramp = self.loads_filters * bus(k * self.c * fold.rows * fold.taps, a.weight_bits, x.filter_bus_bits)
        ramp = ramp + bus(self.high * fold.span * self.c, a.activation_bits, x.input_bus_bits)
        return np.asarray(steady + ramp + bus(k * self.e, a.accumulator_bits, x.psum_bus_bits))

    def weights(self) -> Transfer:
        """Filters from DRAM: those of a tile come once where the buffer holds them or nothing takes their place."""
        stay = bool(filters_stay(self.work, self.machine, self.mapping.m)) or self.shape[5] == 1
        new = self.first_position if stay else np.ones_like(self.first_position)
        groups = np.arange(0, self.work.out_channels, self.work.out_channels // self.work.groups)
        starts = np.add.outer(groups, np.append(0, self.sizes[1].cumsum()[:-1])).ravel()
        tiles = weight_tile_bytes(self.work, self.machine, starts, self.sizes[5])
        n_bytes = tiles[self.i_g * self.shape[1] + self.i_m, self.i_c] * new
        return Transfer.contiguous(n_bytes, self.machine.dram.timing.row_bytes)

    def loads(self) -> Transfer:
        """Inputs from DRAM."""
        inputs, _ = feature_maps(self.work, self.machine)
        return inputs.transfer(self.n, self.rows, self.cols, self.c, self.shape[3] == 1, self.new_inputs)

    def stores(self) -> Transfer:
        """Outputs to DRAM, once their last channel is added."""
        _, outputs = feature_maps(self.work, self.machine)
        done = (self.i_c == self.shape[5] - 1).astype(np.int64)
        return outputs.transfer(self.n, self.e, self.f, self.m, self.shape[3] == 1, done)

    def actions(self, macs: int, idle: int) -> dict[str, float]:
        """What moves between buffers, buses and PEs, of all passes.  macs, idle: multiplies executed and gated."""
        a, fold, mapping = self.machine.arithmetic, self.fold, self.mapping
        filters = self.m * self.c * fold.rows * fold.taps * fold.parts * self.loads_filters
        psums = self.n * self.e * self.f * self.m
        filter_words, filters_received = float(filters.sum()), float((filters * self.e).sum())
        inputs_received = float(
            (self.n * self.wide * self.c * fold.rows * self.e * fold.parts * -(-self.m // mapping.p)).sum()
        )
        psums_out = float((psums * fold.parts).sum())
        psums_in = psums_out - float((psums * (self.i_c == 0)).sum())
        handed_on = float((psums * fold.parts * (fold.rows * -(-self.c // mapping.q) - 1)).sum())
        received = filters_received * a.weight_bits + inputs_received * a.activation_bits
        operands = a.weight_bits + a.activation_bits + 2 * a.accumulator_bits
        input_words = float((self.inputs * fold.parts * -(-self.m // self.k)).sum())
        loaded_words = float((self.n * self.rows * self.cols * self.c * self.new_inputs).sum())
        return {
            "mac": macs,
            "gated_mac": idle,
            "register_bit": macs * operands + idle * a.activation_bits + received,
            "hop_bit": received + (handed_on + psums_in + psums_out) * a.accumulator_bits,
            "weight_read": filter_words * a.weight_bits,
            "input_read": input_words * a.activation_bits,
            "input_write": loaded_words * a.activation_bits,
            "output_write": psums_out * a.accumulator_bits,
            "output_read": psums_in * a.accumulator_bits + self.work.outputs * a.activation_bits,
        }
