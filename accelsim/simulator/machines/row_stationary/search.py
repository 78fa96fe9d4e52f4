"""The search for the best mapping of a layer on a row-stationary array (``passes``).

All mappings that are tried (``candidates``) and fit the machine (``rooms``) are scored at once, as
arrays, by sums over the layer (``sums``): cycles, DRAM bytes, energy or energy x cycles, as the
machine's objective says.  For cycles the best ones of many rates of a DMA are timed
(``objective``).
"""

from collections.abc import Sequence

import numpy as np

from accelsim.arrays import Floats
from accelsim.errors import InputError
from accelsim.simulator.machines.row_stationary.candidates import PassCandidates, all_candidates
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.machines.row_stationary.passes import PassMapping
from accelsim.simulator.machines.row_stationary.rooms import measure_rooms, shortage
from accelsim.simulator.machines.row_stationary.sums import PassSums, sum_up
from accelsim.simulator.time.objective import Dma, dmas_to_try, own_dma
from accelsim.workload import LayerWork

MAX_CANDIDATES = 1 << 24  # mappings of a layer that are looked at
AT_ONCE = 1 << 18  # of them: some ten MB


def choose_mapping(work: LayerWork, machine: RowStationaryDescription) -> tuple[PassMapping, float]:
    """The mapping with the lowest score, and the score.

    Cycles, bytes or pJ by the machine's objective.

    Raises InputError if none fits the scratch-pads, the array and the buffers and has no more steps
    than MAX_STEPS.
    """
    return _choose(work, machine, (own_dma(machine),))[0]


def choose_mappings(work: LayerWork, machine: RowStationaryDescription) -> list[PassMapping]:
    """The mappings that are worth timing.

    For cycles the best ones of many rates of a DMA, else the best one.

    Raises InputError as ``choose_mapping``.
    """
    return list({mapping: None for mapping, _ in _choose(work, machine, dmas_to_try(machine))})


def _choose(
    work: LayerWork,
    machine: RowStationaryDescription,
    dmas: Sequence[Dma],
) -> list[tuple[PassMapping, float]]:
    """The best mapping with each DMA, and its score."""
    candidates = worth_scoring(work, machine)
    rooms = measure_rooms(work, machine, candidates)
    sums = sum_up(work, machine, candidates, rooms)
    scores = (np.where(rooms.fits, sums.score(machine, work, dma), np.inf) for dma in dmas)
    return [_best(candidates, sums, score) for score in scores]


def _best(candidates: PassCandidates, sums: PassSums, score: Floats) -> tuple[PassMapping, float]:
    # Of equal ones that with the fewest bytes, then steps.
    ties = np.flatnonzero(score == score.min())
    steps = np.broadcast_to(sums.steps, score.shape).ravel()[ties]
    dram_bytes = np.broadcast_to(sums.dram_bytes, score.shape).ravel()[ties]
    best = int(ties[np.lexsort((steps, dram_bytes))[0]])
    return candidates.mapping(np.unravel_index(best, score.shape)), float(score.flat[best])


def worth_scoring(work: LayerWork, machine: RowStationaryDescription) -> PassCandidates:
    """The mappings of a layer.

    All of them, or of a large layer those passes and image tiles with which any fits.

    Raises InputError if no mapping fits and has few steps, or there are too many mappings.
    """
    found = all_candidates(work, machine)
    passes, image_tiles, column_tiles = found.shape
    count = passes * image_tiles * column_tiles
    if count > MAX_CANDIDATES:
        raise InputError(
            f"{machine.name}: layer {work.name} has {count} mappings to choose from, expected at most {MAX_CANDIDATES}"
        )
    at_once = image_tiles if count <= AT_ONCE else max(1, AT_ONCE // max(1, passes * column_tiles))
    fits = np.zeros((passes, image_tiles), bool)
    shortages = []
    for first in range(0, image_tiles, at_once):
        tiles = slice(first, first + at_once)
        some = found.image_tiles(tiles)
        rooms = measure_rooms(work, machine, some)
        shape = np.broadcast_shapes(rooms.fits.shape, some.shape)
        fits[:, tiles] = np.broadcast_to(rooms.fits, shape).any(axis=2)
        shortages.append(shortage(work, machine, rooms))
    if not fits.any():
        raise InputError(f"{machine.name}: {min(shortages).what}")
    if count <= AT_ONCE:
        return found
    return found.some(passes=np.asarray(fits.any(axis=1)), image_tiles=np.asarray(fits.any(axis=0)))


def score_mapping(
    work: LayerWork,
    machine: RowStationaryDescription,
    mapping: PassMapping,
) -> float:
    """The score of a given mapping, infinite where it does not fit the machine."""
    candidates = PassCandidates.of(mapping)
    rooms = measure_rooms(work, machine, candidates)
    if not rooms.fits.all():
        return float("inf")
    sums = sum_up(work, machine, candidates, rooms)
    return float(sums.score(machine, work, own_dma(machine)).item())
