"""One model with words of many widths on the same images.

How good the outputs are, and which layer is the noisiest.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats
from accelsim.datapath.batches import WHOLE_BATCH, in_batches
from accelsim.datapath.calibrate import IMAGES as CALIBRATION_IMAGES
from accelsim.datapath.calibrate import measure_ranges, scales_of
from accelsim.datapath.counts import Counts
from accelsim.datapath.execute import add_counts, run_integers
from accelsim.datapath.layers import noise
from accelsim.datapath.program import IntegerProgram, build
from accelsim.datapath.steps import ProductStep, WinogradStep
from accelsim.datapath.weights import WholeWeights
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.memo import Memo

ROUNDED_BYTES = 1 << 28  # of weights that are kept, rounded
SCORES = 1000  # of words that were tried
WIDE = 14  # bits of weights and activations that cost nothing


class Probe:
    """Runs of one model with various words, on the same images."""

    def __init__(
        self,
        model: DualModel,
        datapath: Datapath,
        pixels: NDArray[np.uint8],
        score: Callable[[Array], Floats],
    ):
        self.model = model
        self.datapath = datapath
        self.pixels = pixels
        self.score_of = score
        self.rounded: Memo[WholeWeights] = Memo(ROUNDED_BYTES)
        self.scores: Memo[float] = Memo(SCORES)
        self.ranges = measure_ranges(model, datapath, pixels[:CALIBRATION_IMAGES], taps=datapath.kind == "winograd")

    def program(self, integers: Integers) -> IntegerProgram:
        """The steps with these words.

        Where sums would be beyond 2^53, with fewer bits of what was widened.
        """
        for bits in range(WIDE, 7, -1):
            own = self.datapath.integers
            narrower = replace(
                integers,
                weight_bits=min(integers.weight_bits, max(bits, own.weight_bits)),
                activation_bits=min(integers.activation_bits, max(bits, own.activation_bits)),
            )
            with suppress(InputError):
                return self.build(replace(self.datapath, integers=narrower))
        return self.build(replace(self.datapath, integers=integers))

    def build(self, datapath: Datapath) -> IntegerProgram:
        """The steps with the words of ``datapath``, whose domain and tile size are those of the probe's."""
        found = scales_of(self.model, datapath, self.ranges, self.pixels[:CALIBRATION_IMAGES])
        return build(self.model, datapath, found, self.rounded)

    def score(self, integers: Integers) -> float:
        """How good the outputs are, the mean of all images."""
        return self.scores.get(integers, lambda: float(self.run(self.program(integers))[0].mean()))

    def run(self, program: IntegerProgram) -> tuple[Floats, list[Counts]]:
        """How good a program's outputs are, image by image (N,), and what happened in its steps."""
        run = partial(run_integers, program)
        parts = in_batches(self.model.network.graph, self.pixels, run, batch=WHOLE_BATCH)
        totals = [Counts() for _ in program.steps]
        for _, counts in parts:
            add_counts(totals, counts)
        return self.score_of(np.concatenate([y for y, _ in parts])), totals

    def noisiest(self, integers: Integers) -> str:
        """The layer with weights whose own noise is the largest."""
        program = self.program(integers)
        own = noise(self.model, self.datapath, program, self.pixels)[1]
        steps = [step for step in program.steps if isinstance(step, ProductStep | WinogradStep)]
        return min(steps, key=lambda step: own[step.output]).name
