"""Layer-wise reconstruction: exact zeros, less error than plain pruning, and a network that holds in both domains."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from accelsim.errors import InputError
from accelsim.network.forward import convolve, forward
from accelsim.network.graph import Network
from accelsim.network.layers import Add, Flatten, GlobalAveragePool, Linear
from accelsim.network.zoo.builder import Builder
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.moments import Moments
from accelsim.sparsity.recipe import Budget, Reconstruction
from accelsim.sparsity.reconstruction import LayerReport, reconstruct, zeros_by_layer
from accelsim.sparsity.sparse_least_squares import least_squares, sparse_solution
from accelsim.training.first_weights import initial_arrays
from accelsim.training.prices import PricingImages, measure
from accelsim.training.recipe import load_recipe
from accelsim.transforms.winograd import convolve_transformed, matrices

SETTINGS = Reconstruction(images=24, positions=64, iterations=30)


def correlated(rng: np.random.Generator, rows: int, taps: int, channels: int) -> np.ndarray:
    """Inputs whose neighbours are alike, as those of an image are; channels of different strength."""
    shared = rng.standard_normal((rows, 1, channels)) + 0.3 * rng.standard_normal((rows, taps, 1))
    x = (shared + 0.5 * rng.standard_normal((rows, taps, channels))) * np.linspace(0.2, 2, channels)
    return x.reshape(rows, -1).astype(np.float32)


def winograd_kron(m: int) -> np.ndarray:
    G = matrices(m, 3, np.dtype(np.float32))[1]
    return np.kron(G, G)


def solve(
    H: np.ndarray, B: np.ndarray, start: np.ndarray, kron: np.ndarray | None, zeros: int, small: int
) -> tuple[np.ndarray, float]:
    """A layer whose inputs and outputs have means of 0."""
    means = [np.zeros(size, np.float32) for size in (len(H), B.shape[1])]
    moments = Moments(H, B, 0.0, *means, rows=3000)
    return sparse_solution(least_squares(moments, start, kron, SETTINGS), zeros, small, SETTINGS)


@pytest.mark.parametrize("domain", ["spatial", "winograd", "joint"])
def test_solve_makes_the_zeros_asked_for_at_less_error_than_cutting_small_weights(domain: str) -> None:
    rng = np.random.default_rng(1)
    X = correlated(rng, 3000, 9, 12)
    start = rng.laplace(size=(9, 12, 10)).astype(np.float32)
    Y = X @ start.reshape(-1, 10)
    H, B = X.T @ X / len(X), X.T @ Y / len(X)
    kron = winograd_kron(2)
    zeros = start.size * 7 // 10 if domain != "winograd" else 0
    small = 16 * 12 * 10 * 6 // 10 if domain != "spatial" else 0
    found, lost = solve(H, B, start, kron if small else None, zeros, small)
    assert np.count_nonzero(found == 0) == zeros

    def error(w: np.ndarray) -> float:
        return float(((X @ w.reshape(-1, 10) - Y) ** 2).mean() / Y.var())

    cut = start * (np.abs(start) > np.sort(np.abs(start).ravel())[max(zeros - 1, 0)])
    if domain == "winograd":
        W = np.abs(np.tensordot(kron, found, 1)).ravel()
        before = np.abs(np.tensordot(kron, start, 1)).ravel()
        shares = [float((np.sort(w)[:small] ** 2).sum() / (w**2).sum()) for w in (W, before)]
        assert shares[0] < 0.2 * shares[1]
    else:
        assert error(found) < 0.7 * error(cut)
    assert 0 <= lost < 0.02


def test_without_zeros_the_dense_weights_come_back() -> None:
    rng = np.random.default_rng(2)
    X = correlated(rng, 500, 1, 8)
    start = rng.standard_normal((1, 8, 5)).astype(np.float32)
    H = X.T @ X / len(X)
    found, lost = solve(H, H @ start[0], start, None, 0, 0)
    np.testing.assert_allclose(found, start, atol=1e-3)
    assert lost == 0


def test_the_scores_of_lamp() -> None:
    """By hand: squares 1, 4, 9 have scores 1/14, 4/13, 1; a layer's scale changes nothing; its largest weight stays."""
    w = np.array([1, 2, 3], np.float32)
    assert zeros_by_layer({"a": w, "b": 100 * w}, 0.3) == {"a": 1, "b": 1}
    assert zeros_by_layer({"a": w, "b": np.ones(3, np.float32)}, 0.5) == {"a": 2, "b": 1}  # 1/14, 4/13; 1/3, 1/2, 1
    assert zeros_by_layer({"a": w}, 0.0) == {"a": 0}


def small_network() -> Network:
    """Convolutions of every kind the reconstruction meets: plain, strided, 1 x 1, grouped, fully connected."""
    b = Builder("small", (16, 16, 3))
    b.conv("first", 16, 3, bias=True)
    x = b.relu("relu1")
    b.conv("inner", 16, 3, bias=True)
    b.relu("relu2")
    b.conv("last", 16, 3, bias=True)
    b.add("sum", Add(), b.last, x)
    b.relu("relu3")
    b.conv("grouped", 16, 3, groups=4, bias=True)
    b.relu("relu4")
    b.conv("strided", 24, 3, stride=2, bias=True)
    b.relu("relu5")
    b.conv("pointwise", 24, 1)
    b.add("pool", GlobalAveragePool())
    b.add("flatten", Flatten())
    b.add("fc", Linear(in_features=24, out_features=6))
    graph = b.graph()
    rng = np.random.default_rng(4)
    arrays = initial_arrays(graph, 4)
    for name in arrays:
        if name.endswith("bias"):
            arrays[name] = 0.1 * rng.standard_normal(arrays[name].shape).astype(np.float32)
    return Network(graph, arrays)


def test_a_layer_makes_up_for_what_its_partner_in_a_sum_has_lost() -> None:
    """The first part has one large weight; LAMP zeros all its others, which the second part, of the same input, can be
    given instead.
    """
    b = Builder("parts", (16, 16, 3))
    x = b.relu("relu0")
    short = b.conv("short", 16, 1, source=x)
    last = b.conv("last", 16, 1, source=x)
    b.add("sum", Add(), last, short)
    graph = b.graph()
    rng = np.random.default_rng(5)
    arrays = {name: rng.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in graph.parameters.items()}
    arrays["short.weight"][0, 0] = 1000
    network, images = Network(graph, arrays), np.abs(smooth_images(64, 1))
    found = reconstruct(network, images, JointRegularizer(graph, {"default": 2}), (47 / 96, 0.0), SETTINGS)
    assert np.count_nonzero(found["short.weight"]) == 1
    x = np.abs(smooth_images(16, 2))
    lost = forward(Network(graph, arrays | {"short.weight": found["short.weight"]}), x) - forward(network, x)
    left = forward(Network(graph, found), x) - forward(network, x)
    assert (left[..., 1:] ** 2).mean() < 0.01 * (lost[..., 1:] ** 2).mean()


def smooth_images(count: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((count, 16, 16, 3))
    for axis in (1, 2):
        x = x + np.roll(x, 1, axis) + np.roll(x, 2, axis)
    return x.astype(np.float32)


def test_a_network_keeps_its_output_in_both_domains_better_than_a_cut_one() -> None:
    network = small_network()
    graph = network.graph
    regularizer = JointRegularizer(graph, {"default": 2}, ["grouped"])
    reports: list[LayerReport] = []
    arrays = reconstruct(network, smooth_images(96, 1), regularizer, (0.5, 0.4), SETTINGS, reports.append)
    assert [report.name for report in reports] == ["first", "inner", "last", "strided", "pointwise", "fc"]
    np.testing.assert_array_equal(arrays["grouped.weight"], network.arrays["grouped.weight"])
    w = regularizer.collect(arrays)
    assert np.count_nonzero(w == 0) == pytest.approx(0.5 * w.size, abs=1)

    def output(candidate: dict[str, np.ndarray], theta_wd: float | None) -> np.ndarray:
        filters = {} if theta_wd is None else regularizer.pruned_winograd(candidate, theta_wd)

        def convolution(node, x, weight):
            if node.name in filters:
                return convolve_transformed(x, filters[node.name], 2, node.layer.kernel, node.layer.padding)
            return convolve(x, weight, node.layer)

        return forward(Network(graph, candidate), smooth_images(32, 2), convolution=convolution)

    truth = output(dict(network.arrays), None)
    theta_sd, _ = regularizer.thresholds(network.arrays, 0.5, 0.4)
    cut = regularizer.pruned_spatial(network.arrays, theta_sd)
    for domain in ("spatial", "winograd"):
        errors = []
        for candidate in (arrays, cut):
            theta_wd = regularizer.thresholds(candidate, 0.5, 0.4)[1] if domain == "winograd" else None
            errors.append(float(((output(candidate, theta_wd) - truth) ** 2).mean()))
        assert errors[0] < 0.5 * errors[1], domain


def test_a_recipe_reconstructs_only_towards_stated_sparsities(tmp_path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("network: vdsr\ndata: {kind: npz, path: x}\nepochs: 0\nreconstruction: {}\n")
    with pytest.raises(InputError, match="reconstruction: expected the key joint"):
        load_recipe(path)


def test_an_input_that_never_changes_does_not_matter() -> None:
    """Once its mean is taken off, float32 leaves a little less than nothing of its square."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 6)).astype(np.float32)
    X[:, 2] = 0
    w = rng.standard_normal((6, 3)).astype(np.float32)
    H = X.T @ X / np.float32(50)
    H[2, 2] = -1e-7
    moments = Moments(H, H @ w, 0.0, X.mean(axis=0), (X @ w).mean(axis=0), rows=50)
    settings = Reconstruction(iterations=5, polish=5)
    problem = least_squares(moments, w[None], None, settings)
    assert (np.diagonal(problem.A) > 0).all()
    found, _ = sparse_solution(problem, 3, 0, settings, exact=True)
    assert np.isfinite(found).all()
    assert np.count_nonzero(found == 0) >= 3
    assert np.mean((X @ (found[0] - w)) ** 2) < 0.2 * np.mean((X @ w) ** 2)


def test_moments_that_rounding_has_made_indefinite_give_weights_of_their_size() -> None:
    """Two inputs that go together more than any do: conjugate gradients stop where the error would fall without end."""
    H = np.array([[1.0, 1.5], [1.5, 1.0]], np.float32)
    w = np.array([[[1.0], [-0.9]]], np.float32)  # (taps, C, K): against the direction in which H is negative
    moments = Moments(H=H, B=H @ w[0], energy=1.0, x=np.zeros(2, np.float32), y=np.zeros(1, np.float32), rows=100)
    settings = Reconstruction(images=1, polish=30)
    found, _ = sparse_solution(least_squares(moments, w, None, settings), 0, 0, settings, exact=True)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 100


def test_one_thread_and_several_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads factor a matrix of this size in other blocks than one, and multiply thin ones in other parts.

    Two cores share the points at which a layer is priced, and the chunks of images.
    """
    build = Builder("small", (8, 8, 80))
    build.conv("thin", 6, 3)
    graph = build.graph()
    network = Network(graph, initial_arrays(graph, 0))
    images = np.random.default_rng(0).standard_normal((40, 8, 8, 80)).astype(np.float32)
    regularizer = JointRegularizer(graph, {"default": 2})
    budget = Budget(ratio=9, cost_reduction=4, images=8, zeros=(0.3, 0.8), cells=(0.4,), iterations=2, polish=1)
    priced = SETTINGS.model_copy(update={"budget": budget})
    calibration = PricingImages(images[8:], images[:8])
    found = []
    points = []
    for threads in (1, 2):
        monkeypatch.setattr("accelsim.threads.cores", lambda threads=threads: threads)
        with threadpool_limits(threads, user_api="blas"):
            found.append(reconstruct(network, images, regularizer, (0.7, 0.7), SETTINGS))
            points.append(measure(network, calibration, regularizer, priced, {}, lambda *_: None))
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name])
    assert points[0] == points[1]
    assert len(points[0]["thin"]) == 2
