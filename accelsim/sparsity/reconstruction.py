"""Layer-wise reconstruction: a trained network made sparse in both domains from a few images.

No gradients are needed.

Layer by layer, from first to last, weights are sought that give what the dense network gives there
(Y), although their inputs X are those of the layers already made sparse:

    minimise  || X w - Y ||^2 + damping |w - w_0|^2     with zeros in w and in W = G w G^T

(``sparse_least_squares``).  A layer whose output is added to another's that is there already makes
up for what that one has lost, too (He et al., arXiv:1707.06168).  How many zeros a layer gets
follows from one threshold on the LAMP scores of the dense weights (Lee et al., arXiv:2010.07611),
in each domain, which do not depend on the scale of a layer: batch-norm may be folded; or is given
for each layer (``accelsim.training.prices``).  A bias takes up what is left of the mean error.

Layers with groups are left as they are.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.network.forward import apply_layer
from accelsim.network.graph import INPUT, Graph, Network, Node
from accelsim.network.layers import Add, Conv, Linear
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.moments import Moments, Sample, bias_of, moments_of
from accelsim.sparsity.recipe import Reconstruction
from accelsim.sparsity.sparse_least_squares import least_squares, sparse_solution
from accelsim.threads import on_all_cores, on_one_thread

# Over all layers together (s_SD, s_WD), to be small in the Winograd domain; or of each layer how
# many entries of w and of W = G w G^T are zero, exactly in both.
Goals = tuple[float, float] | Mapping[str, tuple[int, int]]

CHUNK = 32  # images that pass through a layer together


@dataclass(frozen=True)
class LayerReport:
    """How one layer went."""

    name: str
    zeros_sd: float  # share aimed at in the spatial domain
    zeros_wd: float  # share aimed at in the Winograd domain
    error: float  # |X w - Y|^2 / |Y - mean|^2 with the zeros
    # share of the energy of W that its small entries have (what pruning there loses)
    small_wd: float
    seconds: float


def reconstruct(
    network: Network,
    images: Array,
    regularizer: JointRegularizer,
    sparsity: Goals,
    settings: Reconstruction,
    watch: Callable[[LayerReport], None] | None = None,
) -> dict[str, Array]:
    """The network's arrays, made sparse.

    images: (N, H, W, C) float32, preprocessed.  regularizer: the layers, and m of F(m, r).
    watch: called after each layer.
    """
    arrays = network.arrays
    exact = not isinstance(sparsity, tuple)
    if isinstance(sparsity, tuple):
        zeros = zeros_by_layer({name: arrays[f"{name}.weight"] for name in regularizer.spatial}, sparsity[0])
        small = zeros_by_layer(regularizer.pruned_winograd(arrays, -1.0), sparsity[1])
    else:
        zeros = {name: own[0] for name, own in sparsity.items()}
        small = {name: own[1] for name, own in sparsity.items()}
    sample = Sample(settings.positions, settings.seed)
    started = time.perf_counter()

    def find(name: str, moments: Moments) -> Array:
        nonlocal started
        w = arrays[f"{name}.weight"]
        K, C = w.shape[:2]
        kron = regularizer.kron.get(name)
        goals = (zeros[name], small.get(name, 0))
        start = w.reshape(K, C, -1).transpose(2, 1, 0)  # (taps, C, K)
        least = least_squares(moments, start, kron if goals[1] else None, settings)
        found, lost = sparse_solution(least, *goals, settings, exact)
        flat = found.reshape(-1, K)
        error = moments.energy + float(np.sum(flat * (moments.H @ flat - 2 * moments.B)))
        if watch is not None:
            shares = goals[0] / w.size, goals[1] / (kron.shape[0] * K * C) if kron is not None else 0.0
            relative = error / max(moments.energy, 1e-20)
            watch(LayerReport(name, *shares, relative, lost, time.perf_counter() - started))
        started = time.perf_counter()
        return found

    return refit(network, arrays, images, regularizer.spatial, find, sample)


@on_one_thread
def refit(
    network: Network,
    start: Mapping[str, Array],
    images: Array,
    layers: Sequence[str],
    find: Callable[[str, Moments], Array],
    sample: Sample,
) -> dict[str, Array]:
    """``start`` with the weights of these layers found anew, one layer after another, biases with them.

    find: the weights (taps, C, K) of a layer, by its name and the moments of X, its inputs from the
    layers found before it, and Y, what it should make of them for the network to give what it did.
    images: as ``reconstruct``.
    """
    graph = network.graph
    arrays = {name: array.copy() for name, array in start.items()}
    last = {source: i for i, node in enumerate(graph.nodes) for source in node.inputs}
    chunks = [images[first : first + CHUNK] for first in range(0, len(images), CHUNK)]
    dense: dict[str, list[Array]] = {INPUT: chunks}
    sparse: dict[str, list[Array]] = {INPUT: chunks}
    for i, node in enumerate(graph.nodes):
        done = {source for source in node.inputs if last[source] == i}
        advance(node, network.arrays, dense, done)
        if node.name in layers and is_refitted(node):
            target = _target(graph, node, dense, sparse)
            moments = moments_of(node, sparse[node.inputs[0]], target, sample)
            found = find(node.name, moments)
            w = arrays[f"{node.name}.weight"]
            arrays[f"{node.name}.weight"] = np.ascontiguousarray(found.transpose(2, 1, 0)).reshape(w.shape)
            if f"{node.name}.bias" in arrays:
                arrays[f"{node.name}.bias"] = bias_of(moments, found)
        advance(node, arrays, sparse, done)
    return arrays


def zeros_by_layer(weights: Mapping[str, Array], sparsity: float) -> dict[str, int]:
    """How many weights of each layer are zeroed by one threshold on all LAMP scores that zeros this share of all.

    The score of a weight: its square over the sum of the squares of its layer's weights that are
    not smaller.
    """
    if not weights:
        return {}
    scores = {}
    for name, w in weights.items():
        squares = np.sort(w.astype(np.float64).ravel() ** 2)
        scores[name] = squares / np.maximum(np.cumsum(squares[::-1])[::-1], 1e-300)
    everything = np.concatenate(list(scores.values()))
    count = int(np.ceil(sparsity * everything.size))
    threshold = np.partition(everything, count - 1)[count - 1] if count else -1.0
    return {name: int(np.count_nonzero(score <= threshold)) for name, score in scores.items()}


def is_refitted(node: Node) -> bool:
    """Whether such a layer's weights can be found anew."""
    layer = node.layer
    plain = isinstance(layer, Conv) and layer.groups == 1 and layer.dilation == (1, 1)
    return plain or isinstance(layer, Linear)


def advance(
    node: Node,
    arrays: Any,
    values: dict[str, list[Array]],
    last: Collection[str] = (),
) -> None:
    """Add the node's output of every chunk.

    last: sources that no later node reads; their chunks are given up one by one, so that a map and
    what a rectifier makes of it are never both there.
    """
    parameters = {key: arrays[f"{node.name}.{key}"] for key in node.layer.parameters()}
    count = len(values[node.inputs[0]])
    sources: dict[str, list[Any]] = {
        source: list(values.pop(source) if source in last else values[source]) for source in set(node.inputs)
    }

    def output(i: int) -> Array:
        inputs = tuple(sources[source][i] for source in node.inputs)
        found = apply_layer(node, inputs, parameters)
        for source in last:
            sources[source][i] = None
        return found

    values[node.name] = on_all_cores(output, range(count))


def _target(
    graph: Graph,
    node: Node,
    dense: dict[str, list[Array]],
    sparse: dict[str, list[Array]],
) -> list[Array]:
    """What the node should give in the sparse network: the dense one's outputs.

    Where these only go into a sum whose other parts are there already: what makes that sum the
    dense one's.
    """
    readers = [reader for reader in graph.nodes if node.name in reader.inputs]
    target = dense[node.name]
    if len(readers) == 1 and isinstance(readers[0].layer, Add):
        others = [name for name in readers[0].inputs if name != node.name]
        if all(name in dense for name in others):
            for name in others:
                target = [y + (a - b) for y, a, b in zip(target, dense[name], sparse[name], strict=True)]
    return target
