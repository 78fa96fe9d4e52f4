"""EIE: load balance of eie-like on fully connected layers beside the efficiencies published for EIE (ISCA 2016).

Densities of weights and inputs are the paper's (its table of benchmarks); the masks are random, not the trained ones.
Efficiency: the share of the lanes' cycles in which they work off a stored weight, padding zeros included.
"""

from functools import cache

import numpy as np

import accelsim
from accelsim.hardware.machine import SpatialMachine
from accelsim.simulator.interleaved import queue_cycles, stored_weights
from reports.comparisons.row import Row, errors

# name: inputs, outputs, density of weights and of inputs, published efficiency with 64 PEs and queues of 8
LAYERS = {
    "AlexNet FC6": (9216, 4096, 0.09, 0.351, 0.93),
    "AlexNet FC7": (4096, 4096, 0.09, 0.353, 0.96),
    "AlexNet FC8": (4096, 1000, 0.25, 0.375, 0.90),
    "VGG FC6": (25088, 4096, 0.04, 0.183, 0.82),
    "VGG FC7": (4096, 4096, 0.04, 0.375, 0.91),
    "VGG FC8": (4096, 1000, 0.23, 0.411, 0.87),
}
# Microseconds with all PEs busy at 800 MHz ("theoretical" in the paper), quoted from memory; divided by the actual ones
# (30.3, 12.2, 9.9, 41.9, 9.6, 8.6) they are the efficiencies above to both digits.
BUSY_US = {
    "AlexNet FC6": 28.1,
    "AlexNet FC7": 11.7,
    "AlexNet FC8": 8.9,
    "VGG FC6": 34.4,
    "VGG FC7": 8.7,
    "VGG FC8": 7.5,
}
COMMAND = "pytest tests/silicon/test_eie.py"


@cache
def simulate(name: str, places: int = 8) -> tuple[float, float]:
    """Load-balance efficiency of one layer with random masks, and microseconds with all lanes busy.

    places: of a queue.
    """
    inputs, outputs, weights, activations, _ = LAYERS[name]
    machine = accelsim.load_hardware("eie-like")
    assert isinstance(machine, SpatialMachine)
    rng = np.random.default_rng(0)
    active = int(np.count_nonzero(rng.random(inputs) < activations))
    mask = rng.random((outputs, active), np.float32) < weights  # zero inputs are never broadcast
    _, stored = stored_weights(mask, machine.lanes, machine.weight_format)
    busy_cycles = float(stored.sum()) / machine.lanes
    cycles = int(queue_cycles(stored[None], np.array([active]), places)[0])
    return busy_cycles / cycles, busy_cycles * machine.ns_per_cycle / 1e3


def efficiency(name: str, places: int = 8) -> float:
    """Load-balance efficiency of one layer."""
    return simulate(name, places)[0]


def rows() -> list[Row]:
    """Six layers: balance in points of efficiency, and the work to be balanced in percent."""
    points = {name: 100 * abs(efficiency(name) - published) for name, (*_, published) in LAYERS.items()}
    worst = max(points, key=lambda name: points[name])
    others = max(value for name, value in points.items() if name != worst)
    busy = {name: (simulate(name)[1], published) for name, published in BUSY_US.items()}
    apart = {name: errors([pair])[1] for name, pair in busy.items()}
    share = busy[worst][1] / busy[worst][0]
    balance = (
        f"points of efficiency; worst {worst}, {efficiency(worst):.2f} for {LAYERS[worst][-1]:.2f}: its published "
        f"microseconds contradict its published densities {share:.1f} times (next row), so its mask is not as the "
        f"random one; the others within {others:.1f} points; nothing fitted"
    )
    work = (
        f"work alone, before any imbalance; worst {max(apart, key=lambda name: apart[name])}, "
        f"{busy[worst][0]:.1f} us for {busy[worst][1]:.1f}; published ones quoted from memory"
    )
    title, mean = "EIE, ISCA 2016", sum(points.values()) / len(points)
    return [
        Row("load balance of fully connected layers", title, len(points), mean, points[worst], COMMAND, balance),
        Row("time of fully connected layers with all PEs busy", title, len(busy), *errors(list(busy.values())),
            COMMAND, work),
    ]  # fmt: skip
