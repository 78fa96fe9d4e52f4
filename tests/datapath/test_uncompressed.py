"""``validate --reference``: losses are counted from the uncompressed network's own answers."""

import json

import numpy as np
import pytest

import accelsim
from accelsim.cli import main
from accelsim.network import Network, forward
from accelsim.network.graph import Preprocessing
from accelsim.network.zoo import named_graph
from accelsim.training.first_weights import initial_arrays
from tests.small_dual import write_images, write_small


def test_the_uncompressed_network_is_asked_itself(tmp_path, monkeypatch, capsys):
    """Labels are the network's own answers: it is right on all of them, and so is a file of the same weights.

    Pixels go into a file that does not say how as they go into the model.
    """
    pytest.importorskip("onnx")
    from accelsim.network.onnx import write_onnx

    monkeypatch.chdir(tmp_path)
    network = accelsim.load_model(write_small(tmp_path / "small.dual")).network
    with np.load(write_images(tmp_path / "random.npz")) as archive:
        answers = forward(network, network.graph.preprocessing.apply(archive["images"])).argmax(axis=1)
    write_images(tmp_path / "alone.npz", answers)
    silent = network.graph.model_copy(update={"preprocessing": Preprocessing()})
    write_onnx(Network(silent, network.arrays), tmp_path / "net.onnx")
    asked = ["validate", "small.dual", "spatial-16x16", "winograd-16x16", "--images", "alone.npz", "--reference"]
    for reference in ("small.dual", "net.onnx"):
        assert main([*asked, reference, "--float", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["reference_top1"], found["served_by_both"]) == (100.0, True)
        assert (found["machines"][0]["agreement"], found["machines"][0]["loss_points"]) == (100.0, 0.0)
    pictures = named_graph("ct-srcnn9")
    write_onnx(Network(pictures, initial_arrays(pictures, 0)), tmp_path / "other.onnx")
    for flags, message in ((["other.onnx"], "other.onnx: a network of"), (["net.onnx", "--search-widths"], "labels")):
        assert main([*asked, *flags]) == 2
        assert message in capsys.readouterr().err
