"""Inference in NumPy: every layer's forward pass, float32, images as (N, H, W, C)."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from accelsim.network.graph import INPUT, Network, Node
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    Relu,
)

Array = NDArray[np.float32]
Parameters = Mapping[str, Array]  # of one node: weight, bias, ...
Convolution = Callable[[Node, Array, Array], Array]  # (node, x, weight) -> y, bias not added

# Columns of an im2col block stay in a core's cache: about 1 MB.
BLOCK_BYTES = 1 << 20


def forward(
    network: Network,
    x: Array,
    *,
    convolution: Convolution | None = None,
    observe: Callable[[Node, tuple[Array, ...], Array], None] | None = None,
) -> Array:
    """Run the network on x: (N, H, W, C) float32, already preprocessed -> (N, ...) the last node's output.

    convolution: replaces the direct convolution of conv layers (another machine's arithmetic).
    observe: called as observe(node, inputs, output) after each node.
    """
    arrays = network.arrays
    values: dict[str, Array] = {INPUT: x}
    last_use = {source: i for i, node in enumerate(network.graph.nodes) for source in node.inputs}
    y = x
    for i, node in enumerate(network.graph.nodes):
        inputs = tuple(values[source] for source in node.inputs)
        parameters = {key: arrays[f"{node.name}.{key}"] for key in node.layer.parameters()}
        if convolution is not None and isinstance(node.layer, Conv):
            y = convolution(node, inputs[0], parameters["weight"])
            if node.layer.bias:
                y = y + parameters["bias"]
        else:
            y = apply_layer(node, inputs, parameters)
        if observe is not None:
            observe(node, inputs, y)
        values[node.name] = y
        for source in set(node.inputs):
            if last_use[source] == i:
                del values[source]
    return y


def apply_layer(node: Node, inputs: tuple[Array, ...], parameters: Parameters) -> Array:
    """The output of one node.  inputs: its input arrays; parameters: its own arrays by short name."""
    x = inputs[0]
    match node.layer:
        case Conv() as layer:
            y = convolve(x, parameters["weight"], layer)
            return np.asarray(y + parameters["bias"]) if layer.bias else y
        case Linear() as layer:
            y = np.asarray(x @ parameters["weight"].T)
            return np.asarray(y + parameters["bias"]) if layer.bias else y
        case BatchNorm() as layer:
            scale, shift = fold_statistics(layer, parameters)
            return np.asarray(x * scale + shift)
        case Affine():
            return np.asarray(x * parameters["weight"] + parameters["bias"])
        case Relu():
            return np.maximum(x, np.float32(0))
        case MaxPool() as layer:
            return np.asarray(_pool(x, layer, np.float32(-np.inf)).max(axis=(-2, -1)))
        case AveragePool() as layer:
            return _average_pool(x, layer)
        case GlobalAveragePool():
            return np.asarray(x.mean(axis=(1, 2), keepdims=True, dtype=np.float32))
        case LocalResponseNorm() as layer:
            return _local_response_norm(x, layer)
        case Add():
            return np.asarray(sum(inputs[1:], start=x))
        case Concat():
            return np.concatenate(inputs, axis=-1)
        case PadChannels() as layer:
            return np.pad(x, ((0, 0), (0, 0), (0, 0), (layer.before, layer.after)))
        case Flatten():
            return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), -1)
        case _:
            raise TypeError(f"node {node.name}: no forward pass for {type(node.layer).__name__}")


def fold_statistics(layer: BatchNorm, parameters: Parameters) -> tuple[Array, Array]:
    """The scale and shift (C,) that equal batch normalisation with fixed statistics."""
    scale = parameters["weight"] / np.sqrt(parameters["running_var"] + np.float32(layer.eps))
    return scale, parameters["bias"] - parameters["running_mean"] * scale


def convolve(x: Array, weight: Array, layer: Conv) -> Array:
    """Direct convolution as blocked im2col.  x: (N, H, W, C), weight: (K, C / groups, R, S) -> (N, P, Q, K).

    Columns are built for a few images at a time, so that they are still in the cache when multiplied.
    """
    (R, S), (stride_h, stride_w), (dil_h, dil_w) = layer.kernel, layer.stride, layer.dilation
    (pad_h, pad_w), G = layer.padding, layer.groups
    K, C_g = weight.shape[:2]
    N, H, W, _ = x.shape
    P = (H + 2 * pad_h - dil_h * (R - 1) - 1) // stride_h + 1
    Q = (W + 2 * pad_w - dil_w * (S - 1) - 1) // stride_w + 1
    padded = np.pad(x, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0))) if pad_h or pad_w else x
    # (G, R * S * C_g, K / G): the row order matches the columns' (R, S, C_g).
    matrix = weight.reshape(G, K // G, C_g, R, S).transpose(0, 3, 4, 2, 1).reshape(G, R * S * C_g, K // G)
    out = np.empty((N, P, Q, G, K // G), np.float32)
    block = max(1, BLOCK_BYTES // (4 * P * Q * R * S * C_g))
    columns = np.empty((block, P, Q, R, S, C_g), np.float32)
    for first in range(0, N, block):
        images = padded[first : first + block]
        part = columns[: len(images)]
        for g in range(G):
            for i in range(R):
                for j in range(S):
                    part[:, :, :, i, j] = images[
                        :,
                        i * dil_h : i * dil_h + (P - 1) * stride_h + 1 : stride_h,
                        j * dil_w : j * dil_w + (Q - 1) * stride_w + 1 : stride_w,
                        g * C_g : (g + 1) * C_g,
                    ]
            product = part.reshape(-1, R * S * C_g) @ matrix[g]
            out[first : first + block, :, :, g] = product.reshape(len(images), P, Q, -1)
    return out.reshape(N, P, Q, K)


def _pool(x: Array, layer: MaxPool | AveragePool, fill: np.float32) -> Array:
    """Windows of x: (N, P, Q, C, kernel_h, kernel_w), beyond the image ``fill``."""
    P, Q, _ = layer.output_shape((x.shape[1:],))
    spans = [
        (out - 1) * s + k for out, s, k in zip((P, Q), layer.stride, layer.kernel, strict=True)
    ]  # padded extent that the windows touch
    pads = [(p, max(0, span - size - p)) for p, span, size in zip(layer.padding, spans, x.shape[1:3], strict=True)]
    padded = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill) if np.any(pads) else x
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(1, 2))
    return windows[:, : spans[0] : layer.stride[0], : spans[1] : layer.stride[1]][:, :P, :Q]


def _average_pool(x: Array, layer: AveragePool) -> Array:
    """Windows' sums over the number of elements inside the image and its padding."""
    total = _pool(x, layer, np.float32(0)).sum(axis=(-2, -1), dtype=np.float32)
    counts = []
    for axis in range(2):
        k, s, p, size = layer.kernel[axis], layer.stride[axis], layer.padding[axis], x.shape[1 + axis]
        start = np.arange(total.shape[1 + axis]) * s
        counts.append(np.minimum(start + k, size + 2 * p) - start)
    return np.asarray(total / np.multiply.outer(counts[0], counts[1]).astype(np.float32)[:, :, None])


def _local_response_norm(x: Array, layer: LocalResponseNorm) -> Array:
    half = layer.size // 2
    squares = np.pad(x * x, ((0, 0), (0, 0), (0, 0), (half, layer.size - 1 - half)))
    total = np.lib.stride_tricks.sliding_window_view(squares, layer.size, axis=3).sum(axis=-1, dtype=np.float32)
    return np.asarray(x / (layer.k + layer.alpha / layer.size * total) ** np.float32(layer.beta), np.float32)
