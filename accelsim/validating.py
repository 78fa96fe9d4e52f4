"""The functions of the face that run real images through a machine's arithmetic, or prepare it.

``validate``, ``search_widths``, ``calibrate`` and ``export_int8``; each imports what it needs when
it is called.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from accelsim.errors import InputError
from accelsim.loading import load_model, machine_of, machines_of, model_of, model_path, path_of, sample_images

if TYPE_CHECKING:
    from accelsim.datapath.pictures import PictureValidation
    from accelsim.datapath.validate import Validation
    from accelsim.datapath.widths import FoundWidths
    from accelsim.dual.calibration import Calibration
    from accelsim.dual.model import DualModel
    from accelsim.network import Network
    from accelsim.simulator.machines.machine import Machine


def validate(
    model: "DualModel | str | Path",
    machines: "Sequence[Machine | str | Path]",
    images: str | Path | None = None,
    *,
    reference: str | Path | None = None,
    arithmetic: str = "integers",
    tolerance_points: float | None = None,
    progress: "Callable[[int, int], None] | None" = None,
) -> "Validation | PictureValidation":
    """Run the model on real images as each machine would compute it.

    model, machines: loaded, files, or bare names.
    images: an ``.npz`` file or a folder with ``labels.csv`` (see ``accelsim.network.images``), or,
    where the network gives pictures, an ``.npz`` file with targets, and PSNR is measured; by
    default the sample of a model that is given by file or name.
    reference: the file of the uncompressed network, whose answers losses are counted from (``.onnx``,
    ``.safetensors``, ``.npz``, ``.pt`` or ``.dual``); where it does not say how pixels go in, as into
    the model.  By default its answers are those that are kept with the images, if any are.
    arithmetic: ``integers`` of each machine's description, or ``float``.  tolerance_points: loss of
    top-1 that is allowed, by default 1 in integers, 2 in float32, or of PSNR in dB, by default 0.2.
    progress: called with the images done and those in all.
    Raises InputError if a machine, the images or the reference are unsound or do not fit the model.
    """
    from accelsim.datapath.pictures import TOLERANCE_DB, gives_pictures, validate_pictures
    from accelsim.datapath.runs import image_runs
    from accelsim.datapath.validate import validate as run
    from accelsim.given import function_of, one_of
    from accelsim.network.images import read_images, read_pairs
    from accelsim.simulator.layer_tiles import datapath_on

    known, where = _with_images(model, images)
    datapaths = [datapath_on(known, machine) for machine in machines_of(machines)]
    one_of("arithmetic", arithmetic, ("integers", "float"))
    tolerance_points = _tolerance(tolerance_points)
    if progress is not None:
        function_of("progress", progress)
    total = done = 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    whole: Literal["integers", "float"] = "integers" if arithmetic == "integers" else "float"
    if gives_pictures(known):
        if reference is not None:
            name = known.network.graph.name
            raise InputError(f"reference {reference}: {name} gives pictures, expected an array 'reference' in {where}")
        pairs = read_pairs(where)
        total = image_runs(datapaths, len(pairs.pixels))
        allowed = TOLERANCE_DB if tolerance_points is None else tolerance_points
        return validate_pictures(known, datapaths, pairs, arithmetic=whole, tolerance_db=allowed, progress=count)
    uncompressed = None if reference is None else _uncompressed(path_of("reference", reference), known)
    pictures = read_images(where, known.network.graph.input_shape[:2])
    total = image_runs(datapaths, len(pictures.labels)) + (len(pictures.labels) if uncompressed else 0)
    return run(
        known,
        datapaths,
        pictures,
        reference=uncompressed,
        arithmetic=whole,
        tolerance_points=tolerance_points,
        progress=count,
    )


def _uncompressed(path: Path, model: "DualModel") -> "Network":
    """The network of a file, whose answers a model's are compared with.

    Pixels go in as into the model, where the file does not say.
    """
    from accelsim.compression.importing import Wishes
    from accelsim.compression.sparsified import network_of
    from accelsim.network import Network
    from accelsim.network.graph import Preprocessing

    network = network_of(path, Wishes(), lambda line: None)
    mine = model.network.graph
    ends = [(graph.input_shape, graph.shapes[graph.nodes[-1].name]) for graph in (network.graph, mine)]
    if ends[0] != ends[1]:
        found, wanted = (f"{shape} to {outputs}" for shape, outputs in ends)
        raise InputError(f"{path}: a network of {found}, expected {wanted} as {mine.name} has it")
    if network.graph.preprocessing != Preprocessing():
        return network
    return Network(network.graph.model_copy(update={"preprocessing": mine.preprocessing}), network.arrays)


def search_widths(
    model: "DualModel | str | Path",
    machines: "Sequence[Machine | str | Path]",
    images: str | Path | None = None,
    *,
    tolerance_points: float | None = None,
) -> "list[FoundWidths]":
    """The cheapest words of each machine that keep the accuracy on real images.

    For all layers, then layer by layer.

    model, machines, images, tolerance_points: as for ``validate``; the first images alone are
    looked at.  Raises InputError as it does.
    """
    from accelsim.datapath.search import search
    from accelsim.simulator.layer_tiles import datapath_on

    known, where = _with_images(model, images)
    tolerance_points = _tolerance(tolerance_points)
    datapaths = [datapath_on(known, machine) for machine in machines_of(machines)]
    return search(known, datapaths, where, tolerance_points)


def _with_images(
    model: "DualModel | str | Path",
    images: str | Path | None,
) -> "tuple[DualModel, Path]":
    """The model, and the file or folder of its images."""
    known = model_of(model)
    if images is None and not isinstance(model, str | Path):
        raise InputError("no images, expected a file or a folder, or the model by its file or name")
    return known, path_of("images", images) if images is not None else sample_images(known, str(model))


def _tolerance(tolerance_points: float | None) -> float | None:
    """The loss that is allowed, as Python's own number, or None.  Raises InputError if it can be none."""
    from accelsim.given import number_or_none

    found = number_or_none("tolerance", tolerance_points, "0 to 100 points")
    if found is not None and not 0 <= found <= 100:
        raise InputError(f"tolerance {found:g}, expected 0 to 100 points")
    return found


def calibrate(
    model: str | Path,
    machine: "Machine | str | Path",
    images: str | Path,
    output: str | Path,
    *,
    count: int = 256,
) -> "Calibration":
    """Find the scales of a machine's whole numbers on the first ``count`` images, and write the model with them.

    The same images give the same file.  Labels are not looked at.  Returns what was stored.
    Raises InputError if an input is unsound, the images do not fit the model, the machine's numbers
    are not whole, or the output is no .dual file.
    """
    from accelsim.datapath.calibrate import calibrate as run
    from accelsim.datapath.program import build
    from accelsim.datapath.stored import to_store
    from accelsim.dual.file import with_calibration
    from accelsim.files import DUAL, check_output, read_bytes, write_bytes
    from accelsim.given import whole_number
    from accelsim.network.images import read_images
    from accelsim.simulator.layer_tiles import datapath_on

    out = path_of("output", output)
    if out.suffix != ".dual":
        raise InputError(f"{output}: ending {out.suffix!r}, expected .dual")
    check_output(out, path_of("images", images))
    loaded = load_model(model)
    datapath = datapath_on(loaded, machine_of(machine))
    if datapath.number != "int":
        raise InputError(f"{datapath.machine}: arithmetic.number {datapath.number}, expected int")
    count = whole_number("count", count, 1)
    graph = loaded.network.graph
    pixels = read_images(Path(images), graph.input_shape[:2]).pixels[:count]
    if pixels.shape[1:] != graph.input_shape:
        raise InputError(f"{images}: images of {pixels.shape[1:]}, {graph.name} expects {graph.input_shape}")
    found = run(loaded, datapath, pixels)
    build(loaded, datapath, found)  # refused here rather than when it is used
    calibration = to_store(datapath, found, len(pixels))
    write_bytes(out, with_calibration(read_bytes(model_path(model), DUAL), calibration))
    return calibration


def export_int8(
    model: "DualModel | str | Path",
    machine: "Machine | str | Path",
    images: str | Path | None,
    output: str | Path,
) -> None:
    """Write the model as an ONNX file of quantize and dequantize nodes, as a spatial machine of 8-bit words runs it.

    images: the scales are found on the first of these; None: they are those that the file holds for
    the machine, else found on the sample of a model that is given by file or name.
    Raises InputError if the machine's words are others, or the images do not fit the model.
    """
    from accelsim.datapath.calibrate import IMAGES
    from accelsim.datapath.calibrate import calibrate as run
    from accelsim.datapath.qdq import write_qdq
    from accelsim.datapath.stored import stored
    from accelsim.network.images import read_images

    out = path_of("output", output)
    datapath = machine_of(machine).datapath
    known = model_of(model)
    kept = stored(known, datapath) if images is None else None
    if kept is not None:
        write_qdq(known, datapath, kept[0], out)
        return
    if images is None and not isinstance(model, str | Path):
        raise InputError("no images, expected a file or a folder, or the model by its file or name")
    where = path_of("images", images) if images is not None else sample_images(known, str(model))
    graph = known.network.graph
    pixels = read_images(where, graph.input_shape[:2]).pixels[:IMAGES]
    if pixels.shape[1:] != graph.input_shape:
        raise InputError(f"{where}: images of {pixels.shape[1:]}, {graph.name} expects {graph.input_shape}")
    write_qdq(known, datapath, run(known, datapath, pixels), out)
