"""Rounding by a layer's output: the nearest lattice point, zeros of both domains, less error at equal cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.compression.pipeline import compress_checkpoint
from accelsim.compression.quantize import quantize
from accelsim.compression.recipe import CompressionRecipe
from accelsim.compression.rounding import fitted, with_zeros, zeros_of_filters
from accelsim.dual.deploy import winograd_model
from accelsim.network.forward import forward
from accelsim.network.graph import Network
from accelsim.network.zoo import named_graph
from accelsim.network.zoo.builder import Builder
from accelsim.sparsity import whole_weights
from accelsim.sparsity.bitprice import RunningCounts
from accelsim.sparsity.initial_zeros import initial_patterns, projected
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.lattice import BitPrice, factored, improve, nearest, nearest_point
from accelsim.sparsity.recipe import Joint
from accelsim.training.first_weights import initial_arrays

TILES = {"b": 2, "c": 2}


def positive_definite(seed: int, K: int, d: int) -> np.ndarray:
    X = np.random.default_rng(seed).standard_normal((K, 3 * d + 3, d)) + 1.0  # a mean: columns much alike
    return X.swapaxes(1, 2) @ X


@given(seed=st.integers(0, 10_000), d=st.integers(0, 12))
def test_the_nearest_point_of_a_point_of_the_lattice_is_itself(seed: int, d: int) -> None:
    A = positive_definite(seed, 3, d)
    z = np.random.default_rng(seed).integers(-9, 10, (3, d)).astype(float)
    np.testing.assert_array_equal(nearest_point(A, np.einsum("kij,kj->ki", A, z)), z)


@given(seed=st.integers(0, 10_000), d=st.integers(1, 4))
def test_the_point_found_is_close_to_the_best_of_all(seed: int, d: int) -> None:
    A = positive_definite(seed, 5, d)
    real = np.random.default_rng(seed).uniform(-3, 3, (5, d))
    b = np.einsum("kij,kj->ki", A, real)

    def cost(z: np.ndarray) -> np.ndarray:
        rest = z - real
        return np.einsum("...ki,kij,...kj->...k", rest, A, rest)

    found = cost(nearest_point(A, b))
    steps = np.concatenate([np.eye(d), -np.eye(d)])[:, None]
    assert (found <= cost(nearest_point(A, b) + steps) + 1e-9).all()  # no single step is an improvement
    offsets = np.stack(np.meshgrid(*[np.arange(-2, 3)] * d, indexing="ij"), axis=-1).reshape(-1, 1, d)
    best = cost(np.floor(real) + offsets).min(axis=0)
    assert found.sum() <= 2.0 * best.sum() + 1e-9


def test_directions_that_float64_loses_stop_no_rounding() -> None:
    """Vectors of large whole numbers that nearly depend on each other: A is positive definite by mathematics alone."""
    M = np.array([[1e9, 1e9 + 1], [1e9 - 1, 1e9]])  # of determinant 1
    A = (M.T @ M)[None]
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(A)
    wanted = M @ np.array([3.0, -2.0])
    z = nearest_point(A, (M.T @ wanted)[None])
    np.testing.assert_array_equal(z, np.rint(z))
    assert np.square(M @ z[0] - wanted).sum() <= np.square(wanted).sum()  # of no steps at all


def test_equal_independent_inputs_round_to_the_nearest() -> None:
    b = np.random.default_rng(0).uniform(-9, 9, (4, 7))
    np.testing.assert_array_equal(nearest_point(np.tile(2 * np.eye(7), (4, 1, 1)), 2 * b), np.rint(b))


def chain() -> Network:
    """Three convolutions as of a super-resolution network, half of the weights zero, with exact zeros of W."""
    b = Builder("chain", (24, 24, 1))
    b.conv("a", 12, 5, bias=True)
    b.relu("relu_a")
    b.conv("b", 12, 3, bias=True)
    b.relu("relu_b")
    b.conv("c", 4, 3, bias=True)
    graph = b.graph()
    arrays = initial_arrays(graph, 3)
    rng = np.random.default_rng(1)
    for name, w in arrays.items():
        if name.endswith("weight"):
            w *= rng.random(w.shape) < 0.5
    joint = Joint(mode="joint", spatial=0.5, winograd=0.5, tiles={"default": 2, "a": 0}, hold=True)
    return Network(graph, projected(arrays, initial_patterns(graph, arrays, joint)))


def smooth_images() -> tuple[np.ndarray, np.ndarray]:
    """24 images to fit by and 8 others, as smooth as photographs."""
    smooth = np.random.default_rng(2).standard_normal((32, 24, 24, 1)).cumsum(axis=1).cumsum(axis=2) / 20
    images, others = np.split((smooth + 0.5).astype(np.float32), [24])
    return images, others


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(0, 80), min_size=1, max_size=3))
def test_filters_of_different_sizes_are_rounded_together_as_each_alone(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    lattices = [positive_definite(seed, 1, d)[0] for d in sizes]
    ordered = [A[np.ix_(o, o)] for A in lattices for o in [np.argsort(np.diagonal(A), kind="stable")]]
    b = np.zeros((len(sizes), max(sizes)))
    for row, A in zip(b, ordered, strict=True):
        row[len(row) - len(A) :] = A @ rng.uniform(-9, 9, len(A))
    together = nearest(factored(ordered), b, 0.0, RunningCounts())
    for row, found, A in zip(b, together, ordered, strict=True):
        first = len(row) - len(A)
        alone = nearest(factored([A]), row[None, first:], 0.0, RunningCounts())
        np.testing.assert_array_equal(found[first:], alone[0])
        assert not found[:first].any()


def test_moves_are_those_of_one_coordinate_after_another() -> None:
    """From a point that is far off, by the definition: each coordinate at its best, the others as they are."""
    A = positive_definite(3, 2, 90)
    rng = np.random.default_rng(3)
    order = [np.argsort(np.diagonal(own), kind="stable") for own in A]
    lattice = factored([own[np.ix_(o, o)] for own, o in zip(A, order, strict=True)])
    b = np.stack([own @ rng.uniform(-9, 9, 90) for own in lattice.A])
    z = rng.integers(-9, 10, b.shape).astype(float)
    expected = z.copy()
    for own, at, target in zip(lattice.A, expected, b, strict=True):
        for i in range(len(at)):
            at[i] = np.rint(at[i] + (target[i] - own[i] @ at) / own[i, i])
    assert improve(lattice, b, z, BitPrice())
    np.testing.assert_array_equal(z, expected)


def test_outputs_move_less_than_by_rounding_each_weight_and_the_zeros_stay() -> None:
    network = chain()
    images, others = smooth_images()
    quantized = quantize(network, 0.1, 0.0)
    zeros = zeros_of_filters(network, TILES, 0.5, quantized.quantizer)
    rounded = with_zeros(quantized, network, zeros)
    better = fitted(rounded, network, zeros, images)
    y = forward(network, others)
    errors = [np.square(forward(some.network, others) - y).mean() for some in (rounded, better)]
    assert errors[1] < 0.1 * errors[0]
    regularizer = JointRegularizer(network.graph, {"default": 0} | TILES)
    W = regularizer.pruned_winograd(network.arrays, 1e-6)
    for layer, after in regularizer.pruned_winograd(better.network.arrays, 1e-6).items():
        assert (W[layer] == 0).mean() > 0.4
        assert not after[W[layer] == 0].any()
    for name, n in better.indices.items():
        assert not n[network.arrays[name] == 0].any()
        np.testing.assert_array_equal(better.network.arrays[name], better.quantizer.decode(name, n))


def test_the_matrices_held_at_a_time_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    network = chain()
    images, _ = smooth_images()
    quantized = quantize(network, 0.1, 0.0)
    zeros = zeros_of_filters(network, TILES, 0.5, quantized.quantizer)
    at_once = fitted(quantized, network, zeros, images)
    monkeypatch.setattr(whole_weights, "MATRICES", 1)
    one_by_one = fitted(quantized, network, zeros, images)
    for name, n in at_once.indices.items():
        np.testing.assert_array_equal(one_by_one.indices[name], n)


@pytest.mark.parametrize("price", [0.0, 0.1])
def test_cores_do_not_matter(price: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor how many rows of a matrix are gathered together; a price counts on from block to block."""
    network = chain()
    images, _ = smooth_images()
    quantized = quantize(network, 0.1, 0.0)
    zeros = zeros_of_filters(network, TILES, 0.5, quantized.quantizer)
    monkeypatch.setattr(whole_weights, "CHANNELS", 3)
    found = []
    for cores, rows in ((1, whole_weights.ROWS), (1, 5), (2, whole_weights.ROWS)):
        monkeypatch.setattr("accelsim.threads.cores", lambda cores=cores: cores)
        monkeypatch.setattr(whole_weights, "ROWS", rows)
        found.append(fitted(quantized, network, zeros, images, price).indices)
    for other in found[1:]:
        for name, n in found[0].items():
            np.testing.assert_array_equal(other[name], n)


def test_fitting_goes_without_dither() -> None:
    with pytest.raises(ValueError, match="fit: expected neither dither nor tune"):
        CompressionRecipe(fit=8, dither=1)


def test_the_file_prunes_no_entry_of_a_5_x_5_filter_that_is_not_zero(tmp_path, bz2_coder) -> None:
    """The least W of whole weights in F(2, 5) is 1/576 of a cell."""
    graph = named_graph("ct-srcnn9")
    arrays = initial_arrays(graph, 0)
    rng = np.random.default_rng(0)
    for name, w in arrays.items():
        if name.endswith("weight"):
            w *= rng.random(w.shape) < 0.1
    np.savez(tmp_path / "w.npz", **arrays)
    recipe = CompressionRecipe(network="ct-srcnn9", relative_cell=0.3, spatial=0.9, winograd=0.2, hold=True)
    model = compress_checkpoint(tmp_path / "w.npz", tmp_path / "x.dual", recipe)
    regularizer = JointRegularizer(graph, {"default": 0} | dict(model.winograd_m))
    every = regularizer.pruned_winograd(dict(model.network.arrays), 1e-6)["conv2"]
    np.testing.assert_array_equal(winograd_model(model)["conv2"] != 0, every != 0)
