"""The integer reference against plain integer sums (SciPy) and against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from accelsim.datapath import integer
from accelsim.network.layers import Conv
from accelsim.transforms.winograd import cook_toom
from tests.laws import law


def direct(x: np.ndarray, w: np.ndarray, padding: int, stride: int = 1) -> np.ndarray:
    """scipy.signal.correlate, channel by channel, in int64."""
    padded = np.pad(x.astype(np.int64), ((padding, padding), (padding, padding), (0, 0)))
    maps = []
    for filters in w.astype(np.int64):
        maps.append(sum(correlate(padded[:, :, c], f, "valid", "direct") for c, f in enumerate(filters)))
    return np.stack(maps, axis=-1)[::stride, ::stride]


@law(40)
@given(
    seed=st.integers(0, 1 << 30),
    height=st.integers(3, 12),
    width=st.integers(3, 12),
    channels=st.integers(1, 5),
    filters=st.integers(1, 4),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
)
def test_convolution_is_the_plain_sum(seed, height, width, channels, filters, stride, padding):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (1, height, width, channels))
    w = rng.integers(-128, 128, (filters, channels, 3, 3))
    layer = Conv(
        in_channels=channels, out_channels=filters, kernel=(3, 3), stride=(stride, stride), padding=(padding, padding)
    )
    assert np.array_equal(integer.convolve(x, w, layer)[0], direct(x[0], w, padding, stride))


def test_grouped_convolution_keeps_groups_apart():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-128, 128, (1, 5, 5, 4)), rng.integers(-128, 128, (6, 2, 3, 3))
    layer = Conv(in_channels=4, out_channels=6, kernel=(3, 3), groups=2)
    y = integer.convolve(x, w, layer)[0]
    assert np.array_equal(y[..., :3], direct(x[0, :, :, :2], w[:3], 0))
    assert np.array_equal(y[..., 3:], direct(x[0, :, :, 2:], w[3:], 0))


@law(20)
@given(
    seed=st.integers(0, 1 << 30), m=st.sampled_from([2, 4]), size=st.integers(5, 13), shifts=st.booleans(),
    padding=st.integers(0, 1),
)  # fmt: skip
def test_winograd_is_exact_for_filters_that_are_whole_in_the_winograd_domain(seed, m, size, shifts, padding):
    """24 G w 24 G^T is whole for F(4, 3), so the machine must give 24^2 (for F(2, 3): 2^2) times the direct sum."""
    rng = np.random.default_rng(seed)
    scale = {2: 2, 4: 24}[m]
    x, w = rng.integers(-128, 128, (1, size, size + 1, 3)), rng.integers(-8, 9, (4, 3, 3, 3))
    G = np.array([[int(Fraction(g) * scale) for g in row] for row in cook_toom(m, 3).G])
    W = G @ w @ G.T
    exponents = np.zeros(W.shape[2:], np.int64)
    if shifts:  # halve a tap wherever that is exact: the shift must undo it
        even = (W % 2 == 0).all(axis=(0, 1))
        W, exponents = np.where(even, W // 2, W), even.astype(np.int64)
    filters = integer.IntegerFilters(m, W.astype(np.int32), exponents)
    y = integer.convolve_winograd(x, filters, (3, 3), (padding, padding))[0]
    assert np.array_equal(y, (scale**2 * direct(x[0], w, padding)) >> int(exponents.min()))


@pytest.mark.parametrize(("m", "bits"), [(2, 10), (4, 15)])
def test_transformed_inputs_need_the_published_width(m, bits):
    """8-bit inputs grow by 2 bits for F(2, 3) and by 7 for F(4, 3), and the worst tile reaches the last bit."""
    _, B_T = integer.integer_transforms(m, 3)
    largest = 0
    for i, j in np.ndindex(m + 2, m + 2):
        coefficients = np.outer(B_T[i], B_T[j])
        for tile in (np.where(coefficients > 0, 127, -128), np.where(coefficients > 0, -128, 127)):
            V = integer.transform_tiles(tile[None, :, :, None], m, (3, 3), (0, 0))
            assert -(2 ** (bits - 1)) <= V.min()
            assert V.max() < 2 ** (bits - 1)
            largest = max(largest, int(np.abs(V).max()))
    assert largest > 2 ** (bits - 2)


@law(30)
@given(seed=st.integers(0, 1 << 30), m=st.sampled_from([2, 4]))
def test_quantized_filters_keep_the_mask_and_are_near(seed, m):
    rng = np.random.default_rng(seed)
    n = m + 2
    W = rng.normal(size=(5, 4, n, n)) * 2.0 ** rng.integers(-6, 1, (n, n)) * (rng.random((5, 4, n, n)) < 0.3)
    q = integer.quantize_filters(W, m)
    assert np.array_equal(q.values != 0, W != 0)
    assert np.abs(q.values).max(initial=0) <= 127
    assert (np.abs(q.values * 2.0**q.exponents - W) <= 2.0**q.exponents).all()


@given(st.integers(-(1 << 40), 1 << 40), st.integers(0, 40))
def test_requantize_rounds_half_up_and_saturates(y, shift):
    exact = (Fraction(y, 1 << shift) + Fraction(1, 2)).__floor__()
    assert integer.requantize(np.array([y]), shift)[0] == max(-128, min(127, exact))


@given(st.lists(st.integers(-(1 << 40), 1 << 40), min_size=1, max_size=5))
def test_output_shift_saturates_nothing_and_is_the_least(values):
    y = np.array(values)
    shift = integer.output_shift(y)
    assert np.abs((y + ((1 << shift) >> 1)) >> shift).max() <= 128
    if shift:
        half = (1 << (shift - 1)) >> 1
        assert (np.abs(y).max() + half) >> (shift - 1) > 127


def test_fractional_transforms_are_refused():
    with pytest.raises(ValueError, match=r"F\(6, 3\) hold fractions"):
        integer.integer_transforms(6, 3)
