"""Weights rounded to whole multiples of their cell, with the zeros of both domains.

Zeros by themselves are ``accelsim.sparsity.whole_filters``'; with images, a layer's output changes
least instead of its weights.

Filters with given zeros are w = D M z: a whole basis M (``whole_bases``), whole numbers z.  For one
output channel,

    minimise  || X w - Y ||^2 + damping |w - w_0|^2  =  z^T A z - 2 b^T z + ...

over whole z is the search for the nearest point of a lattice.  Babai's nearest plane: with A = L
L^T the coordinates are rounded one after another, each where the errors of those before it put its
best value (which is what Frantar et al., arXiv:2210.17323, do for all channels in one order and
without zeros); the coordinates of the largest diagonal come first, and some sweeps of single
improvements last.  With a price on bits (``bitprice``) a coordinate may be zero, too, where that
saves more than it spoils; zeros of a whole basis's coordinates keep those of the filters.

Layer after layer (``reconstruction.refit``): X are the inputs that the rounded layers before it
give, Y what the layer gave before anything was rounded.  So errors in the directions that carry
images, their means above all, are made up for at once, where rounding to the nearest lets them add
up.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import linalg, sparse

from accelsim.arrays import Array, Flags, Floats, Ints, Levels
from accelsim.compression.bitprice import CONTEXTS, RunningCounts
from accelsim.compression.quantize import Quantized, winograd_threshold
from accelsim.dual.quantizer import Quantizer, plain_codebook
from accelsim.network.graph import Network
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.reconstruction import Moments, Sample, refit
from accelsim.sparsity.whole_filters import whole_bases, whole_with_zeros

# Of a cell: exact zeros of W are sums of float32 numbers; the least W of F(2, 5) or F(4, 3) is 1/576.
EXACT = 1e-3
POSITIONS = 300  # of each image
DAMPING = 1e-3  # times the mean square of the inputs
CHANNELS = 32  # solved at a time
SWEEPS = 5
# Of each layer that Winograd serves: where W is zero, and kron (vec(W) = kron vec(w)).
Zeros = Mapping[str, tuple[Flags, Array]]


def zeros_of_filters(network: Network, tiles: Mapping[str, int], sparsity: float, quantizer: Quantizer) -> Zeros:
    """Which entries of W are zeros: the smallest of all layers together,
    and those that are nothing beside a cell of their layer.
    """
    regularizer = JointRegularizer(network.graph, {"default": 0} | dict(tiles))
    theta = max(winograd_threshold(network, tiles, sparsity), EXACT * min(quantizer.cells.values()))
    filters = regularizer.pruned_winograd(network.arrays, theta)
    nothing = {layer: EXACT * quantizer.cells[f"{layer}.weight"] for layer in filters}
    return {layer: (np.abs(W) <= nothing[layer], regularizer.kron[layer]) for layer, W in filters.items()}


def with_zeros(quantized: Quantized, network: Network, zeros: Zeros) -> Quantized:
    """``quantized``, but each layer that Winograd serves
    rounded so that zeros of both domains stay.

    network: before quantization.
    """
    indices = dict(quantized.indices)
    for layer, (zero_wd, kron) in zeros.items():
        name = f"{layer}.weight"
        w = network.arrays[name]
        indices[name] = whole_with_zeros(w / quantized.quantizer.cells[name], w == 0, zero_wd, kron)
    return _with_indices(quantized, indices)


def fitted(quantized: Quantized, network: Network, zeros: Zeros, images: Array, price: float = 0.0) -> Quantized:
    """``quantized``, but rounded anew so that each layer gives what it gave before;
    biases take up the mean error.

    network: before quantization.  images: (N, H, W, C) float32, preprocessed.  price:
    as for ``nearest_point``.  Layers with groups stay as they are.
    """
    indices = dict(quantized.indices)
    whole = Quantizer(quantized.quantizer.cells, np.zeros(0))
    layers = [name.removesuffix(".weight") for name in indices]

    def find(layer: str, moments: Moments) -> Array:
        name = f"{layer}.weight"
        w = network.arrays[name]
        K, C = w.shape[:2]
        bases = whole_bases(w.reshape(K, C, -1, 1) == 0, *zeros.get(layer, (None, None)))
        bases = bases.reshape(K, C, *bases.shape[1:])
        n = whole_weights(moments, w.reshape(K, C, -1), whole.cells[name], bases, price)
        indices[name] = n.reshape(w.shape)
        return whole.decode(name, n).transpose(2, 1, 0)

    arrays = refit(network, quantized.network.arrays, images, layers, find, Sample(POSITIONS))
    return _with_indices(replace(quantized, network=Network(network.graph, arrays)), indices)


def whole_weights(moments: Moments, w: Array, cell: float, bases: Floats, price: float = 0.0) -> Levels:
    """Indices of a layer's weights: (K, C, taps) int32.

    moments: rows of X are (taps x channels).  w: (K, C, taps) before.  bases: (K, C, taps, taps) of
    each 2-D filter.  price: as for ``nearest_point``.
    """
    K, C, taps = w.shape
    H = _channels_first(moments.H.astype(np.float64), C, taps)
    H = _channels_first(H.T, C, taps)
    damping = DAMPING * np.diagonal(H).mean() + 1e-12
    H[np.diag_indices_from(H)] += damping
    B = _channels_first(moments.B.astype(np.float64), C, taps) + damping * w.reshape(K, -1).T
    n = np.zeros((K, C * taps))
    counts = RunningCounts()
    for first in range(0, K, CHANNELS):
        block = range(first, min(first + CHANNELS, K))
        vectors = [_vectors(bases[k]) for k in block]
        free = max(M.shape[1] for _, M in vectors)
        A = np.tile(np.eye(free), (len(block), 1, 1))
        b = np.zeros((len(block), free))
        for i, (k, (rows, M)) in enumerate(zip(block, vectors, strict=True)):
            own = slice(M.shape[1])
            A[i, own, own] = cell**2 * (M.T @ (M.T @ H[np.ix_(rows, rows)]).T)
            b[i, own] = cell * (M.T @ B[rows, k])
        real = np.arange(free) < np.array([[M.shape[1]] for _, M in vectors])
        for k, (rows, M), z in zip(block, vectors, nearest_point(A, b, price, counts, real), strict=True):
            n[k, rows] = M @ z[: M.shape[1]]
    return np.rint(n).reshape(w.shape).astype(np.int32)


def nearest_point(
    A: Floats, b: Floats, price: float = 0.0, counts: RunningCounts | None = None, real: Flags | None = None
) -> Floats:
    """Whole z, each (d,), for which z^T A z - 2 b^T z is small.

    A: (K, d, d) positive definite, b: (K, d).  price: of a bit of z, where the error of a whole
    step of one coordinate, as they are on average, costs 1; then each is floor, ceil or zero of its
    best value.  counts: to go on with.  real: (K, d) which coordinates there are; by default all.
    """
    each = np.arange(len(b))[:, None]
    order = np.argsort(np.diagonal(A, axis1=1, axis2=2), axis=1, kind="stable")
    A = A[each[:, :, None], order[:, :, None], order[:, None, :]]
    b = b[each, order]
    L = np.linalg.cholesky(A)
    rest = np.stack([linalg.solve_triangular(own, of, lower=True) for own, of in zip(L, b, strict=True)])
    z = np.zeros_like(b)
    stiffness = np.diagonal(L, axis1=1, axis2=2) ** 2
    diagonal = np.diagonal(A, axis1=1, axis2=2)
    counted = np.ones(b.shape, np.bool_) if real is None else real[each, order]
    counts = counts or RunningCounts()
    context = _contexts(counted)
    cost = price * float(stiffness[counted].mean()) if counted.any() else 0.0
    for i in reversed(range(b.shape[1])):
        wanted = rest[:, i] / L[:, i, i]
        if price:
            z[:, i] = counts.cheapest(wanted, stiffness[:, i], context[:, i], cost)
            counts.add(z[counted[:, i], i], context[counted[:, i], i])
        else:
            z[:, i] = np.rint(wanted)
        rest -= L[:, i, :] * z[:, i, None]
    slope = b - np.einsum("kij,kj->ki", A, z)
    for _ in range(SWEEPS):
        for i in range(b.shape[1]):
            move = slope[:, i] / diagonal[:, i]
            if price:
                move = counts.cheapest(z[:, i] + move, diagonal[:, i], context[:, i], cost) - z[:, i]
            else:
                move = np.rint(move)
            z[:, i] += move
            slope -= A[:, i, :] * move[:, None]
    found = np.empty_like(z)
    found[each, order] = z
    return found


def _contexts(counted: Flags) -> Ints:
    """The context of each coordinate: how far it comes in its filter's order.

    counted: (K, d) which coordinates there are, in the order of a growing diagonal.
    """
    rank: Ints = np.cumsum(counted, axis=1, dtype=np.int64) - counted
    length = np.maximum(counted.sum(axis=1, keepdims=True, dtype=np.int64), 1)
    return np.asarray(np.minimum(rank * CONTEXTS // length, CONTEXTS - 1))


def _vectors(bases: Floats) -> tuple[Ints, sparse.csr_array]:
    """(which of the C taps weights of a channel enter, (those, basis vectors)).

    bases: (C, taps, taps).
    """
    taps = bases.shape[1]
    filters, row, column = np.nonzero(bases)
    rows, i = np.unique(filters * taps + row, return_inverse=True)
    columns, j = np.unique(filters * taps + column, return_inverse=True)
    return rows, sparse.csr_array((bases[filters, row, column], (i, j)), (len(rows), len(columns)))


def _channels_first(rows: Floats, C: int, taps: int) -> Floats:
    """Rows (taps x C) as (C x taps)."""
    return np.ascontiguousarray(rows.reshape(taps, C, -1).swapaxes(0, 1).reshape(C * taps, -1))


def _with_indices(quantized: Quantized, indices: Mapping[str, Levels]) -> Quantized:
    """``quantized`` with other indices and a plain codebook."""
    largest = max(int(np.abs(n).max(initial=0)) for n in indices.values())
    quantizer = replace(quantized.quantizer, codebook=plain_codebook(largest))
    decoded = {name: quantizer.decode(name, n) for name, n in indices.items()}
    return Quantized(Network(quantized.network.graph, {**quantized.network.arrays, **decoded}), indices, quantizer)
