"""Labelled images from disk, as uint8 arrays; relative paths start at the folder named by ACCELSIM_DATA."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from accelsim.errors import InputError
from accelsim.training.augment import Pixels

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """pixels: (N, H, W, C) uint8, RGB; labels: (N,) int64."""

    pixels: Pixels
    labels: Labels


def resolve(path: str) -> Path:
    """The path, taken from the data folder if it is relative.  Raises InputError if that folder is not known."""
    if Path(path).is_absolute():
        return Path(path)
    root = os.environ.get("ACCELSIM_DATA")
    if not root:
        raise InputError(f"{path}: a relative data path, expected the environment variable ACCELSIM_DATA to name its folder")
    return Path(root) / path


def cifar10(folder: Path, split: str) -> Images:
    """CIFAR-10 from lossless mosaics of 40 x 25 images; image i has label i mod 10.  split: train or test."""
    parts = []
    for k in range(10 if split == "test" else 50):
        mosaic = open_image(folder / f"{split}_{k:02d}.webp")
        if mosaic.shape != (1280, 800, 3):
            raise InputError(f"{folder / f'{split}_{k:02d}.webp'}: {mosaic.shape} pixels, expected (1280, 800, 3)")
        parts.append(mosaic.reshape(40, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3))
    pixels = np.concatenate(parts)
    return Images(pixels, np.arange(len(pixels)) % 10)


def open_image(path: Path) -> Pixels:
    """One image as (H, W, 3) uint8.  Raises InputError if it is missing or no image."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        raise InputError(f"{path}: no image that Pillow can read") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected an image") from None


def from_npz(path: Path, split: str) -> Images:
    """Arrays SPLIT_images (N, H, W, C) uint8 and SPLIT_labels (N,) of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as content:
            pixels: NDArray[Any] = content[f"{split}_images"]
            labels: NDArray[Any] = content[f"{split}_labels"]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected an .npz file") from None
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}, expected {split}_images and {split}_labels") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or labels.shape != pixels.shape[:1]:
        raise InputError(f"{path}: {split}_images is {pixels.dtype} {pixels.shape}, expected (N, H, W, C) uint8 and N labels")
    return Images(pixels, labels.astype(np.int64))
