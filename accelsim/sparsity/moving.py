"""Zeros of both domains whose places are chosen anew while a network trains, ever more of them.

The optimiser moves dense weights; the network is run, and its gradient taken, with the nearest
weights that have the zeros (``zero_patterns``), so that what is zero may come back where the
gradient wants it to (Lin et al., ICLR 2020, arXiv:2006.07253).

What a zero costs is told by the diagonal of the Fisher matrix as a product of two factors, power of
the input times power of the gradient at the output (Martens and Grosse, arXiv:1503.05671), which
are read off the second moments of the gradient by rows and columns (Shazeer and Stern,
arXiv:1804.04235): w^2 a_c b_k for a weight of filter k and channel c.  An entry of W = G w G^T
becomes zero by the least change of the weights that are left: it costs W_j^2 / |g_j|^2 of that,
g_j its row of G kron G at these weights, and nothing where none of them enters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Flags, Floats
from accelsim.sparsity.initial_zeros import exact_zeros
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.recipe import Joint
from accelsim.sparsity.reconstruction import zeros_by_layer
from accelsim.sparsity.zero_patterns import ZeroPattern, zero_pattern

TRIES = 4  # shares of the zeros wanted that may do


@dataclass(frozen=True)
class Zeros:
    """Where one layer is zero."""

    spatial: Flags  # (K, C, R, S) of w
    winograd: Flags | None  # (K, C, n_h n_w) of W, where Winograd serves

    def pattern(self, kron: Array | None) -> ZeroPattern:
        """The space of the weights that have them.  kron: (n_h n_w, R S), where Winograd serves."""
        return zero_pattern(self.spatial, None if self.winograd is None else self.winograd[..., None], kron)


class MovingZeros:
    """The zeros of a network's layers at a time.

    goals: how many entries of w and of W each layer is to have in the end, by its name.
    """

    def __init__(self, regularizer: JointRegularizer, goals: Mapping[str, tuple[int, int]]) -> None:
        self._kron = dict(regularizer.kron)
        self.goals = dict(goals)
        sizes = (sum(regularizer.sizes_sd), sum(regularizer.sizes_wd))
        counts = np.sum([*goals.values(), (0, 0)], axis=0).tolist()
        self.shares = (counts[0] / max(sizes[0], 1), counts[1] / max(sizes[1], 1))  # s_SD, s_WD in the end
        self.patterns: dict[str, ZeroPattern] = {}
        self._zeros: dict[str, Zeros] = {}

    def choose(self, weights: Mapping[str, Array], squares: Mapping[str, Array], share: float) -> None:
        """Choose this share of all zeros anew.

        weights: by ``NAME.weight``.  squares: as weights, second moments of their gradients.
        """
        for layer, goal in self.goals.items():
            name = f"{layer}.weight"
            power = fisher_of_filters(squares[name])
            wanted = (round(share * goal[0]), round(share * goal[1]))
            self._set(name, self._fewest(weights[name], power, wanted, self._kron.get(layer)))

    def _fewest(self, w: Array, power: Floats, wanted: tuple[int, int], kron: Array | None) -> Zeros:
        """The fewest zeros, of those tried, that give one layer as many as wanted.

        Zeros of W make more of w, and the other way round: so a share of them may do.
        """
        zeros = cheapest(w, power, wanted, kron)
        shares = [goal / count for goal, count in zip(wanted, counted(zeros, kron), strict=True) if count]
        low = min(max(shares, default=1.0), 1.0)
        high = 1.0
        for _ in range(TRIES if low < high else 0):
            share = (low + high) / 2
            tried = cheapest(w, power, (round(share * wanted[0]), round(share * wanted[1])), kron)
            if all(count >= goal for count, goal in zip(counted(tried, kron), wanted, strict=True)):
                zeros = tried
                high = share
            else:
                low = share
        return zeros

    def _set(self, name: str, zeros: Zeros) -> None:
        self._zeros[name] = zeros
        self.patterns[name] = zeros.pattern(self._kron.get(name.removesuffix(".weight")))

    def state(self) -> dict[str, NDArray[Any]]:
        """All that ``restore`` needs."""
        arrays = {}
        for name, zeros in self._zeros.items():
            arrays[f"zeros.spatial.{name}"] = zeros.spatial
            if zeros.winograd is not None:
                arrays[f"zeros.winograd.{name}"] = zeros.winograd
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state``."""
        for layer in self.goals:
            name = f"{layer}.weight"
            self._set(name, Zeros(arrays[f"zeros.spatial.{name}"], arrays.get(f"zeros.winograd.{name}")))


def zeros_by_goal(
    regularizer: JointRegularizer, first: Mapping[str, Array], joint: Joint, like: Mapping[str, Array] | None
) -> dict[str, tuple[int, int]]:
    """How many entries of w and of W each layer is to have zero, by its name.

    As many as the weights ``like`` have; else the shares of ``joint``, by LAMP scores of the first weights.
    """
    weights = first if like is None else like
    filters = regularizer.pruned_winograd(weights, -1.0)
    spatial = {name: weights[f"{name}.weight"] for name in regularizer.spatial}
    if like is None:
        zeros = zeros_by_layer(spatial, joint.spatial)
        zeros_wd = zeros_by_layer(filters, joint.winograd)
    else:
        zeros = {name: w.size - int(np.count_nonzero(w)) for name, w in spatial.items()}
        zeros_wd = {name: exact_zeros(W) for name, W in filters.items()}
    of_sd = joint.mode != "wd"
    of_wd = joint.mode != "sd"
    return {name: (of_sd * zeros[name], of_wd * zeros_wd.get(name, 0)) for name in regularizer.spatial}


def cheapest(w: Array, power: Floats, wanted: tuple[int, int], kron: Array | None) -> Zeros:
    """So many entries of w that cost least as zeros, and then so many of W.

    power: as ``fisher_of_filters``.  kron: (n_h n_w, R S), or None where Winograd does not serve.
    """
    zero = smallest(w * w * power.reshape(*power.shape, *[1] * (w.ndim - 2)), wanted[0])
    if kron is None:
        return Zeros(zero, None)
    return Zeros(zero, smallest(winograd_cost(w, zero, kron) * power[..., None], wanted[1]))


def counted(zeros: Zeros, kron: Array | None) -> tuple[int, int]:
    """How many entries of w and of W these zeros make zero, whatever the weights are."""
    w = np.random.default_rng(0).standard_normal(zeros.spatial.shape, np.float32)
    zeros.pattern(kron).project(w)
    zeros_wd = 0 if kron is None else exact_zeros(w.reshape(-1, kron.shape[1]) @ kron.T)
    return w.size - int(np.count_nonzero(w)), zeros_wd


def fisher_of_filters(squares: Array) -> Floats:
    """The power of the input times that of the gradient at the output: (K, C).

    squares: (K, C, ...) second moments of the gradient; 1 where there are none yet.
    """
    each = squares.reshape(*squares.shape[:2], -1).astype(np.float64).mean(axis=2)
    mean = each.mean()
    if not mean > 0:
        return np.ones(each.shape)
    return np.asarray(np.outer(each.mean(axis=1), each.mean(axis=0)) / mean)


def winograd_cost(w: Array, zero: Flags, kron: Array) -> Floats:
    """What the weights of each filter must change, squared, for an entry of W to be zero.

    w: (K, C, R, S).  zero: where w is made zero first.  kron: (n_h n_w, R S).  Result: (K, C, n_h n_w).
    """
    left = (~zero).reshape(*w.shape[:2], -1).astype(np.float64)
    W = (w.reshape(left.shape) * left) @ kron.T
    return np.asarray(W * W / np.maximum(left @ (kron * kron).T, 1e-12))


def smallest(cost: Floats, count: int) -> Flags:
    """Where the smallest costs are, so many of them; of equal ones the first."""
    chosen = np.zeros(cost.shape, np.bool_)
    chosen.reshape(-1)[np.argsort(cost.ravel(), kind="stable")[:count]] = True
    return chosen
