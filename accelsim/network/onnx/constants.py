"""Operators on constants, done while a file is read.

Mostly the arithmetic of shapes that exporters write out.

Nothing of the image is involved.  What could be large is checked before memory is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from accelsim.network.onnx.draft import Unfit
from accelsim.network.onnx.operators.quantized import integers, real, spread

MAX_MADE = 1 << 24  # numbers of one constant, beside four times those that it is made of
MAX_MADE_IN_ALL = 1 << 26  # of all that are made, beside four times those of the file
Constant = NDArray[Any]


class Attributes(dict[str, Any]):
    """Attributes by name, which remember for which ones somebody asked."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)


Fold = Callable[[list[Constant | None], Attributes], Constant | list[Constant]]

DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_}
DTYPES |= {10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64, 16: np.float32}


def fold(
    operator: str,
    inputs: Sequence[Constant | None],
    attributes: Mapping[str, Any],
) -> list[Constant] | None:
    """The outputs of an operator on constants; None if it is not known here.

    Raises Unfit if they do not fit it, or if it has an attribute that is not known.
    """
    found = FOLDS.get(operator)
    if found is None:
        return None
    given = Attributes(attributes)
    try:
        with np.errstate(all="ignore"):
            result = found(list(inputs), given)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise Unfit(f"of constants: {' '.join(str(error).split())[:100]}") from None
    if unknown := sorted(given.keys() - given.asked - MEANINGLESS.get(operator, set())):
        raise Unfit(f"attribute {unknown[0]!r} is not known of constants")
    return [np.asarray(x) for x in result] if isinstance(result, list) else [np.asarray(result)]


def made(arrays: Sequence[Any]) -> int:
    """How many numbers these constants take memory for: what shows those of another takes none."""
    return sum(array.size for array in arrays if isinstance(array, np.ndarray) and array.base is None)


def bounded(shape: Sequence[int], *sources: Constant | None) -> tuple[int, ...]:
    """The shape.  Raises Unfit if it is of more numbers than a constant made of these may have."""
    sizes = tuple(int(size) for size in shape)
    most = MAX_MADE + 4 * sum(x.size for x in sources if x is not None)
    if min(sizes, default=0) < 0 or prod(sizes) > most:
        raise Unfit(f"a constant of {list(sizes)[:16]}, expected at most {most} numbers")
    return sizes


def _given(x: Constant | None) -> Constant:
    if x is None:
        raise Unfit("an input is missing")
    return x


def _integers(x: Constant | None, attribute: Any = None) -> list[int] | None:
    found = attribute if x is None else x
    return None if found is None else [int(i) for i in np.asarray(found).reshape(-1)]


def _each(function: Callable[..., Any]) -> Fold:
    """A function of arrays element by element, whose result is not larger than they are together."""

    def run(inputs: list[Constant | None], attributes: Attributes) -> Constant:
        arrays = [_given(x) for x in inputs]
        bounded(np.broadcast_shapes(*(x.shape for x in arrays)), *arrays)
        return np.asarray(function(*arrays))

    return run


def _divide(a: Constant, b: Constant) -> Constant:
    if a.dtype.kind in "iu":
        return np.asarray(np.trunc(a / b).astype(a.dtype))
    return np.asarray(a / b)


def _cast(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    to = attributes["to"]
    x: Constant = _given(inputs[0]).astype(DTYPES[to])
    return _as_bfloat16(x) if to == 16 else x


def _as_bfloat16(x: Constant) -> Constant:
    """float32 numbers, each with its first 8 bits of mantissa, ties to even."""
    bits = x.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(x), rounded.view(np.float32), x)


def _filled(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    value = attributes.get("value")
    shape = bounded(_integers(inputs[0]) or ())
    return np.zeros(shape, np.float32) if value is None else np.full(shape, value.reshape(-1)[0], value.dtype)


def _gather(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    x = _given(inputs[0])
    indices = _given(inputs[1])
    bounded((x.size // max(x.shape[attributes.get("axis", 0)], 1), indices.size), x)
    return np.asarray(np.take(x, indices.astype(np.int64), axis=attributes.get("axis", 0)))


def _slice(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    more = [*inputs, *[None] * 5]
    x = _given(more[0])
    starts, stops = (_integers(more[i], attributes.get(name)) or [] for i, name in ((1, "starts"), (2, "ends")))
    axes = _integers(more[3], attributes.get("axes")) or list(range(len(starts)))
    steps = _integers(more[4]) or [1] * len(starts)
    if len({axis % max(x.ndim, 1) for axis in axes}) < len(axes):
        raise Unfit(f"axes {axes[:16]}, expected each once")
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        where = [slice(None)] * x.ndim
        where[axis] = slice(start, None if step < 0 and stop < -x.shape[axis] else stop, step)
        x = x[tuple(where)]
    return x


def _reshape(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    x = _given(inputs[0])
    target = _integers(inputs[1], attributes.get("shape")) or []
    if attributes.get("allowzero"):
        return x.reshape(target)
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(target)])


def _squeeze(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    axes = _integers(inputs[1] if len(inputs) > 1 else None, attributes.get("axes"))
    if axes == []:
        raise Unfit("axes [], expected some, or no axes at all")
    return np.squeeze(_given(inputs[0]), None if axes is None else tuple(axes))


def _unsqueeze(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    axes = _integers(inputs[1] if len(inputs) > 1 else None, attributes.get("axes")) or []
    return np.expand_dims(_given(inputs[0]), tuple(axes))


def _concat(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    parts = [_given(x) for x in inputs]
    bounded((sum(x.size for x in parts),), *parts)
    return np.concatenate(parts, attributes["axis"])


def _expand(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    x = _given(inputs[0])
    shape = bounded(np.broadcast_shapes(x.shape, tuple(_integers(inputs[1]) or ())), x)
    return np.broadcast_to(x, shape)


def _tile(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    x = _given(inputs[0])
    repeats = _integers(inputs[1]) or []
    bounded((x.size, prod(max(0, times) for times in repeats)), x)
    return np.tile(x, repeats)


def _range(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    start, stop, step = (_given(x).reshape(-1)[0] for x in inputs)
    bounded((max(0, int(np.ceil((stop - start) / step))),))
    return np.arange(start, stop, step, dtype=_given(inputs[0]).dtype)


def _where(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    return _each(np.where)(inputs, attributes)  # type: ignore[return-value]


def _transpose(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    return _given(inputs[0]).transpose(attributes.get("perm"))


def _split(inputs: list[Constant | None], attributes: Attributes) -> list[Constant]:
    x = _given(inputs[0])
    axis = attributes.get("axis", 0)
    sizes = _integers(inputs[1] if len(inputs) > 1 else None, attributes.get("split"))
    parts = attributes["num_outputs"]
    if sizes is None:
        each = -(-x.shape[axis] // parts)
        sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    if sum(sizes) != x.shape[axis] or min(sizes) < 0 or len(sizes) != parts:
        raise Unfit(f"into {sizes[:8]}, expected {parts} parts of {x.shape[axis]}")
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _reduced(function: Callable[..., Any]) -> Fold:
    def run(inputs: list[Constant | None], attributes: Attributes) -> Constant:
        axes = _integers(inputs[1] if len(inputs) > 1 else None, attributes.get("axes"))
        kept = bool(attributes.get("keepdims", 1))
        if attributes.get("noop_with_empty_axes", 0) and not axes:
            return _given(inputs[0])
        x = _given(inputs[0])
        return np.asarray(function(x, axis=tuple(axes) if axes else None, keepdims=kept)).astype(x.dtype)

    return run


def _pad(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    more = [*inputs, *[None] * 3]
    x = _given(more[0])
    pads = _integers(more[1], attributes.get("pads")) or []
    axes = _integers(more[3]) or list(range(x.ndim))
    if (mode := attributes.get("mode", b"constant")) != b"constant" or len(set(axes)) < len(axes):
        raise Unfit(f"mode {mode!r}, axes {axes[:16]}, expected constant, and each axis once")
    widths = [(0, 0)] * x.ndim
    for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        widths[axis] = (low, high)
    bounded([size + low + high for size, (low, high) in zip(x.shape, widths, strict=True)], x)
    value = np.asarray(attributes.get("value", 0.0)) if more[2] is None else more[2]
    return np.pad(x, widths, constant_values=value.reshape(-1)[0])


def _dequantized(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    zero = inputs[2] if len(inputs) > 2 else None
    x = _given(inputs[0])
    scale = _given(inputs[1])
    axis, block = _along(inputs[0], attributes)
    if attributes.get("output_dtype", 0) not in (0, 1):
        raise Unfit("output_dtype, expected float32")
    return real(x, scale, zero, axis, block)


def _along(x: Constant | None, attributes: Attributes) -> tuple[int, int]:
    """The axis of a constant's scales, and how many numbers along it share one."""
    return attributes.get("axis", 1 if _given(x).ndim > 1 else 0), attributes.get("block_size", 0)


def _quantized(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    """Integers; only what is dequantized again has a meaning here."""
    x = _given(inputs[0])
    scale = _given(inputs[1])
    zero = inputs[2] if len(inputs) > 2 else None
    dtype = integers(attributes.get("output_dtype", 0), zero)
    axis, block = _along(x, attributes)
    point = np.zeros(()) if zero is None else spread(zero.astype(np.float64), x, axis, block)
    q = np.rint(x / spread(scale, x, axis, block)) + point
    bounds = np.iinfo(dtype)
    clipped: Constant = np.clip(q, bounds.min, bounds.max).astype(dtype)
    return clipped


def _scattered(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    """ScatterND."""
    x = _given(inputs[0]).copy()
    indices = _given(inputs[1])
    updates = _given(inputs[2])
    if attributes.get("reduction", b"none") != b"none":
        raise Unfit("reduction, expected none")
    x[tuple(np.moveaxis(indices, -1, 0))] = updates
    return x


def _gathered(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    """GatherND."""
    x = _given(inputs[0])
    indices = _given(inputs[1]).astype(np.int64)
    if attributes.get("batch_dims"):
        raise Unfit("batch_dims, expected none")
    bounded((*indices.shape[:-1], *x.shape[indices.shape[-1] :]), x)
    return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])


def _clipped(inputs: list[Constant | None], attributes: Attributes) -> Constant:
    low, high = (inputs[i] if i < len(inputs) else attributes.get(name) for i, name in ((1, "min"), (2, "max")))
    return _given(inputs[0]) if low is high is None else np.clip(_given(inputs[0]), low, high)


def _product(a: Constant, b: Constant) -> Constant:
    bounded((*a.shape[:-1], *b.shape[-1:]), a, b)
    return np.asarray(np.matmul(a, b))


# Attributes that change nothing for constants: rounding to 8-bit floating point, what is left out
# while training.
MEANINGLESS = {"Cast": {"saturate"}, "CastLike": {"saturate"}, "QuantizeLinear": {"saturate"}}
MEANINGLESS |= {"Dropout": {"ratio", "seed"}}
FOLDS: dict[str, Fold] = {
    "Identity": _each(lambda x: x),
    "Dropout": lambda inputs, attributes: _given(inputs[0]),
    "Cast": _cast,
    "CastLike": lambda inputs, attributes: _given(inputs[0]).astype(_given(inputs[1]).dtype),
    "ConstantOfShape": _filled,
    "Gather": _gather,
    "Slice": _slice,
    "Reshape": _reshape,
    "Flatten": lambda inputs, attributes: _given(inputs[0]).reshape(
        prod(_given(inputs[0]).shape[: attributes.get("axis", 1)]), -1
    ),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "Where": _where,
    "Transpose": _transpose,
    "Split": _split,
    "Pad": _pad,
    "GatherND": _gathered,
    "ScatterND": _scattered,
    "Shape": lambda inputs, attributes: np.array(
        _given(inputs[0]).shape[attributes.get("start", 0) : attributes.get("end")], np.int64
    ),
    "Size": lambda inputs, attributes: np.array(_given(inputs[0]).size, np.int64),
    "DequantizeLinear": _dequantized,
    "QuantizeLinear": _quantized,
    "MatMul": lambda inputs, attributes: _product(_given(inputs[0]), _given(inputs[1])),
    "Add": _each(np.add),
    "Sub": _each(np.subtract),
    "Mul": _each(np.multiply),
    "Div": _each(_divide),
    "Mod": lambda inputs, attributes: _each(np.fmod if attributes.get("fmod") else np.mod)(inputs, attributes),
    "Pow": _each(np.power),
    "Max": _each(lambda *x: np.max(np.broadcast_arrays(*x), axis=0)),
    "Min": _each(lambda *x: np.min(np.broadcast_arrays(*x), axis=0)),
    "Relu": _each(lambda x: np.maximum(x, 0)),
    "Sigmoid": _each(special.expit),
    "Tanh": _each(np.tanh),
    "Clip": _clipped,
    "Neg": _each(np.negative),
    "Abs": _each(np.abs),
    "Sqrt": _each(np.sqrt),
    "Exp": _each(np.exp),
    "Log": _each(np.log),
    "Sin": _each(np.sin),
    "Cos": _each(np.cos),
    "Floor": _each(np.floor),
    "Ceil": _each(np.ceil),
    "Reciprocal": _each(np.reciprocal),
    "Equal": _each(np.equal),
    "Greater": _each(np.greater),
    "GreaterOrEqual": _each(np.greater_equal),
    "Less": _each(np.less),
    "LessOrEqual": _each(np.less_equal),
    "Not": _each(np.logical_not),
    "And": _each(np.logical_and),
    "Or": _each(np.logical_or),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "ReduceMean": _reduced(np.mean),
}
