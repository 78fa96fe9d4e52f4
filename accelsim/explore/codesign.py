"""What a model variant is worth.

Its accuracy as a kind of machine computes it, its file size, its densities.

Accuracy is that of a machine's whole numbers (``accelsim.datapath``) where it is asked for, else
that of float32 in the machine's domain.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from accelsim.arrays import Array
from accelsim.datapath.calibrate import IMAGES as CALIBRATION_IMAGES
from accelsim.datapath.calibrate import calibrate
from accelsim.datapath.execute import run_integers
from accelsim.datapath.floating import winograd_part
from accelsim.datapath.program import IntegerProgram, build
from accelsim.datapath.stored import stored
from accelsim.dual.coding.coders import decode, encode
from accelsim.dual.container import unpack
from accelsim.dual.deploy import density
from accelsim.dual.manifest import MAX_MANIFEST_BYTES, parse_manifest
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.explore.space import Variant
from accelsim.explore.variants import thresholds, variant_densities, variant_model
from accelsim.files import DUAL, read_bytes
from accelsim.hardware.datapath import Datapath
from accelsim.network import forward
from accelsim.network.images import LabelledImages, read_images

IMAGES_AT_A_TIME = 50


def measure(
    variant: Variant,
    kind: str,
    m: int | None,
    images: Path,
    count: int | None,
    datapath: Datapath | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracy of a variant as a kind of machine computes it, its size and densities.

    And densities layer by layer.

    m: tile size of a Winograd machine.  count: of the first images, None for all.  datapath: of a
    machine whose whole numbers are run, their scales from the first of the images if the file has
    none; None for float32.
    Returns ({top1 in percent, images, file_bytes, spatial_density, winograd_density}, {column:
    values}).
    Raises InputError if the images do not fit the model.
    """
    model = variant_model(variant)
    tiles = {name: m or model.winograd_m[name] for name in thresholds(variant, m)}
    sample = _images(str(images))
    pixels = sample.pixels[:count]
    labels = sample.labels[:count]
    graph = model.network.graph
    if pixels.shape[1:] != graph.input_shape:
        raise InputError(f"{images}: images of {pixels.shape[1:]}, {graph.name} expects {graph.input_shape}")
    hits = _right(variant, model, kind, m, LabelledImages(pixels, labels), datapath)
    arrays = model.network.arrays
    weights = {n.name: arrays[f"{n.name}.weight"] for n in graph.nodes if n.layer.op in ("conv", "linear")}
    winograd = variant_densities(variant, m)
    entries = {name: _winograd_entries(weights[name], tiles[name]) for name in winograd}
    nonzeros = sum(np.count_nonzero(w) for w in weights.values())
    total: dict[str, Any] = {
        "top1": 100 * hits / len(labels),
        "images": len(labels),
        "file_bytes": file_bytes(variant),
        "spatial_density": nonzeros / sum(w.size for w in weights.values()),
    }
    if kind == "winograd":
        total["winograd_density"] = sum(winograd[n] * entries[n] for n in winograd) / max(1, sum(entries.values()))
    layers = {
        "name": list(weights),
        "spatial_density": [density(w) for w in weights.values()],
        "winograd_density": [winograd.get(name) for name in weights],
    }
    return total, layers


def _winograd_entries(weight: Array, m: int) -> int:
    K, C, R, S = weight.shape
    return int(K * C * (m + R - 1) * (m + S - 1))


def file_bytes(variant: Variant) -> int:
    """Size of the variant's ``.dual`` file.

    Thresholds cost nothing; weights pruned further are coded again.
    """
    model = variant_model(variant)
    if variant.spatial_sparsity is None:
        return model.file_bytes
    members = unpack(read_bytes(Path(variant.path), DUAL), MAX_MANIFEST_BYTES)
    manifest = parse_manifest(members["manifest.json"])
    names = manifest.weight_names
    indices, _ = decode(members["weights"], [manifest.graph.parameters[name] for name in names], manifest.coder)
    arrays = model.network.arrays
    kept = [np.where(arrays[name] == 0, 0, n).astype(n.dtype) for name, n in zip(names, indices, strict=True)]
    weights, _ = encode(kept, manifest.coder)
    return int(model.file_bytes - len(members["weights"]) + len(weights))


@lru_cache(maxsize=2)
def _images(path: str) -> LabelledImages:
    return read_images(Path(path))


def _right(
    variant: Variant,
    model: DualModel,
    kind: str,
    m: int | None,
    images: LabelledImages,
    datapath: Datapath | None,
) -> int:
    """How many images are answered right, in float32 or in whole numbers."""
    own = thresholds(variant, m)
    if datapath is None:
        datapath = Datapath("machine", "winograd" if kind == "winograd" else "spatial", m=m, number="fp32")
    datapath = replace(datapath, layer_thresholds=tuple(sorted(own.items())))
    graph = model.network.graph
    run: Callable[[Array], Array]
    if datapath.number == "int":
        known = stored(model, datapath)
        found = calibrate(model, datapath, images.pixels[:CALIBRATION_IMAGES]) if known is None else known[0]
        run = partial(_whole, build(model, datapath, found))
    else:
        convolution = winograd_part(model, datapath) if datapath.kind == "winograd" else None
        run = partial(forward, model.network, convolution=convolution)
    hits = 0
    with threadpool_limits(1, user_api="blas"):
        for first in range(0, len(images.pixels), IMAGES_AT_A_TIME):
            some = slice(first, first + IMAGES_AT_A_TIME)
            y = run(graph.preprocessing.apply(images.pixels[some]))
            hits += int((y.argmax(axis=1) == images.labels[some]).sum())
    return hits


def _whole(program: IntegerProgram, x: Array) -> Array:
    return run_integers(program, x)[0]
