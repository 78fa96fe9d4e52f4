"""Does one compressed file serve both kinds of machine?

Real images through each machine's arithmetic.

Each machine runs the decoded model: in the whole numbers of its description (``execute``), or in
float32 in the domain it computes in (``floating``).  Its answers are compared with the labels
(top-1), with those of the uncompressed network (agreement), and its outputs with those of the
decoded network run by plain direct convolution in float32, nothing pruned in the Winograd domain
(largest absolute difference).

The scales of whole numbers come from the file, where it was calibrated for this arithmetic, else
from the first images that are run (no labels are looked at).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats
from accelsim.datapath.batches import Progress
from accelsim.datapath.certainty import held, standard_error
from accelsim.datapath.layers import LayerIntegers
from accelsim.datapath.reasons import IMAGES as REASON_IMAGES
from accelsim.datapath.reasons import Shortfall, shortfalls
from accelsim.datapath.runs import ArithmeticKind, MachineRun, float_outputs, machine_run
from accelsim.dual.model import DualModel
from accelsim.errors import InputError, NumericalError
from accelsim.hardware.datapath import Datapath
from accelsim.network import Network
from accelsim.network.images import LabelledImages

FLOAT_TOLERANCE_POINTS = 2.0
INTEGER_TOLERANCE_POINTS = 1.0


@dataclass(frozen=True)
class MachineValidation:
    """What the images say of one machine; a loss is None where the uncompressed network's answers are not known.

    Its standard error is None of one image, too.
    """

    machine: str  # its name
    top1: float  # percent of answers that are the label
    loss_points: float | None  # how far that is below the uncompressed network on the same images
    loss_standard_error: float | None  # of the loss, image by image
    agreement: float | None  # percent of answers that are the uncompressed network's
    # largest difference of an output from the decoded network's by direct convolution
    max_abs_error: float
    scales: str = ""  # where those of whole numbers come from; empty in float32
    layers: tuple[LayerIntegers, ...] = ()  # of whole numbers
    too_narrow: tuple[Shortfall, ...] = ()  # where whole numbers lose more than the tolerance: why


@dataclass(frozen=True)
class Validation:
    """What the images say of all machines together.

    images: how many.  reference_top1: the uncompressed network's top-1 in percent, on these images
    if its answers are known, else as the model states it, else None.  served_by_both: machines of
    both kinds ran the file, and for none of them do these images show, at 95 % confidence, a loss
    above the tolerance: the more images, the stricter.  None where machines of both kinds ran it,
    but what the uncompressed network answers is not known, and so neither a loss, or there is but one
    image, which does not say how sure its loss is.
    """

    images: int
    reference_top1: float | None
    machines: tuple[MachineValidation, ...]
    served_by_both: bool | None
    arithmetic: ArithmeticKind = "float"
    tolerance_points: float = FLOAT_TOLERANCE_POINTS

    def __repr__(self) -> str:
        """One line: what each machine answers right."""
        found = ", ".join(f"{machine.machine} {machine.top1:.2f} %" for machine in self.machines)
        return f"Validation({self.images} images, {self.arithmetic}: {found})"

    def to_dict(self) -> dict[str, Any]:
        """The object that ``accelsim validate --json`` prints."""
        whole = asdict(self) | {"machines": [asdict(machine) for machine in self.machines]}
        if self.arithmetic == "float":
            for key in ("arithmetic", "tolerance_points"):
                del whole[key]
            for machine in whole["machines"]:
                for key in ("scales", "layers", "too_narrow"):
                    del machine[key]
        return whole


def validate(
    model: DualModel,
    datapaths: Sequence[Datapath],
    images: LabelledImages,
    *,
    reference: Network | None = None,
    arithmetic: ArithmeticKind = "float",
    tolerance_points: float | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Run the model on the images as each machine would.

    reference: the uncompressed network; without it its answers are those stored with the images, if
    any.
    arithmetic: the whole numbers of each machine, or ``float``.  tolerance_points: of top-1, by
    default 1 in whole numbers and 2 in float32.  progress: called with the number of images as they
    are done; of ``image_runs`` in all.  Raises InputError if the images or labels do not fit the
    network, no machine is given, an image takes more memory than ``batches.MAX_BYTES``, or words
    are too wide; NumericalError if an output is not a finite number.
    """
    check(model, datapaths, images)
    if tolerance_points is None:
        tolerance_points = INTEGER_TOLERANCE_POINTS if arithmetic == "integers" else FLOAT_TOLERANCE_POINTS
    expected = answers(reference, images.pixels, progress) if reference is not None else images.reference
    plain = float_outputs(model.network, images.pixels, None, progress=progress)
    right = None if expected is None else expected == images.labels
    runs: dict[Datapath, MachineRun] = {}
    results = []
    for datapath in datapaths:
        key = replace(datapath, machine="")
        if key not in runs:
            runs[key] = machine_run(model, datapath, images.pixels, arithmetic, progress)
        run = runs[key]
        y = run.outputs
        hits = y.argmax(axis=1) == images.labels
        lost = None if right is None else right.astype(np.float64) - hits
        result = MachineValidation(
            machine=datapath.machine,
            top1=_percent(hits),
            loss_points=None if lost is None else float(100 * lost.mean()),
            loss_standard_error=None if lost is None else standard_error(100 * lost),
            agreement=None if expected is None else _percent(y.argmax(axis=1) == expected),
            max_abs_error=float(np.abs(y - plain).max()),
            scales=run.scales,
            layers=run.layers,
        )
        if arithmetic == "integers" and datapath.number == "int" and _held(result, tolerance_points) is False:
            overflowed = any(layer.overflowed_percent for layer in run.layers)
            fit = datapath.integers.products == "full" and not overflowed
            some = images.pixels[:REASON_IMAGES]
            score = partial(right_answers, images.labels[: len(some)])
            why = shortfalls(model, datapath, some, score, tolerance_points, fit)
            result = replace(result, too_narrow=why)
        results.append(result)
    stated = model.accuracy.get("top1_reference")
    reference_top1 = stated if expected is None else _percent(expected == images.labels)
    both = {datapath.kind for datapath in datapaths} == {"spatial", "winograd"}
    served = _served(results, tolerance_points) if both else False
    return Validation(len(images.labels), reference_top1, tuple(results), served, arithmetic, tolerance_points)


def _served(results: Sequence[MachineValidation], tolerance_points: float) -> bool | None:
    """Whether no machine shows a loss above the tolerance; None where a loss is not known."""
    verdicts = [_held(result, tolerance_points) for result in results]
    return None if None in verdicts else all(verdicts)


def _held(result: MachineValidation, tolerance_points: float) -> bool | None:
    """Whether the images show no loss above the tolerance."""
    return held(result.loss_points, result.loss_standard_error, tolerance_points)


def answers(
    network: Network,
    pixels: NDArray[np.uint8],
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Index of the largest output of the reference for each image: (N,).

    Raises NumericalError if an output is not finite.
    """
    try:
        outputs = float_outputs(network, pixels, None, progress=progress)
    except NumericalError as error:
        raise NumericalError(f"the reference, {error}") from None
    return np.asarray(outputs.argmax(axis=1), np.int64)


def check(model: DualModel, datapaths: Sequence[Datapath], images: LabelledImages) -> None:
    """Raises InputError if there is no machine, or the images do not fit the network."""
    graph = model.network.graph
    if not datapaths:
        raise InputError("no machine to validate, expected at least one")
    if images.pixels.shape[1:] != graph.input_shape:
        raise InputError(
            f"{images.source}: images of {images.pixels.shape[1:]}, {graph.name} expects {graph.input_shape}"
        )
    shape = graph.shapes[graph.nodes[-1].name]
    if len(shape) != 1:
        raise InputError(f"{graph.name} gives {shape}, expected a classifier with one output a class")
    for what, classes in (("label", images.labels), ("reference", images.reference)):
        if classes is not None and (largest := int(classes.max())) >= shape[0]:
            raise InputError(f"{images.source}: {what} {largest}, {graph.name} has the classes 0 to {shape[0] - 1}")


def right_answers(labels: NDArray[np.int64], outputs: Array) -> Floats:
    """100 for each of the outputs (N, classes) that is right, else 0: (N,), whose mean is top-1 in percent."""
    right: Floats = 100.0 * (outputs.argmax(axis=1) == labels)
    return right


def _percent(hits: NDArray[np.bool_]) -> float:
    return float(100 * hits.mean())
