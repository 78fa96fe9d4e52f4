"""Convolutions and matrix products."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.network.layers import Affine, Conv, Linear, PadImage
from accelsim.network.onnx.call import Call
from accelsim.network.onnx.draft import IMAGE, Tensor, Unfit, Value
from accelsim.network.record import Shape
from accelsim.network.tensors import MatrixProduct, Pad, Reshape, Slice, Transpose


@dataclass(frozen=True)
class SlidingWindow:
    """A sliding window; before and after: the padding (down, across) on either side."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)

    @property
    def settings(self) -> dict[str, tuple[int, int]]:
        """Kernel, stride, and the padding that both sides share."""
        shared = (min(self.before[0], self.after[0]), min(self.before[1], self.after[1]))
        return {"kernel": self.kernel, "stride": self.stride, "padding": shared}

    @property
    def uneven(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """What one side has beyond the other, before and after; None if they are even."""
        before, after = (
            tuple(mine - shared for mine, shared in zip(side, self.settings["padding"], strict=True))
            for side in (self.before, self.after)
        )
        return ((before[0], before[1]), (after[0], after[1])) if any((*before, *after)) else None

    def padded(self, call: Call, image: Tensor, value: float = 0.0) -> Tensor:
        """The image with what one side has beyond the other, as a layer of its own."""
        if self.uneven is None:
            return image
        before, after = self.uneven
        if value:
            return call.apply(Pad(before=(*before, 0), after=(*after, 0), value=value), image)
        return call.apply(PadImage(before=before, after=after), image)


def window(call: Call, kernel: Sequence[int], size: Shape) -> SlidingWindow:
    """Kernel, stride, dilation and padding of a window over an image of that (height, width).

    Of one dimension it becomes one across an image of one row.
    """
    n = len(kernel)
    automatic = call.take("auto_pad", b"NOTSET")
    pads = list(call.take("pads", [0] * (2 * n)))
    strides, dilations = (list(call.take(name, [1] * n)) for name in ("strides", "dilations"))
    if n not in (1, 2) or len(strides) != n or len(pads) != 2 * n or len(dilations) != n:
        raise Unfit("expected one or two dimensions")
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
        raise Unfit(f"kernel {list(kernel)}, strides {strides}, pads {pads}: expected positive sizes")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        if any(pads):
            raise Unfit("auto_pad and pads, expected one of them")
        sizes = zip(size[-n:], kernel, strides, dilations, strict=True)
        total = [max(0, (-(-x // s) - 1) * s + (k - 1) * d + 1 - x) for x, k, s, d in sizes]
        less = [t // 2 for t in total]
        more = [t - t // 2 for t in total]
        pads = less + more if automatic == b"SAME_UPPER" else more + less
    elif automatic == b"VALID" and any(pads):
        raise Unfit("auto_pad VALID and pads, expected one of them")
    elif automatic not in (b"NOTSET", b"VALID"):
        raise Unfit(f"auto_pad {automatic!r} is not known")
    ones = [1] * (2 - n)
    zeros = [0] * (2 - n)
    return SlidingWindow(
        kernel=_pair([*ones, *kernel]),
        stride=_pair([*ones, *strides]),
        before=_pair([*zeros, *pads[:n]]),
        after=_pair([*zeros, *pads[n:]]),
        dilation=_pair([*ones, *dilations]),
    )


def _pair(two: Sequence[int]) -> tuple[int, int]:
    return int(two[0]), int(two[1])


def as_rows(call: Call, tensor: Tensor) -> tuple[Tensor, bool]:
    """An image, or a sequence (C, L) as an image of one row; and whether it was a sequence."""
    if tensor.batched and len(tensor.shape) == 2:
        C, L = tensor.shape
        return call.draft.image(call.name, call.reshaped(tensor, (1, C, 1, L))), True
    return call.draft.image(call.name, tensor), False


def without_row(call: Call, image: Tensor, was_sequence: bool) -> Tensor:
    """An image of one row as a sequence again, if it was one."""
    C, _, L = image.shape
    return call.reshaped(image, (1, C, L)) if was_sequence else image


def _filters(weight: NDArray[Any], sequence: bool) -> NDArray[Any]:
    """A convolution's weight in four dimensions, of a sequence with kernels of one row.

    Raises Unfit if not.
    """
    if weight.ndim != (3 if sequence else 4):
        raise Unfit(f"weights of {weight.ndim} dimensions, expected {3 if sequence else 4}")
    return weight[:, :, None] if sequence else weight


def _bias(call: Call, number: int) -> dict[str, NDArray[Any]]:
    given = call.constant(number)
    return {} if given is None else {"bias": given}


def convolution(
    call: Call,
    x: Tensor,
    weight: NDArray[Any],
    bias: dict[str, NDArray[Any]],
) -> Tensor:
    """Conv with these weights (K, C / groups, R, S), of a sequence (K, C / groups, S)."""
    groups = call.take("group", 1)
    call.expect("kernel_shape", list(weight.shape[2:]))
    image, sequence = as_rows(call, x)
    moving = window(call, weight.shape[2:], image.shape[1:])
    weight = _filters(weight, sequence)
    layer = Conv(
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        dilation=moving.dilation,
        groups=groups,
        bias=bool(bias),
        **moving.settings,
    )
    y = call.apply(layer, moving.padded(call, image), weight=weight, **bias)
    return without_row(call, y, sequence)


def conv(call: Call) -> list[Value]:
    return [convolution(call, call.tensor(), call.array(1), _bias(call, 2))]


def conv_transpose(call: Call) -> list[Value]:
    """The transposed convolution, as a convolution at stride 1.

    Output pixel s p + a of stride s sees the kernel's rows (columns) a, a + s, ... only: of each
    phase a a small convolution.  All phases are one convolution with s_h s_w times the filters,
    whose outputs then interleave (Shi et al., arXiv:1609.07009).
    """
    weight = call.array(1)
    bias = _bias(call, 2)
    groups = call.take("group", 1)
    image, sequence = as_rows(call, call.tensor())
    n = 1 if sequence else 2
    call.expect("kernel_shape", list(weight.shape[2:]))
    more = [0] * (2 - n) + list(call.take("output_padding", [0] * n))
    wanted = call.take("output_shape", None)
    automatic = call.attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER") or wanted is not None:
        raise Unfit("auto_pad or output_shape, expected pads")
    moving = window(call, weight.shape[2:], image.shape[1:])
    dense = _dilated(_filters(weight, sequence), moving.dilation)
    spans = list(zip(image.shape[1:], dense.shape[2:], moving.stride, strict=True))
    lengths = [(x - 1) * s + k for x, k, s in spans]
    y = _interleaved(call, image, _by_phase(dense, groups, moving.stride), groups, moving.stride)
    for axis, (length, low, high, extra) in enumerate(zip(lengths, moving.before, moving.after, more, strict=True)):
        stop = length - high + extra
        have = y.stored[axis]
        if stop > have:  # output padding beyond what the kernel reaches
            missing = [stop - have if i == axis else 0 for i in range(2)]
            y = call.apply(PadImage(after=(missing[0], missing[1])), y)
        if (low, stop) != (0, y.stored[axis]):
            y = call.apply(Slice(axis=axis, start=low, stop=stop), y)
    if bias:
        y = call.draft.apply(
            f"{call.weight_name}.bias", Affine(channels=len(bias["bias"])), y, **_ones_and(bias["bias"])
        )
    return [without_row(call, y, sequence)]


def _ones_and(bias: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {"weight": np.ones(len(bias), np.float32), "bias": bias}


def _dilated(weight: NDArray[Any], dilation: tuple[int, int]) -> NDArray[Any]:
    """Zeros between the taps of a kernel (..., R, S)."""
    if dilation == (1, 1):
        return weight
    sizes = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    dense = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    dense[:, :, :: dilation[0], :: dilation[1]] = weight
    return dense


def _by_phase(weight: NDArray[Any], groups: int, stride: tuple[int, int]) -> NDArray[Any]:
    """(C, K / groups, R, S) as filters at stride 1.

    (K s_h s_w, C / groups, ceil(R / s_h), ceil(S / s_w)).

    A filter's phases follow one another.  Each kernel is turned round, as a correlation needs it.
    """
    C, K_g, R, S = weight.shape
    taps = [-(-k // s) for k, s in zip((R, S), stride, strict=True)]
    whole = np.zeros((C, K_g, taps[0] * stride[0], taps[1] * stride[1]), weight.dtype)
    whole[:, :, :R, :S] = weight
    parts = whole.reshape(groups, C // groups, K_g, taps[0], stride[0], taps[1], stride[1])
    turned = parts[:, :, :, ::-1, :, ::-1]
    return turned.transpose(0, 2, 4, 6, 1, 3, 5).reshape(-1, C // groups, *taps)


def _interleaved(
    call: Call,
    image: Tensor,
    filters: NDArray[Any],
    groups: int,
    stride: tuple[int, int],
) -> Tensor:
    """The phases of all pixels, side by side: (H + taps - 1) s_h rows."""
    s_h, s_w = stride
    taps = filters.shape[2:]
    K = len(filters) // (s_h * s_w)
    layer = Conv(
        in_channels=filters.shape[1] * groups,
        out_channels=len(filters),
        kernel=(taps[0], taps[1]),
        padding=(taps[0] - 1, taps[1] - 1),
        groups=groups,
    )
    y = call.apply(layer, image, weight=filters)
    if stride == (1, 1):
        return y
    P, Q = y.stored[:2]
    source = call.draft.add(f"{call.name}.split", Reshape(shape=(P, Q, K, s_h, s_w)), [y.source], {})
    source = call.draft.add(f"{call.name}.turn", Transpose(order=(0, 3, 1, 4, 2)), [source], {})
    source = call.draft.add(f"{call.name}.join", Reshape(shape=(P * s_h, Q * s_w, K)), [source], {})
    return Tensor(source, (K, P * s_h, Q * s_w), IMAGE)


def gemm(call: Call) -> list[Value]:
    if isinstance(call.inputs[1], Tensor):
        raise Unfit("of two tensors of the image, expected constant weights")
    weight = call.array(1, 2)
    for name, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        call.expect(name, value)
    if not call.flag("transB", False):
        weight = weight.T
    K = len(weight)
    bias = call.constant(2)
    if bias is None:
        return [linear(call, call.tensor(), weight, {})]
    shape = bias.shape  # ONNX stretches it to (images, features)
    if len(shape) > 2 or (len(shape) == 2 and shape[0] != 1) or (shape and shape[-1] not in (1, K)):
        raise Unfit(f"a bias of {list(shape)}, expected one number a feature, [{K}]")
    return [linear(call, call.tensor(), weight, {"bias": np.broadcast_to(bias.reshape(-1), (K,))})]


def linear(call: Call, x: Tensor, weight: NDArray[Any], bias: dict[str, NDArray[Any]]) -> Tensor:
    """weight (K, C) times the last axis.

    Of a vector a fully connected layer, of more a 1 x 1 convolution.
    """
    K, C = weight.shape
    if not x.shape or x.shape[-1] != C:
        raise ValueError(f"expected {[*x.dims[:-1], C]}, got {list(x.dims)}")
    if len(x.shape) == 1:
        return call.apply(
            Linear(
                in_features=C,
                out_features=K,
                bias=bool(bias),
            ),
            x,
            weight=weight,
            **bias,
        )
    draft = call.draft
    last = len(x.shape) - 1
    if x.axes[-1] != last:
        x = draft.plain(call.name, x)
    rows = x.stored if len(x.stored) == 3 else (int(np.prod(x.stored[:-1])), 1, C)
    source = x.source
    if rows != x.stored:
        source = draft.add(f"{call.name}.rows", Reshape(shape=rows), [source], {})
    layer = Conv(in_channels=C, out_channels=K, kernel=(1, 1), bias=bool(bias))
    source = draft.add(call.weight_name, layer, [source], {"weight": weight[:, :, None, None], **bias})
    result = replace(x, source=source, shape=(*x.shape[:-1], K))
    if rows != x.stored:
        source = draft.add(f"{call.name}.back", Reshape(shape=result.stored), [source], {})
    return replace(result, source=source)


def matrix_product(call: Call) -> list[Value]:
    a, b = call.inputs[:2]
    if isinstance(a, Tensor) and isinstance(b, np.ndarray):
        if b.ndim < 2 or b.size != b.shape[-1] * b.shape[-2]:
            raise Unfit(f"of a constant of {list(b.shape)[:16]}, expected one matrix")
        y = linear(call, a, b.reshape(b.shape[-2:]).T, {})
        dims = (*(1,) * (b.ndim - len(y.dims)), *y.dims)
        return [y if dims == y.dims else call.reshaped(y, dims)]
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        raise Unfit("expected constant weights behind the tensor")
    return [product_of_two(call, a, b)]


def product_of_two(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """Of two tensors of the image, (..., M, K) x (..., K, N)."""
    draft = call.draft
    rank = max(len(a.shape), len(b.shape))
    if min(len(a.dims), len(b.dims)) < 2 or rank < 2:
        raise Unfit(f"of {list(a.dims)} and {list(b.dims)}, expected two matrices")
    batched = max(len(a.dims), len(b.dims)) > rank
    one, other = (draft.plain(call.name, draft.ranked(call.name, x, rank)) for x in (a, b))
    result = call.apply(MatrixProduct(), one, other)
    return draft.settled(call.name, replace(result, batched=batched))


def einsum(call: Call) -> list[Value]:
    """Einsum of two tensors of the image, each index once in each, as one matrix product."""
    equation = call.take("equation", b"").decode().replace(" ", "")
    terms, _, result = equation.partition("->")
    ours, _, theirs = terms.partition(",")
    a = call.tensor(0)
    b = call.tensor(1)
    plain = all(len(set(term)) == len(term) and term.isalpha() for term in (ours, theirs, result))
    if not plain or (len(ours), len(theirs)) != (len(a.dims), len(b.dims)) or not set(result) <= set(ours + theirs):
        raise Unfit(f"{equation!r}, expected two terms of as many letters as their tensors have axes, and a result")
    sizes = dict(zip(theirs + ours, (*b.dims, *a.dims), strict=True))
    shared = [x for x in ours if x in theirs and x in result]
    left = [x for x in ours if x not in theirs]
    right = [x for x in theirs if x not in ours]
    summed = [x for x in ours if x in theirs and x not in result]
    if not set(left + right) <= set(result):
        raise Unfit(f"{equation!r} sums over an index of one term, expected of both")

    def matrix(tensor: Tensor, term: str, rows: list[str], columns: list[str]) -> Tensor:
        turned = call.draft.transposed(call.name, tensor, [term.index(x) for x in shared + rows + columns])
        counts = [int(np.prod([sizes[x] for x in group])) for group in (rows, columns)]
        return call.reshaped(turned, [*(sizes[x] for x in shared), *counts])

    product = product_of_two(call, matrix(a, ours, left, summed), matrix(b, theirs, summed, right))
    order = shared + left + right
    whole = call.reshaped(product, [sizes[x] for x in order])
    return [call.draft.transposed(call.name, whole, [order.index(x) for x in result])]


OPERATORS = {"Einsum": einsum, "Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matrix_product}
