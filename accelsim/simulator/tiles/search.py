"""The search for the best tiling of a layer: all of them scored at once, as arrays.

Candidates are all balanced cuts of every dimension, in both outer orders (``candidates``).  A
buffer holds the current tile and, double-buffered, the next, or all of an operand (``rooms``;
Winograd: inputs stay transformed); what is then loaded how often: ``loads``.  The score is

    cycles = max(DMA, transform, lanes, inverse) + one average step of each of the others (fill and drain),

where weights and inputs share a buffer with the first pass of the outer loop, in which alone what
stays is loaded, apart from the rest; or the DRAM bytes, energy or energy x cycles where that is the
machine's objective (``objective``).  The DMA moves whole bursts at a rate, and loses some cycles at
every store.  For cycles the best tilings at many rates are found, from a DRAM that bounds every
layer to one that bounds none, and then timed: so what is found does not depend on the machine's
DRAM, and a DRAM that serves every request faster cannot lead to a slower schedule.
A larger buffer only adds candidates and lets more operands stay, so it never worsens the best score
in cycles or bytes (an access of it costs more energy).

Cutting the channels costs the lanes barriers that have to be counted from the masks; where lanes
have a window, so does cutting the filters.  So every cut is first scored as if it cost none (a
lower bound), and then exactly, from the most promising on, until the bound of the next cannot beat
the best so far.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Floats, Ints
from accelsim.simulator.tiles.actions import LayerSums, count_actions, fold_counts
from accelsim.simulator.tiles.candidates import ORDER, POSITIONS, WEIGHTS_FIRST, Candidates, along
from accelsim.simulator.tiles.description import TiledDescription
from accelsim.simulator.tiles.groundwork import EVERYTHING, Block
from accelsim.simulator.tiles.lanes import lane_cycles
from accelsim.simulator.tiles.loads import DmaCycles, Loads, count_loads, dma_cycles
from accelsim.simulator.tiles.mode import Mode
from accelsim.simulator.tiles.positions import rounds
from accelsim.simulator.tiles.rooms import Rooms, worth_scoring
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.simulator.time import objective
from accelsim.simulator.time.objective import dmas_to_try, own_dma
from accelsim.simulator.time.schedule import ActionCounts

Where = tuple[int, int, int, int]  # a candidate, as an index of the arrays


def choose_tiling(mode: Mode, machine: TiledDescription) -> tuple[Tiling, float]:
    """The tiling with the lowest score, and the score in the unit of the machine's objective.

    Raises InputError if no tiling fits the buffers and has no more steps than MAX_STEPS.
    """
    tiling, score, _ = choose_with_needs(mode, machine)
    return tiling, score


def choose_tilings(mode: Mode, machine: TiledDescription) -> list[Tiling]:
    """The tilings that are worth timing.

    For cycles the best ones of many rates of a DMA, else the best one.

    Raises InputError as ``choose_tiling``.
    """
    return [tiling for tiling, _, _ in choices_with_needs(mode, machine)]


def choices_with_needs(
    mode: Mode,
    machine: TiledDescription,
) -> list[tuple[Tiling, float, dict[str, int]]]:
    """``choose_tilings``, each with its score and the bytes that it needs of each buffer."""
    rooms = worth_scoring(mode, machine)
    loads = count_loads(rooms)
    found: dict[Tiling, tuple[float, dict[str, int]]] = {}
    for dma in dmas_to_try(machine):
        tiling, score, at = _Search(rooms, loads, dma_cycles(rooms, loads, dma)).best()
        found.setdefault(tiling, (score, rooms.needs_at(at)))
    return [(tiling, score, needs) for tiling, (score, needs) in found.items()]


def choose_with_needs(
    mode: Mode,
    machine: TiledDescription,
) -> tuple[Tiling, float, dict[str, int]]:
    """``choose_tiling``, and the bytes that the tiling needs of each buffer.

    In any smaller room that holds these bytes the choice is the same.
    """
    rooms = worth_scoring(mode, machine)
    loads = count_loads(rooms)
    tiling, score, at = _Search(rooms, loads, dma_cycles(rooms, loads, own_dma(machine))).best()
    return tiling, score, rooms.needs_at(at)


@dataclass(frozen=True)
class _Search:
    """Some tilings of a layer, on one machine, to be scored."""

    rooms: Rooms
    loads: Loads
    dma: DmaCycles

    @property
    def mode(self) -> Mode:
        """How the layer runs."""
        return self.rooms.mode

    @property
    def machine(self) -> TiledDescription:
        """What it runs on."""
        return self.rooms.machine

    @property
    def candidates(self) -> Candidates:
        """The tilings that are looked at."""
        return self.rooms.candidates

    def best(self) -> tuple[Tiling, float, Where]:
        """The tiling with the lowest score, the score, and which candidate it is."""
        score, at = self.best_at_once() or self.best_by_bounds()
        return self.tiling(at), score, at

    def best_at_once(self) -> tuple[float, Where] | None:
        """The lowest score and which candidate has it.

        None where the lanes are better counted one cut after the other, or the order in which cuts
        are gone through decides between several.
        """
        base = self.rooms.base
        if base.exact_lanes is None:
            return None
        scores = self._score(base.exact_lanes, EVERYTHING)
        least = scores.min()
        places = np.nonzero(scores == least)
        _, _, cuts, _ = places
        cut = int(cuts.max())
        if len(cuts) == 1:
            return float(least), _first(places)
        if cuts.min() < cut:
            if not all(base.least_is_exact(Block(None, int(other))) for other in set(cuts.tolist())):
                return None
            places = tuple(index[cuts == cut] for index in places)
        return float(least), self.preferred(places)

    def preferred(self, places: tuple[Ints, ...]) -> Where:
        """Of candidates of equal score with one cut of the channels the smallest tile."""
        order, i, _, x = places
        first = 0
        if len(x) > 1:
            traffic, steps = self.ranks(places)
            same = np.zeros_like(x)
            first = int(np.lexsort((order, i, x, same + steps, same + traffic))[0])
        return _first(tuple(index[first:] for index in places))

    def best_by_bounds(self) -> tuple[float, Where]:
        """The lowest score and which candidate has it."""
        # Of each cut of filters and channels: the channels' cuts are gone through, from the lowest
        # bound on.
        bounds = self.lower_bounds()
        of_channels = bounds.min(axis=0)
        best: tuple[float, Where] | None = None
        for cut in np.lexsort((-np.arange(len(of_channels)), of_channels)):
            # of equal ones the least cut
            if not np.isfinite(of_channels[cut]) or (best is not None and of_channels[cut] >= best[0]):
                break
            found = self.best_of_cut(int(cut), bounds[:, cut], np.inf if best is None else best[0])
            if found is not None and (best is None or self.better(found, best)):
                best = found
        assert best is not None  # the bound of a cut that fits is finite
        return best

    def tiling(self, at: Where) -> Tiling:
        """The candidate at a position of the arrays."""
        order, i, j, x = at
        images, rows, cols = (int(sizes[x]) for sizes in self.candidates.positions.sizes)
        return Tiling(
            images=images,
            rows=rows,
            cols=cols,
            filters=self.candidates.filter_cuts[i],
            channels=self.candidates.channel_cuts[j],
            weights_first=order == 1,
            weights_stay=bool(_at(self.rooms.weights_stay, at)),
            inputs_stay=bool(_at(self.rooms.inputs_stay, at)),
        )

    def lower_bounds(self) -> Floats:
        """What no candidate with one cut of the filters and one of the channels can undercut.

        (cuts, cuts).

        Infinite where none fits.  The lanes count as if cutting cost them nothing.
        """
        least = self.least_scores.min(axis=(ORDER, POSITIONS))
        shape = (len(self.candidates.filter_cuts), len(self.candidates.channel_cuts))
        return np.broadcast_to(least, shape)

    @cached_property
    def least_scores(self) -> Floats:
        """Scores as if cutting filters and channels cost the lanes nothing."""
        return self._score(self.rooms.base.least_lanes, EVERYTHING)

    def best_of_cut(self, cut: int, bounds: Floats, limit: float) -> tuple[float, Where] | None:
        """Score of the best tiling with one cut of the channels, and where it is.

        Of equal ones the smallest tile.

        bounds: below the scores of each cut of the filters.  None where all scores are above the
        limit.
        """
        blocks = [Block(None, cut)]
        if self.mode.lanes.window > 1:  # barriers depend on the cut of the filters, too
            blocks = [Block(i, cut) for i in np.argsort(bounds, kind="stable").tolist()]
        lowest = limit
        places: list[tuple[Ints, Ints, Ints]] = []
        for block in blocks:
            bound = bounds.min() if block.filter_cut is None else bounds[block.filter_cut]
            if bound > lowest or not np.isfinite(bound):
                break
            score = self._exact_scores(block)
            least = float(score.min())
            if least < lowest:
                lowest = least
                places.clear()
            if least == lowest:
                order, i, _, x = np.nonzero(score == least)
                places.append((order, i + (block.filter_cut or 0), x))
        if not places:
            return None
        order, i, x = (np.concatenate(index) for index in zip(*places, strict=True))
        return lowest, self.preferred((order, i, np.full_like(x, cut), x))

    def better(self, found: tuple[float, Where], best: tuple[float, Where]) -> bool:
        """Whether a candidate's score is below the best one's, or equal and it moves fewer bytes in fewer steps."""
        if found[0] == best[0]:
            return bool(self.ranks(found[1]) < self.ranks(best[1]))
        return found[0] < best[0]

    def ranks(self, at: Any) -> tuple[Any, Any]:
        """What decides between candidates of equal score: DRAM bytes, then steps.

        at: one, or arrays of indices.
        """
        n_bytes = self.loads.dram_bytes_at(lambda values: _at(values, at))
        return n_bytes, _at(self.candidates.steps, at)

    def _exact_scores(self, block: Block) -> Floats:
        """Scores of one cut of the channels (and filters, where these count)."""
        base = self.rooms.base
        if base.least_is_exact(block):
            return block.of(self.least_scores)
        return self._score(base.lanes(block), block)

    def _score(self, lanes: Ints, block: Block) -> Floats:
        """Scores, infinite where a tile does not fit.

        lanes: cycles of the lanes over the whole layer.
        """
        if self.machine.objective == "dram":
            score = block.of(self.loads.dram_bytes).astype(float)
        else:
            score = self._cycles(lanes, block)
            if self.machine.objective != "cycles":
                pj = self._chip_pj(block) + block.of(self.moved_pj)
                score = objective.score_of_energy(self.machine, score, pj)
        return np.where(block.of(self.rooms.fits), score, np.inf)

    def _cycles(self, lanes: Ints, block: Block) -> Floats:
        """Cycles of the slowest stage, and an average step of each of the others."""
        dma = block.of(self.dma.all)
        total = longest = np.asarray(lanes, np.float64)
        for cycles in (dma, *(block.of(unit) for unit in self.unit_cycles)):
            total = total + cycles
            longest = np.maximum(longest, cycles)
        if self.machine.buffers.shared and not self.mode.transforms:
            once = block.of(self.dma.once(self.loads))
            again = dma - once
            # What stays is loaded in the first pass of the outer loop.
            in_group = block.of(self.candidates.in_group)
            first_pass = np.where(WEIGHTS_FIRST, 1 / in_group, 1 / self.candidates.count)
            first = np.maximum(once + first_pass * again, first_pass * lanes)
            longest = first + (1 - first_pass) * np.maximum(again, lanes)
        return np.asarray(longest + (total - longest) / block.of(self.candidates.steps))

    @cached_property
    def unit_cycles(self) -> tuple[Floats, ...]:
        """Cycles of vector lanes, transform and inverse transform over the whole layer, where they do something."""
        slots = self.mode.work.around.post_slots
        cycles = [np.full((1,) * 4, slots / self.machine.vector_lanes)] if slots else []
        if self.mode.transforms:
            cycles.append(np.asarray(self.rooms.base.transform_cycles * self.loads.of_inputs))
        if self.mode.inverts:
            cycles.append(self.rooms.base.inverse_cycles)
        return tuple(cycles)

    @cached_property
    def moved_pj(self) -> Floats:
        """pJ of what moves of maps between DRAM and chip, every request as if no row that it touches were open."""
        prices = self.rooms.base.move_prices
        loads = self.loads
        once = loads.inputs.n_bytes * prices.loaded_byte + loads.inputs.rows * prices.row
        stored = loads.outputs.n_bytes * prices.stored_byte + loads.outputs.rows * prices.row
        moved = once * loads.of_inputs + stored
        if self.mode.work.around.operands:
            moved = moved + (loads.operands.n_bytes * prices.loaded_byte + loads.operands.rows * prices.row)
        return np.asarray(moved, np.float64)

    def _chip_pj(self, block: Block) -> Floats:
        """pJ of what costs energy on chip and on the weights' way there, but for time."""
        around = self.mode.work.around
        # lanes that hold outputs do the same however channels are cut
        counted = EVERYTHING if self.mode.lanes.stationary == "output" else block
        unread = not around.stores or around.output_share < 1  # the DMA does not read the outputs

        def count() -> Floats:
            actions = self._actions(counted)
            if unread:
                bits = self.mode.work.outputs * self.mode.widths.activation_bits
                actions["output_read"] = actions["output_read"] - bits
            found = objective.actions_pj(self.machine, actions)
            return found.reshape((1,) * (4 - found.ndim) + found.shape)

        if self.rooms.move_with_surroundings:
            found = count()
        else:
            key = (counted, unread, around.weights == "there")
            found = self.rooms.base.chip_pj.get(key, count)
        return block.of(found) if counted == EVERYTHING else found

    def _actions(self, block: Block) -> ActionCounts:
        """What costs energy on chip, and weights; of all cuts of the channels together at least that."""
        mode = self.mode
        work = mode.work
        base = self.rooms.base
        candidates = self.candidates
        at = candidates.positions
        _, rows, cols = at.sizes
        folds = (0, 0)
        if mode.lanes.stationary != "output":
            folds = fold_counts(mode, lane_cycles(mode, work.out_channels, base.edges(block)))
        weight_loads = block.of(self.loads.of_weights)
        sums = LayerSums(
            tiles=at.all_tiles,
            rounds=along(POSITIONS, rounds(at, mode.lanes.positions)),
            position_tiles=candidates.count,
            filter_tiles=block.of(candidates.n_k),
            channel_tiles=block.of(candidates.n_c),
            rows=along(POSITIONS, rows),
            cols=along(POSITIONS, cols),
            tile_channels=at.all_tiles * work.in_channels * block.of(self.loads.of_inputs),
            filter_channels=work.out_channels * mode.group_channels * weight_loads,
            weight_bytes=base.weights.n_bytes * weight_loads,
            input_bytes=0,
            output_bytes=0,
            folds=folds,
        )
        actions = count_actions(mode, sums)
        actions["dram_activate"] = block.of(base.weights.rows) * weight_loads
        return actions


def _first(places: tuple[Ints, ...]) -> Where:
    """The first of some candidates."""
    order, i, cut, x = (int(index[0]) for index in places)
    return order, i, cut, x


def _at(values: NDArray[Any], at: Any) -> Any:
    """The value of one candidate, or the values of several whose indices are arrays."""
    return values[tuple(i if size > 1 else 0 for i, size in zip(at, values.shape, strict=True))]
