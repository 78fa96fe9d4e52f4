"""Model variants: one ``.dual`` file, deployed at other thresholds or pruned further, and what that makes of it.

winograd_sparsity: the threshold is chosen so that this share of the Winograd-domain entries is
zero, for the tile size of the machine at hand, over the network (as the model was trained) or layer
by layer.  spatial_sparsity: the smallest weights are removed until this share of all convolution
and linear weights is zero; nothing is trained again.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from accelsim.dual.deploy import at_other_zeros, pruned_further
from accelsim.dual.file import read_dual
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.explore.space import Variant
from accelsim.workload import LayerWork, layer_works, load_table, made_once

CACHED = 4  # variants kept in memory, each with the counts of its masks


@lru_cache(maxsize=CACHED)
def _original(path: str, sha256: str) -> DualModel:
    """The model of a sweep's file as it is, not pruned further.

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
def deployed(variant: Variant, m: int | None) -> DualModel:
    """The model as machines of tile size m have it; None: of the file's own tiles.

    Raises InputError if it has not a layer that the variant names.
    """
    try:
        return at_other_zeros(
            variant_model(variant),
            m,
            threshold=variant.winograd_threshold,
            sparsity=variant.winograd_sparsity,
            scope="layer" if variant.scope == "layer" else "network",
            layers=dict(variant.layer_thresholds),
        )
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{variant.path}: layer_thresholds: {error}") from None


def thresholds(variant: Variant, m: int | None) -> Mapping[str, float]:
    """Threshold of each Winograd-eligible convolution at tile size m (``deployed``), by node name."""
    model = deployed(variant, m)
    return {name: model.threshold_of(name) for name in model.winograd_m}


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
    return layer_works(deployed(variant, m), batch)


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
