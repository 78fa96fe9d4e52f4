"""Batches of images: all at once through every layer, or some at a time through the whole network.

Images inside layers: a layer works on all images before the next one begins, so that its weights are loaded once, but
its maps are as large as the batch.  Layers inside images: a pass takes a part of the batch through the network, so that
maps are small and stay on chip, but weights come again in each pass; unless all weights of the network fit the weight
buffer together: then they are loaded in the first pass and stay.  Passes follow one another in one program.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

import numpy as np

from accelsim.hardware.dram import Transfer
from accelsim.simulator.time.program import Part
from accelsim.simulator.time.schedule import Schedule, dram_actions
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
        return TableWorks(works.table, works.batch // passes)
    return tuple(replace(work, batch=work.batch // passes) for work in works)


def in_passes(parts: Sequence[Part], passes: int, weights_stay: bool) -> list[Part]:
    """The parts of one pass, again and again; weights_stay: whether weights come in the first pass alone."""
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


def without_weights(schedule: Schedule) -> Schedule:
    """A layer's steps when its weights are there already."""
    none = np.zeros_like(schedule.compute_cycles)
    transfers = (schedule.inputs, schedule.outputs)
    n_bytes = sum(int(transfer.n_bytes.sum()) for transfer in transfers)
    rows = sum(int(transfer.rows.sum()) for transfer in transfers)
    off_chip = {name: float(count) for name, count in dram_actions(n_bytes, rows).items()}
    return replace(
        schedule,
        weights=Transfer(none, none, none),
        weight_transform_cycles=none,
        actions=schedule.actions | off_chip | {"weight_write": 0.0},
    )


def all_passes(schedule: Schedule, passes: int, weights_stay: bool) -> Schedule:
    """A layer's steps in all passes, for what they move and do in all."""
    if passes == 1:
        return schedule
    again = without_weights(schedule) if weights_stay else schedule

    def together(first: Transfer, other: Transfer) -> Transfer:
        return Transfer(
            n_bytes=np.append(first.n_bytes, np.tile(other.n_bytes, passes - 1)),
            pieces=np.append(first.pieces, np.tile(other.pieces, passes - 1)),
            rows=np.append(first.rows, np.tile(other.rows, passes - 1)),
        )

    return replace(
        schedule,
        inputs=together(schedule.inputs, again.inputs),
        weights=together(schedule.weights, again.weights),
        outputs=together(schedule.outputs, again.outputs),
        transform_cycles=np.tile(schedule.transform_cycles, passes),
        compute_cycles=np.tile(schedule.compute_cycles, passes),
        inverse_cycles=np.tile(schedule.inverse_cycles, passes),
        weight_transform_cycles=np.append(
            schedule.weight_transform_cycles, np.tile(again.weight_transform_cycles, passes - 1)
        ),
        effectual_macs=passes * schedule.effectual_macs,
        useful_slots=passes * schedule.useful_slots,
        waiting_slots=passes * schedule.waiting_slots,
        actions={name: count + (passes - 1) * again.actions.get(name, 0.0) for name, count in schedule.actions.items()},
    )
