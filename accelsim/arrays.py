"""The array types of the package, named once.

Their shapes and units stand where they are used: in the docstring of each function that takes or gives one.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]  # images, weights, features
Floats = NDArray[np.float64]  # energies, times, expected counts
Ints = NDArray[np.int64]  # counts, bytes, cycles, indices
Flags = NDArray[np.bool_]  # masks
Levels = NDArray[np.int32]  # quantization indices, and other numbers as a file holds them
