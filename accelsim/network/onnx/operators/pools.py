"""Pooling, resizing, and normalisation over neighbouring channels."""

import numpy as np

from accelsim.network.graph import INPUT
from accelsim.network.layers import AveragePool, Clip, GlobalAveragePool, LocalResponseNorm, MaxPool, PadImage, Relu
from accelsim.network.onnx.call import Call
from accelsim.network.onnx.draft import Draft, Tensor, Unfit, Value
from accelsim.network.onnx.operators.products import SlidingWindow, as_rows, window, without_row
from accelsim.network.tensors import LOWEST, Reduce, Resize

AFTER_WHICH_POSITIVE = (MaxPool, AveragePool, PadImage)


def _pooled(call: Call) -> tuple[Tensor, bool, SlidingWindow, bool]:
    """The image, whether it was a sequence, the window, and whether one may hang over the image's end."""
    kernel = tuple(call.take("kernel_shape", ()))
    call.expect("dilations", [1] * len(kernel))
    over = call.flag("ceil_mode", False)
    image, sequence = as_rows(call, call.tensor())
    moving = window(call, kernel, image.shape[1:])
    if over and moving.uneven:
        raise Unfit("ceil_mode with padding that differs from side to side is not known")
    return image, sequence, moving, over


def max_pool(call: Call) -> list[Value]:
    call.expect("storage_order", 0)
    image, sequence, moving, over = _pooled(call)
    zeros_do = moving.uneven is None or _positive(call.draft, image.source)
    padded = moving.padded(call, image, 0.0 if zeros_do else LOWEST)
    return [without_row(call, call.apply(MaxPool(ceil_mode=over, **moving.settings), padded), sequence)]


def _positive(draft: Draft, source: str) -> bool:
    """Whether no value is below 0."""
    while source != INPUT:
        node = draft.nodes[source]
        low = node.layer.low if isinstance(node.layer, Clip) else None
        if isinstance(node.layer, Relu) or (low is not None and low >= 0):
            return True
        if not isinstance(node.layer, AFTER_WHICH_POSITIVE):
            return False
        source = node.inputs[0]
    return False


def average_pool(call: Call) -> list[Value]:
    counted = call.flag("count_include_pad", False)
    image, sequence, moving, over = _pooled(call)
    padding = any((*moving.before, *moving.after))
    if moving.uneven and not counted:
        raise Unfit("padding that differs from side to side and is not counted, expected count_include_pad 1")
    layer = AveragePool(ceil_mode=over, count_padding=counted or not padding, **moving.settings)
    return [without_row(call, call.apply(layer, moving.padded(call, image)), sequence)]


def global_average_pool(call: Call) -> list[Value]:
    image, sequence = as_rows(call, call.tensor())
    return [without_row(call, call.apply(GlobalAveragePool(), image), sequence)]


def global_max_pool(call: Call) -> list[Value]:
    image, sequence = as_rows(call, call.tensor())
    return [without_row(call, call.apply(Reduce(function="max", axes=(0, 1)), image), sequence)]


def response_norm(call: Call) -> list[Value]:
    size = call.take("size", 0)
    if size % 2 == 0:
        raise Unfit(f"size {size}, expected an odd number of channels")
    layer = LocalResponseNorm(
        size=size,
        alpha=call.number("alpha", 1e-4),
        beta=call.number("beta", 0.75),
        k=call.number("bias", 1.0),
    )
    return [call.apply(layer, call.image())]


def resize(call: Call) -> list[Value]:
    """Resize, and Upsample of older files."""
    image = call.image()
    mode = call.take("mode", b"nearest").decode()
    old = call.operator == "Upsample" or call.opset < 11
    if image.grid is not None and mode != "nearest":
        raise Unfit(f"{mode} of integers, expected nearest")
    coordinates = "asymmetric" if old else call.take("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = "floor" if old else call.take("nearest_mode", b"round_prefer_floor").decode()
    cubic = call.number("cubic_coeff_a", -0.75)
    call.expect("antialias", 0)
    call.expect("exclude_outside", 0)
    call.expect("keep_aspect_ratio_policy", b"stretch")
    call.attributes.pop("extrapolation_value", None)
    axes = image.positions(call.take("axes", [0, 1, 2, 3]))
    scales = call.attributes.pop("scales", None) if old else None
    given = call.constant(1 if old else 2)
    if scales is None and given is not None and given.size:
        scales = [float(x) for x in given.reshape(-1)[:8]]
    whole = call.constant(3)
    before = image.dims
    if whole is not None and whole.size == len(axes):
        wanted = dict(zip(axes, (int(x) for x in whole.reshape(-1)), strict=True))
        sizes = [wanted.get(axis, before[axis]) for axis in range(4)]
        scale = None
    elif scales is not None and len(scales) == len(axes):
        factors = dict(zip(axes, scales, strict=True))
        sizes = [int(np.floor(before[axis] * factors.get(axis, 1.0))) for axis in range(4)]
        scale = (factors.get(2, 1.0), factors.get(3, 1.0))
    else:
        raise Unfit("neither scales nor sizes are constant, expected either")
    if call.operator == "Resize" and old and mode == "nearest" and scale and any(s < 1 and 1 / s % 1 for s in scale):
        raise Unfit(f"nearest by {scale} in version 10, which leaves open what lies between two pixels")
    if tuple(sizes[:2]) != before[:2] or mode not in ("nearest", "linear", "cubic"):
        raise Unfit(f"{mode} to {sizes}, expected another height and width of {list(before)}")
    own = scale is None or all(s == b / a for s, b, a in zip(scale, sizes[2:], before[2:], strict=True))
    layer = Resize.model_validate(
        {
            "size": (sizes[2], sizes[3]),
            "mode": mode,
            "coordinates": coordinates,
            "rounding": rounding if mode == "nearest" else "round_prefer_floor",
            "scale": None if own else scale,
            "cubic": cubic,
        }
    )
    return [call.apply(layer, image)]


OPERATORS = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "LRN": response_norm,
    "Resize": resize,
    "Upsample": resize,
}
