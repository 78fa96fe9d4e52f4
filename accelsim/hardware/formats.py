"""How a sparse tensor is stored, on chip and off.

Bits for values and for the index that says where they go.

dense: every position.  bitmask: one bit a position, then the non-zeros.  csr: an index within its
row for each non-zero, and one pointer a row.  run_length: each value with a count of the zeros
before it; a run longer than the count can say inserts a zero value (Eyeriss, EIE).
packed_run_length: the same with a count of 5 bits, three pairs and a flag to a word (64 bits at
16-bit values), as Eyeriss moves feature maps (JSSC 2017).  Expected padding of run-length coding
for randomly placed zeros:
pad = (1 - d)^(2^i) / (1 - (1 - d)^(2^i)), d the density, i the index width (EIE, ISCA 2016).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Format = Literal["dense", "bitmask", "csr", "run_length", "packed_run_length"]

# the count in front of each run-length coded value
RUN_BITS = {"run_length": 4, "packed_run_length": 5}
FLAG_BITS = {"run_length": 0.0, "packed_run_length": 1 / 3}  # of each, its share of a word's flag


def stored_values(fmt: Format, positions: ArrayLike, nonzeros: ArrayLike) -> NDArray[np.float64]:
    """Values stored, padding zeros included.

    For tensors of ``positions`` entries, ``nonzeros`` of them non-zero.
    """
    p = np.asarray(positions, np.float64)
    nz = np.asarray(nonzeros, np.float64)
    if fmt == "dense":
        return np.asarray(p + 0 * nz)
    if fmt in RUN_BITS:
        longest = 2 ** RUN_BITS[fmt]
        zeros_run = (1 - nz / np.maximum(p, 1)) ** longest
        with np.errstate(divide="ignore", invalid="ignore"):
            values = nz * (1 + zeros_run / (1 - zeros_run))
        of_zeros = np.minimum(p, np.ceil(p / longest))
        return np.asarray(np.where(nz > 0, np.minimum(values, p), of_zeros))
    return np.asarray(nz + 0 * p)


def index_bits(
    fmt: Format,
    positions: ArrayLike,
    nonzeros: ArrayLike,
    row: int,
) -> NDArray[np.float64]:
    """Bits that say where the stored values go; ``row``: positions in one row of a CSR matrix."""
    p = np.asarray(positions, np.float64)
    nz = np.asarray(nonzeros, np.float64)
    if fmt == "dense":
        return np.zeros(np.broadcast_shapes(p.shape, nz.shape))
    if fmt == "bitmask":
        return np.asarray(p + 0 * nz)
    if fmt == "csr":
        column_bits = max(1, int(np.ceil(np.log2(max(row, 2)))))
        pointer_bits = np.ceil(np.log2(np.maximum(p, 2) + 1))
        return np.asarray(nz * column_bits + np.ceil(p / max(row, 1)) * pointer_bits)
    return np.asarray(stored_values(fmt, p, nz) * (RUN_BITS[fmt] + FLAG_BITS[fmt]))


def stored_bytes(
    fmt: Format, positions: ArrayLike, nonzeros: ArrayLike, value_bits: int, row: int
) -> NDArray[np.int64]:
    """Whole bytes of tensors in the format, index included.

    Never below one byte unless there are no positions.
    """
    values = stored_values(fmt, positions, nonzeros)
    bits = values * value_bits + index_bits(fmt, positions, nonzeros, row)
    return np.ceil(bits / 8).astype(np.int64)
