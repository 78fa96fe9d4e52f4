"""Laws of convolution by Winograd: SciPy's correlation, and gradients that are its transposes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from accelsim.arrays import Array
from accelsim.network.layers import Conv
from accelsim.training.kernels import winograd
from accelsim.training.kernels.geometry import Geometry
from accelsim.training.kernels.winograd import WinogradKernel
from tests.laws import law
from tests.training import foreign


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any image, kernel and padding that the reversed convolution can have, too; widths of one and many windows."""
    R, S = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = (draw(st.integers(0, R - 1)), draw(st.integers(0, S - 1)))
    H, W = draw(st.integers(R, 20)), draw(st.one_of(st.integers(S, 24), st.sampled_from([32, 40, 56])))
    C, K = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    layer = Conv(in_channels=C, out_channels=K, kernel=(R, S), padding=padding)
    return Geometry.of_layer(layer, H, W, draw(st.integers(1, 3)))


def scratch(f: WinogradKernel) -> tuple[Array, Array, Array]:
    half, v, m = (np.full(size, np.nan, np.float32) for size in (f.half_size, f.size, f.size))
    return half, v, m


def convolved(g: Geometry, x: Array, w: Array) -> Array:
    f = WinogradKernel(g)
    U = np.empty((f.taps, g.K, g.C), np.float32)
    f.pack(w, U)
    y = np.full((1, g.K, g.P, g.Q, g.N), np.nan, np.float32)
    f.convolve(f.read_windows(x)[0], U, f.made_windows(y)[0], scratch(f))
    return y


@law(60)
@given(geometries(), st.integers(0, 2**32 - 1), st.sampled_from([1, 150_000]))
def test_convolution_and_gradients(g: Geometry, seed: int, cached: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, g.C, g.H, g.W, g.N)).astype(np.float32)
    w = rng.standard_normal((g.K, g.C, g.R, g.S)).astype(np.float32)
    dy = rng.standard_normal((1, g.K, g.P, g.Q, g.N)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "CACHED", cached)  # many bands or one
        y = convolved(g, x, w)
        dx = convolved(g.reversed, dy, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
        f = WinogradKernel(g)
        dU = np.full((1, f.taps, g.K, g.C), np.nan, np.float32)
        f.weight_gradient(f.read_windows(x)[0], f.made_windows(dy)[0], dU[0], scratch(f))
    (p, q), image = g.padding, x[0].transpose(3, 0, 1, 2)
    padded = np.pad(image, ((0, 0), (0, 0), (p, p), (q, q)))
    expected = np.stack([correlate(padded, w[None, k], "valid")[:, 0] for k in range(g.K)])
    rounding = 1e-4 + 2e-5 * float(np.abs(expected).max())  # of a tile's largest, whatever an output's size
    np.testing.assert_allclose(y[0], expected.transpose(0, 2, 3, 1), atol=rounding, rtol=1e-4)
    inner, size = float(np.vdot(dy, y)), float(np.linalg.norm(dy) * np.linalg.norm(y)) + 1
    assert abs(float(np.vdot(dx, x)) - inner) < 1e-5 * size
    assert abs(float(np.vdot(f.unpack_gradient(dU), w)) - inner) < 1e-5 * size


def test_the_gradient_of_several_blocks_is_their_sum() -> None:
    g = Geometry.of_layer(Conv(in_channels=3, out_channels=2, kernel=(3, 3), padding=(1, 1)), 9, 9, 2)
    f, rng = WinogradKernel(g), np.random.default_rng(0)
    dU = rng.standard_normal((4, f.taps, g.K, g.C)).astype(np.float32)
    parts = sum(f.unpack_gradient(part[None]) for part in dU)
    np.testing.assert_allclose(f.unpack_gradient(dU), parts, atol=1e-5)


@pytest.mark.parametrize("width", [8, 32])
def test_another_array_module_computes_the_same(width: int) -> None:
    g = Geometry.of_layer(Conv(in_channels=2, out_channels=3, kernel=(3, 3), padding=(1, 1)), 9, width, 2)
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((g.C, g.H, width, g.N)), rng.standard_normal((g.K, g.P, g.Q, g.N))
    w = rng.standard_normal((g.K, g.C, 3, 3)).astype(np.float32)
    results = []
    for xp in (np, foreign.module):
        f = WinogradKernel(g, xp)
        U, y, dU = (xp.zeros(shape, np.float32) for shape in ((f.taps, g.K, g.C), dy.shape, (1, f.taps, g.K, g.C)))
        buffers = tuple(xp.zeros((size,), np.float32) for size in (f.half_size, f.size, f.size))
        read, slope = (
            f.read_windows(xp.asarray(x.astype(np.float32))),
            f.made_windows(xp.asarray(dy.astype(np.float32))),
        )
        f.pack(xp.asarray(w), U)
        f.convolve(read, U, f.made_windows(y), buffers)
        f.weight_gradient(read, slope, dU[0], buffers)
        results.append([a.get() if xp is foreign.module else a for a in (y, f.unpack_gradient(dU))])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)
