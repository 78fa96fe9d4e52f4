"""Pictures without labels, to measure and to reconstruct with.

Of any size, brought to the network's.

A folder is searched with all folders in it, links to folders among them; what is called as a picture
and is no file is refused, not left out, and so is a picture of another format; files of other kinds
(tables, notes) are passed over.  Pictures are taken in the order of their paths, evenly, up to
a number.  Each is reduced or enlarged until it covers the network's image, and cut to its
middle.  A network of one channel gets luminance.  An .npz file holds ``images`` (N, H, W, C) uint8
of just that size, with any number of channels.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accelsim.errors import InputError
from accelsim.files import IMAGES, PICTURE, check_regular
from accelsim.network.images import KEYS, checked_labels, read_labels
from accelsim.network.npz import read_npz
from accelsim.network.pictures import MAX_PIXELS, read_picture

ENDINGS = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"}
# of pictures that ``pictures.FORMATS`` leaves out
OTHER_ENDINGS = {
    ".gif",
    ".apng",
    ".heic",
    ".heif",
    ".avif",
    ".jxl",
    ".jp2",
    ".j2k",
    ".jpx",
    ".svg",
    ".psd",
    ".tga",
    ".ico",
} | {".eps", ".pcx", ".exr", ".hdr", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".dcm"}
MAX_FILES = 1_000_000
MAX_BYTES = 1 << 28  # of all pictures together, which become four times as many in float32


def read_samples(path: Path, shape: tuple[int, int, int], most: int) -> NDArray[np.uint8]:
    """At most so many pictures: (N, H, W, C) uint8.  shape: (H, W, C) of the network.

    Raises InputError, one line, if there are none, or they cannot be read or do not fit.
    """
    return read_labelled(path, shape, most, None)[0]


def read_labelled(
    path: Path, shape: tuple[int, int, int], most: int, labels: Path | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """As ``read_samples``, and what the pictures show: (N,).

    labels: a table with the columns ``file``, a path in the folder, and ``label``, as
    ``images.read_labels`` reads it; then only its pictures are taken.  Of an .npz file its own
    array ``labels``, if it has one.
    """
    most = min(most, max(1, MAX_BYTES // int(np.prod(shape))))
    if not path.exists():
        raise InputError(f"{path}: No such file or directory, expected a folder of pictures or an .npz file of images")
    if not path.is_dir():
        if labels is not None:
            raise InputError(f"{labels}: labels beside {path}, expected them in it, as the array 'labels'")
        return _of_file(path, shape, most)
    if shape[2] not in (1, 3):
        raise InputError(f"{path}: a network of {shape[2]} channels, expected an .npz file with images of as many")
    if labels is None:
        chosen = evenly(picture_files(path), most)
        return np.stack([_of_size(file, shape) for file in chosen]), None
    listed = read_labels(labels)
    label = dict(zip(listed.files, listed.labels, strict=True))
    chosen = evenly(sorted(listed.files), most)
    pictures = np.stack([_of_size(path / file, shape) for file in chosen])
    return pictures, np.array([label[file] for file in chosen], np.int64)


def picture_files(folder: Path) -> list[Path]:
    """All pictures in a folder, by their paths.

    Raises InputError if there are none, or a folder in it cannot be read or is met twice, by links.
    """
    files = []
    seen = {os.path.realpath(folder)}
    number = 0
    for place, folders, names in os.walk(folder, onerror=_unread, followlinks=True):
        number += len(names)
        if number > MAX_FILES:
            raise InputError(f"{folder}: over {MAX_FILES} files, expected fewer")
        for inner in folders:
            real = os.path.realpath(os.path.join(place, inner))
            if real in seen:
                raise InputError(f"{Path(place, inner)}: leads to a folder that is searched anyway, expected it once")
            seen.add(real)
        files += [path for name in names if is_picture(path := Path(place, name))]
    if not files:
        raise InputError(f"{folder}: no pictures, expected some ending in {', '.join(sorted(ENDINGS))}")
    return sorted(files)


def is_picture(path: Path) -> bool:
    """Whether a file is called as pictures are.

    Raises InputError if it is, and is no regular file or of a format that is not read.
    """
    ending = path.suffix.lower()
    if ending in OTHER_ENDINGS:
        raise InputError(f"{path}: a picture ending in {ending}, expected one ending in {', '.join(sorted(ENDINGS))}")
    if ending not in ENDINGS:
        return False
    check_regular(path, PICTURE)
    return True


def _unread(error: OSError) -> None:
    raise InputError(f"{error.filename}: {error.strerror}, expected a folder of pictures")


def evenly(files: Sequence[Path], most: int) -> list[Path]:
    """At most so many of the files, from first to last."""
    if len(files) <= most:
        return list(files)
    return [files[index] for index in np.linspace(0, len(files) - 1, most).round().astype(int)]


def _of_file(
    path: Path,
    shape: tuple[int, int, int],
    most: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    arrays = read_npz(path, IMAGES.most_bytes, IMAGES)
    images = arrays.get("images")
    if images is None:
        raise InputError(f"{path}: no array 'images' (found {', '.join(arrays)[:100] or 'none'})")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        wanted = ", ".join(map(str, shape))
        raise InputError(f"{path}: images is {images.dtype} {images.shape}, expected uint8 (N, {wanted})")
    if unknown := [key for key in arrays if key not in KEYS]:
        raise InputError(f"{path}: array {unknown[0][:60]!r} is not known, expected {', '.join(KEYS)}")
    labels = checked_labels(path, "labels", arrays.get("labels"), len(images))
    return images[:most], None if labels is None else labels[:most]


def _of_size(file: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A picture as (H, W, C)."""
    H, W, C = shape
    image = Image.fromarray(read_picture(file))
    if C == 1:
        image = image.convert("L")
    scale = max(H / image.height, W / image.width)
    if scale != 1:
        size = (max(W, round(image.width * scale)), max(H, round(image.height * scale)))
        if size[0] * size[1] > MAX_PIXELS:
            raise InputError(f"{file}: {image.height} x {image.width} pixels, too long and narrow for {H} x {W}")
        image = image.resize(size, Image.Resampling.BILINEAR)
    left = (image.width - W) // 2
    top = (image.height - H) // 2
    return np.asarray(image.crop((left, top, left + W, top + H))).reshape(shape)
