"""A network from an ONNX file; nothing in it is executed or trusted.

The graph is walked once, for one image of fixed size: what does not depend on the image is computed
on the way (``constants``), everything else becomes layers (``operators``, ``draft``).  All that
cannot be read is told at once.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from accelsim.errors import InputError
from accelsim.files import ONNX, opened
from accelsim.network.graph import Graph, Network, Node, Preprocessing
from accelsim.network.onnx.call import Call
from accelsim.network.onnx.constants import MAX_MADE_IN_ALL, fold, made
from accelsim.network.onnx.draft import IMAGE, Grid, Tensor, Unfit, Value
from accelsim.network.onnx.inputs import channels_first, image_input, sizes_of, started, whole_numbers
from accelsim.network.onnx.large import without_large
from accelsim.network.onnx.operators import FOREIGN, MOVING, OF_INTEGERS, OPERATORS
from accelsim.network.onnx.package import inlined, one_line, package, preprocessing_of
from accelsim.network.onnx.soundness import attributes_of, check_names, opset
from accelsim.network.onnx.unknown import Unknown, inferred_shapes, refused
from accelsim.network.onnx.weights import Weights, without_numbers
from accelsim.network.tensors import Opaque

MAX_NODES = 20_000
# that exporters give all
NO_NAMES = {"", "main", "main_graph", "torch_jit", "torch-jit-export", "tf2onnx"}


def read_onnx(path: Path, input_shape: Sequence[int] | None = None) -> Network:
    """The network in an ONNX file, which needs one image input.

    input_shape: its sizes where the file leaves them open, or others than the file's: height and
    width, or all of one image in the file's order.
    Raises InputError, one line, if the file cannot be read, is over 2 GiB, or holds anything this
    module does not know.
    """
    return read_onnx_in_part(path, input_shape, keep_unknown=False)[0]


def read_onnx_in_part(
    path: Path, input_shape: Sequence[int] | None = None, *, keep_unknown: bool = True
) -> tuple[Network, Unknown]:
    """As ``read_onnx``; operators that are not known become ``opaque`` layers where their output's size can be told.

    What lies behind the others is left out.  Raises InputError as ``read_onnx`` for what is not an
    operator's fault.
    """
    onnx = package(path)
    with opened(path, ONNX) as stream:
        content, large = without_large(stream)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own class of error differs from version to version
        raise InputError(f"{path}: not an ONNX file ({one_line(error)})") from None
    del content
    if not model.HasField("graph"):
        raise InputError(f"{path}: not an ONNX file (it holds no graph)")
    try:
        reader = _Reader(onnx, inlined(onnx, model), Weights(onnx, path, large), keep_unknown)
        preprocessing = preprocessing_of(model)
        del model  # the reader lets go of it, and of the numbers that it holds, once these are read
        return reader.network(preprocessing, input_shape), reader.left
    except Unfit as error:
        raise InputError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {one_line(first['msg'])} ({first['loc']})") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # fields of a wrong type
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {one_line(error)}") from None


class _Missing:
    """Stands for a tensor that could not be read."""


class _Reader:
    """An ONNX graph on its way to becoming ours."""

    def __init__(self, onnx: Any, model: Any, weights: Weights, keep_unknown: bool) -> None:
        self.onnx = onnx
        self.model = model
        self.graph = model.graph
        self.weights = weights
        self.keep_unknown = keep_unknown
        self.opset = opset(model)
        self.values: dict[str, Value | _Missing] = {}
        self.faults: list[str] = []
        self.unknown: dict[str, list[str]] = {}
        self.dropped: dict[str, list[str]] = {}
        self.ends: list[Tensor] = []  # tensors that only nodes left out read
        self.inferred: dict[str, list[int]] | None = None
        self.made = 0  # numbers of the constants that nodes have given

    @property
    def left(self) -> Unknown:
        """What was not known."""
        kept = {operator: names for operator, names in self.unknown.items() if names}
        return Unknown(kept=kept, dropped=self.dropped)

    def network(self, preprocessing: Preprocessing, input_shape: Sequence[int] | None) -> Network:
        if len(self.graph.node) > MAX_NODES:
            raise Unfit(f"{len(self.graph.node)} nodes, expected at most {MAX_NODES}")
        check_names(self.graph)
        outputs = {output.name for output in self.graph.output}
        reads = Counter(name for node in self._needed_nodes() for name in _read_names(node))
        self._read_constants(outputs.union(reads))
        self.model = without_numbers(self.onnx, self.model)
        self.graph = self.model.graph
        self._start(outputs.union(reads), input_shape)
        for node in self._needed_nodes():
            self._node(node)
            names = _read_names(node)
            reads.subtract(names)
            for name in names:
                if not reads[name] and name not in outputs and isinstance(self.values.get(name), np.ndarray):
                    del self.values[name]
        self._complain()
        return self._finished(preprocessing)

    def _read_constants(self, used: set[str]) -> None:
        for tensor in self.graph.initializer:
            if tensor.name in used:
                self.values[tensor.name] = self.weights.constant(tensor)

    def _needed_nodes(self) -> list[Any]:
        """The nodes that the outputs depend on, in their order."""
        wanted = {output.name for output in self.graph.output}
        kept = []
        for node in reversed(self.graph.node):
            if not wanted.isdisjoint(node.output) or not node.output:
                kept.append(node)
                wanted.update(_read_names(node))
        return kept[::-1]

    def _start(self, used: set[str], input_shape: Sequence[int] | None) -> None:
        constants = {tensor.name for tensor in self.graph.initializer}
        inputs = [value for value in self.graph.input if value.name not in constants]
        value = image_input([value for value in inputs if value.name in used] or inputs)
        first = channels_first(self.graph, value.name)
        self.batch, sizes = sizes_of(value, input_shape, first)
        self.input = (value.name, sizes)
        self.draft, tensor = started(sizes, first)
        self.draft.batch = self.batch
        self.values[value.name] = replace(tensor, grid=whole_numbers(value))
        for other in inputs:
            self.values.setdefault(other.name, _Missing())

    # ---- one node

    def _node(self, node: Any) -> None:
        """Append the layers of one ONNX node, or note what is wrong with it."""
        name = node.name or next(iter(node.output), "")
        if any(isinstance(self.values.get(source), _Missing) for source in _read_names(node)):
            if self.faults or self.unknown or self.keep_unknown:
                self._drop(node, name)
                return
            self.faults.append(f"node {name!r} ({node.op_type}): reads an input that is no image")
            self._drop(node, name)
            return
        try:
            outputs = self._read(node, name)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            # of a wrong type
            if isinstance(error, InputError):
                raise
            if not self._opaque(node, name):
                self.faults.append(f"node {name!r} ({node.op_type}): {one_line(_message(error))}")
                self._drop(node, name)
            return
        if outputs is None:
            self.unknown.setdefault(node.op_type, []).append(name)
            if not self._opaque(node, name):
                self._drop(node, name)
            return
        for target, value in zip(node.output, outputs, strict=False):
            self.values[target] = value

    def _read(self, node: Any, name: str) -> Sequence[Value] | None:
        """The outputs of one node; None if its operator is not known."""
        attributes = attributes_of(self.onnx, node, self.opset)
        if missing := [source for source in node.input if source and source not in self.values]:
            raise Unfit(f"reads {missing[0]!r}, which no earlier node gives")
        inputs = [self.values[source] if source else None for source in node.input]
        known = node.domain in ("", "ai.onnx") or (node.domain, node.op_type) in FOREIGN
        match node.op_type if known else "":
            case "Constant":
                return [self._constant(attributes)]
            case "If":
                return self._branch(node, inputs, attributes)
            case "Shape" if isinstance(inputs[0], Tensor):
                sizes = inputs[0].dims[attributes.get("start", 0) : attributes.get("end")]
                return [np.array(sizes, np.int64)]
            case "Size" if isinstance(inputs[0], Tensor):
                return [np.array(int(np.prod(inputs[0].dims)), np.int64)]
        if known and not any(isinstance(value, Tensor) for value in inputs):
            return self._folded(node, inputs, attributes)
        if not known or node.op_type not in OPERATORS:
            return None
        if not node.output:
            raise Unfit("expected one output")
        call = Call(
            draft=self.draft,
            operator=node.op_type,
            name=name,
            weight_name=_weight_name(node, name),
            inputs=[value for value in inputs if not isinstance(value, _Missing)],
            attributes=attributes,
            outputs=len(node.output),
            opset=self.opset,
        )
        grid = _shared_grid(node.op_type, inputs)
        outputs = OPERATORS[node.op_type](call)
        if grid is not None and node.op_type in MOVING:
            outputs = [replace(y, grid=grid) if isinstance(y, Tensor) else y for y in outputs]
        if call.attributes:
            raise Unfit(f"attribute {next(iter(call.attributes))!r} is not known or not of this value")
        if any(node.output[len(outputs) :]) and node.op_type not in ("Dropout", "MaxPool", "BatchNormalization"):
            # masks, indices or statistics are of no use to any node here
            raise Unfit("expected one output")
        return outputs

    def _folded(self, node: Any, inputs: Sequence[Any], attributes: dict[str, Any]) -> Sequence[Value] | None:
        """The outputs of a node whose inputs are constants; None if it is not known."""
        arrays = [value if isinstance(value, np.ndarray) else None for value in inputs]
        outputs = fold(node.op_type, arrays, self._folding(attributes, node))
        self.made += made(outputs or ())
        if self.made > MAX_MADE_IN_ALL + 4 * self.weights.read:
            raise Unfit(f"{self.made} numbers computed from {self.weights.read} constants of the file, expected fewer")
        return outputs

    def _folding(self, attributes: dict[str, Any], node: Any) -> dict[str, Any]:
        """Attributes of an operator on constants, tensors as arrays."""
        found = {}
        for key, value in attributes.items():
            found[key] = self.weights.array(value) if isinstance(value, self.onnx.TensorProto) else value
        if node.op_type == "Split":
            parts = found.setdefault("num_outputs", len(node.output))
            if parts != len(node.output):
                raise Unfit(f"num_outputs is {parts}, expected {len(node.output)}")
        return found

    def _constant(self, attributes: dict[str, Any]) -> Value:
        """What a Constant node holds."""
        if len(attributes) == 1:
            name, value = next(iter(attributes.items()))
            if name == "value":
                return self.weights.array(value)
            if name in ("value_int", "value_ints", "value_float", "value_floats"):
                return np.asarray(value, np.int64 if "int" in name else np.float32)
        raise Unfit("expected the attribute value, or one of value_int, value_ints, value_float and value_floats")

    def _branch(self, node: Any, inputs: Sequence[Any], attributes: dict[str, Any]) -> Sequence[Value] | None:
        """What the branch of an If gives whose condition does not depend on the image."""
        if not isinstance(inputs[0], np.ndarray):
            return None
        branch = attributes["then_branch" if inputs[0].reshape(-1)[0] else "else_branch"]
        if len(branch.node) > MAX_NODES:
            raise Unfit(f"a branch of {len(branch.node)} nodes, expected at most {MAX_NODES}")
        check_names(branch, self.values)
        for tensor in branch.initializer:
            self.values[tensor.name] = self.weights.array(tensor)
        for inner in branch.node:
            self._node(inner)
        outputs = [self.values.get(output.name) for output in branch.output]
        found = [value for value in outputs if isinstance(value, Tensor | np.ndarray)]
        if len(found) < len(outputs):
            raise Unfit("a branch gives nothing that is known")
        return found

    # ---- what is not known

    def _opaque(self, node: Any, name: str) -> bool:
        """Keep a node that is not known as an opaque layer, if that is wanted and its outputs' sizes can be told."""
        tensors = [value for value in map(self.values.get, node.input) if isinstance(value, Tensor)]
        if not self.keep_unknown or not tensors:
            return False
        shapes = [self._inferred_shape(output) for output in node.output if output]
        if not shapes or any(shape is None for shape in shapes):
            return False
        for output, dims in zip([output for output in node.output if output], shapes, strict=True):
            assert dims is not None
            batched = bool(dims) and dims[0] == 1
            shape = tuple(dims[1:] if batched else dims)
            layer = Opaque(operator=node.op_type[:100], shape=shape)
            source = self.draft.add(name, layer, [tensor.source for tensor in tensors], {})
            self.values[output] = Tensor(source, shape, tuple(range(len(shape))), batched)
        if name not in self.unknown.setdefault(node.op_type, []):
            self.unknown[node.op_type].append(name)
        return True

    def _inferred_shape(self, output: str) -> list[int] | None:
        """All sizes of a tensor for one image, by the onnx package; None if they are not fixed."""
        if self.inferred is None:
            self.inferred = inferred_shapes(self.onnx, self.model, *self.input)
        return self.inferred.get(output)

    def _drop(self, node: Any, name: str) -> None:
        """Leave a node out."""
        if self.keep_unknown and name in self.unknown.get(node.op_type, []):
            self.unknown[node.op_type].remove(name)
        self.dropped.setdefault(node.op_type, []).append(name)
        for output in node.output:
            self.values[output] = _Missing()
        self.ends += [value for value in map(self.values.get, node.input) if isinstance(value, Tensor)]

    def _complain(self) -> None:
        """Raise Unfit with all that is not known, unless that is to be kept."""
        if self.keep_unknown:
            return
        if refusal := refused(self.faults, self.unknown):
            raise Unfit(refusal)

    # ---- the end

    def _finished(self, preprocessing: Preprocessing) -> Network:
        """The network of all nodes that the outputs depend on."""
        found = [self.values.get(output.name) for output in self.graph.output]
        tensors = [value for value in found if isinstance(value, Tensor)] or self.ends
        if not tensors:
            raise Unfit(f"{len(found)} outputs, expected one that a node gives")
        sources = []
        for tensor in tensors:
            image = len(tensor.shape) == 3 and tensor.batched
            laid = self.draft.laid("output", tensor, IMAGE) if image else self.draft.plain("output", tensor)
            sources.append(laid.source)
        kept = self._needed(sources)
        if not kept:
            raise Unfit("no layer between input and output")
        outputs = tuple(dict.fromkeys(source for source in sources if source in self.draft.nodes))
        given = self.weights.path.stem if self.graph.name in NO_NAMES else self.graph.name
        name = re.sub(r"[^A-Za-z0-9_.\-/]", "_", given)[:200] or "network"
        H, W, C = self.draft.shapes["input"]
        graph = Graph(
            name=name,
            input_shape=(H, W, C),
            nodes=tuple(kept),
            preprocessing=preprocessing,
            outputs=() if outputs == (kept[-1].name,) else outputs,
        )
        return Network(graph, {key: self.draft.arrays[key] for key in graph.parameters})

    def _needed(self, outputs: Sequence[str]) -> list[Node]:
        """Our nodes that these depend on; the last one is one of them."""
        wanted = set(outputs)
        kept = []
        for node in reversed(self.draft.nodes.values()):
            if node.name in wanted:
                kept.append(node)
                wanted.update(node.inputs)
        return kept[::-1]


def _read_names(node: Any) -> list[str]:
    """What a node reads, also within its branches."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            names += [name for inner in graph.node for name in _read_names(inner)]
            names += [output.name for output in graph.output]
    return names


def _shared_grid(operator: str, inputs: Sequence[Any]) -> Grid | None:
    """What the integers that a node reads stand for, None where it reads none.

    Raises Unfit if the operator computes with them as they are, or if they are moved together with
    others.
    """
    grids = {x.grid for x in inputs if isinstance(x, Tensor)}
    if not any(grids):
        return None
    if operator not in (*MOVING, *OF_INTEGERS):
        raise Unfit("computes with integers, expected DequantizeLinear or Cast before it")
    if operator == "Concat" and (len(grids) > 1 or any(isinstance(x, np.ndarray) for x in inputs)):
        raise Unfit("joins integers of other scales or constants, expected DequantizeLinear before it")
    return next(iter(grids))


def _weight_name(node: Any, name: str) -> str:
    """The weight's name without its ending, else the node's."""
    weight = node.input[1] if len(node.input) > 1 else ""
    return weight.removesuffix(".weight") if weight.endswith(".weight") else name


def _message(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{first['msg']} ({'.'.join(map(str, first['loc']))})"
    return str(error)
