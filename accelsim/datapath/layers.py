"""What the integers of a machine do to each layer.

Noise against float32, values that did not fit, bits in use.

The float network runs in the machine's domain (a Winograd machine's filters are pruned there, too),
so that the difference is that of whole numbers alone.  The signal-to-noise ratio of a feature map
is

    10 log10( sum of y^2 / sum of (y - integers x unit)^2 )     in dB, about 6 dB a bit,

of the whole path up to the layer, and of the layer alone, on the float network's inputs rounded to
its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats
from accelsim.datapath.batches import WHOLE_BATCH, in_batches
from accelsim.datapath.counts import Counts, bits_for
from accelsim.datapath.execute import run_integers
from accelsim.datapath.floating import machine_tiles, winograd_part
from accelsim.datapath.program import IntegerProgram
from accelsim.datapath.steps import ProductStep, WinogradStep
from accelsim.dual.model import DualModel
from accelsim.hardware.datapath import Datapath
from accelsim.network import INPUT, Node, forward
from accelsim.network.forward import Convolution

IMAGES = 50  # that noise is measured on
MAX_VALUES = 1 << 26  # of all feature maps of these images together


@dataclass(frozen=True)
class LayerIntegers:
    """One layer of an integer run."""

    name: str
    mode: str  # how the machine runs it
    sqnr_db: float  # of its output, the whole path; infinite where nothing differs
    own_sqnr_db: float  # of its output, this layer alone
    saturated_percent: float  # outputs beyond their word
    overflowed_percent: float  # sums beyond their register
    transformed_saturated_percent: float  # transformed inputs beyond their word
    largest_sum: int  # magnitude of a sum of products; 0 for layers without weights
    sum_bits: int  # that it takes
    # that the largest transformed input takes before it is narrowed; 0 without a transform
    transformed_bits: int
    weights_saturated: int  # weights cut to the largest number
    worst: bool = False  # of all layers with weights the one with the least own_sqnr_db


def layer_integers(
    model: DualModel,
    datapath: Datapath,
    program: IntegerProgram,
    totals: Sequence[Counts],
    pixels: NDArray[np.uint8],
) -> tuple[LayerIntegers, ...]:
    """Each step of an integer run.  totals: its counts.

    pixels: images to measure the noise on, the first IMAGES.
    """
    whole, own = noise(model, datapath, program, pixels)
    rows = [
        LayerIntegers(
            name=step.name,
            mode=step.mode,
            sqnr_db=whole[step.output],
            own_sqnr_db=own[step.output],
            saturated_percent=_percent(count.saturated, count.outputs),
            overflowed_percent=_percent(count.overflowed, count.sums),
            transformed_saturated_percent=_percent(count.transformed_saturated, count.transformed),
            largest_sum=count.largest_sum,
            sum_bits=bits_for(count.largest_sum) if count.sums else 0,
            transformed_bits=bits_for(count.largest_transformed) if count.transformed else 0,
            weights_saturated=getattr(step, "weights_saturated", 0),
        )
        for step, count in zip(program.steps, totals, strict=True)
    ]
    weighted = {step.name for step in program.steps if isinstance(step, ProductStep | WinogradStep)}
    with_weights = [row for row in rows if row.name in weighted]
    worst = min(with_weights, key=lambda row: row.own_sqnr_db, default=None)
    return tuple(LayerIntegers(**(vars(row) | {"worst": row is worst})) for row in rows)


def noise(
    model: DualModel, datapath: Datapath, program: IntegerProgram, pixels: NDArray[np.uint8]
) -> tuple[dict[str, float], dict[str, float]]:
    """Signal-to-noise ratios in dB by feature map: of the whole path, and of each step alone."""
    graph = model.network.graph
    values = sum(prod(shape) for shape in graph.shapes.values())
    some = pixels[: max(1, min(IMAGES, MAX_VALUES // values))]
    convolution = winograd_part(model, datapath) if machine_tiles(model, datapath) else None
    energies = partial(_energies, model, program, convolution)
    parts = in_batches(graph, some, energies, batch=WHOLE_BATCH)
    whole, own = ({name: _decibels(sum(part[i][name] for part in parts)) for name in parts[0][i]} for i in (0, 1))
    return whole, own


def _energies(
    model: DualModel, program: IntegerProgram, convolution: Convolution | None, x: Array
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Sums of squares of signal and noise, (2,) by feature map.

    Of the whole path, and of each step alone.
    """
    wanted = {step.output for step in program.steps}
    exact: dict[str, Array] = {INPUT: x}

    def keep(node: Node, _: tuple[Array, ...], output: Array) -> None:
        if node.name in wanted:
            exact[node.name] = output

    forward(model.network, x, convolution=convolution, observe=keep)
    whole: dict[str, Floats] = {}

    def compare(name: str, found: Array) -> None:
        whole[name] = _squares(exact[name], found)

    run_integers(program, x, observe=compare)
    own = {}
    for step in program.steps:
        bits = program.input.bits
        inputs = [_words(exact[source], program.units[source], bits) for source in step.inputs]
        found = step.run(inputs, Counts()) * np.float32(step.word.unit)
        own[step.output] = _squares(exact[step.output], found)
    return whole, own


def _words(values: Array, unit: float, bits: int) -> Array:
    """Real values as whole numbers of so many bits."""
    most = (1 << (bits - 1)) - 1
    return np.clip(np.floor(values / np.float64(unit) + 0.5), -most - 1, most).astype(np.float32)


def _squares(exact: Array, found: Array) -> Floats:
    """Sums of squares of the signal and of the noise: (2,)."""
    signal = exact.astype(np.float64)
    return np.array([(signal**2).sum(), ((signal - found) ** 2).sum()])


def _decibels(squares: Floats | int) -> float:
    """The ratio of signal and noise, (2,)."""
    signal, error = np.asarray(squares, np.float64)
    if error == 0:
        return float("inf")
    return float(10 * np.log10(signal / error)) if signal else float("-inf")


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
