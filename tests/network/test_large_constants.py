"""An ONNX file's large constants are read from their places in the file, and are what the onnx package reads there."""

import tracemalloc

import numpy as np
import pytest

from accelsim.errors import InputError
from accelsim.network.onnx import large, read_onnx
from accelsim.network.onnx.large import without_large

onnx = pytest.importorskip("onnx")
helper = onnx.helper
TYPES = [np.float32, np.float16, np.float64]


def linear(outputs: int, dtype=np.float32) -> "onnx.ModelProto":
    """A 3 x 3 convolution with small constants, and a linear layer with large ones."""
    rng = np.random.default_rng(0)
    constants = {
        "small.weight": rng.standard_normal((4, 3, 3, 3)),
        "large.weight": rng.standard_normal((outputs, 256)),
        "large.bias": rng.standard_normal(outputs),
    }
    nodes = [
        helper.make_node("Conv", ["x", "small.weight"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "large.weight", "large.bias"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, outputs])],
        [onnx.numpy_helper.from_array(array.astype(dtype), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def parted(tmp_path, content: bytes):
    path = tmp_path / "parted.onnx"
    path.write_bytes(content)
    with path.open("rb") as stream:
        return without_large(stream)


@pytest.mark.parametrize("dtype", TYPES)
def test_all_but_the_large_numbers_is_there_and_they_are_where_it_says(tmp_path, dtype):
    whole = linear(400, dtype)
    content = whole.SerializeToString()
    rest, places = parted(tmp_path, content)
    assert list(places) == ["large.weight"]
    first, end = places["large.weight"]
    assert content[first:end] == whole.graph.initializer[1].raw_data
    assert len(rest) < len(content) - (end - first)
    found = onnx.load_model_from_string(rest)
    whole.graph.initializer[1].ClearField("raw_data")
    assert found == whole


@pytest.mark.parametrize("dtype", TYPES)
def test_a_network_has_the_numbers_that_the_onnx_package_reads(tmp_path, dtype):
    model = linear(400, dtype)
    onnx.save(model, tmp_path / "net.onnx")
    found = read_onnx(tmp_path / "net.onnx").arrays
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        np.testing.assert_array_equal(found[tensor.name], array)


def test_a_large_constant_of_the_wrong_size_is_refused_by_name(tmp_path):
    model = linear(400)
    model.graph.initializer[1].raw_data += b"\0" * 4
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"large\.weight"):
        read_onnx(tmp_path / "net.onnx")


def again(number: int, content: bytes) -> bytes:
    """A field of bytes as protobuf writes it."""
    return large._varint(number << 3 | 2) + large._varint(len(content)) + content


def test_what_exporters_do_not_write_comes_back_whole(tmp_path):
    """Two graphs, which protobuf merges; numbers twice, of which the last count; a group; a field past the end."""
    content = linear(400).SerializeToString()
    tensor = onnx.numpy_helper.from_array(np.zeros(1 << 15, np.float32), "t").SerializeToString()
    twice = again(7, again(5, tensor + again(9, b"\1" * (1 << 17))))
    for odd in (
        content + again(7, b""),
        twice,
        content + b"\x0b\x0c",
        content + b"\x3a\x7f",
        content[:-1],
        b"",
        b"\xff",
    ):
        assert parted(tmp_path, odd) == (odd, {})


def test_flipped_bytes_are_read_as_the_package_reads_them(tmp_path, monkeypatch):
    """Either way the same arrays or a refusal; never another error."""
    content = linear(300).SerializeToString()
    rng = np.random.default_rng(1)
    path = tmp_path / "net.onnx"

    def read():
        try:
            return read_onnx(path).arrays
        except InputError:
            return None

    numbers = content.index(b"large.weight") + 64  # what follows are the numbers for the most part
    places = [*rng.integers(0, numbers, 60), *rng.integers(len(content) - 200, len(content), 30)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        found = read()
        with monkeypatch.context() as patch:
            patch.setattr(large, "LARGE", 1 << 60)
            expected = read()
        assert (found is None) == (expected is None)
        if found is not None:
            assert found.keys() == expected.keys()
            for name, array in found.items():
                np.testing.assert_array_equal(array, expected[name])


def test_a_large_file_is_not_held_twice(tmp_path):
    """Besides its numbers, once as they are in the file and once as they are stored here, hardly anything."""
    onnx.save(linear(20_000), tmp_path / "net.onnx")
    tracemalloc.start()
    try:
        network = read_onnx(tmp_path / "net.onnx")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    held = sum(array.nbytes for array in network.arrays.values())
    assert held > 20e6
    assert most < 2.5 * held


def test_the_walk_ends_where_a_file_has_no_end_of_fields(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "MOST_FIELDS", 100)
    odd = b"\x08\x00" * 1000
    assert parted(tmp_path, odd) == (odd, {})
