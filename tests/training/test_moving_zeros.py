"""Zeros that move while a network trains: exact in both domains, ever more, and the same after a resumed run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.recipe import CompressionRecipe
from accelsim.dual.deploy import winograd_model
from accelsim.errors import InputError
from accelsim.network.graph import Network
from accelsim.network.weights import load_network, save_network
from accelsim.network.zoo import named_graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.moving import MovingZeros, zeros_by_goal
from accelsim.training import checkpoint
from accelsim.training.first_weights import initial_arrays
from accelsim.training.recipe import Recipe
from accelsim.training.run import train_recipe
from accelsim.training.trainer import Trainer
from tests.training.test_run import data, write_recipe  # noqa: F401
from tests.training.test_trainer import IMAGES, small_graph

GRAPH = small_graph(8, 8)
KRON = np.kron(*2 * [np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])])  # of F(2, 3), Lavin & Gray
EPOCHS = 4
STEPS = 5 * EPOCHS
LAST = 12  # of these zeros move in, by grow_until


def trainer(moving: dict[str, Any] | None = None, **changes: Any) -> Trainer:
    joint = {"spatial": 0.6, "winograd": 0.5, "grow_from": 0.0, "grow_until": 0.6, "moving": moving or {"every": 3}}
    content = {
        "network": "small",
        "data": {"kind": "npz", "path": "/unused"},
        "epochs": EPOCHS,
        "batch": 8,
        "threads": 1,
        "optimizer": {"kind": "adam", "rate": 0.02},
        "joint": joint | changes.pop("joint", {}),
    }
    recipe = Recipe.model_validate(content | changes)
    network = Network(GRAPH, initial_arrays(GRAPH, 0))
    joint_settings = recipe.joint
    assert joint_settings is not None
    regularizer = JointRegularizer(GRAPH, joint_settings.tiles)
    goals = zeros_by_goal(regularizer, network.arrays, joint_settings, None)
    return Trainer(recipe, network, IMAGES, moving=MovingZeros(regularizer, goals))


def zeros(arrays: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Where each layer's weights are zero, and where those of its Winograd domain are."""
    found = {}
    for name in ("n0", "n3", "n8"):
        w = arrays[f"{name}.weight"]
        W = w.reshape(-1, 9).astype(np.float64) @ KRON.T if w.ndim == 4 else np.ones((0, 16))
        found[name] = (w == 0, np.abs(W) < 1e-6)
    return found


def test_the_network_always_runs_with_zeros_exact_in_both_domains_whose_number_grows_cubically() -> None:
    run = trainer()
    before = None
    moved = 0
    for step in range(STEPS):
        seen: dict[str, Any] = {}
        forward = run.compiled.forward

        def spy(x: Any, forward: Any = forward, seen: dict[str, Any] = seen) -> Any:
            seen.update({name: array.copy() for name, array in run.arrays.items()})
            return forward(x)

        run.compiled.forward = spy  # type: ignore[method-assign]
        run.step()
        run.compiled.forward = forward  # type: ignore[method-assign]
        chosen = min(step - step % 3, LAST)
        share = 1 - (1 - chosen / LAST) ** 3
        now = zeros(seen)
        least_sd = sum(round(share * goal[0]) for goal in run.mover.zeros.goals.values())
        least_wd = sum(round(share * goal[1]) for goal in run.mover.zeros.goals.values())
        assert sum(int(zero.sum()) for zero, _ in now.values()) >= least_sd  # a zero of W may make more of w
        assert sum(int(zero.sum()) for _, zero in now.values()) >= least_wd
        masks = [pattern.mask == 0 for pattern in run.mover.zeros.patterns.values()]
        assert sum(int(mask.sum()) for mask in masks) <= least_sd  # those of W make the others
        if before is not None:
            moved += sum(int((a & ~b).sum()) for a, b in zip(before, masks, strict=True))
            assert step <= LAST or all((a == b).all() for a, b in zip(before, masks, strict=True))
        before = masks
    assert moved > 0
    assert least_sd / run.values.size > 0.5


def test_the_model_has_the_zeros_of_the_last_choice_in_both_domains() -> None:
    run = trainer(ema=0.9)
    for step in range(STEPS):
        run.step()
        for arrays in (run.model(), run.reestimated(1)) if step % 7 == 6 or step == STEPS - 1 else ():
            for name, pattern in run.mover.zeros.patterns.items():
                assert (arrays[name][pattern.mask == 0] == 0).all()
            state = run.mover.zeros.state()
            for layer in ("n0", "n3"):
                W = arrays[f"{layer}.weight"].reshape(-1, 9).astype(np.float64) @ KRON.T
                assert np.abs(W.ravel()[state[f"zeros.winograd.{layer}.weight"].ravel()]).max() < 1e-6
    goals = run.mover.zeros.goals
    counts = {name: (int(sd.sum()), int(wd.sum())) for name, (sd, wd) in zeros(run.model()).items()}
    assert all(counts[name][0] >= goal[0] and counts[name][1] >= goal[1] for name, goal in goals.items())


@pytest.mark.parametrize("stop", [4, LAST, LAST + 1, STEPS - 1])
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, stop: int) -> None:
    runs = [trainer(ema=0.9), trainer(ema=0.9)]
    for _ in range(stop):
        runs[0].step()
    checkpoint.save_state(tmp_path, *runs[0].state())
    runs[1].restore(*checkpoint.load_state(tmp_path))
    for run in runs:
        while run.done < STEPS:
            run.step()
    states = [run.state()[0] for run in runs]
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        assert array.tobytes() == states[1][name].tobytes(), name


def test_without_zeros_to_put_it_is_dense_training() -> None:
    moving = trainer(joint={"spatial": 0.0, "winograd": 0.0})
    recipe = moving.recipe.model_copy(update={"joint": None})
    dense = Trainer(recipe, Network(GRAPH, initial_arrays(GRAPH, 0)), IMAGES)
    assert [moving.step().loss for _ in range(8)] == [dense.step().loss for _ in range(8)]
    np.testing.assert_array_equal(moving.values, dense.values)


@pytest.mark.parametrize("pull", [0.0, 0.25, 1.0])
def test_what_a_zero_takes_from_its_weight_is_given_back_but_for_the_pull(pull: float) -> None:
    """With next to no step of the optimiser: w' = Pw + (1 - pull) (w - Pw), P the nearest with the zeros."""
    run = trainer({"every": 3, "pull": pull}, joint={"grow_from": 0.9}, optimizer={"kind": "adam", "rate": 1e-30})
    before = {name: array.copy() for name, array in run.arrays.items()}
    run.step()
    for name, pattern in run.mover.zeros.patterns.items():
        nearest = before[name].copy()
        pattern.project(nearest)
        assert np.abs(nearest - before[name]).max() > 0.01
        expected = nearest + (1 - pull) * (before[name] - nearest)
        np.testing.assert_allclose(run.arrays[name], expected, atol=1e-6)


def sparse_weights(folder: Path, shares: dict[str, float]) -> Path:
    """ResNet-8 whose layers have these shares of zeros, whole 2-D filters: as many in either domain."""
    graph = named_graph("resnet8-cifar10")
    arrays = initial_arrays(graph, 5)
    for name, share in shares.items():
        filters = arrays[f"{name}.weight"].reshape(-1, 9)
        filters[: round(share * len(filters))] = 0
    save_network(Network(graph, arrays), folder / "like.safetensors")
    return folder / "like.safetensors"


def test_every_layer_gets_as_many_zeros_as_other_weights_have_and_its_file_keeps_them(
    tmp_path: Path,
    data: Path,  # noqa: F811
) -> None:
    shares = {"conv1": 0.25, "layer2.0.conv2": 0.75, "layer3.0.conv1": 0.5}
    joint = {"grow_until": 0.5, "moving": {"every": 2, "like": str(sparse_weights(tmp_path, shares))}}
    card = train_recipe(write_recipe(tmp_path, data, joint=joint, ema=None), tmp_path / "out")
    assert card["accuracy"]["spatial"] == card["accuracy"]["unpruned"] == card["accuracy"]["winograd"]
    arrays = load_network(named_graph("resnet8-cifar10"), tmp_path / "out" / checkpoint.MODEL).arrays
    model = compress_checkpoint(
        tmp_path / "out", tmp_path / "x.dual", CompressionRecipe(relative_cell=0.1, hold=True, workers=1)
    )
    filters = winograd_model(model)
    for name in ("conv1", "layer1.0.conv1", "layer2.0.conv2", "layer3.0.conv1"):
        share = shares.get(name, 0.0)
        assert share <= np.mean(arrays[f"{name}.weight"] == 0) <= (1 if share else 0)
        assert np.mean(model.network.arrays[f"{name}.weight"] == 0) >= share
        if name in filters:
            assert np.mean(filters[name] == 0) >= share


@pytest.mark.parametrize(
    ("joint", "more", "message"),
    [
        ({}, {}, "grow_until: 0, expected a share between 0 and 1"),
        ({"grow_until": 0.5, "alpha": 0.2}, {}, "joint: alpha: means nothing with moving"),
        ({"grow_until": 0.5, "spatial": 0.5, "moving": {"like": "x"}}, {}, "spatial: means nothing with moving.like"),
        ({"grow_until": 0.5, "hold": True}, {}, "moving: expected no hold"),
        ({"grow_until": 0.5, "moving": {"each": 5}}, {}, "joint.moving.each: unknown key"),
        ({"grow_until": 0.5, "moving": {"like": "/nowhere/w.safetensors"}}, {}, "/nowhere/w.safetensors"),
        ({"grow_until": 0.5}, {"optimizer": {"kind": "sgd"}}, "joint.moving: expected optimizer.kind adam"),
        ({"grow_until": 0.5}, {"reconstruction": {}}, "joint.moving: expected optimizer.kind adam and no recon"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(
    tmp_path: Path,
    data: Path,  # noqa: F811
    joint: dict[str, Any],
    more: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError) as error:
        train_recipe(write_recipe(tmp_path, data, joint={"moving": {}} | joint, **more), tmp_path / "out")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
