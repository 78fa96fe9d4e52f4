"""Losses against SciPy's softmax and finite differences."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import log_softmax as scipy_log_softmax
from scipy.special import softmax

from accelsim.training.losses import cross_entropy, distillation, mean_squared_error, relative_squared_error

rng = np.random.default_rng(0)
LOGITS = (3 * rng.standard_normal((5, 7))).astype(np.float32)
OTHER = (3 * rng.standard_normal((5, 7))).astype(np.float32)
LABELS = rng.integers(0, 7, 5)


def slope(loss: Callable[[np.ndarray], float], at: np.ndarray, direction: np.ndarray) -> float:
    step = 1e-2
    return (loss(at + np.float32(step) * direction) - loss(at - np.float32(step) * direction)) / (2 * step)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing: float) -> None:
    target = np.full((5, 7), smoothing / 7)
    target[np.arange(5), LABELS] += 1 - smoothing
    loss, gradient = cross_entropy(LOGITS, LABELS, smoothing)
    assert loss == pytest.approx(-(target * scipy_log_softmax(LOGITS, axis=1)).sum() / 5, rel=1e-5)
    np.testing.assert_allclose(gradient, (softmax(LOGITS, axis=1) - target) / 5, atol=1e-6)
    assert gradient.dtype == np.float32


def test_cross_entropy_stays_finite_for_large_outputs() -> None:
    loss, gradient = cross_entropy(np.array([[3e38, -3e38]], np.float32) / 2, np.array([0]))
    assert loss == 0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation(temperature: float) -> None:
    q, p = softmax(OTHER / temperature, axis=1), softmax(LOGITS / temperature, axis=1)
    loss, gradient = distillation(LOGITS, OTHER, temperature)
    assert loss == pytest.approx(temperature**2 * (q * np.log(q / p)).sum() / 5, rel=1e-4)
    direction = np.random.default_rng(1).standard_normal(LOGITS.shape).astype(np.float32)
    expected = slope(lambda x: distillation(x, OTHER, temperature)[0], LOGITS, direction)
    assert float(np.vdot(gradient, direction)) == pytest.approx(expected, rel=1e-2, abs=1e-3)
    assert gradient.dtype == np.float32


def test_distillation_from_itself_is_zero() -> None:
    loss, gradient = distillation(LOGITS, LOGITS, 2.0)
    assert loss == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_mean_squared_error() -> None:
    loss, gradient = mean_squared_error(LOGITS, OTHER)
    assert loss == pytest.approx(((LOGITS - OTHER).astype(np.float64) ** 2).mean(), rel=1e-6)
    direction = np.ones_like(LOGITS)
    assert float(gradient.sum()) == pytest.approx(
        slope(lambda x: mean_squared_error(x, OTHER)[0], LOGITS, direction), rel=1e-3, abs=1e-4
    )


def test_relative_squared_error() -> None:
    loss, gradient = relative_squared_error(LOGITS, OTHER)
    assert loss == pytest.approx(np.linalg.norm(LOGITS - OTHER) ** 2 / np.linalg.norm(OTHER) ** 2, rel=1e-5)
    direction = OTHER[::-1].copy()
    assert (gradient * direction).sum() == pytest.approx(
        slope(lambda y: relative_squared_error(y, OTHER)[0], LOGITS, direction), rel=1e-3
    )
    assert relative_squared_error(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))[0] == 0
