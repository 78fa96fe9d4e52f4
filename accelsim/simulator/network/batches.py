"""Batches of images: all at once through every layer, or some at a time through the whole network.

Images inside layers: a layer works on all images before the next one begins, so that its weights
are loaded once, but its maps are as large as the batch.  Layers inside images: a pass takes a part
of the batch through the network, so that maps are small and stay on chip, but weights come again in
each pass; unless all weights of the network fit the weight buffer together: then they are loaded in
the first pass and stay.  Passes follow one another in one program.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

import numpy as np

from accelsim.hardware.dram import Transfer
from accelsim.simulator.time.program import Part
from accelsim.simulator.time.schedule import Schedule, without_weights
from accelsim.workload import LayerWork, TableWorks

MAX_PASSES = 64
MAX_STEPS = 1 << 17  # of a program of several passes


def passes_to_try(works: Sequence[LayerWork]) -> list[int]:
    """Into how many passes the batch can be divided evenly, fewest first, up to MAX_PASSES."""
    batch = works.batch if isinstance(works, TableWorks) else gcd(*(work.batch for work in works))
    return [passes for passes in range(1, min(batch, MAX_PASSES) + 1) if batch % passes == 0]


def of_one_pass(works: Sequence[LayerWork], passes: int) -> Sequence[LayerWork]:
    """The layers on one pass's images."""
    if passes == 1:
        return works
    if isinstance(works, TableWorks):
        return works.in_batch(works.batch // passes)
    return tuple(work.in_batch(work.batch // passes) for work in works)


def in_passes(parts: Sequence[Part], passes: int, weights_stay: bool) -> list[Part]:
    """The parts of one pass, again and again; weights_stay.

    Whether weights come in the first pass alone.
    """
    found = list(parts)
    for number in range(1, passes):
        shift = number * len(parts)
        for part in parts:
            found.append(
                replace(
                    part,
                    schedule=without_weights(part.schedule) if weights_stay else part.schedule,
                    on_chip=tuple(shift + source for source in part.on_chip),
                    in_dram=tuple(shift + source for source in part.in_dram),
                )
            )
    return found


def all_passes(schedules: Sequence[Schedule], passes: int, weights_stay: bool) -> Schedule:
    """A layer's steps in all passes, for what they move and do in all.

    schedules: of one pass, in order.
    """
    if passes == 1 and len(schedules) == 1:
        return schedules[0]
    again = [without_weights(schedule) if weights_stay else schedule for schedule in schedules]
    every = [*schedules, *again * (passes - 1)]
    counts: dict[str, float] = {}
    for first, later in zip(schedules, again, strict=True):
        for name, count in first.counts.items():
            counts[name] = counts.get(name, 0.0) + (count + (passes - 1) * later.counts.get(name, 0.0))
    return replace(
        every[0],
        inputs=Transfer.of_all([schedule.inputs for schedule in every]),
        weights=Transfer.of_all([schedule.weights for schedule in every]),
        outputs=Transfer.of_all([schedule.outputs for schedule in every]),
        transform_cycles=np.concatenate([schedule.transform_cycles for schedule in every]),
        compute_cycles=np.concatenate([schedule.compute_cycles for schedule in every]),
        inverse_cycles=np.concatenate([schedule.inverse_cycles for schedule in every]),
        weight_transform_cycles=np.concatenate([schedule.weight_transform_cycles for schedule in every]),
        effectual_macs=passes * sum(schedule.effectual_macs for schedule in schedules),
        useful_slots=passes * sum(schedule.useful_slots for schedule in schedules),
        waiting_slots=passes * sum(schedule.waiting_slots for schedule in schedules),
        counts=counts,
    )
