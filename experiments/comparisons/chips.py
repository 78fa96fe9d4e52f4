"""Power and area of published chips, beside the machines that describe them, with the model's own prices.

Nothing is calibrated here: logic as measured in gates (45 nm, 0.9 V) and moved to the chip's node by general factors,
memories by the CACTI table; DRAM is left out on both sides.  Sources, mW and mm2:

- Eyeriss: Chen et al., IEEE JSSC 52(1), 2017, AlexNet's layers, 65 nm, core of 3.5 mm x 3.5 mm;
- NVDLA: primer (nvdla.org), int8 ResNet-50 at 1 GHz in 16 nm: average power (its peaks are 766 and 55 mW) and cell area
  at 2048 and at 64 multipliers;
- EIE: Han et al., ISCA 2016, 64 PEs, 45 nm;
- Cambricon-X: Zhang et al., MICRO 2016, 16 PEs of 16 multipliers of 16 bits, 1 GHz, 65 nm;
- Moons and Verhelst, VLSI 2016: 16 x 16 multipliers at their full 16 bits, 204 MHz, 40 nm.

Eyeriss v2 is not here: no family of machines describes it (docs/modelling.md, Chips).

The last two are described here (``CAMBRICON_X``, ``MOONS``) in what their papers state: array, words, memories, clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import accelsim
from accelsim.hardware.energy import area_mm2
from accelsim.network.table_layer import TableLayer
from accelsim.simulator.machines.choice import machine_from
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run
from accelsim.workload import LayerTable, LayerWork, layer_works
from experiments.comparisons import eie, eyeriss
from experiments.comparisons.row import Row, compared
from experiments.paths import WORKLOADS

PUBLISHED = "silicon and layouts as published"
COMMAND = "python -m experiments.validation"
PARTS = ("mac", "transform", "register", "sram", "static")

# 16 PEs of 16 multipliers; 8 KB of input and of output neurons, 2 KB of weights and indexes a PE; a window of 256.
CAMBRICON_X = {
    "name": "cambricon-x",
    "kind": "spatial",
    "clock_mhz": 1000,
    "node_nm": 65,
    "dataflow": "output_stationary",
    "zero_handling": "skip_weights",
    "weight_format": "run_length",
    "arithmetic": {"weight_bits": 16, "activation_bits": 16, "accumulator_bits": 40},
    "pe_array": {"rows": 16, "cols": 16},
    "operand_window": {"positions": 256, "banks": 16},
    "buffers": {"weight_kb": 32, "input_kb": 8, "output_kb": 8},
    "vector_lanes": 16,
    "dram": {"type": "LPDDR4-3200"},
}
# 16 x 16 multipliers, weights along rows, inputs along columns; 128 KB of data memory and 16 KB of programme, 1.1 V.
MOONS = {
    "name": "moons-2016",
    "kind": "spatial",
    "clock_mhz": 204,
    "node_nm": 40,
    "dataflow": "output_stationary",
    "zero_handling": "gate",
    "weight_format": "dense",
    "arithmetic": {"weight_bits": 16, "activation_bits": 16, "accumulator_bits": 48},
    "pe_array": {"rows": 16, "cols": 16},
    "buffers": {"weight_kb": 32, "input_kb": 64, "output_kb": 32},
    "vector_lanes": 16,
    "dram": {"type": "LPDDR4-3200"},
}


@dataclass(frozen=True)
class Chip:
    """A chip's published figures, and the work that its power was published with.

    power_mw: of the chip without DRAM, by name of the work.  area_mm2: of the core, or of its cells.
    """

    name: str
    machine: Callable[[], Machine]
    works: Callable[[], dict[str, Sequence[LayerWork]]]
    power_mw: dict[str, float]
    area_mm2: float


def _eyeriss_machine() -> Machine:
    """Eyeriss at this tool's own prices: what was calibrated on the chip is taken out of its description."""
    return accelsim.load_hardware("eyeriss", ["energy={}"])


def _eyeriss_works() -> dict[str, Sequence[LayerWork]]:
    return {name: (work,) for name, work in eyeriss.works(eyeriss.ALEXNET).items()}


def _table(name: str) -> dict[str, Sequence[LayerWork]]:
    """The layers of a table, as one network."""
    table = accelsim.load_workload(WORKLOADS / f"{name}.csv")
    assert isinstance(table, LayerTable)
    return {name: layer_works(table)}


def _eie_works() -> dict[str, Sequence[LayerWork]]:
    """EIE's fully connected layers, by name."""
    found = {}
    for name, (inputs, outputs, weights, activations) in eie.LAYERS.items():
        row = TableLayer(
            name=name,
            kind="linear",
            in_channels=inputs,
            out_channels=outputs,
            height=1,
            width=1,
            kernel=(1, 1),
            weight_density=weights,
            activation_density=activations,
        )
        found[name] = layer_works(LayerTable(name, (row,)))
    return found


CHIPS = (
    Chip(
        name="Eyeriss",
        machine=_eyeriss_machine,
        works=_eyeriss_works,
        power_mw={name: figures.power_mw for name, (figures, _) in eyeriss.ALEXNET.layers.items()},
        area_mm2=3.5 * 3.5,
    ),
    Chip(
        name="NVDLA, 2048 multipliers",
        machine=lambda: accelsim.load_hardware("nvdla-full", ["dram.bandwidth_gbs=20.48"]),
        works=lambda: _table("resnet50"),
        power_mw={"resnet50": 291},
        area_mm2=3.3,
    ),
    Chip(
        name="NVDLA, 64 multipliers",
        machine=lambda: accelsim.load_hardware("nvdla-small"),
        works=lambda: _table("resnet50"),
        power_mw={"resnet50": 21},
        area_mm2=0.55,
    ),
    Chip(
        name="EIE",
        machine=lambda: accelsim.load_hardware("eie-like"),
        works=_eie_works,
        power_mw=dict.fromkeys(eie.LAYERS, 590.0),
        area_mm2=40.8,
    ),
    Chip(
        name="Cambricon-X",
        machine=lambda: machine_from(CAMBRICON_X),
        works=lambda: _table("alexnet-han"),
        power_mw={"alexnet-han": 954},
        area_mm2=6.38,
    ),
    Chip(
        name="Moons and Verhelst",
        machine=lambda: machine_from(MOONS),
        works=lambda: _table("alexnet"),
        power_mw={"alexnet": 288},
        area_mm2=2.4,
    ),
)


@cache
def power_mw(index: int) -> dict[str, float]:
    """Power of a chip of ``CHIPS`` without its DRAM, by name of the work."""
    chip = CHIPS[index]
    machine = chip.machine()
    found = {}
    for name, works in chip.works().items():
        total = run(works, machine, engine="fast").total
        pj = sum(float(total[f"energy_{part}_pj"]) for part in PARTS)
        found[name] = pj / (float(total["cycles"]) * machine.ns_per_cycle)
    return found


def rows() -> list[Row]:
    """Power and area of each chip."""
    found = []
    for index, chip in enumerate(CHIPS):
        ours = power_mw(index)
        pairs = [(ours[name], published) for name, published in chip.power_mw.items()]
        area = (area_mm2(chip.machine()), chip.area_mm2)
        power = ", ".join(f"{mine:.0f} for {theirs:.0f} mW" for mine, theirs in pairs)
        found.append(compared(f"on-chip power of {chip.name}", PUBLISHED, pairs, COMMAND, f"{power}; not calibrated"))
        remark = f"{area[0]:.2f} for {area[1]:.2f} mm2; not calibrated"
        found.append(compared(f"area of {chip.name}", PUBLISHED, [area], COMMAND, remark))
    return found
