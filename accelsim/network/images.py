"""Labelled images to run a network on.

From an .npz file, or from a folder of pictures with a labels.csv.

FILE.npz holds ``images`` (N, H, W, 3) uint8 RGB, ``labels`` (N,) integers, and possibly
``reference`` (N,) integers: what the uncompressed network answered.  A folder holds ``labels.csv``
with the columns ``file`` and ``label`` (and possibly ``reference``) and the pictures it names, all
of one size, in a format of ``pictures.FORMATS``.  An array or a column of another name is refused.

What a network that gives pictures is measured on is another .npz file: ``images`` (N, H, W, C) as
they enter, e.g. the luminance of enlarged pictures, ``targets`` as they should come out, and
possibly ``reference``, what the uncompressed network made of them, all uint8.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.csv_rows import csv_rows
from accelsim.errors import InputError
from accelsim.files import IMAGES, LABELS, atomic_write, read_text
from accelsim.network.npz import read_npz
from accelsim.network.pictures import read_picture

KEYS = ("images", "labels", "reference")
PAIR_KEYS = ("images", "targets", "reference")
COLUMNS = ("file", "label", "reference")
MAX_BYTES = IMAGES.most_bytes  # of all pixels together
MAX_LABEL = 1_000_000
_Row = tuple[int, dict[str, str]]  # its number, its cells by column


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Pictures and what they show.

    pixels: (N, H, W, 3) uint8 RGB; labels: (N,) int64; reference: (N,) int64, the uncompressed
    network's answers.
    source: the file or folder, for messages.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    reference: NDArray[np.int64] | None = None
    source: str = "images"


@dataclass(frozen=True, eq=False)
class PicturePairs:
    """Pictures and what a network is to make of them.

    pixels: (N, H, W, C) uint8; targets: (N, P, Q, K) uint8; reference: as targets, the uncompressed
    network's outputs.
    source: the file, for messages.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    reference: NDArray[np.uint8] | None = None
    source: str = "images"


def read_pairs(path: Path) -> PicturePairs:
    """The pictures of an .npz file.

    Raises InputError, one line, if anything about them is wrong.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected an .npz file with images and targets for a network of pictures")
    arrays = read_npz(path, MAX_BYTES, IMAGES)
    if missing := [key for key in PAIR_KEYS[:2] if key not in arrays]:
        raise InputError(f"{path}: no array {missing[0]!r} (found {', '.join(arrays)[:100] or 'none'})")
    if unknown := [key for key in arrays if key not in PAIR_KEYS]:
        raise InputError(f"{path}: array {unknown[0][:60]!r} is not known, expected {', '.join(PAIR_KEYS)}")
    for key, array in arrays.items():
        if array.dtype != np.uint8 or array.ndim != 4 or not array.size or len(array) != len(arrays["images"]):
            count = len(arrays["images"]) if arrays["images"].ndim else 0
            raise InputError(f"{path}: {key} is {array.dtype} {array.shape}, expected uint8 ({count}, H, W, C)")
    return PicturePairs(arrays["images"], arrays["targets"], arrays.get("reference"), str(path))


def read_images(path: Path, size: tuple[int, int] | None = None) -> LabelledImages:
    """The images of an .npz file or of a folder.

    size: the (H, W) that pictures of a folder must have, known before one is decoded; by default
    the first one's.
    Raises InputError, one line, if anything about them is wrong.
    """
    return _read_folder(path, size) if path.is_dir() else _read_file(path)


def write_images(path: Path, images: LabelledImages) -> None:
    """Write an .npz file that ``read_images`` reads, atomically; the same images give the same bytes."""
    small = np.uint8 if max(_largest(images.labels), _largest(images.reference)) < 256 else np.uint32
    arrays: dict[str, Any] = {"images": images.pixels, "labels": images.labels.astype(small)}
    if images.reference is not None:
        arrays["reference"] = images.reference.astype(small)
    with atomic_write(path) as stream:
        np.savez_compressed(stream, **arrays)


def _largest(labels: NDArray[np.int64] | None) -> int:
    return 0 if labels is None else int(labels.max(initial=0))


def _read_file(path: Path) -> LabelledImages:
    arrays = read_npz(path, MAX_BYTES, IMAGES)
    if missing := [key for key in ("images", "labels") if key not in arrays]:
        raise InputError(f"{path}: no array {missing[0]!r} (found {', '.join(arrays)[:100] or 'none'})")
    if unknown := [key for key in arrays if key not in KEYS]:
        raise InputError(f"{path}: array {unknown[0][:60]!r} is not known, expected {', '.join(KEYS)}")
    pixels = arrays["images"]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or not pixels.size:
        raise InputError(f"{path}: images is {pixels.dtype} {pixels.shape}, expected uint8 (N, H, W, 3)")
    labels, reference = (checked_labels(path, key, arrays.get(key), len(pixels)) for key in ("labels", "reference"))
    assert labels is not None
    return LabelledImages(pixels, labels, reference, str(path))


def checked_labels(
    path: Path,
    key: str,
    array: NDArray[Any] | None,
    images: int,
) -> NDArray[np.int64] | None:
    """An array of an .npz file as labels (N,).  Raises InputError if it is none."""
    if array is None:
        return None
    if array.dtype.kind not in "iu" or array.shape != (images,):
        raise InputError(f"{path}: {key} is {array.dtype} {array.shape}, expected ({images},) integers")
    if array.min() < 0 or array.max() > MAX_LABEL:
        raise InputError(f"{path}: {key} holds {array.min()} to {array.max()}, expected 0 to {MAX_LABEL}")
    return array.astype(np.int64)


def _read_folder(folder: Path, size: tuple[int, int] | None) -> LabelledImages:
    table = folder / "labels.csv"
    if not table.exists():
        raise InputError(
            f"{table}: No such file or directory, expected a table with the columns file and label "
            "(pictures without labels are enough for sparsify and explore)"
        )
    listed = read_labels(table)
    pixels: NDArray[np.uint8] | None = None
    for index, file in enumerate(listed.files):
        image = read_picture(folder / file, size)
        if pixels is None:
            if len(listed.files) * image.size > MAX_BYTES:
                raise InputError(
                    f"{table}: {len(listed.files)} images of {image.size} bytes, expected {MAX_BYTES} in all"
                )
            pixels = np.empty((len(listed.files), *image.shape), np.uint8)
            size = (image.shape[0], image.shape[1])  # of all
        pixels[index] = image
    assert pixels is not None
    return LabelledImages(pixels, listed.labels, listed.reference, str(folder))


@dataclass(frozen=True, eq=False)
class Labels:
    """What a labels.csv lists: pictures by their paths in its folder, and their labels and reference (N,) int64."""

    files: Sequence[Path]
    labels: NDArray[np.int64]
    reference: NDArray[np.int64] | None


def read_labels(table: Path) -> Labels:
    """The rows of a table with the columns file and label, and possibly reference, at least one.

    Raises InputError that names the row, if a column is not known or missing, a picture lies
    elsewhere or is listed twice, or a label is no whole number from 0.
    """
    numbered = csv_rows(table, read_text(table, LABELS))
    found = numbered[0][1] if numbered else []
    _check_columns(table, found)
    rows = []
    for number, cells in numbered[1:]:
        if len(cells) > len(found):
            raise InputError(f"{table}: row {number}: more cells than the {len(found)} of the header")
        rows.append((number, dict(itertools.zip_longest(found, cells, fillvalue=""))))
    if not rows:
        raise InputError(f"{table}: no rows, expected one an image")
    return Labels(
        files=_files(table, rows),
        labels=_column(table, rows, "label"),
        reference=_column(table, rows, "reference") if "reference" in found else None,
    )


def _check_columns(table: Path, found: Sequence[str]) -> None:
    for column in ("file", "label"):
        if column not in found:
            raise InputError(f"{table}: no column {column!r} (found {', '.join(found)[:100] or 'none'})")
    if unknown := [column for column in found if column not in COLUMNS]:
        raise InputError(f"{table}: column {unknown[0][:60]!r} is not known, expected {', '.join(COLUMNS)}")
    if len(set(found)) < len(found):
        raise InputError(f"{table}: two columns have one name (found {', '.join(found)}), expected each once")


def _files(table: Path, rows: Sequence[_Row]) -> list[Path]:
    files: dict[str, int] = {}  # no paths: of those a long table has a good many
    for number, row in rows:
        parts = row["file"].split("/")
        file = "/".join(part for part in parts if part not in ("", "."))
        if not row["file"] or not parts[0] or ".." in parts:
            raise InputError(
                f"{table}: row {number}, column 'file': {row['file'][:100]!r}, expected a picture in the folder"
            )
        if (before := files.setdefault(file, number)) != number:
            raise InputError(
                f"{table}: row {number}, column 'file': {row['file'][:100]!r} is that of row {before}, too"
            )
    return [Path(file) for file in files]


def _column(table: Path, rows: Sequence[_Row], column: str) -> NDArray[np.int64]:
    values = []
    for number, row in rows:
        text = row[column].strip()
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= MAX_LABEL):
            raise InputError(
                f"{table}: row {number}, column {column!r}: {text[:40]!r}, expected a whole number of 0 to {MAX_LABEL}"
            )
        values.append(int(text))
    return np.array(values, np.int64)
