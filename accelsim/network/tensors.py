"""Layers without weights that act on tensors of any shape.

Element-wise functions, moves of data, reductions.

Axes are those of one image's tensor as it is stored, without the batch, counted from 0: of an image
(H, W, C) axis 2 holds the channels.
"""

from math import prod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from accelsim.network.record import LayerRecord, Padding, Shape, Size, image, only

Finite = Annotated[float, Field(allow_inf_nan=False)]
Axis = Annotated[int, Field(ge=0, le=15)]
Sizes = Annotated[tuple[Size, ...], Field(max_length=16)]
MAX_ELEMENTS = 1 << 31  # of one image's tensor
MAX_INDICES = 1 << 16
LOWEST = float(np.finfo(np.float32).min)  # stands for minus infinity, which no layer holds

Function = (
    Literal["sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "gelu", "gelu_tanh", "mish", "leaky_relu", "elu"]
    | Literal["softplus", "softsign", "exp", "log", "sqrt", "reciprocal", "abs", "erf", "floor", "ceil", "round"]
    | Literal["sin", "cos", "linear", "power"]
)


class Pointwise(LayerRecord):
    """One function of each number.

    alpha, beta: of hard_sigmoid max(0, min(1, alpha x + beta)), of linear alpha x + beta; alpha
    alone: the slope below 0 of leaky_relu, what elu tends to, the exponent of power.
    """

    op: Literal["pointwise"] = "pointwise"
    function: Function
    alpha: Finite = 0.0
    beta: Finite = 0.0


class FakeQuantize(LayerRecord):
    """Rounded to a grid: ``scale`` times the nearest whole number of low..high (of an ONNX file with QDQ pairs)."""

    op: Literal["fake_quantize"] = "fake_quantize"
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    low: Annotated[int, Field(ge=-(1 << 17), le=0)]
    high: Annotated[int, Field(ge=0, le=1 << 17)]


class Combine(LayerRecord):
    """Two tensors, element by element; a size of 1 is stretched."""

    op: Literal["combine"] = "combine"
    function: Literal["add", "sub", "mul", "div", "max", "min", "pow"]

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if len(inputs) != 2:
            raise ValueError(f"expected two inputs, got {len(inputs)}")
        return stretched(*inputs)


class Operand(LayerRecord):
    """A tensor with a stored one, element by element; a size of 1 is stretched.

    prelu: x below 0 times the operand.
    """

    op: Literal["operand"] = "operand"
    function: Literal["add", "mul", "max", "min", "prelu"]
    shape: Sizes

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return stretched(only(inputs), self.shape)

    def parameters(self) -> dict[str, Shape]:
        return {"operand": self.shape}


class Reshape(LayerRecord):
    """The same numbers in the same order, in another shape."""

    op: Literal["reshape"] = "reshape"
    shape: Sizes

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = only(inputs)
        if prod(shape) != prod(self.shape):
            raise ValueError(f"{prod(shape)} numbers {shape} cannot become {self.shape}")
        return self.shape


class Transpose(LayerRecord):
    """Axes in another order: axis i of the output is axis ``order[i]`` of the input."""

    op: Literal["transpose"] = "transpose"
    order: Annotated[tuple[Axis, ...], Field(max_length=16)]

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = only(inputs)
        if sorted(self.order) != list(range(len(shape))):
            raise ValueError(f"order {self.order} is none of the axes of {shape}")
        return tuple(shape[axis] for axis in self.order)


class Expand(LayerRecord):
    """Sizes of 1 repeated up to ``shape``."""

    op: Literal["expand"] = "expand"
    shape: Sizes

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if stretched(only(inputs), self.shape) != self.shape:
            raise ValueError(f"{inputs[0]} cannot be stretched to {self.shape}")
        return self.shape


class Slice(LayerRecord):
    """Every ``step``-th index from ``start`` up to ``stop`` along one axis."""

    op: Literal["slice"] = "slice"
    axis: Axis
    start: Padding
    stop: Size
    step: Size = 1

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = only(inputs)
        if self.axis >= len(shape) or not self.start < self.stop <= shape[self.axis]:
            raise ValueError(f"{self.start}:{self.stop} along axis {self.axis} is not in {shape}")
        return with_size(shape, self.axis, -(-(self.stop - self.start) // self.step))


class Take(LayerRecord):
    """The indices along one axis, in that order."""

    op: Literal["take"] = "take"
    axis: Axis
    indices: Annotated[tuple[Padding, ...], Field(min_length=1, max_length=MAX_INDICES)]

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = only(inputs)
        if self.axis >= len(shape) or max(self.indices) >= shape[self.axis]:
            raise ValueError(f"index {max(self.indices)} along axis {self.axis} is not in {shape}")
        return with_size(shape, self.axis, len(self.indices))


class Pad(LayerRecord):
    """More on either side of every axis: ``value``, or what is there, reflected or repeated."""

    op: Literal["pad"] = "pad"
    before: Annotated[tuple[Padding, ...], Field(max_length=16)]
    after: Annotated[tuple[Padding, ...], Field(max_length=16)]
    mode: Literal["constant", "reflect", "edge"] = "constant"
    value: Finite = 0.0

    @property
    def below_all(self) -> bool:
        """Whether what it adds stands for minus infinity, which a maximum never takes."""
        return self.mode == "constant" and self.value <= LOWEST

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = only(inputs)
        if len(self.before) != len(shape) or len(self.after) != len(shape):
            raise ValueError(f"padding {self.before}, {self.after} does not fit {shape}")
        widest = [max(b, a) for b, a in zip(self.before, self.after, strict=True)]
        if self.mode == "reflect" and any(width >= x for width, x in zip(widest, shape, strict=True)):
            raise ValueError(f"padding {self.before}, {self.after} reflects more than {shape} has")
        return tuple(b + x + a for b, x, a in zip(self.before, shape, self.after, strict=True))


class Join(LayerRecord):
    """The inputs one after the other along an axis (``concat``: along the channels of images)."""

    op: Literal["join"] = "join"
    axis: Axis

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if not inputs or self.axis >= len(inputs[0]):
            raise ValueError(f"expected inputs with an axis {self.axis}, got {list(inputs)}")
        others = {with_size(shape, self.axis, 1) for shape in inputs if len(shape) == len(inputs[0])}
        if len(others) > 1 or len({len(shape) for shape in inputs}) > 1:
            raise ValueError(f"expected inputs that differ along axis {self.axis} alone, got {list(inputs)}")
        return with_size(inputs[0], self.axis, sum(shape[self.axis] for shape in inputs))


class Reduce(LayerRecord):
    """One number of all along some axes, which become sizes of 1, or go."""

    op: Literal["reduce"] = "reduce"
    function: Literal["mean", "sum", "max", "min", "l1", "l2"]
    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=16)]
    keep: bool = True

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = only(inputs)
        check_axes(self.axes, shape)
        sizes = ((1 if axis in self.axes else size) for axis, size in enumerate(shape))
        return tuple(size for axis, size in enumerate(sizes) if self.keep or axis not in self.axes)


class Softmax(LayerRecord):
    """exp(x) over its sum along an axis; ``log``: the logarithm of it."""

    op: Literal["softmax"] = "softmax"
    axis: Axis
    log: bool = False

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        check_axes((self.axis,), only(inputs))
        return inputs[0]


class Standardize(LayerRecord):
    """(x - mean) / sqrt(variance + eps) of each image along some axes.

    Layer, group and instance normalisation.
    """

    op: Literal["standardize"] = "standardize"
    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=16)]
    eps: Annotated[float, Field(ge=0, lt=1)] = 1e-5

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        check_axes(self.axes, only(inputs))
        return inputs[0]


class MatrixProduct(LayerRecord):
    """(..., M, K) x (..., K, N) -> (..., M, N), two tensors of one image; other sizes of 1 are stretched."""

    op: Literal["matrix_product"] = "matrix_product"

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if len(inputs) != 2 or min(map(len, inputs)) < 2 or inputs[0][-1] != inputs[1][-2]:
            raise ValueError(f"expected (..., M, K) and (..., K, N), got {list(inputs)}")
        return (*stretched(inputs[0][:-2], inputs[1][:-2]), inputs[0][-2], inputs[1][-1])


class Resize(LayerRecord):
    """An image in another size, by the neighbours of each pixel.

    coordinates: where output pixel i lies in the input, by ONNX's names.  scale: output over input
    size (down, across), where it is not the sizes' own.  rounding: which neighbour ``nearest``
    takes.  cubic: ONNX's cubic_coeff_a.
    """

    op: Literal["resize"] = "resize"
    size: tuple[Size, Size]
    mode: Literal["nearest", "linear", "cubic"] = "nearest"
    coordinates: Literal["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"] = "half_pixel"
    rounding: Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] = "round_prefer_floor"
    scale: tuple[Finite, Finite] | None = None
    cubic: Finite = -0.75

    @model_validator(mode="after")
    def _positive(self) -> "Resize":
        if self.scale is not None and min(self.scale) <= 0:
            raise ValueError(f"scale {self.scale}, expected above 0")
        return self

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (*self.size, image(only(inputs))[2])


class Opaque(LayerRecord):
    """An operator that is not known.

    The shape of what it gives, and nothing of what it computes.
    """

    op: Literal["opaque"] = "opaque"
    operator: Annotated[str, Field(max_length=100)]
    shape: Sizes

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return self.shape


TensorLayer = (
    Pointwise
    | FakeQuantize
    | Combine
    | Operand
    | Reshape
    | Transpose
    | Expand
    | Slice
    | Take
    | Pad
    | Join
    | Reduce
    | Softmax
    | Standardize
    | MatrixProduct
    | Resize
    | Opaque
)


def stretched(one: Shape, other: Shape) -> Shape:
    """The shape of two tensors element by element.

    Raises ValueError if they do not fit, or it is beyond bounds.
    """
    try:
        shape = np.broadcast_shapes(one, other)
    except ValueError:
        raise ValueError(f"{one} and {other} do not fit element by element") from None
    if prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"{shape} is over {MAX_ELEMENTS} numbers")
    return shape


def with_size(shape: Shape, axis: int, size: int) -> Shape:
    """The shape with another size along one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def check_axes(axes: tuple[int, ...], shape: Shape) -> None:
    """Raise ValueError unless the shape has these axes, each named once."""
    if len(set(axes)) < len(axes) or max(axes) >= len(shape):
        raise ValueError(f"axes {axes} are not those of {shape}")
