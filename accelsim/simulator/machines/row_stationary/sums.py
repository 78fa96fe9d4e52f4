"""What each mapping of a row-stationary array costs over a whole layer: DRAM bytes, cycles, energy.

Cycles are those of all passes, ramp-up with them, or of the DRAM, whichever is more, and a step of
the other.  As on the chip, whose mappings were chosen for energy, a mapping is chosen before the
data are known: every activation counts as non-zero and is moved as it is.  The sums take every
filter and channel tile as full where a bus decides, so a score may lie above the schedule's figure
for such data.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.hardware.energy import power_mw, prices
from accelsim.simulator.machines.row_stationary.candidates import PassCandidates
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.machines.row_stationary.passes import (
    PassSize,
    PassTimes,
    filters_stay,
    fresh_extents,
    kernel_part,
    mac_register_bits,
    mean_cycles,
    padded,
    pass_times,
    received_bits,
)
from accelsim.simulator.machines.row_stationary.rooms import PassCounts, PassNeeds, of_each
from accelsim.simulator.storage.weights import filter_bits
from accelsim.simulator.tiles.tiling import input_extents, tile_sizes
from accelsim.simulator.time.objective import Dma
from accelsim.simulator.time.schedule import ActionCounts, dram_actions
from accelsim.workload import LayerWork


@dataclass(frozen=True)
class PassSums:
    """What candidates cost over a whole layer; arrays that broadcast over the candidates."""

    steps: Ints
    dram_bytes: Floats
    written_bytes: float  # of them
    actions: ActionCounts  # bits that move, by the names of the price list
    compute_cycles: Floats  # of all passes

    def score(self, machine: RowStationaryDescription, work: LayerWork, dma: Dma) -> Floats:
        """Cycles, DRAM bytes, energy or energy x cycles of all candidates, as the machine's objective says.

        dma: turns at every step, as if each stored its share.
        """
        if machine.objective == "dram":
            return np.asarray(self.dram_bytes, np.float64)
        turns = self.steps * dma.turned(self.written_bytes / self.steps)
        dma_cycles = self.dram_bytes / dma.bytes_per_cycle + turns
        longest = np.maximum(self.compute_cycles, dma_cycles)
        cycles = longest + np.minimum(self.compute_cycles, dma_cycles) / self.steps
        if machine.objective == "cycles":
            return np.asarray(cycles)
        table = prices(machine)
        mac_pj = table["mac"].pj + mac_register_bits(machine) * table["register_bit"].pj
        static_pj = power_mw(machine) * cycles * machine.ns_per_cycle
        energy = np.asarray(work.dense_macs * mac_pj + static_pj)
        for name, bits in self.actions.items():
            energy = np.asarray(energy + bits * table[name].pj)
        return np.asarray(energy * cycles if machine.objective == "edp" else energy, np.float64)


def sum_up(
    work: LayerWork,
    machine: RowStationaryDescription,
    c: PassCandidates,
    rooms: PassNeeds,
) -> PassSums:
    """The costs of all candidates."""
    counts = rooms.counts
    loads = _loads(work, machine, c, rooms)
    bits = machine.arithmetic.activation_bits
    read_bytes = (loads.inputs * bits + loads.weight_bits) / 8
    written_bytes = work.outputs * bits / 8
    return PassSums(
        steps=counts.steps,
        dram_bytes=read_bytes + written_bytes,
        written_bytes=written_bytes,
        actions=_on_chip(work, machine, c, counts, loads) | dram_actions(read_bytes, written_bytes),
        compute_cycles=_compute_cycles(work, machine, c, counts),
    )


@dataclass(frozen=True)
class _Loads:
    """What comes from DRAM over the whole layer."""

    inputs: Ints  # words
    weight_bits: Floats


def _loads(
    work: LayerWork,
    machine: RowStationaryDescription,
    c: PassCandidates,
    rooms: PassNeeds,
) -> _Loads:
    """The loads of all candidates: inputs that stay come once, also the rows that strips share."""
    counts = rooms.counts
    real_high = of_each(c.e, lambda e: int(input_extents(work, 0, e).sum()))
    real_wide = of_each(c.f, lambda f: int(input_extents(work, 1, f).sum()))
    fresh_high = of_each(c.e, lambda e: int(fresh_extents(work, 0, e).sum()))
    fresh_wide = of_each(c.f, lambda f: int(fresh_extents(work, 1, f).sum()))
    images = work.batch * work.in_channels
    again = np.where(counts.positions * counts.channel_steps == 1, 1, counts.filter_tiles)
    once = filters_stay(work, machine, c.m) | (counts.channel_steps == 1)
    stored = float(filter_bits(work, machine).sum())
    return _Loads(
        inputs=np.where(rooms.inputs_stay, images * fresh_high * fresh_wide, images * real_high * real_wide * again),
        weight_bits=stored * np.where(once, 1, counts.positions),
    )


def _on_chip(
    work: LayerWork,
    machine: RowStationaryDescription,
    c: PassCandidates,
    counts: PassCounts,
    loads: _Loads,
) -> ActionCounts:
    """Bits that move between buffers, buses and PEs."""
    a = machine.arithmetic
    part = kernel_part(work, machine)
    channels = work.in_channels // work.groups
    high = of_each(c.e, lambda e: int(padded(work, 0, tile_sizes(work.out_height, e), part.rows).sum()))
    wide = of_each(c.f, lambda f: int(padded(work, 1, tile_sizes(work.out_width, f), work.kernel[1]).sum()))
    images = work.batch * work.in_channels * part.parts

    filters = work.out_channels * channels * part.weights
    fetched = np.where(counts.in_pads, 1, counts.positions)
    rows = np.where(counts.in_pads, c.e, work.out_height * counts.spans)
    input_rows = part.rows * work.out_height * wide * images
    turns = -(-(work.out_channels // work.groups) // c.p)
    received = received_bits(machine, filters * rows, input_rows * turns)
    psums = work.outputs * counts.channel_steps * part.parts
    stacked = np.minimum(c.r, -(-channels // c.q))
    return {
        "register_bit": received,
        "hop_bit": received + psums * (part.rows * stacked + 1) * a.accumulator_bits,
        "weight_read": filters * fetched * a.weight_bits,
        "weight_write": loads.weight_bits,
        "input_read": images * high * wide * counts.filter_passes * a.activation_bits,
        "input_write": loads.inputs * a.activation_bits,
        "output_write": psums * a.accumulator_bits,
        "output_read": (psums - work.outputs) * a.accumulator_bits + work.outputs * a.activation_bits,
    }


def _compute_cycles(
    work: LayerWork, machine: RowStationaryDescription, c: PassCandidates, counts: PassCounts
) -> Floats:
    """Cycles of all passes: those of all whole strips, and of the last one where it is smaller."""
    cycles = np.zeros(())
    last_strip = work.out_height % c.e
    for strips, rows in ((work.out_height // c.e, c.e), ((last_strip > 0) * 1, last_strip)):
        times = _column_times(work, machine, c, rows)
        ramp = times.ramp + np.where(counts.in_pads, 0, times.first_weights)
        cycles = cycles + strips * (work.batch * work.out_width * times.steady + counts.spans * ramp)
    first_weights = _column_times(work, machine, c, c.e).first_weights
    loaded_once = np.where(counts.in_pads, work.groups * counts.filter_tiles * first_weights, 0)
    return np.asarray(counts.passes * cycles + loaded_once)


def _column_times(
    work: LayerWork,
    machine: RowStationaryDescription,
    c: PassCandidates,
    rows: Ints,
) -> PassTimes:
    """Times of a pass over a strip of so many rows.

    Steady of each output column, and the ramp-up of all.
    """
    part = kernel_part(work, machine)
    channels = np.minimum(c.q * c.r, work.in_channels // work.groups)
    high = padded(work, 0, np.maximum(rows, 1), part.rows)
    wide = padded(work, 1, c.f, work.kernel[1]) / c.f
    size = PassSize(
        filters=c.p * c.t,
        channels=channels,
        rows=rows,
        columns=np.asarray(1),
        high=high,
        inputs=high * wide * channels,
        interleaved=c.p * c.q,
    )
    return pass_times(size, machine, part, mean_cycles)
