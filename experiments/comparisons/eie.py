"""EIE: load balance of eie-like on fully connected layers beside the efficiencies published for EIE (ISCA 2016).

Densities of weights and inputs are the paper's (table III).  The masks are drawn, with rows and columns as uneven as
those of a real classifier (``UNEVEN``): outputs are not pruned alike, so lanes carry unequal work.  Efficiency: the
share of the lanes' cycles in which they work off a stored weight, padding zeros included; published is theoretical over
actual time (table IV).
"""

from functools import cache

import numpy as np

import accelsim
from accelsim.simulator.machines.matrix_vector import MatrixVectorMachine, product_cycles, stored_weights
from experiments.comparisons.row import Row, compared, errors

# name: inputs, outputs, density of weights and of inputs
LAYERS = {
    "AlexNet FC6": (9216, 4096, 0.09, 0.351),
    "AlexNet FC7": (4096, 4096, 0.09, 0.353),
    "AlexNet FC8": (4096, 1000, 0.25, 0.375),
    "VGG FC6": (25088, 4096, 0.04, 0.183),
    "VGG FC7": (4096, 4096, 0.04, 0.375),
    "VGG FC8": (4096, 1000, 0.23, 0.411),
}
# Microseconds with all PEs busy ("theoretical time"), and taken, of 64 PEs at 800 MHz with queues of 8.
PUBLISHED_US = {
    "AlexNet FC6": (28.1, 30.3),
    "AlexNet FC7": (11.7, 12.2),
    "AlexNet FC8": (8.9, 9.9),
    "VGG FC6": (28.1, 34.4),
    "VGG FC7": (7.9, 8.7),
    "VGG FC8": (7.3, 8.4),
}
# Density of weights: how much its rows and its columns differ in density, standard deviation over mean without what
# chance makes of equal ones; of SqueezeNet 1.1's classifier on ImageNet, pruned by magnitude to that density.
UNEVEN = {0.04: (0.22, 0.34), 0.09: (0.18, 0.23), 0.23: (0.12, 0.14), 0.25: (0.11, 0.13)}
DRAWS = 4
COMMAND = "pytest tests/silicon/test_eie.py"


@cache
def draw(name: str, places: int = 8, uneven: bool = True, seed: int = 0) -> tuple[float, float]:
    """One layer with one mask and one input drawn: cycles with all lanes busy, and cycles taken.

    places: of a queue.  uneven: rows and columns of the mask differ in density as ``UNEVEN`` says, log-normally.
    """
    inputs, outputs, weights, activations = LAYERS[name]
    machine = _machine(places)
    rng = np.random.default_rng(seed)
    active = rng.random(inputs) < activations
    density: np.ndarray | float = weights
    if uneven:
        rows, columns = (_log_normal(rng, n, of) for n, of in zip((outputs, inputs), UNEVEN[weights], strict=True))
        density = (weights * np.outer(rows, columns[active])).astype(np.float32)
    # Zero inputs are never broadcast: their columns stay empty.
    mask = np.zeros((outputs, inputs), bool)
    mask[:, active] = rng.random((outputs, int(active.sum())), np.float32) < density
    _, stored = stored_weights(mask, machine.lanes, machine.weight_format)
    return float(stored.sum()) / machine.lanes, float(product_cycles(stored, active[None], outputs, machine)[0])


@cache
def _machine(places: int) -> MatrixVectorMachine:
    """eie-like with queues of so many places."""
    machine = accelsim.load_hardware("eie-like", [f"window={places}"])
    assert isinstance(machine, MatrixVectorMachine)
    return machine


def simulate(name: str, places: int = 8, uneven: bool = True) -> tuple[float, float]:
    """Load-balance efficiency of one layer, and microseconds with all lanes busy, over ``DRAWS`` draws."""
    busy, cycles = np.sum([draw(name, places, uneven, seed) for seed in range(DRAWS)], axis=0)
    return float(busy / cycles), float(busy) / DRAWS * _machine(places).ns_per_cycle / 1e3


def _log_normal(rng: np.random.Generator, size: int, spread: float) -> np.ndarray:
    """Factors of mean 1 and standard deviation ``spread``."""
    sigma = np.sqrt(np.log1p(spread**2))
    return np.exp(rng.normal(-(sigma**2) / 2, sigma, size))


def spreads(weights: np.ndarray, density: float) -> tuple[float, float]:
    """How much rows and columns of a matrix pruned by magnitude differ in density (``UNEVEN``)."""
    kept = np.abs(weights) > np.quantile(np.abs(weights), 1 - density)
    found = []
    for axis in (1, 0):
        each = kept.mean(axis=axis)
        by_chance = each.mean() * (1 - each.mean()) / kept.shape[axis]
        found.append(float(np.sqrt(max(each.var() - by_chance, 0)) / each.mean()))
    return found[0], found[1]


def efficiency(name: str, places: int = 8, uneven: bool = True) -> float:
    """Load-balance efficiency of one layer."""
    return simulate(name, places, uneven)[0]


def published(name: str) -> float:
    """Load-balance efficiency of one layer in the paper."""
    busy, taken = PUBLISHED_US[name]
    return busy / taken


def rows() -> list[Row]:
    """Six layers: balance in points of efficiency, and the work to be balanced in percent."""
    points, even = (
        {name: 100 * abs(efficiency(name, uneven=uneven) - published(name)) for name in LAYERS}
        for uneven in (True, False)
    )
    worst = max(points, key=lambda name: points[name])
    draws = (draw(worst, seed=seed) for seed in range(2 * DRAWS))
    single = [abs(busy / cycles - published(worst)) for busy, cycles in draws]
    busy = {name: (simulate(name)[1], theoretical) for name, (theoretical, _) in PUBLISHED_US.items()}
    apart = {name: errors([pair])[1] for name, pair in busy.items()}
    heaviest = max(apart, key=lambda name: apart[name])
    balance = (
        f"points of efficiency; worst {worst}, {efficiency(worst):.2f} for {published(worst):.2f}; rows and columns of "
        "the drawn masks as uneven as those of SqueezeNet's classifier pruned to the same density (even ones: worst "
        f"{max(even.values()):.1f}); no constant fitted, but that masks are uneven and that batches of 4,096 inputs "
        "(the paper's) cost a cycle a value was added with these figures in sight, and that classifier was chosen of "
        f"two; {len(single)} single draws of {worst}: {100 * min(single):.1f} to {100 * max(single):.1f}"
    )
    work = (
        f"work alone, before any imbalance; worst {heaviest}, {busy[heaviest][0]:.1f} us for {busy[heaviest][1]:.1f}: "
        "the published densities do not give the published work, its active inputs must keep more weights than others"
    )
    paper = "EIE, ISCA 2016"
    return [
        Row(
            what="load balance of fully connected layers",
            reference=paper,
            cases=len(points),
            mean_percent=sum(points.values()) / len(points),
            worst_percent=points[worst],
            command=COMMAND,
            remark=balance,
        ),
        compared(
            "time of fully connected layers with all PEs busy",
            paper,
            list(busy.values()),
            COMMAND,
            work,
        ),
    ]
