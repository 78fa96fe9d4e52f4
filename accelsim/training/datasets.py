"""Labelled images from disk, as uint8 arrays.

Relative paths start at the folder named by ACCELSIM_DATA.
"""

import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accelsim.arrays import Ints
from accelsim.csv_rows import csv_rows
from accelsim.errors import InputError
from accelsim.files import ARCHIVE, DATA, LABELS, PICTURE, opened, read_text
from accelsim.network.images import MAX_LABEL, checked_labels
from accelsim.network.npz import DAMAGED, read_npz
from accelsim.network.pictures import decode, read_picture
from accelsim.network.samples import ENDINGS, is_picture
from accelsim.training.augment import Pixels
from accelsim.training.recipe import Data

LISTED = ("archive", "file", "label", "split")  # columns of the table of archives
CREDITS = ("licence_url", "author", "landing_url")  # columns that say whose an image is
SPLITS = ("calibration", "test")
NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
DECODERS = 4  # threads that decode image files


@dataclass(frozen=True)
class Images:
    """Images of one size, with labels."""

    pixels: Pixels  # (N, H, W, C), RGB
    labels: Ints  # (N,)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Ints, rng: np.random.Generator | None = None) -> Pixels:
        """The images at ``index``."""
        return self.pixels[index]

    def first(self, count: int) -> "Images":
        """The first ``count`` images."""
        return Images(self.pixels[:count], self.labels[:count])


@dataclass(frozen=True)
class Folder:
    """Image files of any size, decoded when taken.

    In training a random part of 8 to 100 % of the area and 3:4 to 4:3 in shape (Szegedy et al.
    2015), otherwise the central 7/8 of the shorter side; both resized to ``size``.
    """

    paths: tuple[Path, ...]
    labels: Ints  # (N,)
    size: tuple[int, int]  # height and width in pixels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Ints, rng: np.random.Generator | None = None) -> Pixels:
        """The images at ``index``, decoded by a few threads; each has its own random numbers."""
        seeds = rng.integers(0, 2**63, len(index)) if rng is not None else [None] * len(index)
        with ThreadPoolExecutor(DECODERS) as pool:
            return np.stack(list(pool.map(self._one, index.tolist(), seeds)))

    def _one(self, i: int, seed: int | None) -> Pixels:
        image = Image.fromarray(open_image(self.paths[i]))
        box = _central(image.size, self.size) if seed is None else _part(image.size, np.random.default_rng(seed))
        return np.asarray(image.resize(self.size[::-1], Image.Resampling.BILINEAR, box=box))

    def first(self, count: int) -> "Folder":
        """The first ``count`` images."""
        return Folder(self.paths[:count], self.labels[:count], self.size)


Source = Images | Folder


def _central(have: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box of size's shape that, scaled up 8/7, just fits into an image.

    (left, top, right, bottom).  have: (W, H) of the image.
    """
    scale = min(have[0] / size[1], have[1] / size[0]) * 7 / 8
    width = scale * size[1]
    height = scale * size[0]
    left = (have[0] - width) / 2
    top = (have[1] - height) / 2
    return left, top, left + width, top + height


def _part(have: tuple[int, int], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A random box; the whole image's shape bounds it."""
    area = have[0] * have[1] * rng.uniform(0.08, 1)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(np.sqrt(area * ratio), have[0])
    height = min(np.sqrt(area / ratio), have[1])
    left = rng.uniform(0, have[0] - width)
    top = rng.uniform(0, have[1] - height)
    return left, top, left + width, top + height


def load_split(data: Data, split: str, shape: tuple[int, int, int], classes: int) -> Source:
    """The images of one split, ``train`` or ``test``.

    shape: the network's (H, W, C); classes: its outputs.  Raises InputError if a file is missing or
    does not fit them.
    """
    size = shape[:2]
    path = resolve(data.path)
    source: Source
    if data.kind == "cifar10":
        source = cifar10(path, split)
    elif data.kind == "npz":
        source = from_npz(path, split)
    elif data.kind == "archives":
        source = archives(path, {"train": "calibration", "test": "test"}[split], size)
    else:
        source = folder(path / {"train": "train", "test": "val"}[split], size)
    found = source.pixels.shape[1:] if isinstance(source, Images) else (*size, 3)
    if found != shape:
        raise InputError(f"{path}: images of {found}, expected {shape} for the network")
    if source.labels.min() < 0 or source.labels.max() >= classes:
        raise InputError(f"{path}: labels up to {source.labels.max()}, expected 0 to {classes - 1} for the network")
    limit = data.limit if split == "train" or data.test_limit is None else data.test_limit
    return source if limit is None else source.first(limit)


def folder(path: Path, size: tuple[int, int]) -> Folder:
    """ImageNet's layout: one folder a class, in alphabetical order, each with its images.

    Raises InputError if a class has none, or something that is no folder is called as a picture
    beside them or is a link to nothing: labels are the folders' numbers.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder, expected one folder a class with its images")
    paths = []
    labels = []
    expected = f"files ending in {', '.join(sorted(ENDINGS))}"
    classes = sorted(entry.name for entry in path.iterdir() if _is_class(entry))
    for label, name in enumerate(classes):
        images = sorted(file for file in (path / name).iterdir() if is_picture(file))
        if not images:
            raise InputError(f"{path / name}: a class without images, expected {expected}")
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise InputError(f"{path}: holds no images, expected one folder a class with {expected}")
    return Folder(tuple(paths), np.array(labels, np.int64), size)


def _is_class(entry: Path) -> bool:
    """Whether it is a folder.  Raises InputError if it is a picture, or leads nowhere."""
    if entry.is_dir():
        return True
    if entry.suffix.lower() in ENDINGS or not entry.exists():
        raise InputError(f"{entry}: beside the folders of the classes, expected folders only")
    return False


def archives(path: Path, split: str, size: tuple[int, int]) -> Images:
    """Zip archives of images, listed in labels.csv by archive, file, label and split.

    Their centres of ``size`` are read.
    """
    listing = path / "labels.csv"
    pixels = []
    labels = []
    rows = _archive_rows(listing)
    try:
        with ExitStack() as stack:
            zips: dict[str, zipfile.ZipFile] = {}
            for row, label in rows:
                if row["split"] != split:
                    continue
                name = row["archive"]
                if Path(name).name != name:
                    raise InputError(f"{listing}: archive {name[:100]!r}, expected the name of a file beside it")
                if name not in zips:
                    stream = stack.enter_context(opened(path / name, ARCHIVE))
                    zips[name] = stack.enter_context(zipfile.ZipFile(stream))
                if zips[name].getinfo(row["file"]).file_size > PICTURE.most_bytes:
                    raise InputError(f"{path / name}: {row['file'][:100]!r} is over {PICTURE.most_bytes} bytes")
                whole = decode(io.BytesIO(zips[name].read(row["file"])), f"{path / name}: {row['file']}")
                top = (whole.shape[0] - size[0]) // 2
                left = (whole.shape[1] - size[1]) // 2
                if min(top, left) < 0:
                    raise InputError(
                        f"{path / row['archive']}: {row['file']} is {whole.shape}, expected at least {size}"
                    )
                pixels.append(whole[top : top + size[0], left : left + size[1]])
                labels.append(label)
    except OSError as error:
        raise InputError(f"{error.filename or listing}: {error.strerror or error}, expected images' archives") from None
    except (KeyError, TypeError, *DAMAGED) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{listing}: {error}, expected columns archive, file, label and split") from None
    if not pixels:
        raise InputError(f"{listing}: no row with split={split}")
    return Images(np.stack(pixels), np.array(labels, np.int64))


def _archive_rows(listing: Path) -> list[tuple[dict[str, str], int]]:
    """The rows of a table of archives by column, each with its label.

    Raises InputError that names the row, unless it has the columns of ``LISTED``, none but these
    and ``CREDITS``, a whole number as its label and a known split.
    """
    (_, header), *numbered = csv_rows(listing, read_text(listing, LABELS)) or [(1, [])]
    if set(header) - set(CREDITS) != set(LISTED) or len(set(header)) < len(header):
        raise InputError(f"{listing}: columns {', '.join(header)[:200]}, expected {', '.join(LISTED)}")
    rows = []
    for number, cells in numbered:
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header):
            raise InputError(f"{listing}: row {number}: {len(cells)} cells, expected {len(header)}")
        text = row["label"]
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= MAX_LABEL):
            raise InputError(f"{listing}: row {number}, column 'label': {text[:40]!r}, expected 0 to {MAX_LABEL}")
        if row["split"] not in SPLITS:
            raise InputError(
                f"{listing}: row {number}, column 'split': {row['split'][:40]!r}, expected {' or '.join(SPLITS)}"
            )
        rows.append((row, int(text)))
    return rows


def resolve(path: str) -> Path:
    """The path, from the data folder if it is relative.

    From the working directory if it begins with ``./``.

    Raises InputError if the data folder is not known.
    """
    if Path(path).is_absolute() or path.startswith("./"):
        return Path(path)
    root = os.environ.get("ACCELSIM_DATA")
    if not root:
        expected = "the environment variable ACCELSIM_DATA to name its folder"
        raise InputError(f"{path}: a relative data path, expected {expected}")
    return Path(root) / path


def cifar10(folder: Path, split: str) -> Images:
    """CIFAR-10 from lossless mosaics of 40 x 25 images; image i has label i mod 10.

    split: train or test.
    """
    parts = []
    for k in range(10 if split == "test" else 50):
        path = folder / f"{split}_{k:02d}.webp"
        mosaic = open_image(path)
        if mosaic.shape != (1280, 800, 3):
            raise InputError(f"{path}: {mosaic.shape} pixels, expected (1280, 800, 3)")
        parts.append(mosaic.reshape(40, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3))
    pixels = np.concatenate(parts)
    return Images(pixels, np.arange(len(pixels)) % 10)


def open_image(path: Path) -> Pixels:
    """One image as (H, W, 3) uint8.  Raises InputError if it is missing or no image."""
    return read_picture(path)


def from_npz(path: Path, split: str) -> Images:
    """Arrays SPLIT_images (N, H, W, C) uint8 and SPLIT_labels (N,) of an .npz file."""
    arrays = read_npz(path, DATA.most_bytes, DATA)
    if unknown := [key for key in arrays if key not in NPZ_KEYS]:
        raise InputError(f"{path}: array {unknown[0][:60]!r} is not known, expected {', '.join(NPZ_KEYS)}")
    try:
        pixels: NDArray[Any] = arrays[f"{split}_images"]
        labels: NDArray[Any] = arrays[f"{split}_labels"]
    except KeyError as error:
        raise InputError(f"{path}: no array {error}, expected {split}_images and {split}_labels") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not pixels.size or labels.shape != pixels.shape[:1]:
        found = f"{split}_images is {pixels.dtype} {pixels.shape}"
        raise InputError(f"{path}: {found}, expected (N, H, W, C) uint8 and N labels")
    checked = checked_labels(path, f"{split}_labels", labels, len(pixels))
    assert checked is not None
    return Images(pixels, checked)
