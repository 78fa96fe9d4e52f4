"""The row-stationary array: a convolution as passes over sets of processing elements, as on Eyeriss.

Words and structure are those of Chen et al., JSSC 52(1), 2017.  A processing element (PE) slides
one filter row over one input row.  A set of R x e of them computes e rows of one output plane:
filter rows lie along its rows, output rows along its columns, input rows run diagonally, and
partial sums are added up along a column.  A set wider than the array is folded below itself.  r x t
sets work at once: r stacked in the same columns, which hand their sums on, work on other input
channels, t on other filters.  Each PE interleaves q channels of p filters, as its scratch-pads
allow:

    p <= psum words        q (span of the window) <= input words        p q S <= filter words

Such a pass works on n images, e x f outputs, p t filters and q r channels.  Passes of a layer are
all configured alike: where p t or q r do not divide the layer, the last pass has idle slots.  The
order is, from outside: groups, tiles of m filters, images, columns, strips of e rows, channels, the
m / (p t) passes.  Partial sums of n m e f outputs stay in the buffer, which they share with the q r
input channels of a step; every pass reads and writes those of its filters.  Where the buffer holds
all inputs of a group beside them, these are loaded once, also the rows that strips share.

A pass takes as long as its PEs multiply, n f p q S, or as the slowest bus between buffer and array
moves what it needs, whichever is longer; and before and behind it the array waits (ramp-up):

- for the filters of the pass, which each scratch-pad holds once, unless they are there already,
- for the first window of every input row,
- for the last partial sums of every filter and output row.

A kernel with more rows than the array, or a window longer than the pad, is folded into parts that
follow one another.  Hops (``hop_bit``): each word that a PE receives from a bus, each partial sum
handed to the next PE, and each that crosses the bus to or from the buffer.  A gated PE reads its
input, finds the zero and holds all else still.  Left out: skew between PEs, biases, filter reuse
between layers.  Input tiles are loaded ahead although the buffer has room for one only: its rows
fall free one by one.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Flags, Floats, Ints
from accelsim.hardware.dram import Transfer, behind
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.storage.feature_map import Corner, Extent, input_map, output_map
from accelsim.simulator.storage.weights import executed_macs, weight_tile_bytes
from accelsim.simulator.tiles.tiling import Axis, first_inputs, input_extents, tile_sizes
from accelsim.simulator.time.schedule import Schedule, changes, untransformed
from accelsim.workload import LayerWork

Bits = TypeVar("Bits", float, Ints)
Words = Ints | Floats  # of whole passes, or of shares of them


@dataclass(frozen=True)
class PassMapping:
    """Sizes of a pass and of what stays in the buffer.

    The letters are those of the published mapping.
    """

    m: int  # filters whose partial sums the buffer holds
    n: int  # images of a pass
    e: int  # output rows of a pass
    f: int  # output columns of a pass
    p: int  # filters that each PE interleaves
    q: int  # channels that each PE interleaves
    r: int  # sets side by side on other channels
    t: int  # sets side by side on other filters

    @property
    def sizes(self) -> str:
        """The sizes by their published letters."""
        return " ".join(f"{letter}={size}" for letter, size in asdict(self).items())


@dataclass(frozen=True)
class KernelPart:
    """The part of a kernel that a pass works on."""

    rows: int  # R of the part
    taps: int  # of a row, S of the part
    span: int  # inputs that a row's window spans
    parts: int  # that the kernel is cut into

    @property
    def pass_weights(self) -> int:
        """Weights of a filter and channel that a pass works on."""
        return self.rows * self.taps

    @property
    def weights(self) -> int:
        """Weights of a filter and channel, padding of the parts included."""
        return self.pass_weights * self.parts


def kernel_part(work: LayerWork, machine: RowStationaryDescription) -> KernelPart:
    """The whole kernel where the array and the scratch-pads can hold it, else equal parts of it."""
    R, S = work.kernel
    dilation = work.dilation[1]
    pads = machine.row_stationary
    row_parts = -(-R // machine.pe_array.rows)
    longest = min(pads.filter_words, (pads.input_words - 1) // dilation + 1)
    tap_parts = -(-S // longest)
    taps = -(-S // tap_parts)
    return KernelPart(
        rows=-(-R // row_parts),
        taps=taps,
        span=dilation * (taps - 1) + 1,
        parts=row_parts * tap_parts,
    )


def mac_register_bits(machine: RowStationaryDescription) -> int:
    """Bits that a multiply-accumulate reads and writes in its lane's registers.

    Operands, and the sum twice.
    """
    a = machine.arithmetic
    return a.weight_bits + a.activation_bits + 2 * a.accumulator_bits


def received_bits(machine: RowStationaryDescription, filter_words: Bits, input_words: Bits) -> Bits:
    """Bits that lanes take from the buses of filters and inputs.

    Of one layer, or of many candidates for it.
    """
    return filter_words * machine.arithmetic.weight_bits + input_words * machine.arithmetic.activation_bits


@dataclass(frozen=True)
class PassSize:
    """What one pass works on: of each step of a layer, or of each candidate for its mapping."""

    filters: Words
    channels: Words
    rows: Words  # of outputs
    columns: Words  # of outputs, all images together
    high: Words  # input rows under the outputs, padding included
    inputs: Words  # that are read for all outputs, padding included
    interleaved: Words  # p q, filters and channels of a PE


@dataclass(frozen=True)
class PassTimes:
    """Cycles of one pass."""

    steady: Words  # its multiplications, or its slowest bus
    first_weights: Words  # waiting for its filters, where they are not in the scratch-pads yet
    ramp: Words  # waiting for the first windows and the last sums


def pass_times(
    size: PassSize,
    machine: RowStationaryDescription,
    part: KernelPart,
    bus: Callable[[Words, int, int], Words],
) -> PassTimes:
    """How long a pass takes (module docstring).

    bus: cycles that so many words of so many bits take on a bus of so many: ``whole_cycles``, or
    ``mean_cycles``.
    """
    a = machine.arithmetic
    buses = machine.row_stationary
    multiplies = size.columns * size.interleaved * part.taps
    sums = bus(size.filters * size.rows * size.columns, a.accumulator_bits, buses.psum_bus_bits)
    inputs = bus(size.inputs, a.activation_bits, buses.input_bus_bits)
    weights = size.filters * size.channels * part.pass_weights
    first_windows = bus(size.high * part.span * size.channels, a.activation_bits, buses.input_bus_bits)
    last_sums = bus(size.filters * size.rows, a.accumulator_bits, buses.psum_bus_bits)
    return PassTimes(
        steady=np.maximum(np.maximum(multiplies, sums), inputs),
        first_weights=bus(weights, a.weight_bits, buses.filter_bus_bits),
        ramp=first_windows + last_sums,
    )


def whole_cycles(words: Words, word_bits: int, bus_bits: int) -> Words:
    """Cycles that a bus is taken, as a pass waits for them."""
    return np.asarray(-(-words * word_bits // bus_bits), np.int64)


def mean_cycles(words: Words, word_bits: int, bus_bits: int) -> Words:
    """The same of a share of a pass, so that the shares sum to it."""
    return np.asarray(words * word_bits / bus_bits, np.float64)


def sets_of(kernel_rows: int, e: int, rows: int, cols: int) -> tuple[int, int]:
    """How many sets of kernel_rows x e PEs lie on rows x cols of them: below and beside each other.

    Wide ones fold.
    """
    folds = -(-e // cols)
    return rows // kernel_rows // folds, cols // e if folds == 1 else 1


def active_pes(work: LayerWork, machine: RowStationaryDescription, mapping: PassMapping) -> int:
    """PEs that a full pass uses."""
    return kernel_part(work, machine).rows * mapping.e * mapping.r * mapping.t


def padded(work: LayerWork, axis: int, outputs: ArrayLike, kernel: int) -> Ints:
    """Input rows (axis 0) or columns (axis 1) under some outputs, padding included, for a kernel of that size."""
    reach = work.dilation[axis] * (kernel - 1) + 1
    return np.asarray((np.asarray(outputs, np.int64) - 1) * work.stride[axis] + reach)


def filters_stay(work: LayerWork, machine: RowStationaryDescription, m: ArrayLike) -> Flags:
    """Whether the filter buffer holds all filters of a tile, so that they come from DRAM once."""
    assert work.weights is not None
    bits = np.asarray(m) * (work.weights[0].size * machine.arithmetic.weight_bits)
    return np.asarray(bits <= 8 * machine.buffers.capacity_bytes("weight"))


def psum_bytes(machine: RowStationaryDescription, n: ArrayLike, m: ArrayLike, e: ArrayLike, f: ArrayLike) -> Floats:
    """Bytes of the partial sums that stay in the buffer."""
    words = np.asarray(n) * np.asarray(m) * np.asarray(e) * np.asarray(f)
    return np.asarray(words * machine.arithmetic.accumulator_bits / 8)


def inputs_stay(work: LayerWork, machine: RowStationaryDescription, held_bytes: ArrayLike) -> Flags:
    """Whether all inputs of a group fit beside the partial sums, both in whole banks."""
    bank = 1024 * machine.row_stationary.bank_kb
    pixels = work.batch * work.height * work.width * (work.in_channels // work.groups)
    input_bytes = pixels * machine.arithmetic.activation_bits / 8
    banks = np.ceil(np.asarray(held_bytes) / bank) + np.ceil(input_bytes / bank)
    return np.asarray(banks <= bank_count(machine))


def bank_count(machine: RowStationaryDescription) -> int:
    """Banks that inputs and partial sums share."""
    return int((machine.buffers.input_kb + machine.buffers.output_kb) / machine.row_stationary.bank_kb)


def fresh_extents(work: LayerWork, axis: int, tile: int) -> Ints:
    """Input rows (axis 0) or columns (axis 1) that each output tile is the first to read.

    (tiles,) int64.
    """
    last = first_inputs(Axis.of(work, axis), tile) + input_extents(work, axis, tile)
    return np.asarray(np.maximum(last - fresh_inputs(work, axis, tile), 0))


def fresh_inputs(work: LayerWork, axis: int, tile: int) -> Ints:
    """The first input row (axis 0) or column (axis 1) that each output tile is the first to read.

    (tiles,) int64.
    """
    first = first_inputs(Axis.of(work, axis), tile)
    last = first + input_extents(work, axis, tile)
    return np.asarray(np.maximum(first, np.append(0, last[:-1])))


def schedule_passes(work: LayerWork, machine: RowStationaryDescription, mapping: PassMapping) -> Schedule:
    """The steps of the layer, one a (filter tile, images, columns, strip, channels of a pass), for one mapping.

    The mapping must fit the machine (``search``); a given one may be worse than the one searched
    for.
    """
    steps = _Steps(work, machine, mapping)
    weights = steps.weights()
    executed, gated = executed_macs(work, machine)
    positions = work.outputs // work.out_channels
    macs = executed * positions
    idle = gated * positions
    schedule = untransformed(
        mode="row-stationary",
        inputs=steps.loads(),
        weights=weights,
        compute_cycles=steps.cycles(),
        outputs=steps.stores(),
        dram=machine.dram,
        effectual_macs=macs,
        useful_slots=float(macs + idle),
        waiting_slots=0.0,
        actions=steps.actions(macs, idle) | {"weight_write": 8 * float(weights.n_bytes.sum())},
    )
    return replace(schedule, tiling=mapping.sizes, loop_order="m n f e c")


class _Steps:
    """The steps of one layer under one mapping; an array holds one entry a step.

    m, n, f, e, c: filters, images, output columns, output rows and channels.  pass_filters: of a
    full pass.
    high, wide: input rows and columns under the outputs of a pass, padding included; inputs: the
    words there.  loads_filters: whether the passes load theirs into the scratch-pads.  new_inputs:
    whether inputs come from DRAM, ``rows`` x ``cols`` of them.
    """

    def __init__(self, work: LayerWork, machine: RowStationaryDescription, mapping: PassMapping) -> None:
        self.work = work
        self.machine = machine
        self.mapping = mapping
        self.part = kernel_part(work, machine)
        self.pass_filters = mapping.p * mapping.t
        self._cut()
        self._measure_inputs()

    def _cut(self) -> None:
        """Sizes of the tiles of each dimension, and which of them each step works on."""
        work = self.work
        mapping = self.mapping
        self.filter_tiles = tile_sizes(work.out_channels // work.groups, mapping.m)
        self.channel_tiles = tile_sizes(work.in_channels // work.groups, mapping.q * mapping.r)
        images = tile_sizes(work.batch, mapping.n)
        columns = tile_sizes(work.out_width, mapping.f)
        strips = tile_sizes(work.out_height, mapping.e)
        tiles = (self.filter_tiles, images, columns, strips, self.channel_tiles)
        self.shape = (work.groups, *(len(sizes) for sizes in tiles))
        group, i_m, i_n, i_f, i_e, i_c = (index.ravel() for index in np.indices(self.shape))
        self.group = group
        self.i_m = i_m
        self.i_n = i_n
        self.i_f = i_f
        self.i_e = i_e
        self.i_c = i_c
        self.m = self.filter_tiles[i_m]
        self.n = images[i_n]
        self.f = columns[i_f]
        self.e = strips[i_e]
        self.c = self.channel_tiles[i_c]
        self.position = (i_n * len(columns) + i_f) * len(strips) + i_e

    def _measure_inputs(self) -> None:
        """Which steps load filters and inputs, and how many inputs."""
        work = self.work
        machine = self.machine
        mapping = self.mapping
        self.high = padded(work, 0, self.e, self.part.rows)
        self.wide = padded(work, 1, self.f, work.kernel[1])
        self.inputs = self.n * self.high * self.wide * self.c
        self.first_position = self.position == 0
        passes = len(self.channel_tiles) * self.part.parts * -(-mapping.m // self.pass_filters)
        self.loads_filters = self.first_position if passes == 1 else np.ones_like(self.first_position)

        _, _, N, F, E, C = self.shape
        input_tile = (self.group * N * F * E + self.position) * C + self.i_c
        self.new_inputs = changes(input_tile)
        extents = input_extents
        first_row = first_inputs(Axis.of(work, 0), mapping.e)
        first_col = first_inputs(Axis.of(work, 1), mapping.f)
        if inputs_stay(work, machine, psum_bytes(machine, mapping.n, mapping.m, mapping.e, mapping.f)):
            extents = fresh_extents
            first_row = fresh_inputs(work, 0, mapping.e)
            first_col = fresh_inputs(work, 1, mapping.f)
            self.new_inputs = self.new_inputs * (self.i_m == 0)
        self.rows = extents(work, 0, mapping.e)[self.i_e]
        self.cols = extents(work, 1, mapping.f)[self.i_f]
        self.first_row = first_row[self.i_e]
        self.first_col = first_col[self.i_f]

    def cycles(self) -> Ints:
        """Cycles of all passes of each step."""
        full = self.m // self.pass_filters
        rest = self.m % self.pass_filters
        full_pass = self._pass_cycles(np.full_like(self.m, self.pass_filters))
        last_pass = self._pass_cycles(rest)
        return np.asarray(self.part.parts * (full * full_pass + (rest > 0) * last_pass))

    def _pass_cycles(self, filters: Ints) -> Ints:
        """Cycles of one pass of so many filters."""
        size = PassSize(
            filters=filters,
            channels=self.c,
            rows=self.e,
            columns=self.n * self.f,
            high=self.high,
            inputs=self.inputs,
            interleaved=np.asarray(self.mapping.p * self.mapping.q),
        )
        times = pass_times(size, self.machine, self.part, whole_cycles)
        return np.asarray(times.steady + self.loads_filters * times.first_weights + times.ramp)

    def weights(self) -> Transfer:
        """Filters from DRAM.

        Those of a tile come once where the buffer holds them or nothing takes their place.
        """
        once = bool(filters_stay(self.work, self.machine, self.mapping.m)) or len(self.channel_tiles) == 1
        new = self.first_position if once else np.ones_like(self.first_position)
        groups = np.arange(0, self.work.out_channels, self.work.out_channels // self.work.groups)
        starts = np.add.outer(groups, np.append(0, self.filter_tiles.cumsum()[:-1])).ravel()
        tiles = weight_tile_bytes(self.work, self.machine, starts, self.channel_tiles)
        tile = self.group * len(self.filter_tiles) + self.i_m, self.i_c
        return Transfer.contiguous(tiles[tile] * new, behind(tiles.ravel()).reshape(tiles.shape)[tile])

    def loads(self) -> Transfer:
        """Inputs from DRAM."""
        inputs = input_map(self.work, self.machine)
        whole_width = self.shape[3] == 1
        channel = self.group * (self.work.in_channels // self.work.groups) + behind(self.channel_tiles)[self.i_c]
        image = self.i_n * self.mapping.n
        corner = Corner(image=image, channel=channel, row=self.first_row, col=self.first_col)
        extent = Extent(images=self.n, rows=self.rows, cols=self.cols, channels=self.c)
        return inputs.transfer(extent, corner, whole_width=whole_width, when=self.new_inputs)

    def stores(self) -> Transfer:
        """Outputs to DRAM, once their last channel is added."""
        outputs = output_map(self.work, self.machine)
        whole_width = self.shape[3] == 1
        done = (self.i_c == len(self.channel_tiles) - 1).astype(np.int64)
        mapping = self.mapping
        channel = self.group * (self.work.out_channels // self.work.groups) + self.i_m * mapping.m
        corner = Corner(image=self.i_n * mapping.n, channel=channel, row=self.i_e * mapping.e, col=self.i_f * mapping.f)
        extent = Extent(images=self.n, rows=self.e, cols=self.f, channels=self.m)
        return outputs.transfer(extent, corner, whole_width=whole_width, when=done)

    def actions(self, macs: int, idle: int) -> dict[str, float]:
        """What moves between buffers, buses and PEs, of all passes.

        macs, idle: multiplies executed and gated.
        """
        a = self.machine.arithmetic
        part = self.part
        mapping = self.mapping
        filters = self.m * self.c * part.weights * self.loads_filters
        filter_words = float(filters.sum())
        filters_received = float((filters * self.e).sum())
        input_rows = self.n * self.wide * self.c * part.rows * self.e * part.parts
        inputs_received = float((input_rows * -(-self.m // mapping.p)).sum())
        received = received_bits(self.machine, filters_received, inputs_received)

        psums = self.n * self.e * self.f * self.m
        psums_out = float((psums * part.parts).sum())
        psums_in = psums_out - float((psums * (self.i_c == 0)).sum())
        hops = part.rows * -(-self.c // mapping.q) - 1
        handed_on = float((psums * part.parts * hops).sum())

        input_words = float((self.inputs * part.parts * -(-self.m // self.pass_filters)).sum())
        loaded_words = float((self.n * self.rows * self.cols * self.c * self.new_inputs).sum())
        return {
            "mac": macs,
            "gated_mac": idle,
            "register_bit": macs * mac_register_bits(self.machine) + idle * a.activation_bits + received,
            "hop_bit": received + (handed_on + psums_in + psums_out) * a.accumulator_bits,
            "weight_read": filter_words * a.weight_bits,
            "input_read": input_words * a.activation_bits,
            "input_write": loaded_words * a.activation_bits,
            "output_write": psums_out * a.accumulator_bits,
            "output_read": psums_in * a.accumulator_bits + self.work.outputs * a.activation_bits,
        }
