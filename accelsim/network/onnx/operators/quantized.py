"""Quantized networks: pairs of QuantizeLinear and DequantizeLinear, and QLinear operators, in real numbers.

Weights become what their integers stand for.  Activations are rounded to their grid by a layer of
its own (``FakeQuantize``): real = scale (q - zero point), q of 8 bits.  Their tensor remembers that
grid, for whoever reads it may take the integers by another.  A QLinear operator computes with real
numbers and rounds its output to its own grid, as the integer operator does but where a value lies
between two steps of it.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.network.layers import Add
from accelsim.network.onnx.call import Call, shortest
from accelsim.network.onnx.draft import Grid, Tensor, Unfit, Value
from accelsim.network.onnx.operators.elementwise import of_tensors, on_grid
from accelsim.network.onnx.operators.pools import global_average_pool
from accelsim.network.onnx.operators.products import convolution, linear
from accelsim.network.tensors import FakeQuantize


def quantize(call: Call) -> list[Value]:
    x = call.tensor()
    zero = call.constant(2)
    _for_channels_alone(call)
    dtype = integers(call.take("output_dtype", 0), zero)
    return [_rounded(call, x, call.array(1), zero, dtype)]


def dequantize(call: Call) -> list[Value]:
    """Behind a quantized tensor of the image, or an image of integers."""
    _for_channels_alone(call)
    return [_real_input(call, 0)]


def _for_channels_alone(call: Call) -> None:
    """Take the attributes that mean nothing where the whole tensor has one scale."""
    call.take("axis", 1)
    call.expect("block_size", 0)
    call.take("saturate", 1)  # of 8-bit floating point
    if call.operator == "DequantizeLinear":
        call.expect("output_dtype", 0, 1)


def integers(output: int, zero: NDArray[Any] | None) -> np.dtype[Any]:
    """The type of what QuantizeLinear gives.

    output: ONNX's number of it, 0: the zero point's, unsigned bytes else.
    """
    known = {0: np.uint8, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16}
    dtype = zero.dtype if zero is not None else np.dtype(known.get(output, np.float32))
    if dtype.kind not in "iu" or dtype.itemsize > 2 or (output and known.get(output) != dtype):
        raise Unfit(f"to {dtype}, output_dtype {output}, expected one type, of integers of 8 or 16 bits")
    return dtype


def _grid(scale: NDArray[Any], zero: NDArray[Any] | None) -> Grid:
    """The grid of a scale and a zero point.  Raises Unfit if there is more than one of either."""
    if scale.size != 1 or (zero is not None and zero.size != 1):
        raise Unfit("one scale a channel, expected one for the whole tensor")
    return Grid(scale=shortest(scale.reshape(-1)[0]), zero=0 if zero is None else int(zero.reshape(-1)[0]))


def _real_input(call: Call, number: int) -> Tensor:
    """An input of integers, followed by a scale and a zero point, as the real numbers that they stand for by these."""
    x = call.tensor(number)
    grid = _grid(call.array(number + 1), call.constant(number + 2))
    if x.grid is None:
        raise Unfit("its input is not quantized, expected QuantizeLinear before it")
    return on_grid(call, x, grid)


def _rounded(
    call: Call,
    x: Tensor,
    scale: NDArray[Any],
    zero: NDArray[Any] | None,
    dtype: np.dtype[Any] | None = None,
) -> Tensor:
    """x on the grid of a scale and a zero point.

    dtype: of the integers, the zero point's by default.
    """
    grid = _grid(scale, zero)
    bounds = np.iinfo(integers(0, zero) if dtype is None else dtype)
    layer = FakeQuantize(
        scale=grid.scale,
        low=int(bounds.min) - grid.zero,
        high=int(bounds.max) - grid.zero,
    )
    return replace(call.apply(layer, x), grid=grid)


def spread(scale: NDArray[Any], values: NDArray[Any], axis: int, block: int) -> NDArray[Any]:
    """Scales or zero points in a shape that goes with the values.

    One, one for each index of an axis, or a block's.

    block: numbers along the axis that share one, 0 where there are no blocks.  Raises Unfit if they
    do not fit.
    """
    if not -values.ndim <= axis < max(values.ndim, 1):
        raise Unfit(f"axis {axis}, expected one of {values.ndim}")
    if block:
        sizes = [-(-x // block) if i == axis % values.ndim else x for i, x in enumerate(values.shape)]
        if block < 0 or list(scale.shape) != sizes:
            raise Unfit(f"scales of {list(scale.shape)[:16]} for blocks of {block}, expected {sizes}")
        return np.repeat(scale, block, axis).take(range(values.shape[axis]), axis)
    if scale.size == 1:
        return scale.reshape([1] * values.ndim)
    if scale.ndim != 1 or scale.size != values.shape[axis]:
        raise Unfit(f"scales of {list(scale.shape)[:16]}, expected one for each along axis {axis} of {values.shape}")
    return scale.reshape([-1 if i == axis % values.ndim else 1 for i in range(values.ndim)])


def real(
    values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None, axis: int, block: int = 0
) -> NDArray[np.float32]:
    """What integers stand for: scale (q - zero point).  axis, block: as ``spread`` takes them."""
    shift = np.zeros((), np.float32) if zero is None else spread(zero.astype(np.float32), values, axis, block)
    return np.asarray((values.astype(np.float32) - shift) * spread(scale.astype(np.float32), values, axis, block))


def qlinear_conv(call: Call) -> list[Value]:
    """QLinearConv: x, its scale and zero point, w with its own, those of y, and a bias in units of both scales."""
    scale_x = call.array(1)
    scale_w = call.array(4)
    weight = real(call.array(3), scale_w, call.constant(5), 0)
    found = call.constant(8)
    bias = {}
    if found is not None:
        bias = {"bias": (found * scale_x.reshape(-1)[0] * scale_w.reshape(-1)).astype(np.float32)}
    y = convolution(call, _real_input(call, 0), weight, bias)
    return [_rounded(call, y, call.array(6), call.constant(7))]


def qlinear_matmul(call: Call) -> list[Value]:
    weight = real(call.array(3, 2), call.array(4), call.constant(5), 1)
    return [_rounded(call, linear(call, _real_input(call, 0), weight.T, {}), call.array(6), call.constant(7))]


def qlinear_add(call: Call) -> list[Value]:
    a = _real_input(call, 0)
    b = _real_input(call, 3)
    alike = (a.dims, a.axes) == (b.dims, b.axes)
    y = call.apply(Add(), a, b) if alike else of_tensors(call, "add", a, b)
    return [_rounded(call, y, call.array(6), call.constant(7))]


def qlinear_mean(call: Call) -> list[Value]:
    """com.microsoft's QLinearGlobalAveragePool."""
    call.expect("channels_last", 0)
    call.inputs[0] = _real_input(call, 0)
    y = global_average_pool(call)[0]
    assert isinstance(y, Tensor)
    return [_rounded(call, y, call.array(3), call.constant(4))]


OPERATORS = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QLinearAdd": qlinear_add,
    "QLinearGlobalAveragePool": qlinear_mean,
}
READING = tuple(name for name in OPERATORS if name != "QuantizeLinear")  # integers
