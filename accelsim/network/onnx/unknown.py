"""What of an ONNX file is not known: how it is told, and what the onnx package knows of its sizes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accelsim.network.onnx.operators import RECURRENT

SHOWN = 6  # nodes of one kind that a message names


@dataclass(frozen=True)
class Unknown:
    """What of a file is not known."""

    # by operator, nodes that are costed as traffic
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # nodes left out, for no size is known of them
    dropped: Mapping[str, Sequence[str]] = field(default_factory=dict)


def refused(faults: Sequence[str], unknown: Mapping[str, Sequence[str]]) -> str:
    """All that is wrong with a file in one line; empty where nothing is.

    unknown: by operator, the nodes of operators that are not known.
    """
    told = list(faults)
    if len(unknown) == 1 and not told:
        ((operator, names),) = unknown.items()
        told = [f"{_nodes(names)} ({operator}): not known{_why([operator])}"]
    elif unknown:
        listed = ", ".join(f"{operator} ({_nodes(names)})" for operator, names in unknown.items())
        told.append(f"{len(unknown)} operators are not known: {listed}{_why(unknown)}")
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return "; ".join(told[:SHOWN]) + more


def _nodes(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"node{'s' if len(names) > 1 else ''} {shown}{more}"


def _why(operators: Iterable[str]) -> str:
    recurrent = [operator for operator in operators if operator in RECURRENT]
    if recurrent:
        return f"; {', '.join(recurrent)}: recurrent, no part of a convolutional network"
    return "; --keep-unknown costs what is not known as traffic"


def inferred_shapes(onnx: Any, model: Any, name: str, sizes: Sequence[int]) -> dict[str, list[int]]:
    """Sizes of all tensors that the onnx package can tell, for one image of these sizes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name == name:
            for dim, size in zip(value.type.tensor_type.shape.dim, (1, *sizes), strict=False):
                dim.Clear()
                dim.dim_value = size
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except Exception:  # of the package's own kind, or protobuf's
        return {}
    found = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        dims = value.type.tensor_type.shape.dim
        stated = value.type.tensor_type.HasField("shape")
        if stated and all(dim.dim_value > 0 for dim in dims):
            found[value.name] = [int(dim.dim_value) for dim in dims]
    return found
