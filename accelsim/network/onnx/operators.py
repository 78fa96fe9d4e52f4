"""What each ONNX operator that we know means as a layer.

An operator's reader takes the attributes it understands out of the dictionary; what is left over is refused.  The
meaning of operators and attributes: https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable, Mapping
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
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    Relu,
    Shape,
)

Attributes = dict[str, Any]
Constants = list[NDArray[Any] | None]
Read = tuple[Layer | None, Mapping[str, NDArray[Any]]]  # no layer: nothing to do


class Unfit(ValueError):
    """What is wrong with one ONNX node."""


def _take(attributes: Attributes, name: str, expected: object) -> None:
    """Accept an attribute that is absent or has the one value that our layers have."""
    value = attributes.pop(name, expected)
    if value != expected:
        raise Unfit(f"{name} is {value!r}, expected {expected!r}")


def _weights(constants: Constants, least: int, most: int, dimensions: int) -> list[NDArray[Any]]:
    """The constant inputs: between ``least`` and ``most``, the first of that many dimensions."""
    found = [constant for constant in constants if constant is not None]
    if len(found) < len(constants) or not least <= len(found) <= most or found[0].ndim != dimensions:
        raise Unfit(f"expected {least} to {most} constant inputs, the first of {dimensions} dimensions")
    return found


def _window(attributes: Attributes, kernel: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Kernel, stride and padding, which must be the same on both sides."""
    if attributes.pop("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise Unfit("auto_pad is not known, expected explicit pads")
    pads = list(attributes.pop("pads", [0, 0, 0, 0]))
    strides = list(attributes.pop("strides", [1, 1]))
    if len(kernel) != 2 or len(strides) != 2 or len(pads) != 4:
        raise Unfit("expected two dimensions")
    if pads[:2] != pads[2:]:
        raise Unfit(f"pads {pads}, expected the same on both sides")
    return {"kernel": (kernel[0], kernel[1]), "stride": (strides[0], strides[1]), "padding": (pads[0], pads[1])}


def _conv(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    weight, *bias = _weights(constants, 1, 2, 4)
    groups = attributes.pop("group", 1)
    kernel = weight.shape[2:]
    _take(attributes, "kernel_shape", list(kernel))
    dilations = attributes.pop("dilations", [1, 1])
    layer = Conv(
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        dilation=tuple(dilations),
        groups=groups,
        bias=bool(bias),
        **_window(attributes, kernel),
    )
    return layer, {"weight": weight} | ({"bias": bias[0]} if bias else {})


def _gemm(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    weight, *bias = _weights(constants, 1, 2, 2)
    for name, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        _take(attributes, name, value)
    if not attributes.pop("transB", 0):
        weight = weight.T
    out_features, in_features = weight.shape
    layer = Linear(in_features=in_features, out_features=out_features, bias=bool(bias))
    return layer, {"weight": weight} | ({"bias": bias[0].reshape(-1)} if bias else {})


def _batch_norm(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    weight, bias, mean, var = _weights(constants, 4, 4, 1)
    _take(attributes, "training_mode", 0)
    attributes.pop("momentum", None)  # of training only
    eps = _shortest(attributes.pop("epsilon", 1e-5))
    if not (var + eps > 0).all():
        raise Unfit("expected variances above 0")
    if eps == 0:  # no room for rounding errors in our batch normalisation; without statistics it is an affine layer
        scale, shift = fold_statistics(
            BatchNorm.model_construct(channels=len(weight), eps=0.0),
            {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var},
        )
        return Affine(channels=len(weight)), {"weight": scale, "bias": shift}
    arrays = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    return BatchNorm(channels=len(weight), eps=eps), arrays


def _plain(layer: Callable[[], Layer]) -> Callable[[Attributes, Constants, tuple[Shape, ...]], Read]:
    def read(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
        if constants:
            raise Unfit("constant inputs are not known here")
        return layer(), {}

    return read


def _pool(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> dict[str, Any]:
    kernel = tuple(attributes.pop("kernel_shape", ()))
    _take(attributes, "dilations", [1, 1])
    return {"ceil_mode": bool(attributes.pop("ceil_mode", 0)), **_window(attributes, kernel)}


def _max_pool(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    _take(attributes, "storage_order", 0)
    return MaxPool(**_pool(attributes, constants, shapes)), {}


def _average_pool(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    counted = attributes.pop("count_include_pad", 0)
    settings = _pool(attributes, constants, shapes)
    if not counted and settings["padding"] != (0, 0):
        raise Unfit("count_include_pad is 0, expected 1 for a padded average")
    return AveragePool(**settings), {}


def _response_norm(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    size = attributes.pop("size", 0)
    if size % 2 == 0:
        raise Unfit(f"size {size}, expected an odd number of channels")
    constants_ = {
        "alpha": _shortest(attributes.pop("alpha", 1e-4)),
        "beta": _shortest(attributes.pop("beta", 0.75)),
        "k": _shortest(attributes.pop("bias", 1.0)),
    }
    return LocalResponseNorm(size=size, **constants_), {}


def _concat(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    if constants or attributes.pop("axis", None) not in (1, -3):
        raise Unfit("expected images joined along axis 1, the channels")
    return Concat(), {}


def _pad(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    _take(attributes, "mode", b"constant")
    given = [constant for constant in constants if constant is not None]
    pads = np.asarray(given[0]).ravel().tolist() if given else []
    if len(given) > 2 or any(np.any(value != 0) for value in given[1:]):
        raise Unfit("expected zeros around the image")
    if len(pads) != 8 or min(pads) < 0 or any(pads[i] for i in (0, 2, 3, 4, 6, 7)):
        raise Unfit(f"pads {pads}, expected channels only (give the padding of images to the layer behind)")
    return PadChannels(before=int(pads[1]), after=int(pads[5])), {}


def _flatten(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    _take(attributes, "axis", 1)
    return (Flatten() if len(shapes[0]) == 3 else None), {}


def _reshape(attributes: Attributes, constants: Constants, shapes: tuple[Shape, ...]) -> Read:
    (target,) = _weights(constants, 1, 1, 1)
    _take(attributes, "allowzero", 0)
    if len(target) != 2 or target[1] not in (-1, prod(shapes[0])):
        raise Unfit(f"to {target.tolist()[:8]}, expected one vector an image")
    return (Flatten() if len(shapes[0]) == 3 else None), {}


def _shortest(value: float) -> float:
    """The shortest decimal that gives the float32 which ONNX stores: 1e-4, not 9.999999747378752e-05."""
    return float(str(np.float32(value)))


LAYERS: dict[str, Callable[[Attributes, Constants, tuple[Shape, ...]], Read]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "Relu": _plain(Relu),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _plain(GlobalAveragePool),
    "LRN": _response_norm,
    "Add": _plain(Add),
    "Concat": _concat,
    "Pad": _pad,
    "Flatten": _flatten,
    "Reshape": _reshape,
}
