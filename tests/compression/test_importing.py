"""Files of other tools become ours: the same network to 8 bits, the same layers; what does not fit gets one line."""

import json

import numpy as np
import pytest

from accelsim.cli import main
from accelsim.compression.fold import fold_batch_norm
from accelsim.compression.importing import Wishes, import_file, zoo_network
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.network import Network, forward
from accelsim.network.tables import read_table
from accelsim.network.weights import save_network
from accelsim.network.zoo import named_graph
from tests.dual.small import small_images, small_network

CSV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


def random_network(name, seed=0):
    graph, rng = named_graph(name), np.random.default_rng(seed)
    arrays = {
        key: rng.normal(1 if key.endswith("var") else 0, 0.1, shape).astype(np.float32)
        for key, shape in graph.parameters.items()
    }
    return Network(graph, arrays)


@pytest.fixture(scope="module")
def resnet20(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet20.safetensors"
    save_network(random_network("resnet20-cifar10"), path)
    return path


def test_a_weight_file_becomes_a_dual_file_of_its_network(resnet20, tmp_path):
    """8 bits: each weight is off by at most half a cell of its filter's largest / 127; nothing is pruned in WD."""
    import_file(resnet20, tmp_path / "out.dual")
    model, source = read_dual(tmp_path / "out.dual"), random_network("resnet20-cifar10")
    assert model.network.graph.name == "resnet20-cifar10"
    assert model.parameters == 269_722  # weights and biases of the published network, without running statistics
    assert model.winograd_threshold == 0
    folded = fold_batch_norm(source)
    scales = [node for node in model.network.graph.nodes if node.layer.op == "affine"]
    assert len(scales) == 20  # behind 19 convolutions and the classifier
    for node in scales:
        name = f"{node.inputs[0]}.weight"
        before = folded.arrays.get(f"{node.name}.weight", np.ones(1, np.float32))
        factor = model.network.arrays[f"{node.name}.weight"] / before
        ours = model.network.arrays[name].reshape(len(factor), -1) * factor[:, None]
        theirs = source.arrays[name].reshape(len(factor), -1)
        half_a_cell = np.abs(theirs).max(axis=1, keepdims=True) / 254
        assert (np.abs(ours - theirs) <= 1.5 * half_a_cell).all()  # scales have 20 bits of their largest


def test_an_onnx_network_computes_the_same_after_import(tmp_path):
    pytest.importorskip("onnx")
    from accelsim.network.onnx import write_onnx

    network = fold_batch_norm(small_network())
    write_onnx(network, tmp_path / "small.onnx")
    import_file(tmp_path / "small.onnx", tmp_path / "small.dual")
    x = small_images()
    expected = forward(network, x)
    imported = forward(read_dual(tmp_path / "small.dual").network, x)
    np.testing.assert_allclose(imported, expected, atol=0.05 * np.abs(expected).max())


def test_real_zeros_stay_zeros(tmp_path):
    """The mask of a network pruned elsewhere is what the machines get."""
    network, rng = random_network("resnet20-cifar10"), np.random.default_rng(1)
    masks = {name: rng.random(array.shape) < 0.3 for name, array in network.arrays.items() if array.ndim > 1}
    arrays = {**network.arrays, **{name: np.where(m, 1.0, 0).astype(np.float32) for name, m in masks.items()}}
    save_network(Network(network.graph, arrays), tmp_path / "pruned.safetensors")
    import_file(tmp_path / "pruned.safetensors", tmp_path / "pruned.dual")
    for name, mask in masks.items():
        np.testing.assert_array_equal(read_dual(tmp_path / "pruned.dual").network.arrays[name] != 0, mask)


def test_names_of_a_parallel_run_and_of_npz_are_taken(resnet20, tmp_path):
    network = zoo_network(resnet20)
    np.savez(tmp_path / "wrapped.npz", **{f"module.{name}": array for name, array in network.arrays.items()})
    import_file(tmp_path / "wrapped.npz", tmp_path / "plain.safetensors")
    again = zoo_network(tmp_path / "plain.safetensors")
    assert all(np.array_equal(again.arrays[name], array) for name, array in network.arrays.items())


def test_torchvision_has_other_names_for_the_same_squeezenet():
    ours, theirs = named_graph("squeezenet11"), named_graph("squeezenet11-torchvision")
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    known = {"features.0.weight", "features.3.squeeze.weight", "features.12.expand3x3.bias", "classifier.1.bias"}
    assert known < theirs.parameters.keys()


def test_a_topology_becomes_a_table(tmp_path):
    (tmp_path / "topology.csv").write_text(CSV + "one, 9, 9, 3, 3, 16, 32, 1,\ntwo, 7, 7, 7, 7, 32, 10, 1,\n")
    import_file(tmp_path / "topology.csv", tmp_path / "network.csv")
    assert read_table(tmp_path / "network.csv") == read_table(tmp_path / "topology.csv")
    assert (tmp_path / "network.csv").read_text().startswith("name,kind,in_channels,")


def test_an_imported_network_runs(resnet20, tmp_path, capsys):
    assert main(["import", str(resnet20), "-o", str(tmp_path / "a.dual")]) == 0
    assert "269,722 parameters" in capsys.readouterr().err
    assert main(["simulate", str(tmp_path / "a.dual"), "spatial-16x16", "--engine", "fast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["dense_macs"] == 40_551_040  # of the published network


def test_compress_takes_onnx(tmp_path):
    pytest.importorskip("onnx")
    from accelsim.compression.pipeline import compress_checkpoint
    from accelsim.compression.recipe import CompressionRecipe
    from accelsim.network.onnx import write_onnx

    write_onnx(small_network(), tmp_path / "small.onnx")
    model = compress_checkpoint(
        tmp_path / "small.onnx", tmp_path / "small.dual", CompressionRecipe(spatial=0.5, winograd=0.0)
    )
    weights = np.concatenate([a.ravel() for n, a in model.network.arrays.items() if a.ndim > 1])
    assert np.mean(weights == 0) >= 0.5


@pytest.mark.parametrize(
    ("source", "out", "network", "message"),
    [
        ("a.pth", "a.dual", None, r"a\.pth: ending '\.pth', expected one of \.csv, \.onnx"),
        ("resnet20", "a.onnx", None, r"a\.onnx: ending '\.onnx', expected \.dual or \.csv or \.safetensors"),
        ("net.csv", "a.dual", None, r"a\.dual: ending '\.dual', expected \.csv from"),
        ("nowhere.onnx", "a.dual", None, r"nowhere\.onnx: .*expected|accelsim\[onnx\]"),
        ("nowhere.npz", "a.dual", None, r"nowhere\.npz: No such file"),
        ("nowhere.csv", "a.csv", None, r"nowhere\.csv: No such file"),
        ("net.csv", "a.csv", "resnet18", "expected a .safetensors or .npz file"),
        ("resnet20", "a.dual", "resnet21", "--network: .*'resnet21' is not known, did you mean"),
        ("resnet20", "a.dual", "resnet56-cifar10", r"resnet20\.safetensors: .*'layer1\.3.* is missing"),
        ("few.npz", "a.dual", None, "1 arrays are those of no known network; 1 of them are named as in"),
        ("foreign.npz", "a.dual", None, "no known network; expected --network"),
        ("nan.npz", "a.dual", None, "holds NaN"),
    ],
)
def test_what_does_not_fit_gets_one_line(resnet20, tmp_path, source, out, network, message):
    (tmp_path / "net.csv").write_text(CSV + "one, 9, 9, 3, 3, 16, 32, 1,\n")
    np.savez(tmp_path / "few.npz", **{"fc.bias": np.zeros(10, np.float32)})
    np.savez(tmp_path / "foreign.npz", **{"nothing.known": np.zeros(10, np.float32)})
    np.savez(tmp_path / "nan.npz", **{"fc.bias": np.full(10, np.nan, np.float32)})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message) as caught:
        import_file(resnet20 if source == "resnet20" else tmp_path / source, tmp_path / out, Wishes(network=network))
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_weights_of_several_networks_need_a_name(tmp_path, monkeypatch):
    from accelsim.network import zoo

    monkeypatch.setitem(zoo.NETWORKS, "twin", zoo.NETWORKS["vdsr"])
    save_network(random_network("vdsr"), tmp_path / "vdsr.safetensors")
    with pytest.raises(InputError, match="those of vdsr, twin, expected --network"):
        zoo_network(tmp_path / "vdsr.safetensors")
    assert zoo_network(tmp_path / "vdsr.safetensors", "vdsr").graph.name == "vdsr"
