"""A network as an ONNX file that other runtimes read."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.files import write_bytes
from accelsim.network.forward import fold_statistics
from accelsim.network.graph import INPUT, Network, Node
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
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    PadImage,
    Relu,
)
from accelsim.network.onnx.package import METADATA, package
from accelsim.network.onnx.tensor_writer import WRITERS, Sheet, write_tensor_layer
from accelsim.network.record import Shape

OPSET = 13
IR_VERSION = 8
TENSOR_LAYERS = frozenset(layer.model_fields["op"].default for layer in WRITERS)


def write_onnx(network: Network, path: Path) -> None:
    """Write the network as an ONNX file, atomically; the same network gives the same bytes.

    Raises InputError if the network holds what ONNX writes otherwise (an even-sized response
    normalisation, a pooling of another shape).
    """
    onnx = package(path)
    write_bytes(path, onnx_model(onnx, network).SerializeToString(deterministic=True))


def onnx_model(onnx: Any, network: Network) -> Any:
    """The ONNX model of a network, by the package ``onnx``."""
    helper = onnx.helper
    graph = network.graph
    tensors = {name: np.ascontiguousarray(network.arrays[name]) for name in graph.parameters}
    nodes = []
    for node in graph.nodes:
        sideways = isinstance(node.layer, BatchNorm | Affine) and len(graph.shapes[node.name]) not in (1, 3)
        if node.layer.op in TENSOR_LAYERS or sideways:
            sheet = Sheet(helper, node, tuple(graph.shapes[x] for x in node.inputs), graph.shapes[node.name])
            if sideways:
                _scaled(sheet, network)
            else:
                write_tensor_layer(sheet)
            tensors |= {name: _in_file(network, name, value) for name, value in sheet.constants.items()}
            nodes += sheet.nodes
            continue
        operator, names, attributes, more = _operator(node, network)
        tensors |= more
        nodes.append(helper.make_node(operator, [*node.inputs, *names], [node.name], node.name, **attributes))
    H, W, C = graph.input_shape
    outputs = graph.outputs or (graph.nodes[-1].name,)
    float32 = onnx.TensorProto.FLOAT
    used = {name for node in nodes for name in node.input}
    onnx_graph = helper.make_graph(
        nodes,
        graph.name,
        [helper.make_tensor_value_info(INPUT, float32, ["N", C, H, W])],
        [helper.make_tensor_value_info(name, float32, ["N", *_sizes(graph.shapes[name])]) for name in outputs],
        [onnx.numpy_helper.from_array(tensor, name) for name, tensor in tensors.items() if name in used],
    )
    model = helper.make_model(onnx_graph, producer_name="accelsim", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {METADATA: graph.preprocessing.model_dump_json()})
    return model


def _scaled(sheet: Sheet, network: Network) -> None:
    """Batch normalisation or a scale and shift along the last axis, where ONNX's operator knows the second one only."""
    node = sheet.node
    own = {key: network.arrays[f"{node.name}.{key}"] for key in node.layer.parameters()}
    folded = isinstance(node.layer, BatchNorm)
    scale, shift = fold_statistics(node.layer, own) if folded else (own["weight"], own["bias"])  # type: ignore[arg-type]
    scaled = sheet.step("Mul", node.inputs[0], sheet.constant("scale", scale))
    sheet.step("Add", scaled, sheet.constant("shift", shift), last=True)


def _sizes(shape: Shape) -> Shape:
    """A tensor's sizes in the file's order, without the images."""
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape


def _in_file(network: Network, name: str, value: NDArray[Any]) -> NDArray[Any]:
    """A constant in the file's order: of images those of the network are stored in ours."""
    found = network.arrays.get(name)
    return value if found is None else np.ascontiguousarray(found.transpose(2, 0, 1))


def _ceil_mode(node: Node, layer: MaxPool | AveragePool, shape: Shape) -> bool:
    """Whether a pooling of an image (H, W, C) is written with ``ceil_mode``: as it is, if all count its windows alike.

    ONNX's shape rule counts one window more where it would begin beyond the image, which no runtime
    computes; without ``ceil_mode`` there is none.  Raises InputError where that is so along one side
    and along the other a window hangs over the end.
    """
    if not layer.ceil_mode:
        return False
    own = layer.output_shape((shape,))
    spans = (x + 2 * p - k for x, p, k in zip(shape[:2], layer.padding, layer.kernel, strict=True))
    counted = tuple(-(-span // s) + 1 for span, s in zip(spans, layer.stride, strict=True))
    if counted == own[:2]:
        return True
    if own != layer.model_copy(update={"ceil_mode": False}).output_shape((shape,)):
        raise InputError(
            f"node {node.name}: ceil_mode gives {counted[0]} x {counted[1]} windows by ONNX's shape rule, "
            f"{own[0]} x {own[1]} begin inside the image; expected as many"
        )
    return False


def _operator(
    node: Node,
    network: Network,
) -> tuple[str, list[str], dict[str, Any], dict[str, NDArray[Any]]]:
    """Operator, names of its constant inputs, attributes, and constants that are no arrays of the network."""
    names = [f"{node.name}.{key}" for key in node.layer.parameters()]
    match node.layer:
        case Conv() as layer:
            window = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding * 2}
            return "Conv", names, {**window, "dilations": layer.dilation, "group": layer.groups}, {}
        case Linear():
            return "Gemm", names, {"transB": 1}, {}
        case BatchNorm() as layer:
            return "BatchNormalization", names, {"epsilon": layer.eps}, {}
        case Affine() as layer:
            zeros = np.zeros(layer.channels, np.float32)
            ones = np.ones(layer.channels, np.float32)
            statistics = {f"{node.name}.running_mean": zeros, f"{node.name}.running_var": ones}
            return "BatchNormalization", [*names, *statistics], {"epsilon": 0.0}, statistics
        case MaxPool() | AveragePool() as layer:
            window = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding * 2}
            attributes = {**window, "ceil_mode": int(_ceil_mode(node, layer, network.graph.shapes[node.inputs[0]]))}
            if isinstance(layer, MaxPool):
                return "MaxPool", [], attributes, {}
            return "AveragePool", [], {**attributes, "count_include_pad": int(layer.count_padding)}, {}
        case LocalResponseNorm() as layer:
            if layer.size % 2 == 0:
                raise InputError(f"node {node.name}: ONNX's LRN of {layer.size} channels differs, expected an odd size")
            return "LRN", [], {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "bias": layer.k}, {}
        case Concat():
            return "Concat", [], {"axis": 1}, {}
        case PadChannels() as layer:
            pads = np.array([0, layer.before, 0, 0, 0, layer.after, 0, 0], np.int64)
            return "Pad", [f"{node.name}.pads"], {}, {f"{node.name}.pads": pads}
        case PadImage() as layer:
            pads = np.array([0, 0, *layer.before, 0, 0, *layer.after], np.int64)
            return "Pad", [f"{node.name}.pads"], {}, {f"{node.name}.pads": pads}
        case Clip() as layer:
            bounds = {
                f"{node.name}.{key}": np.array(bound, np.float32)
                for key, bound in (("low", layer.low), ("high", layer.high))
                if bound is not None
            }
            wanted = [f"{node.name}.{key}" for key in ("low", "high")]
            return "Clip", [name if name in bounds else "" for name in wanted], {}, bounds
        case Flatten():
            return "Flatten", [], {"axis": 1}, {}
        case Add():
            return "Add" if len(node.inputs) == 2 else "Sum", [], {}, {}  # ONNX's Add is of two
        case Relu() | GlobalAveragePool() as layer:
            return "Relu" if layer.op == "relu" else "GlobalAveragePool", [], {}, {}
        case _:
            raise TypeError(f"node {node.name}: no ONNX operator for {type(node.layer).__name__}")
