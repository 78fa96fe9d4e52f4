"""Quantization: errors within half a cell, the dither's statistics, the codebook's gradient, dyadic numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.dual.quantizer import (
    Quantizer,
    codebook_slope,
    dyadic,
    plain_codebook,
    rounded_codebook,
)
from tests.laws import law

RNG = np.random.default_rng(0)


def quantizer(D, seed=None, L=0):
    return Quantizer({"w": D}, plain_codebook(L) if L else np.zeros(0), seed)


@law(50)
@given(D=st.floats(1e-3, 1.0), seed=st.one_of(st.none(), st.integers(0, 2**62)), size=st.integers(0, 200))
def test_errors_are_within_half_a_cell(D, seed, size):
    w = np.random.default_rng(size).normal(0, 0.5, size).astype(np.float32)
    q = quantizer(D, seed)
    n = q.indices("w", w)
    decoded = q.decode("w", n)
    assert (decoded[n == 0] == 0).all()
    assert np.abs(decoded - w)[n != 0].max(initial=0) <= D / 2 * (1 + 1e-5) + 1e-6
    assert np.abs(w)[n == 0].max(initial=0) <= (D / 2 if seed is None else D) * (1 + 1e-5)


def test_pruned_weights_stay_zero():
    w = RNG.normal(0, 1, (8, 4, 3, 3)).astype(np.float32)
    for seed in (None, 7):
        q = quantizer(0.05, seed)
        n = q.indices("w", w, threshold=0.8)
        assert (n[np.abs(w) <= 0.8] == 0).all()
        assert (q.decode("w", n)[np.abs(w) <= 0.8] == 0).all()


def test_dithered_errors_are_uniform_and_independent_of_the_weights():
    D = 0.4
    w = RNG.normal(3, 0.05, 200_000).astype(np.float32)  # nearly constant: plain quantization errs alike everywhere
    q = quantizer(D, seed=11)
    error = q.decode("w", q.indices("w", w)) - w
    assert error.var() == pytest.approx(D * D / 12, rel=0.02)
    assert abs(error.mean()) < 0.002
    assert abs(np.corrcoef(error, w)[0, 1]) < 0.01


def test_the_dither_is_the_same_on_every_machine():
    """From the first raw output of NumPy's PCG64 for the seed sequence (5, 0); NumPy keeps these streams."""
    raw = 14849682912918955432
    assert quantizer(1.0, seed=5).dither("w", 3)[0] == np.float32(((raw >> 40) + 0.5) / 2**24 - 0.5)


def test_the_codebook_slope_is_the_mean_derivative():
    """C = sum of w^2 / 2 has dC/dw = w; by finite differences dC/dc_n = count_n mean(dC/dw) D."""
    n = RNG.integers(-3, 4, (5, 4, 3, 3)).astype(np.int32)
    q = Quantizer({"w": 0.2}, plain_codebook(3) * 1.1, None)
    slope = codebook_slope(q, {"w": n}, {"w": q.decode("w", n)})
    cost = [
        0.5
        * np.square(
            Quantizer({"w": 0.2}, q.codebook + h * (np.arange(7) == i), None).decode("w", n).astype(np.float64)
        ).sum()
        for i in range(7)
        for h in (1e-3, -1e-3)
    ]
    for i in range(7):
        count = (n == i - 3).sum()
        expected = (cost[2 * i] - cost[2 * i + 1]) / 2e-3 / count if i != 3 else 0
        assert slope[i] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_codebook_moves_what_indices_stand_for():
    codebook = rounded_codebook(np.array([-2.25, -1.1, 0, 0.9, 2.5]))
    q = Quantizer({"w": 0.5}, codebook, None)
    np.testing.assert_allclose(
        q.decode("w", np.array([-2, -1, 0, 1, 2], np.int32)), 0.5 * codebook, rtol=1e-6, atol=1e-9
    )
    with pytest.raises(ValueError, match="beyond the codebook"):
        q.decode("w", np.array([3], np.int32))


def test_a_cell_too_small_for_its_weights_is_refused():
    with pytest.raises(ValueError, match="too small"):
        quantizer(1e-6).indices("w", np.array([1.0], np.float32))


@law(50)
@given(bits=st.integers(2, 24), scale=st.floats(1e-6, 1e6), size=st.integers(0, 30))
def test_dyadic_numbers_are_within_half_a_step(bits, scale, size):
    values = (np.random.default_rng(size).normal(0, 1, size) * scale).astype(np.float32)
    q, e = dyadic(values, bits)
    assert np.abs(q).max(initial=0) < 1 << (bits - 1)
    assert np.abs(q * 2.0**e - values).max(initial=0) <= 2.0 ** (e - 1)
    if size:
        assert 2.0**e <= 4 * np.abs(values).max() / ((1 << bits) - 2)  # no coarser than the bits allow
