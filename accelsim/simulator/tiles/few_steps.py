"""Which cuts of a large layer are looked at, where every cut means a schedule.

Those of the fewest steps.

A schedule holds some two hundred bytes a step, and a cut of more steps moves more small tiles.  So
a layer is refused that needs over ``MAX_STEPS`` steps, and of a large layer those cuts alone are
compared, from the one with the fewest steps on, that have so many together.  What is left out are
the finest cuts, which would take most of the time.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from accelsim.errors import InputError
from accelsim.hardware.description import MachineDescription

MAX_STEPS = 1 << 22  # of a layer: some gigabyte of schedule

Cut = TypeVar("Cut")


def few_steps(
    cuts: Sequence[Cut],
    steps: Sequence[int],
    layer: str,
    machine: MachineDescription,
) -> list[Cut]:
    """The cuts, in their order, that have MAX_STEPS steps together at most, and the one with the fewest in any case.

    steps: of each cut.  Raises InputError that names the layer if every cut has over MAX_STEPS
    steps.
    """
    least = min(steps)
    if least > MAX_STEPS:
        raise InputError(f"{machine.name}: layer {layer} needs at least {least} steps, expected at most {MAX_STEPS}")
    by_steps = sorted(range(len(cuts)), key=lambda i: steps[i])
    together = accumulate(steps[i] for i in by_steps)
    looked_at = {i for i, sum_so_far in zip(by_steps, together, strict=True) if sum_so_far <= MAX_STEPS}
    return [cut for i, cut in enumerate(cuts) if i in looked_at]
