"""Laws of the joint-sparsity regularizer; formulas from arXiv:1902.08192, thresholds against ``numpy.sort``."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.network.graph import INPUT, Graph, Node
from accelsim.network.layers import Conv, Flatten, Linear
from accelsim.sparsity.joint import JointRegularizer, Percentile, spatial_layers, winograd_layers
from accelsim.transforms.winograd import transform_filters
from tests.laws import law

FEW = law(50)


def small_graph() -> Graph:
    layers = [
        Conv(in_channels=2, out_channels=4, kernel=(3, 3), padding=(1, 1)),
        Conv(in_channels=4, out_channels=4, kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
        Conv(in_channels=4, out_channels=3, kernel=(5, 5), padding=(2, 2)),
        Conv(in_channels=3, out_channels=5, kernel=(1, 1)),
        Flatten(),
        Linear(in_features=80, out_features=6),
    ]
    names = [INPUT, *(f"n{i}" for i in range(len(layers)))]
    nodes = tuple(
        Node(name=name, layer=layer, inputs=(source,))
        for (source, name), layer in zip(pairwise(names), layers, strict=True)
    )
    return Graph(name="small", input_shape=(8, 8, 2), nodes=nodes)


GRAPH = small_graph()
TILES = {"default": 2, "n2": 4}


def random_weights(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in GRAPH.parameters.items()}


def zeros() -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in GRAPH.parameters.items()}


def test_layers_are_those_of_the_method() -> None:
    assert spatial_layers(GRAPH) == ("n0", "n1", "n2", "n3", "n5")
    assert winograd_layers(GRAPH, TILES) == {"n0": 2, "n2": 4}
    assert spatial_layers(GRAPH, {"n1", "n5"}) == ("n0", "n2", "n3")
    assert winograd_layers(GRAPH, TILES, {"n0"}) == {"n2": 4}


@FEW
@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=300),
    st.floats(0, 1),
    st.lists(st.floats(0.5, 2), max_size=4),
)
def test_percentile_is_the_sorted_one_whatever_came_before(
    values: list[float], sparsity: float, history: list[float]
) -> None:
    """Carrying the last threshold is a shortcut, never an approximation: error bound zero."""
    percentile = Percentile()
    magnitudes = np.array(values, np.float32)
    for factor in [*history, 1.0]:
        now = magnitudes * np.float32(factor)
        theta = percentile.threshold(now, sparsity)
        rank = int(np.ceil(sparsity * now.size)) - 1
        assert theta == (np.sort(now)[rank] if rank >= 0 else -1.0)


@FEW
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_penalties_are_the_papers_formulas(seed: int, s_sd: float, s_wd: float) -> None:
    weights, regularizer = random_weights(seed), JointRegularizer(GRAPH, TILES)
    sd = regularizer.spatial_penalty(weights, s_sd, zeros(), 0.0)
    w = np.concatenate([weights[f"{name}.weight"].ravel() for name in regularizer.spatial]).astype(np.float64)
    assert sd.value == pytest.approx((w**2 * (abs(w) <= sd.threshold)).sum() / w.size, rel=1e-4, abs=1e-9)
    assert s_sd <= sd.sparsity + 1e-9 <= s_sd + 1 / w.size + 1e-9 or sd.sparsity == 0 == s_sd
    wd = regularizer.winograd_penalty(weights, s_wd, zeros(), 0.0)
    W = np.concatenate([transform_filters(weights[f"{n}.weight"], m).ravel() for n, m in regularizer.winograd.items()])
    assert s_wd <= wd.sparsity + 1e-9 <= s_wd + 2 / W.size + 1e-9 or wd.sparsity == 0 == s_wd
    # rounding may move an entry that equals the threshold across it
    small = abs(W) <= wd.threshold * (1 + 1e-5)
    largest = wd.threshold**2 / W.size if wd.threshold > 0 else 0.0
    assert wd.value == pytest.approx(
        (W.astype(np.float64) ** 2 * small).sum() / W.size, rel=1e-4, abs=2 * largest + 1e-9
    )


@pytest.mark.parametrize("domain", ["spatial_penalty", "winograd_penalty"])
def test_gradient_is_the_finite_difference_where_the_indicator_does_not_change(domain: str) -> None:
    weights, regularizer = random_weights(5), JointRegularizer(GRAPH, TILES)
    gradients, z = zeros(), 0.7
    penalty = getattr(regularizer, domain)(weights, 0.6, gradients, z)
    rng = np.random.default_rng(0)
    for name in ("n0.weight", "n1.weight", "n2.weight", "n3.weight", "n5.weight"):
        direction = rng.standard_normal(weights[name].shape)
        values = []
        for sign in (1, -1):
            moved = {k: v.astype(np.float64) for k, v in weights.items()}
            moved[name] = moved[name] + sign * 1e-6 * direction
            if domain == "spatial_penalty":
                pairs = [(moved[f"{n}.weight"], weights[f"{n}.weight"]) for n in regularizer.spatial]
            else:
                pairs = [
                    (transform_filters(moved[f"{n}.weight"], m), transform_filters(weights[f"{n}.weight"], m))
                    for n, m in regularizer.winograd.items()
                ]
            total = sum((a**2 * (abs(b) <= penalty.threshold * (1 + 1e-5))).sum() for a, b in pairs)
            values.append(np.exp(z) * total / sum(a.size for a, _ in pairs))
        expected = (values[0] - values[1]) / 2e-6
        scale = float(np.linalg.norm(gradients[name]) * np.linalg.norm(direction))
        assert abs(float(np.vdot(gradients[name], direction)) - expected) < 1e-3 * scale + 1e-8


def test_gradient_is_added_to_what_is_there() -> None:
    weights, regularizer = random_weights(1), JointRegularizer(GRAPH, TILES)
    alone, onto = zeros(), {name: np.ones(shape, np.float32) for name, shape in GRAPH.parameters.items()}
    regularizer.winograd_penalty(weights, 0.5, alone, 1.0)
    regularizer.winograd_penalty(weights, 0.5, onto, 1.0)
    for name in alone:
        np.testing.assert_allclose(onto[name], alone[name] + 1, rtol=1e-6)


@FEW
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_pruning_leaves_the_wanted_share(seed: int, sparsity: float) -> None:
    weights, regularizer = random_weights(seed), JointRegularizer(GRAPH, TILES, exclude=("n3",))
    theta_sd, theta_wd = regularizer.thresholds(weights, sparsity, sparsity)
    pruned = regularizer.pruned_spatial(weights, theta_sd)
    pruned_weights = np.concatenate([pruned[f"{name}.weight"].ravel() for name in regularizer.spatial])
    assert np.count_nonzero(pruned_weights == 0) == int(np.ceil(sparsity * pruned_weights.size))
    np.testing.assert_array_equal(pruned["n3.weight"], weights["n3.weight"])
    filters = regularizer.pruned_winograd(weights, theta_wd)
    assert filters["n2"].shape == (3, 4, 8, 8)
    flat = np.concatenate([f.ravel() for f in filters.values()])
    assert abs(np.count_nonzero(flat == 0) - sparsity * flat.size) <= 2
    for name, W in filters.items():
        full = transform_filters(weights[f"{name}.weight"], regularizer.winograd[name])
        np.testing.assert_allclose(W[W != 0], full[W != 0], rtol=1e-4, atol=1e-5)
