"""Exact zeros of both domains: the projection is the nearest point, whole numbers have them, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import null_space

from accelsim.sparsity.whole_filters import whole_with_zeros
from accelsim.sparsity.zero_patterns import zero_pattern
from accelsim.transforms.winograd import matrices


def kron_of(m: int) -> np.ndarray:
    G = matrices(m, 3, np.dtype(np.float32))[1]
    return np.kron(G, G)


def sparse_filters(seed: int, m: int, spatial: float, winograd: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(w (6, 5, 3, 3), where it is zero, where W is small)."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((6, 5, 3, 3)).astype(np.float32)
    w[rng.random(w.shape) < spatial] = 0
    W = np.abs(w.reshape(-1, 9) @ kron_of(m).T).reshape(6, 5, m + 2, m + 2)
    return w, w == 0, np.quantile(W, winograd) >= W


@given(seed=st.integers(0, 10_000), m=st.sampled_from([2, 4]), spatial=st.floats(0, 0.9), winograd=st.floats(0, 0.9))
def test_the_projection_is_the_nearest_filter_with_the_zeros(
    seed: int, m: int, spatial: float, winograd: float
) -> None:
    w, zero, small = sparse_filters(seed, m, spatial, winograd)
    kron = kron_of(m)
    moved = w.copy()
    zero_pattern(zero, small, kron).project(moved)
    for f, p, zero_w, zero_W in zip(
        w.reshape(-1, 9), moved.reshape(-1, 9), zero.reshape(-1, 9), small.reshape(-1, len(kron)), strict=True
    ):
        conditions = np.concatenate([kron[zero_W], np.eye(9)[zero_w]]).astype(np.float64)
        free = null_space(conditions, rcond=1e-5) if len(conditions) else np.eye(9)
        np.testing.assert_allclose(p, free @ (free.T @ f), atol=1e-5)
    assert (moved[zero] == 0).all()
    again = moved.copy()
    zero_pattern(zero, small, kron).project(again)
    np.testing.assert_allclose(again, moved, atol=1e-5)


@given(seed=st.integers(0, 10_000), spatial=st.floats(0, 0.9), winograd=st.floats(0, 0.9), cell=st.floats(0.01, 2))
def test_whole_numbers_have_the_zeros_exactly_and_lie_near(
    seed: int, spatial: float, winograd: float, cell: float
) -> None:
    w, zero, small = sparse_filters(seed, 2, spatial, winograd)
    kron = kron_of(2)
    zero_pattern(zero, small, kron).project(w)
    n = whole_with_zeros(w / np.float32(cell), zero, small, kron)
    assert n.dtype == np.int32
    assert (n[zero] == 0).all()
    W = (n.reshape(-1, 9) @ (4 * kron.T).astype(np.int64)).reshape(small.shape)
    assert not W[small].any()
    error = np.abs(n - w / np.float32(cell)).reshape(-1, 9)
    assert (error**2).sum(axis=1).max() <= 9.0  # no further than one step along each of nine directions
    assert (error**2).mean() <= 0.25


def test_without_zeros_zero_W_weights_are_rounded_one_by_one() -> None:
    w, zero, _ = sparse_filters(3, 2, 0.5, 0.0)
    n = whole_with_zeros(7 * w, zero, np.zeros((6, 5, 4, 4), np.bool_), kron_of(2))
    np.testing.assert_array_equal(n, np.rint(7 * w))


@pytest.mark.parametrize("m", [2, 3, 4, 6])
def test_whole_filters_with_zeros_come_back(m: int) -> None:
    rng = np.random.default_rng(5)
    w = 120 * rng.integers(-1, 2, (40, 5, 3, 3)) * (rng.random((40, 5, 3, 3)) < 0.5)
    kron = kron_of(m)
    small = np.abs(w.reshape(-1, 9) @ kron.T.astype(np.float64)).reshape(40, 5, m + 2, m + 2) < 1e-4
    cancelling = small.reshape(-1, len(kron)).sum() > (np.abs(w.reshape(-1, 9)) @ np.abs(kron.T) == 0).sum()
    assert cancelling
    np.testing.assert_array_equal(whole_with_zeros(w.astype(np.float32), w == 0, small, kron), w)
