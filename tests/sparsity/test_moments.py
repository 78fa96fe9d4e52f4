"""Moments of a layer's inputs: float32 holds them also where the inputs hardly change."""

import numpy as np
import pytest

from accelsim.errors import NumericalError
from accelsim.network.graph import Node
from accelsim.network.layers import Conv, Linear
from accelsim.sparsity.moments import Moments, Sample, moments_of
from accelsim.sparsity.whole_weights import whole_weights


def inputs(mean: float, chunks: int = 3) -> list[np.ndarray]:
    """Chunks (rows, 12) whose columns are alike, of variance 1 and some mean."""
    rng = np.random.default_rng(0)
    alike = rng.standard_normal((chunks, 2000, 1)) + 0.1 * rng.standard_normal((chunks, 2000, 12))
    return list((mean + alike).astype(np.float32))


@pytest.mark.parametrize("mean", [0.0, 1.0, 3.0, 10.0, 100.0, 1000.0])
def test_moments_are_those_of_float64_whatever_the_mean(mean):
    X = inputs(mean)
    weights = np.random.default_rng(1).standard_normal((12, 5)).astype(np.float32)
    Y = [x @ weights for x in X]
    found = moments_of(
        Node(name="fc", layer=Linear(in_features=12, out_features=5), inputs=("input",)), X, Y, Sample(1)
    )
    exact = np.concatenate(X).astype(np.float64)
    given = np.concatenate(Y).astype(np.float64)
    assert np.allclose(found.x, exact.mean(axis=0), rtol=1e-5, atol=1e-5)
    assert np.allclose(found.y, given.mean(axis=0), rtol=1e-5, atol=1e-4)
    exact -= exact.mean(axis=0)
    given -= given.mean(axis=0)
    # all eigenvalues but one are about 0.01: what float32 may be off by is far less
    assert np.abs(found.H - exact.T @ exact / len(exact)).max() < 2e-4
    assert np.abs(found.B - exact.T @ given / len(exact)).max() < 1e-3
    assert found.energy == pytest.approx(float((given**2).sum() / len(given)), rel=1e-3)


def test_a_convolution_of_bright_pictures_has_positive_definite_moments():
    """Neighbouring pixels of a bright and smooth picture: their differences are what its moments are about."""
    rng = np.random.default_rng(0)
    rise = np.linspace(0, 1, 24)
    chunks = [(50 + rise[:, None, None] + 0.02 * rng.standard_normal((4, 24, 24, 2))).astype(np.float32) for _ in "abc"]
    outputs = [np.zeros((4, 20, 20, 4), np.float32) for _ in chunks]
    conv = Conv(in_channels=2, out_channels=4, kernel=(5, 5), bias=True)
    moments = moments_of(Node(name="conv", layer=conv, inputs=("input",)), chunks, outputs, Sample(200))
    assert np.linalg.eigvalsh(moments.H.astype(np.float64)).min() > 1e-4


def test_moments_that_no_weights_can_be_found_from_are_named_in_a_line():
    wrong = -np.eye(4, dtype=np.float32)  # no inputs have negative squares
    zeros = np.zeros(4, np.float32)
    moments = Moments(wrong, np.zeros((4, 1), np.float32), 0.0, zeros, zeros[:1], 100)
    with pytest.raises(NumericalError, match="not positive definite; expected inputs that differ more"):
        whole_weights(moments, np.ones((1, 1, 4), np.float32), 0.1, np.eye(4)[None, None])
