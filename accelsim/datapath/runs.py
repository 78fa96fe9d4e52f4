"""One machine on images.

The outputs of its arithmetic, where its scales came from, what happened in its layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array
from accelsim.datapath.batches import WHOLE_BATCH, Progress, in_batches
from accelsim.datapath.calibrate import IMAGES as CALIBRATION_IMAGES
from accelsim.datapath.calibrate import calibrate
from accelsim.datapath.counts import Counts
from accelsim.datapath.execute import add_counts, run_integers
from accelsim.datapath.floating import float_convolution
from accelsim.datapath.layers import LayerIntegers, layer_integers
from accelsim.datapath.program import IntegerProgram, build
from accelsim.datapath.stored import stored
from accelsim.dual.model import DualModel
from accelsim.errors import NumericalError
from accelsim.hardware.datapath import Datapath
from accelsim.network import Network, forward
from accelsim.network.forward import Convolution

ArithmeticKind = Literal["integers", "float"]


def image_runs(datapaths: Sequence[Datapath], images: int) -> int:
    """How many images ``validate`` runs in all.

    Each on every arithmetic, and by direct convolution.
    """
    return images * (1 + len({replace(datapath, machine="") for datapath in datapaths}))


def integer_outputs(
    program: IntegerProgram,
    network: Network,
    pixels: NDArray[Any],
    progress: Progress | None = None,
) -> tuple[Array, list[Counts]]:
    """Outputs of an integer machine on images, and what happened in each of its steps."""
    parts = in_batches(network.graph, pixels, partial(run_integers, program), progress, WHOLE_BATCH)
    totals = [Counts() for _ in program.steps]
    for _, counts in parts:
        add_counts(totals, counts)
    return np.concatenate([y for y, _ in parts]), totals


@dataclass(frozen=True, eq=False)
class MachineRun:
    """What one machine makes of images."""

    outputs: Array  # (N, ...)
    scales: str = ""  # where those of whole numbers come from
    layers: tuple[LayerIntegers, ...] = ()  # of whole numbers


def machine_run(
    model: DualModel,
    datapath: Datapath,
    pixels: NDArray[np.uint8],
    arithmetic: ArithmeticKind,
    progress: Progress | None,
) -> MachineRun:
    """The images on one machine."""
    if arithmetic == "float" or datapath.number != "int":
        convolution = float_convolution(model, datapath)
        outputs = float_outputs(model.network, pixels, convolution, datapath.machine, progress)
        return MachineRun(outputs)
    known = stored(model, datapath)
    if known is None:
        some = pixels[:CALIBRATION_IMAGES]
        scales = f"the first {len(some)} images"
        found = calibrate(model, datapath, some)
    else:
        found, count = known
        scales = f"the file, found on {count} images"
    program = build(model, datapath, found)
    y, totals = integer_outputs(program, model.network, pixels, progress)
    return MachineRun(y, scales, layer_integers(model, datapath, program, totals, pixels))


def float_outputs(
    network: Network,
    pixels: NDArray[np.uint8],
    convolution: Convolution | None,
    machine: str = "",
    progress: Progress | None = None,
) -> Array:
    """The network's outputs in float32: (N, ...).

    Raises NumericalError if an output is not finite.
    """
    run = partial(forward, network, convolution=convolution)
    y = np.concatenate(in_batches(network.graph, pixels, run, progress))
    if not np.isfinite(y).all():
        image = int(np.argmin(np.isfinite(y.reshape(len(y), -1)).all(axis=1)))
        where = f" on {machine}" if machine else ""
        raise NumericalError(
            f"{network.graph.name}{where}: outputs of image {image} are no finite numbers, so that nothing can be said "
            "of its accuracy; expected weights and scales that float32 can hold"
        )
    return y
