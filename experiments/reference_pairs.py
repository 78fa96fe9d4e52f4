"""The best machine of each kind at equal lanes, SRAM, bandwidth and clock: a search over choices of architecture.

    python -m experiments.reference_pairs

From a first design of each kind, one choice after the other is tried in all its values with the others as they are,
and the best is kept, until a whole round changes nothing: by cycles, by energy, by energy x delay.  Work: the shipped
ResNet-20 as a network, feature maps on the chip where they fit; logic priced in gates, energy on the chip and of DRAM.
So that no design suits small layers alone, those that cannot run two wide layers, or are worse at them by more than a
tenth than the first design (same figure, geometric mean over dense weights and 80 % random zeros), are left out.
Writes reports/reference-pairs.json: each kind's best designs, their figures, those on the wide layers over the first
design's, and how many were tried.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import sqrt
from typing import Any

from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.files import write_text
from accelsim.network.table_layer import TableLayer
from accelsim.simulator.machines.choice import machine_from
from accelsim.simulator.run import run
from accelsim.workload import LayerTable, LayerWork, layer_works
from experiments.paths import MODELS, REPORTS

MODEL = MODELS / "resnet20-cifar10.dual"
STORED = REPORTS / "reference-pairs.json"
GOALS = ("cycles", "energy", "edp")
COMMON = {
    "name": "candidate",
    "clock_mhz": 800,
    "node_nm": 28,
    "zero_handling": "skip_weights",
    "weight_format": "bitmask",
    "objective": "edp",
    "post": {"add": True, "pool": True},
    "vector_lanes": 16,
    "dram": {"type": "LPDDR4-3200"},
}
# A machine of any use runs other networks, too: layers as ResNet-18 and VGG-16 have them.
WIDE_LAYERS = ((512, 14), (128, 56))  # channels in and out, height and width
WIDE_DENSITIES = (0.2, 1.0)
MOST_ON_WIDE = 1.1  # of the first design's figure
Choices = dict[str, Any]
Figures = dict[str, float]
WINDOWS = [
    {"positions": positions, "banks": banks}
    for positions, banks in (
        (16, 2),
        (16, 4),
        (16, 8),
        (32, 4),
        (32, 8),
        (64, 8),
        (72, 4),
        (144, 4),
        (144, 8),
        (144, 16),
    )
]
# A window and the filters that share its operands go together: both take room for weights.
SELECTIONS = [{"operand_window": window, "filters_per_lane": filters} for window in WINDOWS for filters in (1, 2, 4)]
SPATIAL: dict[str, list[Any]] = {
    "selection": SELECTIONS,
    "pe_array": [{"rows": rows, "cols": 256 // rows} for rows in (8, 16, 32, 64)],
    "outputs_per_lane": [1, 2, 4],
    "balance": ["none", "greedy"],
    "buffers": [{"weight_kb": weights, "input_kb": 160 - weights, "output_kb": 32} for weights in (32, 64, 96)]
    + [{"weight_kb": 64, "input_kb": 64, "output_kb": 64}],
}
WINOGRAD: dict[str, list[Any]] = {
    "selection": SELECTIONS,
    "pe_array": [
        {"taps": taps, "rows": rows, "cols": 256 // taps // rows}
        for taps, rows in ((1, 8), (1, 16), (1, 32), (4, 8), (4, 16), (16, 2), (16, 4), (16, 8))
    ],
    "transforms": ["stored, unit", "stored, lane", "streamed, unit", "streamed, lane"],
    "weight_transform": ["off_line", "on_chip"],
    "tiles": [(2,), (2, 4)],
    "outputs_per_lane": [1, 2, 4],
    "balance": ["none", "greedy"],
    "transform_rate": [4, 8, 16],
}
FIRST: dict[str, Choices] = {
    "spatial": {
        "selection": {"operand_window": {"positions": 144, "banks": 8}, "filters_per_lane": 1},
        "pe_array": {"rows": 16, "cols": 16},
        "outputs_per_lane": 1,
        "balance": "none",
        "buffers": {"weight_kb": 64, "input_kb": 64, "output_kb": 64},
    },
    "winograd": {
        "selection": {"operand_window": {"positions": 32, "banks": 8}, "filters_per_lane": 1},
        "pe_array": {"taps": 1, "rows": 16, "cols": 16},
        "transforms": "stored, lane",
        "weight_transform": "on_chip",
        "tiles": (2,),
        "outputs_per_lane": 1,
        "balance": "greedy",
        "transform_rate": 16,
    },
}


FIRST["winograd, one tile size"] = FIRST["winograd"]
VALUES: dict[str, dict[str, list[Any]]] = {
    "spatial": SPATIAL,
    "winograd": WINOGRAD,
    "winograd, one tile size": WINOGRAD | {"tiles": [(2,)]},
}


def description(kind: str, choices: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a machine file for some choices; 192 KB in all."""
    keys: dict[str, Any] = COMMON | {"kind": kind.partition(",")[0]} | dict(choices)
    keys |= keys.pop("selection")
    buffers = keys.get("buffers", {})
    if kind != "spatial":
        transform, inverse = keys.pop("transforms").split(", ")
        sums = 64 if inverse == "unit" else 32
        transformed = 40 if transform == "stored" else 0
        buffers = {
            "weight_kb": 64,
            "input_kb": 128 - sums - transformed,
            "transformed_kb": transformed,
            "output_kb": sums,
        }
        keys |= {"input_transform": transform, "inverse": inverse, "inverse_rate": 4}
    return keys | {"buffers": buffers | {"activations": "shared"}}


def wide_layers(density: float) -> tuple[LayerWork, ...]:
    """Layers of many channels, with so large a share of weights that are not zero."""
    layers = tuple(
        TableLayer(f"{C} channels", "conv", C, C, size, size, (3, 3), padding=1, weight_density=density)
        for C, size in WIDE_LAYERS
    )
    return tuple(layer_works(LayerTable("wide", layers)))


def measure(works: Sequence[LayerWork], kind: str, choices: Mapping[str, Any], level: str) -> Figures | None:
    """Cycles, energy in pJ and their product over all layers, and area; None where a layer does not fit."""
    machine = machine_from(description(kind, choices))
    try:
        total = run(works, machine, engine="fast", level=level).total
    except InputError:
        return None
    cycles = float(total["cycles"])
    energy = float(total["energy_pj"])
    return {"cycles": cycles, "energy": energy, "edp": energy * cycles, "area_mm2": float(total["area_mm2"])}


class Search:
    """Coordinate descent over one kind's choices, with what was measured so far."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.values = VALUES[kind]
        self.works = tuple(layer_works(read_dual(MODEL)))
        self.wide = tuple(wide_layers(density) for density in WIDE_DENSITIES)
        self.tried: dict[str, Figures | None] = {}
        self.tried_wide: dict[str, tuple[Figures | None, ...]] = {}

    def figures(self, choices: Mapping[str, Any]) -> Figures | None:
        """Figures of one design on the network, measured once."""
        key = json.dumps(choices, sort_keys=True)
        if key not in self.tried:
            self.tried[key] = measure(self.works, self.kind, choices, "resident")
        return self.tried[key]

    def on_wide(self, choices: Mapping[str, Any], goal: str) -> float:
        """Figure on the wide layers over the first design's; infinite where one does not fit."""
        ratio = 1.0
        for here, first in zip(self._wide_figures(choices), self._wide_figures(FIRST[self.kind]), strict=True):
            if here is None or first is None:
                return float("inf")
            ratio *= here[goal] / first[goal]
        return sqrt(ratio)

    def _wide_figures(self, choices: Mapping[str, Any]) -> tuple[Figures | None, ...]:
        """Figures of one design on the wide layers by their density, measured once."""
        key = json.dumps(choices, sort_keys=True)
        if key not in self.tried_wide:
            self.tried_wide[key] = tuple(measure(works, self.kind, choices, "layers") for works in self.wide)
        return self.tried_wide[key]

    def best(self, goal: str) -> Choices:
        """The design that no single other choice betters."""
        here = dict(FIRST[self.kind])
        changed = True
        while changed:
            changed = False
            for key in self.values:
                for found in sorted(self._variants(here, key), key=lambda choices: self._score(choices, goal)):
                    if self._score(found, goal) >= self._score(here, goal):
                        break
                    if self.on_wide(found, goal) <= MOST_ON_WIDE:
                        here = found
                        changed = True
                        break
        return here

    def _variants(self, here: Choices, key: str) -> Iterator[Choices]:
        for value in self.values[key]:
            yield here | {key: value}

    def _score(self, choices: Choices, goal: str) -> float:
        found = self.figures(choices)
        return float("inf") if found is None else found[goal]


def search(kind: str) -> dict[str, Any]:
    """The best designs of one kind by each goal, with the first one beside them."""
    own = Search(kind)
    designs = {"first": FIRST[kind]} | {goal: own.best(goal) for goal in GOALS}
    return {
        "tried": len(own.tried),
        "designs": {
            name: {
                "choices": choices,
                "figures": own.figures(choices),
                "wide_over_first": {goal: own.on_wide(choices, goal) for goal in GOALS},
            }
            for name, choices in designs.items()
        },
    }


def main() -> None:
    """Search both kinds and write what was found."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with ProcessPoolExecutor(len(VALUES)) as pool:
        found = dict(zip(VALUES, pool.map(search, VALUES), strict=True))
    write_text(STORED, json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
