"""Deployment: Winograd-domain filters equal the spatial convolution until they are pruned, and obey their overrides."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy.signal import correlate2d

from accelsim.compression.fold import fold_batch_norm
from accelsim.dual.deploy import (
    density,
    percentile,
    sparsity_threshold,
    spatial_densities,
    winograd_convolution,
    winograd_densities,
    winograd_filters,
    winograd_model,
)
from accelsim.dual.file import decode_dual, encode_dual
from accelsim.network import Network, forward
from accelsim.transforms.winograd import cook_toom
from tests.dual.small import small_compressed, small_images, small_network


@pytest.fixture(scope="module")
def model():
    return decode_dual(encode_dual(small_compressed()), "small.dual")


def test_filters_are_the_exact_transform_rounded_once():
    w = np.random.default_rng(0).integers(-8, 9, (3, 2, 3, 3)).astype(np.float32)
    for m in (2, 3, 4):
        G = cook_toom(m, 3).G
        exact = [
            [
                sum(G[i][a] * Fraction(int(w[k, c, a, b])) * G[j][b] for a in range(3) for b in range(3))
                for k in range(3)
                for c in range(2)
                for i in range(m + 2)
                for j in range(m + 2)
            ]
        ]
        expected = np.array([float(x) for x in exact[0]]).reshape(3, 2, m + 2, m + 2)
        np.testing.assert_allclose(winograd_filters(w, m, 0.0), expected, rtol=2e-7, atol=1e-12)


def test_unpruned_winograd_filters_convolve_like_scipy(model):
    node = model.network.graph.node("a")
    x = small_images(count=2)
    weight = model.network.arrays["a.weight"]
    expected = np.stack(
        [
            np.stack(
                [sum(correlate2d(x[n, :, :, c], weight[k, c], "full")[1:-1, 1:-1] for c in range(3)) for k in range(8)],
                axis=-1,
            )
            for n in range(2)
        ]
    )
    for m in (2, 4):
        y = winograd_convolution(model, m=m, threshold=0.0)(node, x, weight)
        np.testing.assert_allclose(y, expected, atol=1e-5)


def test_grouped_layers_and_the_whole_network_agree_with_the_spatial_domain(model):
    x = small_images(count=3)
    for m in (1, 2, 4):
        y = forward(model.network, x, convolution=winograd_convolution(model, m=m, threshold=0.0))
        np.testing.assert_allclose(y, forward(model.network, x), atol=1e-4)


def test_entries_at_the_threshold_are_pruned_and_others_kept():
    w = np.zeros((1, 1, 3, 3), np.float32)
    w[0, 0, 0, 0] = 1.0  # its F(2, 3) transform holds 1, 1/2 and 1/4
    W = winograd_filters(w, 2, 0.5)
    assert sorted(set(W.ravel())) == [0.0, 1.0]
    assert density(winograd_filters(w, 2, 0.0)) == 9 / 16


def test_the_winograd_set_is_the_eligible_layers(model):
    assert set(winograd_model(model)) == {"a", "b"}
    assert winograd_model(model)["b"].shape == (12, 4, 6, 6)  # F(2, 5), two groups
    assert set(spatial_densities(model)) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.7, 0.95, 1.0])
def test_a_target_sparsity_is_reached_by_one_threshold(model, sparsity):
    for m in (None, 4):
        filters = winograd_model(model, m=m, sparsity=sparsity)
        pruned, every = (
            np.concatenate([W.ravel() for W in some.values()])
            for some in (filters, winograd_model(model, m=m, threshold=0))
        )
        assert (pruned == 0).mean() >= sparsity
        kept, largest = every[pruned != 0], np.abs(every[pruned == 0]).max(initial=0)
        np.testing.assert_array_equal(pruned[pruned != 0], kept)
        assert np.abs(kept).min(initial=np.inf) > largest  # the smallest are pruned,
        assert (np.abs(every) < largest).mean() < sparsity or largest == 0  # and no more than it takes
        same = winograd_model(model, m=m, threshold=sparsity_threshold(model, sparsity, m))
        assert all((same[name] == W).all() for name, W in filters.items())


def test_a_higher_threshold_never_adds_filters(model):
    densities = [winograd_densities(model, threshold=t) for t in (0, 0.05, 0.1, 0.5)]
    for low, high in itertools.pairwise(densities):
        assert all(high[name] <= low[name] for name in low)
        assert sum(high.values()) < sum(low.values())


def test_bad_overrides_are_refused(model):
    with pytest.raises(ValueError, match="not both"):
        winograd_model(model, threshold=0.1, sparsity=0.5)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        winograd_model(model, sparsity=1.5)
    with pytest.raises(ValueError, match="0 or more"):
        winograd_model(model, threshold=float("nan"))
    with pytest.raises(ValueError, match="at least 1"):
        winograd_model(model, m=0)


def test_percentile_is_the_smallest_sufficient_magnitude():
    magnitudes = {"a": np.array([3.0, 1.0], np.float32), "b": np.array([2.0, 2.0, 5.0], np.float32)}
    assert [percentile(magnitudes, share) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)] == [0, 1, 2, 2, 3, 5]


def test_folded_batch_norm_is_the_same_function():
    network = small_network()
    x = small_images()
    np.testing.assert_allclose(forward(fold_batch_norm(network), x), forward(network, x), atol=1e-5)
    assert not any(node.layer.op == "batch_norm" for node in fold_batch_norm(network).graph.nodes)


def test_a_filter_of_zeros_takes_no_precision_from_the_others():
    network = small_network()
    arrays = dict(network.arrays)
    arrays["a.weight"], arrays["a_norm.running_var"] = arrays["a.weight"].copy(), arrays["a_norm.running_var"].copy()
    arrays["a.weight"][2], arrays["a_norm.running_var"][2] = 0, 0
    network, x = Network(network.graph, arrays), small_images()
    folded = fold_batch_norm(network)
    assert folded.arrays["a_norm.weight"][2] == 0
    assert np.abs(folded.arrays["a_norm.weight"]).max() < 2
    np.testing.assert_allclose(forward(folded, x), forward(network, x), atol=1e-5)
