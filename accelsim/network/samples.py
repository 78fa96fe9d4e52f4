"""Pictures without labels, to measure and to reconstruct with: of any size, brought to the network's.

A folder is searched with all folders in it; pictures are taken in the order of their paths, evenly, up to a number.
Each is reduced or enlarged until it covers the network's image, and cut to its middle.  A network of one channel gets
luminance.  An .npz file holds ``images`` (N, H, W, C) uint8 of just that size, with any number of channels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accelsim.errors import InputError
from accelsim.files import IMAGES
from accelsim.network.npz import read_npz
from accelsim.network.pictures import read_picture

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff"}
MAX_FILES = 1_000_000
MAX_BYTES = 1 << 30  # of all pictures together


def read_samples(path: Path, shape: tuple[int, int, int], most: int) -> NDArray[np.uint8]:
    """At most so many pictures: (N, H, W, C) uint8.  shape: (H, W, C) of the network.

    Raises InputError, one line, if there are none, or they cannot be read or do not fit.
    """
    most = min(most, max(1, MAX_BYTES // int(np.prod(shape))))
    if not path.is_dir():
        return _of_file(path, shape, most)
    files = picture_files(path)
    if shape[2] not in (1, 3):
        raise InputError(f"{path}: a network of {shape[2]} channels, expected an .npz file with images of as many")
    chosen = evenly(files, most)
    return np.stack([_of_size(read_picture(file), shape) for file in chosen])


def picture_files(folder: Path) -> list[Path]:
    """All pictures in a folder, by their paths.  Raises InputError if there are none."""
    files = []
    for number, file in enumerate(folder.rglob("*")):
        if number > MAX_FILES:
            raise InputError(f"{folder}: over {MAX_FILES} files, expected fewer")
        if file.suffix.lower() in ENDINGS and file.is_file():
            files.append(file)
    if not files:
        raise InputError(f"{folder}: no pictures, expected some ending in {', '.join(sorted(ENDINGS))}")
    return sorted(files)


def evenly(files: Sequence[Path], most: int) -> list[Path]:
    """At most so many of the files, from first to last."""
    if len(files) <= most:
        return list(files)
    return [files[index] for index in np.linspace(0, len(files) - 1, most).round().astype(int)]


def _of_file(path: Path, shape: tuple[int, int, int], most: int) -> NDArray[np.uint8]:
    arrays = read_npz(path, IMAGES.most_bytes, IMAGES)
    images = arrays.get("images")
    if images is None:
        raise InputError(f"{path}: no array 'images' (found {', '.join(arrays)[:100] or 'none'})")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        wanted = ", ".join(map(str, shape))
        raise InputError(f"{path}: images is {images.dtype} {images.shape}, expected uint8 (N, {wanted})")
    return images[:most]


def _of_size(picture: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One picture (h, w, 3) as (H, W, C)."""
    H, W, C = shape
    image = Image.fromarray(picture)
    if C == 1:
        image = image.convert("L")
    scale = max(H / image.height, W / image.width)
    if scale != 1:
        size = (max(W, round(image.width * scale)), max(H, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - W) // 2, (image.height - H) // 2
    return np.asarray(image.crop((left, top, left + W, top + H))).reshape(shape)
