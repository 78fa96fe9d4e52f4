"""The zoo's networks have the published sizes, to all digits, and run."""

import numpy as np
import pytest

from accelsim.errors import InputError
from accelsim.network import Network, forward
from accelsim.network.count import dense_macs, parameters, tiles_by_kernel, weights, winograd_multiplies
from accelsim.network.zoo import NETWORKS, named_graph, resnet18, resnet_cifar

# name: dense MACs an image, parameters.  Sources: torchvision's model pages (ResNet-18/50, AlexNet, VGG-16, SqueezeNet
# 1.1: parameters and GFLOPS), Caffe's model zoo (AlexNet, GoogLeNet), the MobileNet paper (569 M MACs, 4.2 M),
# arXiv:1902.08192 (ResNet-18's variant 2347.1 M, AlexNet 724.4 M), He et al. (ResNet-20/32/56: 0.27, 0.46, 0.85 M).
PUBLISHED = {
    "resnet20-cifar10": (40_551_040, 269_722),
    "resnet32-cifar10": (68_862_592, 464_154),
    "resnet56-cifar10": (125_485_696, 853_018),
    "resnet18": (1_814_073_344, 11_689_512),
    "resnet18-pooled": (2_347_143_168, 11_693_736),
    "resnet50": (4_089_184_256, 25_557_032),
    "alexnet": (724_406_816, 60_965_224),
    "alexnet-torchvision": (714_188_480, 61_100_840),
    "vgg16": (15_470_264_320, 138_357_544),
    "squeezenet11": (349_151_936, 1_235_496),
    "googlenet": (1_582_671_872, 6_998_552),
    "mobilenet-v1": (568_740_352, 4_231_976),
    "ct-srcnn9": (233_238_528_000, 112_769),
    "vdsr": (664_704 * 256 * 256, 664_704),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_and_parameters_are_the_published_ones(name):
    graph = NETWORKS[name]()
    macs, trained = PUBLISHED[name]
    assert graph.name == name
    assert sum(dense_macs(graph).values()) == macs
    assert parameters(graph) == trained


def test_resnet20s_convolutions_take_40_55_million_macs():
    macs = dense_macs(NETWORKS["resnet20-cifar10"]())
    assert macs.pop("linear") == 640
    assert sum(macs.values()) == 40_550_400


@pytest.mark.parametrize(
    ("name", "tiles", "millions"),
    [
        ("resnet18", {3: 2}, 1026.3),
        ("resnet18", {3: 4}, 740.0),
        ("resnet18", {3: 6}, 809.3),
        ("resnet18-pooled", {3: 2}, 1174.0),
        ("resnet18-pooled", {3: 4}, 770.5),
        ("resnet18-pooled", {3: 6}, 829.1),
        ("alexnet", {3: 2, 5: 4}, 376.0),
        ("alexnet", {3: 4, 5: 4}, 330.0),
    ],
)
def test_winograd_multiplies_are_those_of_the_paper(name, tiles, millions):
    """Element-wise multiplies with edge tiles padded (arXiv:1902.08192 and its reproduction)."""
    graph = NETWORKS[name]()
    total = sum(winograd_multiplies(graph, tiles_by_kernel(graph, tiles)).values())
    assert round(total / 1e6, 1) == millions


def test_winograd_multiplies_of_one_tile_a_pixel_are_the_dense_macs():
    graph = NETWORKS["alexnet"]()
    tiles = dict.fromkeys(tiles_by_kernel(graph, {3: 1, 5: 1}), 1)
    assert winograd_multiplies(graph, tiles) == dense_macs(graph)
    with pytest.raises(ValueError, match="node conv1: Winograd needs a convolution at stride 1"):
        winograd_multiplies(graph, {"conv1": 2})


def test_weights_are_those_of_the_paper():
    """arXiv:1902.08192: 11.68 M and 60.95 M (grouped); torchvision's AlexNet 61.09 M."""
    assert round(weights(NETWORKS["resnet18"]()) / 1e6, 2) == 11.68
    assert round(weights(NETWORKS["alexnet"]()) / 1e6, 2) == 60.95
    assert round(weights(NETWORKS["alexnet-torchvision"]()) / 1e6, 2) == 61.09


def random_network(graph, seed=0):
    """He's initialisation, batch normalisation with statistics of its own."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in graph.parameters.items():
        if name.endswith("running_var"):
            arrays[name] = rng.uniform(0.5, 2, shape).astype(np.float32)
        elif len(shape) > 1:
            arrays[name] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        else:
            arrays[name] = rng.normal(0.5, 0.2, shape).astype(np.float32)
    return Network(graph, arrays)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("vgg16", "ct-srcnn9", "vdsr", "alexnet")])
def test_every_classifier_runs_to_a_finite_answer(name):
    graph = NETWORKS[name]()
    x = np.random.default_rng(1).standard_normal((1, *graph.input_shape)).astype(np.float32)
    y = forward(random_network(graph), x)
    assert y.shape == (1, *graph.shapes[graph.nodes[-1].name])
    assert np.isfinite(y).all()
    assert y.std() > 0


@pytest.mark.parametrize("name", ["ct-srcnn9", "vdsr"])
def test_super_resolution_keeps_any_images_size(name):
    graph = NETWORKS[name]().with_input_shape((20, 30, 1))
    y = forward(random_network(graph), np.ones((2, 20, 30, 1), np.float32))
    assert y.shape == (2, 20, 30, 1)


def test_vdsr_adds_its_input():
    graph = NETWORKS["vdsr"]().with_input_shape((16, 16, 1))
    x = np.random.default_rng(2).standard_normal((1, 16, 16, 1)).astype(np.float32)
    nothing = Network(graph, {k: np.zeros(s, np.float32) for k, s in graph.parameters.items()})
    assert (forward(nothing, x) == x).all()


def test_folding_batch_norm_changes_names_not_results():
    """resnet18-folded computes what resnet18 does, once scale and shift are multiplied into weight and bias."""
    whole = random_network(resnet18().with_input_shape((64, 64, 3)), 3)
    folded = {}
    for name in resnet18(folded=True).parameters:
        layer, key = name.rsplit(".", 1)
        norm = layer[:-1] + "1" if "downsample" in layer else layer.replace("conv", "bn")
        if layer == "fc":
            folded[name] = whole.arrays[name]
            continue
        scale = whole.arrays[f"{norm}.weight"] / np.sqrt(whole.arrays[f"{norm}.running_var"] + np.float32(1e-5))
        shift = whole.arrays[f"{norm}.bias"] - whole.arrays[f"{norm}.running_mean"] * scale
        folded[name] = whole.arrays[f"{layer}.weight"] * scale[:, None, None, None] if key == "weight" else shift
    network = Network(resnet18(folded=True).with_input_shape((64, 64, 3)), folded)
    x = np.random.default_rng(4).standard_normal((1, 64, 64, 3)).astype(np.float32)
    expected = forward(whole, x)
    np.testing.assert_allclose(forward(network, x), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_pooled_variant_halves_images_where_the_original_does():
    for name in ("layer2.0.add", "layer3.0.add", "layer4.0.add"):
        assert resnet18(pooled=True).shapes[name] == resnet18().shapes[name]


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_impossible_depths_are_refused(depth):
    with pytest.raises(ValueError, match=rf"depth is 6 n \+ 2, got {depth}"):
        resnet_cifar(depth)


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        named_graph("resnet-18")
    assert named_graph("vdsr").name == "vdsr"
