"""Networks at the edge: so small that a file's description is most of it, and of values beyond float32's squares."""

from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.errors import NumericalError
from accelsim.network import Graph, Network, Node
from accelsim.network.layers import Conv, Flatten, GlobalAveragePool, Linear, Relu
from accelsim.network.onnx import write_onnx

pytest.importorskip("onnx")


def small_network(folder: Path, scale: float) -> tuple[Path, Path]:
    """An ONNX file of a convolution and a classifier, 344 parameters, and pictures for it."""
    rng = np.random.default_rng(0)
    nodes = (
        Node(name="c", layer=Conv(in_channels=3, out_channels=8, kernel=(3, 3), padding=(1, 1)), inputs=("input",)),
        Node(name="r", layer=Relu(), inputs=("c",)),
        Node(name="p", layer=GlobalAveragePool(), inputs=("r",)),
        Node(name="l", layer=Flatten(), inputs=("p",)),
        Node(name="f", layer=Linear(in_features=8, out_features=16), inputs=("l",)),
    )
    graph = Graph(name="small", input_shape=(8, 8, 3), nodes=nodes)
    arrays = {name: (scale * rng.standard_normal(shape)).astype(np.float32) for name, shape in graph.parameters.items()}
    write_onnx(Network(graph, arrays), folder / "n.onnx")
    np.savez(folder / "images.npz", images=rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8))
    return folder / "n.onnx", folder / "images.npz"


def test_a_budget_that_nobody_asked_for_limits_nothing(tmp_path):
    """The description takes most of so small a file: with a ratio of 1 asked for there would be no bit for weights."""
    network, images = small_network(tmp_path, 0.3)
    found = accelsim.sparsify(network, tmp_path / "x.dual", images=images, cost_reduction=2)
    assert found["cost_reduction"] >= 2
    with pytest.raises(accelsim.InputError, match=r"--ratio 15 cannot be kept: .*is kept in .*y.dual.work, for a run"):
        accelsim.sparsify(network, tmp_path / "y.dual", images=images, ratio=15)
    assert (tmp_path / "y.dual.work").is_dir()
    with pytest.raises(accelsim.InputError, match="a folder"):
        accelsim.sparsify(network, tmp_path.rename(tmp_path.with_suffix(".dual")), images=images)


def test_values_beyond_float32_are_said(tmp_path):
    network, images = small_network(tmp_path, 1e10)
    with pytest.raises(NumericalError, match=r"layer c: values of over 1e\+09"):
        accelsim.sparsify(network, tmp_path / "x.dual", images=images, cost_reduction=2)


def test_activations_beyond_float32_have_neither_density_nor_scale(tmp_path, recwarn):
    """What is infinite is never 0, and has no largest: both were taken for numbers, or ended in a traceback."""
    network, images = small_network(tmp_path, 5e37)
    with pytest.raises(NumericalError, match="layer f: inputs on the images are no finite numbers"):
        accelsim.import_file(network, tmp_path / "x.dual", images=images)
    with pytest.raises(NumericalError, match="layer f: inputs on the images are no finite numbers"):
        accelsim.explore_network(network, tmp_path / "out", images=images)
    model = accelsim.import_file(network, tmp_path / "x.dual")
    labelled = tmp_path / "labelled.npz"
    np.savez(labelled, images=np.load(images)["images"], labels=np.zeros(16, int))
    for machine in ("spatial-16x16", "winograd-16x16"):
        with pytest.raises(NumericalError, match=r"map . on the images is no finite numbers"):
            accelsim.calibrate(model, machine, labelled, tmp_path / "y.dual")
    with pytest.raises(NumericalError, match=r"map . on the images is no finite numbers"):
        accelsim.export_int8(model, "spatial-16x16", labelled, tmp_path / "y.onnx")
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


@pytest.mark.parametrize("said", [{"mean": (1e38,)}, {"std": (1e-30,)}, {"std": (1e-300,)}, {"mean": (-1e300,)}])
def test_pixels_stay_within_float32(tmp_path, said):
    network, _ = small_network(tmp_path, 0.3)
    with pytest.raises(accelsim.InputError, match=r"--mean, --std: pixels become numbers beyond 1e\+09"):
        accelsim.import_file(network, tmp_path / "x.dual", **said)


def test_labels_are_those_that_the_network_can_give(tmp_path):
    """16 classes; an accuracy of 0 % would be stated for both networks otherwise."""
    network, images = small_network(tmp_path, 0.3)
    pixels = np.load(images)["images"]
    for make in (accelsim.sparsify, accelsim.explore_network):
        np.savez(tmp_path / "labelled.npz", images=pixels, labels=np.full(16, 16))
        with pytest.raises(accelsim.InputError, match="label 16, small has the classes 0 to 15"):
            make(network, tmp_path / "x.dual", images=tmp_path / "labelled.npz")
        with pytest.raises(accelsim.InputError, match=r"labels.csv: expected --images with the pictures"):
            make(network, tmp_path / "x.dual", labels=tmp_path / "labels.csv")
