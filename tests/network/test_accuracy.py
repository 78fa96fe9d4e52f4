"""Published networks with their published weights reach their accuracies on real images (needs the data folder).

Expected figures: those measured for these very files and images with PyTorch, in the data folder's README.
"""

import numpy as np
import pytest
from PIL import Image

from accelsim.network import forward
from accelsim.network.weights import load_network
from accelsim.network.zoo import resnet18, resnet_cifar, squeezenet11, vdsr
from tests.network.reference_data import cifar10_test, data_folder, imagenet_test, super_resolution

pytestmark = pytest.mark.big_data


def load(graph, file):
    return load_network(graph, data_folder() / "weights" / file)


def hits(network, images, labels, batch=50):
    """Whether the largest output is the label, for each image."""
    found = []
    for i in range(0, len(images), batch):
        y = forward(network, network.graph.preprocessing.apply(images[i : i + batch]))
        found.append(y.argmax(-1) == labels[i : i + batch])
    return np.concatenate(found)


def test_resnet20_gets_9173_of_10000_test_images():
    right = hits(load(resnet_cifar(20), "resnet20_cifar10.safetensors"), *cifar10_test(10_000))
    assert right.sum() == 9173
    assert right[:2000].sum() == 1807  # 90.35 %


@pytest.mark.slow
def test_resnet56_gets_9339_of_10000_test_images():
    assert hits(load(resnet_cifar(56), "resnet56_cifar10.safetensors"), *cifar10_test(10_000)).sum() == 9339


@pytest.mark.slow
@pytest.mark.parametrize(("archive", "percent"), [("val800.zip", 76.0), ("flickr700.zip", 80.0)])
def test_resnet18_has_its_accuracy_on_all_test_images(archive, percent):
    network = load(resnet18(folded=True), "resnet18_imagenet_fp16.safetensors")
    assert 100 * hits(network, *imagenet_test(archive, 1), batch=10).mean() == percent


@pytest.mark.parametrize(
    ("graph", "file", "archive", "percent"),
    [
        (resnet18(folded=True), "resnet18_imagenet_fp16.safetensors", "val800.zip", 76.0),
        (squeezenet11(), "squeezenet11_imagenet_fp16.safetensors", "val800.zip", 70.7),
        (squeezenet11(), "squeezenet11_imagenet_fp16.safetensors", "flickr700.zip", 47.1),
    ],
)
def test_imagenet_networks_are_within_three_standard_errors_on_a_fifth(graph, file, archive, percent):
    images, labels = imagenet_test(archive, 5)
    p = percent / 100
    assert abs(hits(load(graph, file), images, labels, batch=10).mean() - p) < 3 * np.sqrt(p * (1 - p) / len(labels))


def psnr(a, b, border):
    return 10 * np.log10(255**2 / np.mean((a - b)[border:-border, border:-border] ** 2))


def resize(luma, size):
    return np.asarray(Image.fromarray(luma.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))


def test_vdsr_enlarges_set5_threefold_at_its_psnr():
    """33.77 dB published, 33.70 dB measured with 8-bit low-resolution images; bicubic 30.39 dB."""
    network = load(vdsr(), "vdsr.npz")
    bicubic, ours = [], []
    for image in super_resolution("set5").values():
        w, h = image.width // 3 * 3, image.height // 3 * 3
        luma = np.asarray(image.crop((0, 0, w, h)), float) @ np.array([65.481, 128.553, 24.966]) / 255 + 16
        enlarged = resize(resize(luma, (w // 3, h // 3)), (w, h))
        y = forward(network, (enlarged / 255).astype(np.float32)[None, :, :, None])[0, :, :, 0] * 255
        bicubic.append(psnr(enlarged, luma, 3))
        ours.append(psnr(y, luma, 3))
    assert np.mean(bicubic) == pytest.approx(30.39, abs=0.05)
    assert np.mean(ours) == pytest.approx(33.77, abs=0.1)
