"""The training step's own laws: coefficients, moving average, batch-norm re-estimation, and the array module."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.network.graph import INPUT, Graph, Network, Node
from accelsim.network.layers import BatchNorm, Conv, Flatten, GlobalAveragePool, Linear, Relu
from accelsim.training import checkpoint
from accelsim.training.datasets import Images
from accelsim.training.first_weights import initial_arrays
from accelsim.training.ops.products import ConvOp, WinogradConvOp
from accelsim.training.recipe import Recipe
from accelsim.training.trainer import Trainer
from tests.training import foreign


def small_graph(first: int = 4, second: int = 6) -> Graph:
    layers = (
        Conv(in_channels=3, out_channels=first, kernel=(3, 3), padding=(1, 1)),
        BatchNorm(channels=first),
        Relu(),
        Conv(in_channels=first, out_channels=second, kernel=(3, 3), padding=(1, 1)),
        BatchNorm(channels=second),
        Relu(),
        GlobalAveragePool(),
        Flatten(),
        Linear(in_features=second, out_features=3),
    )
    nodes = tuple(
        Node(name=f"n{i}", layer=layer, inputs=(f"n{i - 1}" if i else INPUT,)) for i, layer in enumerate(layers)
    )
    return Graph(name="small", input_shape=(8, 8, 3), nodes=nodes)


GRAPH = small_graph()
IMAGES = Images(np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8), np.arange(40) % 3)


def trainer(xp: Any = np, dense: Network | None = None, graph: Graph = GRAPH, **changes: Any) -> Trainer:
    content = {
        "network": "small",
        "data": {"kind": "npz", "path": "/unused"},
        "epochs": 2,
        "batch": 8,
        "threads": 1,
        "joint": {"spatial": 0.6, "winograd": 0.5, "alpha": 0.3, "z_start": 2.0, "z_rate": 0.01},
    }
    network = Network(graph, initial_arrays(graph, 0))
    return Trainer(Recipe.model_validate(content | changes), network, IMAGES, dense, xp=xp)


def test_balanced_coefficients_start_where_the_pull_equals_alpha() -> None:
    run = trainer(joint={"alpha": 0.3, "z_start": "balanced", "z_rate": 0.0})
    report = run.step()
    assert report.spatial is not None
    assert report.winograd is not None
    assert np.exp(report.z_sd) * report.spatial.value == pytest.approx(0.3, rel=1e-3)
    assert np.exp(report.z_wd) * report.winograd.value == pytest.approx(0.3, rel=1e-3)


def test_coefficients_move_against_exp_z_times_r_minus_alpha() -> None:
    """dC/dz = exp(z) R - alpha, and Adam's first step is the rate against its sign."""
    for z_start in (-6.0, 6.0):
        run = trainer(joint={"alpha": 0.1, "z_start": z_start, "z_rate": 0.01})
        report = run.step()
        assert report.spatial is not None
        slope = np.exp(z_start) * report.spatial.value - 0.1
        assert report.z_sd == pytest.approx(z_start - 0.01 * np.sign(slope), abs=1e-5)


@pytest.mark.parametrize(("mode", "still"), [("sd", "winograd"), ("wd", "spatial")])
def test_a_mode_of_one_domain_leaves_the_other_alone(mode: str, still: str) -> None:
    run = trainer(joint={"mode": mode, "z_start": 2.0, "z_rate": 0.01})
    report = run.step()
    assert getattr(report, still) is None
    assert {"winograd": report.z_wd, "spatial": report.z_sd}[still] == 2.0


def test_the_moving_average_follows_its_recurrence_with_a_short_memory_at_first() -> None:
    """TensorFlow's ExponentialMovingAverage with num_updates t: decay min(ema, (1 + t) / (10 + t))."""
    run = trainer(ema=0.5, epochs=40, optimizer={"kind": "sgd", "rate": 0.05})
    expected = run.values.astype(np.float64)
    for t in range(1, 13):
        run.step()
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * run.values
    assert run.average is not None
    np.testing.assert_allclose(run.average, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(run.average - run.values).max() > 1e-3
    np.testing.assert_array_equal(run.model()["n8.weight"].ravel(), run.average[run.spans["n8.weight"]])


def test_reestimated_statistics_are_those_of_the_data() -> None:
    """Over the whole set in one batch, the first layer's statistics are its output's mean and unbiased variance."""
    run = trainer(batch=40, epochs=3)
    run.step()
    before = run.values.copy()
    model = run.reestimated(1)
    run.done = 0
    x, _, _ = run.batch(run.done)
    run.done = 1
    run.compiled.forward(x)
    y = run.compiled.ops["n0"].y.transpose(1, 0, 2, 3, 4).reshape(4, -1)
    np.testing.assert_allclose(model["n1.running_mean"], y.mean(axis=1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model["n1.running_var"], y.var(axis=1, ddof=1), rtol=1e-3)
    np.testing.assert_array_equal(run.values, before)


def test_state_restores_every_number() -> None:
    first, second = trainer(ema=0.9), trainer(ema=0.9)
    for _ in range(3):
        first.step()
    second.restore(*first.state())
    reports = [[run.step() for _ in range(3)] for run in (first, second)]
    assert reports[0] == reports[1]
    np.testing.assert_array_equal(first.values, second.values)


def test_threads_do_not_change_a_byte_of_the_checkpoint(tmp_path: Path) -> None:
    """With a convolution by the definition and one by Winograd, in five blocks."""
    graph, files = small_graph(32, 32), []
    for threads in (1, 2, 3):
        run = trainer(graph=graph, threads=threads, batch=40, block=8, epochs=4)
        assert [type(run.compiled.ops[name]) for name in ("n0", "n3")] == [ConvOp, WinogradConvOp]
        for _ in range(4):
            run.step()
        checkpoint.save_state(tmp_path / str(threads), *run.state())
        files.append((tmp_path / str(threads) / checkpoint.STATE).read_bytes())
    assert files[0] == files[1] == files[2]


def test_the_state_of_another_network_is_refused() -> None:
    arrays, notes = trainer().state()
    with pytest.raises(ValueError, match="expected one of 'small'"):
        trainer().restore(arrays, notes | {"network": "other"})
    with pytest.raises(ValueError, match="shape"):
        trainer().restore(arrays | {"values": np.zeros(3, np.float32)}, notes)


def test_another_array_module_gets_all_the_work() -> None:
    """``foreign`` refuses NumPy's functions, and NumPy's arrays beside its own, as CuPy does."""
    options = {"ema": 0.9, "teacher": {"network": "small", "weights": "/unused"}}
    teacher = Network(GRAPH, initial_arrays(GRAPH, 5))
    joint = {"spatial": 0.6, "winograd": 0.5, "z_start": "balanced", "prune_from": 0.3}
    for changes in (options, {"joint": joint, "optimizer": {"kind": "sgd", "weight_decay": 1e-4}}):
        other, plain = (trainer(xp, teacher, **changes) for xp in (foreign.module, np))
        assert isinstance(other.values, foreign.Foreign)
        assert [other.step() for _ in range(4)] == [plain.step() for _ in range(4)]
        for ours, expected in ((other.reestimated(2), plain.reestimated(2)), (other.state()[0], plain.state()[0])):
            for name, array in expected.items():
                np.testing.assert_array_equal(ours[name], array, err_msg=name)
        other.restore(*plain.state())


def test_numpy_functions_on_another_modules_arrays_are_found_out() -> None:
    array = foreign.module.zeros((2, 2), np.float32)
    for fault in (lambda: np.sum(array), lambda: np.exp(array), lambda: array + np.ones(2), lambda: np.asarray(array)):
        with pytest.raises(TypeError):
            fault()


def test_statistics_are_measured_anew_without_an_epoch() -> None:
    """A network that is only reconstructed has as many images to measure on as one that trains."""
    found, expected = (trainer(epochs=epochs).reestimated(2) for epochs in (0, 1))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
