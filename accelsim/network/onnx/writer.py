"""A network as an ONNX file that other runtimes read."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.files import write_bytes
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

OPSET, IR_VERSION = 13, 8


def write_onnx(network: Network, path: Path) -> None:
    """Write the network as an ONNX file, atomically; the same network gives the same bytes.

    Raises InputError if the network holds what ONNX writes otherwise (an even-sized response normalisation).
    """
    onnx = package(path)
    write_bytes(path, onnx_model(onnx, network).SerializeToString(deterministic=True))


def onnx_model(onnx: Any, network: Network) -> Any:
    """The ONNX model of a network, by the package ``onnx``."""
    helper, graph = onnx.helper, network.graph
    tensors = {name: np.ascontiguousarray(network.arrays[name]) for name in graph.parameters}
    nodes = []
    for node in graph.nodes:
        operator, names, attributes, more = _operator(node, network)
        tensors |= more
        nodes.append(helper.make_node(operator, [*node.inputs, *names], [node.name], node.name, **attributes))
    H, W, C = graph.input_shape
    output = graph.shapes[graph.nodes[-1].name]
    float32 = onnx.TensorProto.FLOAT
    used = {name for node in nodes for name in node.input}
    onnx_graph = helper.make_graph(
        nodes,
        graph.name,
        [helper.make_tensor_value_info(INPUT, float32, ["N", C, H, W])],
        [helper.make_tensor_value_info(graph.nodes[-1].name, float32, ["N", *(output[2:] + output[:2])])],
        [onnx.numpy_helper.from_array(tensor, name) for name, tensor in tensors.items() if name in used],
    )
    model = helper.make_model(onnx_graph, producer_name="accelsim", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {METADATA: graph.preprocessing.model_dump_json()})
    return model


def _operator(node: Node, network: Network) -> tuple[str, list[str], dict[str, Any], dict[str, NDArray[Any]]]:
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
            zeros, ones = np.zeros(layer.channels, np.float32), np.ones(layer.channels, np.float32)
            statistics = {f"{node.name}.running_mean": zeros, f"{node.name}.running_var": ones}
            return "BatchNormalization", [*names, *statistics], {"epsilon": 0.0}, statistics
        case MaxPool() | AveragePool() as layer:
            window = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding * 2}
            attributes = {**window, "ceil_mode": int(layer.ceil_mode)}
            if isinstance(layer, MaxPool):
                return "MaxPool", [], attributes, {}
            return "AveragePool", [], {**attributes, "count_include_pad": 1}, {}
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
        case Relu() | GlobalAveragePool() | Add() as layer:
            return {"relu": "Relu", "add": "Add"}.get(layer.op, "GlobalAveragePool"), [], {}, {}
        case _:
            raise TypeError(f"node {node.name}: no ONNX operator for {type(node.layer).__name__}")
