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
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Flags, Floats, Ints
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.tiles.tiling import Axis, first_inputs, input_extents
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
    a = machine.arithmetic
    return filter_words * a.weight_bits + input_words * a.activation_bits


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
    windows = size.high * part.span * size.channels
    first_windows = bus(windows, a.activation_bits, buses.input_bus_bits)
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
    bits = np.asarray(m) * (work.weights.size // work.weights.shape[0] * machine.arithmetic.weight_bits)
    return np.asarray(bits <= 8 * machine.buffers.capacity_bytes("weight"))


def psum_bytes(
    machine: RowStationaryDescription,
    n: ArrayLike,
    m: ArrayLike,
    e: ArrayLike,
    f: ArrayLike,
) -> Floats:
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
    shared_kb = machine.buffers.input_kb + machine.buffers.output_kb
    return int(shared_kb / machine.row_stationary.bank_kb)


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
