"""Does one compressed file serve both kinds of machine, where the network gives pictures.

Super-resolution by PSNR.

Each machine runs the pictures in its own arithmetic, as in ``validate``.  The peak signal-to-noise
ratio of outputs rounded to 8 bits is 10 log10(255^2 / mean of squared errors) in dB, whole
pictures, their mean over the pictures.  What a machine loses is counted against the uncompressed
network's outputs where the file has them, else against those of the decoded network by direct
convolution in float32: then it is the loss of the machine's arithmetic alone, which can show that a
machine does not serve the file, but not that it does.

A stack of convolutions runs pictures of any size, so the size of the pictures replaces the
network's own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from accelsim.arrays import Floats
from accelsim.datapath.batches import Progress
from accelsim.datapath.certainty import held, standard_error
from accelsim.datapath.layers import LayerIntegers
from accelsim.datapath.reasons import Shortfall, shortfalls
from accelsim.datapath.runs import ArithmeticKind, MachineRun, float_outputs, machine_run
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.datapath import Datapath
from accelsim.network import Network
from accelsim.network.images import PicturePairs

TOLERANCE_DB = 0.2
MAX_REASON_PIXELS = 1 << 18  # of pictures that reasons are sought on


@dataclass(frozen=True)
class PictureMachine:
    """What the pictures say of one machine."""

    machine: str  # its name
    psnr_db: float  # mean of the pictures
    loss_db: float  # how far that is below the network's that is compared with
    loss_standard_error: float | None  # of the loss, picture by picture; None of one picture
    # largest difference of an output from the decoded network's by direct convolution
    max_abs_error: float
    scales: str = ""  # where those of whole numbers come from; empty in float32
    layers: tuple[LayerIntegers, ...] = ()  # of whole numbers
    too_narrow: tuple[Shortfall, ...] = ()  # where whole numbers lose more than the tolerance: why


@dataclass(frozen=True)
class PictureValidation:
    """What the pictures say of all machines together.

    ``served_by_both`` as in ``Validation``; False also where a machine's arithmetic alone loses too
    much.
    """

    images: int
    # of the pictures as they enter, where they have the shape of the targets
    input_psnr_db: float | None
    reference_psnr_db: float  # of the network that losses are counted from
    reference: str  # which one that is: uncompressed, or decoded
    machines: tuple[PictureMachine, ...]
    served_by_both: bool | None
    arithmetic: ArithmeticKind
    tolerance_db: float

    def to_dict(self) -> dict[str, Any]:
        """The object that ``accelsim validate --json`` prints."""
        return asdict(self) | {"machines": [asdict(machine) for machine in self.machines]}


def gives_pictures(model: DualModel) -> bool:
    """Whether the network's output is a picture (H, W, C), not one number a class."""
    graph = model.network.graph
    return len(graph.shapes[graph.nodes[-1].name]) == 3


def validate_pictures(
    model: DualModel,
    datapaths: Sequence[Datapath],
    pairs: PicturePairs,
    *,
    arithmetic: ArithmeticKind = "integers",
    tolerance_db: float = TOLERANCE_DB,
    progress: Progress | None = None,
) -> PictureValidation:
    """Run the model on the pictures as each machine would.

    Raises InputError if the pictures do not fit the network, no machine is given, a picture takes
    more memory than ``batches.MAX_BYTES``, or words are too wide; NumericalError if an output is
    not a finite number.
    """
    model = of_size(model, datapaths, pairs)
    scale = model.network.graph.preprocessing.scale
    plain = float_outputs(model.network, pairs.pixels, None, progress=progress)
    compared = psnr(plain * scale if pairs.reference is None else pairs.reference, pairs.targets)
    runs: dict[Datapath, MachineRun] = {}
    results = []
    for datapath in datapaths:
        key = replace(datapath, machine="")
        if key not in runs:
            runs[key] = machine_run(model, datapath, pairs.pixels, arithmetic, progress)
        run = runs[key]
        found = psnr(run.outputs * scale, pairs.targets)
        lost = compared - found
        result = PictureMachine(
            machine=datapath.machine,
            psnr_db=float(found.mean()),
            loss_db=float(lost.mean()),
            loss_standard_error=standard_error(lost),
            max_abs_error=float(np.abs(run.outputs - plain).max()),
            scales=run.scales,
            layers=run.layers,
        )
        if run.layers and _held(result, tolerance_db) is False:
            result = replace(result, too_narrow=_reasons(model, datapath, pairs, run, tolerance_db))
        results.append(result)
    same = pairs.pixels.shape == pairs.targets.shape
    return PictureValidation(
        images=len(pairs.pixels),
        input_psnr_db=float(psnr(pairs.pixels, pairs.targets).mean()) if same else None,
        reference_psnr_db=float(compared.mean()),
        reference="decoded" if pairs.reference is None else "uncompressed",
        machines=tuple(results),
        served_by_both=_served(datapaths, results, pairs.reference is not None, tolerance_db),
        arithmetic=arithmetic,
        tolerance_db=tolerance_db,
    )


def psnr(y: NDArray[Any], targets: NDArray[np.uint8]) -> Floats:
    """Peak signal-to-noise ratio in dB of each picture: (N,), 100 where nothing differs.

    y: as targets, 0 to 255.
    """
    rounded = np.floor(np.clip(y, 0, 255) + 0.5)
    errors = ((rounded - targets.astype(np.float64)) ** 2).reshape(len(y), -1).mean(axis=1)
    return np.asarray(10 * np.log10(255**2 / np.maximum(errors, 255**2 / 1e10)))


def of_size(model: DualModel, datapaths: Sequence[Datapath], pairs: PicturePairs) -> DualModel:
    """The model on pictures of the size at hand."""
    if not datapaths:
        raise InputError("no machine to validate, expected at least one")
    graph = model.network.graph
    shape = pairs.pixels.shape[1:]
    if shape[2] != graph.input_shape[2]:
        raise InputError(f"{pairs.source}: images of {shape[2]} channels, {graph.name} expects {graph.input_shape[2]}")
    try:
        fitting = graph.with_input_shape((shape[0], shape[1], shape[2]))
    except ValidationError:
        raise InputError(f"{pairs.source}: images of {shape}, which the layers of {graph.name} cannot take") from None
    given = fitting.shapes[fitting.nodes[-1].name]
    for key, array in (("targets", pairs.targets), ("reference", pairs.reference)):
        if array is not None and array.shape[1:] != given:
            raise InputError(f"{pairs.source}: {key} of {array.shape[1:]}, {graph.name} gives {given} for {shape}")
    return replace(model, network=Network(fitting, model.network.arrays))


def _served(
    datapaths: Sequence[Datapath],
    results: Sequence[PictureMachine],
    compressed: bool,
    tolerance_db: float,
) -> bool | None:
    """Whether machines of both kinds ran the file and none shows a loss above the tolerance.

    compressed: whether losses count from the uncompressed network; else that of the compression is
    not known, and there is no yes.
    """
    if {datapath.kind for datapath in datapaths} != {"spatial", "winograd"}:
        return False
    verdicts = {_held(result, tolerance_db) for result in results}
    if False in verdicts:
        return False
    return True if compressed and None not in verdicts else None


def _held(result: PictureMachine, tolerance_db: float) -> bool | None:
    """Whether the pictures show no loss above the tolerance; None where one picture cannot say."""
    return held(result.loss_db, result.loss_standard_error, tolerance_db)


def _reasons(
    model: DualModel, datapath: Datapath, pairs: PicturePairs, run: MachineRun, tolerance_db: float
) -> tuple[Shortfall, ...]:
    """Which words are too narrow, on the first few pictures."""
    height, width = pairs.pixels.shape[1:3]
    few = max(1, MAX_REASON_PIXELS // (height * width))
    score = partial(psnr_of_outputs, pairs.targets[:few], model.network.graph.preprocessing.scale)
    overflowed = any(layer.overflowed_percent for layer in run.layers)
    fit = datapath.integers.products == "full" and not overflowed
    return shortfalls(model, datapath, pairs.pixels[:few], score, tolerance_db, sums_fit=fit)


def psnr_of_outputs(targets: NDArray[np.uint8], scale: float, outputs: NDArray[Any]) -> Floats:
    """PSNR in dB of each of the outputs times a scale: (N,)."""
    return psnr(outputs * scale, targets)
