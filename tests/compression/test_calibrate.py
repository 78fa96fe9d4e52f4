"""Calibration and export: counted by hand, and read back by other libraries."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from accelsim.compression.calibrate import input_density
from accelsim.dual.export import export_model
from accelsim.dual.file import decode_dual, encode_dual
from accelsim.errors import InputError
from accelsim.network import forward
from accelsim.network.onnx import read_onnx
from tests.dual.small import small_compressed, small_images, small_network


def test_densities_are_the_shares_of_non_zero_inputs():
    network, x = small_network(), small_images()
    x[..., 1] = 0
    x[:2, :, :, 2] = 0
    densities = input_density(network, x, batch=4)
    np.testing.assert_allclose(densities["a"], [1, 0, 4 / 6], rtol=1e-6)
    seen = {}
    forward(network, x, observe=lambda node, inputs, _: seen.update({node.name: inputs[0]}))
    np.testing.assert_allclose(densities["b"], (seen["b"] > 0).mean(axis=(0, 1, 2)), rtol=1e-6)  # after a ReLU
    assert set(densities) == {"a", "b", "c", "d"}


def test_exported_weights_are_the_decoded_ones(tmp_path):
    model = decode_dual(encode_dual(small_compressed()), "x")
    export_model(model, tmp_path / "x.safetensors")
    exported = load_file(tmp_path / "x.safetensors")
    assert exported.keys() == model.network.arrays.keys()
    for name, array in exported.items():
        np.testing.assert_array_equal(array, model.network.arrays[name])


def test_exported_onnx_computes_the_same(tmp_path):
    pytest.importorskip("onnx")
    model = decode_dual(encode_dual(small_compressed()), "x")
    export_model(model, tmp_path / "x.onnx")
    x = small_images()
    expected = forward(model.network, x)
    np.testing.assert_allclose(forward(read_onnx(tmp_path / "x.onnx"), x), expected, atol=1e-5)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"))
    (y,) = session.run(None, {session.get_inputs()[0].name: x.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_another_ending_is_refused(tmp_path):
    model = decode_dual(encode_dual(small_compressed()), "x")
    with pytest.raises(InputError, match=r"'\.pt', expected one of \.safetensors, \.onnx"):
        export_model(model, tmp_path / "x.pt")
