"""accelsim: one compressed CNN on two simulated accelerators, in the spatial and in the Winograd domain.

>>> import accelsim
>>> machine = accelsim.load_hardware("winograd-16x16", ["clock_mhz=400"])
>>> result = accelsim.simulate("resnet20-cifar10", machine, engine="fast")  # a name, a path, or a loaded model
>>> result.layers.shape[0], int(result.total["dense_macs"])  # pandas
(30, 40551040)

Each function imports what it needs when it is called, so that importing the package costs nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from accelsim.errors import InputError
from accelsim.loading import (
    load_hardware,
    load_model,
    load_workload,
    machine_of,
    machines_of,
    model_of,
    model_path,
    sample_images,
    workload_of,
)
from accelsim.making import compress, explore_network, export, from_torch, import_file, sparsify, train
from accelsim.showing import inspect, plots, redraw_report, write_report, write_table

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.datapath.pictures import PictureValidation
    from accelsim.datapath.validate import Validation
    from accelsim.datapath.widths import FoundWidths
    from accelsim.dual.calibration import Calibration
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

RATIO_COLUMNS = (
    *("cycles", "latency_ms", "energy_pj", "dram_read_bytes", "dram_write_bytes", "effectual_macs"),
    *("area_mm2", "power_mw"),
)
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


def _check_run(batch: int, level: str, engine: str = "fast") -> None:
    """Raise InputError where a run cannot be so."""
    from accelsim.faults import check_whole, nearest
    from accelsim.simulator.network.planning import LEVELS
    from accelsim.simulator.run import ENGINES
    from accelsim.workload import MAX_BATCH

    if engine not in tuple(ENGINES):
        raise InputError(f"engine {engine!r}, expected {' or '.join(ENGINES)}")
    check_whole("batch", batch, 1, MAX_BATCH)
    if level not in LEVELS:
        raise InputError(f"level {level!r}{nearest(str(level), LEVELS)}")


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

    model: a loaded one, or what ``load_workload`` takes.  machine: a description, or what ``load_hardware`` takes.
    engine: ``event`` (SimPy) or ``fast``.  level: ``layers``, one after the other through DRAM; ``fused``, additions
    and poolings ride on outputs; ``resident``, feature maps stay on chip and layers overlap (``docs/modelling.md``).
    batch: images that the run works on, 1 to 4,096.  name: what the result calls the model.
    Raises InputError if the machine is unsound or its buffers are too small, or engine, batch or level is not valid.

    >>> accelsim.simulate("resnet20-cifar10", "spatial-16x16", engine="fast", level="layers")  # doctest: +ELLIPSIS
    Result(resnet20-cifar10 on spatial-16x16, level layers: ... cycles, ... uJ)
    """
    from accelsim.simulator.run import run
    from accelsim.workload import LayerTable, layer_works

    _check_run(batch, level, engine)
    description = machine_of(machine)
    model = workload_of(model)
    synthetic = isinstance(model, LayerTable)
    known = model.name if isinstance(model, LayerTable) else model.network.graph.name
    return run(layer_works(model, batch), description, name or known, engine, synthetic, level)


def compare(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    *,
    engine: str = "event",
    batch: int = 1,
    level: str = "resident",
) -> "list[Result]":
    """Run the model on each machine.  Machines of one name are told apart as ``NAME``, ``NAME (2)``, ...

    Arguments, and InputError, as of ``simulate``.

    >>> machines = ["spatial-16x16", "winograd-16x16"]
    >>> results = accelsim.compare("resnet20-cifar10", machines, engine="fast", level="layers")
    >>> [result.machine for result in results]
    ['spatial-16x16', 'winograd-16x16']
    """
    from dataclasses import replace

    from accelsim.names import told_apart

    _check_run(batch, level, engine)
    model = workload_of(model)
    loaded = machines_of(machines)
    names = told_apart(machine.name for machine in loaded)
    results = [simulate(model, machine, engine=engine, batch=batch, level=level) for machine in loaded]
    return [replace(result, machine=name) for result, name in zip(results, names, strict=True)]


def ratios(results: "Sequence[Result]") -> "pd.DataFrame":
    """Totals of each result over the first one's: one row a machine, below 1 is less than the first machine.

    A ratio to zero is NaN.  Raises InputError if there are no results.

    >>> results = accelsim.compare("resnet20-cifar10", ["spatial-16x16"] * 2, engine="fast", level="layers")
    >>> accelsim.ratios(results).loc["spatial-16x16 (2)", "cycles"]
    np.float64(1.0)
    """
    import pandas as pd

    if not results:
        raise InputError("no results, expected those of one machine at least")
    first = results[0].total
    rows = {r.machine: {c: r.total[c] / first[c] if first[c] else float("nan") for c in RATIO_COLUMNS} for r in results}
    return pd.DataFrame.from_dict(rows, orient="index")


def sensitivity(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    *,
    batch: int = 1,
    level: str = "resident",
) -> "pd.DataFrame":
    """Energies of the machines under each energy table, whatever table their descriptions name.

    One row a table and machine: ``table, machine, energy_pj, energy_mac_pj, ratio`` (energy over the first machine's).
    Raises InputError as ``simulate``.
    """
    from accelsim.simulator.sensitivity import sensitivity as run
    from accelsim.workload import layer_works, made_once

    _check_run(batch, level)
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

    One row a case and machine; ``verdicts`` says what follows.  Raises InputError as ``simulate``, and for one machine.
    """
    from accelsim.simulator.verdict import band as run
    from accelsim.workload import layer_works, made_once

    _check_run(batch, level)
    loaded = machines_of(machines)
    if len(loaded) < 2:
        raise InputError(f"{len(loaded)} machine, expected at least two for a verdict")
    return run(made_once(layer_works(workload_of(model), batch)), loaded, level)


def verdicts(cases: "pd.DataFrame") -> "list[Verdict]":
    """Each machine's energy, then each one's time, over the first's, with its band.  cases: of ``band``."""
    from accelsim.simulator.verdict import verdicts as of_quantity

    return [*of_quantity(cases, "energy"), *of_quantity(cases, "latency")]


def validate(
    model: "DualModel | str | Path",
    machines: "Sequence[Machine | str | Path]",
    images: str | Path | None = None,
    *,
    arithmetic: str = "integers",
    tolerance_points: float | None = None,
    progress: "Callable[[int, int], None] | None" = None,
) -> "Validation | PictureValidation":
    """Run the model on real images as each machine would compute it.

    model, machines: loaded, files, or bare names.
    images: an ``.npz`` file or a folder with ``labels.csv`` (see ``accelsim.network.images``), or, where the network
    gives pictures, an ``.npz`` file with targets, and PSNR is measured; by default the sample of a model that is given
    by file or name.
    arithmetic: ``integers`` of each machine's description, or ``float``.  tolerance_points: loss of top-1 that is
    allowed, by default 1 in integers, 2 in float32, or of PSNR in dB, by default 0.2.  progress: called with the images
    done and those in all.
    Raises InputError if a machine or the images are unsound or do not fit the model.
    """
    from accelsim.datapath.pictures import TOLERANCE_DB, gives_pictures, validate_pictures
    from accelsim.datapath.runs import image_runs
    from accelsim.datapath.validate import validate as run
    from accelsim.network.images import read_images, read_pairs
    from accelsim.simulator.layer_tiles import datapath_on

    known, where = _with_images(model, images)
    datapaths = [datapath_on(known, machine) for machine in machines_of(machines)]
    if arithmetic not in ("integers", "float"):
        raise InputError(f"arithmetic {arithmetic!r}, expected integers or float")
    _check_tolerance(tolerance_points)
    total = done = 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    whole: Literal["integers", "float"] = "integers" if arithmetic == "integers" else "float"
    if gives_pictures(known):
        pairs = read_pairs(where)
        total = image_runs(datapaths, len(pairs.pixels))
        allowed = TOLERANCE_DB if tolerance_points is None else tolerance_points
        return validate_pictures(known, datapaths, pairs, arithmetic=whole, tolerance_db=allowed, progress=count)
    pictures = read_images(where, known.network.graph.input_shape[:2])
    total = image_runs(datapaths, len(pictures.labels))
    return run(known, datapaths, pictures, arithmetic=whole, tolerance_points=tolerance_points, progress=count)


def search_widths(
    model: "DualModel | str | Path",
    machines: "Sequence[Machine | str | Path]",
    images: str | Path | None = None,
    *,
    tolerance_points: float | None = None,
) -> "list[FoundWidths]":
    """The cheapest words of each machine that keep the accuracy on real images: for all layers, then layer by layer.

    model, machines, images, tolerance_points: as for ``validate``; the first images alone are looked at.  Raises
    InputError as it does.
    """
    from accelsim.datapath.search import search
    from accelsim.simulator.layer_tiles import datapath_on

    known, where = _with_images(model, images)
    _check_tolerance(tolerance_points)
    return search(known, [datapath_on(known, machine) for machine in machines_of(machines)], where, tolerance_points)


def _with_images(model: "DualModel | str | Path", images: str | Path | None) -> "tuple[DualModel, Path]":
    """The model, and the file or folder of its images."""
    known = model_of(model)
    if images is None and not isinstance(model, str | Path):
        raise InputError("no images, expected a file or a folder, or the model by its file or name")
    return known, Path(images) if images is not None else sample_images(known, str(model))


def _check_tolerance(tolerance_points: float | None) -> None:
    if tolerance_points is not None and not 0 <= tolerance_points <= 100:
        raise InputError(f"tolerance {tolerance_points}, expected 0 to 100 points")


def calibrate(
    model: str | Path, machine: "Machine | str | Path", images: str | Path, output: str | Path, *, count: int = 256
) -> "Calibration":
    """Find the scales of a machine's whole numbers on the first ``count`` images, and write the model with them.

    The same images give the same file.  Labels are not looked at.  Returns what was stored.
    Raises InputError if an input is unsound, the images do not fit the model, or the machine's numbers are not whole.
    """
    from accelsim.datapath.calibrate import calibrate as run
    from accelsim.datapath.plan import build
    from accelsim.datapath.stored import to_store
    from accelsim.dual.file import with_calibration
    from accelsim.faults import check_whole
    from accelsim.files import DUAL, read_bytes, write_bytes
    from accelsim.network.images import read_images
    from accelsim.simulator.layer_tiles import datapath_on

    loaded = load_model(model)
    datapath = datapath_on(loaded, machine_of(machine))
    if datapath.number != "int":
        raise InputError(f"{datapath.machine}: arithmetic.number {datapath.number}, expected int")
    check_whole("count", count, 1)
    graph = loaded.network.graph
    pixels = read_images(Path(images), graph.input_shape[:2]).pixels[:count]
    if pixels.shape[1:] != graph.input_shape:
        raise InputError(f"{images}: images of {pixels.shape[1:]}, {graph.name} expects {graph.input_shape}")
    found = run(loaded, datapath, pixels)
    build(loaded, datapath, found)  # refused here rather than when it is used
    calibration = to_store(datapath, found, len(pixels))
    write_bytes(Path(output), with_calibration(read_bytes(model_path(model), DUAL), calibration))
    return calibration


def export_int8(
    model: "DualModel | str | Path", machine: "Machine | str | Path", images: str | Path | None, output: str | Path
) -> None:
    """Write the model as an ONNX file of quantize and dequantize nodes, as a spatial machine of 8-bit words runs it.

    images: the scales are found on the first of these; None: they are those that the file holds for the machine, else
    found on the sample of a model that is given by file or name.
    Raises InputError if the machine's words are others, or the images do not fit the model.
    """
    from accelsim.datapath.calibrate import IMAGES
    from accelsim.datapath.calibrate import calibrate as run
    from accelsim.datapath.qdq import write_qdq
    from accelsim.datapath.stored import stored
    from accelsim.network.images import read_images

    datapath = machine_of(machine).datapath
    known = model_of(model)
    kept = stored(known, datapath) if images is None else None
    if kept is not None:
        write_qdq(known, datapath, kept[0], Path(output))
        return
    if images is None and not isinstance(model, str | Path):
        raise InputError("no images, expected a file or a folder, or the model by its file or name")
    where = Path(images) if images is not None else sample_images(known, str(model))
    graph = known.network.graph
    pixels = read_images(where, graph.input_shape[:2]).pixels[:IMAGES]
    if pixels.shape[1:] != graph.input_shape:
        raise InputError(f"{where}: images of {pixels.shape[1:]}, {graph.name} expects {graph.input_shape}")
    write_qdq(known, datapath, run(known, datapath, pixels), Path(output))


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
    workers: processes on this computer, all its cores by default.  scheduler: address of a Dask cluster instead.
    search: visit at most so many points, guided by the results, instead of all.
    Raises InputError if the file is not sound, the folder cannot be written, or the cluster is not to be had.
    """
    from accelsim import shipped
    from accelsim.explore.sweep import run_sweep

    path = shipped.required("sweeps", description)
    return run_sweep(path, Path(folder), workers=workers, scheduler=scheduler, search=search)
