"""What an ONNX file's attributes, types and shapes say is what is computed, or the file is refused by name.

The right values are onnxruntime's, without its optimisations.
"""

import numpy as np
import pytest

from accelsim.errors import InputError
from accelsim.network.forward import forward_outputs
from accelsim.network.onnx import read_onnx

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
helper, TYPES = onnx.helper, onnx.TensorProto

IMAGE = (1, 3, 4, 6)
RNG = np.random.default_rng(5)
SCALE, OTHER, ZERO = np.float32(0.1), np.float32(0.2), np.uint8(128)
QUANTIZE = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
BYTES = np.arange(72).reshape(IMAGE) * 3


def node(operator, *inputs, out="y", **attributes):
    return helper.make_node(operator, list(inputs), [out], **attributes)


def integers(*values):
    return np.array(values, np.int64)


def written(tmp_path, nodes, constants, shape=IMAGE, kind=TYPES.FLOAT, opset=17):
    """A file of these nodes, from x to y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TYPES.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def theirs(path, x):
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def ours(path, x):
    """One output, in the file's order of numbers."""
    x = x.astype(np.float32)
    (y,) = forward_outputs(read_onnx(path), x.transpose(0, 2, 3, 1) if x.ndim == 4 else x[:, None, None]).values()
    return y


def dequantized(*more, scale="s", zero="z", out="y"):
    return [QUANTIZE, *more, node("DequantizeLinear", "r" if more else "q", scale, zero, out=out)]


GRID = {"s": SCALE, "z": ZERO, "s2": OTHER, "z2": np.uint8(100)}
BLOCKS = {"q": RNG.integers(-9, 9, (6, 6)).astype(np.int8), "s": np.abs(RNG.standard_normal((6, 2))).astype(np.float32)}
CONVOLUTION = {
    "w": RNG.integers(0, 255, (4, 3, 3, 3)).astype(np.uint8),
    "sw": np.float32(0.02),
    "zw": np.uint8(120),
    "sy": np.float32(1e-4),
    "zy": np.int8(0),
}
CASES = {
    "read by another scale": (dequantized(scale="s2"), GRID, {}),
    "read by another zero point": (dequantized(zero="z2"), GRID, {}),
    "read without zero point": ([QUANTIZE, node("DequantizeLinear", "q", "s")], GRID, {}),
    "integers as numbers": ([QUANTIZE, node("Cast", "q", to=1)], GRID, {}),
    "integers pooled": (dequantized(node("MaxPool", "q", out="r", kernel_shape=[2, 2])), GRID, {}),
    "integers padded": (dequantized(node("Pad", "q", "p", "v", out="r")), GRID | {"p": integers(0, 0, 1, 1, 0, 0, 0, 2), "v": np.uint8(7)}, {}),  # noqa: E501
    "type of the integers": ([node("QuantizeLinear", "x", "s", out="q", output_dtype=TYPES.INT8), node("DequantizeLinear", "q", "s")], GRID, {"opset": 21}),  # noqa: E501
    "an image of bytes": ([node("DequantizeLinear", "x", "s", "z")], GRID, {"kind": TYPES.UINT8, "x": BYTES}),
    "blocks of a constant": ([node("DequantizeLinear", "q", "s", out="w", axis=1, block_size=3), node("MatMul", "x", "w")], BLOCKS, {"opset": 21}),  # noqa: E501
    "matrix of more axes": ([node("MatMul", "x", "w", out="m"), node("Softmax", "m", axis=1)], {"w": RNG.standard_normal((1, 1, 6, 5), np.float32)}, {"shape": (1, 6)}),  # noqa: E501
    "sum of more axes": ([node("Add", "x", "w", out="m"), node("Softmax", "m", axis=1)], {"w": RNG.standard_normal((1, 1, 6), np.float32)}, {"shape": (1, 6)}),  # noqa: E501
    "number of more axes": ([node("Mul", "x", "w", out="m"), node("Softmax", "m", axis=1)], {"w": np.ones((1, 1, 1), np.float32)}, {"shape": (1, 6)}),  # noqa: E501
    "nearest at the last bit": ([node("Resize", "x", "", "f", mode="nearest", nearest_mode="floor")], {"f": np.array([1, 1, 1.7, 0.6], np.float32)}, {}),  # noqa: E501
    "no axes, of each by itself": ([node("ReduceL1", "x", noop_with_empty_axes=1)], {}, {"opset": 18}),
    "remainder of a constant": ([node("Mod", "a", "b", out="i", fmod=1), node("Cast", "i", out="k", to=1), node("Add", "x", "k")], {"a": integers(-7, 7, -5, 5, 3, -3), "b": integers(3, -3, 3, 3, -3, 2)}, {}),  # noqa: E501
    "empty axes of a constant": ([node("ReduceSum", "a", "e", out="k", keepdims=0), node("Add", "x", "k")], {"a": RNG.standard_normal(6, np.float32), "e": np.zeros(0, np.int64)}, {}),  # noqa: E501
    "mean of integers": ([node("ReduceMean", "a", out="i"), node("Cast", "i", out="k", to=1), node("Add", "x", "k")], {"a": integers(1, 2, 2)}, {}),  # noqa: E501
    "bfloat16 of a constant": ([node("Cast", "a", out="i", to=16), node("Cast", "i", out="k", to=1), node("Add", "x", "k")], {"a": 100 * RNG.standard_normal(6, np.float32)}, {}),  # noqa: E501
    "axes of a constant's padding": ([node("Pad", "a", "p", "", "n", out="k"), node("Add", "x", "k")], {"a": RNG.standard_normal((4, 4), np.float32), "p": integers(2, 0), "n": integers(-1)}, {"opset": 18}),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "more"), CASES.values(), ids=CASES)
def test_what_the_file_says_is_computed(tmp_path, nodes, constants, more):
    x = more.get("x", np.random.default_rng(2).standard_normal(more.get("shape", IMAGE)))
    x = x.astype(helper.tensor_dtype_to_np_dtype(more.get("kind", TYPES.FLOAT)))
    path = written(tmp_path, nodes, constants, **{key: value for key, value in more.items() if key != "x"})
    right, found = theirs(path, x), ours(path, x)
    found = found.transpose(0, 3, 1, 2) if right.ndim == found.ndim == 4 and right.shape != found.shape else found
    np.testing.assert_allclose(found.reshape(right.shape), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("scale", "zero"), [("s", "z"), ("s2", "z"), ("s", "z2")])
def test_an_integer_convolution_reads_its_input_by_the_scale_that_it_names(tmp_path, scale, zero):
    nodes = [
        QUANTIZE,
        node("QLinearConv", "q", scale, zero, "w", "sw", "zw", "sy", "zy", out="r"),
        node("DequantizeLinear", "r", "sy", "zy"),
    ]
    path = written(tmp_path, nodes, GRID | CONVOLUTION | {"sy": np.float32(0.3), "zy": np.uint8(127)})
    x = np.random.default_rng(2).standard_normal(IMAGE).astype(np.float32)
    steps = np.rint((ours(path, x).transpose(0, 3, 1, 2) - theirs(path, x)) / 0.3)
    assert (steps == 0).mean() > 0.9  # a value between two steps may fall to either
    assert np.abs(steps).max() <= 1


MATRIX = {"w": np.ones((5, 4), np.float32)}
REFUSED = {
    "arithmetic on integers": (dequantized(node("Relu", "q", out="r")), GRID, {}, "computes with integers"),
    "a division of whole numbers": ([node("Div", "x", "k", out="q"), node("Cast", "q", to=1)], {"k": np.int32(7)}, {"kind": TYPES.INT32}, "computes with integers"),  # noqa: E501
    "an image that is not quantized": ([node("DequantizeLinear", "x", "s", "z")], GRID, {}, "not quantized"),
    "an axis that is not there": ([node("ReduceMean", "x", axes=[7])], {}, {}, "axis 7, expected one of 4"),
    "an axis of softmax": ([node("Softmax", "x", axis=5)], {}, {"opset": 11}, "axis 5, expected one of 4"),
    "an axis twice": ([node("Slice", "x", "a", "b", "c")], {"a": integers(0, 0), "b": integers(2, 1), "c": integers(2, -2)}, {}, "expected each once"),  # noqa: E501
    "a part of another shape": ([node("Concat", "x", "k", axis=1)], {"k": np.ones((1, 2, 1, 6), np.float32)}, {}, "differ along axis 1"),  # noqa: E501
    "uneven parts": ([helper.make_node("Split", ["x"], ["y", "z"], axis=1)], {}, {}, "3 into 2 parts"),
    "no axis to squeeze": ([node("Squeeze", "x", "e")], {"e": np.zeros(0, np.int64)}, {}, "expected some"),
    "a bound beyond all numbers": ([node("Clip", "x", "k")], {"k": np.float32(np.inf)}, {}, "bounds that leave some"),
    "a flag of 2": ([node("ReduceMean", "x", axes=[2], keepdims=2)], {}, {}, "keepdims is 2, expected 0 or 1"),
    "an attribute of another type": ([node("Softmax", "x", axis=1.0)], {}, {}, "'axis' is of type FLOAT, expected INT"),
    "a word that is not known": ([node("Gelu", "x", approximate="erf")], {}, {"opset": 20}, "approximate is b'erf'"),
    "blocks that are no blocks": ([node("DepthToSpace", "x", blocksize=1, mode="RCD")], {}, {}, "mode is b'RCD'"),
    "weights of integers": ([node("Conv", "x", "k")], {"k": np.ones((2, 3, 1, 1), np.int8)}, {}, "holds int8"),
    "a constant's unknown attribute": ([node("Add", "a", "b", out="k", axis=0), node("Add", "x", "k")], {"a": np.ones(6, np.float32), "b": np.ones(6, np.float32)}, {}, "'axis' is not known"),  # noqa: E501
    "a constant's reflection": ([node("Pad", "a", "p", out="k", mode="reflect"), node("Add", "x", "k")], {"a": np.ones(4, np.float32), "p": integers(1, 1)}, {}, "mode b'reflect'"),  # noqa: E501
    "additions at places": ([node("ScatterND", "a", "i", "u", out="k", reduction="add"), node("Add", "x", "k")], {"a": np.ones(6, np.float32), "i": np.array([[1], [1]]), "u": np.ones(2, np.float32)}, {}, "reduction, expected none"),  # noqa: E501
    "a mean of several images": ([node("ReduceMean", "x")], {}, {"shape": (2, 3, 4, 6)}, "2 images together"),
    "the images' axis moved": ([node("Transpose", "x", out="t", perm=[1, 0, 2, 3]), node("Softmax", "t", axis=1)], {}, {"shape": (2, 3, 4, 6)}, "moves the axis of 2 images"),  # noqa: E501
    "a constant for each image": ([node("Mul", "x", "k")], {"k": np.ones((2, 1, 1, 1), np.float32)}, {"shape": (2, 3, 4, 6)}, "for 2 images"),  # noqa: E501
    "a slope of more axes": ([node("PRelu", "x", "k")], {"k": np.ones((1, 1, 1, 1, 1), np.float32)}, {}, "slopes of"),
    "nearest between two pixels": ([node("Resize", "x", "f", mode="nearest")], {"f": np.array([1, 1, 1, 0.6], np.float32)}, {"opset": 10}, "leaves open"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "more", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_computed_is_refused(tmp_path, nodes, constants, more, message):
    path = written(tmp_path, nodes, constants, **more)
    with pytest.raises(InputError, match=message) as error:
        read_onnx(path)
    assert "\n" not in str(error.value)
