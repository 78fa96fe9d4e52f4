"""What each layer's zeros and cells cost a network: loss, bits and multiplies, for ``budget`` to choose from.

One layer at a time is reconstructed alone (``reconstruction``), over a grid of shares of zeros in both domains, which
are exact, while all others stay dense; the loss is how far the network's output moves from the dense one's on
calibration images kept apart: the divergence KL(dense || sparse) of a classifier, the relative squared error of any
other network.  One factorization serves a layer's whole grid; shares between those measured are interpolated.  Of a
large layer only every so many filters change, and the loss is taken to be so many times as large.

Cells are not tried but reckoned.  Rounding by the nearest plane (``rounding``) adds D^2 / 12 sum L_ii^2 to a filter's
squared error, with L L^T the moments of the inputs of the weights that are left (of as many at random).  Filters whose
zeros need weights that cancel are points of coarser lattices: k of their dimensions weigh k V^(2/k), V the volume of a
cell of a whole basis.  The loss is taken to grow with that error as it did with that of the zeros.  Bits are the
zero-order entropy of some filters rounded with their zeros, times what the coder made of it at one point; multiplies
those of the paper: of weights that are not zero, in the Winograd domain where it serves.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from accelsim.compression.context import encode_context
from accelsim.compression.held import whole_bases, whole_with_zeros
from accelsim.compression.joint import JointRegularizer
from accelsim.network.count import dense_macs, parameters, winograd_multiplies
from accelsim.network.graph import INPUT, Network
from accelsim.network.layers import Linear
from accelsim.training.budget import Options, choose
from accelsim.training.hold import EXACT, exact_zeros
from accelsim.training.kernels import Array
from accelsim.training.losses import distillation, relative_squared_error
from accelsim.training.recipe import Budget, Reconstruction
from accelsim.training.reconstruction import (
    CHUNK,
    Moments,
    _advance,
    _moments,
    _plain,
    problem,
    sparse_solution,
)

OFFSETS = (-0.08, 0.04)  # of the share of zeros in the Winograd domain from that in the spatial one
BETWEEN = 4  # steps from one measured share to the next
DAMPING = 1e-3  # as in ``rounding``
LARGE = 580_000  # weights of a layer: of a larger one some filters stand for all
SAMPLE = 1 << 14  # filters of a layer, about, that are rounded
VALUE_BITS = 12  # of biases
SPARE_BITS = 8 * 4000  # the file's description
RESERVE = 0.03  # of either budget: a network made sparse layer after layer has not just the zeros of each alone

Values = dict[str, list[Array]]  # chunks of images, by node


@dataclass(frozen=True)
class Price:
    """One way for one layer.

    zeros_sd, zeros_wd: how many entries of w and of W.  cell: relative to the root mean square of the weights that are
    not zero.  loss, bits, multiplies: what it costs.
    """

    zeros_sd: int
    zeros_wd: int
    cell: float
    loss: float
    bits: float
    multiplies: float


@dataclass(frozen=True)
class Point:
    """A layer measured at one pair of shares of zeros.

    loss: of the network.  error: of the layer, squared, as ``Moments.energy``.  noise: what a cell of 1 adds to it.
    square: mean square of the weights that are not zero.  bits, multiplies: for each relative cell.
    """

    loss: float
    error: float
    noise: float
    square: float
    bits: list[float]
    multiplies: list[float]


Points = dict[str, list[list[Point]]]  # of each layer by offset and share


def measure(
    network: Network,
    images: Array,
    apart: Array,
    regularizer: JointRegularizer,
    budget: Budget,
    settings: Reconstruction,
    known: Mapping[str, list[list[dict[str, Any]]]] | None = None,
    watch: Callable[[str, list[list[Point]]], None] | None = None,
) -> Points:
    """Every layer, by its name, at the pairs of shares of the budget's grid.

    images: (N, H, W, C) float32 preprocessed, to reconstruct from.  apart: such images to measure the loss on.
    known: some layers, which are not measured again (``as_plain``).  watch: called after each layer.
    """
    graph, arrays = network.graph, dict(network.arrays)
    last = {source: i for i, node in enumerate(graph.nodes) for source in node.inputs}
    multiplies = winograd_multiplies(graph, regularizer.winograd)
    dense: Values = {INPUT: [images[first : first + CHUNK] for first in range(0, len(images), CHUNK)]}
    held: Values = {INPUT: [apart[first : first + CHUNK] for first in range(0, len(apart), CHUNK)]}
    truth = _outcome(network, 0, held, arrays)
    points: Points = {}
    for i, node in enumerate(graph.nodes):
        before = dict(held)
        _advance(node, arrays, dense)
        _advance(node, arrays, held)
        if node.name in (known or {}):
            points[node.name] = [[Point(**point) for point in row] for row in (known or {})[node.name]]
        elif node.name in regularizer.spatial and (isinstance(node.layer, Linear) or _plain(node)):
            moments = _moments(node, dense[node.inputs[0]], dense[node.name], settings.positions, settings.seed)

            def loss(found: Array, every: int, own: Moments = moments, i: int = i, before: Values = before) -> float:
                name = graph.nodes[i].name
                w = arrays[f"{name}.weight"].copy()
                w[::every] = found.transpose(2, 1, 0).reshape(w[::every].shape)
                changed = {**arrays, f"{name}.weight": w}
                if f"{name}.bias" in arrays:
                    bias = arrays[f"{name}.bias"].copy()
                    bias[::every] = own.y[::every] - found.reshape(-1, found.shape[2]).T @ own.x
                    changed[f"{name}.bias"] = bias
                return every * _distance(_outcome(network, i, before, changed), truth)

            kron = regularizer.kron.get(node.name)
            w = arrays[f"{node.name}.weight"]
            points[node.name] = _of_layer(moments, w, kron, multiplies[node.name], loss, budget, settings)
            if watch is not None:
                watch(node.name, points[node.name])
        for source in set(node.inputs):
            if last[source] == i:
                del dense[source], held[source]
    return points


def as_plain(points: Points) -> dict[str, list[list[dict[str, Any]]]]:
    """The points as JSON takes them."""
    return {name: [[asdict(point) for point in row] for row in some] for name, some in points.items()}


def chosen(network: Network, points: Points, regularizer: JointRegularizer, budget: Budget) -> dict[str, Price]:
    """What each layer takes, for the whole file and all multiplies to keep to the budgets.

    network: the unmodified one.  Raises ValueError as ``choose``.
    """
    dense = sum(dense_macs(network.graph).values())
    prices = {
        name: between(some, network.arrays[f"{name}.weight"], regularizer.kron.get(name), budget)
        for name, some in points.items()
    }
    weights = {f"{name}.weight" for name in prices}
    others = sum(array.size for name, array in network.arrays.items() if name not in weights)
    bits = 32 * parameters(network.graph) / budget.ratio - VALUE_BITS * others - SPARE_BITS
    options = [
        Options(*(np.array([getattr(price, key) for price in some]) for key in ("loss", "bits", "multiplies")))
        for some in prices.values()
    ]
    taken = choose(options, (1 - RESERVE) * bits, (1 - RESERVE) * dense / budget.cost_reduction)
    return {name: some[i] for (name, some), i in zip(prices.items(), taken, strict=True)}


def _outcome(network: Network, first: int, values: Values, arrays: Mapping[str, Array]) -> Array:
    """The network's output from its node number ``first`` on.  values: all that it and later ones read."""
    graph = network.graph
    last = {source: i for i, node in enumerate(graph.nodes) for source in node.inputs}
    live = dict(values)
    for i, node in enumerate(graph.nodes[first:], first):
        _advance(node, arrays, live)
        for source in set(node.inputs):
            if last[source] == i:
                del live[source]
    return np.concatenate(live[graph.nodes[-1].name])


def _distance(y: Array, truth: Array) -> float:
    return distillation(y, truth, 1.0)[0] if y.ndim == 2 else relative_squared_error(y, truth)[0]


def _of_layer(
    moments: Moments,
    w: Array,
    kron: Array | None,
    multiplies: int,
    loss: Callable[[Array, int], float],
    budget: Budget,
    settings: Reconstruction,
) -> list[list[Point]]:
    """One layer's grid.  w: its weights.  multiplies: of all of them.  loss: with other weights (taps, C, filters) in
    every so many filters.
    """
    every = max(1, w.size // LARGE)
    K, (some, C) = len(w), w[::every].shape[:2]
    start = np.ascontiguousarray(w[::every].reshape(some, C, -1).transpose(2, 1, 0))
    settings = settings.model_copy(update={"iterations": budget.iterations, "polish": budget.polish})
    least = problem(moments.H, np.ascontiguousarray(moments.B[:, ::every]), start, kron, settings)
    noise = [_noise(moments.H, 1 - share, settings.seed) for share in budget.zeros]
    efficiency = 0.0
    grid: list[list[Point]] = []
    for offset in OFFSETS if kron is not None else (0.0,):
        row = []
        for share, alone in zip(budget.zeros, noise, strict=True):
            found, _ = sparse_solution(least, *_goals(w[::every], kron, share, offset), settings, exact=True)
            flat = found.reshape(-1, some)
            apart = flat - start.reshape(-1, some)
            error = every * float(np.sum(apart * (moments.H @ apart)))
            square = float(np.mean(flat[flat != 0] ** 2)) if flat.any() else 1e-20
            levels, lattice = _rounded(found, kron, [cell * np.sqrt(square) for cell in budget.cells])
            if not efficiency:
                efficiency = encode_context([levels[0]])[1][0] / max(_entropy(levels[0]), 1.0)
            if kron is not None:
                used = [1 - exact_zeros(kron @ flat.reshape(len(found), -1)) / (len(kron) * some * C)] * len(levels)
            else:
                used = [np.count_nonzero(n) / n.size for n in levels]
            bits = [efficiency * _entropy(n) * w.size / n.size for n in levels]
            row.append(
                Point(
                    loss=max(loss(found, every), 1e-9),
                    error=max(error, 1e-20),
                    noise=K * alone * lattice,
                    square=square,
                    bits=bits,
                    multiplies=[multiplies * share for share in used],
                )
            )
        grid.append(row)
    return grid


def _goals(w: Array, kron: Array | None, share: float, offset: float) -> tuple[int, int]:
    """How many entries of w and of W are zero at a share, and with this offset from it in the Winograd domain."""
    size_wd = 0 if kron is None else len(kron) * w.shape[0] * w.shape[1]
    return round(share * w.size), round(min(max(share + offset, 0.0), 0.99) * size_wd)


def _rounded(found: Array, kron: Array | None, cells: list[float]) -> tuple[list[NDArray[np.int32]], float]:
    """(some filters of a layer in cells, with their zeros; how much coarser the lattices are than one weight each).

    found: (taps, C, K).
    """
    filters = np.ascontiguousarray(found.transpose(2, 1, 0))
    filters = filters[:: max(1, filters.shape[0] * filters.shape[1] // SAMPLE)]  # whole ones: (some, C, taps)
    zero = filters == 0
    if kron is None:
        return [np.rint(filters / cell).astype(np.int32) for cell in cells], 1.0
    W = filters @ kron.T
    zero_wd = np.abs(W) <= EXACT * np.sqrt(np.mean(W * W))
    bases = whole_bases(zero[..., None], zero_wd, kron)
    free = bases.any(axis=1)
    gram = bases.swapaxes(1, 2) @ bases
    gram[:, np.arange(free.shape[1]), np.arange(free.shape[1])] += ~free
    k = free.sum(axis=1)
    volume = np.linalg.det(gram)  # squared
    weighs = float(np.sum(k * volume ** (1 / np.maximum(k, 1))))
    whole = [whole_with_zeros(filters[..., None] / cell, zero[..., None], zero_wd, kron)[..., 0] for cell in cells]
    return whole, weighs / max(int(np.count_nonzero(~zero)), 1)


def between(grid: list[list[Point]], w: Array, kron: Array | None, budget: Budget) -> list[Price]:
    """One layer's prices: of the points measured, and of shares between theirs."""
    prices = []
    for low, high, a in _steps(len(grid)):
        for at, after, b in _steps(len(budget.zeros)):
            share = _mixed(budget.zeros[at], budget.zeros[after], b)
            offset = 0.0 if kron is None else _mixed(OFFSETS[low], OFFSETS[high], a)
            corners = grid[low][at], grid[low][after], grid[high][at], grid[high][after]
            part = np.array([(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b])
            loss, error, noise, square = (
                float(np.exp(part @ np.log([getattr(corner, key) for corner in corners])))
                for key in ("loss", "error", "noise", "square")
            )
            bits, used = (
                part @ np.array([getattr(corner, key) for corner in corners]) for key in ("bits", "multiplies")
            )
            for i, cell in enumerate(budget.cells):
                rounded = loss * (1 + cell**2 * square * noise / error)
                goals = _goals(w, kron, share, offset)
                prices.append(Price(*goals, cell, rounded, float(bits[i]), float(used[i])))
    return prices


def _steps(count: int) -> list[tuple[int, int, float]]:
    """(from, to, share of the way) of all points measured and between."""
    between = [(i, i + 1, k / BETWEEN) for i in range(count - 1) for k in range(BETWEEN)]
    return [*between, (count - 1, count - 1, 0.0)]


def _mixed(a: float, b: float, share: float) -> float:
    return (1 - share) * a + share * b


def _noise(H: Array, share: float, seed: int) -> float:
    """sum L_ii^2 / 12 of the moments of this share of the inputs, drawn at random."""
    n = len(H)
    some = np.sort(np.random.default_rng(seed).permutation(n)[: max(1, round(share * n))])
    A = H[np.ix_(some, some)].astype(np.float32)
    A[np.diag_indices_from(A)] += np.float32(DAMPING * np.diagonal(H).mean() + 1e-12)
    L = linalg.cholesky(A, lower=True, overwrite_a=True, check_finite=False)
    return float(np.sum(np.diagonal(L).astype(np.float64) ** 2)) / 12


def _entropy(n: NDArray[np.int32]) -> float:
    """Bits of these whole numbers if each stood for itself."""
    counts = np.bincount((n - n.min()).ravel())
    share = counts[counts > 0] / n.size
    return float(-n.size * np.sum(share * np.log2(share)))
