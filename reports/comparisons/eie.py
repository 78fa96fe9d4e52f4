"""EIE: load balance of eie-like on fully connected layers beside the efficiencies published for EIE (ISCA 2016).

Densities of weights and inputs are the paper's (its table of benchmarks); the masks are random, not the trained ones.
Efficiency: the share of the lanes' cycles in which they work off a stored weight, padding zeros included.
"""

from functools import cache

import numpy as np

import accelsim
from accelsim.hardware.machine import SpatialMachine
from accelsim.simulator.interleaved import queue_cycles, stored_weights
from reports.comparisons.row import Row

# name: inputs, outputs, density of weights and of inputs, published efficiency with 64 PEs and queues of 8
LAYERS = {
    "AlexNet FC6": (9216, 4096, 0.09, 0.351, 0.93),
    "AlexNet FC7": (4096, 4096, 0.09, 0.353, 0.96),
    "AlexNet FC8": (4096, 1000, 0.25, 0.375, 0.90),
    "VGG FC6": (25088, 4096, 0.04, 0.183, 0.82),
    "VGG FC7": (4096, 4096, 0.04, 0.375, 0.91),
    "VGG FC8": (4096, 1000, 0.23, 0.411, 0.87),
}
COMMAND = "pytest tests/silicon/test_eie.py"


@cache
def efficiency(name: str, places: int = 8) -> float:
    """Load-balance efficiency of one layer with random masks; places: of a queue."""
    inputs, outputs, weights, activations, _ = LAYERS[name]
    machine = accelsim.load_hardware("eie-like")
    assert isinstance(machine, SpatialMachine)
    rng = np.random.default_rng(0)
    active = int(np.count_nonzero(rng.random(inputs) < activations))
    mask = rng.random((outputs, active), np.float32) < weights  # zero inputs are never broadcast
    _, stored = stored_weights(mask, machine.lanes, machine.weight_format)
    return float(stored.sum()) / (machine.lanes * queue_cycles(stored, places))


def rows() -> list[Row]:
    """Six layers, in points of efficiency."""
    points = {name: 100 * abs(efficiency(name) - published) for name, (*_, published) in LAYERS.items()}
    worst = max(points, key=lambda name: points[name])
    others = max(value for name, value in points.items() if name != worst)
    remark = (
        f"points of efficiency; worst {worst}, {efficiency(worst):.2f} for {LAYERS[worst][-1]:.2f}: random masks are "
        f"more even than trained ones; the others within {others:.1f} points; nothing fitted"
    )
    mean = sum(points.values()) / len(points)
    return [
        Row(
            "load balance of fully connected layers",
            "EIE, ISCA 2016",
            len(points),
            mean,
            points[worst],
            COMMAND,
            remark,
        )
    ]
