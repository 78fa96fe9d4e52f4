"""Inference in NumPy: every layer's forward pass, float32, images as (N, H, W, C).

Layers without weights that act on tensors of any shape: ``tensor_forward``.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from accelsim.arrays import Array
from accelsim.network.graph import INPUT, Network, Node
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    PadImage,
    Relu,
)
from accelsim.network.tensor_forward import apply_tensor_layer
from accelsim.network.tensors import Expand, Reshape, Slice, Transpose

# what they give may lie in their input's memory
VIEWS = (Flatten, Reshape, Transpose, Slice, Expand)
Parameters = Mapping[str, Array]  # of one node: weight, bias, ...
Convolution = Callable[[Node, Array, Array], Array]  # (node, x, weight) -> y, bias not added

# The columns of one block of a convolution stay in a core's cache.
BLOCK_BYTES = 1 << 20


# Callers look at what comes out: an overflow is said in one line, not as a warning for each operation.
QUIET = np.errstate(over="ignore", invalid="ignore")


@QUIET
def forward(
    network: Network,
    x: Array,
    *,
    convolution: Convolution | None = None,
    observe: Callable[[Node, tuple[Array, ...], Array], None] | None = None,
) -> Array:
    """Run the network on x.

    (N, H, W, C) float32, already preprocessed -> (N, ...) the last node's output.

    convolution: replaces the direct convolution of conv layers (another machine's arithmetic); the array it returns may
        be overwritten.
    observe: called as observe(node, inputs, output) after each node; then nothing is overwritten.
    """
    arrays = network.arrays
    values: dict[str, Array] = {INPUT: x}
    last_use = {source: i for i, node in enumerate(network.graph.nodes) for source in node.inputs}
    borrowed = {INPUT}  # values whose memory belongs to somebody else, too
    y = x
    for i, node in enumerate(network.graph.nodes):
        inputs = tuple(values[source] for source in node.inputs)
        parameters = {key: arrays[f"{node.name}.{key}"] for key in node.layer.parameters()}
        if convolution is not None and isinstance(node.layer, Conv):
            y = convolution(node, inputs[0], parameters["weight"])
            if node.layer.bias:
                y = y + parameters["bias"]
        else:
            first = node.inputs[0]
            mine = last_use[first] == i and first not in borrowed and node.inputs.count(first) == 1
            y = apply_layer(node, inputs, parameters, out=inputs[0] if mine and observe is None else None)
        if observe is not None:
            observe(node, inputs, y)
        values[node.name] = y
        if isinstance(node.layer, VIEWS):
            borrowed |= {node.name, *node.inputs}
        for source in set(node.inputs):
            if last_use[source] == i:
                del values[source]
    return y


def forward_outputs(network: Network, x: Array) -> dict[str, Array]:
    """All outputs of the network by node name.  x: as ``forward`` takes it."""
    wanted = network.graph.outputs or (network.graph.nodes[-1].name,)
    found: dict[str, Array] = {}

    def note(node: Node, _: tuple[Array, ...], y: Array) -> None:
        if node.name in wanted:
            found[node.name] = y

    forward(network, x, observe=note)
    return {name: found[name] for name in wanted}


@QUIET
def apply_layer(
    node: Node,
    inputs: tuple[Array, ...],
    parameters: Parameters,
    out: Array | None = None,
) -> Array:
    """The output of one node.  inputs: its input arrays; parameters: its own arrays by short name.

    out: an array of the first input's shape that element-wise layers may write their result to.
    """
    x = inputs[0]
    match node.layer:
        case Conv() as layer:
            return convolve(x, parameters["weight"], layer, parameters.get("bias"))
        case Linear() as layer:
            y = np.asarray(x @ parameters["weight"].T)
            return np.add(y, parameters["bias"], out=y) if layer.bias else y
        case BatchNorm() as layer:
            scale, shift = fold_statistics(layer, parameters)
            y = np.multiply(x, scale, out=out)
            return np.add(y, shift, out=y)
        case Affine():
            y = np.multiply(x, parameters["weight"], out=out)
            return np.add(y, parameters["bias"], out=y)
        case Relu():
            return np.maximum(x, np.float32(0), out=out)
        case Clip() as layer:
            low, high = (None if bound is None else np.float32(bound) for bound in (layer.low, layer.high))
            return np.asarray(x if low is high is None else np.clip(x, low, high, out=out))
        case MaxPool() as layer:
            return _max_pool(x, layer)
        case AveragePool() as layer:
            return _average_pool(x, layer)
        case GlobalAveragePool():
            return np.asarray(x.mean(axis=(1, 2), keepdims=True, dtype=np.float32))
        case LocalResponseNorm() as layer:
            return _local_response_norm(x, layer)
        case Add():
            y = np.add(x, inputs[1], out=out)
            for more in inputs[2:]:
                np.add(y, more, out=y)
            return y
        case Concat():
            return np.concatenate(inputs, axis=-1)
        case PadChannels() as layer:
            return np.pad(x, ((0, 0), (0, 0), (0, 0), (layer.before, layer.after)))
        case PadImage() as layer:
            return np.pad(x, ((0, 0), *zip(layer.before, layer.after, strict=True), (0, 0)))
        case Flatten():
            return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), -1)
        case _:
            return apply_tensor_layer(node.name, node.layer, inputs, parameters)


def fold_statistics(layer: BatchNorm, parameters: Parameters) -> tuple[Array, Array]:
    """The scale and shift (C,) that equal batch normalisation with fixed statistics."""
    scale = parameters["weight"] / np.sqrt(parameters["running_var"] + np.float32(layer.eps))
    return scale, parameters["bias"] - parameters["running_mean"] * scale


def convolve(x: Array, weight: Array, layer: Conv, bias: Array | None = None) -> Array:
    """Direct convolution.  x: (N, H, W, C), weight: (K, C / groups, R, S), bias: (K,) -> (N, P, Q, K).

    The image is unfolded along its width only, a block of rows at a time, and each row of the
    kernel is one matrix multiply on rows of it (Cho & Brand, MEC: Memory-efficient Convolution,
    ICML 2017).
    """
    R, S = layer.kernel
    stride_h, stride_w = layer.stride
    dil_h, dil_w = layer.dilation
    G = layer.groups
    K, C_g = weight.shape[:2]
    padded = _pad(x, layer.padding)
    N, H, W, C = padded.shape
    P = (H - dil_h * (R - 1) - 1) // stride_h + 1
    Q = (W - dil_w * (S - 1) - 1) // stride_w + 1
    if C_g == 1 and K == G:
        return _depthwise(padded, weight, layer, (P, Q), bias)
    if (R, S) == (1, 1) and G == 1:
        flat = padded[:, ::stride_h, ::stride_w].reshape(-1, C) @ weight.reshape(K, C).T
        return (flat if bias is None else np.add(flat, bias, out=flat)).reshape(N, P, Q, K)
    matrix = np.ascontiguousarray(weight.reshape(G, K // G, C_g, R, S).transpose(0, 3, 4, 2, 1))
    matrix = matrix.reshape(G, R, S * C_g, K // G)
    image, row, pixel, channel = padded.strides
    # [image, row, output column, kernel column, channel]
    unfolded = np.lib.stride_tricks.as_strided(
        padded, (N, H, Q, S, C), (image, row, stride_w * pixel, dil_w * pixel, channel), writeable=False
    )
    out = np.empty((N, P, Q, K), np.float32)
    row_bytes = 4 * stride_h * Q * S * C_g
    bands = min(P, -(-P * row_bytes // BLOCK_BYTES))
    height = -(-P // bands)
    images = max(1, BLOCK_BYTES // (row_bytes * P))
    columns = np.empty((min(images, N), (height - 1) * stride_h + dil_h * (R - 1) + 1, Q, S, C_g), np.float32)
    for first in range(0, N, images):
        for top in range(0, P, height):
            part = out[first : first + images, top : top + height]
            n, h = part.shape[:2]
            rows = (h - 1) * stride_h + dil_h * (R - 1) + 1
            for g in range(G):
                source = unfolded[first : first + n, top * stride_h :, :, :, g * C_g : (g + 1) * C_g]
                if stride_h == 1:  # the kernel's rows share the unfolded rows
                    columns[:n, :rows] = source[:, :rows]
                y = part[..., g * (K // G) : (g + 1) * (K // G)]
                for i in range(R):
                    if stride_h == 1:
                        taken = columns[:n, i * dil_h : i * dil_h + h]
                    else:
                        taken = columns[:n, :h]
                        taken[...] = source[:, i * dil_h : rows : stride_h][:, :h]
                    product = (taken.reshape(n, h * Q, S * C_g) @ matrix[g, i]).reshape(y.shape)
                    if i:
                        y += product
                    else:
                        y[...] = product
            if bias is not None:
                part += bias
    return out


def _depthwise(
    padded: Array,
    weight: Array,
    layer: Conv,
    size: tuple[int, int],
    bias: Array | None,
) -> Array:
    """One filter a channel: weight (C, 1, R, S), padded (N, H, W, C) -> (N, P, Q, C)."""
    out = np.zeros((len(padded), *size, len(weight)), np.float32)
    for i, j in np.ndindex(*layer.kernel):
        out += _shifted(padded, i * layer.dilation[0], j * layer.dilation[1], layer.stride, size) * weight[:, 0, i, j]
    return out if bias is None else np.add(out, bias, out=out)


def _pad(x: Array, padding: tuple[int, int]) -> Array:
    """Zeros around each image."""
    h, w = padding
    N, H, W, C = x.shape
    if not h and not w:
        return np.ascontiguousarray(x)
    padded = np.zeros((N, H + 2 * h, W + 2 * w, C), np.float32)
    padded[:, h : h + H, w : w + W] = x
    return padded


def _shifted(
    padded: Array,
    i: int,
    j: int,
    stride: tuple[int, int],
    size: tuple[int, int],
) -> Array:
    """The element (i, j) of each of the P x Q windows: (N, P, Q, C), a view."""
    s_h, s_w = stride
    P, Q = size
    return padded[:, i : i + (P - 1) * s_h + 1 : s_h, j : j + (Q - 1) * s_w + 1 : s_w]


def pool_windows(x: Array, layer: MaxPool | AveragePool, fill: float) -> Iterator[Array]:
    """For each element of the window, its value in all windows: (N, P, Q, C).

    Beyond the image it is ``fill``.
    """
    P, Q, _ = layer.output_shape((x.shape[1:],))
    spans = [(out - 1) * s + k for out, s, k in zip((P, Q), layer.stride, layer.kernel, strict=True)]
    pads = [(p, max(0, span - size - p)) for p, span, size in zip(layer.padding, spans, x.shape[1:3], strict=True)]
    padded = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill) if np.any(pads) else x
    for i, j in np.ndindex(*layer.kernel):
        yield _shifted(padded, i, j, layer.stride, (P, Q))


def _max_pool(x: Array, layer: MaxPool) -> Array:
    windows = pool_windows(x, layer, -np.inf)
    y = next(windows).copy()
    for values in windows:
        np.maximum(y, values, out=y)
    return y


def _average_pool(x: Array, layer: AveragePool) -> Array:
    """Windows' sums over the number of elements that count."""
    windows = pool_windows(x, layer, 0.0)
    y = next(windows).copy()
    for values in windows:
        y += values
    counts = layer.counts((x.shape[1], x.shape[2]))
    y /= np.multiply.outer(*counts).astype(np.float32)[:, :, None]
    return y


def _local_response_norm(x: Array, layer: LocalResponseNorm) -> Array:
    half = layer.size // 2
    C = x.shape[3]
    squares = np.pad(x * x, ((0, 0), (0, 0), (0, 0), (half, layer.size - 1 - half)))
    total = squares[..., :C].copy()
    for shift in range(1, layer.size):
        total += squares[..., shift : shift + C]
    total *= np.float32(layer.alpha / layer.size)
    total += np.float32(layer.k)
    return np.asarray(x / total ** np.float32(layer.beta))
