"""Runs a network through the steps of an integer machine.

Images in, outputs in whole numbers and what did not fit.
"""

from collections.abc import Callable, Sequence

import numpy as np

from accelsim.arrays import Array
from accelsim.datapath.counts import Counts
from accelsim.datapath.program import IntegerProgram
from accelsim.network import INPUT

Observer = Callable[[str, Array], None]  # name of a feature map, its real values


def run_integers(
    program: IntegerProgram,
    x: Array,
    observe: Observer | None = None,
) -> tuple[Array, list[Counts]]:
    """The outputs of preprocessed images, and the counts of each step.

    x: (N, H, W, C) float32 -> (N, ...) float32, whole numbers times the unit of the last feature
    map.
    observe: called with the real values of the input and of each step's output.
    """
    values = {INPUT: enter(program, x)}
    last_use = {source: i for i, step in enumerate(program.steps) for source in step.inputs}
    if observe is not None:
        observe(INPUT, _real(program, INPUT, values[INPUT]))
    counts = []
    for i, step in enumerate(program.steps):
        found = Counts()
        values[step.output] = step.run([values[source] for source in step.inputs], found)
        counts.append(found)
        if observe is not None:
            observe(step.output, _real(program, step.output, values[step.output]))
        for source in set(step.inputs):
            if last_use[source] == i:
                del values[source]
    name = program.steps[-1].output
    return _real(program, name, values[name]), counts


def enter(program: IntegerProgram, x: Array) -> Array:
    """Preprocessed images as the machine's words: same shape."""
    return program.input.store(np.floor(x / np.float64(program.input.unit) + 0.5), Counts())


def _real(program: IntegerProgram, name: str, values: Array) -> Array:
    return np.asarray(values * np.float32(program.units[name]))


def add_counts(totals: Sequence[Counts], more: Sequence[Counts]) -> None:
    """Take in the counts of other images, step by step."""
    for total, other in zip(totals, more, strict=True):
        total.add(other)
