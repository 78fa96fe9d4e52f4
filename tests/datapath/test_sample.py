"""The images that ship with the models: what the README of models/ promises of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from accelsim.datapath.validate import answers
from accelsim.network.images import read_images
from accelsim.network.weights import load_network
from accelsim.network.zoo import resnet20

SAMPLE = Path(__file__).parents[2] / "models" / "cifar10-sample.npz"


def test_the_sample_is_balanced_and_its_reference_is_as_good_as_published():
    """600 real images, classes in turn; ResNet-20 has 91.73 % on all 10,000, two standard errors are 2.3 points."""
    images = read_images(SAMPLE)
    assert images.pixels.shape == (600, 32, 32, 3)
    assert (images.labels == np.arange(600) % 10).all()
    assert 100 * np.mean(images.reference == images.labels) == pytest.approx(91.73, abs=2.3)
    # Photographs: the mean colour of CIFAR-10 is (.491, .482, .447)
    np.testing.assert_allclose(images.pixels.mean((0, 1, 2)) / 255, [0.491, 0.482, 0.447], atol=0.02)


@pytest.mark.big_data
def test_the_stored_answers_are_those_of_the_published_weights():
    folder = Path(os.environ.get("ACCELSIM_DATA") or pytest.skip("ACCELSIM_DATA names no data folder"))
    images = read_images(SAMPLE)
    network = load_network(resnet20(), folder / "weights" / "resnet20_cifar10.safetensors")
    assert (answers(network, images.pixels) == images.reference).all()
