"""Convolutions in pieces against SciPy's direct sums: equal to the last digit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.datapath.pieces import convolve_in_pieces
from accelsim.transforms.decomposition import pieces
from tests.laws import law

from .test_integer import direct


@law(60)
@given(
    seed=st.integers(0, 1 << 30), m=st.sampled_from([2, 4, 6]), kernel=st.integers(1, 11), stride=st.integers(1, 4),
    largest=st.sampled_from([None, 2, 3, 5]), more=st.integers(0, 9), padding=st.integers(0, 5), K=st.integers(1, 3),
    C=st.integers(1, 3),
)  # fmt: skip
def test_any_kernel_and_stride_is_the_direct_convolution(
    seed: int, m: int, kernel: int, stride: int, largest: int | None, more: int, padding: int, K: int, C: int
) -> None:
    if m + max(max(piece.size) for piece in pieces((kernel, kernel), (stride, stride), largest)) - 1 > 16:
        largest = 5  # beyond the known interpolation points
    rng = np.random.default_rng(seed)
    size = max(1, kernel - 2 * padding) + more
    x = rng.integers(-128, 128, (1, size, size + 1, C))
    w = rng.integers(-128, 128, (K, C, kernel, kernel))
    ours = convolve_in_pieces(x, w, m, (stride, stride), (padding, padding), largest)
    assert (ours[0] == direct(x[0], w, padding, stride)).all()


@pytest.mark.parametrize(
    ("kernel", "stride", "largest"), [(5, 1, 3), (7, 1, 3), (7, 2, None), (11, 1, 3), (11, 4, 3), (3, 2, None)]
)
@pytest.mark.parametrize("m", [2, 4])
def test_the_kernels_of_the_known_networks(m: int, kernel: int, stride: int, largest: int | None) -> None:
    rng = np.random.default_rng(7)
    x, w = rng.integers(-128, 128, (2, 17, 23, 3)), rng.integers(-128, 128, (4, 3, kernel, kernel))
    padding = kernel // 2
    ours = convolve_in_pieces(x, w, m, (stride, stride), (padding, padding), largest)
    for image, y in zip(x, ours, strict=True):
        assert (y == direct(image, w, padding, stride)).all()


@given(st.integers(1, 11), st.integers(1, 11), st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, 1, 2, 3]))
def test_every_weight_is_in_one_piece(R: int, S: int, down: int, right: int, largest: int | None) -> None:
    count = np.zeros((R, S), int)
    for piece in pieces((R, S), (down, right), largest):
        assert count[piece.window].shape == piece.size
        assert largest is None or max(piece.size) <= largest
        count[piece.window] += 1
    assert (count == 1).all()


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        pieces((3, 3), (0, 1))
    with pytest.raises(ValueError, match="smaller than the kernel"):
        convolve_in_pieces(np.zeros((1, 2, 2, 1), int), np.zeros((1, 1, 5, 5), int), 2, (1, 1), (0, 0))
