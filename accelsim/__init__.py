"""accelsim: one compressed CNN on two simulated accelerators, in the spatial and in the Winograd domain.

>>> import accelsim
>>> machine = accelsim.load_hardware("winograd-16x16", ["clock_mhz=400"])
>>> result = accelsim.simulate("resnet20-cifar10", machine, engine="fast")  # a name, a path, or a loaded model
>>> result.layers.shape[0], int(result.total["dense_macs"])  # pandas
(30, 40551040)

Each function imports what it needs when it is called, so that importing the package costs nothing.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.errors import InputError
from accelsim.loading import (
    load_hardware,
    load_model,
    load_workload,
    machine_of,
    machines_of,
    path_of,
    sample_images,
    workload_of,
)
from accelsim.making import compress, explore_network, export, from_torch, import_file, sparsify, train
from accelsim.showing import inspect, plots, redraw_report, write_report, write_table
from accelsim.validating import calibrate, export_int8, search_widths, validate

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.datapath.pictures import PictureValidation
    from accelsim.datapath.validate import Validation
    from accelsim.dual.model import DualModel
    from accelsim.explore.sweep import Sweep
    from accelsim.simulator.machines.machine import Machine
    from accelsim.simulator.result import Result
    from accelsim.simulator.verdict import Verdict
    from accelsim.workload import LayerTable

__version__ = "0.1.0"

__all__ = [
    "DualModel",
    "InputError",
    "LayerTable",
    "Machine",
    "PictureValidation",
    "Result",
    "Validation",
    "Verdict",
    "band",
    "calibrate",
    "compare",
    "compress",
    "explore_network",
    "export",
    "export_int8",
    "from_torch",
    "import_file",
    "inspect",
    "load_hardware",
    "load_model",
    "load_workload",
    "plots",
    "ratios",
    "redraw_report",
    "sample_images",
    "search_widths",
    "sensitivity",
    "simulate",
    "sparsify",
    "sweep",
    "train",
    "validate",
    "verdicts",
    "write_report",
    "write_table",
]

_CLASSES = {
    "DualModel": "accelsim.dual.model",
    "LayerTable": "accelsim.workload",
    "Machine": "accelsim.simulator.machines.machine",
    "Result": "accelsim.simulator.result",
    "PictureValidation": "accelsim.datapath.pictures",
    "Validation": "accelsim.datapath.validate",
    "Verdict": "accelsim.simulator.verdict",
}


def __getattr__(name: str) -> Any:
    """The classes of ``__all__``, imported when first asked for."""
    if name not in _CLASSES:
        raise AttributeError(f"module 'accelsim' has no attribute {name!r}")
    return getattr(import_module(_CLASSES[name]), name)


def _check_run(batch: int, level: str, engine: str = "fast") -> int:
    """The batch, as Python's own number.  Raises InputError where a run cannot be so."""
    from accelsim.given import one_of, whole_number
    from accelsim.simulator.network.planning import LEVELS
    from accelsim.simulator.run import ENGINES
    from accelsim.workload import MAX_BATCH

    if not isinstance(engine, str) or engine not in tuple(ENGINES):
        raise InputError(f"engine {engine!r:.100}, expected {' or '.join(ENGINES)}")
    one_of("level", level, tuple(LEVELS))
    return whole_number("batch", batch, 1, MAX_BATCH)


def simulate(
    model: "DualModel | LayerTable | str | Path",
    machine: "Machine | str | Path",
    *,
    engine: str = "event",
    batch: int = 1,
    level: str = "resident",
    name: str | None = None,
) -> "Result":
    """Run the model, or a table's layers with random weights, on the machine.

    model: a loaded one, or what ``load_workload`` takes.  machine: a description, or what
    ``load_hardware`` takes.
    engine: ``event`` (SimPy) or ``fast``.  level: ``layers``, one after the other through DRAM;
    ``fused``, additions and poolings ride on outputs; ``resident``, feature maps stay on chip and
    layers overlap (``docs/modelling.md``).
    batch: images that the run works on, 1 to 4,096.  name: what the result calls the model.
    Raises InputError if the machine is unsound or its buffers are too small, or engine, batch or
    level is not valid.

    >>> accelsim.simulate("resnet20-cifar10", "spatial-16x16", engine="fast", level="layers")  # doctest: +ELLIPSIS
    Result(resnet20-cifar10 on spatial-16x16, level layers: ... cycles, ... uJ)
    """
    from accelsim.given import text_or_none
    from accelsim.simulator.run import run
    from accelsim.workload import LayerTable, layer_works

    batch = _check_run(batch, level, engine)
    called = text_or_none("name", name)
    description = machine_of(machine)
    model = workload_of(model)
    synthetic = isinstance(model, LayerTable)
    known = model.name if isinstance(model, LayerTable) else model.network.graph.name
    return run(layer_works(model, batch), description, called or known, engine, synthetic, level)


def compare(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    *,
    engine: str = "event",
    batch: int = 1,
    level: str = "resident",
) -> "list[Result]":
    """Run the model on each machine.

    Machines of one name are told apart as ``NAME``, ``NAME (2)``, ...

    Arguments, and InputError, as of ``simulate``.

    >>> machines = ["spatial-16x16", "winograd-16x16"]
    >>> results = accelsim.compare("resnet20-cifar10", machines, engine="fast", level="layers")
    >>> [result.machine for result in results]
    ['spatial-16x16', 'winograd-16x16']
    """
    from dataclasses import replace

    from accelsim.names import told_apart

    batch = _check_run(batch, level, engine)
    model = workload_of(model)
    loaded = machines_of(machines)
    names = told_apart(machine.name for machine in loaded)
    results = [simulate(model, machine, engine=engine, batch=batch, level=level) for machine in loaded]
    return [replace(result, machine=name) for result, name in zip(results, names, strict=True)]


def ratios(results: "Sequence[Result]") -> "pd.DataFrame":
    """Totals of each result over the first one's.

    One row a machine, below 1 is less than the first machine.

    A ratio to zero is NaN.  Raises InputError if there are no results, or something else among them.

    >>> results = accelsim.compare("resnet20-cifar10", ["spatial-16x16"] * 2, engine="fast", level="layers")
    >>> float(accelsim.ratios(results).loc["spatial-16x16 (2)", "cycles"])
    1.0
    """
    import pandas as pd

    from accelsim.simulator.result import Result, ratios_of

    if not isinstance(results, Sequence) or not results or not all(isinstance(result, Result) for result in results):
        raise InputError(f"results {results!r:.100}, expected those of one machine at least")
    rows = ratios_of(results)
    return pd.DataFrame.from_dict(rows, orient="index")


def sensitivity(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    *,
    batch: int = 1,
    level: str = "resident",
) -> "pd.DataFrame":
    """Energies of the machines under each energy table, whatever table their descriptions name.

    One row a table and machine: ``table, machine, energy_pj, energy_mac_pj, ratio`` (energy over
    the first machine's).
    Raises InputError as ``simulate``.
    """
    from accelsim.simulator.sensitivity import sensitivity as run
    from accelsim.workload import layer_works, made_once

    batch = _check_run(batch, level)
    loaded = machines_of(machines)
    return run(made_once(layer_works(workload_of(model), batch)), loaded, level)


def band(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    *,
    batch: int = 1,
    level: str = "resident",
) -> "pd.DataFrame":
    """Energies and times of the machines under each assumption that is not measured (``simulator.verdict``).

    One row a case and machine; ``verdicts`` says what follows.  Raises InputError as ``simulate``,
    and for one machine.
    """
    from accelsim.simulator.verdict import band as run
    from accelsim.workload import layer_works, made_once

    batch = _check_run(batch, level)
    loaded = machines_of(machines)
    if len(loaded) < 2:
        raise InputError(f"{len(loaded)} machine, expected at least two for a verdict")
    return run(made_once(layer_works(workload_of(model), batch)), loaded, level)


def verdicts(cases: "pd.DataFrame") -> "list[Verdict]":
    """Each machine's energy, then each one's time, over the first's, with its band.

    cases: of ``band``, all of them in their order.  Raises InputError if they are not.
    """
    import pandas as pd

    from accelsim.simulator.verdict import is_band
    from accelsim.simulator.verdict import verdicts as of_quantity

    if not isinstance(cases, pd.DataFrame) or not is_band(cases):
        found = f"a table of {len(cases)} rows" if isinstance(cases, pd.DataFrame) else type(cases).__name__
        raise InputError(f"cases: {found}, expected what band returned, all its rows in their order")

    return [*of_quantity(cases, "energy"), *of_quantity(cases, "latency")]


def sweep(
    description: str | Path,
    folder: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    search: int | None = None,
) -> "Sweep":
    """Compute the points of a sweep file that ``folder`` does not hold yet, and return all (``table``, ``answers``).

    description: the file, or the bare name of one that comes with the package.
    workers: processes on this computer, all its cores by default.  scheduler: address of a Dask
    cluster instead.
    search: visit at most so many points, guided by the results, instead of all.
    Raises InputError if the file is not sound, the folder cannot be written, or the cluster is not
    to be had.
    """
    from accelsim import shipped
    from accelsim.explore.sweep import run_sweep

    path = shipped.required("sweeps", path_of("description", description))
    return run_sweep(path, path_of("folder", folder), workers=workers, scheduler=scheduler, search=search)
