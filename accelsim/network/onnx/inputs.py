"""What an ONNX file says of its input, and what size it is read for."""

from collections.abc import Sequence
from typing import Any

from accelsim.network.graph import INPUT
from accelsim.network.onnx.draft import IMAGE, Draft, Grid, Tensor, Unfit
from accelsim.network.tensors import Reshape

# ONNX's numbers of the types of integers, and of true and false
WHOLE = {2, 3, 4, 5, 6, 7, 9, 12, 13}
# channels of pictures: where the last size is one of them, and the second is not, it is theirs,
# unless the graph says otherwise
COLOURS = (1, 3, 4)
# What reads channels as the second size, by ONNX's definition; what works on each number by itself
OF_CHANNELS_FIRST = {"Conv", "ConvInteger", "QLinearConv", "ConvTranspose", "MaxPool", "AveragePool", "LRN"}
OF_CHANNELS_FIRST |= {"GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "InstanceNormalization"}
OF_CHANNELS_FIRST |= {"DepthToSpace", "SpaceToDepth"}
OF_EACH_NUMBER = {"Add", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout", "Identity", "LeakyRelu", "Mul", "Neg"}
OF_EACH_NUMBER |= {"Pad", "QuantizeLinear", "Relu", "Sigmoid", "Sub", "Sum", "Tanh"}


def image_input(values: Sequence[Any]) -> Any:
    """The one input that holds images: the only one, or the only one of four sizes."""
    if len(values) == 1:
        return values[0]
    images = [value for value in values if len(value.type.tensor_type.shape.dim) == 4]
    if len(images) == 1:
        return images[0]
    names = ", ".join(repr(value.name) for value in values[:5])
    raise Unfit(f"{len(values)} inputs ({names}), expected one image" if values else "0 inputs, expected one image")


def channels_first(graph: Any, name: str) -> bool:
    """Whether a layer that reads the input of that name as it is takes the second size for the channels.

    That is so for convolutions and pooling, also behind what works on each number by itself, and
    not behind a transposition.
    """
    same = {name}
    for node in graph.node:
        if not node.input or node.input[0] not in same:
            continue
        if node.op_type in OF_CHANNELS_FIRST:
            return True
        if node.op_type in OF_EACH_NUMBER:
            same.update(node.output)
    return False


def sizes_of(value: Any, given: Sequence[int] | None, first: bool = False) -> tuple[int, list[int]]:
    """The batch that the file states (0: any), and the sizes of one image in the file's order.

    given: sizes asked for: height and width, or all of one image, or all with the batch.  first:
    whether the graph says that channels are in front of them.
    Raises Unfit if a size is not fixed and not given, or the input is no vector, sequence or image.
    """
    dims = value.type.tensor_type.shape.dim
    batch, *stated = [int(dim.dim_value) for dim in dims] or [0]
    if not 1 <= len(stated) <= 3:
        raise Unfit(f"input {value.name!r} is {[batch, *stated]}, expected (N, C, H, W)")
    sizes = list(stated)
    if given is not None:
        asked = list(given)
        if len(asked) == 2 and len(sizes) == 3:
            last = _channels_last(sizes) and not first
            asked = [*asked, sizes[2]] if last else [sizes[0], *asked]
        if len(asked) == len(sizes) + 1:
            asked = asked[1:]
        if len(asked) != len(sizes):
            raise Unfit(f"--input-shape {_text(given)}, expected {len(sizes)} sizes as the file has {_text(stated)}")
        sizes = asked
    if min(sizes) < 1:
        names = [dim.dim_param or "?" if not size else str(size) for dim, size in zip(dims[1:], sizes, strict=True)]
        example = ",".join(str(size if size > 0 else 224) for size in sizes)
        raise Unfit(
            f"input {value.name!r} is [{', '.join(['N', *names])}], expected fixed sizes, such as by "
            f"--input-shape {example}"
        )
    return batch, sizes


def _channels_last(sizes: Sequence[int]) -> bool:
    return sizes[-1] in COLOURS and sizes[0] not in COLOURS


def whole_numbers(value: Any) -> Grid | None:
    """The grid of an input of integers: they stand for themselves.

    None of one in floating point.
    """
    return Grid(scale=1.0, zero=0) if value.type.tensor_type.elem_type in WHOLE else None


def _text(sizes: Sequence[int]) -> str:
    return ",".join(str(size or "?") for size in sizes)


def started(sizes: Sequence[int], first: bool = False) -> tuple[Draft, Tensor]:
    """A network with an input of these sizes, and the tensor that its images are.

    first: whether the graph says that an image's channels are the first of them.
    Images become (H, W, C) whichever way the file has them; a sequence (C, L) is an image of one
    row, a vector one of one pixel.
    """
    if len(sizes) == 3 and _channels_last(sizes) and not first:
        H, W, C = sizes
        return Draft((H, W, C)), Tensor(INPUT, (H, W, C), (0, 1, 2))
    if len(sizes) == 3:
        C, H, W = sizes
        return Draft((H, W, C)), Tensor(INPUT, (C, H, W), IMAGE)
    if len(sizes) == 2:
        C, L = sizes
        draft = Draft((1, L, C))
        source = draft.add("input.sequence", Reshape(shape=(L, C)), [INPUT], {})
        return draft, Tensor(source, (C, L), (1, 0))
    draft = Draft((1, 1, sizes[0]))
    return draft, Tensor(draft.add("input.vector", Reshape(shape=(sizes[0],)), [INPUT], {}), (sizes[0],), (0,))
