"""Weights rounded to whole multiples of their cell, with the zeros of both domains.

Zeros by themselves are ``accelsim.sparsity.whole_filters``'; with images, a layer's output changes
least instead of its weights (``accelsim.sparsity.whole_weights``).

Layer after layer (``reconstruction.refit``): X are the inputs that the rounded layers before it
give, Y what the layer gave before anything was rounded.  So errors in the directions that carry
images, their means above all, are made up for at once, where rounding to the nearest lets them add
up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from accelsim.arrays import Array, Flags, Levels
from accelsim.compression.quantize import Quantized, winograd_threshold
from accelsim.dual.quantizer import Quantizer, plain_codebook
from accelsim.errors import NumericalError
from accelsim.network.graph import Network
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.moments import Moments, Sample, bias_of
from accelsim.sparsity.reconstruction import refit
from accelsim.sparsity.whole_filters import whole_bases, whole_with_zeros
from accelsim.sparsity.whole_weights import whole_weights

# Of a cell: exact zeros of W are sums of float32 numbers; the least W of F(2, 5) or F(4, 3) is
# 1/576.
EXACT = 1e-3
POSITIONS = 300  # of each image
# Of each layer that Winograd serves: where W is zero, and kron (vec(W) = kron vec(w)).
Zeros = Mapping[str, tuple[Flags, Array]]


def zeros_of_filters(
    network: Network,
    tiles: Mapping[str, int],
    sparsity: float,
    quantizer: Quantizer,
) -> Zeros:
    """Which entries of W are zeros: the smallest of all layers together.

    And those that are nothing beside a cell of their layer.
    """
    regularizer = JointRegularizer(network.graph, {"default": 0} | dict(tiles))
    theta = max(winograd_threshold(network, tiles, sparsity), EXACT * min(quantizer.cells.values()))
    filters = regularizer.pruned_winograd(network.arrays, theta)
    nothing = {layer: EXACT * quantizer.cells[f"{layer}.weight"] for layer in filters}
    return {layer: (np.abs(W) <= nothing[layer], regularizer.kron[layer]) for layer, W in filters.items()}


def with_zeros(quantized: Quantized, network: Network, zeros: Zeros) -> Quantized:
    """The network, each layer that Winograd serves rounded so that zeros of both domains stay.

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

    indices: Mapping[str, Levels] = field(default_factory=dict)  # by array name
    biases: Mapping[str, Array] = field(default_factory=dict)  # by array name
    add: Callable[[str, Levels, Array | None], None] = lambda *_: None  # with name, indices, bias


def fitted(
    quantized: Quantized,
    network: Network,
    zeros: Zeros,
    images: Array,
    price: float = 0.0,
    rounded: Rounded | None = None,
) -> Quantized:
    """The network rounded anew so that each layer gives what it gave before.

    Biases take up the mean error.

    network: before quantization.  images: (N, H, W, C) float32, preprocessed.  price:
    as for ``accelsim.sparsity.lattice.nearest_point``.  Layers with groups stay as they are.
    Raises NumericalError if a layer's inputs are so much alike that no weights can be found.
    """
    rounded = rounded or Rounded()
    indices = {**quantized.indices, **rounded.indices}
    whole = Quantizer(quantized.quantizer.cells, np.zeros(0))
    layers = [name.removesuffix(".weight") for name in indices if name not in rounded.indices]
    start = {**quantized.network.arrays, **rounded.biases}
    start |= {name: whole.decode(name, n) for name, n in rounded.indices.items()}

    def find(layer: str, moments: Moments) -> Array:
        name = f"{layer}.weight"
        w = network.arrays[name]
        K, C = w.shape[:2]
        bases = whole_bases(w.reshape(K, C, -1, 1) == 0, *zeros.get(layer, (None, None)))
        bases = bases.reshape(K, C, *bases.shape[1:])
        try:
            n = whole_weights(moments, w.reshape(K, C, -1), whole.cells[name], bases, price)
        except NumericalError as error:
            raise NumericalError(f"layer {layer}: {error}") from None
        indices[name] = n.reshape(w.shape)
        found = whole.decode(name, n).transpose(2, 1, 0)
        rounded.add(layer, indices[name], bias_of(moments, found) if f"{layer}.bias" in start else None)
        return found

    arrays = refit(network, start, images, layers, find, Sample(POSITIONS))
    return _with_indices(replace(quantized, network=Network(network.graph, arrays)), indices)


def _with_indices(quantized: Quantized, indices: Mapping[str, Levels]) -> Quantized:
    """``quantized`` with other indices and a plain codebook."""
    largest = max(int(np.abs(n).max(initial=0)) for n in indices.values())
    quantizer = replace(quantized.quantizer, codebook=plain_codebook(largest))
    decoded = {name: quantizer.decode(name, n) for name, n in indices.items()}
    return Quantized(Network(quantized.network.graph, {**quantized.network.arrays, **decoded}), indices, quantizer)
