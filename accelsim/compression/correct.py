"""Biases that make up for what pruning and quantization do to the mean output of each channel.

    b_k <- b_k + mean(y_k) - mean(y'_k),
    y: of the network as trained,  y': of the quantized one so far

over images and positions, layer after layer, each on the inputs that the corrected layers before it
give (Nagel et al., arXiv:1906.04721, with images in place of batch-norm's statistics).  For
networks without batch-norm, whose statistics could be measured anew.
"""

import numpy as np

from accelsim.arrays import Array
from accelsim.network import Network, Node, forward
from accelsim.network.forward import convolve
from accelsim.network.layers import Conv
from accelsim.threads import on_all_cores

CHUNK = 32  # images that are convolved together


def corrected_biases(network: Network, quantized: Network, x: Array) -> dict[str, Array]:
    """New biases of the quantized network's convolutions that have one, by array name.

    network: as trained, of the same graph.  x: (N, H, W, C) float32 preprocessed images, passed
    through together.
    """
    wanted: dict[str, Array] = {}

    def note(node: Node, _: tuple[Array, ...], y: Array) -> None:
        if isinstance(node.layer, Conv) and node.layer.bias:
            wanted[f"{node.name}.bias"] = y.mean(axis=(0, 1, 2), dtype=np.float64)

    def plain(node: Node, x: Array, weight: Array) -> Array:
        assert isinstance(node.layer, Conv)
        return _convolved(x, weight, node.layer)

    forward(network, x, convolution=plain, observe=note)
    biases = {name: quantized.arrays[name] for name in wanted}

    def correct(node: Node, x: Array, weight: Array) -> Array:
        assert isinstance(node.layer, Conv)
        y = _convolved(x, weight, node.layer)
        name = f"{node.name}.bias"
        if name in biases:
            old = biases[name]
            biases[name] = (wanted[name] - y.mean(axis=(0, 1, 2), dtype=np.float64)).astype(np.float32)
            y = y + (biases[name] - old)  # ``forward`` adds the old one
        return y

    forward(quantized, x, convolution=correct)
    return biases


def _convolved(x: Array, weight: Array, layer: Conv) -> Array:
    """``convolve`` of so many images at a time, on all cores."""
    parts = on_all_cores(lambda first: convolve(x[first : first + CHUNK], weight, layer), range(0, len(x), CHUNK))
    return np.concatenate(parts) if len(parts) > 1 else parts[0]
