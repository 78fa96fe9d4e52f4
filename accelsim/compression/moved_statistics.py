"""Statistics of batch normalisation moved along with the weights: what a sparse network's means and variances are."""

import numpy as np

from accelsim.arrays import Array
from accelsim.network import INPUT, Network
from accelsim.network.layers import BatchNorm
from accelsim.sparsity.reconstruction import advance

CHUNK = 32  # pictures that pass through the network together


def moved_statistics(dense: Network, sparse: Network, images: Array) -> dict[str, Array]:
    """Running means and variances of batch normalisation, by array name, as the sparse network needs them.

    By how much the pictures' means differ in both networks, and by what factor their variances do,
    the running ones of the dense network are changed; layer after layer.
    """
    arrays = dict(sparse.arrays)
    found: dict[str, Array] = {}
    chunks = [images[first : first + CHUNK] for first in range(0, len(images), CHUNK)]
    values: dict[str, list[Array]] = {INPUT: list(chunks)}
    truth: dict[str, list[Array]] = {INPUT: list(chunks)}
    last = {source: i for i, node in enumerate(sparse.graph.nodes) for source in node.inputs}
    for i, node in enumerate(sparse.graph.nodes):
        if isinstance(node.layer, BatchNorm):
            mean, var = _statistics(values[node.inputs[0]])
            old_mean, old_var = _statistics(truth[node.inputs[0]])
            names = f"{node.name}.running_mean", f"{node.name}.running_var"
            ratio = np.where(old_var > 0, var / np.maximum(old_var, 1e-30), 1.0)
            found[names[0]] = (dense.arrays[names[0]] + mean - old_mean).astype(np.float32)
            found[names[1]] = (dense.arrays[names[1]] * ratio).astype(np.float32)
            arrays |= {name: found[name] for name in names}
        done = {source for source in node.inputs if last[source] == i}
        advance(node, arrays, values, done)
        advance(node, dense.arrays, truth, done)
    return found


def _statistics(chunks: list[Array]) -> tuple[Array, Array]:
    """Mean and variance of each channel, (C,) float64."""
    rows = sum(chunk.size // chunk.shape[-1] for chunk in chunks)
    axes = tuple(range(chunks[0].ndim - 1))
    total = sum(chunk.sum(axis=axes, dtype=np.float64) for chunk in chunks)
    mean = np.asarray(total) / rows
    square = sum(((chunk - mean.astype(np.float32)) ** 2).sum(axis=axes, dtype=np.float64) for chunk in chunks)
    return mean, np.asarray(square) / rows
