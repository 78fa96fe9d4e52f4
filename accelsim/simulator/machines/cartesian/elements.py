"""Cycles of the processing elements (PEs), of each region, group of filters and part of the channels.

For each channel of a group a PE multiplies ``inputs`` of its non-zero inputs by ``weights``
non-zero weights a cycle, all with all:

    cycles of a PE and group = sum over channels c of ceil(nnz_A[c] / inputs) * ceil(nnz_W[c] / weights)

Weight masks are the real ones; inputs are random with each channel's density, so nnz_A is binomial
and the slowest PE the expected maximum of those with the largest tile (normal approximation, at
most all pixels).  The zeros that run-length coding stores in long runs take a multiplier as any
value.  At a stride s only operands of the same phase meet: s^2 phases take the place of a channel,
as many of them as some weight meets.

The dense twin takes dot products of weights x inputs operands over channels and kernel instead:
outputs of the PE's tile * K * ceil(C R S / (weights * inputs)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelsim.arrays import SUM_ERROR, Flags, Floats, Ints, round_up
from accelsim.hardware.formats import RUN_BITS, Format, stored_values
from accelsim.memo import Memo
from accelsim.simulator.machines.cartesian.cuts import Cut, Regions
from accelsim.simulator.machines.cartesian.description import CartesianDescription
from accelsim.simulator.tiles.lanes import expected_maximum
from accelsim.workload import LayerWork

REMEMBERED = 1 << 10  # numbers of pixels of a layer


@dataclass(frozen=True)
class StepCycles:
    """Cycles of each step, and the mean over all elements.

    (regions, groups of filters, parts of the channels).
    """

    slowest: Floats
    mean: Floats


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
    return _Phases(
        number=np.add.outer(rows * work.stride[1], cols).ravel(),
        taps=np.multiply.outer(in_row, in_col).ravel(),
    )


def _by_phase(work: LayerWork) -> NDArray[np.integer[Any]]:
    """Non-zero weights that meet each phase: (K, C / groups, phases), a byte each if that will do."""
    number = np.uint8 if prod(work.kernel) < 1 << 8 else np.int32
    counts: NDArray[np.integer[Any]] = work.flags().astype(number)
    for axis, (k, dilation, stride) in enumerate(zip(work.kernel, work.dilation, work.stride, strict=True), start=2):
        if k == 1:
            continue
        phase = np.arange(k) * dilation % stride
        order = np.argsort(phase, kind="stable")
        starts = np.flatnonzero(np.diff(phase[order], prepend=-1))
        if len(starts) < k:
            counts = np.stack([_sum(counts, taps.tolist(), axis) for taps in np.split(order, starts[1:])], axis)
        else:
            counts = counts.take(order, axis)
    return counts.reshape(*counts.shape[:2], -1)


def _sum(
    counts: NDArray[np.integer[Any]],
    taps: Sequence[int],
    axis: int,
) -> NDArray[np.integer[Any]]:
    """The sum of an array at some places of an axis; of a few, one after the other is fastest."""
    total = counts.take(taps[0], axis)
    for tap in taps[1:]:
        total += counts.take(tap, axis)
    return np.asarray(total)


class DenseLayer:
    """A layer whose elements take dot products of weights x inputs operands over channels and kernel."""

    mode = "planar-dense"
    indexed = False

    def __init__(self, work: LayerWork, machine: CartesianDescription) -> None:
        self.work = work
        self.machine = machine

    def step_cycles(self, regions: Regions, cut: Cut) -> StepCycles:
        """Cycles of each region's groups of filters and parts of the channels."""
        array = self.machine.pe_array
        first = cut.first_filters(self.work)
        filters = np.diff(np.append(first, self.work.out_channels))
        window = self.work.kernel[0] * self.work.kernel[1]
        multipliers = self.machine.cartesian.weights * self.machine.cartesian.inputs
        operands = np.ceil(cut.channels * window / multipliers)
        each = np.multiply.outer(filters, operands)
        pe_outputs = -(-regions.high // array.rows) * -(-regions.wide // array.cols)
        share = regions.high * regions.wide / (array.rows * array.cols)
        return StepCycles(np.multiply.outer(pe_outputs, each), np.multiply.outer(share, each))

    def macs(self, cut: Cut, cycles: int) -> int:
        """Multiplies of the whole layer."""
        return self.work.dense_macs


class SparseLayer:
    """A layer whose elements multiply non-zeros, all with all.

    phases: of the input.  nonzeros: weights by phase, (K, C / groups, phases).  density: of the
    inputs, (groups, C / groups).
    """

    mode = "cartesian"
    indexed = True

    def __init__(self, work: LayerWork, machine: CartesianDescription) -> None:
        self.work = work
        self.machine = machine
        self.density = work.group_density()
        self.phases = _phases(work)
        self.nonzeros = _by_phase(work)
        self._input_vectors: Memo[tuple[Floats, Floats]] = Memo(REMEMBERED)

    def step_cycles(self, regions: Regions, cut: Cut) -> StepCycles:
        """Cycles of each region's groups of filters and parts of the channels."""
        rows = self.machine.pe_array.rows
        cols = self.machine.pe_array.cols
        high = np.maximum(regions.in_high, 1)
        wide = np.maximum(regions.in_wide, 1)
        pe_high = -(-high // rows)
        pe_wide = -(-wide // cols)
        weight_vectors = self._weight_vectors(cut)
        tiles, tile = np.unique(np.stack([pe_high, pe_wide]), axis=1, return_inverse=True)
        of_tiles = [self._of_tile(h, w, weight_vectors, cut) for h, w in tiles.T.tolist()]
        mean, deviation, most = (np.stack(values)[tile] for values in zip(*of_tiles, strict=True))
        # Of each region: elements with the largest tile, and how much above its mean the slowest
        # is.
        full = np.maximum(1, (high // pe_high) * (wide // pe_wide))
        largest, places = np.unique(full, return_inverse=True)
        each = [max(0.0, expected_maximum(int(elements))) for elements in largest]
        deviations = np.array(each)[places]
        worst = np.minimum(most, round_up(mean + deviations[:, None, None] * deviation, SUM_ERROR))
        # of the elements' pixels that exist
        share = high * wide / (pe_high * pe_wide * rows * cols)
        return StepCycles(worst, mean * share[:, None, None])

    def _of_tile(
        self,
        high: int,
        wide: int,
        weight_vectors: Floats,
        cut: Cut,
    ) -> tuple[Floats, Floats, Floats]:
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

    def macs(self, cut: Cut, cycles: int) -> int:
        """Products of non-zeros of all regions, at most what the multipliers can do in these cycles."""
        work = self.work
        per_group = work.out_channels // work.groups
        first_filters = np.arange(0, work.out_channels, per_group)
        channel_nonzeros = self._of_filters(first_filters).sum(axis=2)
        pixels = int(cut.in_heights.sum() * cut.in_widths.sum()) / (work.stride[0] * work.stride[1])
        products = round(work.batch * pixels * float((channel_nonzeros * self.density).sum()))
        return min(products, cycles * self.machine.lanes)

    def _of_filters(self, first: Ints) -> Ints:
        """Non-zero weights of groups of filters: (groups, C / groups, phases) int64.  first: filter of each group."""
        groups = np.split(self.nonzeros, first[1:])
        return np.stack([of_group.sum(axis=0, dtype=np.int64) for of_group in groups])

    def _weight_vectors(self, cut: Cut) -> Floats:
        """Cycles' worth of non-zero weights: (groups of filters, C / groups, phases)."""
        first = cut.first_filters(self.work)
        nonzeros = self._of_filters(first)
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
        pixels = -(-high // stride_h) * -(-wide // stride_w)
        return [(pixels, np.ones(len(self.phases.number), np.bool_))]

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
