"""Model variants: one ``.dual`` file, deployed at other thresholds or pruned further, and what that makes of it.

winograd_sparsity: the threshold is chosen so that this share of the Winograd-domain entries is
zero, for the tile size of the machine at hand, over the network (as the model was trained) or layer
by layer.  spatial_sparsity: the smallest weights are removed until this share of all convolution
and linear weights is zero; nothing is trained again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from accelsim.dual.deploy import percentile, pruned_further, sparsity_threshold, winograd_filters
from accelsim.dual.file import read_dual
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.explore.space import Variant
from accelsim.workload import LayerWork, layer_works, load_table, made_once

CACHED = 4  # variants kept in memory, each with the counts of its masks


@lru_cache(maxsize=CACHED)
def _original(path: str, sha256: str) -> DualModel:
    """The file's model.

    Raises InputError if it is not the file that the sweep was planned with.
    """
    model = read_dual(Path(path))
    if model.sha256 != sha256:
        raise changed(path, sha256)
    return model


def changed(path: str, sha256: str) -> InputError:
    """What to raise for another file than the sweep was planned with."""
    return InputError(f"{path}: is not the file the sweep began with, expected one with SHA-256 {sha256[:12]}...")


@lru_cache(maxsize=CACHED)
def variant_model(variant: Variant) -> DualModel:
    """The model with its weights pruned further, if the variant says so."""
    model = _original(variant.path, variant.sha256)
    if variant.spatial_sparsity is None:
        return model
    return pruned_further(model, variant.spatial_sparsity)


@lru_cache(maxsize=64)
def thresholds(variant: Variant, m: int | None) -> Mapping[str, float]:
    """Threshold of each Winograd-eligible convolution at tile size m, by node name; None.

    Of the file's own tiles.
    """
    model = variant_model(variant)
    names = list(model.winograd_m)
    if variant.winograd_sparsity is None:
        given = variant.winograd_threshold
        result = dict.fromkeys(names, model.winograd_threshold if given is None else given)
    elif variant.scope == "network":
        result = dict.fromkeys(names, sparsity_threshold(model, variant.winograd_sparsity, m))
    else:
        result = {}
        for name in names:
            W = winograd_filters(model.network.arrays[f"{name}.weight"], m or model.winograd_m[name], 0.0)
            result[name] = percentile({name: np.abs(W)}, variant.winograd_sparsity)
    unknown = [name for name, _ in variant.layer_thresholds if name not in result]
    if unknown:
        raise InputError(f"{variant.path}: layer_thresholds: {unknown[0]!r} is no convolution that Winograd can serve")
    return result | dict(variant.layer_thresholds)


@lru_cache(maxsize=CACHED)
def _table_works(variant: Variant, batch: int) -> Sequence[LayerWork]:
    table = load_table(Path(variant.path))
    if table.sha256 != variant.sha256:
        raise changed(variant.path, variant.sha256)
    return made_once(layer_works(table, batch))


@lru_cache(maxsize=CACHED)
def variant_works(variant: Variant, m: int | None, batch: int) -> Sequence[LayerWork]:
    """Layer works of the variant for machines of tile size m; a machine without tiles has None.

    Built once for each process, unless they are those of a very large table: they keep the counts
    of their masks, which all machines share.
    """
    if variant.is_table:
        return _table_works(variant, batch)
    works = layer_works(variant_model(variant), batch)
    own = thresholds(variant, m)
    return tuple(
        work if work.winograd_threshold is None else replace(work, winograd_threshold=own[work.name]) for work in works
    )


@lru_cache(maxsize=64)
def variant_densities(variant: Variant, m: int | None, batch: int = 1) -> Mapping[str, float]:
    """Density of each eligible convolution's pruned Winograd-domain filters, by node name.

    Counted with the works.
    """
    model = variant_model(variant)
    densities = {}
    for work in variant_works(variant, m, batch):
        if work.winograd_threshold is not None and work.weights is not None:
            kept = work.block_nonzeros(m or model.winograd_m[work.name])
            densities[work.name] = int(kept.sum()) / (len(kept) * work.weights.shape[0] * work.weights.shape[1])
    return densities
