"""What a zero costs, against brute force; and how many there are."""

import numpy as np
import pytest

from accelsim.sparsity.moving import Zeros, cheapest, counted, fisher_of_filters, smallest, winograd_cost
from accelsim.transforms.winograd import matrices


@pytest.mark.parametrize("m", [2, 4])
def test_an_entry_of_the_winograd_domain_costs_the_least_change_that_makes_it_zero(m: int) -> None:
    """The least-norm solution of g d = -g w over the weights that are left, by NumPy's SVD."""
    rng = np.random.default_rng(m)
    G = matrices(m, 3, np.dtype(np.float64))[1]
    kron = np.kron(G, G)
    w = rng.normal(size=(2, 3, 3, 3))
    zero = rng.random(w.shape) < 0.5
    zero[0, 0] = True
    found = winograd_cost(w, zero, kron)
    for k, c in np.ndindex(2, 3):
        left = ~zero[k, c].ravel()
        for j, row in enumerate(kron[:, left]):
            change = np.linalg.lstsq(row[None], -row[None] @ w[k, c].ravel()[left], rcond=None)[0] if left.any() else 0
            assert found[k, c, j] == pytest.approx(np.sum(change**2), rel=1e-9, abs=1e-12)


def test_powers_of_inputs_and_outputs_are_told_from_second_moments() -> None:
    """Where the second moment of each weight's gradient is a product of the two, it is found again."""
    rng = np.random.default_rng(0)
    outputs, inputs = rng.random(5) + 0.1, rng.random(7) + 0.1
    squares = np.broadcast_to((outputs[:, None] * inputs)[..., None, None], (5, 7, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(fisher_of_filters(squares), outputs[:, None] * inputs, rtol=1e-6)
    np.testing.assert_array_equal(fisher_of_filters(np.zeros((5, 7), np.float32)), np.ones((5, 7)))


def test_as_many_are_chosen_as_asked_for_and_none_that_costs_more() -> None:
    cost = np.array([[3.0, 1.0, 2.0], [1.0, 0.0, 5.0]])
    for count in range(7):
        chosen = smallest(cost, count)
        assert chosen.sum() == count
        assert not chosen.any() or chosen.all() or cost[chosen].max() <= cost[~chosen].min()


def test_zeros_are_counted_that_hold_whatever_the_weights_become() -> None:
    """Weights that happen to be zero are none; three taps of a row, zero at its ends, in F(2, 3) by hand.

    Of W = G w G^T the rows of G w that read none of the filter's one row of weights are zero: for w in row 1 (of 0 to
    2) the first and the last of four, eight entries.
    """
    G = matrices(2, 3, np.dtype(np.float64))[1]
    kron = np.kron(G, G)
    none = Zeros(np.zeros((1, 1, 3, 3), np.bool_), np.zeros((1, 1, 16), np.bool_))
    assert counted(none, kron) == (0, 0)
    row = np.ones((1, 1, 3, 3), np.bool_)
    row[0, 0, 1] = False
    assert counted(Zeros(row, np.zeros((1, 1, 16), np.bool_)), kron) == (6, 8)
    assert counted(Zeros(np.ones((1, 1, 3, 3), np.bool_), None), None) == (9, 0)
    w = np.zeros((4, 5, 3, 3), np.float32)
    zeros = cheapest(w, np.ones((4, 5)), (90, 160), kron)
    found = counted(zeros, kron)
    assert found[0] >= 90
    assert found[1] >= 160
