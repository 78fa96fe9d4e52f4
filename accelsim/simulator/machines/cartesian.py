"""Cartesian products of sparse operands.

Planar tiles of the input stay, weights are broadcast, as SCNN does.

Each of rows x cols processing elements (PEs) holds a tile of the input plane, all channels,
compressed.  Filters come in groups of as many as its accumulators hold; for each channel of a group
a PE multiplies ``inputs`` of its non-zero inputs by ``weights`` non-zero weights a cycle, all with
all, and scatters the products into accumulator banks:

    cycles of a PE and group = sum over channels c of ceil(nnz_A[c] / inputs) * ceil(nnz_W[c] / weights)

PEs wait for the slowest after every group (a barrier), where they exchange the sums of their halos.
Weight masks are the real ones; inputs are random with each channel's density, so nnz_A is binomial
and the slowest PE the expected maximum of those with the largest tile (normal approximation, at
most all pixels).  The zeros that run-length coding stores in long runs take a multiplier as any
value.  At a stride s only operands of the same phase meet: s^2 phases take the place of a channel,
as many of them as some weight meets.

A layer too large for the input RAMs or the accumulators is cut into regions of the output plane,
each loaded with its halo; weights come again for each region unless they all fit.  Where a region's
channels do not all fit, they come in parts, again for every group of filters.  Of all cuts by
powers of two the one is taken whose slower one of lanes and DMA, or DRAM bytes, energy or
energy x cycles, is lowest, as the machine's objective says (of a large layer: of those with the
fewest steps, ``tiles.few_steps``).

``zero_handling: none`` is the dense twin, with dot products of weights x inputs operands over
channels and kernel: outputs of the PE's tile * K * ceil(C R S / (weights * inputs)).

Source: Parashar et al., SCNN, ISCA 2017; parts of the channels are ours.  Left out: contention of
accumulator banks (the paper: rare with two banks a multiplier), the exchange of halos itself,
inputs left on chip by the layer before (each layer loads its inputs).  Products at the image's edge
that no output takes count as work, as there.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import SUM_ERROR, Flags, Floats, Ints, round_up
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer, behind
from accelsim.hardware.formats import RUN_BITS, Format, stored_values
from accelsim.hardware.parts import Count, KeyGroup, PeArray
from accelsim.memo import Memo
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.storage.feature_map import Corner, Extent, activation_bits, input_map, output_map
from accelsim.simulator.storage.weights import filter_bits, weight_tile_bytes
from accelsim.simulator.tiles.few_steps import few_steps
from accelsim.simulator.tiles.lanes import expected_maximum
from accelsim.simulator.tiles.tiling import Axis, first_inputs, input_extents, tile_sizes
from accelsim.simulator.time.objective import best
from accelsim.simulator.time.schedule import Schedule, untransformed
from accelsim.workload import LayerWork

REMEMBERED = 1 << 10  # numbers of pixels of a layer
STEP_CYCLES = 2  # to hand over a group's accumulators, double-buffered, and start the next


class CartesianProduct(KeyGroup):
    """Multipliers and accumulators of each processing element."""

    weights: Count
    """Non-zero weights that meet all inputs of a cycle."""
    inputs: Count
    """Non-zero inputs that meet all weights of a cycle."""
    accumulators: Count
    """Sums that an element holds."""


class CartesianMachine(Machine):
    """A planar array whose elements multiply all non-zero inputs of a tile by all non-zero weights of a channel."""

    kind: Literal["spatial"]
    """Always ``spatial``."""
    dataflow: Literal["cartesian"]
    """Always ``cartesian``."""
    zero_handling: Literal["none", "skip_both"]
    """Cartesian products of non-zeros, or dot products of everything."""
    pe_array: PeArray
    """Processing elements in rows and columns."""
    cartesian: CartesianProduct
    """What an element multiplies and holds."""

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return self.pe_array.rows * self.pe_array.cols * (self.cartesian.weights * self.cartesian.inputs)

    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of a conv or linear layer by its best cut.

        Raises InputError if the input RAMs hold no part of the layer, or every cut has too many
        steps (``few_steps``).
        """
        cuts = _cuts(work, self)
        layer = _DenseLayer(work, self) if self.zero_handling == "none" else _SparseLayer(work, self)
        schedules = (_schedule(layer, cut) for cut in cuts)
        return best(schedules, self)

    def check(self, work: LayerWork) -> None:
        """Refuse a layer all of whose cuts have too many steps (``few_steps``)."""
        _cuts(work, self)


@dataclass(frozen=True)
class _Cut:
    """One way to cut the output plane into regions, and the filters of a group that the accumulators then hold."""

    heights: Ints  # outputs of each row of regions
    widths: Ints  # outputs of each column of regions
    in_heights: Ints  # inputs that each row of regions reads
    in_widths: Ints  # inputs that each column of regions reads
    filters: int  # of a group
    channels: Ints  # of each part of a convolution group's channels
    # all channels of a region come once, else its parts come again for every group of filters
    stay: bool

    def first_filters(self, work: LayerWork) -> Ints:
        """First filter of each group; none spans two convolution groups."""
        per_group = work.out_channels // work.groups
        first_of_conv_group = np.arange(0, work.out_channels, per_group)
        return np.add.outer(first_of_conv_group, np.arange(0, per_group, self.filters)).ravel()

    def steps(self, work: LayerWork) -> int:
        """Of the layer."""
        groups_of_filters = work.groups * -(-(work.out_channels // work.groups) // self.filters)
        return work.batch * len(self.heights) * len(self.widths) * groups_of_filters * len(self.channels)


@dataclass(frozen=True)
class _Regions:
    """Regions of the output plane.

    Heights and widths of what each gives and of what it reads, (regions,) each.
    """

    high: Ints
    wide: Ints
    in_high: Ints
    in_wide: Ints


@dataclass(frozen=True)
class _StepCycles:
    """Cycles of each step, and the mean over all elements.

    (regions, groups of filters, parts of the channels).
    """

    slowest: Floats
    mean: Floats


def _cuts(work: LayerWork, machine: CartesianMachine) -> list[_Cut]:
    """Cuts by powers of two of the output rows and columns that fit input RAMs and accumulators, in few steps."""
    rows = machine.pe_array.rows
    cols = machine.pe_array.cols
    room = machine.buffers.capacity_bytes("input") / (rows * cols)
    bits = activation_bits(machine, work.input_density)
    group_channels = work.in_channels // work.groups
    found = []
    for parts_h, parts_w in product(_powers(work.out_height), _powers(work.out_width)):
        high = -(-work.out_height // parts_h)
        wide = -(-work.out_width // parts_w)
        in_heights = input_extents(work, 0, high)
        in_widths = input_extents(work, 1, wide)
        pe_high = -(-int(in_heights.max()) // rows)
        pe_wide = -(-int(in_widths.max()) // cols)
        if not pe_high * pe_wide:  # outputs of padding alone: parts so small make no region
            continue
        fitting = int(room / (pe_high * pe_wide * bits / 8))
        sums = _accumulators(work, 0, pe_high, high) * _accumulators(work, 1, pe_wide, wide)
        if fitting < 1 or sums > machine.cartesian.accumulators:
            continue
        # Parts of powers of two nest, so that a larger RAM never splits channels that a smaller one
        # kept together.
        channels = group_channels if fitting >= group_channels else 1 << fitting.bit_length() - 1
        found.append(
            _Cut(
                heights=tile_sizes(work.out_height, high),
                widths=tile_sizes(work.out_width, wide),
                in_heights=in_heights,
                in_widths=in_widths,
                filters=min(machine.cartesian.accumulators // sums, work.out_channels // work.groups),
                channels=tile_sizes(group_channels, channels),
                stay=fitting >= work.in_channels,
            )
        )
    if not found:
        raise InputError(
            f"{machine.name}: buffers.input_kb is {machine.buffers.input_kb:g}, too small for one output of layer "
            f"{work.name}, expected a larger one"
        )
    return few_steps(found, [cut.steps(work) for cut in found], work.name, machine)


def _powers(size: int) -> list[int]:
    """1, 2, 4, ... parts, and one output each."""
    return sorted({*(1 << i for i in range(size.bit_length()) if 1 << i <= size), size})


def _accumulators(work: LayerWork, axis: int, inputs: int, outputs: int) -> int:
    """Outputs along one axis, of those of a region, to which a run of inputs adds."""
    reach = work.dilation[axis] * (work.kernel[axis] - 1)
    return min((inputs - 1 + reach) // work.stride[axis] + 1, outputs)


@dataclass(frozen=True)
class _Phases:
    """Phases of the input, at a stride, that some tap of the kernel meets.

    number: of each, counted along rows of the input, the ones that meet nothing too.  taps: of the
    kernel in each.
    """

    number: Ints
    taps: Ints


def _phases(work: LayerWork) -> _Phases:
    """The phases of a layer, in the order of ``_by_phase``."""
    (rows, in_row), (cols, in_col) = (
        np.unique(np.arange(k) * dilation % stride, return_counts=True)
        for k, dilation, stride in zip(work.kernel, work.dilation, work.stride, strict=True)
    )
    return _Phases(np.add.outer(rows * work.stride[1], cols).ravel(), np.multiply.outer(in_row, in_col).ravel())


def _by_phase(work: LayerWork) -> Ints:
    """Non-zero weights that meet each phase: (K, C / groups, phases) int64."""
    assert work.weights is not None
    counts = work.weights != 0
    for axis, (k, dilation, stride) in enumerate(zip(work.kernel, work.dilation, work.stride, strict=True), start=2):
        phase = np.arange(k) * dilation % stride
        order = np.argsort(phase, kind="stable")
        starts = np.flatnonzero(np.diff(phase[order], prepend=-1))
        counts = np.add.reduceat(counts.take(order, axis), starts, axis=axis, dtype=np.int32)
    return np.asarray(counts.reshape(*counts.shape[:2], -1), np.int64)


class _DenseLayer:
    """A layer whose elements take dot products of weights x inputs operands over channels and kernel."""

    mode = "planar-dense"
    indexed = False

    def __init__(self, work: LayerWork, machine: CartesianMachine) -> None:
        self.work = work
        self.machine = machine

    def step_cycles(self, regions: _Regions, cut: _Cut) -> _StepCycles:
        """Cycles of each region's groups of filters and parts of the channels."""
        array = self.machine.pe_array
        first = cut.first_filters(self.work)
        filters = np.diff(np.append(first, self.work.out_channels))
        window = self.work.kernel[0] * self.work.kernel[1]
        operands = np.ceil(cut.channels * window / (self.machine.cartesian.weights * self.machine.cartesian.inputs))
        each = np.multiply.outer(filters, operands)
        pe_outputs = -(-regions.high // array.rows) * -(-regions.wide // array.cols)
        share = regions.high * regions.wide / (array.rows * array.cols)
        return _StepCycles(np.multiply.outer(pe_outputs, each), np.multiply.outer(share, each))

    def macs(self, cut: _Cut, cycles: int) -> int:
        """Multiplies of the whole layer."""
        return self.work.dense_macs


class _SparseLayer:
    """A layer whose elements multiply non-zeros, all with all.

    phases: of the input.  nonzeros: weights by phase, (K, C / groups, phases).  density: of the
    inputs, (groups, C / groups).
    """

    mode = "cartesian"
    indexed = True

    def __init__(self, work: LayerWork, machine: CartesianMachine) -> None:
        self.work = work
        self.machine = machine
        self.density = work.group_density()
        self.phases = _phases(work)
        self.nonzeros = _by_phase(work)
        self._input_vectors: Memo[tuple[Floats, Floats]] = Memo(REMEMBERED)

    def step_cycles(self, regions: _Regions, cut: _Cut) -> _StepCycles:
        """Cycles of each region's groups of filters and parts of the channels."""
        rows = self.machine.pe_array.rows
        cols = self.machine.pe_array.cols
        high, wide = np.maximum(regions.in_high, 1), np.maximum(regions.in_wide, 1)
        pe_high = -(-high // rows)
        pe_wide = -(-wide // cols)
        weight_vectors = self._weight_vectors(cut)
        tiles, tile = np.unique(np.stack([pe_high, pe_wide]), axis=1, return_inverse=True)
        of_tiles = [self._of_tile(h, w, weight_vectors, cut) for h, w in tiles.T.tolist()]
        mean, deviation, most = (np.stack(values)[tile] for values in zip(*of_tiles, strict=True))
        # Of each region: elements with the largest tile, and how much above its mean the slowest
        # is.
        largest, places = np.unique(np.maximum(1, (high // pe_high) * (wide // pe_wide)), return_inverse=True)
        deviations = np.array([max(0.0, expected_maximum(int(elements))) for elements in largest])[places]
        worst = np.minimum(most, round_up(mean + deviations[:, None, None] * deviation, SUM_ERROR))
        # of the elements' pixels that exist
        share = high * wide / (pe_high * pe_wide * rows * cols)
        return _StepCycles(worst, mean * share[:, None, None])

    def _of_tile(self, high: int, wide: int, weight_vectors: Floats, cut: _Cut) -> tuple[Floats, Floats, Floats]:
        """Cycles of one element: mean, standard deviation, most.

        Of each group of filters and part of the channels.

        high, wide: of its tile of the input.
        """
        conv_group = cut.first_filters(self.work) // (self.work.out_channels // self.work.groups)
        mean, variance, most = (np.zeros(weight_vectors.shape[:2]) for _ in range(3))
        for pixels, phases in self._pixels(high, wide):
            vectors = weight_vectors[:, :, phases]
            of_inputs, spread = self._vectors(pixels)
            total = vectors.sum(axis=2)
            mean += total * of_inputs[conv_group]
            variance += (vectors**2).sum(axis=2) * spread[conv_group]
            most += total * -(-pixels // self.machine.cartesian.inputs)
        first = np.append(0, cut.channels.cumsum()[:-1])
        mean, variance, most = (np.add.reduceat(x, first, axis=1) for x in (mean, variance, most))
        return mean, np.sqrt(variance), most

    def macs(self, cut: _Cut, cycles: int) -> int:
        """Products of non-zeros of all regions, at most what the multipliers can do in these cycles."""
        work = self.work
        per_group = work.out_channels // work.groups
        first_filters = np.arange(0, work.out_channels, per_group)
        channel_nonzeros = np.add.reduceat(self.nonzeros.sum(axis=2), first_filters, axis=0)
        pixels = int(cut.in_heights.sum() * cut.in_widths.sum()) / (work.stride[0] * work.stride[1])
        products = round(work.batch * pixels * float((channel_nonzeros * self.density).sum()))
        return min(products, cycles * self.machine.lanes)

    def _weight_vectors(self, cut: _Cut) -> Floats:
        """Cycles' worth of non-zero weights: (groups of filters, C / groups, phases)."""
        first = cut.first_filters(self.work)
        nonzeros = np.add.reduceat(self.nonzeros, first, axis=0)
        filters = np.append(first[1:], self.work.out_channels) - first
        positions = filters[:, None, None] * self.phases.taps
        values = _with_padding(self.machine.weight_format, positions, nonzeros)
        return np.asarray(np.ceil(values / self.machine.cartesian.weights))

    def _pixels(self, high: int, wide: int) -> list[tuple[int, Flags]]:
        """Pixels of a phase in an element's largest tile, every s-th row and column, and which phases have them."""
        stride_h, stride_w = self.work.stride
        if high * wide < stride_h * stride_w:
            # an element then holds some phases only; the fullest holds these
            return [(1, self.phases.number < high * wide)]
        return [(-(-high // stride_h) * -(-wide // stride_w), np.ones(len(self.phases.number), np.bool_))]

    def _vectors(self, pixels: int) -> tuple[Floats, Floats]:
        """Mean and variance of the cycles' worth of non-zero inputs among so many pixels.

        (groups, C / groups).
        """
        width = self.machine.cartesian.inputs
        fmt = self.machine.activation_format

        def count() -> tuple[Floats, Floats]:
            from scipy.special import gammaln  # only this needs it, and its import is slow

            values, inverse = np.unique(np.round(self.density, 3), return_inverse=True)
            n = np.arange(pixels + 1)
            choose = gammaln(pixels + 1) - gammaln(n + 1) - gammaln(pixels - n + 1)
            p = np.clip(values, 1e-12, 1 - 1e-12)[:, None]
            likelihood = np.exp(choose + n * np.log(p) + (pixels - n) * np.log1p(-p))
            likelihood /= likelihood.sum(axis=1, keepdims=True)
            vectors = np.ceil(_with_padding(fmt, pixels, n) / width)
            mean = likelihood @ vectors
            variance = np.maximum(likelihood @ vectors**2 - mean**2, 0)
            return mean[inverse].reshape(self.density.shape), variance[inverse].reshape(self.density.shape)

        return self._input_vectors.get(pixels, count)


def _with_padding(fmt: Format, positions: ArrayLike, nonzeros: ArrayLike) -> Floats:
    """Values that take a multiplier.

    The zeros that run-length coding puts into long runs among them.
    """
    if fmt not in RUN_BITS:
        return np.asarray(nonzeros, np.float64)
    values = round_up(stored_values(fmt, positions, nonzeros), SUM_ERROR)
    long_runs = (np.asarray(positions) > 1 << RUN_BITS[fmt]) & (np.asarray(nonzeros) > 0)
    return np.where(long_runs, values, nonzeros).astype(np.float64)


def _region_cycles(layer: _DenseLayer | _SparseLayer, cut: _Cut) -> _StepCycles:
    """Cycles of each step of an image: (regions, groups of filters, parts of the channels).

    Regions of one size share them.
    """
    heights, of_row = np.unique(np.stack([cut.heights, cut.in_heights]), axis=1, return_inverse=True)
    widths, of_col = np.unique(np.stack([cut.widths, cut.in_widths]), axis=1, return_inverse=True)
    (high, in_high), (wide, in_wide) = (np.repeat(heights, widths.shape[1], axis=1), np.tile(widths, heights.shape[1]))
    cycles = layer.step_cycles(_Regions(high=high, wide=wide, in_high=in_high, in_wide=in_wide), cut)
    places = np.add.outer(of_row * widths.shape[1], of_col).ravel()
    return _StepCycles(slowest=cycles.slowest[places], mean=cycles.mean[places])


def _schedule(layer: _DenseLayer | _SparseLayer, cut: _Cut) -> Schedule:
    """Steps: images, then regions, then groups of filters, then parts of the channels."""
    work = layer.work
    machine = layer.machine
    first_filters = cut.first_filters(work)
    group_filters = np.diff(np.append(first_filters, work.out_channels))
    cycles = _region_cycles(layer, cut)

    # One row a step.
    image, region, group, channel = (index.ravel() for index in np.indices((work.batch, *cycles.slowest.shape)))
    y, x = np.divmod(region, len(cut.widths))
    new_inputs = np.ones_like(group)
    channels = cut.channels[channel]
    if cut.stay:
        new_inputs = ((group == 0) & (channel == 0)).astype(np.int64)
        channels = np.full_like(group, work.in_channels)
    last = (channel == len(cut.channels) - 1).astype(np.int64)
    whole_width = len(cut.widths) == 1
    rows = first_inputs(Axis.of(work, 0), int(cut.heights[0]))[y]
    cols = first_inputs(Axis.of(work, 1), int(cut.widths[0]))[x]
    conv_group = first_filters[group] // (work.out_channels // work.groups)
    first_channel = conv_group * (work.in_channels // work.groups) + behind(cut.channels)[channel]
    in_extent = Extent(images=1, rows=cut.in_heights[y], cols=cut.in_widths[x], channels=channels)
    in_corner = Corner(image=image, channel=0 if cut.stay else first_channel, row=rows, col=cols)
    inputs = input_map(work, machine).transfer(in_extent, in_corner, whole_width=whole_width, when=new_inputs)
    out_extent = Extent(images=1, rows=cut.heights[y], cols=cut.widths[x], channels=group_filters[group])
    out_row = behind(cut.heights)[y]
    out_col = behind(cut.widths)[x]
    out_corner = Corner(image=image, channel=first_filters[group], row=out_row, col=out_col)
    outputs = output_map(work, machine).transfer(out_extent, out_corner, whole_width=whole_width, when=last)
    weight_bytes = weight_tile_bytes(work, machine, first_filters, cut.channels)
    stays = int(weight_bytes.sum()) <= machine.buffers.capacity_bytes("weight")
    new_weights = ((image == 0) & (region == 0) | (not stays)).astype(np.int64)
    weight_address = behind(weight_bytes.ravel()).reshape(weight_bytes.shape)[group, channel]
    weights = Transfer.contiguous(weight_bytes[group, channel] * new_weights, weight_address)
    compute = np.maximum(cycles.slowest[region, group, channel].astype(np.int64), 1) + STEP_CYCLES
    macs = layer.macs(cut, int(compute.sum()))
    waiting = float((cycles.slowest - cycles.mean).sum()) * work.batch
    schedule = untransformed(
        mode=layer.mode,
        inputs=inputs,
        weights=weights,
        compute_cycles=compute,
        outputs=outputs,
        dram=machine.dram,
        effectual_macs=macs,
        useful_slots=float(macs),
        waiting_slots=waiting * machine.lanes,
        actions=_actions(layer, cut, macs, (inputs, weights)),
    )
    sizes = f"n=1 p={max(cut.heights)} q={max(cut.widths)} k={max(group_filters)} c={max(cut.channels)}"
    staying = [name for name, there in (("weights", stays), ("inputs", cut.stay)) if there]
    return replace(schedule, tiling=sizes, loop_order="; ".join(["n pq k c", *(f"{name} stay" for name in staying)]))


def _actions(
    layer: _DenseLayer | _SparseLayer,
    cut: _Cut,
    macs: int,
    loads: tuple[Transfer, Transfer],
) -> dict[str, float]:
    """What the layer does on the chip.  loads: of inputs and weights."""
    work = layer.work
    machine = layer.machine
    a = machine.arithmetic
    inputs, weights = loads
    loaded_bits = 8 * int(inputs.n_bytes.sum())
    operand_bits = (a.weight_bits + a.activation_bits) / sqrt(machine.cartesian.weights * machine.cartesian.inputs)
    regions = len(cut.heights) * len(cut.widths)
    filter_groups = len(cut.first_filters(work)) // work.groups
    return {
        "mac": macs,
        "register_bit": macs * (2 * a.accumulator_bits + operand_bits),
        "index": macs if layer.indexed else 0,
        "weight_read": work.batch * regions * float(filter_bits(work, machine).sum()),
        "weight_write": 8 * int(weights.n_bytes.sum()),
        "input_read": loaded_bits * (filter_groups if cut.stay else 1),
        "input_write": loaded_bits,
        "output_write": work.outputs * a.activation_bits,
        "output_read": work.outputs * a.activation_bits,
    }
