"""ZigZag beside us: DRAM traffic of dense layers on a machine with the same array and buffers, in its own Python."""

from collections.abc import Sequence
from pathlib import Path

from accelsim.workload import LayerWork
from experiments.peers.environment import environment
from experiments.peers.traffic import Traffic, ask

REQUIREMENTS = ("zigzag-dse==3.9.1", "six")  # it imports six without requiring it
WORKER = Path(__file__).with_name("zigzag_worker.py")


def python() -> Path:
    """ZigZag's interpreter.  Raises ``environment.Unavailable``."""
    return environment("zigzag", REQUIREMENTS)


def simulate(works: Sequence[LayerWork], buffers_kb: tuple[int, int, int]) -> list[Traffic]:
    """ZigZag's mappings with the least DRAM traffic, layer by layer.

    buffers_kb: for weights, inputs and outputs, each double-buffered.
    Raises ``environment.Unavailable``; RuntimeError if ZigZag fails.
    """
    return ask(python(), WORKER, works, buffers_kb)
