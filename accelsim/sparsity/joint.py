"""The joint-sparsity regularizer.

One set of spatial weights pulled towards zeros in both domains at once.

    R_SD = 1/N_SD  sum_l || w_l * [|w_l| <= theta_SD] ||^2     over all conv and linear layers,
    R_WD = 1/N_WD  sum_l || W_l * [|W_l| <= theta_WD] ||^2     over the Winograd-eligible ones,
    C    = E + exp(z_SD) R_SD + exp(z_WD) R_WD - alpha (z_SD + z_WD),      W = G w G^T.

theta is the s-th percentile of |w| (|W|) over all its layers together, taken anew at every step;
the indicator counts as constant in the gradient ("partial L2").  z is learned: dC/dz = exp(z) R -
alpha.
Source: Choi, El-Khamy, Lee, arXiv:1902.08192; the row scaling of G is that of
``accelsim.transforms.winograd``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.dual.model import winograd_eligible
from accelsim.network.graph import Graph
from accelsim.network.layers import Conv, Linear
from accelsim.transforms.winograd import matrices


@dataclass(frozen=True)
class Penalty:
    """One domain's regularizer at one step."""

    value: float  # R
    threshold: float  # theta
    sparsity: float  # share of the weights at or below it


def spatial_layers(graph: Graph, exclude: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the conv and fully-connected layers, but the excluded ones."""
    return tuple(n.name for n in graph.nodes if isinstance(n.layer, Conv | Linear) and n.name not in exclude)


def winograd_layers(
    graph: Graph,
    tiles: Mapping[str, int],
    exclude: Collection[str] = (),
) -> dict[str, int]:
    """Output tile size m of each Winograd-eligible layer.

    ``tiles`` by name, or by ``"default"``; none of m = 0.
    """
    return {
        node.name: tiles.get(node.name, tiles["default"])
        for node in graph.nodes
        if winograd_eligible(node) and node.name not in exclude and tiles.get(node.name, tiles["default"])
    }


class Percentile:
    """The s-th percentile of |values|, exactly.

    It is cheap where the values change little from call to call.

    It keeps the last threshold and selects among the values near it, as near as the threshold's
    last change lets expect; if the rank falls outside, it selects among all.
    """

    narrowest = 0.001  # share of the last threshold, up and down, that is searched first
    widest = 0.05

    def __init__(self, xp: Any = np):
        self.xp = xp
        self.width = self.widest
        self.last = 0.0

    def threshold(self, magnitudes: Array, sparsity: float) -> float:
        """Smallest theta with at least ceil(sparsity N) magnitudes <= theta.

        magnitudes: (N,) float32, >= 0.
        """
        rank = int(np.ceil(sparsity * magnitudes.size)) - 1  # of the threshold, from 0
        if rank < 0:
            return -1.0  # below every magnitude: nothing is pruned
        low = self.last * (1 - self.width)
        high = self.last * (1 + self.width)
        above = magnitudes > low
        below = magnitudes.size - int(self.xp.count_nonzero(above))
        near = magnitudes[above & (magnitudes <= high)]
        if not 0 <= rank - below < near.size:
            near = magnitudes
            below = 0
        theta = float(self.xp.partition(near, rank - below)[rank - below])
        change = abs(theta - self.last) / theta if theta > 0 else 1.0
        self.width = min(max(4 * change, self.narrowest), self.widest)
        self.last = theta
        return theta


class JointRegularizer:
    """R_SD and R_WD, their gradients and their thresholds for the layers of one network.

    graph: the network.  tiles: as ``winograd_layers``.  exclude: names of layers left out in both
    domains.
    xp: the array module.
    """

    def __init__(
        self,
        graph: Graph,
        tiles: Mapping[str, int],
        exclude: Collection[str] = (),
        xp: Any = np,
    ):
        self.xp = xp
        self.spatial = spatial_layers(graph, exclude)
        self.winograd = winograd_layers(graph, tiles, exclude)
        self.kron: dict[str, Array] = {}  # vec(G w G^T) = (G_h kron G_w) vec(w)
        for name, m in self.winograd.items():
            layer = graph.node(name).layer
            assert isinstance(layer, Conv)
            G_h, G_w = (matrices(m, r, np.dtype(np.float32))[1] for r in layer.kernel)
            self.kron[name] = xp.asarray(np.kron(G_h, G_w))  # (n_h n_w, R S)
        shapes = graph.parameters
        self.sizes_sd = [int(np.prod(shapes[f"{name}.weight"])) for name in self.spatial]
        self.sizes_wd = [
            int(np.prod(shapes[f"{name}.weight"][:2])) * self.kron[name].shape[0] for name in self.winograd
        ]
        self.w: Array = xp.empty(sum(self.sizes_sd), np.float32)
        self.W: Array = xp.empty(sum(self.sizes_wd), np.float32)
        self.percentile_sd = Percentile(xp)
        self.percentile_wd = Percentile(xp)

    def _parts(self, flat: Array, sizes: list[int]) -> list[Array]:
        ends = np.cumsum(sizes).tolist()
        return [flat[end - size : end] for size, end in zip(sizes, ends, strict=True)]

    def transform(self, weights: Mapping[str, Array]) -> Array:
        """All W = G w G^T as one vector (N_WD,).  weights: by ``NAME.weight``."""
        for name, part in zip(self.winograd, self._parts(self.W, self.sizes_wd), strict=True):
            kron = self.kron[name]
            w = weights[f"{name}.weight"].reshape(-1, kron.shape[1])
            self.xp.matmul(w, kron.T, out=part.reshape(-1, kron.shape[0]))
        return self.W

    def collect(self, weights: Mapping[str, Array]) -> Array:
        """All w as one vector (N_SD,)."""
        for name, part in zip(self.spatial, self._parts(self.w, self.sizes_sd), strict=True):
            part[...] = weights[f"{name}.weight"].reshape(-1)
        return self.w

    def _penalty(self, values: Array, percentile: Percentile, sparsity: float) -> Penalty:
        """R of the values, which become values * [|values| <= theta]."""
        magnitudes = self.xp.abs(values)
        theta = percentile.threshold(magnitudes, sparsity)
        values *= magnitudes <= theta
        pulled = float(self.xp.dot(values, values)) / max(values.size, 1)
        share = float(self.xp.count_nonzero(magnitudes <= theta)) / max(values.size, 1)
        return Penalty(pulled, theta, share)

    def spatial_penalty(
        self,
        weights: Mapping[str, Array],
        sparsity: float,
        gradients: Mapping[str, Array],
        z: float,
    ) -> Penalty:
        """R_SD at this sparsity; adds exp(z) dR_SD/dw to the gradients (by ``NAME.weight``)."""
        values = self.collect(weights)
        penalty = self._penalty(values, self.percentile_sd, sparsity)
        values *= np.float32(2 * np.exp(z) / max(values.size, 1))
        for name, part in zip(self.spatial, self._parts(values, self.sizes_sd), strict=True):
            gradient = gradients[f"{name}.weight"]
            gradient += part.reshape(gradient.shape)
        return penalty

    def winograd_penalty(
        self,
        weights: Mapping[str, Array],
        sparsity: float,
        gradients: Mapping[str, Array],
        z: float,
    ) -> Penalty:
        """R_WD at this sparsity.

        Adds exp(z) dR_WD/dw = exp(z) 2/N G^T (W * [...]) G to the gradients.
        """
        values = self.transform(weights)
        penalty = self._penalty(values, self.percentile_wd, sparsity)
        values *= np.float32(2 * np.exp(z) / max(values.size, 1))
        for name, part in zip(self.winograd, self._parts(values, self.sizes_wd), strict=True):
            kron = self.kron[name]
            gradient = gradients[f"{name}.weight"]
            gradient += (part.reshape(-1, kron.shape[0]) @ kron).reshape(gradient.shape)
        return penalty

    def thresholds(
        self,
        weights: Mapping[str, Array],
        sparsity_sd: float,
        sparsity_wd: float,
    ) -> tuple[float, float]:
        """(theta_SD, theta_WD) of the weights at these sparsities."""
        theta_sd = Percentile(self.xp).threshold(self.xp.abs(self.collect(weights)), sparsity_sd)
        theta_wd = Percentile(self.xp).threshold(self.xp.abs(self.transform(weights)), sparsity_wd)
        return theta_sd, theta_wd

    def pruned_spatial(self, weights: Mapping[str, Array], theta: float) -> dict[str, Array]:
        """The weights, by name, with zeros where |w| <= theta in the regularized layers.

        The others are as they are.
        """
        pruned = dict(weights)
        for name in self.spatial:
            w = weights[f"{name}.weight"]
            pruned[f"{name}.weight"] = w * (self.xp.abs(w) > theta)
        return pruned

    def pruned_winograd(self, weights: Mapping[str, Array], theta: float) -> dict[str, Array]:
        """The Winograd-domain filters with zeros where |W| <= theta, by layer name.

        (K, C, n_h, n_w) each.
        """
        pruned = {}
        for name in self.winograd:
            w = weights[f"{name}.weight"]
            kron = self.kron[name]
            W = w.reshape(-1, kron.shape[1]) @ kron.T
            n = round(np.sqrt(kron.shape[0])) if w.shape[2] == w.shape[3] else self.winograd[name] + w.shape[2] - 1
            pruned[name] = (W * (self.xp.abs(W) > theta)).reshape(*w.shape[:2], n, -1)
        return pruned
