"""Networks survive ONNX, other runtimes agree on what they compute, and foreign or broken files get one clear line."""

import hashlib
import os
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from accelsim.errors import InputError
from accelsim.network import INPUT, Graph, Network, Node, forward
from accelsim.network.graph import Preprocessing
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    PadImage,
    Relu,
)
from accelsim.network.onnx import read_onnx, write_onnx
from accelsim.network.onnx.weights import without_numbers
from accelsim.network.zoo import NETWORKS

onnx = pytest.importorskip("onnx")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def every_layer():
    """One graph with each kind of layer, in settings that are not the defaults."""
    settings = {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2, "bias": True}
    nodes = (
        Node(name="c", layer=Conv(in_channels=4, out_channels=6, **settings), inputs=(INPUT,)),
        Node(name="b", layer=BatchNorm(channels=6, eps=1e-3), inputs=("c",)),
        Node(name="r", layer=Relu(), inputs=("b",)),
        Node(name="m", layer=MaxPool(kernel=(3, 3), stride=(1, 1), padding=(1, 1)), inputs=("r",)),
        Node(name="a", layer=AveragePool(kernel=(3, 3), stride=(1, 1), padding=(1, 1)), inputs=("r",)),
        Node(name="s", layer=Add(), inputs=("m", "a")),
        Node(name="n", layer=LocalResponseNorm(size=3, alpha=0.1, beta=0.6, k=2.0), inputs=("s",)),
        Node(name="cat", layer=Concat(), inputs=("n", "r", "s")),
        Node(name="pad", layer=PadChannels(before=1, after=2), inputs=("cat",)),
        Node(name="clip", layer=Clip(low=-0.5, high=2.0), inputs=("pad",)),
        Node(name="under", layer=Clip(high=1.5), inputs=("clip",)),
        Node(name="af", layer=Affine(channels=21), inputs=("under",)),
        Node(name="sub", layer=MaxPool(kernel=(2, 2), stride=(2, 2), ceil_mode=True), inputs=("af",)),
        Node(name="edge", layer=PadImage(before=(1, 0), after=(0, 2)), inputs=("sub",)),
        Node(name="f", layer=Flatten(), inputs=("edge",)),
        Node(name="l", layer=Linear(in_features=21 * 4 * 6, out_features=5), inputs=("f",)),
        Node(name="l2", layer=Linear(in_features=5, out_features=3, bias=False), inputs=("l",)),
    )  # fmt: skip
    prepare = Preprocessing(scale=1.0, mean=(1.0, 2.0, 3.0, 4.0), order="bgr")
    return random_network(Graph(name="every", input_shape=(10, 9, 4), nodes=nodes, preprocessing=prepare))


def random_network(graph, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in graph.parameters.items():
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2
        arrays[name] = rng.normal(0.5 if len(shape) == 1 else 0, spread, shape).astype(np.float32)
        if name.endswith("running_var"):
            arrays[name] = np.abs(arrays[name]) + np.float32(0.5)
    return Network(graph, arrays)


SMALL = ("resnet20-cifar10", "squeezenet11", "googlenet", "mobilenet-v1", "vdsr")


def small(name):
    """A network of the zoo on small images."""
    graph = NETWORKS[name]()
    size = 32 if "cifar" in name else 48 if name == "vdsr" else 96
    return random_network(graph.with_input_shape((size, size, graph.input_shape[2])))


@pytest.mark.parametrize("network", [every_layer(), *map(small, SMALL)], ids=lambda network: network.graph.name)
def test_a_network_survives_the_file(tmp_path, network):
    write_onnx(network, tmp_path / "a.onnx")
    write_onnx(network, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    back = read_onnx(tmp_path / "a.onnx")
    assert back.graph == network.graph
    assert all((back.arrays[name] == array).all() for name, array in network.arrays.items())


@pytest.mark.parametrize("network", [every_layer(), *map(small, SMALL)], ids=lambda network: network.graph.name)
def test_another_runtime_computes_the_same(tmp_path, network):
    runtime = pytest.importorskip("onnxruntime")
    write_onnx(network, tmp_path / "a.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"), full_check=True)
    x = np.random.default_rng(1).standard_normal((3, *network.graph.input_shape)).astype(np.float32)
    session = runtime.InferenceSession((tmp_path / "a.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {INPUT: x.transpose(0, 3, 1, 2)})
    ours = forward(network, x)
    ours = ours.transpose(0, 3, 1, 2) if ours.ndim == 4 else ours
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())


def file(tmp_path, nodes, constants=None, shape=("N", 3, 8, 8), inputs=1, outputs=("y",), **changes):
    """An ONNX file from the parts of a graph."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(f"x{i}" if i else "x", FLOAT, shape) for i in range(inputs)],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            changes[tensor.name](tensor)
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    return path


WEIGHT = np.ones((4, 3, 3, 3), np.float32)
CONV = helper.make_node("Conv", ["x", "net.w.weight"], ["y"], "conv_7")


def test_layers_are_named_by_their_weights(tmp_path):
    relu = helper.make_node("Relu", ["y"], ["z"], "my relu!")
    again = helper.make_node("Relu", ["z"], ["out"], "my relu!")
    path = file(tmp_path, [CONV, relu, again], {"net.w.weight": WEIGHT}, outputs=("out",))
    network = read_onnx(path)
    assert [node.name for node in network.graph.nodes] == ["net.w", "my_relu_", "my_relu__2"]
    assert (network.arrays["net.w.weight"] == WEIGHT).all()


@pytest.mark.parametrize(("given", "called"), [("main_graph", "my_net"), ("", "my_net"), ("alexnet", "alexnet")])
def test_a_name_that_every_file_has_is_none(tmp_path, given, called):
    write_onnx(small("resnet20-cifar10"), tmp_path / "my_net.onnx")
    model = onnx.load(tmp_path / "my_net.onnx")
    model.graph.name = given
    (tmp_path / "my_net.onnx").write_bytes(model.SerializeToString())
    assert read_onnx(tmp_path / "my_net.onnx").graph.name == called


def test_half_precision_weights_and_constants_in_nodes_are_read(tmp_path):
    weight = onnx.numpy_helper.from_array(WEIGHT.astype(np.float16) * np.float16(0.5), "c")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("Dropout", ["y"], ["d"]),
        helper.make_node("Identity", ["d"], ["i"]),
        helper.make_node("GlobalAveragePool", ["i"], ["p"]),
        helper.make_node("Reshape", ["p", "shape"], ["v"]),
        helper.make_node("Flatten", ["v"], ["f"]),
        helper.make_node("Gemm", ["f", "m", "bias"], ["o"]),
        helper.make_node("Relu", ["y"], ["unused"]),
    ]
    constants = {"shape": np.array([0, -1]), "m": np.eye(4, 2, dtype=np.float32), "bias": np.ones((1, 2), np.float32)}
    network = read_onnx(file(tmp_path, nodes, constants, outputs=("o",)))
    assert [node.layer.op for node in network.graph.nodes] == ["conv", "global_average_pool", "flatten", "linear"]
    y = forward(network, np.ones((1, 8, 8, 3), np.float32))
    assert y.tolist() == [[13.5 + 1, 13.5 + 1]]


def conv(**attributes):
    return [helper.make_node("Conv", ["x", "w"], ["y"], "c", **attributes)], {"w": WEIGHT}


def one(operator, *constants, **attributes):
    names = {f"k{i}": value for i, value in enumerate(constants)}
    return [helper.make_node(operator, ["x", *names], ["y"], "n", **attributes)], names


def external(tensor):
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def oversized(tensor):
    tensor.dims[0] = 1 << 40


@pytest.mark.parametrize(
    ("parts", "changes", "message"),
    [
        (one("NonZero"), {}, r"node 'n' \(NonZero\): not known; --keep-unknown costs"),
        (one("LSTM"), {}, r"node 'n' \(LSTM\): not known; LSTM: recurrent"),
        (one("Relu", domain="my.own"), {}, r"node 'n' \(Relu\): not known"),
        (conv(pads=[0, -1, 1, 0]), {}, r"node 'c' \(Conv\): .* expected positive sizes"),
        (conv(auto_pad="SAME_LEFT"), {}, "auto_pad b'SAME_LEFT' is not known"),
        (conv(auto_pad="SAME_UPPER", pads=[1, 1, 1, 1]), {}, "auto_pad and pads, expected one of them"),
        (conv(kernel_shape=[5, 5]), {}, r"kernel_shape is \[5, 5\], expected \[3, 3\]"),
        (conv(group=0), {}, "Conv"),
        (conv(group=2), {}, "expected 6 input channels, got 3"),
        (conv(strides=[0, 1]), {}, "stride"),
        (conv(strides=[1]), {}, "expected one or two dimensions"),
        (conv(surprise=3), {}, "attribute 'surprise' is not known"),
        (one("Conv", np.ones((4, 3, 3), np.float32)), {}, "weights of 3 dimensions, expected 4"),
        (one("Conv", np.full((4, 3, 3, 3), np.nan, np.float32)), {}, "tensor 'k0' holds NaN"),
        (one("Conv", WEIGHT, np.ones(3, np.float32)), {}, "has shape"),
        (one("Gemm", np.eye(3, dtype=np.float32), alpha=2.0), {}, "alpha is 2.0, expected 1.0"),
        (one("Gemm", np.eye(3, dtype=np.float32)), {}, r"expected \[1, 3, 8, 3\], got \[1, 3, 8, 8\]"),
        (one("BatchNormalization", *[np.ones(3, np.float32)] * 3), {}, "input 4 is nothing, expected a const"),
        (one("BatchNormalization", *[np.full(3, -1, np.float32)] * 4), {}, "expected variances above 0"),
        (([helper.make_node("Relu", ["x"], [], "n")], {}), {}, "expected one output"),
        (one("Add", np.ones(3, np.float32)), {}, "do not fit element by element"),
        (one("LRN", size=4), {}, "size 4, expected an odd number"),
        (one("Concat"), {}, "no axis"),
        (one("Pad", np.array([1, 0, 1, 1, 0, 0, 1, 1])), {}, "expected none of the images' axis"),
        (one("Pad", np.array([0, 0, 1])), {}, "expected two for each of 4 axes"),
        (one("ReduceMean", axes=[0]), {}, "axis 0 is that of the images"),
        (one("Softmax", axis=7), {}, "axis 7, expected one of 4"),
        (one("Resize"), {}, "neither scales nor sizes are constant"),
        (one("Slice", np.array([9]), np.array([20]), np.array([2])), {}, "leaves nothing"),
        (one("Gather", np.array(3), axis=1), {}, "indices beyond 3"),
        (one("Cast", to=7), {}, "to type 7, expected floating point"),
        (one("MatMul", np.ones((3, 8, 8), np.float32)), {}, r"a constant of \[3, 8, 8\], expected one matrix"),
        (one("Clip", np.float32(3), np.float32(1)), {}, "clip from 3 to 1"),
        (one("Reshape", np.array([-1, -1])), {}, "expected sizes and at most one -1"),
        (one("Reshape", np.array([0, 192]), allowzero=1), {}, r"to \[0, 192\], expected sizes"),
        (one("Pad", np.array([0, 1, 0, 0, 0, 1, 0, 0]), mode="wrap"), {}, "mode is 'wrap'"),
        (one("Pad", np.array([0, 3, 0, 0, 0, 0, 0, 0]), mode="reflect"), {}, "reflects more than"),
        (one("Flatten", axis=7), {}, "axis 7, expected one of 4"),
        (one("Reshape", np.array([5, -1])), {}, r"to \[5, 38\], expected as many numbers"),
        (one("MaxPool", kernel_shape=[9, 9]), {}, "smaller than the"),
        (one("AveragePool", kernel_shape=[3, 3], pads=[0, 1, 1, 1]), {}, "expected count_include_pad 1"),
        (one("Relu"), {"shape": ("N", 3, "H", "W")}, r"'x' is \[N, 3, H, W\], expected .* --input-shape 3,224,224"),
        (one("Relu"), {"shape": ("N",)}, r"expected \(N, C, H, W\)"),
        (([helper.make_node("Add", ["x", "x1"], ["y"], "n")], {}), {"inputs": 2}, r"2 inputs \('x', 'x1'\)"),
        (one("Relu"), {"outputs": ("z",)}, "1 outputs, expected one that a node gives"),
        (([helper.make_node("Relu", ["q"], ["y"], "n")], {}), {}, "reads 'q', which no earlier node gives"),
        (([helper.make_node("Identity", ["x"], ["y"])], {}), {}, "no layer between input and output"),
        (one("Conv", WEIGHT), {"k0": external}, "tensor 'k0' lies in '/etc/passwd', expected a file beside this one"),
        (one("Conv", WEIGHT), {"k0": oversized}, "tensor 'k0' is damaged"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_named(tmp_path, parts, changes, message):
    path = file(tmp_path, *parts, **changes)
    with pytest.raises(InputError, match=message) as error:
        read_onnx(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


SIX = np.random.default_rng(5).standard_normal((8, 3, 4, 3)).astype(np.float32)
WIDE = np.random.default_rng(6).standard_normal((192, 5)).astype(np.float32)


def chain(*steps):
    """Nodes one behind the other.  steps: (operator, constants, attributes)."""
    nodes, names = [], {}
    for i, (operator, constants, attributes) in enumerate(steps):
        own = {f"k{i}_{j}": value for j, value in enumerate(constants)}
        names |= own
        last = i == len(steps) - 1
        inputs = [f"t{i - 1}" if i else "x", *own]
        nodes.append(helper.make_node(operator, inputs, ["y" if last else f"t{i}"], **attributes))
    return nodes, names


@pytest.mark.parametrize(
    "steps",
    [
        [("Conv", [SIX], {"pads": [0, 0, 1, 1]})],
        [("Conv", [SIX], {"pads": [3, 1, 1, 2], "strides": [2, 3]})],
        [("Conv", [SIX], {"pads": [0, 2, 1, 0], "dilations": [2, 1]})],
        [("Conv", [SIX], {"auto_pad": "SAME_UPPER", "strides": [1, 2]})],
        [("Conv", [SIX], {"auto_pad": "SAME_LOWER", "strides": [2, 1]})],
        [("Conv", [SIX], {"auto_pad": "VALID"})],
        [("Clip", [np.float32(-0.5), np.float32(1)], {})],
        [("Clip", [np.float32(0)], {})],
        [("Relu", [], {}), ("MaxPool", [], {"kernel_shape": [3, 2], "pads": [0, 0, 1, 1], "strides": [2, 2]})],
        [("AveragePool", [], {"kernel_shape": [3, 3], "pads": [0, 1, 1, 0], "count_include_pad": 1})],
        [("ReduceMean", [], {"axes": [2, 3]})],
        [("ReduceMean", [], {"axes": [-1, -2], "keepdims": 0})],
        [("GlobalAveragePool", [], {}), ("Squeeze", [np.array([2, 3])], {})],
        [("Pad", [np.array([0, 1, 2, 0, 0, 0, 1, 3])], {})],
        [("Flatten", [], {}), ("MatMul", [WIDE], {})],
        [("ConvTranspose", [np.ascontiguousarray(SIX.transpose(1, 0, 2, 3))], {"strides": [2, 3]})],
        [
            (
                "ConvTranspose",
                [SIX.transpose(1, 0, 2, 3).copy()],
                {"strides": [3, 2], "pads": [1, 2, 0, 1], "output_padding": [1, 0]},
            )
        ],
        [
            (
                "ConvTranspose",
                [SIX.transpose(1, 0, 2, 3)[:, :2].copy(), np.ones(2, np.float32)],
                {"dilations": [2, 1], "strides": [2, 2]},
            )
        ],
        [("ConvTranspose", [SIX.reshape(3, 8, 4, 3)[:, :1].copy()], {"group": 3, "strides": [2, 2]})],
        [("MaxPool", [], {"kernel_shape": [3, 2], "pads": [0, 0, 1, 1]})],
        [("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 0], "strides": [2, 1]})],
        [("AveragePool", [], {"kernel_shape": [3, 3], "strides": [3, 2], "ceil_mode": 1})],
        [("AveragePool", [], {"kernel_shape": [2, 2], "auto_pad": "VALID"})],
        [("GlobalMaxPool", [], {})],
        [("Clip", [], {})],
        [("LeakyRelu", [], {"alpha": 0.25})],
        [("PRelu", [np.array([[[0.5]], [[0.25]], [[-1]]], np.float32)], {})],
        [("Elu", [], {})],
        [("HardSigmoid", [], {"alpha": 0.1, "beta": 0.4})],
        [("Softplus", [], {}), ("Tanh", [], {}), ("Neg", [], {}), ("Exp", [], {}), ("Sqrt", [], {})],
        [("Abs", [], {}), ("Add", [np.float32(0.5)], {}), ("Log", [], {}), ("Erf", [], {})],
        [("Abs", [], {}), ("Add", [np.float32(0.5)], {}), ("Reciprocal", [], {}), ("Pow", [np.float32(1.5)], {})],
        [
            ("Sub", [np.arange(8, dtype=np.float32)], {}),
            ("Mul", [np.arange(24, dtype=np.float32).reshape(3, 8, 1)], {}),
        ],
        [("Div", [np.float32([[[2]], [[3]], [[4]]])], {}), ("Max", [np.float32(0.1)], {})],
        [("ReduceMean", [], {"axes": [1]}), ("Squeeze", [np.array([1])], {})],
        [("ReduceMax", [], {"axes": [-1], "keepdims": 0}), ("ReduceMin", [], {"axes": [2]})],
        [("ReduceSum", [np.array([2])], {}), ("ReduceL2", [], {"axes": [1, 3], "keepdims": 0})],
        [("Softmax", [], {"axis": 1})],
        [("LogSoftmax", [], {"axis": -1})],
        [("InstanceNormalization", [np.float32([1, 2, 3]), np.float32([0.5, 0, -1])], {"epsilon": 1e-3})],
        [
            ("Transpose", [], {"perm": [0, 2, 3, 1]}),
            ("MatMul", [WIDE[:3, :4]], {}),
            ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ],
        [("Transpose", [], {"perm": [0, 3, 1, 2]}), ("Softmax", [], {"axis": 2}), ("Flatten", [], {})],
        [("Transpose", [], {"perm": [2, 0, 1, 3]}), ("Reshape", [np.array([1, -1])], {})],
        [
            ("Reshape", [np.array([-1, 3, 64])], {}),
            ("Transpose", [], {"perm": [0, 2, 1]}),
            ("MatMul", [WIDE[:3]], {}),
            ("Add", [np.arange(5, dtype=np.float32)], {}),
        ],
        [
            ("Reshape", [np.array([0, 3, 2, 4, 8])], {}),
            ("Transpose", [], {"perm": [0, 2, 1, 3, 4]}),
            ("Reshape", [np.array([0, 6, 4, 8])], {}),
        ],
        [("Unsqueeze", [np.array([1])], {}), ("Expand", [np.array([1, 4, 3, 8, 8])], {}), ("Flatten", [], {})],
        [("Tile", [np.array([1, 2, 1, 3])], {})],
        [("Slice", [np.array([1, -1]), np.array([9, -9]), np.array([2, 3]), np.array([2, -1])], {})],
        [("Gather", [np.array([2, 0])], {"axis": 1})],
        [("Gather", [np.array(-1)], {"axis": 2})],
        [("Concat", [np.ones((1, 2, 8, 8), np.float32)], {"axis": 1})],
        [("Pad", [np.array([0, 0, 2, 1, 0, 0, 1, 3])], {"mode": "reflect"})],
        [("Pad", [np.array([0, 1, 0, 1, 0, 0, 2, 0]), np.float32(2.5)], {})],
        [("Pad", [np.array([0, 0, -1, 1, 0, 0, 2, -2])], {"mode": "edge"})],
        [("Concat", [np.ones((1, 9, 8, 8), np.float32)], {"axis": 1}), ("DepthToSpace", [], {"blocksize": 2})],
        [
            ("Concat", [np.ones((1, 9, 8, 8), np.float32)], {"axis": 1}),
            ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
        ],
        [("SpaceToDepth", [], {"blocksize": 4})],
        [("Resize", [np.float32([]), np.float32([1, 1, 2, 1.5])], {"nearest_mode": "floor"})],
        [("Resize", [np.float32([]), np.float32([1, 1, 1.7, 0.6])], {"mode": "linear"})],
        [
            (
                "Resize",
                [np.float32([]), np.float32([1, 1, 2, 3])],
                {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            )
        ],
        [("Resize", [np.float32([]), np.float32([1, 1, 2, 2])], {"mode": "cubic"})],
        [
            (
                "Resize",
                [np.float32([]), np.float32([]), np.array([1, 3, 5, 11])],
                {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
            )
        ],
        [
            ("QuantizeLinear", [np.float32(0.05), np.uint8(117)], {}),
            ("DequantizeLinear", [np.float32(0.05), np.uint8(117)], {}),
        ],
        [("Reshape", [np.array([-1, 192])], {}), ("Gemm", [WIDE, np.float32([[2.5]])], {})],
        [("Reshape", [np.array([0, -1])], {}), ("Gemm", [WIDE, np.float32(1.5)], {})],
    ],
    ids=lambda steps: " ".join(operator + str(attributes or "") for operator, _, attributes in steps),
)
def test_what_is_read_means_what_it_means_to_another_runtime(tmp_path, steps):
    runtime = pytest.importorskip("onnxruntime")
    path = file(tmp_path, *chain(*steps))
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"x": x})
    network = read_onnx(path)
    ours = forward(network, x.transpose(0, 2, 3, 1))
    ours = ours.transpose(0, 3, 1, 2) if ours.ndim == 4 else ours
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))
    write_onnx(network, tmp_path / "b.onnx")
    again = runtime.InferenceSession((tmp_path / "b.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    two = np.concatenate([x, 2 * x])  # images do not know of one another
    (both,) = again.run(None, {INPUT: two})
    ours = forward(network, two.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(both[:1].reshape(theirs.shape), theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))
    ours = ours.transpose(0, 3, 1, 2) if ours.ndim == 4 else ours
    np.testing.assert_allclose(ours, both, rtol=0, atol=1e-5 * max(1, np.abs(both).max()))


def outside(path, name="w.data"):
    """The file of one convolution, its weights in another file beside it."""
    model = onnx.load(file(path, *one("Conv", SIX)))
    onnx.save_model(model, path / "a.onnx", save_as_external_data=True, location=name, size_threshold=0)
    return path / "a.onnx"


def test_weights_are_read_from_a_file_beside(tmp_path):
    assert (read_onnx(outside(tmp_path)).arrays["n.weight"] == SIX).all()


def change(path, key, value):
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == key:
            entry.value = value
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("location", "../w.data", "expected a file beside this one"),
        ("location", "sub/w.data", "expected a file beside this one"),
        ("location", "..", "expected a file beside this one"),
        ("location", "", "expected a file beside this one"),
        ("location", "none.data", "none.data: No such file or directory, expected the ONNX file's weights"),
        ("location", "pipe", "pipe: a FIFO, expected the ONNX file's weights"),
        ("location", "link", "expected a file beside this one"),
        ("offset", "-4", "'-4', expected a number of bytes"),
        ("offset", "9" * 30, "expected a number of bytes"),
        ("offset", "4", "beyond the end of 'w.data'"),
        ("length", "4", r"4 bytes in 'w.data', expected 1152 for \[8, 3, 4, 3\]"),
    ],
)
def test_weights_beside_the_file_are_not_looked_for_elsewhere(tmp_path, key, value, message):
    path = outside(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "w.data")
    change(path, key, value)
    with pytest.raises(InputError, match=message):
        read_onnx(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("checksum", hashlib.sha1(b"other").hexdigest(), "checksum '[0-9a-f]{40}', that of 'w.data' is another"),
        ("offset", "0", "external data with a key twice, expected each once"),
        ("colour", "red", "external data with 'colour', expected location, offset, length, checksum"),
        ("basepath", "/etc", "external data with 'basepath', expected location"),
    ],
)
def test_what_is_said_of_weights_beside_the_file_is_used_or_refused(tmp_path, key, value, message):
    path = outside(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=message):
        read_onnx(path)
    model.graph.initializer[0].external_data[-1].CopyFrom(
        onnx.StringStringEntryProto(key="checksum", value=hashlib.sha1((tmp_path / "w.data").read_bytes()).hexdigest())
    )
    path.write_bytes(model.SerializeToString())
    assert (read_onnx(path).arrays["n.weight"] == SIX).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello", "not an ONNX file"), (b"", "not an ONNX file .it holds no graph"), (None, "No such file")],
)
def test_files_that_are_no_onnx(tmp_path, content, message):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_onnx(path)


CONSTANT = {"net.w.weight": WEIGHT}


def replaced(path, change):
    """The file's model, changed and written again."""
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda m: m.ClearField("opset_import"), "opset_import.: none, expected one", id="no-opset"),
        pytest.param(lambda m: m.opset_import.add(version=12), "opset_import.: 12, 13, expected one", id="two-opsets"),
        pytest.param(
            lambda m: m.CopyFrom(helper.make_model(m.graph, opset_imports=[helper.make_opsetid("", 10**6)])),
            "version 1000000, expected 1 to",
            id="opset-of-the-future",
        ),
        pytest.param(
            lambda m: m.graph.initializer[0].dims.__setitem__(0, -4), "is .-4, 3, 3, 3., expected", id="negative-size"
        ),
        pytest.param(
            lambda m: m.graph.initializer.append(m.graph.initializer[0]),
            "constant 'net.w.weight' is there twice",
            id="constant-twice",
        ),
        pytest.param(lambda m: m.graph.node.append(CONV), "tensor 'y' is there twice", id="tensor-twice"),
        pytest.param(
            lambda m: m.graph.node[0].output.__setitem__(0, "x"), "tensor 'x' is there twice", id="the-input-given"
        ),
        pytest.param(lambda m: m.graph.input.append(m.graph.input[0]), "input 'x' is there twice", id="input-twice"),
        pytest.param(
            lambda m: m.graph.output.append(m.graph.output[0]), "output 'y' is there twice", id="output-twice"
        ),
        pytest.param(lambda m: m.graph.output[0].ClearField("name"), "output without a name", id="nameless-output"),
        pytest.param(
            lambda m: m.graph.node[0].attribute.extend(helper.make_attribute("group", g) for g in (1, 3)),
            "attribute 'group' is there twice",
            id="attribute-twice",
        ),
        pytest.param(
            lambda m: m.graph.initializer[0].CopyFrom(
                onnx.numpy_helper.from_array(np.full((4, 3, 3, 3), 1e300), "net.w.weight")
            ),
            "its weight holds NaN, infinity or beyond float32",
            id="beyond-float32",
        ),
    ],
)
def test_a_graph_that_says_two_things_is_refused(tmp_path, change, message):
    path = replaced(file(tmp_path, [CONV], CONSTANT), change)
    with pytest.raises(InputError, match=message):
        read_onnx(path)


def repeated(operator, length, *more, times=1, **attributes):
    """Nodes of one operator, each on the output of the one before it, which it reads so many times."""
    names = ["x", *(f"n{i}" for i in range(length - 1)), "y"]
    return [
        helper.make_node(operator, [before] * times + list(more), [after], **attributes)
        for before, after in pairwise(names)
    ]


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        pytest.param(repeated("Concat", 40, times=2, axis=1), {}, "expected at most", id="doubled-channels"),
        pytest.param(repeated("Tile", 40, "t"), {"t": np.array([1, 2, 1, 1])}, "expected at most|over", id="tiled"),
        pytest.param(
            [
                helper.make_node("Expand", ["c", "big"], ["e0"]),
                *(helper.make_node("Neg", [f"e{i}"], [f"e{i + 1}"]) for i in range(1000)),
                helper.make_node("ReduceSum", ["e1000"], ["s"], keepdims=0),
                helper.make_node("Mul", ["x", "s"], ["y"]),
            ],
            {"c": np.ones(1, np.float32), "big": np.array([1 << 24])},
            "numbers computed from 2 constants",
            id="constants-of-nothing",
        ),
        pytest.param(
            [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
            {"s": np.array([1 << 28])},
            "expected at most 16777216 numbers",
            id="a-large-constant",
        ),
    ],
)
def test_small_files_of_large_networks_are_refused(tmp_path, nodes, constants, message):
    path = file(tmp_path, nodes, constants)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            read_onnx(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 30
    finally:
        tracemalloc.stop()


def test_a_truncated_file_is_refused(tmp_path):
    write_onnx(every_layer(), tmp_path / "a.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    for length in range(0, len(content), len(content) // 40):
        (tmp_path / "b.onnx").write_bytes(content[:length])
        with pytest.raises(InputError):
            read_onnx(tmp_path / "b.onnx")


def test_flipped_bytes_are_refused_or_read_but_never_crash(tmp_path):
    write_onnx(every_layer(), tmp_path / "a.onnx")
    content, rng = bytearray((tmp_path / "a.onnx").read_bytes()), np.random.default_rng(0)
    refused, computed = [], 0
    for _ in range(300):
        changed = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            changed[position] = rng.integers(0, 256)
        (tmp_path / "b.onnx").write_bytes(changed)
        try:
            network = read_onnx(tmp_path / "b.onnx")
        except InputError as error:
            refused.append(str(error))
            continue
        if max(network.graph.input_shape) <= 100:  # a flipped size may be huge, yet fit the layers
            with np.errstate(all="ignore"):
                y = forward(network, np.zeros((1, *network.graph.input_shape), np.float32))
            assert y.shape[1:] == network.graph.shapes[network.graph.nodes[-1].name]
            computed += 1
    assert min(len(refused), computed) > 30
    assert not any("\n" in line for line in refused)


def test_what_onnx_means_otherwise_is_not_written(tmp_path):
    graph = Graph(
        name="g", input_shape=(4, 4, 6), nodes=(Node(name="n", layer=LocalResponseNorm(size=4), inputs=(INPUT,)),)
    )
    with pytest.raises(InputError, match="node n: ONNX's LRN of 4 channels differs"):
        write_onnx(Network(graph, {}), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_numbers_go_but_nodes_shapes_and_small_constants_stay() -> None:
    helper = onnx.helper
    large = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "large")
    shape = onnx.numpy_helper.from_array(np.array([1, 64], np.int64), "shape")
    node = helper.make_node("MatMul", ["x", "large"], ["y"])
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 64]) for name in "xy"]
    graph = helper.make_graph([node], "g", [ends[0]], [ends[1]], [large, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    light = without_numbers(onnx, model)
    assert list(light.graph.node) == list(model.graph.node)
    assert (light.graph.name, light.opset_import[0].version, light.ir_version) == ("g", 17, model.ir_version)
    assert [value.name for value in (*light.graph.input, *light.graph.output)] == ["x", "y"]
    assert light.graph.initializer[1] == shape
    assert (light.graph.initializer[0].name, list(light.graph.initializer[0].dims)) == ("large", [64, 64])
    assert light.ByteSize() < 1000 < model.ByteSize()
