"""Where the cycles of a layer go, and so what bounds it.

Parts that sum to the layer's cycles exactly.

    useful      lanes multiply for real outputs (gated multiplies too): slots / lanes;
    imbalance   lanes wait for a fuller filter (or tap) beside them;
    edge        the rest of the lanes' cycles: no output, filter or tap for a lane, outputs of
                padded tiles that are cut off, remainders of a fold, filling and draining of a
                systolic array;
    transform   what the layer would still take beyond the lanes' cycles with a DRAM that needs
                no time: transform units, weights that are decoded or transformed as they arrive;
    dram        the rest: waiting for loads and stores.

Lane-cycles become cycles by division by the number of lanes, rounded down; the remainder counts as
edge.
"""

from dataclasses import replace

import numpy as np

from accelsim.simulator.time.pipeline import Durations, pipeline_cycles
from accelsim.simulator.time.schedule import Schedule

BOUNDS = ("useful", "imbalance", "edge", "transform", "dram")
NAMES = {"useful": "compute"}  # how ``bound`` calls a part, where not by its name


def breakdown(schedule: Schedule, d: Durations, cycles: int, lanes: int) -> dict[str, int | str]:
    """The parts as ``PART_cycles``, and ``bound``: the largest of them.

    cycles: of the layer as timed from ``d``.
    """
    compute = int(schedule.compute_cycles.sum())
    without_dram = compute
    if schedule.transforms or schedule.weight_transform_cycles.any():
        none = np.zeros_like(d.store)
        on_arrival = schedule.weight_transform_cycles
        no_dram = replace(d, input_load=none, weight_load=on_arrival, store=none)
        without_dram = pipeline_cycles(no_dram)
    return shares(schedule, without_dram, cycles, lanes)


def shares(schedule: Schedule, without_dram: int, cycles: int, lanes: int) -> dict[str, int | str]:
    """The parts of the layer's cycles, and ``bound``.

    without_dram: cycles that it would take with a DRAM that needs no time.
    """
    compute = int(schedule.compute_cycles.sum())
    useful = min(compute, int(schedule.useful_slots / lanes))
    imbalance = min(compute - useful, int(schedule.waiting_slots / lanes))
    parts = {
        "useful": useful,
        "imbalance": imbalance,
        "edge": compute - useful - imbalance,
        "transform": without_dram - compute,
        "dram": cycles - without_dram,
    }
    return {**{f"{part}_cycles": value for part, value in parts.items()}, "bound": bound(parts)}


def bound(parts: dict[str, int]) -> str:
    """The name of the largest part: compute, imbalance, edge, transform or dram."""
    largest = max(parts, key=lambda part: parts[part])
    return NAMES.get(largest, largest)
