"""The data folder named by ACCELSIM_DATA, read with NumPy and Pillow alone."""

import csv
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def data_folder() -> Path:
    """The folder, or skip the test."""
    if not os.environ.get("ACCELSIM_DATA"):
        pytest.skip("ACCELSIM_DATA names no data folder")
    return Path(os.environ["ACCELSIM_DATA"])


def cifar10_test(images):
    """The first test images: uint8 (N, 32, 32, 3), labels (N,)."""
    tiles = []
    for k in range(-(-images // 1000)):
        mosaic = np.asarray(Image.open(data_folder() / "cifar10" / f"test_{k:02d}.webp").convert("RGB"))
        tiles.append(mosaic.reshape(40, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3))
    return np.concatenate(tiles)[:images], np.arange(images) % 10


def imagenet_test(archive, every):
    """Every so many of the archive's test images, cropped to the centre: uint8 (N, 224, 224, 3), labels (N,)."""
    folder = data_folder() / "imagenet"
    rows = [r for r in csv.DictReader((folder / "labels.csv").open(encoding="utf-8")) if r["archive"] == archive]
    rows = [r for r in rows if r["split"] == "test"][::every]
    images = []
    with zipfile.ZipFile(folder / archive) as z:
        for row in rows:
            image = np.asarray(Image.open(io.BytesIO(z.read(row["file"]))).convert("RGB"))
            t = (len(image) - 224) // 2
            images.append(image[t : t + 224, t : t + 224])
    return np.stack(images), np.array([int(r["label"]) for r in rows])


def super_resolution(name):
    """The images of one set: {file: PIL image}."""
    with zipfile.ZipFile(data_folder() / "sr" / f"{name}.zip") as z:
        return {f: Image.open(io.BytesIO(z.read(f))).convert("RGB") for f in z.namelist()}
