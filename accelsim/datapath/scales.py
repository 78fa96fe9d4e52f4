"""The unit of a tensor's whole numbers.

How it follows from the range of values, and how a machine changes units.

A value v is stored as the nearest whole number of v / unit, cut to the word's range.  A unit is a
power of two (``power_of_two``: one scale goes over into another by a shift) or any number
(``multiply_shift``: by a multiplication with a whole number of ``multiplier_bits`` and a shift).
Either way the outcome is rounded half up.

Which range a word is to cover (``calibration``): all values seen (``max``), a share of them
(``percentile``), or the range with the least squared error of rounding and cutting together
(``least_error``; as in R. Krishnamoorthi, arXiv:1806.08342, and H. Wu et al., arXiv:2004.09602, who
compare the three).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats, Ints
from accelsim.hardware.datapath import Integers

BINS = 4096
LEAST = 2.0**-100  # of all bins together: its inverse over BINS is a float32
SINGLE = 2.0**24  # whole numbers up to it are exact in float32
DOUBLE = 2.0**53  # and in float64
PART = 24  # bits of the lower part of a number too large for one product
CANDIDATES = 64  # ranges that ``least_error`` tries, from 1 / 64 of the largest value


def limits(bits: int) -> tuple[int, int]:
    """Least and largest whole number of so many bits, one of them the sign."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


class Histogram:
    """How often which magnitudes were seen, in bins of equal width.

    The width doubles where a value is beyond them.
    """

    def __init__(self, detailed: bool = True) -> None:
        self.detailed = detailed
        self.largest = 0.0
        self.width = 0.0
        self.counts: Ints = np.zeros(BINS, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Count the magnitudes of finite values of any shape.

        All that is kept if not ``detailed`` is the largest.
        """
        if not self.detailed:
            self.largest = max(self.largest, float(values.max(initial=0)), -float(values.min(initial=0)))
            return
        magnitudes = np.abs(values).ravel()
        largest = float(magnitudes.max(initial=0))
        self.largest = max(self.largest, largest)
        if largest == 0:
            self.counts[0] += magnitudes.size
            return
        if self.width == 0:
            self.width = max(float(2.0 ** np.ceil(np.log2(largest))), LEAST) / BINS
        width = self.width
        while largest >= width * BINS:
            width *= 2
        self.counts = _widened(self.counts, self.width, width)
        self.width = width
        index = (magnitudes * (1 / self.width)).astype(np.int64)
        self.counts += np.bincount(index, minlength=BINS)

    def merge(self, other: "Histogram") -> None:
        """Take in what another one has counted; the outcome is that of one which saw all values."""
        self.largest = max(self.largest, other.largest)
        if not self.detailed or not other.width:
            self.counts += other.counts
            return
        if not self.width:
            self.width = other.width
        width = max(self.width, other.width)
        self.counts = _widened(self.counts, self.width, width) + _widened(other.counts, other.width, width)
        self.width = width

    def range(self, integers: Integers, bits: int) -> float:
        """The magnitude that the largest whole number of so many bits is to stand for.

        0 if only zeros were seen.
        """
        if self.largest == 0 or integers.calibration == "max":
            return self.largest
        if integers.calibration == "percentile":
            rank = integers.percentile / 100 * self.counts.sum()
            at = int(np.searchsorted(self.counts.cumsum(), rank))
            return min(self.largest, (at + 1) * self.width)
        centers: Floats = np.asarray((np.arange(BINS) + 0.5) * self.width, np.float64)
        most = limits(bits)[1]
        tried: Floats = np.asarray(self.largest * np.arange(1, CANDIDATES + 1) / CANDIDATES, np.float64)
        if integers.scales == "power_of_two":
            exponents = np.arange(exponent_of(tried[0], bits), exponent_of(tried[-1], bits) + 1)
            tried = np.asarray(most * 2.0**exponents, np.float64)
        counts = self.counts.astype(np.float64)
        errors = [row @ counts for row in squared_error(centers, tried[:, None] / most, most)]
        return float(tried[int(np.argmin(errors))])


def _widened(counts: Ints, width: float, wider: float) -> Ints:
    """Bins of one width as bins of another, a power of two times as wide."""
    while width < wider:
        counts = np.concatenate([counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
        width *= 2
    return counts


def squared_error(values: Floats, unit: float | Floats, most: int) -> Floats:
    """What rounding to units and cutting at +- most of them costs each value.

    The shape of both together.
    """
    error = np.asarray(values / unit)
    np.rint(error, out=error)
    np.clip(error, -most, most, out=error)
    error *= unit
    error -= values
    error *= error
    return error


def exponent_of(size: float, bits: int) -> int:
    """The least e at which a magnitude is at most the largest number of so many bits, times 2^e.

    0 for no magnitude.
    """
    if size <= 0:
        return 0
    most = limits(bits)[1]
    e = int(np.floor(np.log2(size / (most + 0.5))))
    while np.rint(size / 2.0**e) > most:
        e += 1
    return e


def unit_of(size: float, integers: Integers, bits: int) -> float:
    """The unit at which words of so many bits reach a magnitude; 1 for no magnitude."""
    if size <= 0:
        return 1.0
    if integers.scales == "power_of_two":
        return float(2.0 ** exponent_of(size, bits))
    return size / limits(bits)[1]


@dataclass(frozen=True, eq=False)
class Change:
    """From one unit to another: y = floor(x multiplier / 2^shift + 1/2).

    Each may be one number or one a channel.
    """

    multiplier: Floats  # whole numbers
    shift: Ints
    # whether products may be beyond 2^52; then shift > 0, or >= PART if they may be beyond 2^61
    wide: bool = False
    single: bool = False  # whether float32 holds every step

    @property
    def factor(self) -> Floats:
        """multiplier / 2^shift, exactly."""
        return np.asarray(self.multiplier * 2.0 ** -self.shift.astype(np.float64))

    def apply(self, x: Floats | Array, bias: Floats | float = 0.0) -> Floats | Array:
        """x + bias in the new unit, whole numbers: same shape.

        Exact where |x + bias| is below 2^53.
        """
        if self.wide:
            return self._wide(np.add(x, bias, dtype=np.float64).astype(np.int64))
        real = np.float32 if self.single else np.float64
        y: NDArray[Any] = np.add(x, np.asarray(bias, real), dtype=real)
        y *= self.factor.astype(real)
        y += real(0.5)
        return np.asarray(np.floor(y, out=y))

    def _wide(self, x: Ints) -> Floats:
        """Of products beyond float64, in two parts where int64 might not hold them, either."""
        multiplier = self.multiplier.astype(np.int64)
        half = np.left_shift(1, self.shift - 1)
        if self.shift.min() < PART:
            return np.asarray((x * multiplier + half) >> self.shift, np.float64)
        high = (x >> PART) * multiplier
        low = (x & ((1 << PART) - 1)) * multiplier + half
        return np.asarray((high + (low >> PART)) >> (self.shift - PART), np.float64)

    def holds(self, largest: float) -> bool:
        """Whether float32 is exact for |x + bias| up to ``largest``.

        Mere shifts, and no more than 24 bits in use.
        """
        if not np.isin(np.abs(self.multiplier), (0, 1)).all():
            return False
        factor = np.abs(self.factor)
        # all values are multiples of it
        smallest = np.where(factor > 0, np.minimum(factor, 0.5), 0.5)
        return bool(((largest * factor + 0.5) / smallest < SINGLE).all()) and largest < SINGLE


def change(ratio: float | Floats, multiplier_bits: int) -> Change:
    """The change of units nearest to multiplying by ratios (one, or one a channel), as an output path can make it.

    Powers of two are mere shifts; others are multipliers of so many bits, their first bit set, and
    a shift.
    """
    ratios = np.asarray(ratio, np.float64)
    sizes = np.where(ratios == 0, 1.0, np.abs(ratios))
    exponents = np.floor(np.log2(sizes)).astype(np.int64)
    if (sizes == 2.0**exponents).all():
        return Change(np.sign(ratios), -exponents)
    shift = multiplier_bits - 1 - exponents
    return Change(np.asarray(np.rint(ratios * 2.0**shift)), np.asarray(shift))


def common_changes(ratios: Sequence[float], multiplier_bits: int, largest: float) -> list[Change]:
    """Changes of the terms of a sum, all with one shift: the sum is rounded once.

    ratios: above zero.  largest: no term is beyond it.
    """
    exponent = int(np.floor(np.log2(max(ratios))))
    if all(np.log2(ratio).is_integer() for ratio in ratios):
        exponent = int(np.log2(min(ratios)))
        bits_in_use = (largest * sum(ratios) + 0.5) * 2.0 ** max(1, -exponent)
        single = bits_in_use < SINGLE
        return [Change(np.asarray(ratio * 2.0**-exponent), np.asarray(-exponent), single=single) for ratio in ratios]
    shift = multiplier_bits - 1 - exponent
    return [Change(np.asarray(np.rint(ratio * 2.0**shift)), np.asarray(shift)) for ratio in ratios]


def added(terms: Sequence[Array], changes: Sequence[Change]) -> Floats | Array:
    """floor(sum of terms, each changed, + 1/2): whole numbers of the terms' shape.

    changes: of one shift.
    """
    real = np.float32 if all(change.single for change in changes) else np.float64
    total: NDArray[Any] = np.multiply(terms[0], changes[0].factor, dtype=real)
    for x, change in zip(terms[1:], changes[1:], strict=True):
        total += x if change.factor == 1 else x * real(change.factor)
    total += real(0.5)
    return np.asarray(np.floor(total, out=total))
