"""Networks that are legal and rare: what they compute is onnxruntime's answer, or one line says what is in the way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelsim
from accelsim.compression.importing import import_file
from accelsim.datapath.calibrate import calibrate
from accelsim.datapath.execute import run_integers
from accelsim.datapath.program import build
from accelsim.datapath.qdq import write_qdq
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.datapath import Datapath
from accelsim.network import INPUT, Graph, Network, Node, forward
from accelsim.network.layers import Add, AveragePool, Conv, Flatten, Linear, MaxPool
from accelsim.network.onnx import read_onnx, write_onnx
from accelsim.network.tables import read_table, table_text
from accelsim.network.tabulate import tabulate
from accelsim.network.zoo import NETWORKS
from accelsim.simulator.network.planning import LEVELS
from tests.small_dual import write_small

from .test_onnx import random_network

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(1)


def theirs(path: Path, x: np.ndarray) -> np.ndarray:
    """onnxruntime's answer, its own order of sizes.  x: in the file's order."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def written(path: Path, nodes: list[tuple[str, list[str], dict[str, Any]]], shape: tuple[int, ...]) -> Path:
    """A file of these nodes, one after the other; the other inputs' names say their sizes: ``w4x3x1x1``."""
    made, constants, last = [], {}, "x"
    for i, (operator, others, attributes) in enumerate(nodes):
        for name in others:
            sizes = [int(size) for size in name[1:].split("x")]
            constants[name] = RNG.standard_normal(sizes).astype(np.float32)
        made.append(onnx.helper.make_node(operator, [last, *others], [f"y{i}"], f"n{i}", **attributes))
        last = f"y{i}"
    graph = onnx.helper.make_graph(
        made,
        "odd",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def imported(path: Path) -> DualModel:
    out = path.with_suffix(".dual")
    import_file(path, out)
    return accelsim.load_model(out)


def agrees(network: Network, path: Path) -> None:
    """onnxruntime computes from the written file what the network computes."""
    write_onnx(network, path)
    x = RNG.standard_normal((2, *network.graph.input_shape)).astype(np.float32)
    np.testing.assert_allclose(theirs(path, x.transpose(0, 3, 1, 2)), forward(network, x), rtol=1e-4, atol=1e-4)


def chain(layers: list[Any], shape: tuple[int, int, int]) -> Network:
    """The layers one after the other, then a linear one, for its sizes are checked by onnxruntime."""
    nodes: list[Node] = []
    for i, layer in enumerate([*layers, Flatten()]):
        nodes.append(Node(name=f"n{i}", layer=layer, inputs=(nodes[-1].name if nodes else INPUT,)))
    features = Graph(name="odd", input_shape=shape, nodes=tuple(nodes)).shapes[nodes[-1].name][0]
    last = Node(name="last", layer=Linear(in_features=features, out_features=3), inputs=(nodes[-1].name,))
    return random_network(Graph(name="odd", input_shape=shape, nodes=(*nodes, last)))


@pytest.mark.parametrize("branches", [2, 3, 5])
def test_a_sum_of_any_number_of_branches_is_written_as_onnx_knows_it(tmp_path: Path, branches: int) -> None:
    convs = tuple(
        Node(name=f"c{i}", layer=Conv(in_channels=2, out_channels=4, kernel=(1, 1)), inputs=(INPUT,))
        for i in range(branches)
    )
    nodes = (
        *convs,
        Node(name="sum", layer=Add(), inputs=tuple(conv.name for conv in convs)),
        Node(name="flat", layer=Flatten(), inputs=("sum",)),
    )
    network = random_network(Graph(name="sum", input_shape=(3, 2, 2), nodes=nodes))
    agrees(network, tmp_path / "sum.onnx")
    assert read_onnx(tmp_path / "sum.onnx").graph.nodes == network.graph.nodes


@pytest.mark.parametrize("kind", [MaxPool, AveragePool])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [((7, 2), 1, 3), ((5, 5), 2, 2), ((4, 4), 2, 2), ((6, 6), 1, 4), ((9, 9), 3, 4), ((5, 8), 2, 3)],
)
def test_windows_over_the_end_are_written_as_many_as_there_are(
    tmp_path: Path, kind: type, size: tuple[int, int], kernel: int, stride: int
) -> None:
    pool = kind(kernel=(kernel, kernel), stride=(stride, stride), ceil_mode=True)
    agrees(chain([pool], (*size, 2)), tmp_path / "pool.onnx")


def test_a_pooling_that_onnx_counts_otherwise_is_refused(tmp_path: Path) -> None:
    """By ONNX's rule 4 rows, of which the last would begin behind the image; 3 columns, of which one hangs over."""
    pool = MaxPool(kernel=(1, 2), stride=(3, 2), ceil_mode=True)
    with pytest.raises(InputError, match="node n0: ceil_mode gives 4 x 3 windows by ONNX's shape rule, 3 x 3 begin"):
        write_onnx(chain([pool], (8, 5, 1)), tmp_path / "pool.onnx")
    assert not (tmp_path / "pool.onnx").exists()


def test_a_maximum_over_uneven_padding_keeps_its_scale(tmp_path: Path) -> None:
    """Padding of minus infinity has no place among the values that a scale is for: all others were rounded to zero."""
    pool = ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1]})
    conv = ("Conv", ["w4x3x3x3"], {"kernel_shape": [3, 3]})
    model = imported(
        written(tmp_path / "odd.onnx", [conv, pool, ("Flatten", [], {}), ("MatMul", ["w36x5"], {})], (1, 3, 7, 7))
    )
    pixels = RNG.integers(0, 256, (16, 7, 7, 3), np.uint8)
    x = model.network.graph.preprocessing.apply(pixels)
    right = forward(model.network, x)
    datapath = Datapath("array", "spatial")
    found = calibrate(model, datapath, pixels)
    ours, _ = run_integers(build(model, datapath, found), x)
    assert np.abs(ours - right).max() < 0.05 * np.abs(right).max()
    write_qdq(model, datapath, found, tmp_path / "int8.onnx")
    peer = theirs(tmp_path / "int8.onnx", np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    assert np.abs(peer - right).max() < 0.05 * np.abs(right).max()


@pytest.mark.parametrize("first", [[], [("Relu", [], {})], [("Mul", ["w1"], {}), ("Sub", ["w1"], {})]])
def test_what_a_convolution_reads_has_its_channels_in_front(tmp_path: Path, first: list[Any]) -> None:
    """Also where the last size could be that of colours: 5 channels of 7 x 3, not 5 x 7 pixels of 3 colours."""
    conv = ("Conv", ["w2x5x3x1"], {"kernel_shape": [3, 1]})
    path = written(tmp_path / "odd.onnx", [*first, conv, ("Flatten", [], {})], (1, 5, 7, 3))
    network = read_onnx(path)
    assert network.graph.input_shape == (7, 3, 5)
    assert not any(node.layer.op == "transpose" for node in network.graph.nodes)
    x = RNG.standard_normal((1, 5, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(forward(network, x.transpose(0, 2, 3, 1)), theirs(path, x), rtol=1e-4, atol=1e-4)


def test_pictures_that_are_transposed_first_have_their_channels_behind(tmp_path: Path) -> None:
    nodes = [("Transpose", [], {"perm": [0, 3, 1, 2]}), ("Conv", ["w2x3x3x1"], {"kernel_shape": [3, 1]})]
    assert read_onnx(written(tmp_path / "odd.onnx", nodes, (1, 5, 7, 3))).graph.input_shape == (5, 7, 3)


@pytest.mark.parametrize("operator", ["Flatten", "Transpose", "MaxPool"])
def test_a_network_that_only_moves_numbers_is_refused_at_every_level(tmp_path: Path, operator: str) -> None:
    attributes = {"MaxPool": {"kernel_shape": [1, 1]}, "Transpose": {"perm": [0, 2, 3, 1]}}.get(operator, {})
    model = imported(written(tmp_path / "odd.onnx", [(operator, [], attributes)], (1, 4, 6, 6)))
    machines = ["spatial-16x16", "winograd-16x16"]
    line = r"odd: its 1 layers only move numbers, expected one at least that computes"
    for level in LEVELS:
        for engine in ("fast", "event"):
            with pytest.raises(InputError, match=line):
                accelsim.simulate(model, machines[0], level=level, engine=engine)
    with pytest.raises(InputError, match=line):
        accelsim.band(model, machines)


@pytest.mark.parametrize("level", LEVELS)
def test_a_network_takes_the_same_cycles_and_bytes_as_a_table(tmp_path: Path, level: str) -> None:
    """Of a residual network: a table without its branches could keep no map on chip."""
    accelsim.export(write_small(tmp_path / "small.dual"), tmp_path / "small.onnx")
    import_file(tmp_path / "small.onnx", tmp_path / "table.csv")
    models = [imported(tmp_path / "small.onnx"), tmp_path / "table.csv"]
    totals = [accelsim.simulate(model, "spatial-dense-16x16", engine="fast", level=level).total for model in models]
    for column in ("cycles", "dense_macs", "dram_read_bytes", "dram_write_bytes", "sram_read_bytes"):
        assert totals[0][column] == totals[1][column]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_of_a_network_says_what_each_layer_reads_and_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    graph = NETWORKS[name]()
    arrays = {key: np.broadcast_to(np.float32(1), shape) for key, shape in graph.parameters.items()}
    layers = tabulate(Network(graph, arrays), {})
    (tmp_path / "table.csv").write_text(table_text(layers))
    assert read_table(tmp_path / "table.csv") == tuple(layers)
    earlier = [INPUT]
    for layer in layers:
        assert layer.inputs is not None
        assert set(layer.inputs) <= set(earlier)
        earlier.append(layer.name)


def test_halves_of_a_map_that_are_joined_again_are_of_one_row(tmp_path: Path) -> None:
    """As in channel shuffles: a row that named the map twice would read twice its channels."""
    conv = onnx.helper.make_node("Conv", ["x", "w"], ["a"], "a")
    split = onnx.helper.make_node("Split", ["a"], ["b", "c"], "split", axis=1)
    join = onnx.helper.make_node("Concat", ["c", "b"], ["d"], "join", axis=1)
    last = onnx.helper.make_node("Conv", ["d", "w"], ["y"], "last")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [conv, split, join, last],
        "shuffle",
        [value("x", onnx.TensorProto.FLOAT, (1, 4, 5, 5))],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(RNG.standard_normal((4, 4, 1, 1)).astype(np.float32), "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "shuffle.onnx").write_bytes(model.SerializeToString())
    import_file(tmp_path / "shuffle.onnx", tmp_path / "shuffle.csv")
    assert [layer.inputs for layer in read_table(tmp_path / "shuffle.csv")] == [(INPUT,), ("a",)]
