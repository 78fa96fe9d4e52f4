"""A network from an ONNX file; nothing in it is executed or trusted.

Weights lie in the file, or in a file beside it that the ONNX file names (PyTorch's default): no path leads elsewhere,
and all that is read of such files is bounded.
"""

import os
import re
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from accelsim.arrays import Array
from accelsim.errors import InputError
from accelsim.files import ONNX, ONNX_DATA, opened, read_bytes
from accelsim.network.graph import INPUT, Graph, Network, Node, Preprocessing
from accelsim.network.layers import AveragePool, Clip, MaxPool, PadChannels, PadImage, Relu, Shape
from accelsim.network.onnx.operators import LAYERS, Inputs, Unfit
from accelsim.network.onnx.package import METADATA, one_line, package

MAX_NODES = 10_000


def read_onnx(path: Path) -> Network:
    """The network in an ONNX file, which needs one image input of fixed size and one output.

    Raises InputError, one line, if the file cannot be read, is over 2 GiB, or holds anything this module does not know.
    """
    onnx = package(path)
    content = read_bytes(path, ONNX)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own class of error differs from version to version
        raise InputError(f"{path}: not an ONNX file ({one_line(error)})") from None
    try:
        return _Reader(onnx, model.graph, path).network(_preprocessing(model))
    except Unfit as error:
        raise InputError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {one_line(first['msg'])} ({first['loc']})") from None
    except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError) as error:  # fields of a wrong type
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {one_line(error)}") from None


def _preprocessing(model: Any) -> Preprocessing:
    for entry in model.metadata_props:
        if entry.key == METADATA:
            return Preprocessing.model_validate_json(entry.value)
    return Preprocessing()


class _Reader:
    """An ONNX graph on its way to becoming ours."""

    def __init__(self, onnx: Any, graph: Any, path: Path) -> None:
        self.onnx, self.graph, self.path = onnx, graph, path
        self.read_bytes = 0  # of files beside this one
        self.batch = 0
        self.constants: dict[str, NDArray[Any]] = {}
        self.sources: dict[str, str] = {}  # our node by the ONNX tensor it gives
        self.shapes: dict[str, Shape] = {}
        self.nodes: dict[str, Node] = {}
        self.arrays: dict[str, Array] = {}

    def network(self, preprocessing: Preprocessing) -> Network:
        if len(self.graph.node) > MAX_NODES:
            raise Unfit(f"{len(self.graph.node)} nodes, expected at most {MAX_NODES}")
        for tensor in self.graph.initializer:
            self.constants[tensor.name] = self._constant(tensor)
        self._input()
        for node in self.graph.node:
            try:
                self._node(node)
            except (ValueError, TypeError, IndexError) as error:  # the latter two: attributes of a wrong type
                name = node.name or next(iter(node.output), "")
                raise Unfit(f"node {name!r} ({node.op_type}): {one_line(error)}") from None
        if len(self.graph.output) != 1 or self.graph.output[0].name not in self.sources:
            raise Unfit(f"{len(self.graph.output)} outputs, expected one that a node gives")
        kept = self._needed(self.sources[self.graph.output[0].name])
        if not kept:
            raise Unfit("no layer between input and output")
        name = re.sub(r"[^A-Za-z0-9_.\-/]", "_", self.graph.name)[:200] or "network"
        graph = Graph(name=name, input_shape=self._image(), nodes=tuple(kept), preprocessing=preprocessing)
        return Network(graph, {key: self.arrays[key] for key in graph.parameters})

    def _image(self) -> tuple[int, int, int]:
        H, W, C = self.shapes[INPUT]
        return H, W, C

    def _needed(self, output: str) -> list[Node]:
        """The nodes that the output depends on; it is the last of them."""
        wanted, kept = {output}, []
        for node in reversed(self.nodes.values()):
            if node.name in wanted:
                kept.append(node)
                wanted.update(node.inputs)
        return kept[::-1]

    def _constant(self, tensor: Any) -> NDArray[Any]:
        try:
            if tensor.data_location == self.onnx.TensorProto.EXTERNAL or tensor.external_data:
                array = self._beside(tensor)
            else:
                array = np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, InputError | Unfit):
                raise
            raise Unfit(f"tensor {tensor.name!r} is damaged ({one_line(error)})") from None
        if array.dtype.kind not in "biuf":
            raise Unfit(f"tensor {tensor.name!r} holds {array.dtype}, expected numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Unfit(f"tensor {tensor.name!r} holds NaN or infinity, expected finite numbers")
        return array

    def _beside(self, tensor: Any) -> NDArray[Any]:
        """A tensor whose values lie in a file beside the ONNX file."""
        keys = {entry.key: entry.value for entry in tensor.external_data}
        name = keys.get("location", "")
        file = self.path.parent / name
        if not name or Path(name).name != name or "\\" in name or name in {".", ".."} or file.is_symlink():
            raise Unfit(f"tensor {tensor.name!r} lies in {name[:100]!r}, expected a file beside this one")
        dtype = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        shape = tuple(tensor.dims)
        wanted = prod(shape) * dtype.itemsize
        offset, length = (
            self._size(tensor, keys.get(key, usual)) for key, usual in (("offset", 0), ("length", wanted))
        )
        if min(shape, default=0) < 0 or length != wanted:
            raise Unfit(
                f"tensor {tensor.name!r}: {length} bytes in {name[:100]!r}, expected {wanted} for {list(shape)}"
            )
        self.read_bytes += wanted
        if self.read_bytes > ONNX_DATA.most_bytes:
            raise Unfit(f"over {ONNX_DATA.most_bytes} bytes of weights in other files, expected at most that")
        with opened(file, ONNX_DATA) as stream:
            if offset + wanted > os.fstat(stream.fileno()).st_size:
                raise Unfit(f"tensor {tensor.name!r} ends at byte {offset + wanted}, beyond the end of {name[:100]!r}")
            stream.seek(offset)
            content = stream.read(wanted)
        return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape)

    @staticmethod
    def _size(tensor: Any, value: str | int) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise Unfit(f"tensor {tensor.name!r}: {text[:40]!r}, expected a number of bytes")
        return int(text)

    def _input(self) -> None:
        inputs = [value for value in self.graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            raise Unfit(f"{len(inputs)} inputs, expected one image")
        sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
        if len(sizes) != 4 or min(sizes[1:]) < 1:
            raise Unfit(f"input {inputs[0].name!r} is {sizes}, expected (N, C, H, W) of fixed size (0: not fixed)")
        self.batch, C, H, W = sizes
        self.sources[inputs[0].name], self.shapes[INPUT] = INPUT, (H, W, C)

    def _node(self, node: Any) -> None:
        """Append the layers of one ONNX node."""
        attributes = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.domain not in ("", "ai.onnx") or node.op_type not in (*LAYERS, "Constant", "Identity", "Dropout"):
            raise Unfit(f"not known, expected one of {', '.join(LAYERS)}")
        if not node.output or (any(node.output[1:]) and node.op_type not in ("Dropout", "MaxPool")):
            raise Unfit("expected one output")  # a mask or indices may be there, and are of no use to any node here
        if node.op_type == "Constant":
            self.constants[node.output[0]] = self._value(attributes)
            return
        if node.op_type == "Identity" and len(node.input) == 1 and node.input[0] in self.constants:
            self.constants[node.output[0]] = self.constants[node.input[0]]
            return
        inputs = [name for name in node.input if name in self.sources]
        constants = [self.constants.get(name) for name in node.input if name not in self.sources]
        if missing := [n for n in node.input if n and n not in self.sources and n not in self.constants]:
            raise Unfit(f"reads {missing[0]!r}, which no earlier node gives")
        if not inputs or node.input[: len(inputs)] != inputs:
            raise Unfit("expected images first and constants after them")
        shapes = tuple(self.shapes[self.sources[name]] for name in inputs)
        if node.op_type in ("Identity", "Dropout"):
            if any(value is not None and value.dtype == np.bool_ and value.any() for value in constants):
                raise Unfit("training_mode is true, expected a network for inference")
            self.sources[node.output[0]] = self.sources[inputs[0]]
            return
        sources = tuple(self.sources[name] for name in inputs)
        positive = all(self._positive(source) for source in sources)
        steps = LAYERS[node.op_type](attributes, Inputs(constants, shapes, self.batch, positive))
        if attributes:
            raise Unfit(f"attribute {next(iter(attributes))!r} is not known or not of this value")
        for layer, arrays in steps:
            name = self._name(node, bool(arrays))
            self.shapes[name] = layer.output_shape(tuple(self.shapes[source] for source in sources))
            self.nodes[name] = Node(name=name, layer=layer, inputs=sources)
            self.arrays |= {f"{name}.{key}": np.asarray(array, np.float32) for key, array in arrays.items()}
            sources = (name,)
        self.sources[node.output[0]] = sources[0]

    def _positive(self, source: str) -> bool:
        """Whether no value of a tensor is below 0."""
        while source != INPUT:
            node = self.nodes[source]
            if isinstance(node.layer, Relu) or (
                isinstance(node.layer, Clip) and node.layer.low is not None and node.layer.low >= 0
            ):
                return True
            if not isinstance(node.layer, MaxPool | AveragePool | PadImage | PadChannels):
                return False
            source = node.inputs[0]
        return False

    def _value(self, attributes: dict[str, Any]) -> NDArray[Any]:
        """What a Constant node holds."""
        if len(attributes) == 1:
            name, value = next(iter(attributes.items()))
            if name == "value":
                return self._constant(value)
            if name in ("value_int", "value_ints", "value_float", "value_floats"):
                return np.asarray(value, np.int64 if "int" in name else np.float32)
        raise Unfit("expected the attribute value, or one of value_int, value_ints, value_float and value_floats")

    def _name(self, node: Any, has_weight: bool) -> str:
        """The weight's name without its ending, else the node's, else its output's; made fit and unique."""
        name = node.name or node.output[0]
        if has_weight and len(node.input) > 1 and node.input[1].endswith(".weight"):
            name = node.input[1].removesuffix(".weight")
        name = base = re.sub(r"[^A-Za-z0-9_.\-/]", "_", name)[:180] or "node"
        again = 1
        while name in self.nodes or name == INPUT:
            again += 1
            name = f"{base}_{again}"
        return name
