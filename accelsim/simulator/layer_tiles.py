"""In which domain, and at which tile size, a machine runs each layer where its mapping decides that."""

import re
from collections.abc import Sequence
from dataclasses import replace

from accelsim.dual.model import DualModel
from accelsim.hardware.datapath import Datapath
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run_rows
from accelsim.workload import LayerWork, layer_works

MODE = re.compile(r"winograd-f([0-9]+)")


def datapath_on(model: DualModel, machine: Machine) -> Datapath:
    """The machine's arithmetic on a model, each layer as the machine runs it where it chooses (``layer_tiles``)."""
    return replace(machine.datapath, layer_m=layer_tiles(layer_works(model, 1), machine))


def layer_tiles(
    works: Sequence[LayerWork],
    machine: Machine,
    level: str = "resident",
) -> tuple[tuple[str, int], ...]:
    """m of F(m x m, R x S) by layer, in order, of a machine that chooses; 0: direct sums.

    Empty where nothing is chosen: one tile size for all layers, or none, and no layer as a plain
    product that Winograd could serve.  Raises as ``run.run``.
    """
    if len(getattr(machine, "tile_sizes", ())) < 2 and not getattr(machine, "hybrid", False):
        return ()
    rows, _ = run_rows(works, machine, "fast", level)
    found = ((row["name"], MODE.fullmatch(row["mode"])) for row in rows if row["kind"] == "conv")
    return tuple((str(name), 0 if mode is None else int(mode[1])) for name, mode in found)
