"""How the coders see an array of weights: as 2-D kernels."""

import math

from accelsim.arrays import Levels


def kernel_axes(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Filters, channels, height and width of the kernel.

    What lies beyond two axes of it is one row.
    """
    K, C = (*shape[:2], 1, 1)[:2]
    R, S = shape[2:] if len(shape) == 4 else (1, math.prod(shape[2:]))
    return K, C, R, S


def kernels_of(tensor: Levels) -> Levels:
    """The 2-D kernels, one a row: (K C / groups, positions)."""
    K, C, R, S = kernel_axes(tensor.shape)
    return tensor.reshape(K * C, R * S)
