"""A network in 8-bit whole numbers as an ONNX file of quantize and dequantize nodes, which other runtimes run as int8.

It holds what the spatial machine of the same scales computes: weights with batch-norm in them as
int8 and their unit, biases in the unit of the sums, and a pair of QuantizeLinear and
DequantizeLinear wherever a feature map is rounded.  So another runtime is a second opinion on the
machine's answers; it rounds halves to even and scales in float32, so single outputs may differ by a
unit.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array
from accelsim.datapath.groups import FusedLayer, groups
from accelsim.datapath.program import Calibrated, IntegerProgram, build
from accelsim.datapath.steps import ProductStep
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.files import write_bytes
from accelsim.hardware.datapath import Datapath
from accelsim.network import INPUT, Graph, Network, Node
from accelsim.network.layers import Conv, Linear
from accelsim.network.onnx.package import package
from accelsim.network.onnx.writer import onnx_model


def write_qdq(model: DualModel, datapath: Datapath, calibrated: Calibrated, path: Path) -> None:
    """Write the file.

    Raises InputError if words are not of 8 bits, or the onnx package is not installed.
    """
    integers = datapath.integers
    if datapath.kind != "spatial" or (integers.weight_bits, integers.activation_bits) != (8, 8):
        raise InputError(f"{datapath.machine}: expected a spatial machine of 8-bit weights and activations for --int8")
    program = build(model, replace(datapath, integers=replace(integers, codebook_bits=None)), calibrated)
    found = groups(model.network.graph)
    network, whole = _folded(model.network, found, program)
    onnx = package(path)
    content = onnx_model(onnx, network)
    rounded = {INPUT: program.units[INPUT]}
    for group in found:
        if group.rounds:  # what was a norm's output is the layer's own now
            rounded[group.name if group.output in group.norms else group.output] = program.units[group.output]
    _quantize(onnx, content.graph, rounded, whole)
    onnx.checker.check_model(content)
    write_bytes(path, content.SerializeToString(deterministic=True))


def _folded(
    network: Network, found: tuple[FusedLayer, ...], program: IntegerProgram
) -> tuple[Network, dict[str, tuple[NDArray[np.int8], Array]]]:
    """The network with batch-norm in its weights, and the int8 weights with the unit of each filter, by array name."""
    arrays = dict(network.arrays)
    whole = {}
    absorbed: dict[str, str] = {}  # by folded node: the layer that it is part of now
    layers: dict[str, Any] = {}
    for group, step in zip(found, program.steps, strict=True):
        if not isinstance(step, ProductStep):
            continue
        # of the sums
        units = step.word.unit * np.broadcast_to(step.rescaling.change.factor, (len(step.weights),))
        x_unit = program.units[group.node.inputs[0]]
        scale = (units / x_unit).astype(np.float32)
        name = f"{group.name}.weight"
        whole[name] = (step.weights.astype(np.int8), scale)
        arrays[name] = (step.weights * scale.reshape(-1, *[1] * (step.weights.ndim - 1))).astype(np.float32)
        arrays[f"{group.name}.bias"] = (step.rescaling.bias * units).astype(np.float32)
        assert isinstance(group.node.layer, Conv | Linear)
        layers[group.name] = group.node.layer.model_copy(update={"bias": True})
        for norm in group.norms:
            absorbed[norm] = group.name
            for key in network.graph.node(norm).layer.parameters():
                del arrays[f"{norm}.{key}"]
    nodes = tuple(
        Node(
            name=node.name,
            layer=layers.get(node.name, node.layer),
            inputs=tuple(absorbed.get(source, source) for source in node.inputs),
        )
        for node in network.graph.nodes
        if node.name not in absorbed
    )
    graph = network.graph
    folded = Graph(
        name=graph.name,
        input_shape=graph.input_shape,
        nodes=nodes,
        preprocessing=graph.preprocessing,
    )
    return Network(folded, arrays), whole


def _quantize(
    onnx: Any,
    graph: Any,
    rounded: dict[str, float],
    whole: dict[str, tuple[NDArray[np.int8], Array]],
) -> None:
    """Put pairs of nodes behind the feature maps that are rounded, and int8 weights in place of float ones."""
    helper = onnx.helper
    from_array = onnx.numpy_helper.from_array
    # nodes to put in front of those that read a tensor, by that tensor
    before: dict[str, list[Any]] = {}
    renamed = {name: f"{name}/real" for name in rounded if name != INPUT}
    zero = "int8/zero"
    graph.initializer.append(from_array(np.int8(0), zero))
    made = []
    last = graph.output[0].name
    names = {tensor.name for tensor in graph.initializer}
    for array, (values, scale) in whole.items():
        if array not in names:
            continue
        kept = [tensor for tensor in graph.initializer if tensor.name != array]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        zeros = np.zeros(len(scale), np.int8)
        graph.initializer.extend(
            [from_array(values, f"{array}/q"), from_array(scale, f"{array}/scale"), from_array(zeros, f"{array}/zero")]
        )
        inputs = [f"{array}/q", f"{array}/scale", f"{array}/zero"]
        made.append(helper.make_node("DequantizeLinear", inputs, [array], f"{array}/dequantize", axis=0))
    for name, unit in rounded.items():
        graph.initializer.append(from_array(np.float32(unit), f"{name}/unit"))
        source = renamed.get(name, name)
        target = name if name in renamed else f"{name}/words"
        pair = [f"{name}/unit", zero]
        before[source] = [
            helper.make_node("QuantizeLinear", [source, *pair], [f"{name}/q"], f"{name}/quantize"),
            helper.make_node("DequantizeLinear", [f"{name}/q", *pair], [target], f"{name}/dequantize"),
        ]
    made += before.pop(INPUT)
    for node in graph.node:
        node.input[:] = [f"{INPUT}/words" if source == INPUT else source for source in node.input]
        node.output[:] = [renamed.get(target, target) for target in node.output]
        made.append(node)
        made += before.pop(node.output[0], [])
    assert any(last in node.output for node in made)
    copies = [type(node).FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(copies)
