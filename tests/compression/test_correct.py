"""Corrected biases: every channel's mean output is the trained network's again."""

from dataclasses import replace

import numpy as np

from accelsim.compression.correct import corrected_biases
from accelsim.compression.quantize import quantize
from accelsim.network import Network, forward
from tests.dual.small import small_images, small_network


def means(network, x):
    """Mean output of each channel of each node."""
    found = {}
    forward(network, x, observe=lambda node, _, y: found.update({node.name: y.mean(axis=tuple(range(y.ndim - 1)))}))
    return found


def test_the_mean_output_of_each_channel_is_that_of_the_trained_network():
    network, x = small_network(), small_images(count=9)
    quantized = quantize(network, 0.3, 0.2).network
    biases = corrected_biases(network, quantized, x)
    assert set(biases) == {"b.bias", "c.bias"}
    corrected = Network(network.graph, {**quantized.arrays, **biases})
    wanted, before, after = means(network, x), means(quantized, x), means(corrected, x)
    for name in ("b", "c"):
        assert np.abs(before[name] - wanted[name]).max() > 0.01
        np.testing.assert_allclose(after[name], wanted[name], atol=1e-5)


def test_a_network_that_was_not_changed_keeps_its_biases():
    network, x = small_network(), small_images()
    for name, bias in corrected_biases(network, replace(network), x).items():
        np.testing.assert_allclose(bias, network.arrays[name], atol=1e-6)
