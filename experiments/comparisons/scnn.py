"""SCNN: scnn-like and its dense twin beside the figures published for SCNN and DCNN (Parashar et al., ISCA 2017).

Cycles of the lanes of the convolutions, summed over a network, dense twin over sparse machine: the paper's own
simulator counts on-chip cycles.  Densities of VGG-16 are the paper's; AlexNet's weights are those of Han et al. 2015,
whose pruning the paper uses, its inputs those that Eyeriss measured (JSSC 2017).  Sweeps of the density run on
GoogLeNet, as there.  No constant was fitted; that padding zeros of the run-length code take multipliers was added
after a first comparison (29 times faster at densities .1/.1 without it).
"""

from dataclasses import replace
from functools import cache

import accelsim
from accelsim.simulator.run import run
from accelsim.workload import LayerTable
from accelsim.workload.table import works_of_kind
from experiments.comparisons.row import Row, compared

PUBLISHED_SPEEDUPS = {"alexnet-han": 2.37, "vgg16-scnn": 3.52}
PUBLISHED_DENSE_SPEED = 0.79
PUBLISHED_BREAK_EVEN = 0.85
PUBLISHED_TENTH = 24.0
COMMAND = "pytest tests/silicon/test_scnn.py"
PAPER = "SCNN, ISCA 2017"


@cache
def speedup(name: str, density: float | None = None) -> float:
    """Cycles of the dense twin over the sparse machine's; at one density of weights and inputs, or the table's."""
    table = accelsim.load_workload(name)
    assert isinstance(table, LayerTable)
    if density is not None:
        layers = (replace(layer, weight_density=density, activation_density=density) for layer in table.layers)
        table = replace(table, layers=tuple(layers))
    works = works_of_kind(table, "conv")
    sparse, dense = (
        int(run(works, accelsim.load_hardware(machine), engine="fast").total["compute_cycles"])
        for machine in ("scnn-like", "scnn-dense")
    )
    return dense / sparse


def break_even() -> float:
    """The density of weights and inputs at which both machines are equally fast, between two that enclose it."""
    low = 0.80
    high = 0.90
    faster = speedup("googlenet", low)
    slower = speedup("googlenet", high)
    assert slower < 1 < faster
    return low + (faster - 1) / (faster - slower) * (high - low)


def rows() -> list[Row]:
    """Two networks at their densities; GoogLeNet dense, at the break-even density and with a tenth of both operands."""
    networks = {name: speedup(name) for name in PUBLISHED_SPEEDUPS}
    pairs = [(networks[name], published) for name, published in PUBLISHED_SPEEDUPS.items()]
    remark = ", ".join(f"{ours:.2f} for {theirs}" for ours, theirs in pairs)
    dense = speedup("googlenet", 1.0)
    tenth = speedup("googlenet", 0.1)
    even = break_even()
    return [
        compared(
            "speed-up over the dense twin, AlexNet and VGG-16",
            PAPER,
            pairs,
            COMMAND,
            f"{remark}; nothing fitted, lanes alone, banks without conflicts",
        ),
        compared(
            "speed on dense data, GoogLeNet",
            PAPER,
            [(dense, PUBLISHED_DENSE_SPEED)],
            COMMAND,
            f"{dense:.3f} for 0.79",
        ),
        compared(
            "break-even density, GoogLeNet",
            PAPER,
            [(even, PUBLISHED_BREAK_EVEN)],
            COMMAND,
            f"{even:.3f} for 0.85",
        ),
        compared(
            "speed-up at densities .1/.1, GoogLeNet",
            PAPER,
            [(tenth, PUBLISHED_TENTH)],
            COMMAND,
            f"{tenth:.1f} for 24",
        ),
    ]
