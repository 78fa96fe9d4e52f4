"""What moves numbers and computes none: reshaping, transposing, cutting, joining, padding."""

from collections.abc import Sequence

import numpy as np

from accelsim.network.layers import Concat, PadChannels, PadImage
from accelsim.network.onnx.call import Call
from accelsim.network.onnx.draft import IMAGE, Tensor, Unfit, Value
from accelsim.network.tensors import LOWEST, Combine, Expand, Join, Operand, Pad, Slice, Take


def flatten(call: Call) -> list[Value]:
    x = call.tensor()
    axis = call.take("axis", 1)
    rank = len(x.dims)
    if not -rank <= axis <= rank:
        raise Unfit(f"axis {axis}, expected one of {rank}")
    axis += rank if axis < 0 else 0
    if axis == 0 and call.draft.batch > 1:
        raise Unfit(f"of {call.draft.batch} images together, expected each by itself")
    return [call.reshaped(x, (int(np.prod(x.dims[:axis])), int(np.prod(x.dims[axis:]))))]


def reshape(call: Call) -> list[Value]:
    x = call.tensor()
    target = call.integers(1, "shape")
    if target is None:
        raise Unfit("the shape is not constant")
    literal = call.flag("allowzero", False)
    if target and call.draft.batch > 1 and target[0] == call.draft.batch:
        target[0] = 1  # we read for one image
    if not literal and any(size == 0 and i >= len(x.dims) for i, size in enumerate(target)):
        raise Unfit(f"to {target[:8]}, expected sizes of {list(x.dims)} where it says 0")
    dims = [x.dims[i] if size == 0 and not literal else size for i, size in enumerate(target)]
    known = int(np.prod([size for size in dims if size != -1]))
    if dims.count(-1) > 1 or min(dims, default=1) < -1 or not known:
        raise Unfit(f"to {target[:8]}, expected sizes and at most one -1")
    if -1 in dims:
        dims[dims.index(-1)] = int(np.prod(x.dims)) // known
    return [call.reshaped(x, dims)]


def squeeze(call: Call) -> list[Value]:
    x = call.tensor()
    axes = call.integers(1, "axes")
    if axes is None:
        axes = [axis for axis, size in enumerate(x.dims) if size == 1 and (axis or not x.batched)]
    elif not axes:
        raise Unfit("axes [], expected some, or no axes at all")
    gone = set(x.positions(axes))
    if any(x.dims[axis] != 1 for axis in gone):
        raise Unfit(f"axes {axes} of {list(x.dims)}, expected some of size 1")
    return [call.reshaped(x, [size for axis, size in enumerate(x.dims) if axis not in gone])]


def unsqueeze(call: Call) -> list[Value]:
    x = call.tensor()
    axes = call.integers(1, "axes") or []
    rank = len(x.dims) + len(axes)
    new = {axis % rank for axis in axes if -rank <= axis < rank}
    if len(new) < len(axes):
        raise Unfit(f"axes {axes}, expected some of {rank}")
    sizes = iter(x.dims)
    return [call.reshaped(x, [1 if axis in new else next(sizes) for axis in range(rank)])]


def transpose(call: Call) -> list[Value]:
    x = call.tensor()
    order = call.take("perm", list(range(len(x.dims)))[::-1])
    return [call.draft.transposed(call.name, x, list(order))]


def expand(call: Call) -> list[Value]:
    x = call.tensor()
    target = call.integers(1, "shape")
    if target is None:
        raise Unfit("the shape is not constant")
    dims = np.broadcast_shapes(x.dims, tuple(target))
    if dims == x.dims:
        return [x]
    if len(dims) > len(x.dims) or dims[0] != x.dims[0]:
        x = call.draft.unbatched(call.name, x)
    rank = len(dims) - x.batched
    x = call.draft.ranked(call.name, x, rank)
    sizes = dims[x.batched :]
    wanted = tuple(sizes[axis] for axis in x.axes)
    return [call.draft.settled(call.name, call.apply(Expand(shape=wanted), x))]


def tile(call: Call) -> list[Value]:
    x = call.tensor()
    repeats = call.integers(1, "repeats") or []
    if len(repeats) != len(x.dims) or min(repeats) < 1:
        raise Unfit(f"repeats {repeats[:8]}, expected {len(x.dims)} of at least 1")
    for axis, times in enumerate(repeats):
        if times > 1:
            x = call.apply(Join(axis=x.stored_axis(axis)), *[x] * times)
    return [x]


def cut(call: Call) -> list[Value]:
    """Slice."""
    x = call.tensor()
    starts = call.integers(1, "starts")
    stops = call.integers(2, "ends")
    if starts is None or stops is None or len(starts) != len(stops):
        raise Unfit("starts or ends are not constant")
    axes = call.integers(3, "axes") or list(range(len(starts)))
    steps = call.integers(4, "steps") or [1] * len(starts)
    for axis, start, stop, step in zip(x.positions(axes), starts, stops, steps, strict=True):
        size = x.dims[axis]
        found = range(size)[start:stop:step]
        if found == range(size):
            continue
        if not found:
            raise Unfit(f"{start}:{stop}:{step} along axis {axis} of {list(x.dims)} leaves nothing")
        x = _taken(call, x, axis, found)
    return [x]


def _taken(call: Call, x: Tensor, axis: int, indices: Sequence[int]) -> Tensor:
    """These indices along an ONNX axis, as a slice where they are one."""
    at = x.stored_axis(axis)
    if len(indices) == 1:
        return call.apply(Slice(axis=at, start=indices[0], stop=indices[0] + 1), x)
    step = indices[1] - indices[0]
    if step > 0 and list(indices) == list(range(indices[0], indices[-1] + 1, step)):
        return call.apply(Slice(axis=at, start=indices[0], stop=indices[-1] + 1, step=step), x)
    return call.apply(Take(axis=at, indices=tuple(indices)), x)


def split(call: Call) -> list[Value]:
    x = call.tensor()
    axis = call.take("axis", 0)
    sizes = call.integers(1, "split")
    parts = call.take("num_outputs", call.outputs)
    length = x.dims[x.position(axis)]
    if sizes is None:
        each = -(-length // parts)
        sizes = [min(each, length - start) for start in range(0, length, each)]
        if call.opset < 18 and length % parts:
            raise Unfit(f"{length} into {parts} parts, expected as many in each")
    if sum(sizes) != length or min(sizes) < 1 or not len(sizes) == parts == call.outputs:
        raise Unfit(f"into {sizes[:8]}, expected {call.outputs} parts of {length}")
    ends = np.cumsum(sizes).tolist()
    return [_taken(call, x, axis, range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def gather(call: Call) -> list[Value]:
    x = call.tensor()
    axis = call.take("axis", 0)
    given = call.array(1)
    size = x.dims[x.position(axis)]
    indices = [int(i) for i in given.reshape(-1)]
    if len(indices) > 1 << 16 or not indices or min(indices) < -size or max(indices) >= size:
        raise Unfit(f"indices beyond {size}, expected some along axis {axis} of {list(x.dims)}")
    y = _taken(call, x, axis, [i % size for i in indices])
    at = axis % len(x.dims)
    return [y if given.ndim == 1 else call.reshaped(y, (*x.dims[:at], *given.shape, *x.dims[at + 1 :]))]


def concat(call: Call) -> list[Value]:
    axis = call.take("axis", None)
    values = [value for value in call.inputs if value is not None]
    tensors = [value for value in values if isinstance(value, Tensor)]
    if axis is None:
        raise Unfit("no axis")
    draft = call.draft
    if not all(x.batched for x in tensors) or tensors[0].position(axis) == 0:
        values = [draft.unbatched(call.name, x) if isinstance(x, Tensor) else x for x in values]
    lead = next(x for x in values if isinstance(x, Tensor))
    _check_parts(lead.position(axis), values)
    joined = [_stored_part(call, lead, x) for x in values]
    stored = lead.stored_axis(axis)
    first = next(x for x in joined if isinstance(x, Tensor))
    if len(joined) == len([x for x in joined if isinstance(x, Tensor)]):
        layer = Concat() if stored == 2 == len(first.stored) - 1 else Join(axis=stored)
        y = call.apply(layer, *(x for x in joined if isinstance(x, Tensor)))
    else:
        y = _with_constant_parts(call, joined, first, stored)
    return [draft.settled(call.name, y)]


def _check_parts(axis: int, values: Sequence[Value]) -> None:
    """Raise Unfit unless the parts differ along that axis alone."""
    shapes = [x.dims if isinstance(x, Tensor) else x.shape for x in values]
    rest = {(*shape[:axis], *shape[axis + 1 :], len(shape)) for shape in shapes}
    if len(rest) > 1:
        raise Unfit(f"of {', '.join(map(str, map(list, shapes[:4])))}, expected tensors that differ along axis {axis}")


def _stored_part(call: Call, lead: Tensor, part: Value) -> Value:
    """One part of a joined tensor, stored as the leading one is."""
    if isinstance(part, Tensor):
        return call.draft.laid(call.name, part, lead.axes)
    return call.draft.like(lead, np.asarray(part, np.float32))


def _with_constant_parts(call: Call, parts: Sequence[Value], first: Tensor, axis: int) -> Tensor:
    """Joined parts some of which are constant.

    The others with zeros between them, plus the constant ones.
    """
    sizes = [part.stored[axis] if isinstance(part, Tensor) else part.shape[axis] for part in parts]
    rank = len(first.stored)
    shape = list(first.stored)
    shape[axis] = sum(sizes)
    constant = np.zeros(shape, np.float32)
    total: Tensor | None = None
    at = 0
    for part, size in zip(parts, sizes, strict=True):
        if isinstance(part, Tensor):
            before = tuple(at if i == axis else 0 for i in range(rank))
            after = tuple(sum(sizes) - at - size if i == axis else 0 for i in range(rank))
            padded = call.apply(Pad(before=before, after=after), part)
            total = padded if total is None else call.apply(Combine(function="add"), total, padded)
        else:
            where = [slice(None)] * axis + [slice(at, at + size)]
            constant[tuple(where)] = part
        at += size
    assert total is not None
    return call.draft.apply(call.name, Operand(function="add", shape=tuple(shape)), total, operand=constant)


def pad(call: Call) -> list[Value]:
    x = call.tensor()
    mode = call.take("mode", b"constant").decode()
    pads = call.integers(1, "pads") or []
    given = call.constant(2)
    value = call.take("value", 0.0) if given is None or not given.size else float(given.reshape(-1)[0])
    if x.grid is not None:
        value = x.grid.scale * (value - x.grid.zero)
    axes = call.integers(3, "axes") or list(range(len(x.dims)))
    n = len(axes)
    rank = len(x.dims)
    if len(pads) != 2 * n:
        raise Unfit(f"pads {pads[:16]}, expected two for each of {n} axes")
    before = [0] * rank
    after = [0] * rank
    for i, axis in enumerate(x.positions(axes)):
        before[axis] = pads[i]
        after[axis] = pads[n + i]
    if x.batched and (before[0] or after[0]):
        raise Unfit(f"pads {pads[:16]}, expected none of the images' axis")
    x = _cropped(call, x, before, after)
    before, after = ([max(0, p) for p in side[x.batched :]] for side in (before, after))
    return [_padded(call, x, before, after, mode, value)]


def _cropped(call: Call, x: Tensor, before: list[int], after: list[int]) -> Tensor:
    """What negative padding leaves."""
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if low < 0 or high < 0:
            left = range(x.dims[axis])[max(0, -low) : x.dims[axis] - max(0, -high)]
            if not left:
                raise Unfit(f"pads {before}, {after}: nothing is left of {list(x.dims)}")
            x = _taken(call, x, axis, left)
    return x


def _padded(
    call: Call,
    x: Tensor,
    before: list[int],
    after: list[int],
    mode: str,
    value: float,
) -> Tensor:
    """Padding of one image's axes, in ONNX's order."""
    if not any((*before, *after)):
        return x
    if mode not in ("constant", "reflect", "edge"):
        raise Unfit(f"mode is {mode!r}, expected constant, reflect or edge")
    if mode != "constant" or value or x.axes != IMAGE:
        stored = {"before": tuple(before[a] for a in x.axes), "after": tuple(after[a] for a in x.axes)}
        return call.apply(Pad.model_validate({**stored, "mode": mode, "value": max(value, LOWEST)}), x)
    if any((*before[1:], *after[1:])):
        x = call.apply(PadImage(before=(before[1], before[2]), after=(after[1], after[2])), x)
    if before[0] or after[0]:
        x = call.apply(PadChannels(before=before[0], after=after[0]), x)
    return x


def depth_to_space(call: Call) -> list[Value]:
    x = call.tensor()
    b = call.take("blocksize", 0)
    C, H, W = _sizes(x)
    mode = call.attributes.get("mode", b"DCR")
    call.expect("mode", b"DCR", b"CRD")
    if b < 1 or C % (b * b):
        raise Unfit(f"blocks of {b} x {b}, expected some that divide {C} channels")
    if mode == b"CRD":
        split = 1, C // (b * b), b, b, H, W
        order = 0, 1, 4, 2, 5, 3
    else:
        split = 1, b, b, C // (b * b), H, W
        order = 0, 3, 4, 1, 5, 2
    y = call.draft.transposed(call.name, call.reshaped(x, split), order)
    return [call.reshaped(y, (1, C // (b * b), H * b, W * b))]


def space_to_depth(call: Call) -> list[Value]:
    x = call.tensor()
    b = call.take("blocksize", 0)
    C, H, W = _sizes(x)
    if b < 1 or H % b or W % b:
        raise Unfit(f"blocks of {b} x {b}, expected some that divide {H} x {W}")
    split = call.reshaped(x, (1, C, H // b, b, W // b, b))
    y = call.draft.transposed(call.name, split, (0, 3, 5, 1, 2, 4))
    return [call.reshaped(y, (1, C * b * b, H // b, W // b))]


def _sizes(x: Tensor) -> tuple[int, int, int]:
    if len(x.dims) != 4 or not x.batched:
        raise Unfit(f"of {list(x.dims)}, expected one image, [1, C, H, W]")
    return x.shape[0], x.shape[1], x.shape[2]


OPERATORS = {
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Expand": expand,
    "Tile": tile,
    "Slice": cut,
    "Split": split,
    "Gather": gather,
    "Concat": concat,
    "Pad": pad,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
