"""Optimisers against their published update rules written in float64, schedules against their defining points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.training.optimizers import Adam, Sgd, make_optimizer
from accelsim.training.recipe import OptimizerSettings
from accelsim.training.schedules import growing, learning_rate
from tests.laws import law

FEW = law(50)


def gradients(steps: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((steps, 6)).astype(np.float32)


def test_adam_is_algorithm_1_of_kingma_and_ba() -> None:
    w = np.ones(6, np.float32)
    optimizer = Adam(6, weight_decay=0.01)
    x, m, v = np.ones(6), np.zeros(6), np.zeros(6)
    for t, g32 in enumerate(gradients(20), start=1):
        optimizer.step(w, g32.copy(), 0.1)
        g = g32 + 0.01 * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(w, x, rtol=1e-4, atol=1e-5)


def test_sgd_is_nesterovs_momentum() -> None:
    w = np.ones(6, np.float32)
    optimizer = Sgd(6, weight_decay=0.01, momentum=0.8)
    x, v = np.ones(6), np.zeros(6)
    for g32 in gradients(20):
        optimizer.step(w, g32.copy(), 0.05)
        g = g32 + 0.01 * x
        v = 0.8 * v + g
        x = x - 0.05 * (g + 0.8 * v)
        np.testing.assert_allclose(w, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_quadratic_bowl_is_descended(kind: str) -> None:
    w = np.full(3, 2.0, np.float32)
    optimizer = make_optimizer(kind, 3, 0.0, 0.9)  # type: ignore[arg-type]
    for _ in range(500):
        optimizer.step(w, w.copy(), 0.02)
    assert float(abs(w).max()) < 0.02


def rate_at(progress: float, **settings: object) -> float:
    return learning_rate(progress, OptimizerSettings.model_validate(settings))


def test_schedules_pass_through_their_points() -> None:
    assert rate_at(0.3, rate=2.0, schedule="constant") == 2.0
    assert rate_at(0.05, rate=2.0, schedule="constant", warmup=0.1) == pytest.approx(1.0)
    assert rate_at(0.5, rate=2.0, schedule="cosine", final=0.1) == pytest.approx(1.1)
    assert rate_at(1.0, rate=2.0, schedule="cosine", final=0.1) == pytest.approx(0.2)
    steps = [rate_at(p, rate=1.0, schedule="step", milestones=(0.5, 0.75), gamma=0.1) for p in (0.49, 0.5, 0.74, 0.75)]
    assert steps == pytest.approx([1, 0.1, 0.1, 0.01])
    assert rate_at(0.0, rate=1.0, schedule="one_cycle", warmup=0.3) == pytest.approx(1 / 25)
    assert rate_at(0.3, rate=1.0, schedule="one_cycle", warmup=0.3) == pytest.approx(1.0)
    assert rate_at(1.0, rate=1.0, schedule="one_cycle", warmup=0.3) == pytest.approx(0.0)


@FEW
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
def test_sparsity_grows_without_a_step_back(a: float, b: float, start: float, until: float) -> None:
    low, high = sorted((a, b))
    assert growing(0.0, start, 1.0, until) == pytest.approx(start)
    assert growing(low, start, 1.0, until) <= growing(high, start, 1.0, until) + 1e-12
    assert growing(until, start, 1.0, until) == 1.0
