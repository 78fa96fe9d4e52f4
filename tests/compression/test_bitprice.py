"""Rounding with a price on bits: cheaper numbers, zeros of both domains kept, no luck involved."""

import numpy as np
import pytest

from accelsim.compression.quantize import quantize
from accelsim.compression.recipe import CompressionRecipe
from accelsim.compression.rounding import fitted, with_zeros, zeros_of_filters
from accelsim.dual.coding.context import encode_context
from accelsim.network.forward import forward
from accelsim.sparsity.bitprice import RunningCounts
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.lattice import nearest_point
from tests.compression.test_rounding import TILES, chain, smooth_images


def entropy(z: np.ndarray) -> float:
    """Bits a number, each for itself."""
    share = np.unique(z, return_counts=True)[1] / z.size
    return float(-np.sum(share * np.log2(share)))


def weights_and_moments(rows: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Many channels of weights, in steps of about one, and one matrix of moments of inputs that are much alike."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4 * d, d)) + rng.standard_normal((4 * d, 1))
    return rng.laplace(size=(rows, d)), X.T @ X / len(X)


def rounded(w: np.ndarray, H: np.ndarray, cell: float, price: float) -> tuple[np.ndarray, float]:
    """(whole numbers, mean squared error of the outputs)"""
    A = np.tile(cell**2 * H, (len(w), 1, 1))
    z = nearest_point(A, cell * w @ H, price)
    rest = cell * z - w
    return z, float(np.einsum("ki,ij,kj->", rest, H, rest)) / w.size


def test_a_price_buys_bits_at_less_error_than_a_coarser_cell() -> None:
    w, H = weights_and_moments(400, 24)
    plain, _ = rounded(w, H, 1.6, 0.0)
    priced, error = rounded(w, H, 1.6, 0.1)
    assert entropy(priced) < 0.96 * entropy(plain)
    cells = np.arange(1.65, 2.6, 0.05)
    coarser = {cell: rounded(w, H, cell, 0.0) for cell in cells}
    as_cheap = [e for z, e in coarser.values() if entropy(z) <= entropy(priced)]
    assert error < min(as_cheap)


def test_a_higher_price_never_buys_more_bits() -> None:
    w, H = weights_and_moments(200, 16)
    bits = [entropy(rounded(w, H, 0.5, price)[0]) for price in (0.0, 0.05, 0.1, 0.2, 0.4)]
    assert bits == sorted(bits, reverse=True)
    assert not rounded(w, H, 0.5, 1e6)[0].any()


def test_counts_say_what_a_coder_that_adapts_would_spend() -> None:
    """Laplace's rule, by hand: 8 numbers guessed at, of which a half are zeros; then 8 zeros more in this context."""
    counts, context = RunningCounts(), np.zeros(8, np.int64)
    one, zero = np.ones(1), np.zeros(1)
    guessed = 8 * (1 - 0.5**16)
    assert counts.bits(zero, context[:1])[0] == pytest.approx(-np.log2(4 / guessed))
    assert counts.bits(-one, context[:1])[0] == pytest.approx(1 - np.log2(2 / guessed))
    counts.add(np.zeros(8), context)
    assert counts.bits(zero, context[:1])[0] == pytest.approx(-np.log2(12 / (guessed + 8)))
    assert counts.bits(zero, context[:1] + 1)[0] == pytest.approx(-np.log2(4 / guessed))


def test_the_zeros_of_both_domains_stay_and_the_file_gets_smaller() -> None:
    network = chain()
    images, others = smooth_images()
    quantized = quantize(network, 0.1, 0.0)
    zeros = zeros_of_filters(network, TILES, 0.5, quantized.quantizer)
    held = with_zeros(quantized, network, zeros)
    plain, priced, again = (fitted(held, network, zeros, images, price) for price in (0.0, 0.1, 0.1))
    regularizer = JointRegularizer(network.graph, {"default": 0} | TILES)
    W = regularizer.pruned_winograd(network.arrays, 1e-6)
    for layer, after in regularizer.pruned_winograd(dict(priced.network.arrays), 1e-6).items():
        assert not after[W[layer] == 0].any()
    for name, n in priced.indices.items():
        assert not n[network.arrays[name] == 0].any()
        np.testing.assert_array_equal(n, again.indices[name])
    sizes = [len(encode_context(list(some.indices.values()))[0]) for some in (plain, priced)]
    assert sizes[1] < sizes[0]
    y = forward(network, others)
    errors = [np.square(forward(some.network, others) - y).mean() for some in (held, priced)]
    assert errors[1] < errors[0]


def test_a_price_needs_the_images_to_round_by() -> None:
    with pytest.raises(ValueError, match="bit_price: expected the key fit"):
        CompressionRecipe(bit_price=0.1)
