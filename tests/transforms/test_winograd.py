"""Laws of the Winograd transforms: exact as rationals, equal to direct convolution, rounding within the bound."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from accelsim.transforms.winograd import (
    POINTS,
    amplification,
    convolve,
    convolve_transformed,
    cook_toom,
    error_bound,
    matrices,
    transform_filters,
    transform_inputs,
    transform_outputs,
)
from tests.laws import law

ALL = [(m, r) for m in range(1, 7) for r in range(2, 8)]


def direct(x, w, padding):
    """The correlation by scipy, float64.  x: (N, H, W, C), w: (K, C, R, S) -> (N, P, Q, K)."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    filters = w.astype(np.float64).transpose(0, 2, 3, 1)
    return np.stack(
        [[correlate(image, f, mode="valid", method="direct")[..., 0] for f in filters] for image in padded]
    ).transpose(0, 2, 3, 1)


@st.composite
def problems(draw, taps=(2, 3, 4, 5, 6, 7)):
    """An output tile size, a kernel, and the shape of a small convolution that has an output."""
    m, R, S = draw(st.integers(1, 6)), draw(st.sampled_from(taps)), draw(st.sampled_from(taps))
    pad = draw(st.integers(0, R)), draw(st.integers(0, S))
    H = draw(st.integers(max(1, R - 2 * pad[0]), 15))
    W = draw(st.integers(max(1, S - 2 * pad[1]), 15))
    N, C, K = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    return m, (N, H, W, C), (K, C, R, S), pad, draw(st.integers(0, 2**32 - 1))


@pytest.mark.parametrize(("m", "r"), [*ALL, *((m, 1) for m in range(1, 7))])
def test_the_bilinear_identity_holds_exactly(m, r):
    """y_k = sum_i g_i d_(k+i) for unit g and d: so, by linearity in both, for all of them."""
    t = cook_toom(m, r)
    for k, i, j in product(range(m), range(r), range(t.n)):
        value = sum(t.A_T[k][tap] * t.G[tap][i] * t.B_T[tap][j] for tap in range(t.n))
        assert value == (1 if j == k + i else 0)


@given(st.integers(1, 5), st.integers(2, 5), st.data())
def test_any_distinct_points_serve(m, r, data):
    points = tuple(
        data.draw(st.lists(st.fractions(-5, 5, max_denominator=5), min_size=m + r - 2, max_size=m + r - 2, unique=True))
    )
    t = cook_toom(m, r, points)
    for k, i, j in product(range(m), range(r), range(t.n)):
        assert sum(t.A_T[k][tap] * t.G[tap][i] * t.B_T[tap][j] for tap in range(t.n)) == (j == k + i)


def same_up_to_row_signs(ours, published):
    return all(
        list(row) == theirs or [-x for x in row] == theirs
        for row, theirs in zip(ours, [[Fraction(x) for x in row] for row in published], strict=True)
    )


def test_f23_is_that_of_lavin_and_gray():
    """Lavin & Gray, CVPR 2016, equation 7."""
    t = cook_toom(2, 3)
    assert same_up_to_row_signs(t.B_T, [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    assert same_up_to_row_signs(t.G, [["1", "0", "0"], ["1/2", "1/2", "1/2"], ["1/2", "-1/2", "1/2"], ["0", "0", "1"]])
    assert np.abs(np.array(t.A_T, float)).tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]


def test_f43_is_that_of_lavin_and_gray():
    """Lavin & Gray, CVPR 2016, equation 15."""
    t = cook_toom(4, 3)
    B_T = [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
    G = [
        ["1/4", "0", "0"],
        ["-1/6", "-1/6", "-1/6"],
        ["-1/6", "1/6", "-1/6"],
        ["1/24", "1/12", "1/6"],
        ["1/24", "-1/12", "1/6"],
        ["0", "0", "1"],
    ]
    A_T = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    assert same_up_to_row_signs(t.B_T, B_T)
    assert same_up_to_row_signs(t.G, G)
    assert [list(map(int, row)) for row in t.A_T] == A_T


def test_the_default_points_keep_inputs_and_outputs_free_of_matrix_rounding():
    for m, r in ALL:
        t = cook_toom(m, r)
        A_T, _, B_T = matrices(m, r, np.dtype(np.float32))
        for exact, rounded in ((t.A_T, A_T), (t.B_T, B_T)):
            assert all(
                Fraction(float(v)) == e
                for row, values in zip(exact, rounded, strict=True)
                for e, v in zip(row, values, strict=True)
            )


@law(150)
@given(problems(), st.sampled_from([np.float32, np.float64]))
def test_winograd_equals_direct_within_the_bound(problem, dtype):
    m, x_shape, w_shape, pad, seed = problem
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    y = convolve(x, w, m, pad)
    assert y.dtype == dtype
    # The reference's own rounding: its k is R S C, and its magnitudes are never above the transforms'.
    reference = w_shape[1] * w_shape[2] * w_shape[3] * 2**-53 * direct(np.abs(x), np.abs(w), pad)
    assert (np.abs(y - direct(x, w, pad)) <= error_bound(x, w, m, pad) + reference).all()


@pytest.mark.parametrize(("m", "r"), ALL)
def test_every_f_m_r_equals_direct_within_the_bound(m, r):
    rng = np.random.default_rng(m * 10 + r)
    x, w = rng.standard_normal((2, 17, 14, 6)).astype(np.float32), rng.standard_normal((4, 6, r, r)).astype(np.float32)
    error = np.abs(convolve(x, w, m, (r // 2, r - 1)) - direct(x, w, (r // 2, r - 1)))
    bound = error_bound(x, w, m, (r // 2, r - 1))
    assert (error <= bound).all()
    assert error.max() > 0  # the bound is not met by an exact result


@law(60)
@given(problems(taps=(3,)), st.sampled_from([np.float32, np.float64]))
def test_f23_is_exact_on_integers(problem, dtype):
    """|V| <= 4 64, |W| <= 9/4 64, 5 channels, 9 taps an output: below 2^24 quarters, so nothing is ever rounded."""
    _, x_shape, w_shape, pad, seed = problem
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-64, 65, x_shape), rng.integers(-64, 65, w_shape)
    assert (convolve(x.astype(dtype), w.astype(dtype), 2, pad) == direct(x, w, pad)).all()


def test_the_bound_of_constant_data_is_the_matrices_amplification():
    """Inside an image of ones every interior tile has the same bound, known in closed form from the rationals."""
    C, eps = 3, Fraction(2) ** -23
    for m, r in ALL:
        n = m + r - 1
        x, w = np.ones((1, 3 * m + r - 1, 3 * m + r - 1, C), np.float32), np.ones((2, C, r, r), np.float32)
        k = 2 * r + 4 * n + C + 7
        gamma = (k * eps / 2) / (1 - k * eps / 2)
        expected = float(gamma * C * amplification(m, r) ** 2)
        assert error_bound(x, w, m).max() == pytest.approx(expected, rel=1e-12)


def test_bound_and_measured_error_grow_with_the_tile():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 40, 40, 8)).astype(np.float32), rng.standard_normal((4, 8, 3, 3)).astype(np.float32)
    exact = direct(x, w, (0, 0))
    bounds = [error_bound(x, w, m).mean() for m in (2, 4, 6)]
    errors = [np.abs(convolve(x, w, m) - exact).mean() for m in (2, 4, 6)]
    assert bounds == sorted(bounds)
    assert errors == sorted(errors)
    assert amplification(2, 3) < amplification(4, 3) < amplification(6, 3)


def test_float32_stays_usable_for_every_f_m_r():
    """The points are chosen so that even the largest tile keeps about three decimal digits of the largest output."""
    for m, r in ALL:
        rng = np.random.default_rng(r)
        x, w = (
            rng.standard_normal((1, 24, 24, 16)).astype(np.float32),
            rng.standard_normal((4, 16, r, r)).astype(np.float32),
        )
        exact = direct(x, w, (0, 0))
        assert np.abs(convolve(x, w, m) - exact).max() < 2e-3 * np.abs(exact).max()


@pytest.mark.parametrize("n", [9, 10, 12])
def test_the_points_beat_the_smallest_fractions(n):
    """+-4 and +-1/4 amplify less than the next fractions a reader would take, +-3/2 and +-2/3."""
    obvious = (*POINTS[:7], *map(Fraction, ("3/2", "-3/2", "2/3", "-2/3")))
    r = 7
    assert amplification(n - r + 1, r) < amplification(n - r + 1, r, obvious)


@law(40)
@given(problems())
def test_the_three_transforms_compose_to_the_convolution(problem):
    m, x_shape, w_shape, pad, seed = problem
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    r, size = w_shape[2:], tuple(x_shape[1 + a] + 2 * pad[a] - w_shape[2 + a] + 1 for a in (0, 1))
    V, W = transform_inputs(x, m, r, pad), transform_filters(w, m)
    assert V.shape == (m + r[0] - 1, m + r[1] - 1, x_shape[0], -(-size[0] // m), -(-size[1] // m), x_shape[3])
    Y = np.einsum("ijnhwc,kcij->ijnhwk", V, W)
    y = convolve(x, w, m, pad)
    np.testing.assert_allclose(transform_outputs(Y, m, r, size), y, rtol=0, atol=2 * error_bound(x, w, m, pad).max())


def test_a_pruned_convolution_uses_exactly_the_taps_that_are_left():
    """Linear in the transformed filters: the large taps' result and the small taps' sum to the whole; none gives 0."""
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((2, 9, 11, 4)), rng.standard_normal((3, 4, 3, 3))

    def run(keep):
        W = transform_filters(w, 4)
        return convolve_transformed(x, np.where(keep(np.abs(W)), W, 0), 4, (3, 3), (1, 1))

    large, small = run(lambda a: a > 0.5), run(lambda a: a <= 0.5)
    np.testing.assert_allclose(large + small, convolve(x, w, 4, (1, 1)), rtol=0, atol=1e-11)
    assert np.abs(small).max() > 0.1
    assert (run(lambda a: a < 0) == 0).all()


def test_blocks_do_not_change_the_result():
    """A layer larger than one block of tiles: the same within rounding, and bit for bit for each image alone."""
    rng = np.random.default_rng(4)
    x, w = (
        rng.standard_normal((3, 70, 66, 32)).astype(np.float32),
        rng.standard_normal((8, 32, 3, 3)).astype(np.float32),
    )
    y = convolve(x, w, 2, (1, 1))
    np.testing.assert_allclose(y, direct(x, w, (1, 1)), rtol=0, atol=error_bound(x, w, 2, (1, 1)).max())
    for i in range(3):
        assert (convolve(x[i : i + 1], w, 2, (1, 1)) == y[i]).all()


@pytest.mark.parametrize(("m", "r"), [(0, 3), (2, 0), (-1, 3)])
def test_f_m_r_needs_positive_sizes(m, r):
    with pytest.raises(ValueError, match=r"m >= 1 and r >= 1"):
        cook_toom(m, r)


def test_points_must_be_enough_and_distinct():
    with pytest.raises(ValueError, match="needs 3 distinct points, got 2"):
        cook_toom(2, 3, (Fraction(0), Fraction(1), Fraction(1)))
    with pytest.raises(ValueError, match="needs 16 distinct points"):
        cook_toom(10, 8)


def test_convolve_names_what_does_not_fit():
    x, w = np.zeros((1, 4, 4, 2), np.float32), np.zeros((1, 2, 5, 3), np.float32)
    with pytest.raises(ValueError, match=r"4 x 4 input padded by \(0, 0\) is smaller than the 5 x 3 filter"):
        convolve(x, w, 2)
    with pytest.raises(ValueError, match="2 channels, the filters 3"):
        convolve(x, np.zeros((1, 3, 3, 3), np.float32), 2)
    with pytest.raises(ValueError, match="floating-point arrays, got int64"):
        convolve(x.astype(np.int64), w, 2)
