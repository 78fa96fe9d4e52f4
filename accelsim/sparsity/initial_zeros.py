"""Sparse first weights whose zeros in both domains are exact.

They stay so while the weights move (``joint.hold``).

In the spatial domain the zeros are those that the weights have.  In the Winograd domain they are
the smallest entries, shared out among the layers by LAMP scores (``reconstruction``).  With
batch-norm folded into the weights layers have very different scales, and one threshold on all their
Winograd-domain weights prunes the small-scale ones bare; entries that are exactly zero need no
threshold.  Weights reconstructed to a budget have such entries already, as many as each layer was
given.
"""

from collections.abc import Mapping

import numpy as np

from accelsim.arrays import Array
from accelsim.network.graph import Graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.recipe import Joint
from accelsim.sparsity.reconstruction import zeros_by_layer
from accelsim.sparsity.zero_patterns import ZeroPattern, zero_pattern

# Of the root mean square of W: what is smaller is zero but for float32 sums of larger weights.
EXACT = 1e-4


def initial_patterns(
    graph: Graph,
    arrays: Mapping[str, Array],
    joint: Joint,
) -> dict[str, ZeroPattern]:
    """The zeros of each weight array, by its name; ``joint.mode`` says of which domains."""
    regularizer = JointRegularizer(graph, joint.tiles, joint.exclude)
    filters = regularizer.pruned_winograd(arrays, -1.0) if joint.mode != "sd" else {}
    if joint.hold == "exact":
        counts = {name: exact_zeros(W) for name, W in filters.items()}
    else:
        counts = zeros_by_layer(filters, joint.winograd)
    patterns = {}
    for layer in regularizer.spatial:
        w = arrays[f"{layer}.weight"]
        zero = (w == 0) & (joint.mode != "wd")
        if layer not in filters:
            patterns[f"{layer}.weight"] = zero_pattern(zero)
            continue
        magnitudes = np.abs(filters[layer])
        smallest = np.argsort(magnitudes.ravel(), kind="stable")[: counts[layer]]
        zero_wd = np.zeros(magnitudes.shape, np.bool_)
        zero_wd.reshape(-1)[smallest] = True
        patterns[f"{layer}.weight"] = zero_pattern(zero, zero_wd, regularizer.kron[layer])
    return patterns


def projected(arrays: Mapping[str, Array], patterns: Mapping[str, ZeroPattern]) -> dict[str, Array]:
    """A copy of the arrays with the zeros made exact.  patterns: by array name."""
    copies = {name: array.copy() for name, array in arrays.items()}
    for name, pattern in patterns.items():
        pattern.project(copies[name])
    return copies


def exact_shares(regularizer: JointRegularizer, arrays: Mapping[str, Array]) -> tuple[float, float]:
    """(s_SD, s_WD), the shares of all weights that are zero.

    In the Winograd domain but for float32 sums.
    """
    weights = [arrays[f"{name}.weight"] for name in regularizer.spatial]
    filters = list(regularizer.pruned_winograd(arrays, -1.0).values())
    zeros_sd = sum(w.size - int(np.count_nonzero(w)) for w in weights)
    zeros_wd = sum(exact_zeros(W) for W in filters)
    return _share(zeros_sd, sum(w.size for w in weights)), _share(zeros_wd, sum(W.size for W in filters))


def exact_zeros(W: Array) -> int:
    """Entries that are nothing beside the root mean square."""
    return int(np.count_nonzero(np.abs(W) <= EXACT * np.sqrt(np.mean(W * W))))


def _share(zeros: int, size: int) -> float:
    """Rounded down by half a weight, so that this share of them all is not one more."""
    return max(zeros - 0.5, 0.0) / max(size, 1)
