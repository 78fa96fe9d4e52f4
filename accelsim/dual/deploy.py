"""From one decoded model to either machine, without data.

Spatial filters as they are, or Winograd-domain filters.

    W = G w G^T per 2-D slice, zero where |W| <= threshold          (Choi et al., arXiv:1902.08192)

The threshold belongs to the scaling of G that ``accelsim.transforms.winograd`` states, and to the
tile size m it was trained for; at any other m or target sparsity the density that results is the
caller's to look at.  The transform is summed in one order in float64 and rounded once to float32,
so that values and masks are the same on every machine (a BLAS is free to sum in another).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from accelsim.arrays import Array, Flags, Floats
from accelsim.dual.manifest import weight_names
from accelsim.dual.model import DualModel, winograd_eligible
from accelsim.faults import nearest, shown
from accelsim.network import Network, Node
from accelsim.network.forward import Convolution, convolve
from accelsim.network.layers import Conv
from accelsim.transforms.winograd import POINTS, Points, convolve_transformed, matrices

Scope = Literal["network", "layer"]
LARGEST_THRESHOLD = float(np.finfo(np.float32).max)  # entries are float32
BLOCK_FILTERS = 1 << 13  # transformed at a time: what their taps take stays in a core's cache


def winograd_filters(weights: Array, m: int, threshold: float, points: Points | None = None) -> Array:
    """The pruned Winograd-domain filters of F(m x m, R x S).

    weights: (K, C / groups, R, S) float32 -> (K, C / groups, m + R - 1, m + S - 1) float32, 0 where
    |W| <= threshold. In memory it lies tap by tap.  points: interpolation points instead of the
    default ones, with the scaling of G that belongs to them.
    """
    K, C, R, S = weights.shape
    W = np.empty((m + R - 1, m + S - 1, K * C), np.float32)
    for at, block, tap in _taps(weights, m, points):
        tap[np.abs(tap) <= np.float32(threshold)] = 0
        W[at][block] = tap
    return W.reshape(*W.shape[:2], K, C).transpose(2, 3, 0, 1)


def winograd_mask(weights: Array, m: int, threshold: float, points: Points | None = None) -> Flags:
    """Where ``winograd_filters`` is not zero, tap by tap: (taps, K, C / groups) bool."""
    K, C, R, S = weights.shape
    mask = np.empty((m + R - 1, m + S - 1, K * C), bool)
    for at, block, tap in _taps(weights, m, points):
        np.greater(np.abs(tap, out=tap), np.float32(threshold), out=mask[at][block])
    return mask.reshape(-1, K, C)


def _taps(weights: Array, m: int, points: Points | None) -> Iterator[tuple[tuple[int, int], slice, Array]]:
    """Each tap of the transformed filters, some filters at a time: which tap, which filters, and their entries."""
    K, C, R, S = weights.shape
    G_h, G_w = (matrices(m, r, np.dtype(np.float64), points)[1] for r in (R, S))
    filters = weights.reshape(K * C, R, S).transpose(1, 2, 0)
    for first in range(0, K * C, BLOCK_FILTERS):
        block = slice(first, first + BLOCK_FILTERS)
        w = filters[:, :, block].astype(np.float64, order="C")
        for i, coefficients in enumerate(G_h):
            rows = _combination(coefficients, w)
            for j, coefficients in enumerate(G_w):
                yield (i, j), block, _combination(coefficients, rows).astype(np.float32)


def _combination(coefficients: Floats, taps: Floats) -> Floats:
    """The sum of coefficients times taps, in order; no row of G is all zero.  taps: (r, ...)."""
    (first, tap), *rest = [(g, tap) for g, tap in zip(coefficients, taps, strict=True) if g]
    total = first * tap
    for g, tap in rest:
        total += g * tap
    return np.asarray(total)


def tile_sizes(model: DualModel, m: int | None = None) -> dict[str, int]:
    """m of each Winograd-eligible convolution, by node name.

    The model's own, or ``m`` for all of them.

    Convolutions whose kernel is too large for F(m, r) are left out: they run directly.
    Raises ValueError if m is below 1.
    """
    if m is not None and m < 1:
        raise ValueError(f"the output tile size m must be at least 1, got {m}")
    eligible = {node.name: node.layer for node in model.network.graph.nodes if winograd_eligible(node)}
    asked = dict(model.winograd_m) if m is None else dict.fromkeys(eligible, m)
    found = {}
    for name, size in asked.items():
        layer = eligible[name]
        assert isinstance(layer, Conv)
        if size + max(layer.kernel) - 2 <= len(POINTS):
            found[name] = size
    return found


def winograd_model(
    model: DualModel, *, m: int | None = None, threshold: float | None = None, sparsity: float | None = None
) -> dict[str, Array]:
    """Pruned Winograd-domain filters of every eligible convolution, by node name.

    m: overrides every layer's tile size.  threshold: overrides the model's.  sparsity: instead
    of a threshold, the share of zeros over all these layers together, 0..1.
    Raises ValueError if both are given or one is out of range.
    """
    if sparsity is not None:
        if threshold is not None:
            raise ValueError("give a Winograd threshold or a target sparsity, not both")
        threshold = sparsity_threshold(model, sparsity, m)
    sizes = tile_sizes(model, m)
    own = {name: model.threshold_of(name) if threshold is None else threshold for name in sizes}
    for each in own.values():
        _check_threshold(each)
    arrays = model.network.arrays
    return {name: winograd_filters(arrays[f"{name}.weight"], size, own[name]) for name, size in sizes.items()}


def _check_threshold(threshold: float) -> None:
    """Raise ValueError unless a threshold is a float32 from 0."""
    if not 0 <= threshold <= LARGEST_THRESHOLD:
        raise ValueError(f"the Winograd threshold must be 0 or more, up to {LARGEST_THRESHOLD:.3g}, got {threshold:g}")


def _check_sparsity(sparsity: float) -> None:
    """Raise ValueError unless a share is in 0..1."""
    if not 0 <= sparsity <= 1:
        raise ValueError(f"the target sparsity must be in 0..1, got {sparsity}")


def sparsity_threshold(model: DualModel, sparsity: float, m: int | None = None) -> float:
    """The one threshold that zeroes at least ``sparsity`` of all Winograd-domain filter entries.

    Raises ValueError if the sparsity is not in 0..1.
    """
    _check_sparsity(sparsity)
    filters = winograd_model(model, m=m, threshold=0.0)
    if not filters:
        return 0.0
    return percentile({name: np.abs(W) for name, W in filters.items()}, sparsity)


def at_other_zeros(
    model: DualModel,
    m: int | None,
    *,
    threshold: float | None = None,
    sparsity: float | None = None,
    scope: Scope = "network",
    layers: Mapping[str, float] | None = None,
) -> DualModel:
    """The model with another Winograd-domain threshold, or the one that makes a share of the entries zero.

    m: tile size of the machine that is to have this share; None: the file's own.  scope: whether
    the share has one threshold for the network, or one a layer.  layers: thresholds of single
    layers, by node name, on top.
    Raises ValueError if both a threshold and a sparsity are given, one is out of range, or a layer
    is none that Winograd serves.
    """
    if sparsity is not None and threshold is not None:
        raise ValueError("give a Winograd threshold or a target sparsity, not both")
    own = dict(layers or {})
    if unknown := [name for name in own if name not in model.winograd_m]:
        close = nearest(unknown[0], model.winograd_m)
        raise ValueError(f"{shown(unknown[0])} is no convolution that Winograd can serve{close}")
    if sparsity is not None and scope == "layer":
        own = _layer_thresholds(model, sparsity, m) | own
    elif sparsity is not None:
        threshold = sparsity_threshold(model, sparsity, m)
    threshold = model.winograd_threshold if threshold is None else threshold
    for each in (threshold, *own.values()):
        _check_threshold(each)
    return replace(model, winograd_threshold=threshold, layer_thresholds=own)


def _layer_thresholds(model: DualModel, sparsity: float, m: int | None) -> dict[str, float]:
    """The threshold of each convolution that zeroes at least a share of its own Winograd-domain entries."""
    _check_sparsity(sparsity)
    filters = winograd_model(model, m=m, threshold=0.0)
    return {name: percentile({name: np.abs(W)}, sparsity) for name, W in filters.items()}


def pruned_further(model: DualModel, share: float) -> DualModel:
    """The model with its smallest weights set to zero until this share of all is, over the network.

    Nothing is trained again; what was zero stays so.  Raises ValueError if the share is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of zeros must be in 0..1, got {share:g}")
    graph = model.network.graph
    arrays = dict(model.network.arrays)
    magnitudes = {name: np.abs(arrays[name]) for name in weight_names(graph)}
    threshold = np.float32(percentile(magnitudes, share))
    for name, magnitude in magnitudes.items():
        arrays[name] = np.where(magnitude <= threshold, np.float32(0), arrays[name])
    return replace(model, network=Network(graph, arrays))


def percentile(magnitudes: Mapping[str, Array], share: float) -> float:
    """The smallest t such that at least ``share`` of all magnitudes are <= t.

    0 for a share of 0.
    """
    entries = np.concatenate([array.ravel() for array in magnitudes.values()])
    rank = int(np.ceil(share * entries.size))
    return float(np.partition(entries, rank - 1)[rank - 1]) if rank else 0.0


def density(array: Array) -> float:
    """Non-zeros over all; 0 for an empty array."""
    return float(np.count_nonzero(array)) / max(array.size, 1)


def spatial_densities(model: DualModel) -> dict[str, float]:
    """Density of each convolution's and linear layer's weight, by node name."""
    return {
        node.name: density(model.network.arrays[f"{node.name}.weight"])
        for node in model.network.graph.nodes
        if node.layer.op in ("conv", "linear")
    }


def winograd_densities(model: DualModel, *, m: int | None = None, threshold: float | None = None) -> dict[str, float]:
    """Density of each eligible convolution's pruned Winograd-domain filters, by node name."""
    return {name: density(W) for name, W in winograd_model(model, m=m, threshold=threshold).items()}


def winograd_convolution(model: DualModel, *, m: int | None = None, threshold: float | None = None) -> Convolution:
    """A convolution for ``accelsim.network.forward`` that runs eligible layers on their pruned Winograd filters."""
    return transformed_convolution(winograd_model(model, m=m, threshold=threshold), tile_sizes(model, m))


def transformed_convolution(
    filters: Mapping[str, Array], sizes: Mapping[str, int], points: Mapping[int, Points] | None = None
) -> Convolution:
    """A convolution that runs some layers on given Winograd-domain filters, the others directly.

    filters: W of each layer, (K, C / groups, n, n).  sizes: m of each, by node name.  points: by m,
    where they are not the default ones.
    """

    def run(node: Node, x: Array, weight: Array) -> Array:
        layer = node.layer
        assert isinstance(layer, Conv)
        if node.name not in sizes:
            return convolve(x, weight, layer)
        m = sizes[node.name]
        inputs = np.split(x, layer.groups, axis=3)
        groups = zip(inputs, np.split(filters[node.name], layer.groups), strict=True)
        own = (points or {}).get(m)
        parts = [convolve_transformed(x_g, W_g, m, layer.kernel, layer.padding, own) for x_g, W_g in groups]
        return parts[0] if layer.groups == 1 else np.concatenate(parts, axis=3)

    return run
