"""Random crops, mirror images and cutout of uint8 images, one gather for the whole batch."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def augment(
    images: Pixels,
    rng: np.random.Generator,
    *,
    crop: int = 0,
    flip: bool = False,
    cutout: int = 0,
) -> Pixels:
    """A changed copy of the images, (N, H, W, C) uint8.

    crop: each image is moved by up to so many pixels each way, zeros beyond its edge.  flip: half
    of them mirrored.
    cutout: a square of this side is set to the batch's mean colour, its centre anywhere (DeVries &
    Taylor 2017).
    """
    N, H, W, C = images.shape
    padded = np.zeros((N, H + 2 * crop, W + 2 * crop, C), np.uint8)
    padded[:, crop : crop + H, crop : crop + W] = images
    rows = rng.integers(0, 2 * crop + 1, (N, 1)) + np.arange(H)
    columns = rng.integers(0, 2 * crop + 1, (N, 1)) + np.arange(W)
    if flip:
        columns = np.where(rng.random((N, 1)) < 0.5, columns[:, ::-1], columns)
    out: Pixels = padded[np.arange(N)[:, None, None], rows[:, :, None], columns[:, None, :]]
    if cutout:
        half = cutout / 2
        inside_h = np.abs(np.arange(H) + 0.5 - rng.uniform(0, H, (N, 1))) <= half
        inside_w = np.abs(np.arange(W) + 0.5 - rng.uniform(0, W, (N, 1))) <= half
        hole = inside_h[:, :, None] & inside_w[:, None, :]
        out[hole] = images.mean(axis=(0, 1, 2)).round().astype(np.uint8)
    return out
