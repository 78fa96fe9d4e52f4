"""What Winograd brings on one and the same machine, beside published gains of Winograd accelerators.

- R. Andri et al., MICRO 2022: dense F(4, 3) with tap-wise scales (taps of 10 bits) takes up to 1.83 times less time and
  up to 1.85 times less energy than direct convolution on the same accelerator, over whole networks.  Here: the 3 x 3
  layers at stride 1 of ResNet-18, on 256 dense lanes behind a streamed transform, directly and by F(4, 3); energy
  without DRAM.
- SpWA (L. Lu and Y. Liang, DAC 2018): VGG-16 with sparse Winograd filters 2.9 to 3.1 times faster than dense ones.
  Here: one 3 x 3 layer of VGG-16 of each shape, 80 % zeros, each tap's lanes with an operand window.
- NVDLA's primer: its Winograd mode multiplies 2.25 times less in 3 x 3 layers.  Here: lanes' cycles of nvdla-full in
  its direct mode over its Winograd mode, layers of ResNet-18 at stride 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import accelsim
from accelsim.network.table_layer import TableLayer
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run
from accelsim.workload import LayerTable, LayerWork, layer_works, load_table
from experiments.comparisons.row import Row, compared
from experiments.paths import ROOT

COMMAND = "python -m experiments.validation"
ANDRI = {"time": 1.83, "energy": 1.85}
SPWA = (2.9, 3.1)
NVDLA = 2.25
KEPT = 0.2
ON_CHIP = ("mac", "transform", "register", "sram", "static")
DENSE = (
    "zero_handling=none",
    "weight_format=dense",
    "weight_transform=on_chip",
    "tiles=[4]",
    "arithmetic.transformed_bits=10",
    "inverse=lane",
    "input_transform=streamed",
    "buffers.transformed_kb=0",
    "buffers.input_kb=64",
    "operand_window={positions: 16, banks: 1}",
    "pe_array={taps: 36, rows: 1, cols: 7}",
    "filters_per_lane=8",
    "transform_rate=1",
    "objective=energy",
)
SPARSE = ("inverse=lane", "operand_window={positions: 64, banks: 8}", "balance=greedy")


def layers(table: str, kept: float) -> tuple[LayerWork, ...]:
    """One 3 x 3 layer at stride 1 of each shape of a table, weights of that density."""
    found: dict[tuple[int, int, int], TableLayer] = {}
    for row in load_table(Path(ROOT, "workloads", f"{table}.csv")).layers:
        if row.kind == "conv" and row.kernel == (3, 3) and row.stride == 1:
            found.setdefault((row.in_channels, row.out_channels, row.height), replace(row, weight_density=kept))
    return tuple(layer_works(LayerTable(table, tuple(found.values()))))


def directly(works: Sequence[LayerWork]) -> list[LayerWork]:
    """The same layers as Winograd does not serve them."""
    return [replace(work, winograd_threshold=None, winograd_density=None) for work in works]


@cache
def dense_gains() -> dict[str, float]:
    """Time and on-chip energy of direct convolution over those of F(4, 3), on one machine."""
    machine = accelsim.load_hardware("winograd-16x16", DENSE)
    works = layers("resnet18", 1.0)
    totals = [run(own, machine, engine="fast").total for own in (directly(works), works)]
    energy = [sum(float(total[f"energy_{part}_pj"]) for part in ON_CHIP) for total in totals]
    return {"time": totals[0]["cycles"] / totals[1]["cycles"], "energy": energy[0] / energy[1]}


@cache
def sparse_gain() -> float:
    """Cycles of dense Winograd filters over those of sparse ones, on one array."""
    works = layers("vgg16", KEPT)
    skipping = accelsim.load_hardware("winograd-16x16", SPARSE)
    dense = accelsim.load_hardware("winograd-16x16", ["zero_handling=none", "weight_format=dense", "inverse=lane"])
    return _lanes(works, dense) / _lanes(works, skipping)


@cache
def cells_gain() -> float:
    """Lanes' cycles of nvdla-full's direct mode over those of its Winograd mode."""
    works = layers("resnet18", 1.0)
    machine = accelsim.load_hardware("nvdla-full")
    return _lanes(directly(works), machine) / _lanes(works, machine)


def _lanes(works: Sequence[LayerWork], machine: Machine) -> int:
    return int(run(works, machine, engine="fast").total["compute_cycles"])


def rows() -> list[Row]:
    """Published gains and ours."""
    gains = dense_gains()
    text = ", ".join(f"{what} {gains[what]:.2f} for up to {theirs}" for what, theirs in ANDRI.items())
    sparse = sparse_gain()
    cells = cells_gain()
    return [
        compared(
            "dense F(4, 3) over direct convolution, time and energy",
            "R. Andri et al., MICRO 2022",
            [(gains[what], theirs) for what, theirs in ANDRI.items()],
            COMMAND,
            f"{text}; theirs of whole networks on a larger core, ours of 3 x 3 layers without DRAM",
        ),
        compared(
            "sparse over dense Winograd filters, VGG-16",
            "SpWA, DAC 2018",
            [(sparse, theirs) for theirs in SPWA],
            COMMAND,
            f"{sparse:.2f} for {SPWA[0]} to {SPWA[1]}; 80 % random zeros, their pruning and FPGA are another",
        ),
        compared(
            "Winograd over direct mode, 3 x 3 layers of ResNet-18",
            "NVDLA's primer",
            [(cells, NVDLA)],
            COMMAND,
            f"{cells:.2f} for {NVDLA}: outputs come in blocks of 4 x 4, which 14 and 7 pixels do not fill",
        ),
    ]
