"""The array types of the package, named once, and how a computed number becomes a whole one.

Shapes and units stand where the types are used: in the docstring of each function that takes or
gives an array.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]  # images, weights, features
Floats = NDArray[np.float64]  # energies, times, expected counts
Ints = NDArray[np.int64]  # counts, bytes, cycles, indices
Flags = NDArray[np.bool_]  # masks
Levels = NDArray[np.int32]  # quantization indices, and other numbers as a file holds them

# More than a computed number of bytes or cycles is off by, and less than any part of one that is
# meant.
PRODUCT_ERROR = 1e-9  # of a product of a few numbers
SUM_ERROR = 1e-6  # of a sum of many of them


def round_up(values: ArrayLike, error: float = PRODUCT_ERROR) -> Ints:
    """Whole numbers of bytes or cycles, rounded up, but not for an error of rounding.

    Same shape, int64.
    """
    return np.asarray(np.ceil(np.asarray(values, np.float64) - error)).astype(np.int64)
