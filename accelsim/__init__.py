"""accelsim: one compressed CNN on two simulated accelerators, in the spatial and in the Winograd domain.

import accelsim
model = accelsim.load_model("models/resnet20-cifar10.dual")
machine = accelsim.load_hardware("winograd-16x16", ["pe_array.rows=32"])
result = accelsim.simulate(model, machine)
result.layers, result.total  # pandas
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from accelsim.compression.dual import read_dual
from accelsim.compression.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.load import load_hardware
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.result import Result
from accelsim.simulator.run import ENGINES, run
from accelsim.workload import layer_works

__all__ = ["DualModel", "InputError", "Result", "compare", "load_hardware", "load_model", "ratios", "simulate"]

AnyMachine = SpatialMachine | WinogradMachine

RATIO_COLUMNS = ("cycles", "energy_pj", "dram_read_bytes", "dram_write_bytes", "effectual_macs", "area_mm2", "power_mw")


def load_model(path: str | Path) -> DualModel:
    """Read a ``.dual`` file.  Raises InputError if it is missing or not a sound one."""
    return read_dual(Path(path))


def simulate(
    model: DualModel,
    machine: AnyMachine | str | Path,
    *,
    engine: str = "event",
    batch: int = 1,
    name: str | None = None,
) -> Result:
    """Run the model on the machine, layer after layer.

    machine: a description, or what ``load_hardware`` takes.  engine: ``event`` (SimPy) or ``fast``.
    Raises InputError if the machine is unsound or its buffers are too small, or the engine or batch is not valid.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r}, expected one of {sorted(ENGINES)}")
    if batch < 1:
        raise InputError(f"batch {batch}, expected at least 1")
    description = load_hardware(machine) if isinstance(machine, str | Path) else machine
    return run(layer_works(model, batch), description, name or model.network.graph.name, engine)


def compare(
    model: DualModel, machines: Iterable[AnyMachine | str | Path], *, engine: str = "event", batch: int = 1
) -> list[Result]:
    """Run the model on each machine.  Raises InputError as ``simulate``."""
    return [simulate(model, machine, engine=engine, batch=batch) for machine in machines]


def ratios(results: Sequence[Result]) -> pd.DataFrame:
    """Totals of each result over the first one's: one row a machine, below 1 is less than the first machine."""
    first = results[0].total
    rows = {r.machine: {column: r.total[column] / first[column] for column in RATIO_COLUMNS} for r in results}
    return pd.DataFrame.from_dict(rows, orient="index")
