"""What happened in one layer of an integer run.

How large its sums grew, and what did not fit a word.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Floats
from accelsim.datapath.scales import limits


@dataclass
class Counts:
    """Of all images so far.  What did not fit is counted by element."""

    outputs: int = 0  # rounded to activation_bits
    saturated: int = 0  # of them beyond the range of the word (a ReLU's zeros do not count)
    sums: int = 0  # of products
    overflowed: int = 0  # of them beyond accumulator_bits: wrapped around, or saturated
    largest_sum: int = 0  # magnitude
    transformed: int = 0  # inputs of Winograd tiles
    transformed_saturated: int = 0  # of them beyond transformed_bits
    largest_transformed: int = 0  # magnitude, in units of the exact transform

    def add(self, other: "Counts") -> None:
        """Take in the counts of other images."""
        self.outputs += other.outputs
        self.saturated += other.saturated
        self.sums += other.sums
        self.overflowed += other.overflowed
        self.largest_sum = max(self.largest_sum, other.largest_sum)
        self.transformed += other.transformed
        self.transformed_saturated += other.transformed_saturated
        self.largest_transformed = max(self.largest_transformed, other.largest_transformed)

    def cut(self, y: Floats | Array, low: float, high: float, bits: int) -> Floats | Array:
        """Outputs within low and high, whole numbers, in place.

        What the word itself cuts is counted.
        """
        least, most = limits(bits)
        self.outputs += y.size
        if high >= most:
            self.saturated += beyond(y, -np.inf, most)
        if low <= least:
            self.saturated += beyond(y, least, np.inf)
        return np.clip(y, float(max(low, least)), float(min(high, most)), out=y)

    def check_sums(self, sums: Floats | Array, bits: int, overflow: str) -> None:
        """Sums of products as a register of so many bits holds them, in place.

        What did not fit is counted.
        """
        least, most = limits(bits)
        self.sums += sums.size
        largest = max(float(sums.max(initial=0)), -float(sums.min(initial=0)))
        self.largest_sum = max(self.largest_sum, int(largest))
        if largest <= most:
            return
        self.overflowed += beyond(sums, least, most)
        if overflow == "saturate":
            np.clip(sums, least, most, out=sums)
        else:
            sums -= least
            np.mod(sums, 2.0**bits, out=sums)
            sums += least


def beyond(values: Floats | Array, least: float, most: float) -> int:
    """How many values are out of a range."""
    found = 0
    if np.isfinite(most) and values.max(initial=0) > most:
        found += int(np.count_nonzero(values > most))
    if np.isfinite(least) and values.min(initial=0) < least:
        found += int(np.count_nonzero(values < least))
    return found


def bits_for(largest: int) -> int:
    """Bits, sign included, that numbers of this magnitude take."""
    return 1 + int(largest).bit_length()
