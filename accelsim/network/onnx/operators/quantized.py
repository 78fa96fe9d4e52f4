"""Quantized networks: pairs of QuantizeLinear and DequantizeLinear, and QLinear operators, in real numbers.

Weights become what their integers stand for.  Activations are rounded to their grid by a layer of its own
(``FakeQuantize``): real = scale (q - zero point), q of 8 bits.  A QLinear operator computes with real numbers and
rounds its output to its own grid, as the integer operator does but where a value lies between two steps of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.network.layers import Add
from accelsim.network.onnx.call import Call, shortest
from accelsim.network.onnx.draft import Tensor, Unfit, Value
from accelsim.network.onnx.operators.elementwise import of_tensors
from accelsim.network.onnx.operators.pools import global_average_pool
from accelsim.network.onnx.operators.products import convolution, linear
from accelsim.network.tensors import FakeQuantize


def quantize(call: Call) -> list[Value]:
    x = call.tensor()
    call.attributes.clear()  # axis, of one scale a channel; block_size, output_dtype, saturate
    return [_rounded(call, x, call.array(1), call.constant(2))]


def dequantize(call: Call) -> list[Value]:
    """Behind a quantized tensor of the image, which is held in real numbers already."""
    x = call.tensor()
    call.attributes.clear()
    node = call.draft.nodes.get(x.source)
    if node is None or not isinstance(node.layer, FakeQuantize):
        raise Unfit("its input is not quantized, expected QuantizeLinear before it")
    return [x]


def _rounded(call: Call, x: Tensor, scale: NDArray[Any], zero: NDArray[Any] | None) -> Tensor:
    """x on the grid of a scale and a zero point."""
    if scale.size != 1 or (zero is not None and zero.size != 1):
        raise Unfit("one scale a channel, expected one for the whole tensor")
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        raise Unfit(f"to {dtype}, expected integers of 8 or 16 bits")
    bounds, point = np.iinfo(dtype), 0 if zero is None else int(zero.reshape(-1)[0])
    step = shortest(scale.reshape(-1)[0])
    return call.apply(FakeQuantize(scale=step, low=int(bounds.min) - point, high=int(bounds.max) - point), x)


def real(values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None, axis: int) -> NDArray[np.float32]:
    """What integers stand for: scale (q - zero point), one of each for the tensor or for each index of an axis."""
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    point = np.zeros(1) if zero is None else zero
    shift = point.astype(np.float32).reshape(shape if point.size > 1 else [1] * values.ndim)
    return np.asarray((values.astype(np.float32) - shift) * scale.astype(np.float32).reshape(shape), np.float32)


def qlinear_conv(call: Call) -> list[Value]:
    """QLinearConv: x, its scale and zero point, w with its own, those of y, and a bias in units of both scales."""
    scale_x, scale_w = call.array(1), call.array(4)
    weight = real(call.array(3), scale_w, call.constant(5), 0)
    found = call.constant(8)
    bias = {}
    if found is not None:
        bias = {"bias": (found * scale_x.reshape(-1)[0] * scale_w.reshape(-1)).astype(np.float32)}
    y = convolution(call, call.tensor(), weight, bias)
    return [_rounded(call, y, call.array(6), call.constant(7))]


def qlinear_matmul(call: Call) -> list[Value]:
    weight = real(call.array(3, 2), call.array(4), call.constant(5), 1)
    return [_rounded(call, linear(call, call.tensor(), weight.T, {}), call.array(6), call.constant(7))]


def qlinear_add(call: Call) -> list[Value]:
    a, b = call.tensor(0), call.tensor(3)
    alike = (a.dims, a.axes) == (b.dims, b.axes)
    y = call.apply(Add(), a, b) if alike else of_tensors(call, "add", a, b)
    return [_rounded(call, y, call.array(6), call.constant(7))]


def qlinear_mean(call: Call) -> list[Value]:
    """com.microsoft's QLinearGlobalAveragePool."""
    call.expect("channels_last", 0)
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
