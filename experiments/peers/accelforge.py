"""AccelForge beside us, the successor that Timeloop's authors offer: DRAM traffic of dense layers, in its own Python.

Timeloop itself is on no package index.  AccelForge's exhaustive mapper needs Python 3.12, and has no double buffering:
it gets half of each buffer.
"""

from collections.abc import Sequence
from pathlib import Path

from accelsim.workload import LayerWork
from experiments.peers.environment import environment, newer_python
from experiments.peers.traffic import Traffic, ask

REQUIREMENTS = ("accelforge==1.0.467",)
WORKER = Path(__file__).with_name("accelforge_worker.py")


def python() -> Path:
    """AccelForge's interpreter.  Raises ``environment.Unavailable``."""
    return environment("accelforge", REQUIREMENTS, newer_python(3, 12))


def simulate(works: Sequence[LayerWork], buffers_kb: tuple[int, int, int]) -> list[Traffic]:
    """AccelForge's mappings with the least DRAM traffic, layer by layer.

    buffers_kb: for weights, inputs and outputs, each double-buffered.
    Raises ``environment.Unavailable``; RuntimeError if AccelForge fails.
    """
    return ask(python(), WORKER, works, buffers_kb)
