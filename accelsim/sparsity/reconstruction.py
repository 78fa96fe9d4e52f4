"""Layer-wise reconstruction: a trained network made sparse in both domains from a few images, without gradients.

Layer by layer, from first to last, weights are sought that give what the dense network gives there (Y), although
their inputs X are those of the layers already made sparse:

    minimise  || X w - Y ||^2 + damping |w - w_0|^2     with s_SD of w zero and s_WD of W = G w G^T small.

It is one least-squares problem with two copies of the unknown, Z sparse in the spatial domain and V
in the Winograd domain, solved by ADMM (Boyd et al. 2011; for one domain Boza, arXiv:2401.02938): H
= X^T X is inverted once, each iteration solves for w with w pulled to Z and G w G^T to V, and
prunes both to a sparsity that grows.  Then the zeros of Z stay, and conjugate gradients find the
best weights among the others, with the small Winograd entries pulled to zero.  With the zeros of
both domains to be exact the gradients are projected onto the filters that have them
(``zero_patterns``).  Weights are measured in units of their input channel's root mean square, so
what is zeroed costs least in the output.  A layer whose output is added to another's that is there
already makes up for what that one has lost, too (He et al., arXiv:1707.06168).  How many zeros a
layer gets follows from one threshold on the LAMP scores of the dense weights (Lee et al.,
arXiv:2010.07611), in each domain, which do not depend on the scale of a layer: batch-norm may be
folded; or is given for each layer (``accelsim.training.prices``).  A bias takes up what is left of
the mean error.

Layers with groups are left as they are.  H is summed over some random positions of each image.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from accelsim.arrays import Array, Flags
from accelsim.network.forward import apply_layer
from accelsim.network.graph import INPUT, Graph, Network, Node
from accelsim.network.layers import Add, Conv, Linear
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.recipe import Reconstruction
from accelsim.sparsity.zero_patterns import zero_pattern

# Over all layers together (s_SD, s_WD), to be small in the Winograd domain; or of each layer how many entries of w and
# of W = G w G^T are zero, exactly in both.
Goals = tuple[float, float] | Mapping[str, tuple[int, int]]

SOLVED = 1e-5  # of a filter's right-hand side: what is left of it is rounding
CHUNK = 32  # images that pass through a layer together


@dataclass(frozen=True)
class LayerReport:
    """How one layer went."""

    name: str
    zeros_sd: float  # share aimed at in the spatial domain
    zeros_wd: float  # share aimed at in the Winograd domain
    error: float  # |X w - Y|^2 / |Y - mean|^2 with the zeros
    small_wd: float  # share of the energy of W that its small entries have (what pruning there loses)
    seconds: float


@dataclass(frozen=True)
class Sample:
    """Which output positions of a convolution its moments are taken from."""

    positions: int  # of each image
    seed: int = 0  # that draws them


@dataclass
class Moments:
    """Sums over positions: rows of X are (taps x channels), of Y output channels.  All as means, less the means."""

    H: Array  # (n, n) X^T X
    B: Array  # (n, K) X^T Y
    energy: float  # of Y
    x: Array  # (n,) mean of X
    y: Array  # (K,) mean of Y
    rows: int  # of X and Y


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
        kron, goals = regularizer.kron.get(name), (zeros[name], small.get(name, 0))
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


def refit(
    network: Network,
    start: Mapping[str, Array],
    images: Array,
    layers: Sequence[str],
    find: Callable[[str, Moments], Array],
    sample: Sample,
) -> dict[str, Array]:
    """``start`` with the weights of these layers found anew, one layer after another, biases with them.

    find: the weights (taps, C, K) of a layer, by its name and the moments of X, its inputs from the layers found before
    it, and Y, what it should make of them for the network to give what it did.  images: as ``reconstruct``.
    """
    graph, arrays = network.graph, {name: array.copy() for name, array in start.items()}
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


def bias_of(moments: Moments, found: Array) -> Array:
    """The bias that takes up a layer's mean error.  found: its weights, (taps, C, K)."""
    return moments.y - found.reshape(-1, found.shape[2]).T @ moments.x


def zeros_by_layer(weights: Mapping[str, Array], sparsity: float) -> dict[str, int]:
    """How many weights of each layer are zeroed by one threshold on all LAMP scores that zeros this share of all.

    The score of a weight: its square over the sum of the squares of its layer's weights that are not smaller.
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


@dataclass(frozen=True)
class LeastSquares:
    """One layer's problem, in units of its input channels' root mean squares: what ``sparse_solution`` solves."""

    A: Array  # (taps C, taps C) damped
    target: Array  # (taps C, K)
    w_0: Array  # (taps C, K) dense weights
    inverse: Array  # of A with the pulls
    scale: Array  # (C,) the units
    kron: Array  # (n n, taps), vec(W) = kron vec(w); of no rows where Winograd does not serve


def least_squares(moments: Moments, start: Array, kron: Array | None, settings: Reconstruction) -> LeastSquares:
    """A layer's problem, its matrix inverted: one serves several numbers of zeros.

    start: (taps, C, K) the dense weights.  kron: (n n, taps), or None where Winograd does not serve.
    """
    H = moments.H
    taps, C, K = start.shape
    # Of each input channel; of one that never changes, float32 may leave less than nothing once its mean is off.
    scale = np.sqrt(np.maximum(np.diagonal(H).reshape(taps, C).mean(axis=0), 0)) + np.float32(1e-6)
    scale = np.maximum(scale, 1e-3 * scale.max())
    each = np.tile(scale, taps)
    A = H / each[:, None] / each
    damping = np.float32(settings.damping)
    A[np.diag_indices_from(A)] = np.maximum(np.diagonal(A), 0) + damping
    w_0 = (start * scale[:, None]).reshape(-1, K)
    target = moments.B / each[:, None] + damping * w_0
    pull_sd, pull_wd = np.float32(settings.spatial_pull), np.float32(settings.winograd_pull)
    if kron is None:
        kron = np.zeros((0, taps), np.float32)
    inverse = _inverse(A + pull_sd * np.eye(len(A), dtype=np.float32) + pull_wd * np.kron(kron.T @ kron, np.eye(C)))
    return LeastSquares(A, target, w_0, inverse, scale, kron)


def sparse_solution(
    problem: LeastSquares, zeros: int, small: int, settings: Reconstruction, exact: bool = False
) -> tuple[Array, float]:
    """(weights (taps, C, K) with that many zeros, share of the energy of W in its small entries).

    small: entries of W to be small; exact: to be zero, too.
    """
    A = problem.A
    target = problem.target
    w_0 = problem.w_0
    scale = problem.scale
    kron = problem.kron
    C, K, taps = len(scale), w_0.shape[1], kron.shape[1]
    pull_sd, pull_wd = np.float32(settings.spatial_pull), np.float32(settings.winograd_pull)

    def transformed(w: Array) -> Array:
        return (kron @ w.reshape(taps, C * K)).reshape(len(kron), C, K)

    def back(W: Array) -> Array:
        return (kron.T @ W.reshape(len(kron), C * K)).reshape(-1, K)

    Z, V = w_0.copy(), transformed(w_0)
    U, Q = np.zeros_like(Z), np.zeros_like(V)
    for step in range(settings.iterations):
        share = 1 - max(0.0, 1 - (step + 1) / (0.6 * settings.iterations)) ** 3
        w = problem.inverse @ (target + pull_sd * (Z - U) + pull_wd * back(V - Q))
        U += w
        Z = U * _large(np.abs(U), round(share * zeros))
        U -= Z
        if len(kron):
            Q += transformed(w)
            V = Q * _large(np.abs(Q) / scale[:, None], round(share * small))
            Q -= V
    outside = (V == 0).astype(np.float32)
    if exact:
        allowed = _space(Z == 0, V == 0, kron)
        Z = _polish(lambda p: allowed(A @ p), allowed(target), allowed(Z), settings.polish, SOLVED)
    else:
        mask = (Z != 0).astype(np.float32)
        Z = _polish(
            lambda p: mask * (A @ p + pull_wd * back(outside * transformed(p))), mask * target, Z, settings.polish
        )
    W = transformed(Z) / scale[:, None]
    gone = float((W * W * outside).sum()) / max(float((W * W).sum()), 1e-20) if W.size else 0.0
    return Z.reshape(taps, C, K) / scale[:, None], gone


def _space(zero: Flags, zero_wd: Flags, kron: Array) -> Callable[[Array], Array]:
    """The projection of weights (taps C, K) onto those with these zeros.

    zero: (taps C, K).  zero_wd: (n n, C, K).
    """
    taps, K = kron.shape[1], zero.shape[1]

    def filters(rows: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(rows.reshape(taps, -1, K).transpose(2, 1, 0))[..., None]

    of_W = np.ascontiguousarray(zero_wd.transpose(2, 1, 0))[..., None]
    pattern = zero_pattern(filters(zero), of_W, kron) if len(kron) else zero_pattern(filters(zero))

    def project(w: Array) -> Array:
        each = filters(w)
        pattern.project(each)
        return np.ascontiguousarray(each[..., 0].transpose(2, 1, 0)).reshape(w.shape)

    return project


def _polish(apply: Callable[[Array], Array], target: Array, w: Array, steps: int, solved: float = 0.0) -> Array:
    """Conjugate gradients on apply(w) = target, each filter (column) for itself.

    solved: a filter stays as it is once this share of its right-hand side is left, or rounding has made its matrix
    indefinite where it would go.
    """
    r = target - apply(w)
    p, old = r, (r * r).sum(axis=0)
    done = np.float32(solved**2) * (target * target).sum(axis=0)
    for _ in range(steps):
        Ap = apply(p)
        curvature = (p * Ap).sum(axis=0)
        length = old / np.maximum(curvature, np.float32(1e-30))
        length = np.where((old > done) & (curvature > 0), length, np.float32(0))
        w = w + p * length
        r = r - Ap * length
        new = (r * r).sum(axis=0)
        p, old = r + p * (new / np.maximum(old, np.float32(1e-30))), new
    return w


def _inverse(A: NDArray[Any]) -> Array:
    """Of a positive definite matrix."""
    factor = linalg.cholesky(A.astype(np.float32), lower=True, overwrite_a=True, check_finite=False)
    inverse: Array = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)[0]
    lower = np.tril(inverse)
    return lower + np.tril(inverse, -1).T


def _large(magnitudes: NDArray[Any], zeros: int) -> Flags:
    """All but the smallest ``zeros``."""
    if not zeros:
        return np.ones(magnitudes.shape, np.bool_)
    flat = magnitudes.reshape(-1)
    keep = np.ones(flat.size, np.bool_)
    keep[np.argpartition(flat, zeros - 1)[:zeros]] = False
    return keep.reshape(magnitudes.shape)


def is_refitted(node: Node) -> bool:
    """Whether such a layer's weights can be found anew."""
    layer = node.layer
    plain = isinstance(layer, Conv) and layer.groups == 1 and layer.dilation == (1, 1)
    return plain or isinstance(layer, Linear)


def advance(node: Node, arrays: Any, values: dict[str, list[Array]], last: Collection[str] = ()) -> None:
    """Add the node's output of every chunk.

    last: sources that no later node reads; their chunks are given up one by one, so that a map and what a rectifier
    makes of it are never both there.
    """
    parameters = {key: arrays[f"{node.name}.{key}"] for key in node.layer.parameters()}
    count = len(values[node.inputs[0]])
    sources: dict[str, list[Any]] = {
        source: list(values.pop(source) if source in last else values[source]) for source in set(node.inputs)
    }
    found = []
    for i in range(count):
        inputs = tuple(sources[source][i] for source in node.inputs)
        found.append(apply_layer(node, inputs, parameters))
        for source in last:
            sources[source][i] = None
    values[node.name] = found


def _target(graph: Graph, node: Node, dense: dict[str, list[Array]], sparse: dict[str, list[Array]]) -> list[Array]:
    """What the node should give in the sparse network: the dense one's outputs; if these only go into a sum whose other
    parts are there already, so that the sum is the dense one's.
    """
    readers = [reader for reader in graph.nodes if node.name in reader.inputs]
    target = dense[node.name]
    if len(readers) == 1 and isinstance(readers[0].layer, Add):
        others = [name for name in readers[0].inputs if name != node.name]
        if all(name in dense for name in others):
            for name in others:
                target = [y + (a - b) for y, a, b in zip(target, dense[name], sparse[name], strict=True)]
    return target


def moments_of(node: Node, inputs: list[Array], target: list[Array], sample: Sample) -> Moments:
    """Of X, the inputs of the sparse network, and Y, what the layer should make of them."""
    rng = np.random.default_rng(sample.seed)
    layer = node.layer
    H = B = x_sum = y_sum = None
    energy, rows = 0.0, 0
    for x, y in zip(inputs, target, strict=True):
        if isinstance(layer, Conv):
            X, Y = _windows(x, y, layer, sample.positions, rng)
        else:
            X, Y = x, y
        parts = X.T @ X, X.T @ Y, X.sum(axis=0), Y.sum(axis=0)
        if H is None:
            H, B, x_sum, y_sum = parts
        else:
            for total, part in zip((H, B, x_sum, y_sum), parts, strict=True):
                total += part
        energy += float(np.vdot(Y, Y))
        rows += len(X)
    if H is None or B is None or x_sum is None or y_sum is None:
        raise ValueError("no images")
    n = np.float32(rows)
    H, B, x_mean, y_mean, energy = H / n, B / n, x_sum / n, y_sum / n, energy / rows
    if getattr(layer, "bias", False):
        H -= np.outer(x_mean, x_mean)
        B -= np.outer(x_mean, y_mean)
        energy -= float(np.vdot(y_mean, y_mean))
    return Moments(H, B, energy, x_mean, y_mean, rows)


def _windows(x: Array, y: Array, layer: Conv, positions: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The inputs (rows, taps C) and outputs (rows, K) at some random positions of each image."""
    (R, S), (pad_h, pad_w) = layer.kernel, layer.padding
    N, P, Q, _ = y.shape
    count = min(positions, P * Q)
    where = np.argsort(rng.random((N, P * Q)), axis=1)[:, :count]
    image, top, left = np.arange(N)[:, None], where // Q, where % Q
    padded = np.pad(x, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
    row, column = top * layer.stride[0], left * layer.stride[1]
    taps = [padded[image, row + i, column + j].reshape(N * count, -1) for i, j in np.ndindex(R, S)]
    return np.concatenate(taps, axis=1), y[image, top, left].reshape(N * count, -1)
