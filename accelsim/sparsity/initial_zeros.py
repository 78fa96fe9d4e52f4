"""Sparse first weights whose zeros in both domains are made exact,
and stay so while the weights move (``joint.hold``).

In the spatial domain the zeros are those that the weights have.  In the Winograd domain they are
the smallest entries, shared out among the layers by LAMP scores (``reconstruction``).  With
batch-norm folded into the weights layers have very different scales, and one threshold on all their
Winograd-domain weights prunes the small-scale ones bare; entries that are exactly zero need no
threshold.
"""

from collections.abc import Mapping

import numpy as np

from accelsim.arrays import Array
from accelsim.network.graph import Graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.recipe import Joint
from accelsim.sparsity.reconstruction import zeros_by_layer
from accelsim.sparsity.zero_patterns import ZeroPattern, zero_pattern


def initial_patterns(graph: Graph, arrays: Mapping[str, Array], joint: Joint) -> dict[str, ZeroPattern]:
    """The zeros of each weight array, by its name; ``joint.mode`` says of which domains."""
    regularizer = JointRegularizer(graph, joint.tiles, joint.exclude)
    filters = regularizer.pruned_winograd(arrays, -1.0) if joint.mode != "sd" else {}
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
