"""The spatial machine's arithmetic in float32.

Every convolution multiplies its non-zero weights only.

A filter is what the array streams: the values and positions of its non-zero weights (compressed
sparse rows).  Zeros are never touched, so the result shows that the compressed stream alone is the
network.  Products are summed in the stream's order in float32; rounding to the machine's integer
widths is left out.  Fully-connected layers run dense.
"""

import numpy as np
from scipy.sparse import csr_array

from accelsim.arrays import Array
from accelsim.dual.model import DualModel
from accelsim.network import Network, Node, forward
from accelsim.network.forward import Convolution
from accelsim.network.layers import Conv

# Unfolded inputs of one block of output positions stay in a core's cache.
BLOCK_BYTES = 1 << 20


def run_spatial(model: DualModel, x: Array) -> Array:
    """Run the decoded network on x.

    (N, H, W, C) float32, preprocessed -> (N, ...) the last node's output.
    """
    return forward(model.network, x, convolution=sparse_convolution(model.network))


def sparse_convolution(network: Network) -> Convolution:
    """A convolution for ``accelsim.network.forward`` on the network's non-zero weights."""
    streams = {
        node.name: _streams(network.arrays[f"{node.name}.weight"], node.layer.groups)
        for node in network.graph.nodes
        if isinstance(node.layer, Conv)
    }

    def run(node: Node, x: Array, _: Array) -> Array:
        assert isinstance(node.layer, Conv)
        return _convolve(x, streams[node.name], node.layer)

    return run


def _streams(weight: Array, groups: int) -> list[csr_array]:
    """The filters (K / groups, R S C / groups) of each group, taps outermost as in ``_convolve``."""
    return [csr_array(w.transpose(0, 2, 3, 1).reshape(len(w), -1)) for w in np.split(weight, groups)]


def _convolve(x: Array, streams: list[csr_array], layer: Conv) -> Array:
    """x: (N, H, W, C) -> (N, P, Q, K), an image and some rows of outputs at a time."""
    pad_h, pad_w = layer.padding
    s_h, s_w = layer.stride
    d_h, d_w = layer.dilation
    P, Q, K = layer.output_shape((x.shape[1:],))
    R, S = layer.kernel
    K_g = K // layer.groups
    C_g = layer.in_channels // layer.groups
    out = np.empty((len(x), K, P, Q), np.float32)
    height = max(1, min(P, BLOCK_BYTES // (4 * R * S * C_g * Q)))
    for image, target in zip(x, out, strict=True):
        padded = np.pad(image.transpose(2, 0, 1), ((0, 0), (pad_h, pad_h), (pad_w, pad_w)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, ((R - 1) * d_h + 1, (S - 1) * d_w + 1), axis=(1, 2))
        taps = windows[:, ::s_h, ::s_w, ::d_h, ::d_w].transpose(3, 4, 0, 1, 2)  # (R, S, C, P, Q)
        for g, stream in enumerate(streams):
            for top in range(0, P, height):
                block = taps[:, :, g * C_g : (g + 1) * C_g, top : top + height]
                columns = np.ascontiguousarray(block).reshape(R * S * C_g, -1)
                target[g * K_g : (g + 1) * K_g, top : top + height] = (stream @ columns).reshape(K_g, -1, Q)
    return np.ascontiguousarray(out.transpose(0, 2, 3, 1))
