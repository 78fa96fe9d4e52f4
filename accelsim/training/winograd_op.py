"""Inference of one convolution in the Winograd domain, with filters that were pruned there."""

from collections.abc import Callable
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.network.layers import Conv
from accelsim.training.ops import Op, Phase
from accelsim.transforms.winograd import matrices


class PrunedWinogradOp(Op):
    """The convolution y = A^T [ sum_c W * (B^T d B) ] A on each m x m output tile.

    Groups of channels come one after the other.
    """

    def __init__(self, m: int, W: Array, layer: Conv, *args: Any):
        super().__init__(*args)
        self.m = m
        self.layer = layer
        self.A = []
        self.B = []
        for r in layer.kernel:
            A, _, B = matrices(m, r, np.dtype(np.float32))
            self.A.append(A)
            self.B.append(B)
        K, _, n_h, n_w = W.shape
        G = layer.groups
        # (n_h n_w, G, K / G, C / G): one product for each tap and group
        self.filters = self.xp.ascontiguousarray(W.reshape(G, K // G, -1, n_h * n_w).transpose(3, 0, 1, 2))
        H, width, _ = self.xs[0].shape[2:]
        P, Q, _ = layer.output_shape(((H, width, layer.in_channels),))
        self.tiles = (-(-P // m), -(-Q // m))
        self.y = self.new(K, P, Q)

    def forward(self) -> list[Phase]:
        return [Phase(self._forward)]

    def _forward(self, b: int, _t: int) -> None:
        xp = self.xp
        m = self.m
        layer = self.layer
        T_h, T_w = self.tiles
        n_h = len(self.B[0])
        n_w = len(self.B[1])
        C, H, width, N = self.xs[0][b].shape
        padded = xp.zeros((C, (T_h - 1) * m + n_h, (T_w - 1) * m + n_w, N), np.float32)
        (pad_h, pad_w) = layer.padding
        rows = min(H, padded.shape[1] - pad_h)
        columns = min(width, padded.shape[2] - pad_w)
        padded[:, pad_h : pad_h + rows, pad_w : pad_w + columns] = self.xs[0][b][:, :rows, :columns]
        views = [padded[:, k : k + (T_h - 1) * m + 1 : m] for k in range(n_h)]
        V = xp.empty((n_h, n_w, C, T_h, T_w, N), np.float32)
        for i in range(n_h):
            row = _combine(self.B[0][i], views)  # (C, T_h, width, N)
            parts = [row[:, :, k : k + (T_w - 1) * m + 1 : m] for k in range(n_w)]
            for j in range(n_w):
                V[i, j] = _combine(self.B[1][j], parts)
        G = layer.groups
        M = self.filters @ V.reshape(n_h * n_w, G, C // G, -1)
        M = M.reshape(n_h, n_w, -1, T_h, T_w, N)
        out = xp.empty((M.shape[2], T_h, m, T_w, m, N), np.float32)
        for i in range(m):
            row = _combine(self.A[0][i], list(M))  # (n_w, K, T_h, T_w, N)
            for j in range(m):
                out[:, :, i, :, j] = _combine(self.A[1][j], list(row))
        K, P, Q, _ = self.y[b].shape
        self.y[b] = out.reshape(K, T_h * m, T_w * m, N)[:, :P, :Q]
        if layer.bias:
            self.y[b] += self.params["bias"][:, None, None, None]


def winograd_operations(
    filters: dict[str, Array],
    tiles: dict[str, int],
) -> dict[str, Callable[..., Op]]:
    """``operations`` of a ``CompiledNetwork`` that run the named convolutions by F(m, r).

    filters: (K, C, n_h, n_w) of each.  tiles: m of each.
    """

    def maker(name: str) -> Callable[..., Op]:
        return lambda layer, *args: PrunedWinogradOp(tiles[name], filters[name], layer, *args)

    return {name: maker(name) for name in filters}


def _combine(coefficients: Array, parts: list[Array]) -> Array:
    """sum_k coefficients[k] parts[k], over the non-zero ones."""
    total = None
    for c, part in zip(coefficients.tolist(), parts, strict=True):
        if c == 0:
            continue
        term = part * np.float32(c)
        total = term if total is None else total + term
    assert total is not None
    return total
