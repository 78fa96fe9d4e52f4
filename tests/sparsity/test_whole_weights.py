"""Whole weights on a lattice: how its basis is written does not decide whether it is solved."""

import numpy as np
import pytest

from accelsim.sparsity.moments import Moments
from accelsim.sparsity.whole_weights import whole_weights

# All whole numbers in pairs, by long vectors: the determinant of each is one.
LONG = [np.eye(2), np.array([[1, 60], [0, 1]]), np.array([[60, 59], [1, 1]])]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("basis", LONG)
def test_long_basis_vectors_are_solved_where_float32_loses_the_smallest_pivot(basis, seed):
    """Inputs nearly alike: what float32 leaves of the smallest pivot of basis and moments is chance, or negative."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((4000, 1)) * [1.0, 1.0] + 0.002 * rng.standard_normal((4000, 2))
    X = X.astype(np.float32)
    w = np.array([[[0.3]], [[-0.7]]], np.float32).reshape(1, 1, 2)
    H = X.T @ X / np.float32(len(X))
    y = X @ w.reshape(2, 1)
    moments = Moments(H, X.T @ y / np.float32(len(X)), float((y**2).mean()), X.mean(axis=0), y.mean(axis=0), len(X))
    found = whole_weights(moments, w, 0.1, basis[None, None].astype(np.float64))
    assert found.ravel().tolist() == [3, -7]
