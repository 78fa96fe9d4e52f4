"""What a model variant is worth: its accuracy as a kind of machine computes it, its file size, its densities.

Word widths, where asked for: weights (in the domain they are stored in) and each convolution's inputs are rounded to
the machine's bits with one power-of-two scale a tensor (a Winograd tap), inputs by the largest of the batch.  Left out:
the widths of transformed inputs and of accumulators, which are exact at the defaults, and the fully connected layers.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from accelsim.arrays import Array
from accelsim.dual.coding.coders import decode, encode
from accelsim.dual.container import unpack
from accelsim.dual.deploy import density, transformed_convolution, winograd_filters
from accelsim.dual.manifest import MAX_MANIFEST_BYTES, parse_manifest
from accelsim.dual.quantizer import dyadic
from accelsim.errors import InputError
from accelsim.explore.space import Variant
from accelsim.explore.variants import thresholds, variant_densities, variant_model
from accelsim.files import DUAL, read_bytes
from accelsim.network import Network, Node, forward
from accelsim.network.forward import Convolution
from accelsim.network.images import LabelledImages, read_images
from accelsim.network.layers import Conv

IMAGES_AT_A_TIME = 50


def measure(
    variant: Variant,
    kind: str,
    m: int | None,
    images: Path,
    count: int | None,
    bits: tuple[int, int] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracy of a variant as a kind of machine computes it, its size and densities; and densities layer by layer.

    m: tile size of a Winograd machine.  count: of the first images, None for all.  bits: of weights and activations,
    None for float32.
    Returns ({top1 in percent, images, file_bytes, spatial_density, winograd_density}, {column: values}).
    Raises InputError if the images do not fit the model.
    """
    model = variant_model(variant)
    own = thresholds(variant, m)
    tiles = {name: m or model.winograd_m[name] for name in own}
    sample = _images(str(images))
    pixels = sample.pixels[:count]
    labels = sample.labels[:count]
    graph = model.network.graph
    if pixels.shape[1:] != graph.input_shape:
        raise InputError(f"{images}: images of {pixels.shape[1:]}, {graph.name} expects {graph.input_shape}")
    hits = 0
    network = model.network if bits is None or kind == "winograd" else _narrow(model.network, bits[0])
    convolution = _convolution(network, tiles if kind == "winograd" else {}, own, bits)
    with threadpool_limits(1, user_api="blas"):
        for first in range(0, len(pixels), IMAGES_AT_A_TIME):
            some = slice(first, first + IMAGES_AT_A_TIME)
            y = forward(network, graph.preprocessing.apply(pixels[some]), convolution=convolution)
            hits += int((y.argmax(axis=1) == labels[some]).sum())
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
    """Size of the variant's ``.dual`` file.  Thresholds cost nothing; weights pruned further are coded again."""
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


def _narrow(network: Network, bits: int) -> Network:
    """The network with its convolutions' weights rounded to some bits."""
    names = [f"{node.name}.weight" for node in network.graph.nodes if isinstance(node.layer, Conv)]
    arrays = dict(network.arrays) | {name: _rounded(network.arrays[name], bits) for name in names}
    return Network(network.graph, arrays)


def _rounded(x: Array, bits: int) -> Array:
    q, exponent = dyadic(x, bits)
    return (q * np.float32(2.0**exponent)).astype(np.float32)


def _convolution(
    network: Network, tiles: Mapping[str, int], own: Mapping[str, float], bits: tuple[int, int] | None
) -> Convolution:
    """A convolution that runs the layers of ``tiles`` on pruned Winograd-domain filters, each at its own threshold."""
    filters = {name: winograd_filters(network.arrays[f"{name}.weight"], m, own[name]) for name, m in tiles.items()}
    if bits is None:
        return transformed_convolution(filters, tiles)
    weight_bits, activation_bits = bits
    for W in filters.values():
        for i, j in np.ndindex(W.shape[2:]):
            W[:, :, i, j] = _rounded(np.ascontiguousarray(W[:, :, i, j]), weight_bits)
    exact = transformed_convolution(filters, tiles)

    def run(node: Node, x: Array, weight: Array) -> Array:
        return exact(node, _rounded(x, activation_bits), weight)

    return run
