"""Sums, means and largest values along axes, softmax, and normalisation."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.network.forward import fold_statistics
from accelsim.network.layers import Affine, BatchNorm, GlobalAveragePool, Layer
from accelsim.network.onnx.call import Call
from accelsim.network.onnx.draft import IMAGE, Tensor, Unfit, Value
from accelsim.network.tensors import Operand, Pointwise, Reduce, Softmax, Standardize

Reader = Callable[[Call], list[Value]]


def _reduce(function: Literal["mean", "sum", "max", "min", "l1", "l2"]) -> Reader:
    def read(call: Call) -> list[Value]:
        x = call.tensor()
        axes = call.integers(1, "axes")
        kept = call.flag("keepdims", True)
        idle = call.flag("noop_with_empty_axes", False)
        if not axes and idle:  # of each number by itself
            return [call.apply(Pointwise(function="abs"), x) if function in ("l1", "l2") else x]
        if not axes and call.draft.batch > 1:
            raise Unfit(f"over all axes of {call.draft.batch} images together, expected each by itself")
        numbers = sorted(set(map(x.position, axes or range(x.batched, len(x.dims)))))
        y = _over_image(call, x, numbers) if function == "mean" else None
        if y is None:
            where = tuple(sorted(x.stored_axis(axis) for axis in numbers))
            y = call.apply(Reduce(function=function, axes=where), x)
        if kept:
            return [y]
        return [call.reshaped(y, [size for axis, size in enumerate(x.dims) if axis not in numbers])]

    return read


def _over_image(call: Call, x: Tensor, axes: list[int]) -> Tensor | None:
    """The mean over height and width of an image stored as one; None if it is none."""
    if x.batched and x.axes == IMAGE and axes == [2, 3]:
        return call.apply(GlobalAveragePool(), x)
    return None


def _softmax(log: bool) -> Reader:
    def read(call: Call) -> list[Value]:
        x = call.tensor()
        if call.opset >= 13:
            axis = call.take("axis", -1)
            return [call.apply(Softmax(axis=x.stored_axis(axis), log=log), x)]
        axis = x.position(call.take("axis", 1))  # before, all axes from this one on together
        if axis == len(x.dims) - 1 or all(size == 1 for size in x.dims[axis + 1 :]):
            return [call.apply(Softmax(axis=x.stored_axis(axis), log=log), x)]
        flat = call.draft.plain(call.name, call.reshaped(x, (*x.dims[:axis], int(np.prod(x.dims[axis:])))))
        y = call.apply(Softmax(axis=flat.stored_axis(axis), log=log), flat)
        return [call.reshaped(y, x.dims)]

    return read


def batch_norm(call: Call) -> list[Value]:
    weight, bias, mean, var = (call.array(number, 1) for number in range(1, 5))
    call.expect("training_mode", 0)
    call.expect("spatial", 1)  # up to version 8: one statistic a channel
    call.attributes.pop("momentum", None)  # of training only
    eps = call.number("epsilon", 1e-5)
    if not (var + eps > 0).all():
        raise Unfit("expected variances above 0")
    x = _channels_last(call, call.tensor(), len(weight))
    arrays = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    if eps == 0:
        # no room for rounding errors in our batch normalisation; without statistics it is an affine
        # layer
        scale, shift = fold_statistics(BatchNorm.model_construct(channels=len(weight), eps=0.0), arrays)
        return [call.apply(Affine(channels=len(weight)), x, weight=scale, bias=shift)]
    return [call.apply(BatchNorm(channels=len(weight), eps=eps), x, **arrays)]


def _channels_last(call: Call, x: Tensor, channels: int) -> Tensor:
    """The tensor with ONNX's second axis, the channels, stored last."""
    if len(x.dims) < 2 or x.dims[1] != channels:
        raise Unfit(f"of {list(x.dims)}, expected {channels} channels")
    C = x.axis(1)
    if x.axes[-1] == C:
        return x
    return call.draft.laid(call.name, x, (*(axis for axis in x.axes if axis != C), C))


def layer_norm(call: Call) -> list[Value]:
    x = call.tensor()
    first = x.position(call.take("axis", -1))
    eps = call.number("epsilon", 1e-5)
    call.attributes.pop("stash_type", None)
    axes = tuple(sorted(x.stored_axis(axis) for axis in range(first, len(x.dims))))
    y = call.apply(Standardize(axes=axes, eps=eps), x)
    bias = call.constant(2)
    return [_scaled(call, y, call.array(1), bias)]


def _scaled(call: Call, x: Tensor, scale: NDArray[Any], bias: NDArray[Any] | None) -> Tensor:
    """x times scale plus bias, both along the last axes."""
    weight = call.draft.like(x, np.asarray(scale, np.float32))
    shift = call.draft.like(x, np.asarray(0 * scale if bias is None else bias, np.float32))
    channels = x.stored[-1]
    if weight.size == shift.size == channels == weight.shape[-1] == shift.shape[-1]:
        layer: Layer = Affine(channels=channels)
        return call.apply(layer, x, weight=weight.reshape(-1), bias=shift.reshape(-1))
    y = call.apply(Operand(function="mul", shape=weight.shape), x, operand=weight)
    return call.apply(Operand(function="add", shape=shift.shape), y, operand=shift)


def group_norm(call: Call) -> list[Value]:
    x = call.tensor()
    groups = call.take("num_groups", 1)
    scale = call.array(1, 1)
    bias = call.array(2, 1)
    return [_by_groups(call, x, groups, scale, bias)]


def instance_norm(call: Call) -> list[Value]:
    x = call.tensor()
    scale = call.array(1, 1)
    bias = call.array(2, 1)
    return [_by_groups(call, x, len(scale), scale, bias)]


def _by_groups(
    call: Call,
    x: Tensor,
    groups: int,
    scale: NDArray[Any],
    bias: NDArray[Any],
) -> Tensor:
    """Group normalisation, and instance normalisation with a group for each channel.

    scale, bias: a channel each.
    """
    eps = call.number("epsilon", 1e-5)
    call.attributes.pop("stash_type", None)
    if len(x.dims) < 3 or not x.batched or x.dims[1] % groups:
        raise Unfit(f"of {list(x.dims)} in {groups} groups, expected an image or a sequence of channels")
    C = x.shape[0]
    rest = x.shape[1:]
    if groups == C:
        y = call.apply(Standardize(axes=tuple(sorted(map(x.axes.index, range(1, len(x.shape))))), eps=eps), x)
    else:
        split = call.reshaped(x, (1, groups, C // groups, *rest))
        axes = tuple(sorted(split.axes.index(axis) for axis in range(1, len(split.shape))))
        y = call.reshaped(call.apply(Standardize(axes=axes, eps=eps), split), x.dims)
    if len(scale) == groups != C:  # opset 18 had one number a group
        scale = np.repeat(scale, C // groups)
        bias = np.repeat(bias, C // groups)
    y = _channels_last(call, y, len(scale))
    return call.apply(Affine(channels=C), y, weight=scale, bias=bias)


OPERATORS: dict[str, Reader] = {
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
    "ReduceL1": _reduce("l1"),
    "ReduceL2": _reduce("l2"),
    "Softmax": _softmax(log=False),
    "LogSoftmax": _softmax(log=True),
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
}
