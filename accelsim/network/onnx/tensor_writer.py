"""Layers without weights that act on tensors of any shape, as ONNX nodes of opset 13.

In the file an image (H, W, C) is (N, C, H, W), any other tensor (N, ...) in its stored order.
Layers that do not care which axis is which go as they are, their axes renamed; the others see
images in stored order, between transpositions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.network.graph import Node
from accelsim.network.layers import Layer
from accelsim.network.record import Shape
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

TO_FILE = (2, 0, 1)  # axes of a stored image (H, W, C) in the order (C, H, W)
PLAIN = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "abs": "Abs",
    "erf": "Erf",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
    "sin": "Sin",
    "cos": "Cos",
}
COMBINATIONS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "pow": "Pow",
    "prelu": "PRelu",
}
REDUCTIONS = {"mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "l1": "ReduceL1", "l2": "ReduceL2"}


@dataclass
class Sheet:
    """The ONNX nodes of one of our nodes, and the constants that they read."""

    helper: Any  # onnx.helper
    node: Node
    shapes: tuple[Shape, ...]  # of its inputs
    shape: Shape  # of its output
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def constant(self, key: str, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant of this node."""
        name = f"{self.node.name}.{key}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def step(self, operator: str, *inputs: str, last: bool = False, **attributes: Any) -> str:
        """An ONNX node; the name of its output, the node's own if it is the last one."""
        name = self.node.name if last else f"{self.node.name}.{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name


def in_file(axis: int, rank: int) -> int:
    """Where a stored axis of a tensor of so many lies in the file."""
    return 1 + (TO_FILE.index(axis) if rank == 3 else axis)


def write_tensor_layer(sheet: Sheet) -> None:
    """Fill the sheet with the ONNX nodes of its node.

    Raises InputError if ONNX cannot say what the layer does.
    """
    layer = sheet.node.layer
    found = WRITERS.get(type(layer))
    if found is None:
        raise TypeError(f"node {sheet.node.name}: no ONNX operator for {type(layer).__name__}")
    found(sheet, layer)


def _stored(sheet: Sheet, number: int) -> str:
    """An input in stored order."""
    source = sheet.node.inputs[number]
    return sheet.step("Transpose", source, perm=[0, 2, 3, 1]) if len(sheet.shapes[number]) == 3 else source


def _back(sheet: Sheet, operator: str, *inputs: str, **attributes: Any) -> None:
    """The last ONNX node, whose output is in stored order."""
    if len(sheet.shape) == 3:
        result = sheet.step(operator, *inputs, **attributes)
        sheet.step("Transpose", result, last=True, perm=[0, 3, 1, 2])
    else:
        sheet.step(operator, *inputs, last=True, **attributes)


def _pointwise(sheet: Sheet, layer: Pointwise) -> None:
    x = sheet.node.inputs[0]
    match layer.function:
        case "hard_sigmoid":
            sheet.step("HardSigmoid", x, last=True, alpha=layer.alpha, beta=layer.beta)
        case "leaky_relu":
            sheet.step("LeakyRelu", x, last=True, alpha=layer.alpha)
        case "elu":
            sheet.step("Elu", x, last=True, alpha=layer.alpha)
        case "power":
            sheet.step("Pow", x, sheet.constant("exponent", layer.alpha), last=True)
        case "linear":
            _linear(sheet, x, layer)
        case "silu":
            sheet.step("Mul", x, sheet.step("Sigmoid", x), last=True)
        case "hard_swish":
            sheet.step("Mul", x, sheet.step("HardSigmoid", x, alpha=1 / 6, beta=0.5), last=True)
        case "mish":
            sheet.step("Mul", x, sheet.step("Tanh", sheet.step("Softplus", x)), last=True)
        case "gelu":
            scaled = sheet.step("Mul", x, sheet.constant("root", 0.5**0.5))
            gate = sheet.step("Add", sheet.step("Erf", scaled), sheet.constant("one", 1))
            sheet.step("Mul", sheet.step("Mul", x, gate), sheet.constant("half", 0.5), last=True)
        case "gelu_tanh":
            cube = sheet.step("Mul", sheet.step("Pow", x, sheet.constant("three", 3)), sheet.constant("c", 0.044715))
            inner = sheet.step("Mul", sheet.step("Add", x, cube), sheet.constant("root", (2 / np.pi) ** 0.5))
            gate = sheet.step("Add", sheet.step("Tanh", inner), sheet.constant("one", 1))
            sheet.step("Mul", sheet.step("Mul", x, gate), sheet.constant("half", 0.5), last=True)
        case _:
            sheet.step(PLAIN[layer.function], x, last=True)


def _linear(sheet: Sheet, x: str, layer: Pointwise) -> None:
    if layer.alpha != 1:
        x = sheet.step("Mul", x, sheet.constant("alpha", layer.alpha), last=layer.beta == 0)
    if layer.beta != 0 or layer.alpha == 1:
        sheet.step("Add", x, sheet.constant("beta", layer.beta), last=True)


def _fake_quantize(sheet: Sheet, layer: FakeQuantize) -> None:
    scale = sheet.constant("scale", layer.scale)
    width = layer.high - layer.low
    if width == 255:
        dtype = np.uint8 if layer.low > -128 else np.int8
        zero = sheet.constant("zero", np.iinfo(dtype).min - layer.low, dtype)
        levels = sheet.step("QuantizeLinear", sheet.node.inputs[0], scale, zero)
        sheet.step("DequantizeLinear", levels, scale, zero, last=True)
        return
    levels = sheet.step("Round", sheet.step("Div", sheet.node.inputs[0], scale))
    low = sheet.constant("low", layer.low)
    high = sheet.constant("high", layer.high)
    sheet.step("Mul", sheet.step("Clip", levels, low, high), scale, last=True)


def _combine(sheet: Sheet, layer: Combine) -> None:
    """Of tensors of several ranks the stored orders count."""
    ranks = {len(shape) for shape in sheet.shapes}
    if len(ranks) == 1:
        sheet.step(COMBINATIONS[layer.function], *sheet.node.inputs, last=True)
        return
    names = []
    for number, shape in enumerate(sheet.shapes):
        more = max(ranks) - len(shape)
        name = _stored(sheet, number)
        sizes = sheet.constant(f"shape{number}", [0, *[1] * more, *shape], np.int64)
        names.append(sheet.step("Reshape", name, sizes) if more else name)
    _back(sheet, COMBINATIONS[layer.function], *names)


def _operand(sheet: Sheet, layer: Operand) -> None:
    """The operand has been stored in our order of axes; the file has its own."""
    name = f"{sheet.node.name}.operand"
    rank = len(layer.shape)
    if len(sheet.shapes[0]) != rank:
        raise InputError(f"node {sheet.node.name}: an operand of {layer.shape} for {sheet.shapes[0]}")
    if rank == 3:
        # put in by the writer, which has the arrays
        sheet.constants[name] = np.empty(0, np.float32)
    sheet.step(COMBINATIONS[layer.function], sheet.node.inputs[0], name, last=True)


def _reshape(sheet: Sheet, layer: Reshape) -> None:
    sizes = sheet.constant("shape", [0, *layer.shape], np.int64)
    if not sheet.shapes[0]:
        # nothing to copy the number of images from where there are no axes behind them
        sizes = sheet.constant("shape", [-1, *layer.shape], np.int64)
    _back(sheet, "Reshape", _stored(sheet, 0), sizes)


def _transpose(sheet: Sheet, layer: Transpose) -> None:
    """Both conventions and the layer's own order, as one transposition."""
    rank = len(layer.order)
    wanted = TO_FILE if rank == 3 else tuple(range(rank))
    perm = [in_file(layer.order[axis], rank) for axis in wanted]
    sheet.step("Transpose", sheet.node.inputs[0], last=True, perm=[0, *perm])


def _expand(sheet: Sheet, layer: Expand) -> None:
    more = len(layer.shape) - len(sheet.shapes[0])
    x = _stored(sheet, 0)
    if more:
        x = sheet.step("Reshape", x, sheet.constant("ranked", [0, *[1] * more, *sheet.shapes[0]], np.int64))
    _back(sheet, "Expand", x, sheet.constant("shape", [1, *layer.shape], np.int64))


def _slice(sheet: Sheet, layer: Slice) -> None:
    axis = in_file(layer.axis, len(sheet.shape))
    names = [
        sheet.constant(key, [value], np.int64)
        for key, value in (("starts", layer.start), ("ends", layer.stop), ("axes", axis), ("steps", layer.step))
    ]
    sheet.step("Slice", sheet.node.inputs[0], *names, last=True)


def _take(sheet: Sheet, layer: Take) -> None:
    indices = sheet.constant("indices", layer.indices, np.int64)
    sheet.step("Gather", sheet.node.inputs[0], indices, last=True, axis=in_file(layer.axis, len(sheet.shape)))


def _pad(sheet: Sheet, layer: Pad) -> None:
    order = TO_FILE if len(layer.before) == 3 else range(len(layer.before))
    pads = [0, *(layer.before[axis] for axis in order), 0, *(layer.after[axis] for axis in order)]
    inputs = [sheet.node.inputs[0], sheet.constant("pads", pads, np.int64)]
    if layer.mode == "constant":
        inputs.append(sheet.constant("value", layer.value))
    sheet.step("Pad", *inputs, last=True, mode=layer.mode)


def _join(sheet: Sheet, layer: Join) -> None:
    sheet.step("Concat", *sheet.node.inputs, last=True, axis=in_file(layer.axis, len(sheet.shape)))


def _reduce(sheet: Sheet, layer: Reduce) -> None:
    """Sums have their axes as an input, the others as an attribute."""
    rank = len(sheet.shapes[0])
    alike = layer.keep
    x = sheet.node.inputs[0] if alike else _stored(sheet, 0)
    axes = [in_file(axis, rank) if alike else axis + 1 for axis in layer.axes]
    inputs = [x]
    attributes = {"keepdims": int(layer.keep)}
    if layer.function == "sum":
        operator = "ReduceSum"
        inputs.append(sheet.constant("axes", axes, np.int64))
    else:
        operator = REDUCTIONS[layer.function]
        attributes["axes"] = axes  # type: ignore[assignment]
    if alike:
        sheet.step(operator, *inputs, last=True, **attributes)
    else:
        _back(sheet, operator, *inputs, **attributes)


def _softmax(sheet: Sheet, layer: Softmax) -> None:
    operator = "LogSoftmax" if layer.log else "Softmax"
    sheet.step(operator, sheet.node.inputs[0], last=True, axis=in_file(layer.axis, len(sheet.shape)))


def _standardize(sheet: Sheet, layer: Standardize) -> None:
    x = sheet.node.inputs[0]
    axes = sorted(in_file(axis, len(sheet.shape)) for axis in layer.axes)
    centred = sheet.step("Sub", x, sheet.step("ReduceMean", x, axes=axes, keepdims=1))
    square = sheet.step("ReduceMean", sheet.step("Mul", centred, centred), axes=axes, keepdims=1)
    spread = sheet.step("Sqrt", sheet.step("Add", square, sheet.constant("eps", layer.eps)))
    sheet.step("Div", centred, spread, last=True)


def _matrix_product(sheet: Sheet, layer: MatrixProduct) -> None:
    _back(sheet, "MatMul", _stored(sheet, 0), _stored(sheet, 1))


def _resize(sheet: Sheet, layer: Resize) -> None:
    H, W, C = sheet.shapes[0]
    attributes: dict[str, Any] = {"mode": layer.mode, "coordinate_transformation_mode": layer.coordinates}
    if layer.mode == "nearest":
        attributes["nearest_mode"] = layer.rounding
    if layer.mode == "cubic":
        attributes["cubic_coeff_a"] = layer.cubic
    inputs = [sheet.node.inputs[0], ""]
    if layer.scale is None:
        inputs += ["", sheet.constant("sizes", [1, C, *layer.size], np.int64)]
    else:
        inputs.append(sheet.constant("scales", [1, 1, *layer.scale]))
    if layer.scale is None:  # sizes would fix the number of images
        scales = [1, 1, layer.size[0] / H, layer.size[1] / W]
        if [int(np.floor(np.float32(s) * x)) for s, x in zip(scales[2:], (H, W), strict=True)] == list(layer.size):
            del sheet.constants[inputs.pop()]
            inputs[2] = sheet.constant("scales", scales)
    sheet.step("Resize", *inputs, last=True, **attributes)


def _opaque(sheet: Sheet, layer: Opaque) -> None:
    raise InputError(f"node {sheet.node.name}: what {layer.operator} computes is not known, it cannot be written")


WRITERS: dict[type[Layer], Callable[[Sheet, Any], None]] = {
    Pointwise: _pointwise,
    FakeQuantize: _fake_quantize,
    Combine: _combine,
    Operand: _operand,
    Reshape: _reshape,
    Transpose: _transpose,
    Expand: _expand,
    Slice: _slice,
    Take: _take,
    Pad: _pad,
    Join: _join,
    Reduce: _reduce,
    Softmax: _softmax,
    Standardize: _standardize,
    MatrixProduct: _matrix_product,
    Resize: _resize,
    Opaque: _opaque,
}
