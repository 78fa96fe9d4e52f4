"""Convolution on one block of images by Winograd's minimal filtering.

The convolution and its weights' gradient.

Of F(m, r), nested in two dimensions (``transforms.winograd``), with V = B^T x B, U = G g G^T and M
= U V at each tap,

    y = A^T M A,    dM = A dy A^T,    dU = dM V^T,    dg = G^T dU G;

the input's gradient is the convolution of dy with ``Geometry.reversed``.

A block is (C, H, W, N) as in ``by_rows``, and all transforms are products with it as it lies.  The
small matrices of a few tiles stand along the diagonal of a large one, cut where the image ends, so
padding costs nothing: down the image one for each band of tiles, across it one for each window of
columns, all windows in one call.  A transformed band is (C, n_w, n_h, t_h, t_w, N), which holds the
(C, t_h t_w N) matrix of each tap as BLAS reads it.
Leaves out: strides, dilation and groups (``by_rows`` does them), and savings in time: V is computed
again backward.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.training.kernels.geometry import Geometry
from accelsim.transforms.winograd import matrices

TILE = 4  # m
CACHED = 150_000  # floats of a band's transform that stay in the cache
ACROSS = 4  # tiles that one window holds, at most, if the image's width allows several windows


@dataclass(frozen=True)
class Tiles:
    """t neighbouring tiles along one direction, with their transforms as one matrix each."""

    made: slice  # the rows that they make
    read: slice  # the rows that they read
    A: Array  # (n t, rows made); its rows are (tap, tile)
    A_T: Array  # its transpose
    B: Array  # (n t, rows read); its rows are (tap, tile)


def tiles(first: int, end: int, made: int, read: int, padding: int, r: int) -> Tiles:
    """Tiles first..end of F(m, r) that makes ``made`` rows of ``read`` ones."""
    A_T, _, B_T = matrices(TILE, r, np.dtype(np.float32))
    n = TILE + r - 1
    t = end - first
    start = first * TILE - padding
    out = slice(first * TILE, min(end * TILE, made))
    into = slice(max(start, 0), min(start + t * TILE + r - 1, read))
    A = np.zeros((n, t, t * TILE), np.float32)
    B = np.zeros((n, t, t * TILE + r - 1), np.float32)
    for i in range(t):
        A[:, i, i * TILE : (i + 1) * TILE] = A_T.T
        B[:, i, i * TILE : i * TILE + n] = B_T
    A = np.ascontiguousarray(A.reshape(n * t, -1)[:, : out.stop - out.start])
    B = np.ascontiguousarray(B.reshape(n * t, -1)[:, into.start - start : into.stop - start])
    return Tiles(out, into, A, np.ascontiguousarray(A.T), B)


class WinogradKernel:
    """F(4, R) x F(4, S) of one convolution on blocks of images."""

    def __init__(self, g: Geometry, xp: Any = np):
        self.g = g
        self.xp = xp
        self.n_h = TILE + g.R - 1
        self.n_w = TILE + g.S - 1
        self.T_w = -(-g.Q // TILE)
        self.taps = self.n_h * self.n_w
        G_h, G_w = (matrices(TILE, r, np.dtype(np.float32))[1] for r in (g.R, g.S))
        self.G = xp.asarray(np.einsum("ir,js->jirs", G_h, G_w).reshape(self.taps, g.R * g.S))
        self._place_down()
        self._place_across()
        rows = max(max(band.A.shape[1] * g.K, band.B.shape[1] * g.C) for band in self.bands)
        # floats of a band transformed across only
        self.half_size = rows * self.n_w * self.T_w * g.N
        tallest = max(len(band.A) for band in self.bands)
        self.size = max(g.C, g.K) * self.n_w * tallest * self.T_w * g.N  # floats of a band's V or M

    @classmethod
    def pays(cls, g: Geometry) -> bool:
        """Whether it is faster than ``by_rows``, as measured.

        The transforms need channels that share them and images for long products, the longer
        weights need tiles that share them.
        """
        plain = g.reversible and g.dilation == (1, 1) and g.G == 1 and (g.R, g.S) == (3, 3)
        return plain and min(g.C, g.K) * g.N >= 256 and -(-g.P // TILE) * -(-g.Q // TILE) * g.N >= 32

    def _place_down(self) -> None:
        """Bands of about equal height.

        Where the weights' gradient exceeds the cache, it is added to less often.
        """
        g = self.g
        T = -(-self.g.P // TILE)
        most = max(CACHED, self.taps * g.K * g.C) // (max(g.C, g.K) * self.taps * self.T_w * g.N)
        ends = np.linspace(0, T, -(-T // max(1, most)) + 1).round().astype(int).tolist()
        found = (tiles(first, end, g.P, g.H, g.padding[0], g.R) for first, end in pairwise(ends))
        copy = self.xp.asarray
        self.bands = [replace(band, A=copy(band.A), A_T=copy(band.A_T), B=copy(band.B)) for band in found]

    def _place_across(self) -> None:
        """Windows of t tiles each, none outside of the image.

        They read ``width`` columns, ``step`` apart.
        """
        g = self.g
        T = self.T_w
        several = [t for t in range(2, ACROSS + 1) if T > ACROSS and T % t == 0 and g.Q % TILE == 0]
        for t in [*several, T]:
            windows = [tiles(p * t, p * t + t, g.Q, g.W, g.padding[1], g.S) for p in range(T // t)]
            self.step = min((w.read.start // p for p, w in enumerate(windows) if p), default=0)
            starts = [p * self.step for p in range(len(windows))]
            self.width = max(w.read.stop - start for w, start in zip(windows, starts, strict=True))
            if starts[-1] + self.width <= g.W:
                break
        B = np.zeros((len(windows), len(windows[0].B), self.width), np.float32)
        for matrix, window, start in zip(B, windows, starts, strict=True):
            matrix[:, window.read.start - start : window.read.stop - start] = window.B
        self.windows = len(windows)
        copy = self.xp.asarray
        self.across_A = copy(windows[0].A)
        self.across_A_T = copy(windows[0].A_T)
        self.across_B = copy(B)

    def pack(self, weight: Array, U: Array) -> None:
        """Fill U (taps, K, C) from weight: (K, C, R, S)."""
        self.xp.matmul(self.G, weight.reshape(-1, self.G.shape[1]).T, out=U.reshape(self.taps, -1))

    def unpack_gradient(self, dU: Array) -> Array:
        """The weights' gradient (K, C, R, S), summed in one product.

        dU: of the blocks, (blocks, taps, K, C).
        """
        G_T = self.xp.concatenate([self.G.T] * len(dU), axis=1)
        flat: Array = self.xp.matmul(G_T, dU.reshape(G_T.shape[1], -1))
        return flat.T.reshape(self.g.K, self.g.C, self.g.R, self.g.S)

    def made_windows(self, images: Array) -> Array:
        """The windows' columns in images that are made, a view.

        (B, C, H, W, N) -> (B, C, H, windows, columns, N).
        """
        *outer, W, N = images.shape
        return images.reshape(*outer, self.windows, W // self.windows, N)

    def read_windows(self, images: Array) -> Array:
        """The windows' columns in images that are read, as ``made_windows``; they overlap."""
        *outer, _, N = images.shape
        *strides, w, n = images.strides
        shape = (*outer, self.windows, self.width, N)
        view: Array = self.xp.lib.stride_tricks.as_strided(images, shape, (*strides, self.step * w, w, n))
        return view

    def _half(self, buffer: Array, C: int, h: int) -> tuple[Array, Array]:
        """Room for a band transformed across only.

        As products across make it (C, h, windows, n_w t, N), and as those down the image read it
        (C, n_w, h, t_w N).
        """
        N = self.g.N
        flat = buffer[: C * h * self.n_w * self.T_w * N]
        made = flat.reshape(C, h, -1, self.windows, N).transpose(0, 1, 3, 2, 4)
        return made, flat.reshape(C, h, self.n_w, -1).transpose(0, 2, 1, 3)

    def _expand(self, windows: Array, down: Array, across: Array, half: Array, out: Array) -> Array:
        """down image across^T of each channel, as (taps, C, tiles N).

        windows: (C, h, windows, columns, N).
        """
        C, h = windows.shape[:2]
        made, read = self._half(half, C, h)
        self.xp.matmul(across, windows, out=made)
        V = out[: C * self.n_w * len(down) * self.T_w * self.g.N].reshape(C, self.n_w, len(down), -1)
        self.xp.matmul(down, read, out=V)
        return V.reshape(C, self.taps, -1).transpose(1, 0, 2)

    def convolve(self, x: Array, U: Array, y: Array, scratch: tuple[Array, ...]) -> None:
        """y = the convolution of x.

        x: a block's ``read_windows``, y: ``made_windows``; scratch: half_size, size and size
        floats.
        """
        half, v, m = scratch
        for band in self.bands:
            V = self._expand(x[:, band.read], band.B, self.across_B, half, v)
            M = m[: self.g.K * V[:, 0].size].reshape(self.g.K, self.taps, -1)
            self.xp.matmul(U, V, out=M.transpose(1, 0, 2))
            across, down = self._half(half, self.g.K, len(band.A_T))
            self.xp.matmul(band.A_T, M.reshape(self.g.K, self.n_w, len(band.A), -1), out=down)
            self.xp.matmul(self.across_A_T, across, out=y[:, band.made])

    def weight_gradient(self, x: Array, dy: Array, dU: Array, scratch: tuple[Array, ...]) -> None:
        """dU (taps, K, C), from a block's ``read_windows`` of x and ``made_windows`` of dy."""
        half, v, m = scratch
        for i, band in enumerate(self.bands):
            V = self._expand(x[:, band.read], band.B, self.across_B, half, v).transpose(0, 2, 1)
            dM = self._expand(dy[:, band.made], band.A, self.across_A, half, m)
            if i == 0:
                self.xp.matmul(dM, V, out=dU)
            else:
                dU += self.xp.matmul(dM, V)
