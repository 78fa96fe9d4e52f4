"""Shares by price: budgets are kept, larger ones never lose more, and nothing that costs as much is better."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.sparsity.budget import Options, choose
from tests.laws import law

SHAPES = st.tuples(st.integers(0, 100_000), st.integers(1, 5), st.integers(1, 6))


def some_layers(seed: int, layers: int, options: int) -> list[Options]:
    """In whole bits and multiplies, so that dynamic programming can count them."""
    rng = np.random.default_rng(seed)
    return [
        Options(
            rng.exponential(size=options),
            rng.integers(1, 9, options).astype(float),
            rng.integers(1, 9, options).astype(float),
        )
        for _ in range(layers)
    ]


def used(layers: list[Options], taken: list[int]) -> np.ndarray:
    """(loss, bits, multiplies)"""
    return np.array(
        [[layer.loss[i], layer.bits[i], layer.multiplies[i]] for layer, i in zip(layers, taken, strict=True)]
    ).sum(axis=0)


def least_loss(layers: list[Options], bits: int, multiplies: int) -> float:
    """By dynamic programming over what is spent: exact."""
    best = np.full((bits + 1, multiplies + 1), np.inf)
    best[0, 0] = 0
    for layer in layers:
        after = np.full_like(best, np.inf)
        for loss, b, m in zip(layer.loss, layer.bits.astype(int), layer.multiplies.astype(int), strict=True):
            if b <= bits and m <= multiplies:
                region = after[b:, m:]
                np.minimum(region, best[: bits + 1 - b, : multiplies + 1 - m] + loss, out=region)
        best = after
    return float(best.min())


@given(shape=SHAPES, budgets=st.tuples(st.floats(1, 50), st.floats(1, 50)))
@law(40)
def test_both_budgets_are_kept_and_what_is_spent_could_not_be_spent_better(
    shape: tuple[int, int, int], budgets: tuple[float, float]
) -> None:
    """Everett 1963: whatever prices choose is the least loss of all that costs no more in either."""
    layers = some_layers(*shape)
    try:
        taken = choose(layers, *budgets)
    except ValueError:
        cheapest = [sum(float(getattr(layer, key).min()) for layer in layers) for key in ("bits", "multiplies")]
        assert cheapest[0] > budgets[0] or cheapest[1] > budgets[1] or min(budgets) < 9 * len(layers)
        return
    loss, bits, multiplies = used(layers, taken)
    assert bits <= budgets[0]
    assert multiplies <= budgets[1]
    assert loss == pytest.approx(least_loss(layers, int(bits), int(multiplies)))
    assert loss >= least_loss(layers, int(budgets[0]), int(budgets[1])) - 1e-9


@given(shape=SHAPES, budget=st.floats(1, 45), more=st.floats(0, 9))
@law(40)
def test_a_larger_budget_never_loses_more(shape: tuple[int, int, int], budget: float, more: float) -> None:
    layers = some_layers(*shape)
    try:
        before = used(layers, choose(layers, budget, budget))[0]
    except ValueError:
        return
    assert used(layers, choose(layers, budget + more, budget))[0] <= before
    assert used(layers, choose(layers, budget, budget + more))[0] <= before


def test_convex_layers_come_within_one_step_of_the_best() -> None:
    """Where each halving of bits costs more than the one before, prices reach every corner of what can be had."""
    rng = np.random.default_rng(0)
    share = np.arange(1, 9)
    layers = [Options(10 * rng.random() / share, 1.0 * share, 1.0 * share) for _ in range(6)]
    taken = choose(layers, 24, 24)
    best = least_loss(layers, 24, 24)
    assert best - 1e-9 <= used(layers, taken)[0] <= 1.15 * best


def test_budgets_out_of_reach_say_how_far_one_gets() -> None:
    layers = [Options(np.array([1.0, 2]), np.array([9.0, 5]), np.array([7.0, 4]))] * 2
    assert choose(layers, 10, 8) == [1, 1]
    with pytest.raises(ValueError, match="at most 9 bits of weights and 100 multiplies; the least are 10 and 8"):
        choose(layers, 9, 100)
