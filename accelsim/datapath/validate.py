"""Does one compressed file serve both kinds of machine?  Real images through each machine's arithmetic.

Each machine's datapath (``spatial``, ``winograd``) runs the decoded model.  Its answers are compared with the labels
(top-1), with those of the uncompressed network (agreement), and its outputs with those of the decoded network run by
plain direct convolution in float32, nothing pruned in the Winograd domain (largest absolute difference): so on a
spatial machine that difference is rounding, on a Winograd machine rounding and pruning.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accelsim.arrays import Array
from accelsim.datapath.spatial import sparse_convolution
from accelsim.dual.deploy import winograd_convolution
from accelsim.dual.model import DualModel
from accelsim.errors import InputError, NumericalError
from accelsim.hardware.datapath import Datapath
from accelsim.network import Network, Node, forward
from accelsim.network.count import peak_bytes
from accelsim.network.forward import Convolution, convolve
from accelsim.network.images import LabelledImages
from accelsim.network.layers import Conv

BATCH = 50
MAX_BYTES = 1 << 30  # that the activations of a batch may take
TOLERANCE_POINTS = 2.0
CONFIDENCE = 1.645  # standard errors: 95 %, one-sided


@dataclass(frozen=True)
class MachineValidation:
    """What the images say of one machine; a loss is None where the uncompressed network's answers are not known."""

    machine: str  # its name
    top1: float  # percent of answers that are the label
    loss_points: float | None  # how far that is below the uncompressed network on the same images
    loss_standard_error: float | None  # of the loss, image by image
    agreement: float | None  # percent of answers that are the uncompressed network's
    max_abs_error: float  # largest difference of an output from the decoded network's by direct convolution


@dataclass(frozen=True)
class Validation:
    """What the images say of all machines together.

    images: how many.  reference_top1: the uncompressed network's top-1 in percent, on these images if its answers are
    known, else as the model states it, else None.  served_by_both: machines of both kinds ran the file, and for none of
    them do these images show, at 95 % confidence, a loss above the tolerance: the more images, the stricter.  None
    where machines of both kinds ran it, but what the uncompressed network answers is not known, and so neither a loss.
    """

    images: int
    reference_top1: float | None
    machines: tuple[MachineValidation, ...]
    served_by_both: bool | None

    def to_dict(self) -> dict[str, Any]:
        """The object that ``accelsim validate --json`` prints."""
        return asdict(self) | {"machines": [asdict(machine) for machine in self.machines]}


def validate(
    model: DualModel,
    datapaths: Sequence[Datapath],
    images: LabelledImages,
    *,
    reference: Network | None = None,
    tolerance_points: float = TOLERANCE_POINTS,
) -> Validation:
    """Run the model on the images as each machine would.

    reference: the uncompressed network; without it its answers are those stored with the images, if any.
    Raises InputError if the images or labels do not fit the network, no machine is given, or an image takes more memory
    than ``MAX_BYTES``; NumericalError if an output is not a finite number.
    """
    _check(model, datapaths, images)
    expected = answers(reference, images.pixels) if reference is not None else images.reference
    plain = _outputs(model.network, images.pixels, None)
    right = None if expected is None else expected == images.labels
    outputs: dict[Datapath, Array] = {}
    results = []
    for datapath in datapaths:
        key = replace(datapath, machine="")
        if key not in outputs:
            outputs[key] = _outputs(model.network, images.pixels, _convolution(model, datapath), datapath.machine)
        y = outputs[key]
        hits = y.argmax(axis=1) == images.labels
        lost = None if right is None else right.astype(np.float64) - hits
        results.append(
            MachineValidation(
                machine=datapath.machine,
                top1=_percent(hits),
                loss_points=None if lost is None else float(100 * lost.mean()),
                loss_standard_error=None if lost is None else float(100 * lost.std() / np.sqrt(len(lost))),
                agreement=None if expected is None else _percent(y.argmax(axis=1) == expected),
                max_abs_error=float(np.abs(y - plain).max()),
            )
        )
    stated = model.accuracy.get("top1_reference")
    reference_top1 = stated if expected is None else _percent(expected == images.labels)
    both = {datapath.kind for datapath in datapaths} == {"spatial", "winograd"}
    served = _served(results, tolerance_points) if both else False
    return Validation(len(images.labels), reference_top1, tuple(results), served)


def _served(results: Sequence[MachineValidation], tolerance_points: float) -> bool | None:
    """Whether no machine shows a loss above the tolerance; None where a loss is not known."""
    held = []
    for result in results:
        if result.loss_points is None or result.loss_standard_error is None:
            return None
        held.append(result.loss_points - CONFIDENCE * result.loss_standard_error <= tolerance_points)
    return all(held)


def answers(network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Index of the network's largest output for each image: (N,)."""
    return np.asarray(_outputs(network, pixels, None).argmax(axis=1), np.int64)


def _check(model: DualModel, datapaths: Sequence[Datapath], images: LabelledImages) -> None:
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
    if (largest := int(images.labels.max())) >= shape[0]:
        raise InputError(f"{images.source}: label {largest}, {graph.name} has the classes 0 to {shape[0] - 1}")


def _convolution(model: DualModel, datapath: Datapath) -> Convolution:
    if datapath.kind == "spatial":
        return sparse_convolution(model.network)
    winograd = winograd_convolution(model, m=datapath.m, threshold=datapath.threshold)
    largest = datapath.largest_kernel
    if largest is None:
        return winograd

    def run(node: Node, x: Array, weight: Array) -> Array:
        assert isinstance(node.layer, Conv)
        if max(node.layer.kernel) > largest:
            return convolve(x, weight, node.layer)
        return winograd(node, x, weight)

    return run


def _outputs(network: Network, pixels: NDArray[np.uint8], convolution: Convolution | None, machine: str = "") -> Array:
    """The network's outputs: (N, classes).  One BLAS thread: on products this small more only wait for each other.

    Raises InputError if an image needs over MAX_BYTES, NumericalError if an output is not finite.
    """
    each = peak_bytes(network.graph)
    if each > MAX_BYTES:
        raise InputError(
            f"{network.graph.name}: an image needs {each} bytes of activations, expected at most {MAX_BYTES}"
        )
    prepare = network.graph.preprocessing.apply
    batch = max(1, min(BATCH, MAX_BYTES // each))
    parts = [pixels[first : first + batch] for first in range(0, len(pixels), batch)]
    with threadpool_limits(1, user_api="blas"), np.errstate(all="ignore"):
        y = np.concatenate([forward(network, prepare(part), convolution=convolution) for part in parts])
    if not np.isfinite(y).all():
        image = int(np.argmin(np.isfinite(y.reshape(len(y), -1)).all(axis=1)))
        where = f" on {machine}" if machine else ""
        raise NumericalError(
            f"{network.graph.name}{where}: outputs of image {image} are no finite numbers, so that nothing can be said "
            "of its accuracy; expected weights and scales that float32 can hold"
        )
    return y


def _percent(hits: NDArray[np.bool_]) -> float:
    return float(100 * hits.mean())
