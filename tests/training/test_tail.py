"""Only the last layers trained: the same function, the rest untouched, zeros exact, resumed bit for bit."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.recipe import CompressionRecipe
from accelsim.dual.file import read_dual, read_indices
from accelsim.errors import InputError
from accelsim.network.forward import forward
from accelsim.network.graph import Network
from accelsim.network.weights import load_network, save_network
from accelsim.network.zoo import named_graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.training import checkpoint
from accelsim.training.datasets import Images
from accelsim.training.first_weights import initial_arrays
from accelsim.training.recipe import Data, load_recipe
from accelsim.training.run import Run, train_recipe
from accelsim.training.tail import features, split
from accelsim.training.trainer import StepReport
from tests.training.test_run import coloured_images, data, write_recipe  # noqa: F401

NETWORK = "resnet20-cifar10"
FROM = "layer3.1.conv1"


@settings(deadline=None)
@given(node=st.sampled_from(["layer1.0.conv1", "layer2.0.conv1", "layer2.1.conv1", FROM]))
def test_the_two_parts_are_the_network(node: str) -> None:
    network = Network(named_graph(NETWORK), initial_arrays(named_graph(NETWORK), 0))
    head, tail = split(network.graph, node)
    assert head.parameters | tail.parameters == network.graph.parameters
    parts = [Network(part, {name: network.arrays[name] for name in part.parameters}) for part in (head, tail)]
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(forward(parts[1], forward(parts[0], x)), forward(network, x))


@pytest.mark.parametrize("node", ["layer2.0.conv2", "conv1", "layer9.conv1"])
def test_a_node_that_does_not_cut_the_network_in_two_is_refused(node: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        split(named_graph(NETWORK), node)


def test_features_are_what_the_layers_before_make_of_the_image_and_its_mirror_image() -> None:
    network = Network(named_graph(NETWORK), initial_arrays(named_graph(NETWORK), 0))
    head_graph, _ = split(network.graph, FROM)
    head = Network(head_graph, {name: network.arrays[name] for name in head_graph.parameters})
    images = Images(*coloured_images(19, 0))
    found = features(head, images, True, network, 1)
    assert found.guide is not None
    for view, pixels in enumerate((images.pixels, images.pixels[:, :, ::-1])):
        x = network.graph.preprocessing.apply(pixels)
        np.testing.assert_allclose(found.values[view], forward(head, x), rtol=2e-3, atol=1e-3)
        np.testing.assert_allclose(found.guide[view], forward(network, x), rtol=1e-3, atol=1e-4)
    values, labels, guide = found.take(np.array([3, 18]), np.random.default_rng(0))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(labels, images.labels[[3, 18]])
    assert guide is not None
    assert guide.output.shape == (2, 10)
    assert guide.hint is None
    hinted = features(head, images, True, network, 1, hint="layer3.1.add")
    assert hinted.hint is not None
    names = [node.name for node in network.graph.nodes]
    body = network.graph.model_copy(update={"nodes": network.graph.nodes[: names.index("layer3.1.add") + 1]})
    inner = Network(body, {name: network.arrays[name] for name in body.parameters})
    x = network.graph.preprocessing.apply(images.pixels)
    np.testing.assert_allclose(hinted.hint[0], forward(inner, x), rtol=2e-3, atol=2e-3)


SMALL = "resnet8-cifar10"
LAST = "layer3.0.conv1"  # of ResNet-8, where its last layers begin


@pytest.fixture
def held_recipe(tmp_path: Path, data: Path) -> dict[str, Any]:  # noqa: F811
    """Weights of which half are zero, and the keys of a recipe that holds zeros and trains the last layers."""
    graph = named_graph(SMALL)
    arrays = initial_arrays(graph, 0)
    for w in arrays.values():
        if w.ndim > 1:
            w[np.abs(w) < np.median(np.abs(w))] = 0
    save_network(Network(graph, arrays), tmp_path / "sparse.safetensors")
    return {
        "network": SMALL,
        "start": str(tmp_path / "sparse.safetensors"),
        "data": {"kind": "npz", "path": str(data), "flip": True},
        "joint": {"spatial": 0.5, "winograd": 0.6, "hold": True},
        "teacher": {"network": SMALL, "weights": str(tmp_path / "sparse.safetensors"), "hint": "layer3.0.relu2"},
        "train_from": LAST,
        "ema": None,
        "checkpoint_steps": 4,
    }


def test_zeros_of_both_domains_stay_and_the_first_layers_do_not_move(
    tmp_path: Path,
    data: Path,  # noqa: F811
    held_recipe: dict[str, Any],
) -> None:
    card = train_recipe(write_recipe(tmp_path, data, **held_recipe), tmp_path / "out")
    still = train_recipe(write_recipe(tmp_path, data, **held_recipe | {"epochs": 0}), tmp_path / "still")
    graph = named_graph(SMALL)
    before, after = (load_network(graph, tmp_path / run / checkpoint.MODEL).arrays for run in ("still", "out"))
    moved = {name for name in graph.parameters if not np.array_equal(before[name], after[name])}
    _, tail = split(graph, LAST)
    assert moved
    assert moved <= tail.parameters.keys()
    regularizer = JointRegularizer(graph, {"default": 2})
    for domain in (regularizer.collect, regularizer.transform):
        first, last = (np.abs(domain(arrays)) for arrays in (dict(before), dict(after)))
        assert (last[first < 1e-6] < 1e-5).all()
    assert (np.abs(regularizer.transform(dict(after))) < 1e-6).mean() >= 0.6
    for saved in (card, still):  # pruning in the Winograd domain takes only what is nothing
        assert saved["accuracy"]["winograd"] == saved["accuracy"]["unpruned"] == saved["accuracy"]["spatial"]


def test_a_run_that_holds_zeros_resumes_bit_for_bit(
    tmp_path: Path,
    data: Path,  # noqa: F811
    held_recipe: dict[str, Any],
) -> None:
    recipe = write_recipe(tmp_path, data, **held_recipe)
    train_recipe(recipe, tmp_path / "whole")

    run = Run(load_recipe(recipe), recipe, tmp_path / "cut")

    def watch(report: StepReport, _: float) -> None:
        if report.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(watch)
    assert checkpoint.load_state(tmp_path / "cut")[1]["step"] == 4
    train_recipe(recipe, tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / checkpoint.MODEL).read_bytes() == (tmp_path / "whole" / checkpoint.MODEL).read_bytes()


@pytest.mark.parametrize("key", ["start", "teacher"])
def test_a_run_goes_on_from_the_weights_that_it_began_with_alone(
    tmp_path: Path,
    data: Path,  # noqa: F811
    held_recipe: dict[str, Any],
    key: str,
) -> None:
    """Another file by the same name gave other fixed layers and other zeros to the weights of the first one."""
    graph = named_graph(SMALL)
    other = tmp_path / "other.safetensors"
    shutil.copyfile(tmp_path / "sparse.safetensors", other)
    changed = {"start": str(other)} if key == "start" else {"teacher": held_recipe["teacher"] | {"weights": str(other)}}
    recipe = write_recipe(tmp_path, data, **held_recipe | changed)
    run = Run(load_recipe(recipe), recipe, tmp_path / "out")
    run._save_state()
    before = (tmp_path / "out" / checkpoint.STATE).read_bytes()
    arrays = load_network(graph, other).arrays
    save_network(Network(graph, {name: 2 * array for name, array in arrays.items()}), other)
    with pytest.raises(
        InputError, match=r"state\.safetensors: the state of a run from other weights than .* names now"
    ):
        train_recipe(recipe, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / checkpoint.STATE).read_bytes() == before
    shutil.copyfile(tmp_path / "sparse.safetensors", other)
    train_recipe(recipe, tmp_path / "out", resume=True)


def test_the_last_layers_follow_rounded_ones_which_stay_to_the_bit(
    tmp_path: Path,
    bz2_coder: None,
    data: Path,  # noqa: F811
) -> None:
    """A file's first layers, the last ones trained behind them and rounded: the first ones' numbers are the file's."""
    shipped = Path("models/resnet20-cifar10.dual").resolve()
    own = read_dual(shipped).network
    head, tail = split(own.graph, FROM)
    moved = {name: w + np.float32(1e-3) * (w != 0) for name, w in own.arrays.items()}
    save_network(Network(own.graph, moved), tmp_path / "moved.safetensors")
    recipe = {
        "network": str(shipped),
        "start": str(tmp_path / "moved.safetensors"),
        "data": {"kind": "npz", "path": str(data)},
        "joint": {"hold": "exact"},
        "head": str(shipped),
        "train_from": FROM,
        "ema": None,
        "epochs": 1,
    }
    train_recipe(write_recipe(tmp_path, data, **recipe), tmp_path / "out")
    trained = load_network(own.graph, tmp_path / "out" / checkpoint.MODEL).arrays
    for name in head.parameters:
        np.testing.assert_array_equal(trained[name], own.arrays[name])
    assert any((trained[name] != moved[name]).any() for name in tail.parameters)

    settings = CompressionRecipe(
        network=str(shipped),
        data=Data(kind="npz", path=str(data)),
        relative_cell=0.5,
        fit=16,
        rounded=str(shipped),
        value_bits=12,
        workers=1,
    )
    compress_checkpoint(tmp_path / "out", tmp_path / "x.dual", settings)
    found, before = read_indices(tmp_path / "x.dual"), read_indices(shipped)
    for name, n in found.items():
        assert np.array_equal(n, before[name]) == (name in head.parameters), name
    dense = settings.model_copy(update={"spatial": 0.0, "winograd": 0.0})
    with pytest.raises(InputError, match="no layer has the checkpoint's weights"):
        compress_checkpoint(tmp_path / "moved.safetensors", tmp_path / "y.dual", dense)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"head": "./models/resnet20-cifar10.dual"},
            "resnet20-cifar10.dual has no array 'bn1.running_mean' of shape (16,)",
        ),
        ({"head": "x.dual", "train_from": None}, "head: expected the key train_from"),
        ({"train_from": "layer3.1.conv3"}, "key train_from: no node 'layer3.1.conv3'"),
        ({"start": None}, "joint.hold: expected first weights that are sparse"),
        ({"data": {"kind": "npz", "path": "x.npz", "crop": 2}}, "train_from: expected no data.crop"),
        ({"reestimate": 3}, "train_from: expected no data.crop, data.cutout or reestimate"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(
    tmp_path: Path,
    data: Path,  # noqa: F811
    held_recipe: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError) as error:
        train_recipe(write_recipe(tmp_path, data, **held_recipe | changes), tmp_path / "out")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        ("layer3.0.relu9", "resnet8-cifar10 has no node 'layer3.0.relu9', did you mean 'layer3.0.relu"),
        ("layer2.0.bn1", "'layer2.0.bn1' comes before 'layer3.0.conv1', expected a node after"),
    ],
)
def test_a_hint_that_the_trained_layers_do_not_give_is_refused(
    tmp_path: Path,
    data: Path,  # noqa: F811
    held_recipe: dict[str, Any],
    hint: str,
    message: str,
) -> None:
    recipe = write_recipe(tmp_path, data, **held_recipe | {"teacher": held_recipe["teacher"] | {"hint": hint}})
    with pytest.raises(InputError, match=f"key teacher.hint: .*{message}"):
        train_recipe(recipe, tmp_path / "out")
