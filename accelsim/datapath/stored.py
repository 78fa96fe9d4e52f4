"""Scales of whole numbers in a ``.dual`` file.

Which of them belong to a machine, and how they get there.
"""

from dataclasses import asdict
from hashlib import sha256
from math import frexp
from typing import Any

import numpy as np

from accelsim.datapath.floating import machine_tiles
from accelsim.datapath.groups import groups
from accelsim.datapath.program import Calibrated
from accelsim.dual.calibration import Calibration
from accelsim.dual.model import DualModel
from accelsim.hardware.datapath import Datapath
from accelsim.network import INPUT
from accelsim.network.layers import Conv

MOST_POINTS = 8  # of a text in a file: those of F(6, 3)


def arithmetic_of(datapath: Datapath) -> dict[str, Any]:
    """All that decides what a machine computes, by key, as a file keeps it."""
    whole = asdict(datapath)
    del whole["machine"], whole["layer_thresholds"], whole["layer_weight_bits"]
    tiles = whole.pop("layer_m")
    points = whole.pop("points")
    if tiles:
        whole["layer_m"] = sha256(repr(tiles).encode()).hexdigest()
    if points:  # files that know of none go on to fit
        whole["points"] = "; ".join(f"{m}: {' '.join(map(str, own[:MOST_POINTS]))}" for m, own in points)
    return {**whole.pop("integers"), **whole}


def stored(model: DualModel, datapath: Datapath) -> tuple[Calibrated, int] | None:
    """The model's scales for a machine, and the images they were found on.

    None if it has none that fit.
    """
    if datapath.layer_thresholds:  # a file knows one threshold
        return None
    wanted = arithmetic_of(datapath)
    for calibration in model.calibrations:
        if calibration.arithmetic == wanted and _complete(model, datapath, calibration):
            shifts = {name: np.array(rows, np.int64) for name, rows in calibration.input_shifts.items()}
            return Calibrated(dict(calibration.units), shifts, dict(calibration.sum_shifts)), calibration.images
    return None


def to_store(datapath: Datapath, found: Calibrated, images: int) -> Calibration:
    """Scales as a file keeps them."""
    return Calibration(
        arithmetic=arithmetic_of(datapath),
        images=images,
        units={name: float(unit) for name, unit in sorted(found.units.items())},
        input_shifts={name: shifts.tolist() for name, shifts in found.input_shifts.items()},
        sum_shifts=dict(found.sum_shifts),
    )


def _complete(model: DualModel, datapath: Datapath, calibration: Calibration) -> bool:
    """Whether it is all that ``to_store`` writes, and no more.

    A unit for every feature map that has one of its own, a power of two where the machine shifts;
    shifts of layers that compute, in the shape of their tiles.
    """
    graph = model.network.graph
    if datapath.integers.scales == "power_of_two" and any(frexp(unit)[0] != 0.5 for unit in calibration.units.values()):
        return False
    if any(graph.node(name).layer.op not in ("conv", "linear") for name in calibration.sum_shifts):
        return False
    tiles = machine_tiles(model, datapath)
    for name, rows in calibration.input_shifts.items():
        layer = graph.node(name).layer
        if name not in tiles or not isinstance(layer, Conv):
            return False
        n_h, n_w = (tiles[name] + r - 1 for r in layer.kernel)
        if len(rows) != n_h or {len(row) for row in rows} != {n_w}:
            return False
    wanted = {INPUT, *(group.output for group in groups(graph) if group.rounds)}
    return wanted == calibration.units.keys()
