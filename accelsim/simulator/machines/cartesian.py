"""Cartesian products of sparse operands: planar tiles of the input stay, weights are broadcast, as SCNN does.

Each of rows x cols processing elements (PEs) holds a tile of the input plane, all channels, compressed.  Filters come
in groups of as many as its accumulators hold; for each channel of a group a PE multiplies ``inputs`` of its non-zero
inputs by ``weights`` non-zero weights a cycle, all with all, and scatters the products into accumulator banks:

    cycles of a PE and group = sum over channels c of ceil(nnz_A[c] / inputs) * ceil(nnz_W[c] / weights)

PEs wait for the slowest after every group (a barrier), where they exchange the sums of their halos.  Weight masks are
the real ones; inputs are random with each channel's density, so nnz_A is binomial and the slowest PE the expected
maximum of those with the largest tile (normal approximation, at most all pixels).  The zeros that run-length coding
stores in long runs take a multiplier as any value.  At a stride s only operands of the same phase meet: s^2 phases take
the place of a channel.

A layer too large for the input RAMs or the accumulators is cut into regions of the output plane, each loaded with its
halo; weights come again for each region unless they all fit.  Where a region's channels do not all fit, they come in
parts, again for every group of filters.  Of all cuts by powers of two the one is taken whose slower one of lanes and
DMA, or DRAM bytes, energy or energy x cycles, is lowest, as the machine's objective says.

``zero_handling: none`` is the dense twin, with dot products of weights x inputs operands over channels and kernel:
outputs of the PE's tile * K * ceil(C R S / (weights * inputs)).

Source: Parashar et al., SCNN, ISCA 2017; parts of the channels are ours.  Left out: contention of accumulator banks
(the paper: rare with two banks a multiplier), the exchange of halos itself, inputs left on chip by the layer before
(each layer loads its inputs).  Products at the image's edge that no output takes count as work, as there.
"""

from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from accelsim.arrays import Floats, Ints
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer
from accelsim.hardware.formats import RUN_BITS, Format, stored_values
from accelsim.hardware.machine import SpatialMachine
from accelsim.hardware.parts import Cartesian
from accelsim.simulator.machines.stationary import activation_bits, filter_bits, weight_tile_bytes
from accelsim.simulator.storage.feature_map import feature_maps
from accelsim.simulator.tiles.mode import expected_maximum
from accelsim.simulator.tiles.tiling import input_extents, tile_sizes
from accelsim.simulator.time.objective import predicted
from accelsim.simulator.time.schedule import Schedule, untransformed
from accelsim.workload import LayerWork, keep

MOST_KEPT = 1 << 10  # numbers of pixels of a layer
STEP_CYCLES = 2  # to hand over a group's accumulators, double-buffered, and start the next


@dataclass(frozen=True)
class _Cut:
    """One way to cut the output plane into regions, and the filters of a group that the accumulators then hold.

    heights, widths: outputs of each region row and column; in_heights, in_widths: inputs that they read.
    channels: of each part of a convolution group's channels.  stay: all channels of a region come once, else its parts
    come again for every group of filters.
    """

    heights: Ints
    widths: Ints
    in_heights: Ints
    in_widths: Ints
    filters: int
    channels: Ints
    stay: bool


@dataclass(frozen=True)
class _Work:
    """Non-zero weights by phase: (K, C / groups, phases), and the density of the inputs: (groups, C / groups).

    kept: of ``_vectors``, by the number of pixels.
    """

    nonzeros: Ints
    density: Floats
    kept: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)


def plan_cartesian(work: LayerWork, machine: SpatialMachine) -> Schedule:
    """The schedule of a conv or linear layer by its best cut.

    Raises InputError if the input RAMs hold no part of the layer.
    """
    part = machine.cartesian
    assert part is not None
    masks = _masks(work)
    plans = [_schedule(work, machine, part, masks, cut) for cut in _cuts(work, machine, part)]
    return min(plans, key=lambda plan: (predicted(plan, machine), plan.dram_bytes, len(plan)))


def _cuts(work: LayerWork, machine: SpatialMachine, part: Cartesian) -> list[_Cut]:
    """Cuts by powers of two of the output rows and columns that fit input RAMs and accumulators."""
    rows, cols = machine.pe_array.rows, machine.pe_array.cols
    room = 1024 * machine.buffers.input_kb / (rows * cols)
    bits = activation_bits(machine, work.input_density)
    found = []
    for parts_h, parts_w in product(_powers(work.out_height), _powers(work.out_width)):
        high, wide = -(-work.out_height // parts_h), -(-work.out_width // parts_w)
        in_heights, in_widths = input_extents(work, 0, high), input_extents(work, 1, wide)
        pe_high, pe_wide = -(-int(in_heights.max()) // rows), -(-int(in_widths.max()) // cols)
        fitting = int(room / (pe_high * pe_wide * bits / 8))
        sums = _accumulators(work, 0, pe_high, high) * _accumulators(work, 1, pe_wide, wide)
        if fitting < 1 or sums > part.accumulators:
            continue
        filters = min(part.accumulators // sums, work.out_channels // work.groups)
        of_group = work.in_channels // work.groups
        # Parts of powers of two nest, so that a larger RAM never splits channels that a smaller one kept together.
        channels = of_group if fitting >= of_group else 1 << fitting.bit_length() - 1
        heights, widths = tile_sizes(work.out_height, high), tile_sizes(work.out_width, wide)
        parts, stay = tile_sizes(of_group, channels), fitting >= work.in_channels
        found.append(_Cut(heights, widths, in_heights, in_widths, filters, parts, stay))
    if not found:
        raise InputError(
            f"{machine.name}: buffers.input_kb is {machine.buffers.input_kb:g}, too small for one output of layer "
            f"{work.name}, expected a larger one"
        )
    return found


def _powers(size: int) -> list[int]:
    """1, 2, 4, ... parts, and one output each."""
    return sorted({*(1 << i for i in range(size.bit_length()) if 1 << i <= size), size})


def _accumulators(work: LayerWork, axis: int, inputs: int, outputs: int) -> int:
    """Outputs along one axis, of those of a region, to which a run of inputs adds."""
    reach = work.dilation[axis] * (work.kernel[axis] - 1)
    return min((inputs - 1 + reach) // work.stride[axis] + 1, outputs)


def _phases(work: LayerWork) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """The rows and columns of the kernel that meet each phase of the input."""
    rows, cols = (np.arange(k) * d % s for k, d, s in zip(work.kernel, work.dilation, work.stride, strict=True))
    return [(rows == a, cols == b) for a, b in product(range(work.stride[0]), range(work.stride[1]))]


def _taps(work: LayerWork) -> Ints:
    """Kernel positions of each phase: (phases,)."""
    return np.array([np.count_nonzero(rows) * np.count_nonzero(cols) for rows, cols in _phases(work)], np.int64)


def _masks(work: LayerWork) -> _Work:
    assert work.weights is not None
    kept = work.weights != 0
    phases = [np.count_nonzero(kept[:, :, rows][:, :, :, cols], axis=(2, 3)) for rows, cols in _phases(work)]
    density = np.broadcast_to(work.input_density, (work.in_channels,)).reshape(work.groups, -1).astype(np.float64)
    return _Work(np.stack(phases, axis=2), density)


def _with_padding(fmt: Format, positions: ArrayLike, nonzeros: ArrayLike) -> Floats:
    """Values that take a multiplier: the zeros that run-length coding puts into long runs among them."""
    if fmt not in RUN_BITS:
        return np.asarray(nonzeros, np.float64)
    values = np.ceil(stored_values(fmt, positions, nonzeros) - 1e-6)
    return np.where((np.asarray(positions) > 1 << RUN_BITS[fmt]) & (np.asarray(nonzeros) > 0), values, nonzeros)


def _vectors(masks: _Work, pixels: int, width: int, fmt: Format) -> tuple[Floats, Floats]:
    """Mean and variance of ceil(n / width), n the values stored of ``pixels`` that are non-zero with each density."""
    values, inverse = np.unique(np.round(masks.density, 3), return_inverse=True)
    n = np.arange(pixels + 1)
    choose = gammaln(pixels + 1) - gammaln(n + 1) - gammaln(pixels - n + 1)
    p = np.clip(values, 1e-12, 1 - 1e-12)[:, None]
    weights = np.exp(choose + n * np.log(p) + (pixels - n) * np.log1p(-p))
    weights /= weights.sum(axis=1, keepdims=True)
    count = np.ceil(_with_padding(fmt, pixels, n) / width)
    mean = weights @ count
    variance = np.maximum(weights @ count**2 - mean**2, 0)
    return mean[inverse].reshape(masks.density.shape), variance[inverse].reshape(masks.density.shape)


def _pe_cycles(
    work: LayerWork, machine: SpatialMachine, part: Cartesian, masks: _Work, size: tuple[int, int], cut: _Cut
) -> tuple[Floats, Floats]:
    """Cycles of each group of filters and part of the channels in a region of ``size`` inputs, and the mean over all
    PEs."""
    per_group = work.out_channels // work.groups
    starts = _group_starts(work, cut.filters)
    nnz = np.add.reduceat(masks.nonzeros, starts, axis=0)  # (groups of filters, C / groups, phases)
    ends = np.append(starts[1:], work.out_channels)
    positions = (ends - starts)[:, None, None] * _taps(work)
    vectors = np.ceil(_with_padding(machine.weight_format, positions, nnz) / part.weights)
    of_conv_group = starts // per_group
    (s_h, s_w), (rows, cols) = work.stride, (machine.pe_array.rows, machine.pe_array.cols)
    high, wide = -(-size[0] // rows), -(-size[1] // cols)
    # Pixels of each phase in the largest tile: every s-th row and column.
    largest = [-(-high // s_h) * -(-wide // s_w)] * (s_h * s_w)
    if high * wide < s_h * s_w:  # a PE then holds some phases only; the fullest holds these
        largest = [1 if i < high * wide else 0 for i in range(s_h * s_w)]
    slowest = max(1, (size[0] // high) * (size[1] // wide))  # PEs with the largest tile
    mean, variance, most = (np.zeros(vectors.shape[:2]) for _ in range(3))
    for phase, pixels in enumerate(largest):
        vectors_of = partial(_vectors, masks, pixels, part.inputs, machine.activation_format)
        m, v = keep(masks.kept, pixels, vectors_of, MOST_KEPT)
        w = vectors[:, :, phase]
        mean += w * m[of_conv_group]
        variance += w**2 * v[of_conv_group]
        most += w * -(-pixels // part.inputs)
    first = np.append(0, cut.channels.cumsum()[:-1])
    mean, variance, most = (np.add.reduceat(x, first, axis=1) for x in (mean, variance, most))
    worst = np.minimum(most, np.ceil(mean + max(0.0, expected_maximum(slowest)) * np.sqrt(variance) - 1e-6))
    share = size[0] * size[1] / (high * wide * rows * cols)  # of the PEs' pixels that exist
    return worst, mean * share


def _group_starts(work: LayerWork, filters: int) -> Ints:
    """First filter of each group; none spans two convolution groups."""
    per_group = work.out_channels // work.groups
    return np.add.outer(np.arange(0, work.out_channels, per_group), np.arange(0, per_group, filters)).ravel()


def _lane_cycles(
    work: LayerWork, machine: SpatialMachine, part: Cartesian, masks: _Work, cut: _Cut
) -> tuple[Floats, Floats]:
    """Cycles of each step of an image, and the mean over all PEs: (regions, groups of filters, parts of the channels).

    Regions of one size share them.
    """
    in_group = np.diff(np.append(_group_starts(work, cut.filters), work.out_channels))
    operands = np.ceil(cut.channels * (work.kernel[0] * work.kernel[1]) / (part.weights * part.inputs))
    known: dict[tuple[int, int], tuple[Floats, Floats]] = {}
    found = []
    for y, x in product(range(len(cut.heights)), range(len(cut.widths))):
        outputs, size = (int(cut.heights[y]), int(cut.widths[x])), (int(cut.in_heights[y]), int(cut.in_widths[x]))
        dense = machine.zero_handling == "none"
        key = outputs if dense else (max(1, size[0]), max(1, size[1]))
        if key not in known:
            if dense:
                pe = -(-outputs[0] // machine.pe_array.rows) * -(-outputs[1] // machine.pe_array.cols)
                each = np.multiply.outer(in_group, operands)
                share = outputs[0] * outputs[1] / (machine.pe_array.rows * machine.pe_array.cols)
                known[key] = pe * each, share * each
            else:
                known[key] = _pe_cycles(work, machine, part, masks, key, cut)
        found.append(known[key])
    cycles, busy = zip(*found, strict=True)
    return np.stack(cycles), np.stack(busy)


def _schedule(work: LayerWork, machine: SpatialMachine, part: Cartesian, masks: _Work, cut: _Cut) -> Schedule:
    """Steps: images, then regions, then groups of filters, then parts of the channels."""
    a, dense = machine.arithmetic, machine.zero_handling == "none"
    starts = _group_starts(work, cut.filters)
    in_group = np.diff(np.append(starts, work.out_channels))
    cycles, busy = _lane_cycles(work, machine, part, masks, cut)

    # One row a step.
    shape = (work.batch, *cycles.shape)
    image, region, group, channel = (index.ravel() for index in np.indices(shape))
    y, x = np.divmod(region, len(cut.widths))
    new_inputs = ((group == 0) & (channel == 0)).astype(np.int64) if cut.stay else np.ones(len(group), np.int64)
    channels = np.full(len(group), work.in_channels) if cut.stay else cut.channels[channel]
    weight_bytes = weight_tile_bytes(work, machine, starts, cut.channels)
    stays = int(weight_bytes.sum()) <= 1024 * machine.buffers.weight_kb
    new_weights = ((image == 0) & (region == 0) | (not stays)).astype(np.int64)
    last = (channel == len(cut.channels) - 1).astype(np.int64)
    whole_width = len(cut.widths) == 1
    input_map, output_map = feature_maps(work, machine)
    inputs = input_map.transfer(1, cut.in_heights[y], cut.in_widths[x], channels, whole_width, new_inputs)
    outputs = output_map.transfer(1, cut.heights[y], cut.widths[x], in_group[group], whole_width, last)
    weights = Transfer.contiguous(weight_bytes[group, channel] * new_weights, machine.dram.timing.row_bytes)
    compute = np.maximum(cycles[region, group, channel].astype(np.int64), 1) + STEP_CYCLES

    if dense:
        macs = work.dense_macs
    else:  # products of non-zeros of all regions
        per_group = work.out_channels // work.groups
        of_channel = np.add.reduceat(masks.nonzeros.sum(axis=2), np.arange(0, work.out_channels, per_group), axis=0)
        pixels = int(cut.in_heights.sum() * cut.in_widths.sum()) / (work.stride[0] * work.stride[1])
        macs = round(work.batch * pixels * float((of_channel * masks.density).sum()))
        macs = min(macs, int(compute.sum()) * machine.lanes)
    loaded_bits = 8 * int(inputs.n_bytes.sum())
    operand_bits = (a.weight_bits + a.activation_bits) / sqrt(part.weights * part.inputs)
    waiting = float((cycles - busy).sum()) * work.batch
    return untransformed(
        "planar-dense" if dense else "cartesian",
        inputs,
        weights,
        compute,
        outputs,
        effectual_macs=macs,
        useful_slots=float(macs),
        waiting_slots=waiting * machine.lanes,
        actions={
            "mac": macs,
            "register_bit": macs * (2 * a.accumulator_bits + operand_bits),
            "index": 0 if dense else macs,
            "weight_read": work.batch * len(cycles) * float(filter_bits(work, machine).sum()),
            "weight_write": 8 * int(weights.n_bytes.sum()),
            "input_read": loaded_bits * (len(starts) // work.groups if cut.stay else 1),
            "input_write": loaded_bits,
            "output_write": work.outputs * a.activation_bits,
            "output_read": work.outputs * a.activation_bits,
        },
    )
