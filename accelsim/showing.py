"""Models, machines and results in Python as the commands show them.

What they are made of, plots, pages.

All are found in ``accelsim`` itself.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim import shipped
from accelsim.errors import InputError
from accelsim.links import same_place
from accelsim.loading import Say, load_hardware, load_model, machine_of, machines_of, path_of, silent, workload_of
from accelsim.names import told_apart

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.dual.model import DualModel
    from accelsim.report.tables import Comparison
    from accelsim.simulator.machines.machine import Machine
    from accelsim.simulator.result import Result
    from accelsim.workload import LayerTable


def inspect(
    what: "DualModel | Machine | str | Path",
    *,
    tile: int | None = None,
    threshold: float | None = None,
    sparsity: float | None = None,
) -> dict[str, Any]:
    """What a model or a machine is made of, as ``accelsim inspect --json``.

    what: a model or a machine, loaded, or its file or bare name (a ``.dual`` file or a model's name
    is a model).  Of a model, how a Winograd machine would deploy it instead of how the file says:
    tile, m of F(m, r); threshold, up to which entries are zero; sparsity, the share of zeros
    instead, 0 to 1.
    Returns of a model ``parameters, file_bytes, compression_ratio, accuracy, winograd`` and
    ``layers``, a record each with ``name, shape, spatial_density, winograd_density,
    bits_per_weight``; of a machine ``lanes, sram_bytes, clock_mhz, area_mm2, areas_mm2, prices``
    (in pJ, each with its source), ``static_mw, dram, parameters``.
    Raises InputError if it is neither, or a figure is out of range.

    >>> accelsim.inspect("resnet20-cifar10")["layers"][0]["shape"]
    [16, 3, 3, 3]
    >>> accelsim.inspect("spatial-16x16")["lanes"]
    256
    """
    from accelsim.dual.model import DualModel
    from accelsim.given import number_or_none, whole_number
    from accelsim.report.describe import MAX_TILE, describe_machine, describe_model

    loaded: DualModel | Machine
    if isinstance(what, DualModel):
        loaded = what
    elif not isinstance(what, str | Path):
        loaded = machine_of(what)
    elif str(what).endswith(".dual") or (shipped.find("models", what) and not shipped.find("hwconfigs", what)):
        loaded = load_model(what)
    else:
        loaded = load_hardware(what)
    if isinstance(loaded, DualModel):
        if tile is not None:
            tile = whole_number("tile", tile, 1, MAX_TILE)
        threshold = number_or_none("threshold", threshold)
        sparsity = number_or_none("sparsity", sparsity)
        try:
            return describe_model(loaded, m=tile, threshold=threshold, sparsity=sparsity)
        except ValueError as error:
            raise InputError(f"{loaded.network.graph.name}: {error}") from None
    if (tile, threshold, sparsity) != (None, None, None):
        raise InputError(f"{loaded.name}: tile, threshold and sparsity are of a model")
    return describe_machine(loaded)


def plots(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    results: "Sequence[Result]",
    *,
    batch: int = 1,
) -> dict[str, bytes]:
    """The plots of a comparison by file name: each as PNG, SVG and PDF.

    model, machines, batch: those of ``accelsim.compare``.  results: what it returned, a result a
    machine.
    Raises InputError if they are not as many.

    >>> machines = ["spatial-16x16", "winograd-16x16"]
    >>> results = accelsim.compare("resnet20-cifar10", machines, engine="fast", level="layers")
    >>> sorted(name for name in accelsim.plots("resnet20-cifar10", machines, results) if name.endswith(".pdf"))
    ['cycles.pdf', 'dram.pdf', 'energy.pdf', 'roofline.pdf']
    """
    from accelsim.report.plots import plots as draw

    return draw(_gathered(model, machines, results, batch))


def write_report(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    results: "Sequence[Result]",
    folder: str | Path,
    *,
    batch: int = 1,
) -> Path:
    """Write what ``accelsim compare -o`` writes: the page, the plots, a CSV table a machine.

    model, machines, batch: those of ``accelsim.compare``.  results: what it returned, a result a
    machine.
    Returns the path of the page.  Raises InputError if they are not as many, or the folder cannot
    be written.
    """
    from accelsim.report.write import report_files, write_comparison

    write_comparison(path_of("folder", folder), report_files(_gathered(model, machines, results, batch)))
    return Path(folder) / "report.html"


def write_table(what: "Result | Sequence[Result] | pd.DataFrame", path: str | Path) -> Path:
    """Write results, a row a layer, or a table, in the format that the ending says: .csv, .parquet or .arrow.

    Returns the path.  Raises InputError if the ending is another, pyarrow is missing, or the file
    cannot be written.

    >>> result = accelsim.simulate("resnet20-cifar10", "spatial-16x16", engine="fast", level="layers")
    >>> accelsim.write_table(result, "layers.csv").stat().st_size > 1000
    True
    """
    import pandas as pd

    from accelsim.report import table_file
    from accelsim.simulator.result import Result

    results = [what] if isinstance(what, Result) else what
    out = path_of("path", path)
    try:
        if isinstance(results, pd.DataFrame):
            table_file.write_table(results, out)
        elif isinstance(results, Sequence) and results and all(isinstance(r, Result) for r in results):
            table_file.write_results(results, out)
        else:
            raise InputError(f"table of {what!r:.100}, expected results of simulate or compare, or a table of pandas")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected a file to write") from None
    return out


def redraw_report(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    say: Say = silent,
) -> Path:
    """Draw plots and page of a comparison or a sweep again from the files in a folder, as ``accelsim report``.

    output: where to write, by default the same folder.  say: called with a line on what a sweep
    lacks.  Returns the path of the page.  Raises InputError if the folder holds neither, or
    something is not sound.
    """
    from accelsim.given import function_of
    from accelsim.report.tables import read_csv
    from accelsim.report.write import report_files, write_comparison
    from accelsim.results_folder import COMPARISON, EXPLORATION, SWEEP, check_kind

    function_of("say", say)
    source = path_of("folder", folder)
    target = source if output is None else path_of("output", output)
    if (source / SWEEP.file).is_file():
        from accelsim.explore.sweep import read_sweep
        from accelsim.report.sweep_report import write_sweep_report
        from accelsim.report.sweep_terminal import missing_lines

        if not same_place(target, source) and (target / SWEEP.file).is_file():
            raise InputError(f"{target}: holds a sweep of its own, expected another folder for the page of {source}")
        stored = read_sweep(source)
        for line in missing_lines(stored.counts, stored.damaged):
            say(line)
        write_sweep_report(stored, target)
    elif (source / EXPLORATION.file).is_file() and not (source / COMPARISON.file).is_file():
        raise InputError(f"{folder}: holds an exploration, which `accelsim explore` draws again with --resume")
    else:
        check_kind(target, COMPARISON)
        write_comparison(target, report_files(read_csv(source), with_tables=output is not None))
    return target / "report.html"


def _gathered(
    model: "DualModel | LayerTable | str | Path",
    machines: "Iterable[Machine | str | Path]",
    results: "Sequence[Result]",
    batch: int,
) -> "Comparison":
    from accelsim.given import whole_number
    from accelsim.report.tables import gather
    from accelsim.simulator.result import Result
    from accelsim.workload import MAX_BATCH

    batch = whole_number("batch", batch, 1, MAX_BATCH)
    if not isinstance(results, Sequence) or not all(isinstance(result, Result) for result in results):
        raise InputError(f"results {results!r:.100}, expected those of accelsim.compare")
    loaded = machines_of(machines)
    if len(loaded) != len(results) or not loaded:
        raise InputError(f"{len(results)} results of {len(loaded)} machines, expected one of each")
    names = told_apart(machine.name for machine in loaded)
    for result, name in zip(results, names, strict=True):
        if result.machine != name:
            raise InputError(f"results of {result.machine!r} beside machine {name!r}, expected those of one comparison")
    return gather(workload_of(model), loaded, results, batch)
