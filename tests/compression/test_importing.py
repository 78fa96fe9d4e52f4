"""Files of other tools become ours: the same network to 8 bits, the same layers; what does not fit gets one line."""

import json

import numpy as np
import pytest

import accelsim
from accelsim.cli import main
from accelsim.compression.fold import fold_batch_norm
from accelsim.compression.importing import Wishes, import_file, preprocessing, sizes, zoo_network
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.network import Network, forward
from accelsim.network.tables import read_table
from accelsim.network.weights import save_network
from accelsim.network.zoo import named_graph
from tests.dual.small import small_images, small_network
from tests.explore.small import write_small

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
        ("a.bin", "a.dual", None, r"a\.bin: ending '\.bin', expected one of \.csv, \.onnx"),
        ("resnet20", "a.onnx", None, r"a\.onnx: ending '\.onnx', expected \.dual or \.csv or \.safetensors"),
        ("net.csv", "a.dual", None, r"a\.dual: ending '\.dual', expected \.csv from"),
        ("nowhere.onnx", "a.dual", None, r"nowhere\.onnx: .*(expected|pip install onnx)"),
        ("nowhere.npz", "a.dual", None, r"nowhere\.npz: No such file"),
        ("nowhere.csv", "a.csv", None, r"nowhere\.csv: No such file"),
        ("net.csv", "a.csv", "resnet18", "--network: does not apply to"),
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


def unknown_in_the_middle(path):
    """A convolution, an operator that we do not know, another convolution; and one whose size nobody can tell."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    rng = np.random.default_rng(0)
    constants = {
        "a.weight": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "b.weight": rng.normal(size=(4, 8, 3, 3)).astype(np.float32),
        "grid": rng.uniform(-1, 1, (1, 6, 5, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a.weight"], ["y"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("GridSample", ["y", "grid"], ["z"], "warp"),
        helper.make_node("Conv", ["z", "b.weight"], ["w"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("NonZero", ["w"], ["found"], "where"),
    ]
    graph = helper.make_graph(
        nodes,
        "warped",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("N", 3, 9, 8))],
        [helper.make_tensor_value_info("found", onnx.TensorProto.INT64, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)]).SerializeToString())


def test_operators_that_are_not_known_are_told_at_once_and_may_be_kept(tmp_path, capsys):
    unknown_in_the_middle(tmp_path / "net.onnx")
    out = tmp_path / "net.dual"
    assert main(["import", str(tmp_path / "net.onnx"), "-o", str(out)]) == 2
    told = capsys.readouterr().err.strip()
    assert "GridSample (node 'warp')" in told or "(GridSample): not known" in told
    assert main(["import", str(tmp_path / "net.onnx"), "-o", str(out), "--keep-unknown"]) == 0
    told = capsys.readouterr().err
    assert "GridSample is costed as traffic, not computed: warp" in told
    assert "NonZero is left out: where" in told
    assert main(["simulate", str(out), "winograd-16x16", "--level", "layers", "--engine", "fast", "--json"]) == 0
    layers = {row["name"]: row for row in json.loads(capsys.readouterr().out)["layers"]}
    assert layers["warp"]["dram_read_bytes"] >= 8 * 9 * 8  # reads what the first convolution gave
    assert layers["b"]["dense_macs"] == 6 * 5 * 4 * 8 * 9
    assert main(["export", str(out), "-o", str(tmp_path / "back.onnx")]) == 2
    assert "what GridSample computes is not known" in capsys.readouterr().err


def test_a_table_of_an_onnx_network_has_its_layers_and_densities(tmp_path, capsys):
    """As many multiplies as the file itself asks for, and activations as dense as pictures made them."""
    pytest.importorskip("onnx")
    from accelsim.network.onnx import write_onnx

    write_onnx(small_network(), tmp_path / "small.onnx")
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    arguments = ["import", str(tmp_path / "small.onnx"), "--images", str(tmp_path / "images.npz")]
    for out in ("small.csv", "small.dual"):
        assert main([*arguments, "-o", str(tmp_path / out), "--name", "mine"]) == 0
        assert main(["simulate", str(tmp_path / out), "spatial-16x16", "--engine", "fast", "--json"]) == 0
    capsys.readouterr()
    table = {layer.name: layer for layer in read_table(tmp_path / "small.csv")}
    model = read_dual(tmp_path / "small.dual")
    assert model.network.graph.name == "mine"
    for name, density in model.input_density.items():
        np.testing.assert_allclose(table[name].activation_density, float(np.mean(density)), atol=1 / 63)
    assert any(layer.activation_density < 0.9 for layer in table.values())


def test_pixels_go_in_as_the_flags_say(tmp_path):
    """Caffe's way: blue first, 0 to 255 less a mean; and -1 to 1."""
    pixels = np.array([[[[10, 20, 30]]]], np.uint8)
    caffe = preprocessing(Wishes(bgr=True, range="0:255", mean=(1.0, 2.0, 3.0)), 3)
    np.testing.assert_allclose(caffe.apply(pixels), [[[[29, 18, 7]]]])
    signed = preprocessing(Wishes(range="-1:1"), 3)
    np.testing.assert_allclose(signed.apply(np.array([[[[0, 255, 51]]]], np.uint8)), [[[[-1, 1, -0.6]]]], atol=1e-6)


def test_a_module_of_pytorch_becomes_a_model(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    import accelsim

    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.SiLU(), torch.nn.Conv2d(8, 4, 1)]
    module = torch.nn.Sequential(*layers)
    model = accelsim.from_torch(module, torch.randn(1, 3, 8, 8), name="mine")
    assert module.training  # as it was
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = module.eval()(torch.tensor(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(forward(model.network, x), theirs, atol=0.02 * np.abs(theirs).max())
    shown = accelsim.simulate(model, "spatial-16x16")._repr_html_()
    assert "mine on spatial-16x16" in shown
    assert "<table" in shown


@pytest.mark.parametrize(
    ("source", "out", "said", "flag"),
    [
        ("net.onnx", "x.dual", {"network": "resnet20-cifar10"}, "--network"),
        ("net.safetensors", "x.dual", {"input_shape": (3, 8, 8)}, "--input-shape"),
        ("net.safetensors", "x.dual", {"network": "resnet20-cifar10", "keep_unknown": True}, "--keep-unknown"),
        ("net.safetensors", "x.safetensors", {"network": "resnet20-cifar10", "mean": (0.5,)}, "--mean"),
        ("net.csv", "x.csv", {"name": "mine"}, "--name"),
    ],
)
def test_what_is_said_beside_a_file_that_has_no_use_for_it_is_refused(source, out, said, flag, tmp_path):
    with pytest.raises(InputError, match=f"{flag}: does not apply to .*{source}"):
        import_file(tmp_path / source, tmp_path / out, Wishes(**said))


def test_a_dual_file_says_all_of_itself(tmp_path, capsys):
    model = write_small(tmp_path)
    for command, out in (("sparsify", "x.dual"), ("explore", "x")):
        line = [command, str(model), "--mean", "0.5", "-o", str(tmp_path / out)]
        assert main(line) == 2
        assert "--mean: does not apply to" in capsys.readouterr().err
        assert not (tmp_path / out).exists()


def test_parts_of_a_module_that_were_frozen_stay_so():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    module.train()
    module[1].eval()
    accelsim.from_torch(module, torch.randn(1, 3, 8, 8), name="mine")
    assert [part.training for part in module] == [True, False, True]
    with pytest.raises(InputError, match=r"expected a torch\.nn\.Module"):
        accelsim.from_torch("resnet", torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize("text", ["", "3,8,8.0", "3,,8", "3,8,1048577", "3,1e1,8", "-3,8,8", "3,8,8,", "٣,8,8"])
def test_an_input_shape_is_whole_numbers(text):
    assert sizes("--input-shape", "3,8x 8") == (3, 8, 8)
    with pytest.raises(InputError, match="expected whole numbers of 1 to 1048576"):
        sizes("--input-shape", text)
