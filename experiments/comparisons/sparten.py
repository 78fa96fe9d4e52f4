"""SparTen: sparten-like beside the speed-ups published for SparTen (Gondimalla et al., MICRO 2019).

Published: means over networks of the authors' own choice and pruning.  Here: cycles of the lanes of the convolutions of
AlexNet and VGG-16 at published densities (``experiments/comparisons/scnn.py``), geometric mean; the dense machine and
the one that skips weights alone are the same array with other zero handling, SCNN is scnn-like.  All have 1024 lanes.
"""

from functools import cache
from math import prod

import accelsim
from accelsim.simulator.run import run
from accelsim.workload import LayerTable, LayerWork
from accelsim.workload.table import works_of_kind
from experiments.comparisons.row import Row, compared

PUBLISHED = {"dense": 4.7, "one-sided": 1.8, "SCNN": 3.0}
NETWORKS = ("alexnet-han", "vgg16-scnn")
MACHINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "SparTen": ("sparten-like", ()),
    "dense": ("sparten-like", ("zero_handling=none", "balance=none", "window=1", "chunk=null", "weight_format=dense")),
    "one-sided": ("sparten-like", ("zero_handling=skip_weights", "chunk=null")),
    "SCNN": ("scnn-like", ()),
}
COMMAND = "pytest tests/silicon/test_sparten.py"


@cache
def convolutions(network: str) -> tuple[LayerWork, ...]:
    """The convolutions of a network, their zeros drawn once for all machines."""
    table = accelsim.load_workload(network)
    assert isinstance(table, LayerTable)
    return works_of_kind(table, "conv")


@cache
def cycles(machine: str, network: str) -> int:
    """Cycles of the lanes of a network's convolutions on one of MACHINES."""
    name, overrides = MACHINES[machine]
    return int(
        run(convolutions(network), accelsim.load_hardware(name, overrides), engine="fast").total["compute_cycles"]
    )


def speedup(over: str) -> float:
    """How much faster sparten-like is than another machine: geometric mean over the networks."""
    ratios = [cycles(over, network) / cycles("SparTen", network) for network in NETWORKS]
    return prod(ratios) ** (1 / len(ratios))


def rows() -> list[Row]:
    """SparTen-like over the dense and the one-sided array, and over SCNN-like."""
    own = [(speedup(name), PUBLISHED[name]) for name in ("dense", "one-sided")]
    scnn = speedup("SCNN")
    paper = "SparTen, MICRO 2019"
    text = ", ".join(f"{ours:.2f} for {theirs}" for ours, theirs in own)
    return [
        compared(
            "SparTen-like over dense and over weights skipped alone",
            paper,
            own,
            COMMAND,
            f"{text}; other networks and pruning than the paper's",
        ),
        compared(
            "SparTen-like over SCNN-like",
            paper,
            [(scnn, PUBLISHED["SCNN"])],
            COMMAND,
            f"{scnn:.2f} for 3.0: the paper's SCNN is 1.6 times its dense machine, SCNN's own paper says 2.4 to 3.5, "
            "which scnn-like meets",
        ),
    ]
