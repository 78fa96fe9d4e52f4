"""A network of one's own and some pictures become a small file, sparse in both domains, that knows what it knew."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import accelsim
from accelsim.cli import main
from accelsim.compression.moved_statistics import moved_statistics
from accelsim.compression.sparsified import Asked, read_pictures
from accelsim.compression.sparsify import smooth_noise
from accelsim.dual.deploy import spatial_densities, winograd_densities
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.network import INPUT, Graph, Network, Node, forward
from accelsim.network.images import LabelledImages, write_images
from accelsim.network.layers import BatchNorm, Conv, Flatten, GlobalAveragePool, Linear, Relu
from accelsim.training import prices
from tests.explore.small import write_small

onnx = pytest.importorskip("onnx")


def network():
    """12 x 12 pictures, 6 classes: a strided, a depthwise and a 3 x 3 convolution, with batch-norm between them."""
    rng = np.random.default_rng(3)

    def conv(inputs, outputs, **settings):
        return Conv(in_channels=inputs, out_channels=outputs, kernel=(3, 3), padding=(1, 1), **settings)

    layers = {
        "first": conv(3, 12),
        "norm": BatchNorm(channels=12),
        "relu": Relu(),
        "depth": conv(12, 12, groups=12, stride=(2, 2)),
        "second": conv(12, 16, bias=True),
        "relu2": Relu(),
        "mean": GlobalAveragePool(),
        "flat": Flatten(),
        "classes": Linear(in_features=16, out_features=6),
    }
    nodes = []
    for name, layer in layers.items():
        nodes.append(Node(name=name, layer=layer, inputs=(nodes[-1].name if nodes else INPUT,)))
    graph = Graph(name="mine", input_shape=(12, 12, 3), nodes=tuple(nodes))
    arrays = {
        name: rng.normal(0, 0.3, shape).astype(np.float32)
        if len(shape) > 1
        else rng.uniform(0.5, 1, shape).astype(np.float32)
        for name, shape in graph.parameters.items()
    }
    return Network(graph, arrays)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The network as an ONNX file, and pictures of another size in folders."""
    from accelsim.network.onnx import write_onnx

    path = tmp_path_factory.mktemp("own")
    write_onnx(network(), path / "mine.onnx")
    pictures = smooth_noise((16, 14, 3))
    for i, pixels in enumerate(pictures[:40]):
        file = path / "pictures" / f"class{i % 2}" / f"{i:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return path


def test_from_onnx_and_pictures_to_a_sparse_file(folder, capsys):
    out = folder / "mine.dual"
    arguments = ["sparsify", str(folder / "mine.onnx"), "--images", str(folder / "pictures"), "-o", str(out)]
    assert main([*arguments, "--cost-reduction", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model = read_dual(out)
    densities = spatial_densities(model)
    assert densities["depth"] > 0.9  # layers with groups stay
    priced = {row["name"]: row for row in told["layers"]}
    assert set(priced) == {"first", "second", "classes"}
    for name, row in priced.items():
        assert densities[name] <= 1 - row["zeros_sd"] + 1e-3
    in_winograd = winograd_densities(model)
    assert in_winograd["second"] <= 1 - priced["second"]["zeros_wd"] + 1e-3
    assert told["agreement_spatial"] == model.accuracy["agreement_spatial"] >= 50
    rows = list(csv.DictReader((folder / "mine.layers.csv").open()))
    assert [row["name"] for row in rows] == list(priced)
    assert not (folder / "mine.dual.work").exists()
    before = out.read_bytes()
    assert main([*arguments, "--cost-reduction", "2", "--json"]) == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("machine", "flag", "column", "unit", "shares"),
    [
        ("winograd-16x16", "--latency", "latency_ms", ("us", 1e3), (0.9, 0.8)),
        ("spatial-16x16", "--latency", "latency_ms", ("us", 1e3), (0.8,)),
        ("winograd-16x16", "--energy", "energy_pj", ("nJ", 1e-3), (0.9,)),
        ("spatial-16x16", "--energy", "energy_pj", ("uJ", 1e-6), (0.9,)),
    ],
)
def test_as_sparse_as_a_machine_asks_for(folder, tmp_path, capsys, machine, flag, column, unit, shares):
    """The file keeps to the time or the energy by ``simulate``; less of it asks for fewer multiplies."""
    slow = accelsim.load_hardware(machine, ["pe_array.rows=1", "pe_array.cols=1"])
    path = tmp_path / "slow.yaml"
    path.write_text(slow.model_dump_json(exclude_unset=True))
    accelsim.import_file(folder / "mine.onnx", tmp_path / "dense.dual", images=folder / "pictures")
    dense = accelsim.simulate(tmp_path / "dense.dual", path, engine="fast").total[column]
    capsys.readouterr()
    reductions = [1.0]
    for share in shares:
        out = tmp_path / f"{share}.dual"
        arguments = ["sparsify", str(folder / "mine.onnx"), "--images", str(folder / "pictures"), "-o", str(out)]
        most = f"{unit[1] * share * dense}{unit[0]}"
        assert main([*arguments, "--machine", str(path), flag, most, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        found = accelsim.simulate(out, path, engine="fast").total[column]
        assert found == told[column] <= share * dense * (1 + 1e-12)
        what, of = column.rsplit("_", 1)
        assert told[f"{what}_dense_{of}"] == dense
        assert out.with_suffix(".layers.csv").is_file()
        reductions.append(told["cost_reduction"])
    assert reductions == sorted(reductions)
    assert reductions[1] > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio", "1"], "--ratio 1: expected a number above 1"),
        (["--ratio", "5000"], "cannot be kept"),
        (["--images", "none"], "none"),
        (["--labels", "x.csv"], "expected --images"),
        (["--mean", "1,2"], "--mean 1,2: expected 1 or 3 numbers"),
        (["--range", "0:2"], "--range 0:2: expected one of"),
        (["--input-shape", "3,-1,4"], "expected whole numbers"),
        (["--name", "a b"], "--name 'a b'"),
        (["--tile", "9"], "--tile 9: expected 1 to 6"),
        (["--latency", "5ms"], "--machine, --latency and --energy: expected a machine and one"),
        (["--machine", "winograd-16x16"], "--machine, --latency and --energy: expected a machine and one"),
        (
            ["--machine", "winograd-16x16", "--latency", "5 min"],
            "--latency 5 min: expected a time above 0 in us, ms or s",
        ),
        (["--machine", "winograd-16x16", "--latency", "5ms", "--curve"], "nor --curve"),
        (["--machine", "winograd-16x16", "--latency", "0.2us", "--images", "P"], "--latency 0.2us cannot be kept"),
        (
            ["--machine", "winograd-16x16", "--energy", "5ms"],
            "--energy 5ms: expected an energy above 0 in nJ, uJ or mJ",
        ),
        (["--machine", "winograd-16x16", "--energy", "5uJ", "--latency", "5ms"], "expected a machine and one"),
        (["--machine", "winograd-16x16", "--energy", "1nJ", "--images", "P"], "--energy 1nJ cannot be kept"),
    ],
)
def test_what_cannot_be_is_one_line(folder, tmp_path, capsys, arguments, message):
    arguments = [str(folder / "pictures") if word == "P" else word for word in arguments]
    if "--labels" not in arguments and "--images" not in arguments and "5000" in arguments:
        arguments = [*arguments, "--images", str(folder / "pictures")]
    assert main(["sparsify", str(folder / "mine.onnx"), "-o", str(tmp_path / "x.dual"), *arguments]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert not (tmp_path / "x.dual").exists()


def test_statistics_of_the_dense_network_itself_do_not_move():
    """Nothing was changed, so every running mean and variance stays, however odd the pictures."""
    dense = network()
    x = np.random.default_rng(0).random((10, 12, 12, 3)).astype(np.float32)
    moved = moved_statistics(dense, dense, x)
    assert set(moved) == {"norm.running_mean", "norm.running_var"}
    for name, array in moved.items():
        np.testing.assert_allclose(array, dense.arrays[name], rtol=1e-6)


def test_statistics_make_up_for_a_scale():
    """Half the weights give half the mean and a quarter of the variance; with those the output stays."""
    dense = network()
    x = np.random.default_rng(0).random((10, 12, 12, 3)).astype(np.float32)
    arrays = {**dense.arrays, "first.weight": dense.arrays["first.weight"] / 2}
    statistics = {}
    forward(dense, x, observe=lambda node, inputs, y: statistics.update({node.name: inputs[0]}))
    seen = statistics["norm"].reshape(-1, 12).astype(np.float64)
    own = {"norm.running_mean": seen.mean(axis=0), "norm.running_var": seen.var(axis=0)}
    dense = Network(dense.graph, {**dense.arrays, **{name: a.astype(np.float32) for name, a in own.items()}})
    sparse = Network(dense.graph, {**arrays, **{name: dense.arrays[name] for name in own}})
    fixed = Network(dense.graph, {**sparse.arrays, **moved_statistics(dense, sparse, x)})
    np.testing.assert_allclose(forward(fixed, x), forward(dense, x), rtol=2e-3, atol=2e-3)


def refused(tmp_path, capsys, pixels, ratio):
    """The line that a small network and such pictures are refused with."""
    write_images(tmp_path / "pictures.npz", LabelledImages(pixels, np.zeros(len(pixels), np.int64)))
    line = ["sparsify", str(write_small(tmp_path)), "--images", str(tmp_path / "pictures.npz"), "--ratio", str(ratio)]
    assert main([*line, "-o", str(tmp_path / "out.dual")]) == 2
    assert not (tmp_path / "out.dual").exists()
    return capsys.readouterr().err.splitlines()[-1]


def test_pictures_that_say_nothing_are_refused_in_one_line(tmp_path, capsys):
    """All alike, or all but one: they are counted as the two that they are."""
    pixels = np.zeros((40, 8, 8, 3), np.uint8)
    assert "40 pictures of which 1 differ, expected at least" in refused(tmp_path, capsys, pixels, 3)
    pixels[3, 2, 2, 0] = 255
    assert "40 pictures of which 2 differ, expected at least" in refused(tmp_path, capsys, pixels, 3)


def test_labels_that_lie_among_the_pictures_are_used_for_top1(tmp_path):
    """As ``validate`` does with the same folder: the file's own labels, of the pictures that are kept apart."""
    pictures = smooth_noise((12, 12, 3))[:40]
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{i:03}.png")
    told = []
    without = read_pictures(network(), Asked(images=tmp_path), told.append)
    assert (without.labels, told) == (None, [])
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(f"{i:03}.png,{i % 6}\n" for i in range(40)))
    found = read_pictures(network(), Asked(images=tmp_path), told.append)
    assert told == [f"{table}: labels of 40 pictures, used for top-1 alone"]
    np.testing.assert_array_equal(found.fit, without.fit)
    for x, label in zip(found.apart, found.labels, strict=True):
        (i,) = np.flatnonzero((network().graph.preprocessing.apply(pictures) == x).all(axis=(1, 2, 3)))
        assert label == i % 6
    table.write_text("file,label\n000.png,6\n" + "".join(f"{i:03}.png,0\n" for i in range(1, 40)))
    with pytest.raises(InputError, match="label 6, mine has the classes 0 to 5"):
        read_pictures(network(), Asked(images=tmp_path), told.append)


def test_pictures_of_one_colour_each_are_enough(tmp_path, capsys):
    """A layer's equations have many solutions there, of which the one nearest to the dense weights is taken."""
    pixels = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3)), 8, axis=1).repeat(8, axis=2)
    write_images(tmp_path / "pictures.npz", LabelledImages(pixels.astype(np.uint8), np.zeros(40, np.int64)))
    line = ["sparsify", str(write_small(tmp_path)), "--images", str(tmp_path / "pictures.npz")]
    assert main([*line, "--cost-reduction", "1.5", "-o", str(tmp_path / "out.dual")]) == 0
    assert (tmp_path / "out.dual").exists()


def test_a_budget_that_leaves_no_bits_says_so_and_names_what_was_asked(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    said = refused(tmp_path, capsys, pixels, 20)
    assert "--ratio 20 cannot be kept: no choice has at most 0 bits of weights" in said
    assert "--cost-reduction" not in said


def test_a_file_that_misses_a_budget_is_made_again_sparser(folder, tmp_path, capsys, monkeypatch):
    """Prices that promise too much: a file of fewer multiplies is asked for, and what is told is the file's own."""
    monkeypatch.setattr(prices, "RESERVE", -0.3)
    out = tmp_path / "mine.dual"
    arguments = ["sparsify", str(folder / "mine.onnx"), "--images", str(folder / "pictures"), "-o", str(out)]
    assert main([*arguments, "--cost-reduction", "4", "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert "again with less" in said.err
    assert told["cost_reduction"] >= 4
    # By hand: 3 x 3 layers at 12 x 12 and 6 x 6 pixels in tiles of 2 x 2, the others by their weights.
    model = read_dual(out)
    w = {name: model.network.arrays[f"{name}.weight"] for name in ("first", "depth", "second", "classes")}
    G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    used = 36 * np.count_nonzero(w["depth"]) + np.count_nonzero(w["classes"])
    for name, tiles in (("first", 36), ("second", 9)):
        W = np.einsum("ai,kcij,bj->kcab", G, w[name].astype(float), G)
        used += tiles * np.count_nonzero(np.abs(W) > model.winograd_threshold)
    macs = 144 * 12 * 3 * 9 + 36 * 12 * 9 + 36 * 16 * 12 * 9 + 16 * 6
    assert told["cost_reduction"] == pytest.approx(macs / used, abs=1e-3)
    assert told["ratio"] == pytest.approx(4 * model.parameters / out.stat().st_size, abs=1e-3)
