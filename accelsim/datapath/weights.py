"""Weights as whole numbers of a machine's width.

Spatial filters, or Winograd-domain ones with a scale for each tap.

A weight stands for  q u[k] 2^e[tap]:  u is the unit of the layer (or of filter k), e the exponent
of a tap (all zero with one scale for all taps), so that taps' sums are brought to one unit by
shifts alone.  The rows of G, and with them the ranges of the taps, differ by up to 36 in F(4, 3):
with one scale the small taps round to nothing (tap-wise quantization: R. Andri et al., MICRO 2022,
at 10 bits).  A weight that rounds to zero keeps its place in the stream.

A codebook holds 2^bits shared values, placed by k-means from evenly spaced ones (S. Han et al.,
ICLR 2016, as EIE runs them).
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.datapath.scales import CANDIDATES, exponent_of, limits, squared_error, unit_of
from accelsim.hardware.datapath import Integers

SPREAD = 12  # no tap's exponent lies further below the largest, which bounds the shifts
REFINEMENTS = 2  # of the taps' exponents, and with them of the units
ROUNDS = 30  # of k-means
OCTAVES = 2  # that ``least_error`` looks below the range that cuts nothing
CACHED = 1 << 14  # weights at a time whose errors stay in a core's cache


@dataclass(frozen=True, eq=False)
class WholeWeights:
    """Weights of one layer as whole numbers."""

    values: Floats  # (K, C, T)
    units: Floats  # (K,), u of each filter
    exponents: Ints  # (T,), e of each tap
    saturated: int  # weights that were cut to the largest number


def weight_words(integers: Integers) -> tuple[object, ...]:
    """All of the words that ``whole_weights`` depends on."""
    return (
        integers.weight_bits,
        integers.codebook_bits,
        integers.weight_scales,
        integers.scales,
        integers.calibration,
    )


def whole_weights(w: Floats, integers: Integers, per_tap: bool) -> WholeWeights:
    """Round the weights of a layer.

    w: (K, C, T), T taps that may differ in scale if ``per_tap``; of a spatial filter T is 1.
    """
    bits = integers.weight_bits
    if integers.codebook_bits is not None:
        w = _shared(w, 1 << bits)
        bits = integers.codebook_bits
    sizes = np.abs(w).max(axis=(0, 1), initial=0)
    exponents = np.zeros(len(sizes), np.int64)
    if per_tap and sizes.any():
        found = np.array([exponent_of(size, bits) for size in sizes])
        highest = found[sizes > 0].max()
        exponents = np.where(sizes > 0, np.maximum(found - highest, -SPREAD), 0)
    units = _units(w / 2.0**exponents, integers, bits)
    if per_tap and integers.calibration == "least_error":
        for _ in range(REFINEMENTS):
            exponents = _refined(w, units, exponents, bits)
            units = _units(w / 2.0**exponents, integers, bits)
    q = np.rint(w / 2.0**exponents / units[:, None, None])
    most = limits(bits)[1]
    saturated = int(np.count_nonzero(np.abs(q) > most))
    return WholeWeights(np.clip(q, -most, most), units, exponents, saturated)


def _refined(w: Floats, units: Floats, exponents: Ints, bits: int) -> Ints:
    """Exponents of taps with less squared error.

    Each as it is, or one less or more, at most SPREAD apart: (T,).
    """
    most = limits(bits)[1]
    tried = np.stack([exponents, exponents - 1, exponents + 1])
    scales = units[:, None, None]
    errors = np.stack([squared_error(w, scales * 2.0**e, most).sum(axis=(0, 1)) for e in tried])
    found = np.take_along_axis(tried, errors.argmin(axis=0)[None], axis=0)[0]
    return np.asarray(np.maximum(found, found.max() - SPREAD))


def _units(w: Floats, integers: Integers, bits: int) -> Floats:
    """u of each filter: (K,).  w: (K, C, T)."""
    sizes = np.abs(w).max(axis=(1, 2), initial=0)
    sizes = np.where(sizes > 0, sizes, sizes.max(initial=0))
    # shared values have one unit
    one = integers.weight_scales == "tensor" or integers.codebook_bits is not None
    if one:
        sizes = np.full(len(w), sizes.max(initial=0))
    if integers.calibration != "least_error":
        return np.array([unit_of(size, integers, bits) for size in sizes])
    most = limits(bits)[1]
    if integers.scales == "power_of_two":
        largest = np.array([unit_of(size, integers, bits) for size in sizes])
        tried = np.outer(largest, 2.0 ** -np.arange(OCTAVES, -1, -1))  # (K, candidates)
    else:
        shares = np.arange(CANDIDATES // 2**OCTAVES, CANDIDATES + 1) / CANDIDATES
        tried = np.outer(np.where(sizes > 0, sizes, most), shares) / most
    errors = np.empty(tried.shape)
    at_once = max(1, CACHED // max(1, w[:1].size))
    for first in range(0, len(w), at_once):
        some = slice(first, first + at_once)
        costs = (squared_error(w[some], u[:, None, None], most).sum(axis=(1, 2)) for u in tried[some].T)
        errors[some] = np.stack(list(costs), axis=1)
    if one:
        errors = np.broadcast_to(errors.sum(axis=0), errors.shape)
    return np.asarray(np.take_along_axis(tried, errors.argmin(axis=1)[:, None], axis=1)[:, 0])


def _shared(w: Floats, count: int) -> Floats:
    """Each non-zero weight as the nearest of ``count`` shared values.  Same shape."""
    nonzeros = w[w != 0]
    if not nonzeros.size:
        return w
    centers = np.linspace(nonzeros.min(), nonzeros.max(), count)
    order = np.sort(nonzeros)
    sums = np.append(0.0, order.cumsum())
    for _ in range(ROUNDS):
        edges = np.searchsorted(order, (centers[1:] + centers[:-1]) / 2)
        ends = np.concatenate([[0], edges, [len(order)]])
        members = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(members, 1)
        centers = np.where(members > 0, means, centers)
    nearest = np.searchsorted((centers[1:] + centers[:-1]) / 2, w)
    return np.asarray(np.where(w == 0, 0.0, centers[nearest]))
