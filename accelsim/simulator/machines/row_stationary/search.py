"""The search for the best mapping of a layer on a row-stationary array (``passes``).

Candidates are all combinations of
- strips e that cut the output rows evenly and whose sets fit the array, with as many sets r x t as it holds;
- channels q and filters p of a PE that cut what is left of the layer evenly, the largest ones that the pads hold;
- tiles of m filters, of images and of columns, whose partial sums fit the buffer beside the q r input channels of a
  step, both in whole banks;
scored all at once, as arrays, by sums over the layer: cycles (compute and ramp-up of all passes, or DRAM, whichever is
more, and a step of the other), DRAM bytes, energy or energy x cycles, as the machine's objective says; for cycles the
best of many rates of a DMA are timed (``objective``).  As on the chip,
whose mappings were chosen for energy, a mapping is chosen before the data are known: every activation counts as
non-zero and is moved as it is.  The sums take every filter and channel tile as full where a bus decides, so a score may
lie above the schedule's figure for such data.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.errors import InputError
from accelsim.hardware.energy import power_mw, prices
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.machines.row_stationary.passes import (
    PassMapping,
    bank_count,
    filters_stay,
    fresh_extents,
    inputs_stay,
    kernel_part,
    mac_register_bits,
    padded,
    psum_bytes,
    received_bits,
    sets_of,
)
from accelsim.simulator.storage.weights import filter_bits
from accelsim.simulator.tiles.tiling import balanced_cuts, input_extents, tile_sizes
from accelsim.simulator.time.objective import DMAS, Dma, own_dma
from accelsim.simulator.time.schedule import dram_actions
from accelsim.workload import LayerWork

MAX_STEPS = 1 << 17  # of a layer
MAX_CANDIDATES = 1 << 24  # mappings of a layer that are looked at
AT_ONCE = 1 << 18  # of them: some ten MB
LARGEST_CUTS = 8  # cuts of filters and channels that are tried, the largest ones
FILTER_TILES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 1 << 20)  # how many tiles of filters are tried
COLUMN_PARTS = (1, 2, 3, 4, 5, 6, 8, 16, 64, 1 << 20)  # how many parts of the columns are tried; last: single columns


def choose_mapping(work: LayerWork, machine: RowStationaryDescription) -> tuple[PassMapping, float]:
    """The mapping with the lowest score, and the score: cycles, bytes or pJ by the machine's objective.

    Raises InputError if none fits the scratch-pads, the array and the buffers and has no more steps than MAX_STEPS.
    """
    return _LayerSums(work, machine, worth_scoring(work, machine)).best(own_dma(machine))


def choose_mappings(work: LayerWork, machine: RowStationaryDescription) -> list[PassMapping]:
    """The mappings that are worth timing: for cycles the best ones of many rates of a DMA, else the best one.

    Raises InputError as ``choose_mapping``.
    """
    sums = _LayerSums(work, machine, worth_scoring(work, machine))
    dmas = DMAS if machine.objective == "cycles" else (own_dma(machine),)
    return list({sums.best(dma)[0]: None for dma in dmas})


def worth_scoring(work: LayerWork, machine: RowStationaryDescription) -> "_Candidates":
    """The mappings of a layer: all of them, or of a large layer those passes and image tiles with which any fits.

    Raises InputError if no mapping fits and has few steps, or there are too many mappings.
    """
    found = _candidates(work, machine)
    passes, image_tiles, column_tiles = len(found.e), len(found.n), len(found.f)
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
        rooms = _Rooms(work, machine, replace(found, n=found.n[tiles]))
        shape = np.broadcast_shapes(rooms.fits.shape, (passes, len(found.n[tiles]), column_tiles))
        fits[:, tiles] = np.broadcast_to(rooms.fits, shape).any(axis=2)
        shortages.append(rooms.shortage())
    if not fits.any():
        raise InputError(f"{machine.name}: {min(shortages).what}")
    if count <= AT_ONCE:
        return found
    of_pass, of_tile = fits.any(axis=1), fits.any(axis=0)
    letters = {letter: getattr(found, letter)[of_pass] for letter in "epqrtm"}
    return replace(found, n=found.n[of_tile], **letters)


def score_mapping(work: LayerWork, machine: RowStationaryDescription, mapping: PassMapping) -> float:
    """The score of a given mapping, infinite where it does not fit the machine."""
    sums = _LayerSums(work, machine, _Candidates.of(mapping))
    return float(sums.score(machine.objective, own_dma(machine)).item()) if sums.fits.all() else float("inf")


@dataclass(frozen=True)
class _Candidates:
    """Letters of ``PassMapping`` as int64 arrays that broadcast over (passes, image tiles, column tiles)."""

    e: Ints
    p: Ints
    q: Ints
    r: Ints
    t: Ints
    m: Ints
    n: Ints
    f: Ints

    @staticmethod
    def of(mapping: PassMapping) -> "_Candidates":
        """A single candidate."""
        letters = (getattr(mapping, letter) for letter in "epqrtmnf")
        return _Candidates(*(np.full((1, 1, 1), value, np.int64) for value in letters))


def _candidates(work: LayerWork, machine: RowStationaryDescription) -> _Candidates:
    """All combinations (module docstring)."""
    filters = work.out_channels // work.groups
    passes = _pass_candidates(work, machine)
    in_pass = passes[:, 1] * passes[:, 4]
    count = -(-filters // in_pass)
    m = np.minimum(-(-count[:, None] // np.array(FILTER_TILES)) * in_pass[:, None], filters)
    distinct = np.diff(m, axis=1, prepend=0) != 0
    passes = np.column_stack([passes[np.nonzero(distinct)[0]], m[distinct]])
    e, p, q, r, t, m = passes.T[:, :, None, None]
    n = np.array(balanced_cuts(work.batch, 1), np.int64)[:, None]
    f = np.unique(-(-work.out_width // np.array(COLUMN_PARTS)))
    return _Candidates(e=e, p=p, q=q, r=r, t=t, m=m, n=n, f=f)


def _pass_candidates(work: LayerWork, machine: RowStationaryDescription) -> Ints:
    """All e, p, q, r, t that fit array and scratch-pads: (candidates, 5)."""
    pads = machine.row_stationary
    part = kernel_part(work, machine)
    array = machine.pe_array
    filters = work.out_channels // work.groups
    channels = work.in_channels // work.groups
    found: list[tuple[int, ...]] = []
    for e in balanced_cuts(work.out_height, 1):
        below, beside = sets_of(part.rows, e, array.rows, array.cols)
        stacked = range(1, min(channels, below) + 1)
        for r, t in sorted({(r, min(filters, below // r * beside)) for r in stacked}):
            for q in _largest(-(-channels // r), pads.input_words // part.span):
                room = min(pads.psum_words, pads.filter_words // (q * part.taps))
                found += [(e, p, q, r, t) for p in _largest(-(-filters // t), room)]
    return np.array(found, np.int64).reshape(-1, 5)


def _largest(size: int, most: int) -> list[int]:
    """The largest even cuts of a dimension that are no more than ``most``."""
    return [cut for cut in balanced_cuts(size, 1) if cut <= most][-LARGEST_CUTS:]


class _Shortage(NamedTuple):
    """Why no candidate fits.  Those of least rank, and of these of least need, tell what the layer needs at least."""

    rank: int
    least: int
    what: str


class _Rooms:
    """What candidates need of the machine; arrays that broadcast over the candidates."""

    def __init__(self, work: LayerWork, machine: RowStationaryDescription, candidates: _Candidates) -> None:
        self.work = work
        self.machine = machine
        self.c = candidates
        self.part = kernel_part(work, machine)
        self.filters = work.out_channels // work.groups
        self.channels = work.in_channels // work.groups
        self._count()
        self._measure_room()

    def _count(self) -> None:
        """Tiles of each dimension, and all passes."""
        work = self.work
        c = self.c
        self.filter_tiles = -(-self.filters // c.m)
        self.channel_steps = -(-self.channels // (c.q * c.r))
        self.image_tiles = -(-work.batch // c.n)
        self.column_tiles = -(-work.out_width // c.f)
        self.strips = -(-work.out_height // c.e)
        self.positions = self.image_tiles * self.column_tiles * self.strips
        self.steps = work.groups * self.filter_tiles * self.positions * self.channel_steps
        self.filter_passes = -(-self.filters // (c.p * c.t))
        self.passes = work.groups * self.filter_passes * self.channel_steps * self.part.parts
        self.in_pads = self.channel_steps * self.part.parts * -(-c.m // (c.p * c.t)) == 1

    @staticmethod
    def _each(sizes: Ints, value: Callable[[int], int]) -> Ints:
        """A figure of each distinct size."""
        distinct, index = np.unique(sizes, return_inverse=True)
        return np.array([value(int(size)) for size in distinct], np.int64)[index.reshape(sizes.shape)]

    def _measure_room(self) -> None:
        """Banks and bytes of the buffers, words of the scratch-pads, lanes of the array."""
        work = self.work
        c = self.c
        a = self.machine.arithmetic
        part = self.part
        pads = self.machine.row_stationary
        array = self.machine.pe_array
        buffers = self.machine.buffers
        held = psum_bytes(self.machine, c.n, c.m, c.e, c.f)
        self.inputs_stay = inputs_stay(work, self.machine, held)
        pixels = c.n * padded(work, 0, c.e, work.kernel[0]) * padded(work, 1, c.f, work.kernel[1])
        step_bytes = pixels * np.minimum(c.q * c.r, self.channels) * a.activation_bits / 8
        bank = 1024 * pads.bank_kb
        self.banks = np.ceil(held / bank) + np.ceil(step_bytes / bank)
        self.bank_count = bank_count(self.machine)
        self.filter_bytes = c.p * c.t * c.q * c.r * part.pass_weights * a.weight_bits / 8
        in_pads = (c.p <= pads.psum_words) & (c.q * part.span <= pads.input_words)
        in_pads = in_pads & (c.p * c.q * part.taps <= pads.filter_words)
        below = self._each(c.e, lambda e: sets_of(part.rows, e, array.rows, array.cols)[0])
        beside = self._each(c.e, lambda e: sets_of(part.rows, e, array.rows, array.cols)[1])
        in_array = c.t <= below // c.r * beside
        self.held = in_pads & in_array & (self.filter_bytes <= buffers.capacity_bytes("weight"))
        self.held = np.asarray(self.held & (self.banks <= self.bank_count))
        self.fits = np.asarray(self.held & (self.steps <= MAX_STEPS))

    def shortage(self) -> _Shortage:
        """What is too small for the layer, or what it needs too much of."""
        layer = self.work.name
        if self.held.any():
            least = int(np.broadcast_to(self.steps, self.held.shape)[self.held].min())
            return _Shortage(0, least, f"layer {layer} needs at least {least} steps, expected at most {MAX_STEPS}")
        if self.c.e.size and self.banks.min() > self.bank_count:
            least = int(np.ceil(self.banks.min() * self.machine.row_stationary.bank_kb))
            return _Shortage(
                3,
                least,
                f"buffers.input_kb + output_kb hold {self.bank_count} banks, too few for one row of layer {layer}, "
                f"expected at least {least} kB together",
            )
        if self.c.e.size and self.filter_bytes.min() > self.machine.buffers.capacity_bytes("weight"):
            least = int(np.ceil(self.filter_bytes.min() / 1024))
            return _Shortage(
                2, least, f"buffers.weight_kb is too small for one pass of layer {layer}, expected at least {least}"
            )
        what = f"no mapping of layer {layer} fits scratch-pads, array and buffers at once, expected larger ones"
        return _Shortage(1, 0, what)


class _LayerSums(_Rooms):
    """What candidates cost over a whole layer; arrays that broadcast over the candidates."""

    def __init__(self, work: LayerWork, machine: RowStationaryDescription, candidates: _Candidates) -> None:
        super().__init__(work, machine, candidates)
        self._measure_inputs()
        self._measure_dram()
        self._count_actions()
        self._measure_time()

    def best(self, dma: Dma) -> tuple[PassMapping, float]:
        """The mapping with the lowest score, and the score."""
        score = np.where(self.fits, self.score(self.machine.objective, dma), np.inf)
        ties = np.flatnonzero(score == score.min())
        keys = [np.broadcast_to(x, score.shape).ravel()[ties] for x in (self.steps, self.dram_bytes)]
        best = int(ties[np.lexsort(keys)[0]])
        return self.mapping(np.unravel_index(best, score.shape)), float(score.flat[best])

    def mapping(self, index: tuple[np.intp, ...]) -> PassMapping:
        """Candidate at an index of the broadcast shape."""
        shape = np.broadcast_shapes(*(getattr(self.c, letter).shape for letter in "mnfe"))
        letters = {letter: np.broadcast_to(getattr(self.c, letter), shape)[index] for letter in "mnefpqrt"}
        return PassMapping(**{letter: int(value) for letter, value in letters.items()})

    def _measure_inputs(self) -> None:
        """Input rows and columns under all strips and column tiles: padded, as passes read them, real, and new."""
        work, c = self.work, self.c
        rows, cols = self.part.rows, work.kernel[1]
        strips, columns = work.out_height, work.out_width
        self.high = self._each(c.e, lambda e: int(padded(work, 0, tile_sizes(strips, e), rows).sum()))
        self.wide = self._each(c.f, lambda f: int(padded(work, 1, tile_sizes(columns, f), cols).sum()))
        self.real_high = self._each(c.e, lambda e: int(input_extents(work, 0, e).sum()))
        self.real_wide = self._each(c.f, lambda f: int(input_extents(work, 1, f).sum()))
        self.fresh_high = self._each(c.e, lambda e: int(fresh_extents(work, 0, e).sum()))
        self.fresh_wide = self._each(c.f, lambda f: int(fresh_extents(work, 1, f).sum()))

    def _measure_dram(self) -> None:
        """Words of inputs and bits of weights that come from DRAM, and all bytes to and from it."""
        work = self.work
        machine = self.machine
        c = self.c
        N = work.batch
        C = work.in_channels
        pixels = N * self.real_high * self.real_wide * C
        loaded = pixels * np.where(self.positions * self.channel_steps == 1, 1, self.filter_tiles)
        self.loaded_words = np.where(self.inputs_stay, N * self.fresh_high * self.fresh_wide * C, loaded)
        once = filters_stay(work, machine, c.m) | (self.channel_steps == 1)
        stored = float(filter_bits(work, machine).sum())
        self.loaded_weight_bits = stored * np.where(once, 1, self.positions)
        bits = machine.arithmetic.activation_bits
        self.read_bytes = (self.loaded_words * bits + self.loaded_weight_bits) / 8
        self.written_bytes = work.outputs * bits / 8
        self.dram_bytes = self.read_bytes + self.written_bytes

    def _count_actions(self) -> None:
        """Bits that move on the chip, by the names of the price list."""
        work = self.work
        c = self.c
        a = self.machine.arithmetic
        part = self.part
        N = work.batch
        C = work.in_channels
        K = work.out_channels
        fetched = np.where(self.in_pads, 1, self.positions)
        filters = K * self.channels * part.weights
        rows = np.where(self.in_pads, c.e, work.out_height * self.image_tiles * self.column_tiles)
        filters_received = filters * rows
        input_rows = part.rows * work.out_height * self.wide * N * C * part.parts
        inputs_received = input_rows * -(-self.filters // c.p)
        received = received_bits(self.machine, filters_received, inputs_received)
        psums = work.outputs * self.channel_steps * part.parts
        stacked = np.minimum(c.r, -(-self.channels // c.q))
        input_words = N * self.high * self.wide * C * part.parts * self.filter_passes
        self.actions = {
            "register_bit": received,
            "hop_bit": received + psums * (part.rows * stacked + 1) * a.accumulator_bits,
            "weight_read": filters * fetched * a.weight_bits,
            "weight_write": self.loaded_weight_bits,
            "input_read": input_words * a.activation_bits,
            "input_write": self.loaded_words * a.activation_bits,
            "output_write": psums * a.accumulator_bits,
            "output_read": (psums - work.outputs) * a.accumulator_bits + work.outputs * a.activation_bits,
            **dram_actions(self.read_bytes, self.written_bytes),
        }

    def _measure_time(self) -> None:
        """Cycles of all passes, and of the DMA."""
        work = self.work
        c = self.c
        a = self.machine.arithmetic
        part = self.part
        buses = self.machine.row_stationary
        weights = c.p * c.t * np.minimum(c.q * c.r, self.channels) * part.pass_weights
        first_weights = weights * a.weight_bits / buses.filter_bus_bits
        tiles = self.image_tiles * self.column_tiles
        whole_strips = work.out_height // c.e
        last_strip = work.out_height % c.e
        cycles: Floats | float = 0.0
        for count, e in ((whole_strips, c.e), ((last_strip > 0) * 1, last_strip)):
            steady, ramp = self._strip_cycles(e)
            ramp = ramp + np.where(self.in_pads, 0, first_weights)
            cycles = cycles + count * (work.batch * work.out_width * steady + tiles * ramp)
        loaded_once = np.where(self.in_pads, work.groups * self.filter_tiles * first_weights, 0)
        self.compute_cycles = self.passes * cycles + loaded_once

    def _strip_cycles(self, e: Ints) -> tuple[Floats, Floats]:
        """Cycles of a pass over a strip of e rows: of each output column, and of its ramp-up but for the weights."""
        work = self.work
        c = self.c
        a = self.machine.arithmetic
        part = self.part
        buses = self.machine.row_stationary
        pass_filters = c.p * c.t
        pass_channels = np.minimum(c.q * c.r, self.channels)
        high = padded(work, 0, np.maximum(e, 1), part.rows)
        wide = padded(work, 1, c.f, work.kernel[1]) / c.f
        steady = np.maximum(c.p * c.q * part.taps, pass_filters * e * a.accumulator_bits / buses.psum_bus_bits)
        steady = np.maximum(steady, high * wide * pass_channels * a.activation_bits / buses.input_bus_bits)
        ramp = high * part.span * pass_channels * a.activation_bits / buses.input_bus_bits
        ramp = ramp + pass_filters * e * a.accumulator_bits / buses.psum_bus_bits
        return np.asarray(steady), np.asarray(ramp)

    def score(self, objective: str, dma: Dma) -> Floats:
        """Cycles, DRAM bytes, energy or energy x cycles of all candidates, with a DMA that turns at every step."""
        if objective == "dram":
            return np.asarray(self.dram_bytes, np.float64)
        dma_cycles = self.dram_bytes / dma.bytes_per_cycle + self.steps * dma.turn_cycles
        longest = np.maximum(self.compute_cycles, dma_cycles)
        cycles = longest + np.minimum(self.compute_cycles, dma_cycles) / self.steps
        if objective == "cycles":
            return np.asarray(cycles)
        table = prices(self.machine)
        macs = self.work.dense_macs
        energy = macs * (table["mac"].pj + mac_register_bits(self.machine) * table["register_bit"].pj)
        energy = energy + power_mw(self.machine) * cycles * self.machine.ns_per_cycle
        for name, bits in self.actions.items():
            energy = energy + bits * table[name].pj
        return np.asarray(energy * cycles if objective == "edp" else energy, np.float64)
