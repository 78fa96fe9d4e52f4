"""The forward pass of layers that act on tensors of any shape (``tensors``), float32, batch first.

Meaning of the functions and of resizing: https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from accelsim.arrays import Array, Floats
from accelsim.errors import InputError
from accelsim.network.record import LayerRecord
from accelsim.network.tensors import (
    Combine,
    Expand,
    FakeQuantize,
    Join,
    MatrixProduct,
    Opaque,
    Operand,
    Pad,
    Pointwise,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Standardize,
    Take,
    Transpose,
)


def _special(name: str) -> Callable[[Array], Any]:
    """A function of ``scipy.special``, imported when it is first called.

    Few networks need it, and it is slow.
    """

    def call(x: Array) -> Any:
        from scipy import special

        return getattr(special, name)(x)

    return call


_sigmoid = _special("expit")
_normal = _special("ndtr")  # the normal distribution up to x

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
    "min": np.min,
    "l1": lambda x, **where: np.sum(np.abs(x), **where),
    "l2": lambda x, **where: np.sqrt(np.sum(x * x, **where)),
}
COMBINATIONS: dict[str, Callable[[Array, Array], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "prelu": lambda x, slope: np.where(x < 0, x * slope, x),
}
FUNCTIONS: dict[str, Callable[[Array], Any]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "hard_swish": lambda x: x * np.clip(x / np.float32(6) + np.float32(0.5), 0, 1),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * _normal(x),
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3))) / 2,
    "mish": lambda x: x * np.tanh(np.logaddexp(x, np.float32(0))),
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "reciprocal": np.reciprocal,
    "abs": np.abs,
    "erf": _special("erf"),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sin": np.sin,
    "cos": np.cos,
}


def apply_tensor_layer(
    name: str, layer: LayerRecord, inputs: tuple[Array, ...], parameters: Mapping[str, Array]
) -> Array:
    """The output of one node.

    inputs: its input arrays, each (N, ...); parameters: its own arrays by short name.

    Raises InputError if the layer's operator is not known, TypeError if it is of another module.
    """
    x = inputs[0]
    match layer:
        case Pointwise():
            y = pointwise(layer, x)
        case FakeQuantize():
            y = np.clip(np.rint(x / np.float32(layer.scale)), layer.low, layer.high) * np.float32(layer.scale)
        case Combine():
            y = COMBINATIONS[layer.function](*_of_one_rank(*inputs))
        case Operand():
            y = COMBINATIONS[layer.function](*_of_one_rank(x, parameters["operand"][None]))
        case Reduce():
            axes = tuple(axis + 1 for axis in layer.axes)
            y = REDUCTIONS[layer.function](x, axis=axes, keepdims=layer.keep)
        case Softmax():
            from scipy import special

            y = (special.log_softmax if layer.log else special.softmax)(x, axis=layer.axis + 1)
        case Standardize():
            axes = tuple(axis + 1 for axis in layer.axes)
            centred = x - x.mean(axis=axes, keepdims=True)
            y = centred / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + np.float32(layer.eps))
        case MatrixProduct():
            y = np.matmul(*_of_one_rank(*inputs))
        case Resize():
            y = resize(layer, x)
        case Opaque():
            raise InputError(f"node {name}: what {layer.operator} computes is not known, it can only be simulated")
        case _:
            y = _moved(name, layer, inputs)
    return np.asarray(y, np.float32)


def _moved(name: str, layer: LayerRecord, inputs: tuple[Array, ...]) -> Array:
    """The output of a layer that only moves numbers."""
    x = inputs[0]
    match layer:
        case Reshape():
            return x.reshape(len(x), *layer.shape)
        case Transpose():
            return x.transpose(0, *(axis + 1 for axis in layer.order))
        case Expand():
            padded = x.reshape(len(x), *[1] * (len(layer.shape) - x.ndim + 1), *x.shape[1:])
            return np.broadcast_to(padded, (len(x), *layer.shape))
        case Slice():
            where = [slice(None)] * (layer.axis + 1) + [slice(layer.start, layer.stop, layer.step)]
            return x[tuple(where)]
        case Take():
            return np.take(x, layer.indices, axis=layer.axis + 1)
        case Pad():
            widths = [(0, 0), *zip(layer.before, layer.after, strict=True)]
            if layer.mode == "constant":
                return np.pad(x, widths, constant_values=np.float32(layer.value))
            return np.pad(x, widths, mode=layer.mode)
        case Join():
            return np.concatenate(inputs, axis=layer.axis + 1)
        case _:
            raise TypeError(f"node {name}: no forward pass for {type(layer).__name__}")


def pointwise(layer: Pointwise, x: Array) -> Array:
    """The function of each number."""
    alpha = np.float32(layer.alpha)
    beta = np.float32(layer.beta)
    match layer.function:
        case "linear":
            return np.asarray(alpha * x + beta)
        case "power":
            return np.asarray(np.power(x, alpha))
        case "hard_sigmoid":
            return np.asarray(np.clip(alpha * x + beta, 0, 1))
        case "leaky_relu":
            return np.asarray(np.where(x < 0, alpha * x, x))
        case "elu":
            return np.asarray(np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x))
    return np.asarray(FUNCTIONS[layer.function](x))


def _of_one_rank(a: Array, b: Array) -> tuple[Array, Array]:
    """Both with as many axes: sizes of 1 behind the batch of the one with fewer."""
    rank = max(a.ndim, b.ndim)
    one, other = (x.reshape(len(x), *[1] * (rank - x.ndim), *x.shape[1:]) for x in (a, b))
    return one, other


def resize(layer: Resize, x: Array) -> Array:
    """x: (N, H, W, C) -> (N, *layer.size, C), one axis after the other.

    Which pixel is nearest is told in float32, as runtimes do: where two are as near, the last bit
    decides.
    """
    dtype = np.float32 if layer.mode == "nearest" else np.float64
    for axis, out in enumerate(layer.size, start=1):
        before = x.shape[axis]
        scale = out / before if layer.scale is None else layer.scale[axis - 1]
        at = _coordinates(layer.coordinates, np.arange(out, dtype=dtype), before, out, dtype(scale))
        if layer.mode == "nearest":
            x = np.take(x, _nearest(layer.rounding, at).clip(0, before - 1).astype(np.int64), axis=axis)
        elif before != out or not np.array_equal(at, np.arange(out)):
            weights = _interpolation(layer, at, before)
            x = np.moveaxis(np.tensordot(weights, x, axes=(1, axis)), 0, axis)
    return x


def _coordinates(rule: str, i: Floats, before: int, after: int, scale: np.floating[Any]) -> Floats:
    """Where output pixels lie in the input, in pixels."""
    match rule:
        case "align_corners" if i.dtype == np.float32:
            return i * np.float32(before - 1) / np.float32(max(after - 1, 1))
        case "align_corners":
            return i * ((before - 1) / max(after - 1, 1))
        case "asymmetric":
            return i / scale
        case "pytorch_half_pixel" if after == 1:
            return np.zeros(1)
    return (i + 0.5) / scale - 0.5


def _nearest(rounding: str, at: Floats) -> Floats:
    match rounding:
        case "floor":
            return np.floor(at)
        case "ceil":
            return np.ceil(at)
        case "round_prefer_ceil":
            return np.floor(at + 0.5)
    return np.ceil(at - 0.5)


def _interpolation(layer: Resize, at: Floats, before: int) -> Array:
    """(output, input) weights along one axis; beyond the image its last pixel stands."""
    weights = np.zeros((len(at), before))
    first = np.floor(at)
    offsets = (0, 1) if layer.mode == "linear" else (-1, 0, 1, 2)
    rows = np.arange(len(at))
    for offset in offsets:
        distance = np.abs(at - (first + offset))
        share = 1 - distance if layer.mode == "linear" else _cubic(distance, layer.cubic)
        np.add.at(weights, (rows, (first + offset).clip(0, before - 1).astype(np.int64)), share)
    return weights.astype(np.float32)


def _cubic(d: Floats, a: float) -> Floats:
    """Keys' cubic convolution kernel at distances of up to 2 (IEEE ASSP 29(6), 1981)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)
