"""Moments of a layer's inputs X and of what it should give, Y.

They are all that a least-squares fit of its weights needs, summed over some random positions of
each image.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Array, Ints
from accelsim.errors import NumericalError
from accelsim.network.graph import Node
from accelsim.network.layers import Conv
from accelsim.threads import ahead, cores

# of a layer's values: float32 has no room for sums of squares of squares of larger ones
LARGEST = 1e9
STEADY = 10  # squared means of a layer's inputs over their variances, from which on float32 loses too much


@dataclass(frozen=True)
class Sample:
    """Which output positions of a convolution its moments are taken from."""

    positions: int  # of each image
    seed: int = 0  # that draws them


@dataclass
class Moments:
    """Sums over positions: rows of X are (taps x channels), of Y output channels.

    All as means, less the means.
    """

    H: Array  # (n, n) X^T X
    B: Array  # (n, K) X^T Y
    energy: float  # of Y
    x: Array  # (n,) mean of X
    y: Array  # (K,) mean of Y
    rows: int  # of X and Y


def bias_of(moments: Moments, found: Array) -> Array:
    """The bias that takes up a layer's mean error.  found: its weights, (taps, C, K)."""
    return moments.y - found.reshape(-1, found.shape[2]).T @ moments.x


def moments_of(node: Node, inputs: list[Array], target: list[Array], sample: Sample) -> Moments:
    """Of X, the inputs of the sparse network, and Y, what the layer should make of them.

    Raises NumericalError if their values are beyond LARGEST, in the root mean square of a channel.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        moments = _moments_of(node, inputs, target, sample)
        squares = [*np.diagonal(moments.H), moments.energy, *moments.x**2, *moments.y**2]
    if not np.max(squares) <= LARGEST**2:  # NaN is not
        raise NumericalError(f"layer {node.name}: values of over {LARGEST:g} go in or come out, expected smaller ones")
    return moments


def _moments_of(node: Node, inputs: list[Array], target: list[Array], sample: Sample) -> Moments:
    rng = np.random.default_rng(sample.seed)
    layer = node.layer
    where = [_positions(y, sample.positions, rng) for y in target] if isinstance(layer, Conv) else []
    biased = bool(getattr(layer, "bias", False))

    def rows_of(i: int) -> tuple[Array, Array]:
        """The rows of X and Y of one chunk."""
        if isinstance(layer, Conv):
            return _windows(inputs[i], target[i], layer, where[i])
        return inputs[i], target[i]

    near = _near_the_means(*rows_of(0)) if biased and inputs else None

    def sums(i: int) -> tuple[tuple[Array, ...], float, int]:
        """H, B and sums of X and Y, the energy and the rows of one chunk."""
        X, Y = rows_of(i)
        if near is not None:
            X = X - near[0]
            Y = Y - near[1]
        return (X.T @ X, X.T @ Y, X.sum(axis=0), Y.sum(axis=0)), float(np.vdot(Y, Y)), len(X)

    totals: tuple[Array, ...] | None = None
    energy = 0.0
    rows = 0
    for parts, own_energy, own_rows in ahead(sums, range(len(inputs)), cores()):
        if totals is None:
            totals = parts
        else:
            for total, part in zip(totals, parts, strict=True):
                total += part
        energy += own_energy
        rows += own_rows
    if totals is None:
        raise ValueError("no images")
    H, B, x_sum, y_sum = totals
    n = np.float32(rows)
    H = H / n
    B = B / n
    x_mean = x_sum / n
    y_mean = y_sum / n
    energy = energy / rows
    if biased:
        H -= np.outer(x_mean, x_mean)
        B -= np.outer(x_mean, y_mean)
        energy -= float(np.vdot(y_mean, y_mean))
    if near is not None:
        x_mean = x_mean + near[0]
        y_mean = y_mean + near[1]
    return Moments(H=H, B=B, energy=energy, x=x_mean, y=y_mean, rows=rows)


def _near_the_means(X: Array, Y: Array) -> tuple[Array, Array] | None:
    """What is taken off all rows of X and Y before their products, (n,) and (K,), if it has to be.

    Off the products of ``STEADY`` rows the squared means take nearly all that float32 holds.
    """
    x_mean = X.mean(axis=0)
    if np.square(x_mean).mean() <= STEADY * X.var(axis=0).mean():
        return None
    return x_mean, Y.mean(axis=0)


def _positions(y: Array, positions: int, rng: np.random.Generator) -> Ints:
    """Some random positions of each image of a map (N, P, Q, K): (N, positions), or as many as it has."""
    N, P, Q, _ = y.shape
    return np.argsort(rng.random((N, P * Q)), axis=1)[:, : min(positions, P * Q)]


def _windows(x: Array, y: Array, layer: Conv, where: Ints) -> tuple[Array, Array]:
    """The inputs (rows, taps C) and outputs (rows, K) at some positions of each image, (N, positions)."""
    R, S = layer.kernel
    pad_h, pad_w = layer.padding
    N, count = where.shape
    Q = y.shape[2]
    image = np.arange(N)[:, None]
    top = where // Q
    left = where % Q
    padded = np.pad(x, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
    row = top * layer.stride[0]
    column = left * layer.stride[1]
    taps = [padded[image, row + i, column + j].reshape(N * count, -1) for i, j in np.ndindex(R, S)]
    return np.concatenate(taps, axis=1), y[image, top, left].reshape(N * count, -1)
