"""Uniform and dithered scalar quantization with a codebook (Choi et al., arXiv:1802.02271).

    n = round((w + U) / D),
    U = 0 (uniform, UQ) or U ~ uniform(-D/2, D/2) from a shared seed (dithered, DUQ).

n = 0 stays zero for good.  Every other index decodes to D c_n - U; the codebook c (in cells, at
first c_n = n) is shared by all tensors and may be fine-tuned.  D is the cell size, one for the
network or one for each tensor.
The dither comes from the raw output of PCG64, which NumPy keeps the same in all versions and on all
machines.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Floats, Levels

MAX_LEVEL = 1 << 15  # an index's largest absolute value
DECODED_AT_ONCE = 1 << 16  # indices, whose values stay in a core's cache
CODEBOOK_UNIT = 1 / 1024  # the precision at which c_n - n is stored


@dataclass(frozen=True)
class Quantizer:
    """How indices become weights."""

    cells: Mapping[str, float]  # D of each weight array, by its name in the network
    codebook: Floats  # (2 L + 1,), c_n for n = -L..L in cells; empty: c_n = n for every n
    seed: int | None = None  # of the dither; None for uniform quantization

    def dither(self, name: str, size: int) -> Array:
        """U of the array ``name``: (size,) float32 in (-D/2, D/2)."""
        if self.seed is None:
            return np.zeros(size, np.float32)
        order = list(self.cells).index(name)  # every tensor draws its own stream
        raw = np.random.PCG64(np.random.SeedSequence([self.seed, order])).random_raw(size)
        uniform = ((raw >> np.uint64(40)).astype(np.float64) + 0.5) / (1 << 24) - 0.5
        return (uniform * self.cells[name]).astype(np.float32)

    def indices(self, name: str, weight: Array, threshold: float = 0.0) -> Levels:
        """n of each weight, zero where |w| <= threshold.  Same shape as the weight, int32.

        Raises ValueError if an index leaves the range that a file can hold: the cell is too small.
        """
        D = self.cells[name]
        n = np.rint((weight + self.dither(name, weight.size).reshape(weight.shape)) / np.float64(D))
        n[np.abs(weight) <= threshold] = 0
        if n.size and np.abs(n).max() > MAX_LEVEL:
            raise ValueError(f"{name}: cell size {D} is too small for weights up to {np.abs(weight).max():.4g}")
        return n.astype(np.int32)

    def decode(self, name: str, n: Levels) -> Array:
        """The weights that the indices stand for.  Same shape, float32.

        Raises ValueError if an index is beyond the codebook.
        """
        D = self.cells[name]
        L = len(self.codebook) // 2
        if L and n.size and np.abs(n).max() > L:
            raise ValueError(f"{name}: index {n.flat[np.abs(n).argmax()]} is beyond the codebook of {-L}..{L}")
        if self.seed is None:
            return self._undithered(n, D)
        values = (self.codebook[n + L] if L else n.astype(np.float64)) * D
        values = values - self.dither(name, n.size).reshape(n.shape)
        return np.where(n == 0, 0, values).astype(np.float32)

    def _undithered(self, n: Levels, D: float) -> Array:
        """``decode`` without dither, a block at a time."""
        L = len(self.codebook) // 2
        if L:
            values = self.codebook * D
            values[L] = 0
            return values.astype(np.float32).take(n + L)
        flat = n.reshape(-1)
        weights = np.empty(flat.size, np.float32)
        for first in range(0, flat.size, DECODED_AT_ONCE):
            block = flat[first : first + DECODED_AT_ONCE]
            weights[first : first + DECODED_AT_ONCE] = block.astype(np.float64) * D
        return weights.reshape(n.shape)


def plain_codebook(largest: int) -> Floats:
    """c_n = n for n = -largest..largest."""
    return np.arange(-largest, largest + 1, dtype=np.float64)


def rounded_codebook(codebook: Floats) -> Floats:
    """The codebook at the precision a file keeps: multiples of ``CODEBOOK_UNIT``."""
    return np.asarray(np.rint(codebook / CODEBOOK_UNIT) * CODEBOOK_UNIT)


def codebook_slope(
    quantizer: Quantizer,
    indices: Mapping[str, Levels],
    slopes: Mapping[str, Array],
) -> Floats:
    """The mean of dC/dw over the weights of each index, in cells.

    (2 L + 1,) float64, 0 for n = 0 and unused indices.

    slopes: dC/dw by array name.
    """
    L = len(quantizer.codebook) // 2
    total = np.zeros(2 * L + 1)
    count = np.zeros(2 * L + 1)
    for name, n in indices.items():
        index = n.ravel() + L
        total += np.bincount(index, slopes[name].ravel() * np.float64(quantizer.cells[name]), minlength=2 * L + 1)
        count += np.bincount(index, minlength=2 * L + 1)
    slope = total / np.maximum(count, 1)
    slope[L] = 0
    return np.asarray(slope)


def dyadic(values: Array, bits: int) -> tuple[Levels, int]:
    """Integers q and the exponent e of q 2^e ~ values.

    |q| < 2^(bits - 1), and e as small as that allows.

    values: any shape, finite.  The largest error is 2^(e - 1).
    """
    largest = float(np.abs(values).max(initial=0))
    if largest == 0:
        return np.zeros(values.shape, np.int32), 0
    limit = (1 << (bits - 1)) - 1
    e = int(np.ceil(np.log2(largest / (limit + 0.5))))
    if np.rint(largest / 2.0**e) > limit:
        e += 1
    return np.rint(values / np.float64(2.0**e)).astype(np.int32), e
