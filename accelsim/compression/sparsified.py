"""Files around ``accelsim sparsify``.

What it reads, the file that it writes, and what it tells of every layer.

Beside ``MODEL.dual`` lies ``MODEL.layers.csv``, a row a layer made sparse, and with ``--curve``
``MODEL.curve.csv``, a row a budget.  Until all is written ``MODEL.dual.work`` holds what an
interrupted run goes on from.
"""

import csv
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.compression.budget import FileBudgets
from accelsim.compression.budget import cost_reduction as cost_reduction_of
from accelsim.compression.budget import ratio as ratio_of
from accelsim.compression.importing import Wishes, read_network, refuse_unused
from accelsim.compression.sparsify import (
    LayerLoss,
    Pictures,
    Sparse,
    Sparsifier,
    make_wish,
    smooth_noise,
)
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.files import alone_in, check_output, write_bytes, write_text
from accelsim.network import Network
from accelsim.network.samples import read_labelled
from accelsim.sparsity.keeping import Made, keeping

# What is asked for where nothing is.
RATIO = 15.0
COST_REDUCTION = 3.0
MOST = 320  # pictures, of which the layers are fitted to at most MOST_FITTED
MOST_FITTED = 200
LEAST = 8
MAX_TILE = 6  # m of F(m, r)
APART = 4  # of so many pictures one is kept apart, to measure on
CURVE = (0.35, 0.6, 1.6)  # of the budgets asked for, where those are further points of the curve
LAYERS = ".layers.csv"
CURVE_TABLE = ".curve.csv"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for; None: nothing.

    ratio: of sizes.  cost_reduction: of multiplies.  tile: m of F(m, r).  images, labels: files.
    """

    ratio: float | None = None
    cost_reduction: float | None = None
    tile: int = 2
    images: Path | None = None
    labels: Path | None = None
    curve: bool = False
    resume: bool = False


@dataclass(frozen=True)
class CurvePoint:
    """A sparse network of the curve, with how small and how cheap it became."""

    ratio: float  # float32 size over the file's
    cost_reduction: float  # dense MACs over the multiplies that the file has left
    sparse: Sparse


def sparsify_file(
    source: Path,
    out: Path,
    wishes: Wishes,
    asked: Asked,
    say: Say,
) -> list[CurvePoint]:
    """Write the sparse file ``out`` and the tables beside it.

    The points of the curve, the one asked for first.

    Raises InputError if a file cannot be read, or what is asked for cannot be had.
    """
    with opened(source, out, wishes, asked, say) as sparsifier:
        return _to_budgets(sparsifier, out, asked, say)


def _to_budgets(sparsifier: Sparsifier, out: Path, asked: Asked, say: Say) -> list[CurvePoint]:
    """As ``sparsify_file``."""
    ratio = asked.ratio
    cost_reduction = asked.cost_reduction
    if ratio is None and cost_reduction is None:
        ratio = RATIO
        cost_reduction = COST_REDUCTION
    points = []
    for part in (1.0, *(CURVE if asked.curve else ())):
        wanted = [None if x is None else max(1 + (x - 1) * part, 1.001) for x in (ratio, cost_reduction)]
        try:
            point = sparse_point(sparsifier, wanted[0], wanted[1])
        except InputError as error:
            if part == 1:
                raise
            say(f"no point of the curve at {part:g} of the budgets: {error}")
            continue
        points.append(point)
        if part == 1:
            write_sparse(out, point.sparse)
    if asked.curve:
        rows = [curve_row(point) for point in sorted(points, key=lambda point: point.ratio)]
        write_text(out.with_suffix(CURVE_TABLE), _csv(list(rows[0]), rows))
    shutil.rmtree(sparsifier.work, ignore_errors=True)
    return points


def sparse_point(
    sparsifier: Sparsifier,
    ratio: float | None,
    cost_reduction: float | None,
) -> CurvePoint:
    """A network made sparse to budgets, None: no such budget.

    Where a file misses one, the next is asked for so much more, and the last is taken as it is,
    with a warning.  Raises InputError as ``Sparsifier.to_budgets``.
    """
    budgets = FileBudgets(ratio, cost_reduction)

    def at(strain: Floats) -> Made[Sparse] | None:
        strains = iter(strain.tolist())
        aims = [None if asked is None else asked * next(strains) for asked in (ratio, cost_reduction)]
        try:
            sparse = sparsifier.with_budgets(aims[0], aims[1]).to_budgets()
        except InputError:
            if (strain == 1).all():
                raise
            return None  # no layer can give more
        return Made(sparse, budgets.shares(sparse.model))

    found = keeping(at, budgets.count, sparsifier.say)
    found.warn(sparsifier.say)
    return point_of(found.thing)


def point_of(sparse: Sparse) -> CurvePoint:
    """A sparse network with what its file came to."""
    return CurvePoint(ratio_of(sparse.model), cost_reduction_of(sparse.model), sparse)


def work_folder(out: Path) -> Path:
    """Where what is found on the way to a file lies until it is written."""
    return out.with_name(f"{out.name}.work")


@contextmanager
def opened(source: Path, out: Path, wishes: Wishes, asked: Asked, say: Say) -> Iterator[Sparsifier]:
    """What the sparse file ``out`` of a network is made by, while no other process makes that file.

    Raises InputError as ``sparsify_file``.
    """
    _check(source, out, asked)
    work = work_folder(out)
    network = network_of(source, wishes, say)
    pictures = read_pictures(network, asked, say)
    with alone_in(work, f"another run for {out.name}"):
        if not asked.resume and any(work.iterdir()):
            raise InputError(f"{work}: holds an interrupted run, expected --resume or no such folder")
        yield sparsifier_of(network, pictures, source, asked.tile, work, say)


def sparsifier_of(
    network: Network,
    pictures: Pictures,
    source: Path,
    tile: int,
    work: Path,
    say: Say,
) -> Sparsifier:
    """What the sparse files of a network are made by, as yet without budgets.

    source: the file that it comes from.  tile: m of F(m, r).  work, say: as ``Sparsifier``.
    """
    return Sparsifier(
        network=network,
        pictures=pictures,
        wish=make_wish(network, pictures, tile),
        work=work,
        provenance={"source": source.name[:1000], "made": f"sparsified with {len(pictures.fit)} pictures"},
        say=say,
    )


def write_sparse(out: Path, sparse: Sparse) -> None:
    """Write a sparse network, and beside it what each of its layers lost."""
    write_bytes(out, sparse.content)
    write_text(out.with_suffix(LAYERS), _table([asdict(layer) for layer in sparse.layers], LayerLoss))


def _check(source: Path, out: Path, asked: Asked) -> None:
    if out.suffix != ".dual":
        raise InputError(f"{out}: ending {out.suffix!r}, expected .dual")
    for written in (out, out.with_suffix(LAYERS), *([out.with_suffix(CURVE_TABLE)] if asked.curve else [])):
        check_output(written, source, asked.images, asked.labels)
    for flag, value in (("--ratio", asked.ratio), ("--cost-reduction", asked.cost_reduction)):
        if value is not None and not 1 < value < 1e6:
            raise InputError(f"{flag} {value:g}: expected a number above 1 and below 1e6")
    if not 1 <= asked.tile <= MAX_TILE:
        raise InputError(f"--tile {asked.tile}: expected 1 to {MAX_TILE}")


def network_of(source: Path, wishes: Wishes, say: Say) -> Network:
    """The network of any file that has one; says what it does not know of it.

    Raises InputError if it is not sound.
    """
    if source.suffix == ".dual":
        refuse_unused(source, wishes, ())  # the file says it all
        return read_dual(source).network
    if source.suffix not in (".onnx", ".safetensors", ".npz", ".pt", ".pth"):
        raise InputError(f"{source}: ending {source.suffix!r}, expected .onnx, .safetensors, .npz, .pt or .dual")
    network, lines = read_network(source, wishes)
    for line in lines:
        say(line)
    return network


def read_pictures(network: Network, asked: Asked, say: Say) -> Pictures:
    """The pictures as the network takes them, some of them apart.

    Raises InputError if there are too few, or labels are none that the network can give.
    """
    if asked.labels is not None and asked.images is None:
        raise InputError(f"--labels {asked.labels}: expected --images with the pictures that it names")
    apply = network.graph.preprocessing.apply
    if asked.images is None:
        say(
            "warning: no --images, layers are fitted to smooth noise; with 50 pictures or more the file knows much more"
        )
        pixels = smooth_noise(network.graph.input_shape)
        labels = None
    else:
        listed = asked.labels or _labels_among(network, asked.images)
        pixels, labels = read_labelled(asked.images, network.graph.input_shape, MOST, listed)
        if labels is not None and asked.labels is None and listed is not None:
            say(f"{listed}: labels of {len(pixels)} pictures, used for top-1 alone")
        if len(pixels) < LEAST:
            raise InputError(f"{asked.images}: {len(pixels)} pictures, expected at least {LEAST}, better 50 or more")
        different = len({picture.tobytes() for picture in pixels})
        if different < LEAST:
            raise InputError(
                f"{asked.images}: {len(pixels)} pictures of which {different} differ, expected at least {LEAST} "
                "different ones"
            )
    _check_labels(network, asked, labels)
    order = np.random.default_rng(0).permutation(len(pixels))
    apart = order[: max(4, len(pixels) // APART)]
    rest = order[max(4, len(pixels) // APART) :]
    return Pictures(
        fit=apply(pixels[rest[:MOST_FITTED]]),
        apart=apply(pixels[apart]),
        labels=None if labels is None else labels[apart],
        real=asked.images is not None,
    )


def _labels_among(network: Network, images: Path) -> Path | None:
    """The ``labels.csv`` in a classifier's folder of pictures, as ``validate`` reads it, if there is one."""
    listed = images / "labels.csv"
    graph = network.graph
    return listed if len(graph.shapes[graph.nodes[-1].name]) == 1 and listed.is_file() else None


def _check_labels(network: Network, asked: Asked, labels: Ints | None) -> None:
    """Raise InputError if labels are beyond the network's classes, or it has none."""
    if labels is None:
        return
    where = asked.labels or asked.images
    graph = network.graph
    shape = graph.shapes[graph.nodes[-1].name]
    if len(shape) != 1:
        raise InputError(f"{where}: labels, but {graph.name} gives {shape}, expected a classifier")
    if (largest := int(labels.max())) >= shape[0]:
        raise InputError(f"{where}: label {largest}, {graph.name} has the classes 0 to {shape[0] - 1}")


def curve_row(point: CurvePoint) -> dict[str, Any]:
    """A point of the curve as a table has it."""
    return {
        "ratio": round(point.ratio, 4),
        "cost_reduction": round(point.cost_reduction, 4),
        "file_bytes": len(point.sparse.content),
        **point.sparse.figures,
    }


def summary(points: Sequence[CurvePoint], out: Path) -> dict[str, Any]:
    """What ``accelsim sparsify --json`` prints."""
    first = points[0]
    return {
        "file": str(out),
        **curve_row(first),
        "parameters": first.sparse.model.parameters,
        "layers": [asdict(layer) for layer in first.sparse.layers],
        "curve": [curve_row(point) for point in sorted(points, key=lambda point: point.ratio)],
    }


def _table(rows: Sequence[dict[str, Any]], kind: type) -> str:
    return _csv([field.name for field in fields(kind)], rows)


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return text.getvalue()
