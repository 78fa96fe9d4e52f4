"""The search for the best mapping of a layer on a row-stationary array (``row_stationary``).

Candidates are all combinations of
- strips e that cut the output rows evenly and whose sets fit the array, with as many sets r x t as it holds;
- channels q and filters p of a PE that cut what is left of the layer evenly, the largest ones that the pads hold;
- tiles of m filters, of images and of columns, whose partial sums fit the buffer beside the q r input channels of a
  step, both in whole banks;
scored all at once, as arrays, by sums over the layer: cycles (compute and ramp-up of all passes, or DRAM, whichever is
more, and a step of the other), DRAM bytes, energy or energy x cycles, as the machine's objective says.  As on the chip,
whose mappings were chosen for energy, a mapping is chosen before the data are known: every activation counts as
non-zero and is moved as it is.  The sums take every filter and channel tile as full where a bus decides, so a score may
lie above the schedule's figure for such data.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.errors import InputError
from accelsim.hardware.energy import prices, static_mw
from accelsim.hardware.machine import SpatialMachine
from accelsim.simulator.machines.row_stationary.passes import (
    Mapping,
    bank_count,
    filters_stay,
    fold_kernel,
    fresh_extents,
    inputs_stay,
    padded,
    psum_bytes,
    row_stationary,
    schedule_passes,
    sets_of,
)
from accelsim.simulator.machines.stationary import filter_bits
from accelsim.simulator.tiles.actions import dram_actions
from accelsim.simulator.tiles.tiling import balanced_cuts, input_extents, tile_sizes
from accelsim.simulator.time.schedule import Schedule
from accelsim.workload import LayerWork

MAX_STEPS = 1 << 17
KEPT_CUTS = 8  # largest cuts of filters and channels that are tried
FILTER_TILES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 1 << 20)  # how many tiles of filters are tried
COLUMN_PARTS = (1, 2, 3, 4, 5, 6, 8, 16, 64, 1 << 20)  # how many parts of the columns are tried; last: single columns


def plan_row_stationary(work: LayerWork, machine: SpatialMachine) -> Schedule:
    """The schedule of a conv or linear layer by its best mapping.  Raises InputError if none fits the machine."""
    return schedule_passes(work, machine, choose_mapping(work, machine)[0])


def choose_mapping(work: LayerWork, machine: SpatialMachine) -> tuple[Mapping, float]:
    """The mapping with the lowest score, and the score: cycles, bytes or pJ by the machine's objective.

    Raises InputError if none fits the scratch-pads, the array and the buffers.
    """
    totals = _Totals(work, machine, _candidates(work, machine))
    if not totals.fits.any():
        raise InputError(f"{machine.name}: {totals.shortage()}")
    score = np.where(totals.fits, totals.score(machine.objective), np.inf)
    ties = np.flatnonzero(score == score.min())
    keys = [np.broadcast_to(x, score.shape).ravel()[ties] for x in (totals.steps, totals.dram_bytes)]
    best = int(ties[np.lexsort(keys)[0]])
    return totals.mapping(np.unravel_index(best, score.shape)), float(score.flat[best])


def score_mapping(work: LayerWork, machine: SpatialMachine, mapping: Mapping) -> float:
    """The score of a given mapping, infinite where it does not fit the machine."""
    totals = _Totals(work, machine, _Candidates.of(mapping))
    return float(totals.score(machine.objective).item()) if totals.fits.all() else float("inf")


@dataclass(frozen=True)
class _Candidates:
    """Int64 arrays that broadcast: e, p, q, r, t, m (passes, 1, 1), n (image tiles, 1), f (column tiles,)."""

    e: Ints
    p: Ints
    q: Ints
    r: Ints
    t: Ints
    m: Ints
    n: Ints
    f: Ints

    @staticmethod
    def of(mapping: Mapping) -> "_Candidates":
        """One candidate."""
        letters = (getattr(mapping, letter) for letter in "epqrtmnf")
        return _Candidates(*(np.full((1, 1, 1), value, np.int64) for value in letters))


def _candidates(work: LayerWork, machine: SpatialMachine) -> _Candidates:
    pads, fold, array = row_stationary(machine), fold_kernel(work, machine), machine.pe_array
    filters, channels = work.out_channels // work.groups, work.in_channels // work.groups
    rows: list[tuple[int, ...]] = []
    for e in balanced_cuts(work.out_height, 1):
        below, beside = sets_of(fold.rows, e, array.rows, array.cols)
        for r, t in sorted({(r, min(filters, below // r * beside)) for r in range(1, min(channels, below) + 1)}):
            for q in _largest(-(-channels // r), pads.input_words // fold.span):
                room = min(pads.psum_words, pads.filter_words // (q * fold.taps))
                rows += [(e, p, q, r, t) for p in _largest(-(-filters // t), room)]
    of_pass = np.array(rows, np.int64).reshape(-1, 5)
    in_pass = of_pass[:, 1] * of_pass[:, 4]
    passes = -(-filters // in_pass)
    m = np.minimum(-(-passes[:, None] // np.array(FILTER_TILES)) * in_pass[:, None], filters)
    distinct = np.diff(m, axis=1, prepend=0) != 0
    of_pass = np.column_stack([of_pass[np.nonzero(distinct)[0]], m[distinct]])
    e, p, q, r, t, m = of_pass.T[:, :, None, None]
    n = np.array(balanced_cuts(work.batch, 1), np.int64)[:, None]
    f = np.unique(-(-work.out_width // np.array(COLUMN_PARTS)))
    return _Candidates(e, p, q, r, t, m, n, f)


def _largest(size: int, most: int) -> list[int]:
    """The largest even cuts of a dimension that are no more than ``most``."""
    return [cut for cut in balanced_cuts(size, 1) if cut <= most][-KEPT_CUTS:]


class _Totals:
    """What candidates need and cost over a whole layer; arrays that broadcast over the candidates."""

    def __init__(self, work: LayerWork, machine: SpatialMachine, candidates: _Candidates) -> None:
        self.work, self.machine, self.c = work, machine, candidates
        self.filters, self.channels = work.out_channels // work.groups, work.in_channels // work.groups
        self._count()
        self._measure_room()
        self._measure_traffic()
        self._measure_time()

    def mapping(self, index: tuple[np.intp, ...]) -> Mapping:
        """Candidate at an index of the broadcast shape."""
        shape = np.broadcast_shapes(*(getattr(self.c, letter).shape for letter in "mnfe"))
        return Mapping(*(int(np.broadcast_to(getattr(self.c, letter), shape)[index]) for letter in "mnefpqrt"))

    def _count(self) -> None:
        """Tiles of each dimension, and all passes."""
        work, c, fold = self.work, self.c, fold_kernel(self.work, self.machine)
        self.filter_tiles, self.channel_steps = -(-self.filters // c.m), -(-self.channels // (c.q * c.r))
        self.image_tiles, self.column_tiles = -(-work.batch // c.n), -(-work.out_width // c.f)
        self.strips = -(-work.out_height // c.e)
        self.positions = self.image_tiles * self.column_tiles * self.strips
        self.steps = work.groups * self.filter_tiles * self.positions * self.channel_steps
        self.passes = work.groups * -(-self.filters // (c.p * c.t)) * self.channel_steps * fold.parts
        self.in_pads = self.channel_steps * fold.parts * -(-c.m // (c.p * c.t)) == 1
        # Input rows and columns under all strips and column tiles: padded, as passes read them, and real.
        self.high = self._sum(c.e, work.out_height, lambda e: int(padded(work, 0, e, fold.rows).sum()))
        self.wide = self._sum(c.f, work.out_width, lambda f: int(padded(work, 1, f, work.kernel[1]).sum()))
        self.real_high = self._each(c.e, lambda e: int(input_extents(work, 0, e).sum()))
        self.real_wide = self._each(c.f, lambda f: int(input_extents(work, 1, f).sum()))
        self.fresh_high = self._each(c.e, lambda e: int(fresh_extents(work, 0, e).sum()))
        self.fresh_wide = self._each(c.f, lambda f: int(fresh_extents(work, 1, f).sum()))

    @staticmethod
    def _each(sizes: Ints, value: Callable[[int], int]) -> Ints:
        """A figure of each distinct size."""
        distinct, index = np.unique(sizes, return_inverse=True)
        return np.array([value(int(size)) for size in distinct], np.int64)[index.reshape(sizes.shape)]

    def _sum(self, sizes: Ints, whole: int, value: Callable[[Ints], int]) -> Ints:
        """A figure of the tiles that cut a dimension, summed."""
        return self._each(sizes, lambda size: value(tile_sizes(whole, size)))

    def _measure_room(self) -> None:
        """Banks and bytes of the buffers, words of the scratch-pads, lanes of the array."""
        work, c, a, fold = self.work, self.c, self.machine.arithmetic, fold_kernel(self.work, self.machine)
        pads, array, buffers = row_stationary(self.machine), self.machine.pe_array, self.machine.buffers
        held = psum_bytes(self.machine, c.n, c.m, c.e, c.f)
        self.inputs_stay = inputs_stay(work, self.machine, held)
        step = c.n * padded(work, 0, c.e, work.kernel[0]) * padded(work, 1, c.f, work.kernel[1])
        step = step * np.minimum(c.q * c.r, self.channels) * a.activation_bits / 8
        bank = 1024 * pads.bank_kb
        self.banks = np.ceil(held / bank) + np.ceil(step / bank)
        self.bank_count = bank_count(self.machine)
        self.filter_bytes = c.p * c.t * c.q * c.r * fold.rows * fold.taps * a.weight_bits / 8
        in_pads = (c.p <= pads.psum_words) & (c.q * fold.span <= pads.input_words)
        in_pads = in_pads & (c.p * c.q * fold.taps <= pads.filter_words)
        below = self._each(c.e, lambda e: sets_of(fold.rows, e, array.rows, array.cols)[0])
        beside = self._each(c.e, lambda e: sets_of(fold.rows, e, array.rows, array.cols)[1])
        self.fits = in_pads & (c.t <= below // c.r * beside) & (self.filter_bytes <= 1024 * buffers.weight_kb)
        self.fits = self.fits & (self.banks <= self.bank_count) & (self.steps <= MAX_STEPS)

    def shortage(self) -> str:
        """What is too small for the layer."""
        layer, pads = self.work.name, row_stationary(self.machine)
        if self.c.e.size and self.banks.min() > self.bank_count:
            least = int(np.ceil(self.banks.min() * pads.bank_kb))
            return (
                f"buffers.input_kb + output_kb hold {self.bank_count} banks, too few for one row of layer {layer}, "
                f"expected at least {least} kB together"
            )
        if self.c.e.size and self.filter_bytes.min() > 1024 * self.machine.buffers.weight_kb:
            least = int(np.ceil(self.filter_bytes.min() / 1024))
            return f"buffers.weight_kb is too small for one pass of layer {layer}, expected at least {least}"
        return f"no mapping of layer {layer} fits scratch-pads, array and buffers at once, expected larger ones"

    def _measure_traffic(self) -> None:
        """Bytes from and to DRAM, and bits that move on the chip, by the names of the price list."""
        work, machine, c, a = self.work, self.machine, self.c, self.machine.arithmetic
        fold, N, C, K = fold_kernel(work, machine), work.batch, work.in_channels, work.out_channels
        pixels = N * self.real_high * self.real_wide * C
        loaded = pixels * np.where(self.positions * self.channel_steps == 1, 1, self.filter_tiles)
        loaded = np.where(self.inputs_stay, N * self.fresh_high * self.fresh_wide * C, loaded)
        once = filters_stay(work, machine, c.m) | (self.channel_steps == 1)
        stored = float(filter_bits(work, machine).sum())
        weights = stored * np.where(once, 1, self.positions)
        self.dram_bytes = ((loaded + work.outputs) * a.activation_bits + weights) / 8
        fetched = np.where(self.in_pads, 1, self.positions)
        filters = K * self.channels * fold.rows * fold.taps * fold.parts
        received = filters * np.where(self.in_pads, c.e, work.out_height * self.image_tiles * self.column_tiles)
        inputs_received = fold.rows * work.out_height * self.wide * N * C * fold.parts * -(-self.filters // c.p)
        psums = work.outputs * self.channel_steps * fold.parts
        per_step = np.minimum(c.r, -(-self.channels // c.q))
        bits = received * a.weight_bits + inputs_received * a.activation_bits
        self.counts = {
            "register_bit": bits,
            "hop_bit": bits + psums * (fold.rows * per_step + 1) * a.accumulator_bits,
            "weight_read": filters * fetched * a.weight_bits,
            "weight_write": weights,
            "input_read": N
            * self.high
            * self.wide
            * C
            * fold.parts
            * -(-self.filters // (c.p * c.t))
            * a.activation_bits,
            "input_write": loaded * a.activation_bits,
            "output_write": psums * a.accumulator_bits,
            "output_read": (psums - work.outputs) * a.accumulator_bits + work.outputs * a.activation_bits,
            **dram_actions(self.dram_bytes, 0),
        }

    def _measure_time(self) -> None:
        work, c, a, fold = self.work, self.c, self.machine.arithmetic, fold_kernel(self.work, self.machine)
        bus = row_stationary(self.machine)
        pt, qr = c.p * c.t, np.minimum(c.q * c.r, self.channels)
        filters = pt * qr * fold.rows * fold.taps * a.weight_bits / bus.filter_bus_bits
        wide = padded(work, 1, c.f, work.kernel[1]) / c.f
        cycles: Floats | float = 0.0
        for count, e in ((work.out_height // c.e, c.e), ((work.out_height % c.e > 0) * 1, work.out_height % c.e)):
            high = padded(work, 0, np.maximum(e, 1), fold.rows)
            steady = np.maximum(c.p * c.q * fold.taps, pt * e * a.accumulator_bits / bus.psum_bus_bits)
            steady = np.maximum(steady, high * wide * qr * a.activation_bits / bus.input_bus_bits)
            ramp = high * fold.span * qr * a.activation_bits / bus.input_bus_bits
            ramp = ramp + pt * e * a.accumulator_bits / bus.psum_bus_bits + np.where(self.in_pads, 0, filters)
            tiles = self.image_tiles * self.column_tiles
            cycles = cycles + count * (work.batch * work.out_width * steady + tiles * ramp)
        loaded_once = np.where(self.in_pads, self.work.groups * self.filter_tiles * filters, 0)
        self.compute_cycles = self.passes * cycles + loaded_once
        dram = self.machine.dram
        timing = dram.timing
        # Each step opens a row at least.
        busy_ns = self.dram_bytes / (timing.bandwidth_gbs * dram.channels) + self.steps * timing.row_miss_ns
        self.dma_cycles = busy_ns / (1 - timing.refresh) / self.machine.ns_per_cycle

    def score(self, objective: str) -> Floats:
        """Cycles, DRAM bytes, energy or energy x cycles of all candidates."""
        if objective == "dram":
            return np.asarray(self.dram_bytes, np.float64)
        longest = np.maximum(self.compute_cycles, self.dma_cycles)
        cycles = longest + np.minimum(self.compute_cycles, self.dma_cycles) / self.steps
        if objective == "cycles":
            return np.asarray(cycles)
        table = prices(self.machine)
        a, macs = self.machine.arithmetic, self.work.dense_macs
        operands = a.weight_bits + a.activation_bits + 2 * a.accumulator_bits
        energy = macs * (table["mac"].pj + operands * table["register_bit"].pj)
        energy = energy + static_mw(self.machine) * cycles * self.machine.ns_per_cycle
        for name, bits in self.counts.items():
            energy = energy + bits * table[name].pj
        return np.asarray(energy * cycles if objective == "edp" else energy, np.float64)
