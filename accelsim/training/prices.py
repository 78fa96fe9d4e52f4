"""What each layer's zeros and cells cost a network: loss, bits and multiplies.

For ``accelsim.sparsity.budget`` to choose from.

One layer at a time is reconstructed alone (``accelsim.sparsity.reconstruction``), over a grid of
shares of zeros in both domains, which are exact, while all others stay dense; the loss is how far
the network's output moves from the dense one's on images kept apart: the divergence KL(dense ||
sparse) of a classifier, the relative squared error of any other network.  One factorization serves
a layer's whole grid; shares between those measured are interpolated.  Of a large layer only every
so many filters change, and the loss is taken to be so many times as large.

Cells are tried on some filters, rounded by the layer's output with their zeros
(``accelsim.sparsity.whole_weights``): what a cell adds to their error, to first order independent
of that of the zeros, is taken to raise the loss as that did.  Bits are what the coder makes of
these filters; multiplies those of the paper: of weights that are not zero once rounded, in the
Winograd domain where it serves.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accelsim.arrays import Array, Floats, Levels
from accelsim.dual.coding.context import encode_context
from accelsim.network.count import dense_macs, parameters, winograd_multiplies
from accelsim.network.graph import INPUT, Network
from accelsim.sparsity.budget import Options, choose
from accelsim.sparsity.initial_zeros import EXACT
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.moments import Moments, Sample, moments_of
from accelsim.sparsity.recipe import NO_BUDGET, Budget, Reconstruction
from accelsim.sparsity.reconstruction import CHUNK, advance, is_refitted
from accelsim.sparsity.sparse_least_squares import least_squares, sparse_solution
from accelsim.sparsity.whole_filters import whole_bases
from accelsim.sparsity.whole_weights import whole_by_cell
from accelsim.sparsity.zero_patterns import whole_rows
from accelsim.threads import on_all_cores, on_one_thread
from accelsim.training.losses import distillation, relative_squared_error

OFFSETS = (-0.08, 0.04)  # of the share of zeros in the Winograd domain from that in the spatial one
BETWEEN = 4  # steps from one measured share to the next
LARGE = 580_000  # weights of a layer: of a larger one some filters stand for all
SAMPLE = 40_000  # weights of a layer, about, that are rounded and coded
VALUE_BITS = 12  # of biases
SPARE_BITS = 8 * 4000  # the file's description
LEAST = 1e-30  # a loss or an error below it counts as it: their logarithms are mixed

# Of either budget: a network made sparse layer after layer has not just the zeros of each alone.
RESERVE = 0.03

Values = dict[str, list[Array]]  # chunks of images, by node


@dataclass(frozen=True)
class LayerPrice:
    """One way for one layer."""

    zeros_sd: int  # entries of w that are zero
    zeros_wd: int  # entries of W that are zero
    cell: float  # relative to the root mean square of the weights that are not zero
    loss: float  # what it costs the network
    bits: float  # in the file
    multiplies: float  # an image
    cost: float = 0.0  # what ``Cost`` says of it, if anything


@dataclass(frozen=True)
class SharesTried:
    """A layer measured at one pair of shares of zeros."""

    loss: float  # of the network
    error: float  # of the layer, squared, on the images kept apart, as ``Moments.energy``
    noise: list[float]  # what each relative cell adds to the error
    bits: list[float]  # in the file, for each relative cell
    multiplies: list[float]  # an image, for each relative cell


Grid = list[list[SharesTried]]  # one layer's, by offset and share
Points = Mapping[str, Grid]  # of each layer


@dataclass(frozen=True)
class Cost:
    """What is to be kept low in the place of multiplies, such as the time that a machine takes.

    of_layer: (offsets, shares) of each layer, at its points.  most: the budget, of all these
    layers.
    """

    of_layer: Mapping[str, Floats]
    most: float


@dataclass(frozen=True)
class PricingImages:
    """The images that prices are measured with, (N, H, W, C) float32, preprocessed."""

    images: Array  # to reconstruct from
    apart: Array  # to measure the loss on


@dataclass(frozen=True)
class _Layer:
    """A layer that is priced, or so many of its filters."""

    moments: Moments
    apart: Array  # H of the images kept apart
    w: Array  # all its weights
    kron: Array | None  # (n n, taps), vec(W) = kron vec(w), or None where Winograd does not serve
    multiplies: int  # of all weights, an image
    loss: Callable[[Array, int], float]  # with weights (taps, C, filters) in every so many filters


@on_one_thread
def measure(
    network: Network,
    calibration: PricingImages,
    regularizer: JointRegularizer,
    settings: Reconstruction,
    known: Points,
    watch: Callable[[str, Grid], None],
) -> Points:
    """Every layer, by its name, at the pairs of shares of the grid of ``settings.budget``.

    network: the dense one.  known: layers that are not measured again.  watch: called after each
    layer that is.
    """
    graph = network.graph
    wanted = [node.name for node in graph.nodes if node.name in regularizer.spatial and is_refitted(node)]
    if all(name in known for name in wanted):
        return {name: known[name] for name in wanted}
    arrays = dict(network.arrays)
    last = {source: i for i, node in enumerate(graph.nodes) for source in node.inputs}
    multiplies = winograd_multiplies(graph, regularizer.winograd)
    dense: Values = {INPUT: _chunks(calibration.images)}
    apart: Values = {INPUT: _chunks(calibration.apart)}
    truth = _outcome(network, 0, apart, arrays)
    points: dict[str, Grid] = {}
    for i, node in enumerate(graph.nodes):
        before = dict(apart)
        done = {source for source in node.inputs if last[source] == i}
        advance(node, arrays, dense, () if node.name in wanted else done)
        advance(node, arrays, apart)
        if node.name in known:
            points[node.name] = known[node.name]
        elif node.name in wanted:
            inputs = dense[node.inputs[0]]
            sample = Sample(settings.positions, settings.seed)
            moments = moments_of(node, inputs, dense[node.name], sample)
            layer = _Layer(
                moments=moments,
                apart=moments_of(node, apart[node.inputs[0]], apart[node.name], sample).H,
                w=arrays[f"{node.name}.weight"],
                kron=regularizer.kron.get(node.name),
                multiplies=multiplies[node.name],
                loss=_loss_from(network, i, before, truth, moments),
            )
            points[node.name] = _grid(layer, settings)
            watch(node.name, points[node.name])
        for source in done:
            dense.pop(source, None)
            del apart[source]
    return points


def chosen(
    network: Network, points: Points, regularizer: JointRegularizer, budget: Budget, cost: Cost | None = None
) -> dict[str, LayerPrice]:
    """What each layer takes, for the whole file and all multiplies to keep to the budgets.

    network: the unmodified one.  cost: in the place of multiplies, if given.
    Raises ValueError as ``choose``.
    """
    macs = dense_macs(network.graph)
    dense = sum(macs.values())
    # of layers that stay as they are
    fixed = sum(count for name, count in macs.items() if name not in points)
    prices = {
        name: between(
            grid,
            network.arrays[f"{name}.weight"],
            regularizer.kron.get(name),
            budget,
            None if cost is None else cost.of_layer[name],
        )
        for name, grid in points.items()
    }
    bits = np.inf
    if budget.ratio > NO_BUDGET:
        bits = 32 * parameters(network.graph) / budget.ratio - other_bits(network, points)
    options = [
        Options(
            loss=np.array([price.loss for price in some]),
            bits=np.array([price.bits for price in some]),
            multiplies=np.array([price.multiplies if cost is None else price.cost for price in some]),
        )
        for some in prices.values()
    ]
    most = np.inf
    if cost is not None:
        most = cost.most
    elif budget.cost_reduction > NO_BUDGET:
        most = (1 - RESERVE) * dense / budget.cost_reduction - fixed
    taken = choose(options, (1 - RESERVE) * bits, most)
    return {name: some[i] for (name, some), i in zip(prices.items(), taken, strict=True)}


def other_bits(network: Network, priced: Collection[str]) -> int:
    """What a file holds beside the weights of the layers that are priced, by their names."""
    weights = {f"{name}.weight" for name in priced}
    others = sum(array.size for name, array in network.arrays.items() if name not in weights)
    return VALUE_BITS * others + SPARE_BITS


def between(grid: Grid, w: Array, kron: Array | None, budget: Budget, cost: Floats | None = None) -> list[LayerPrice]:
    """One layer's prices: of the points measured, and of shares between theirs.

    w: its weights.  kron: (n n, taps), or None where Winograd does not serve.  cost: as ``Cost``.
    """
    cost = np.zeros((len(grid), len(budget.zeros))) if cost is None else cost
    prices = []
    for low, high, a in _steps(len(grid)):
        for at, after, b in _steps(len(budget.zeros)):
            share = _mixed(budget.zeros[at], budget.zeros[after], b)
            offset = 0.0 if kron is None else _mixed(OFFSETS[low], OFFSETS[high], a)
            corners = (grid[low][at], grid[low][after], grid[high][at], grid[high][after])
            part = np.array([(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b])
            measured = [(corner.loss, corner.error, *corner.noise) for corner in corners]
            logs = np.log(np.maximum(measured, LEAST))
            loss, error, *noise = (float(value) for value in np.exp(part @ logs))
            bits = part @ np.array([corner.bits for corner in corners])
            multiplies = part @ np.array([corner.multiplies for corner in corners])
            own_cost = float(part @ cost[[low, low, high, high], [at, after, at, after]])
            zeros_sd, zeros_wd = goals_at(w, kron, share, offset)
            for i, cell in enumerate(budget.cells):
                prices.append(
                    LayerPrice(
                        zeros_sd=zeros_sd,
                        zeros_wd=zeros_wd,
                        cell=cell,
                        loss=loss * (1 + noise[i] / error),
                        bits=float(bits[i]),
                        multiplies=float(multiplies[i]),
                        cost=own_cost,
                    )
                )
    return prices


def _chunks(images: Array) -> list[Array]:
    return [images[first : first + CHUNK] for first in range(0, len(images), CHUNK)]


def _outcome(network: Network, first: int, values: Values, arrays: Mapping[str, Array]) -> Array:
    """The network's output from its node number ``first`` on.

    values: all that it and later ones read.
    """
    graph = network.graph
    last = {source: i for i, node in enumerate(graph.nodes) for source in node.inputs}
    live = dict(values)
    for i, node in enumerate(graph.nodes[first:], first):
        advance(node, arrays, live)
        for source in set(node.inputs):
            if last[source] == i:
                del live[source]
    return np.concatenate(live[graph.nodes[-1].name])


def _loss_from(
    network: Network, i: int, values: Values, truth: Array, moments: Moments
) -> Callable[[Array, int], float]:
    """The loss of the network with other weights in every so many filters of its node number i.

    values: what it and later nodes read.  truth: the dense network's output.  moments: of the
    layer, for biases to take up the mean error.
    """
    name = network.graph.nodes[i].name
    arrays = network.arrays

    def loss(found: Array, every: int) -> float:
        w = arrays[f"{name}.weight"].copy()
        w[::every] = found.transpose(2, 1, 0).reshape(w[::every].shape)
        changed = {**arrays, f"{name}.weight": w}
        if f"{name}.bias" in arrays:
            bias = arrays[f"{name}.bias"].copy()
            bias[::every] = moments.y[::every] - found.reshape(-1, found.shape[2]).T @ moments.x
            changed[f"{name}.bias"] = bias
        return every * _distance(_outcome(network, i, values, changed), truth)

    return loss


def _distance(y: Array, truth: Array) -> float:
    return distillation(y, truth, 1.0)[0] if y.ndim == 2 else relative_squared_error(y, truth)[0]


def _grid(layer: _Layer, settings: Reconstruction) -> Grid:
    """One layer, measured at the pairs of shares of the budget's grid."""
    budget = settings.budget
    assert budget is not None
    every = max(1, layer.w.size // LARGE)
    w = layer.w[::every]
    kron = layer.kron
    K = len(layer.w)
    some, C = w.shape[:2]
    start = np.ascontiguousarray(w.reshape(some, C, -1).transpose(2, 1, 0))
    settings = settings.model_copy(update={"iterations": budget.iterations, "polish": budget.polish})
    B = np.ascontiguousarray(layer.moments.B[:, ::every])
    problem = least_squares(replace(layer.moments, B=B), start, kron, settings)
    pairs = [(offset, share) for offset in (OFFSETS if kron is not None else (0.0,)) for share in budget.zeros]

    def tried(pair: tuple[float, float]) -> SharesTried:
        offset, share = pair
        found, _ = sparse_solution(problem, *goals_at(w, kron, share, offset), settings, exact=True)
        moved = (found - start).reshape(-1, some)
        error = every * float(np.sum(moved * (layer.apart @ moved)))
        noise, levels = _rounded(layer.moments, layer.apart, found, kron, budget.cells)
        return SharesTried(
            loss=max(layer.loss(found, every), 1e-9),
            error=max(error, 1e-20),
            noise=[max(K * each, 1e-20) for each in noise],
            bits=[encode_context([n])[1][0] * layer.w.size / n.size for n in levels],
            multiplies=[layer.multiplies * used(n, kron) for n in levels],
        )

    points = on_all_cores(tried, pairs)
    shares = len(budget.zeros)
    return [points[first : first + shares] for first in range(0, len(points), shares)]


def goals_at(w: Array, kron: Array | None, share: float, offset: float) -> tuple[int, int]:
    """How many entries of w and of W are zero at a share.

    With this offset from it in the Winograd domain.
    """
    size_wd = 0 if kron is None else len(kron) * w.shape[0] * w.shape[1]
    return round(share * w.size), round(min(max(share + offset, 0.0), 0.99) * size_wd)


def _rounded(
    moments: Moments, apart: Array, found: Array, kron: Array | None, relative: Sequence[float]
) -> tuple[list[float], list[Levels]]:
    """Some filters of a layer rounded with their zeros, for each relative cell.

    (what that adds to a filter's squared error, the filters in cells (some, C, taps)).

    moments: to round with.  apart: H of the images kept apart, to measure with.  found: (taps, C,
    K).
    """
    taps, C = found.shape[:2]
    every = max(1, found.size // SAMPLE)
    filters = np.ascontiguousarray(found.transpose(2, 1, 0)[::every])  # whole ones: (some, C, taps)
    flat = filters.transpose(2, 1, 0).reshape(taps * C, -1)
    some = flat.shape[1]
    goal = replace(moments, B=moments.H @ flat)
    square = float(np.mean(found[found != 0] ** 2)) if found.any() else 1e-20
    cells = [cell * np.sqrt(square) for cell in relative]
    levels = whole_by_cell(goal, filters, cells, _bases(filters, kron))
    noise = []
    for n, cell in zip(levels, cells, strict=True):
        moved = (n * np.float32(cell) - filters).transpose(2, 1, 0).reshape(taps * C, -1)
        noise.append(float(np.sum(moved * (apart @ moved))) / some)
    return noise, levels


def _bases(filters: Array, kron: Array | None) -> Floats:
    """Whole bases of the filters with their zeros: (some, C, taps, taps).

    filters: (some, C, taps).
    """
    some, C, taps = filters.shape
    zero = filters.reshape(some, C, taps, 1) == 0
    if kron is None:
        return whole_bases(zero).reshape(some, C, taps, taps)
    W = filters @ kron.T
    zero_wd = np.abs(W) <= EXACT * np.sqrt(np.mean(W * W))
    return whole_bases(zero, zero_wd[..., None], kron).reshape(some, C, taps, taps)


def _steps(count: int) -> list[tuple[int, int, float]]:
    """(from, to, share of the way) of all points measured and between."""
    inner = [(i, i + 1, k / BETWEEN) for i in range(count - 1) for k in range(BETWEEN)]
    return [*inner, (count - 1, count - 1, 0.0)]


def _mixed(a: float, b: float, share: float) -> float:
    return (1 - share) * a + share * b


def used(n: Levels, kron: Array | None) -> float:
    """The share of these weights, or of their Winograd-domain entries, that are not zero.

    n: (K, C, taps).
    """
    if kron is not None:
        n = n.reshape(-1, kron.shape[1]) @ whole_rows(kron).T.astype(np.int64)
    return float(np.count_nonzero(n) / n.size)
