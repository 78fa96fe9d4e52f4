"""What each ONNX operator that we know means as a layer.

An operator's reader takes the attributes it understands out of the dictionary; what is left over is refused.  The
meaning of operators and attributes: https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.network.forward import fold_statistics
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
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    PadImage,
    Relu,
    Shape,
)

Attributes = dict[str, Any]
Constants = list[NDArray[Any] | None]
Step = tuple[Layer, Mapping[str, NDArray[Any]]]
Read = list[Step]  # layers one behind the other; none: nothing to do


@dataclass(frozen=True)
class Inputs:
    """What an operator reads.

    constants: its constant inputs in order, None for one that is left out.  shapes: of the others, without the batch.
    batch: images a run, 0 if not fixed.  positive: whether none of the others' values is below 0.
    """

    constants: Constants
    shapes: tuple[Shape, ...]
    batch: int = 0
    positive: bool = False


class Unfit(ValueError):
    """What is wrong with one ONNX node."""


def _take(attributes: Attributes, name: str, expected: object) -> None:
    """Accept an attribute that is absent or has the one value that our layers have."""
    value = attributes.pop(name, expected)
    if value != expected:
        raise Unfit(f"{name} is {value!r}, expected {expected!r}")


def _weights(inputs: Inputs, least: int, most: int, dimensions: int) -> list[NDArray[Any]]:
    """The constant inputs: between ``least`` and ``most``, the first of that many dimensions."""
    found = [constant for constant in inputs.constants if constant is not None]
    if len(found) < len(inputs.constants) or not least <= len(found) <= most or found[0].ndim != dimensions:
        raise Unfit(f"expected {least} to {most} constant inputs, the first of {dimensions} dimensions")
    return found


@dataclass(frozen=True)
class _Window:
    """A sliding window; before and after: the padding (down, across) on either side."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def settings(self) -> dict[str, tuple[int, int]]:
        """Kernel, stride, and the padding that both sides share."""
        shared = (min(self.before[0], self.after[0]), min(self.before[1], self.after[1]))
        return {"kernel": self.kernel, "stride": self.stride, "padding": shared}

    @property
    def rest(self) -> list[Step]:
        """What one side has beyond the other, as a layer of its own."""
        before, after = (
            tuple(mine - shared for mine, shared in zip(side, self.settings["padding"], strict=True))
            for side in (self.before, self.after)
        )
        if not any((*before, *after)):
            return []
        return [(PadImage(before=(before[0], before[1]), after=(after[0], after[1])), {})]


def _window(attributes: Attributes, kernel: Sequence[int], dilation: Sequence[int], shape: Shape) -> _Window:
    """Kernel, stride and padding of a window over an image (H, W, C)."""
    automatic = attributes.pop("auto_pad", b"NOTSET")
    pads = list(attributes.pop("pads", [0, 0, 0, 0]))
    strides = list(attributes.pop("strides", [1, 1]))
    if len(kernel) != 2 or len(strides) != 2 or len(pads) != 4 or len(dilation) != 2 or len(shape) != 3:
        raise Unfit("expected two dimensions")
    if min(*kernel, *strides, *dilation) < 1 or min(pads) < 0:
        raise Unfit(f"kernel {list(kernel)}, strides {strides}, pads {pads}: expected positive sizes")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        if any(pads):
            raise Unfit("auto_pad and pads, expected one of them")
        sizes = zip(shape[:2], kernel, strides, dilation, strict=True)
        total = [max(0, (-(-x // s) - 1) * s + (k - 1) * d + 1 - x) for x, k, s, d in sizes]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = less + more if automatic == b"SAME_UPPER" else more + less
    elif automatic == b"VALID" and any(pads):
        raise Unfit("auto_pad VALID and pads, expected one of them")
    elif automatic not in (b"NOTSET", b"VALID"):
        raise Unfit(f"auto_pad {automatic!r} is not known")
    return _Window((kernel[0], kernel[1]), (strides[0], strides[1]), (pads[0], pads[1]), (pads[2], pads[3]))


def _conv(attributes: Attributes, inputs: Inputs) -> Read:
    weight, *bias = _weights(inputs, 1, 2, 4)
    groups = attributes.pop("group", 1)
    kernel = weight.shape[2:]
    _take(attributes, "kernel_shape", list(kernel))
    dilations = list(attributes.pop("dilations", [1, 1]))
    window = _window(attributes, kernel, dilations, inputs.shapes[0])
    layer = Conv(
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        dilation=(dilations[0], dilations[1]),
        groups=groups,
        bias=bool(bias),
        **window.settings,
    )
    return [*window.rest, (layer, {"weight": weight} | ({"bias": bias[0]} if bias else {}))]


def _gemm(attributes: Attributes, inputs: Inputs) -> Read:
    weight, *bias = _weights(inputs, 1, 2, 2)
    for name, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        _take(attributes, name, value)
    if not attributes.pop("transB", 0):
        weight = weight.T
    out_features, in_features = weight.shape
    layer = Linear(in_features=in_features, out_features=out_features, bias=bool(bias))
    if not bias:
        return [(layer, {"weight": weight})]
    shape = bias[0].shape  # ONNX stretches it to (images, features)
    if len(shape) > 2 or (len(shape) == 2 and shape[0] != 1) or (shape and shape[-1] not in (1, out_features)):
        raise Unfit(f"a bias of {list(shape)}, expected one number a feature, [{out_features}]")
    return [(layer, {"weight": weight, "bias": np.broadcast_to(bias[0].reshape(-1), (out_features,))})]


def _matrix_product(attributes: Attributes, inputs: Inputs) -> Read:
    (weight,) = _weights(inputs, 1, 1, 2)
    if len(inputs.shapes[0]) != 1:
        raise Unfit("expected one vector an image")
    return [(Linear(in_features=weight.shape[0], out_features=weight.shape[1], bias=False), {"weight": weight.T})]


def _batch_norm(attributes: Attributes, inputs: Inputs) -> Read:
    weight, bias, mean, var = _weights(inputs, 4, 4, 1)
    _take(attributes, "training_mode", 0)
    _take(attributes, "spatial", 1)  # up to version 8: one statistic a channel
    attributes.pop("momentum", None)  # of training only
    eps = _shortest(attributes.pop("epsilon", 1e-5))
    if not (var + eps > 0).all():
        raise Unfit("expected variances above 0")
    if eps == 0:  # no room for rounding errors in our batch normalisation; without statistics it is an affine layer
        scale, shift = fold_statistics(
            BatchNorm.model_construct(channels=len(weight), eps=0.0),
            {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var},
        )
        return [(Affine(channels=len(weight)), {"weight": scale, "bias": shift})]
    arrays = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    return [(BatchNorm(channels=len(weight), eps=eps), arrays)]


def _plain(layer: Callable[[], Layer]) -> Callable[[Attributes, Inputs], Read]:
    def read(attributes: Attributes, inputs: Inputs) -> Read:
        if inputs.constants:
            raise Unfit("constant inputs are not known here")
        return [(layer(), {})]

    return read


def _clip(attributes: Attributes, inputs: Inputs) -> Read:
    bounds: list[float | None] = []
    for i, name in enumerate(("min", "max")):  # attributes up to version 6, then inputs
        given = inputs.constants[i] if i < len(inputs.constants) else None
        value = attributes.pop(name, None) if given is None else given
        if value is not None and np.size(value) != 1:
            raise Unfit(f"{name} has {np.size(value)} values, expected one")
        bounds.append(None if value is None else float(np.asarray(value, np.float32).item()))
    if len(inputs.constants) > 2:
        raise Unfit(f"{len(inputs.constants)} constant inputs, expected min and max")
    finite = [bound if bound is None or abs(bound) < np.finfo(np.float32).max else None for bound in bounds]
    return [(Clip(low=finite[0], high=finite[1]), {})]


def _pool(attributes: Attributes, inputs: Inputs) -> tuple[_Window, bool]:
    """The window, and whether one may hang over the image's end."""
    kernel = tuple(attributes.pop("kernel_shape", ()))
    _take(attributes, "dilations", [1, 1])
    if inputs.constants:
        raise Unfit("constant inputs are not known here")
    over = bool(attributes.pop("ceil_mode", 0))
    window = _window(attributes, kernel, (1, 1), inputs.shapes[0])
    if over and window.rest:
        raise Unfit("ceil_mode with padding that differs from side to side is not known")
    return window, over


def _max_pool(attributes: Attributes, inputs: Inputs) -> Read:
    _take(attributes, "storage_order", 0)
    window, over = _pool(attributes, inputs)
    if window.rest and not inputs.positive:
        raise Unfit("padding that differs from side to side, expected values of 0 or more then (a Relu before it)")
    return [*window.rest, (MaxPool(ceil_mode=over, **window.settings), {})]


def _average_pool(attributes: Attributes, inputs: Inputs) -> Read:
    counted = attributes.pop("count_include_pad", 0)
    window, over = _pool(attributes, inputs)
    if not counted and any((*window.before, *window.after)):
        raise Unfit("count_include_pad is 0, expected 1 for a padded average")
    return [*window.rest, (AveragePool(ceil_mode=over, **window.settings), {})]


def _image_mean(attributes: Attributes, inputs: Inputs) -> Read:
    """ReduceMean over height and width; the axes are an attribute up to version 13, then an input."""
    _take(attributes, "noop_with_empty_axes", 0)
    axes = attributes.pop("axes", None)
    if inputs.constants:
        (axes,) = _weights(inputs, 1, 1, 1)
    kept = attributes.pop("keepdims", 1)
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3] or len(inputs.shapes[0]) != 3:
        raise Unfit(f"over axes {'all' if axes is None else [int(a) for a in axes][:8]}, expected 2 and 3, the image")
    return [(GlobalAveragePool(), {}), *([] if kept else [(Flatten(), {})])]


def _response_norm(attributes: Attributes, inputs: Inputs) -> Read:
    size = attributes.pop("size", 0)
    if size % 2 == 0:
        raise Unfit(f"size {size}, expected an odd number of channels")
    constants_ = {
        "alpha": _shortest(attributes.pop("alpha", 1e-4)),
        "beta": _shortest(attributes.pop("beta", 0.75)),
        "k": _shortest(attributes.pop("bias", 1.0)),
    }
    return [(LocalResponseNorm(size=size, **constants_), {})]


def _concat(attributes: Attributes, inputs: Inputs) -> Read:
    if inputs.constants or attributes.pop("axis", None) not in (1, -3):
        raise Unfit("expected images joined along axis 1, the channels")
    return [(Concat(), {})]


def _pad(attributes: Attributes, inputs: Inputs) -> Read:
    _take(attributes, "mode", b"constant")
    given = [constant for constant in inputs.constants if constant is not None]
    pads = [int(size) for size in np.asarray(given[0]).ravel()[:9]] if given else []
    if len(given) > 2 or any(np.any(value != 0) for value in given[1:]):
        raise Unfit("expected zeros around the image")
    if len(pads) != 8 or min(pads) < 0 or pads[0] or pads[4] or len(inputs.shapes[0]) != 3:
        raise Unfit(f"pads {pads}, expected zeros or more around the channels and the image")
    image: Read = []
    if any((*pads[2:4], *pads[6:8])):
        image = [(PadImage(before=(pads[2], pads[3]), after=(pads[6], pads[7])), {})]
    channels: Read = [(PadChannels(before=pads[1], after=pads[5]), {})] if pads[1] or pads[5] or not image else []
    return image + channels


def _flatten(attributes: Attributes, inputs: Inputs) -> Read:
    if attributes.pop("axis", 1) not in (1, 1 - (len(inputs.shapes[0]) + 1)):
        raise Unfit("expected axis 1, one vector an image")
    return [(Flatten(), {})] if len(inputs.shapes[0]) == 3 else []


def _reshape(attributes: Attributes, inputs: Inputs) -> Read:
    (target,) = _weights(inputs, 1, 1, 1)
    literal = attributes.pop("allowzero", 0)
    sizes = [int(size) for size in target[:8]]
    features = prod(inputs.shapes[0])
    images = {-1, inputs.batch or 1, *(() if literal else (0,))}
    if len(target) != 2 or sizes[0] not in images or sizes[1] not in (-1, features) or sizes == [-1, -1]:
        raise Unfit(f"to {sizes}, expected one vector an image, [{inputs.batch or -1}, {features}]")
    return [(Flatten(), {})] if len(inputs.shapes[0]) == 3 else []


def _squeeze(attributes: Attributes, inputs: Inputs) -> Read:
    axes = attributes.pop("axes", None)
    if inputs.constants:
        (axes,) = _weights(inputs, 1, 1, 1)
    shape = inputs.shapes[0]
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3] or len(shape) != 3 or shape[:2] != (1, 1):
        raise Unfit(f"of an image {shape}, expected axes 2 and 3 of one pixel")
    return [(Flatten(), {})]


def _shortest(value: float) -> float:
    """The shortest decimal that gives the float32 which ONNX stores: 1e-4, not 9.999999747378752e-05."""
    return float(str(np.float32(value)))


LAYERS: dict[str, Callable[[Attributes, Inputs], Read]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matrix_product,
    "BatchNormalization": _batch_norm,
    "Relu": _plain(Relu),
    "Clip": _clip,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _plain(GlobalAveragePool),
    "ReduceMean": _image_mean,
    "LRN": _response_norm,
    "Add": _plain(Add),
    "Concat": _concat,
    "Pad": _pad,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
}
