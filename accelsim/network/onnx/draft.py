"""A network being drawn up from ONNX nodes.

Which of our nodes holds which ONNX tensor, and in what order of axes.

ONNX tensors carry the batch, mostly in front, and images are (N, C, H, W).  Our nodes hold one
image's numbers, images as (H, W, C).  A network is read for one image, N = 1, whatever batch the
file names: a tensor whose first size is then 1 is *batched*, and what our node holds lacks that
axis.  Where the batch has moved elsewhere (attention does that) the tensor is held with all its
axes; each image is still computed by itself.

A transposition is no node: it only changes which stored axis holds which ONNX axis.  Numbers are
moved where a layer asks for an order.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array
from accelsim.network.graph import INPUT, Node
from accelsim.network.layers import Flatten, Layer
from accelsim.network.record import Shape
from accelsim.network.tensors import MAX_ELEMENTS, Reshape, Transpose

IMAGE = (1, 2, 0)  # axes of an image (C, H, W) as it is stored, (H, W, C)
MAX_NAME = 180


class Unfit(ValueError):
    """What is wrong with one ONNX node."""


@dataclass(frozen=True)
class Grid:
    """What a tensor's integers stand for: scale (q - zero)."""

    scale: float
    zero: int


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor, as one of our nodes holds it.

    One of integers is held in the real numbers that these stand for by its grid.
    """

    source: str  # our node
    shape: Shape  # of one image, in ONNX's order
    axes: tuple[int, ...]  # stored axis i holds axis axes[i] of ``shape``
    batched: bool = True  # whether the ONNX tensor has one axis more in front: the images
    grid: Grid | None = None  # where the file has integers

    @property
    def dims(self) -> Shape:
        """All sizes of the ONNX tensor for one image."""
        return (1, *self.shape) if self.batched else self.shape

    @property
    def stored(self) -> Shape:
        """The shape that our node has."""
        return tuple(self.shape[axis] for axis in self.axes)

    def axis(self, number: int) -> int:
        """The axis of ``shape`` that ONNX counts so.

        Raises Unfit if there is none, or it is the images'.
        """
        found = self.position(number) - self.batched
        if found < 0:
            raise Unfit(f"axis {number} is that of the images, expected another")
        return found

    def position(self, number: int) -> int:
        """The same axis of ``dims`` counted from the front.  Raises Unfit if there is none."""
        rank = len(self.dims)
        if not -rank <= number < rank:
            raise Unfit(f"axis {number}, expected one of {rank}")
        return number % rank

    def positions(self, numbers: Sequence[int]) -> list[int]:
        """Axes of ``dims`` counted from the front.

        Raises Unfit as ``position``, or if one is there twice.
        """
        found = [self.position(number) for number in numbers]
        if len(set(found)) < len(found):
            raise Unfit(f"axes {list(numbers)[:16]}, expected each once")
        return found

    def stored_axis(self, number: int) -> int:
        """Where that ONNX axis is stored.  Raises Unfit as ``axis``."""
        return self.axes.index(self.axis(number))


Value = Tensor | NDArray[Any]  # computed from the image, or constant


class Draft:
    """Our nodes and arrays so far."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self.nodes: dict[str, Node] = {}
        self.arrays: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = {INPUT: input_shape}
        self.batch = 0  # images that the file is written for, 0 for any number

    def add(
        self,
        name: str,
        layer: Layer,
        sources: Sequence[str],
        arrays: Mapping[str, NDArray[Any]],
    ) -> str:
        """A node; its name, made fit and unique.

        Raises ValueError if the layer does not fit its inputs.
        """
        name = self._free(name)
        shape = layer.output_shape(tuple(self.shapes[source] for source in sources))
        if prod(shape) > MAX_ELEMENTS:
            raise Unfit(f"gives {shape}, expected at most {MAX_ELEMENTS} numbers")
        self.shapes[name] = shape
        self.nodes[name] = Node(name=name, layer=layer, inputs=tuple(sources))
        self.arrays |= {f"{name}.{key}": _stored(key, array) for key, array in arrays.items()}
        return name

    def apply(self, name: str, layer: Layer, *tensors: Tensor, **arrays: NDArray[Any]) -> Tensor:
        """A layer on tensors of one order of axes, which its output keeps."""
        source = self.add(name, layer, [tensor.source for tensor in tensors], arrays)
        stored = self.shapes[source]
        axes = tensors[0].axes
        if len(stored) != len(axes):
            return Tensor(source, stored, tuple(range(len(stored))), tensors[0].batched)
        return Tensor(source, _in_onnx_order(stored, axes), axes, tensors[0].batched)

    def _free(self, name: str) -> str:
        name = base = re.sub(r"[^A-Za-z0-9_.\-/]", "_", name)[:MAX_NAME] or "node"
        again = 1
        while name in self.nodes or name == INPUT:
            again += 1
            name = f"{base}_{again}"
        return name

    # ---- the order of axes

    def laid(self, name: str, tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
        """The tensor stored in that order of axes."""
        if tensor.axes == axes:
            return tensor
        order = tuple(tensor.axes.index(axis) for axis in axes)
        result = replace(tensor, axes=axes)
        long = [axis for axis in order if tensor.stored[axis] > 1]
        layer = Reshape(shape=result.stored) if long == sorted(long) else Transpose(order=order)
        if layer.op == "reshape" and result.stored == tensor.stored:
            return result
        return replace(result, source=self.add(f"{name}.{layer.op}", layer, [tensor.source], {}))

    def plain(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor stored in ONNX's order."""
        return self.laid(name, tensor, tuple(range(len(tensor.shape))))

    def image(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor stored as images, (H, W, C).  Raises Unfit if it is none."""
        if not tensor.batched or len(tensor.shape) != 3:
            raise Unfit(f"of {list(tensor.dims)}, expected one image, [1, C, H, W]")
        return self.laid(name, tensor, IMAGE)

    def ranked(self, name: str, tensor: Tensor, rank: int) -> Tensor:
        """The tensor with sizes of 1 in front of ``shape``, up to that many axes."""
        more = rank - len(tensor.shape)
        if not more:
            return tensor
        axes = (*range(more), *(axis + more for axis in tensor.axes))
        result = replace(tensor, shape=(1,) * more + tensor.shape, axes=axes)
        return replace(result, source=self.add(f"{name}.reshape", Reshape(shape=result.stored), [tensor.source], {}))

    def unbatched(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor with the images' axis among its own.

        Raises Unfit if the file is written for several images.
        """
        if not tensor.batched:
            return tensor
        if self.batch > 1:
            raise Unfit(f"moves the axis of {self.batch} images, expected a file for one image, or for any number")
        return replace(self.ranked(name, tensor, len(tensor.shape) + 1), batched=False)

    def settled(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor without its first axis if that is of size 1 and may be the images'."""
        if tensor.batched or not tensor.shape or tensor.shape[0] != 1:
            return tensor
        axes = tuple(axis - 1 for axis in tensor.axes if axis)
        result = Tensor(tensor.source, tensor.shape[1:], axes)
        return replace(result, source=self.add(f"{name}.reshape", Reshape(shape=result.stored), [tensor.source], {}))

    def transposed(self, name: str, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """ONNX's Transpose: no number moves.  order: over all axes."""
        if sorted(order) != list(range(len(tensor.dims))):
            raise Unfit(f"perm {list(order)}, expected an order of {len(tensor.dims)} axes")
        if tensor.batched and order[0] == 0:
            order = [axis - 1 for axis in order[1:]]
        else:
            tensor = self.unbatched(name, tensor)
        shape = tuple(tensor.shape[axis] for axis in order)
        axes = tuple(list(order).index(axis) for axis in tensor.axes)
        return self.settled(name, replace(tensor, shape=shape, axes=axes))

    def reshaped(self, name: str, tensor: Tensor, dims: Sequence[int]) -> Tensor:
        """ONNX's Reshape.  dims: all sizes, none of them open."""
        if prod(dims) != prod(tensor.dims) or min(dims, default=1) < 1:
            raise Unfit(f"{list(tensor.dims)} to {list(dims)[:16]}, expected as many numbers")
        batched = bool(dims) and dims[0] == 1
        shape = tuple(dims[1:] if batched else dims)
        if tensor.axes == IMAGE and len(shape) == 1:
            return Tensor(self.add(name, Flatten(), [tensor.source], {}), shape, (0,), batched)
        axes = _regrouped(tensor, shape)
        if axes is None:
            tensor = self.plain(name, tensor)
            axes = tuple(range(len(shape)))
        result = Tensor(tensor.source, shape, axes, batched)
        if result.stored == tensor.stored:
            return result
        return replace(result, source=self.add(name, Reshape(shape=result.stored), [tensor.source], {}))

    def like(self, tensor: Tensor, constant: NDArray[Any]) -> NDArray[Any]:
        """A constant that goes with the tensor element by element, in the tensor's stored order, of as many axes."""
        rank = len(tensor.shape)
        while constant.ndim > rank and constant.shape[0] == 1:
            constant = constant[0]
        return constant.reshape((1,) * (rank - constant.ndim) + constant.shape).transpose(tensor.axes)


def _stored(key: str, array: NDArray[Any]) -> Array:
    """A layer's array as it is stored.

    Raises Unfit if it holds integers, or float32 has no finite numbers for it.
    """
    if array.dtype.kind != "f":
        raise Unfit(f"its {key} holds {array.dtype}, expected floating-point numbers")
    with np.errstate(over="ignore"):
        found = np.asarray(array, np.float32)
    if not np.isfinite(found).all():
        raise Unfit(f"its {key} holds NaN, infinity or beyond float32, expected finite numbers")
    return found


def _in_onnx_order(stored: Shape, axes: tuple[int, ...]) -> Shape:
    return tuple(stored[axes.index(axis)] for axis in range(len(axes)))


def _regrouped(tensor: Tensor, shape: Shape) -> tuple[int, ...] | None:
    """The order of the axes of ``shape`` in which the stored numbers already lie.

    None if they have to be moved.

    Axes that are split give theirs in their place; axes that are joined must lie one behind the
    other.
    """
    groups = _groups(tensor.shape, shape)
    stored = [axis for axis in tensor.axes if tensor.shape[axis] > 1]
    axes: list[int] = []
    at = 0
    while at < len(stored):
        found = next((group for group in groups if group[0] and group[0][0] == stored[at]), None)
        if found is None or stored[at : at + len(found[0])] != found[0]:
            return None
        axes += found[1]
        at += len(found[0])
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    for axis in ones:
        # wherever they go, no number moves: in front of the next one, so that (1, 2) stays in order
        behind = [i for i, other in enumerate(axes) if other > axis]
        axes.insert(behind[0] if behind else len(axes), axis)
    return tuple(axes)


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The finest parts of two shapes of as many numbers that hold the same.

    Axes of one, axes of the other.

    Sizes of 1 are in none.
    """
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        ours: list[int] = []
        theirs: list[int] = []
        a = b = 1
        while True:
            if a <= b and i < len(before):
                a *= before[i]
                ours += [i] if before[i] > 1 else []
                i += 1
            elif j < len(after):
                b *= after[j]
                theirs += [j] if after[j] > 1 else []
                j += 1
            if a == b and (a > 1 or (i == len(before) and j == len(after))):
                break
        if ours:
            groups.append((ours, theirs))
    return groups
