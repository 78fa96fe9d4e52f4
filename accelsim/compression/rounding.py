"""Weights rounded to whole multiples of their cell, with the zeros of both domains.

Zeros by themselves are ``accelsim.sparsity.whole_filters``'; with images, a layer's output changes
least instead of its weights.

Filters with given zeros are w = D M z: a whole basis M (``whole_bases``), whole numbers z.  For one
output channel,

    minimise  || X w - Y ||^2 + damping |w - w_0|^2  =  z^T A z - 2 b^T z + ...

over whole z is the search for the nearest point of a lattice (``lattice``).

Layer after layer (``reconstruction.refit``): X are the inputs that the rounded layers before it
give, Y what the layer gave before anything was rounded.  So errors in the directions that carry
images, their means above all, are made up for at once, where rounding to the nearest lets them add
up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from accelsim.arrays import Array, Flags, Floats, Ints, Levels
from accelsim.compression.bitprice import RunningCounts
from accelsim.compression.lattice import nearest
from accelsim.compression.quantize import Quantized, winograd_threshold
from accelsim.dual.quantizer import Quantizer, plain_codebook
from accelsim.network.graph import Network
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.reconstruction import Moments, Sample, bias_of, refit
from accelsim.sparsity.whole_filters import whole_bases, whole_with_zeros

# Of a cell: exact zeros of W are sums of float32 numbers; the least W of F(2, 5) or F(4, 3) is 1/576.
EXACT = 1e-3
POSITIONS = 300  # of each image
DAMPING = 1e-3  # times the mean square of the inputs
LOST = 1e-5  # of the squares of means: what float32 loses as they are taken off
CHANNELS = 32  # solved at a time, at most
MATRICES = 1 << 26  # entries of the matrices of those, at most
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


@dataclass(frozen=True)
class Rounded:
    """Layers that are rounded already, and what is called after each further one."""

    arrays: Mapping[str, Array] = field(default_factory=dict)  # indices and bias, by array name
    add: Callable[[str, Mapping[str, Array]], None] = lambda *_: None  # with a layer's name and arrays


def fitted(
    quantized: Quantized,
    network: Network,
    zeros: Zeros,
    images: Array,
    price: float = 0.0,
    rounded: Rounded | None = None,
) -> Quantized:
    """``quantized``, but rounded anew so that each layer gives what it gave before;
    biases take up the mean error.

    network: before quantization.  images: (N, H, W, C) float32, preprocessed.  price:
    as for ``lattice.nearest_point``.  Layers with groups stay as they are.
    """
    rounded = rounded or Rounded()
    known = rounded.arrays
    indices = {name: np.asarray(known.get(name, n)) for name, n in quantized.indices.items()}
    whole = Quantizer(quantized.quantizer.cells, np.zeros(0))
    layers = [name.removesuffix(".weight") for name in indices if name not in known]
    start = dict(quantized.network.arrays)
    for name, array in known.items():
        start[name] = whole.decode(name, array) if name in indices else array

    def find(layer: str, moments: Moments) -> Array:
        name = f"{layer}.weight"
        w = network.arrays[name]
        K, C = w.shape[:2]
        bases = whole_bases(w.reshape(K, C, -1, 1) == 0, *zeros.get(layer, (None, None)))
        bases = bases.reshape(K, C, *bases.shape[1:])
        n = whole_weights(moments, w.reshape(K, C, -1), whole.cells[name], bases, price)
        indices[name] = n.reshape(w.shape)
        found = whole.decode(name, n).transpose(2, 1, 0)
        bias = {f"{layer}.bias": bias_of(moments, found)} if f"{layer}.bias" in start else {}
        rounded.add(layer, {name: indices[name], **bias})
        return found

    arrays = refit(network, start, images, layers, find, Sample(POSITIONS))
    return _with_indices(replace(quantized, network=Network(network.graph, arrays)), indices)


def whole_weights(moments: Moments, w: Array, cell: float, bases: Floats, price: float = 0.0) -> Levels:
    """Indices of a layer's weights: (K, C, taps) int32.

    moments: rows of X are (taps x channels).  w: (K, C, taps) before.  bases: (K, C, taps, taps) of
    each 2-D filter.  price: as for ``lattice.nearest_point``.
    """
    K, C, taps = w.shape
    H = _channels_first(moments.H, C, taps)
    H = _channels_first(H.T, C, taps)
    damping = np.float32(DAMPING * np.diagonal(H).mean() + LOST * np.mean(moments.x**2) + 1e-12)
    H[np.diag_indices_from(H)] += damping
    B = _channels_first(moments.B, C, taps) + damping * w.reshape(K, -1).T
    step = np.float32(cell)
    n = np.zeros((K, C * taps))
    counts = RunningCounts()
    vectors = [_vectors(own, H) for own in bases]
    for block in _blocks([len(own.weight) for own in vectors]):
        free = max(len(vectors[k].weight) for k in block)
        A = np.zeros((len(block), free, free), np.float32)
        A[:, np.arange(free), np.arange(free)] = 1
        b = np.zeros((len(block), free), np.float32)
        real = np.zeros(b.shape, np.bool_)
        for i, k in enumerate(block):
            own = slice(free - len(vectors[k].weight), free)
            np.multiply(vectors[k].between(H), step**2, out=A[i, own, own])
            b[i, own] = step * vectors[k].products(B[:, k])
            real[i, own] = True
        for k, z in zip(block, nearest(A, b, real, price, counts), strict=True):
            n[k] = vectors[k].combined(z[free - len(vectors[k].weight) :], n.shape[1])
    return np.rint(n).reshape(w.shape).astype(np.int32)


def _blocks(free: Sequence[int]) -> Iterator[range]:
    """Consecutive filters whose matrices are held at a time.

    free: coordinates of each filter.
    """
    first = 0
    largest = 0
    for k, d in enumerate(free):
        largest = max(largest, d)
        if k > first and (k - first == CHANNELS or (k + 1 - first) * largest**2 > MATRICES):
            yield range(first, k)
            first = k
            largest = d
    yield range(first, len(free))


@dataclass(frozen=True)
class _Vectors:
    """The d basis vectors of one output channel's weights, each of few entries."""

    weight: Ints  # (d, e) which weights enter
    value: Array  # (d, e) how much, 0 where fewer than e do

    def between(self, H: Array) -> Array:
        """M^T H M, M the vectors as columns: (d, d)."""
        half = H[self.weight[:, 0]]
        half *= self.value[:, :1]
        for e in range(1, self.weight.shape[1]):
            some = np.flatnonzero(self.value[:, e])
            half[some] += H[self.weight[some, e]] * self.value[some, e, None]
        whole = half.take(self.weight[:, 0], axis=1)
        whole *= self.value[:, 0]
        for e in range(1, self.weight.shape[1]):
            some = np.flatnonzero(self.value[:, e])
            whole[:, some] += half.take(self.weight[some, e], axis=1) * self.value[some, e]
        return whole

    def products(self, b: Array) -> Array:
        """M^T b: (d,)."""
        return np.asarray((self.value * b[self.weight]).sum(axis=1))

    def combined(self, z: Array, count: int) -> Floats:
        """M z, of so many weights."""
        return np.bincount(self.weight.ravel(), (self.value * z[:, None]).ravel(), count)


def _vectors(bases: Floats, H: Array) -> _Vectors:
    """The basis vectors of an output channel, in the order of a growing diagonal of M^T H M.

    bases: (C, taps, taps).
    """
    taps = bases.shape[1]
    filters, column, row = np.nonzero(bases.swapaxes(1, 2))
    _, first, vector, entries = np.unique(
        filters * taps + column, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.arange(len(row)) - first[vector]
    shape = (len(first), int(entries.max(initial=1)))
    weight = np.zeros(shape, np.int64)
    value = np.zeros(shape, np.float32)
    weight[vector, place] = filters * taps + row
    value[vector, place] = bases[filters, row, column]
    among = H[weight[:, :, None], weight[:, None, :]]
    order = np.argsort(np.einsum("de,df,def->d", value, value, among), kind="stable")
    return _Vectors(weight[order], value[order])


def _channels_first(rows: Floats, C: int, taps: int) -> Floats:
    """Rows (taps x C) as (C x taps)."""
    return np.ascontiguousarray(rows.reshape(taps, C, -1).swapaxes(0, 1).reshape(C * taps, -1))


def _with_indices(quantized: Quantized, indices: Mapping[str, Levels]) -> Quantized:
    """``quantized`` with other indices and a plain codebook."""
    largest = max(int(np.abs(n).max(initial=0)) for n in indices.values())
    quantizer = replace(quantized.quantizer, codebook=plain_codebook(largest))
    decoded = {name: quantizer.decode(name, n) for name, n in indices.items()}
    return Quantized(Network(quantized.network.graph, {**quantized.network.arrays, **decoded}), indices, quantizer)
