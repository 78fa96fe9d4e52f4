"""One model with words of many widths on the same images: how good the outputs are, and which layer is the noisiest."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array
from accelsim.datapath.batches import WHOLE_BATCH, in_batches
from accelsim.datapath.calibrate import IMAGES as CALIBRATION_IMAGES
from accelsim.datapath.calibrate import measure_ranges, scales_of
from accelsim.datapath.execute import run_integers
from accelsim.datapath.layers import noise
from accelsim.datapath.plan import Program, build
from accelsim.datapath.steps import ProductStep, WinogradStep
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.datapath import Datapath, Integers

WIDE = 14  # bits of weights and activations that cost nothing


class Probe:
    """Runs of one model with various words, on the same images."""

    def __init__(
        self, model: DualModel, datapath: Datapath, pixels: NDArray[np.uint8], score: Callable[[Array], float]
    ):
        self.model = model
        self.datapath = datapath
        self.pixels = pixels
        self.score_of = score
        self.ranges = measure_ranges(model, datapath, pixels[:CALIBRATION_IMAGES], taps=datapath.kind == "winograd")

    def program(self, integers: Integers) -> Program:
        """The steps with these words; where sums would be beyond 2^53, with fewer bits of what was widened."""
        for bits in range(WIDE, 7, -1):
            own = self.datapath.integers
            narrower = replace(
                integers,
                weight_bits=min(integers.weight_bits, max(bits, own.weight_bits)),
                activation_bits=min(integers.activation_bits, max(bits, own.activation_bits)),
            )
            datapath = replace(self.datapath, integers=narrower)
            with suppress(InputError):
                return self._build(datapath)
        return self._build(replace(self.datapath, integers=integers))

    def _build(self, datapath: Datapath) -> Program:
        found = scales_of(self.model, datapath, self.ranges, self.pixels[:CALIBRATION_IMAGES])
        return build(self.model, datapath, found)

    def score(self, integers: Integers) -> float:
        """How good the outputs are."""
        run = partial(run_integers, self.program(integers))
        parts = in_batches(self.model.network.graph, self.pixels, lambda x: run(x)[0], batch=WHOLE_BATCH)
        return self.score_of(np.concatenate(parts))

    def noisiest(self, integers: Integers) -> str:
        """The layer with weights whose own noise is the largest."""
        program = self.program(integers)
        own = noise(self.model, self.datapath, program, self.pixels)[1]
        steps = [step for step in program.steps if isinstance(step, ProductStep | WinogradStep)]
        return min(steps, key=lambda step: own[step.output]).name
