"""Which mappings fit a row-stationary array.

Its lanes, scratch-pads, banks and buffers, and in how many steps.

The partial sums of n m e f outputs and the q r input channels of a step share the buffer, each in
whole banks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accelsim.arrays import Flags, Floats, Ints
from accelsim.simulator.machines.row_stationary.candidates import PassCandidates
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.machines.row_stationary.passes import (
    KernelPart,
    bank_count,
    inputs_stay,
    kernel_part,
    padded,
    psum_bytes,
    sets_of,
)
from accelsim.workload import LayerWork

MAX_STEPS = 1 << 17  # of a layer


@dataclass(frozen=True)
class PassCounts:
    """How many tiles, steps and passes a layer is; arrays that broadcast over the candidates."""

    filter_tiles: Ints
    channel_steps: Ints
    spans: Ints  # tiles of images and columns
    positions: Ints  # of them and of strips
    steps: Ints
    filter_passes: Ints
    passes: Ints  # at each position
    in_pads: Flags  # whether the scratch-pads hold the filters of all passes of a tile


def _count(work: LayerWork, part: KernelPart, c: PassCandidates) -> PassCounts:
    """The counts of all candidates."""
    filters = work.out_channels // work.groups
    filter_tiles = -(-filters // c.m)
    channel_steps = -(-(work.in_channels // work.groups) // (c.q * c.r))
    spans = -(-work.batch // c.n) * -(-work.out_width // c.f)
    positions = spans * -(-work.out_height // c.e)
    filter_passes = -(-filters // (c.p * c.t))
    return PassCounts(
        filter_tiles=filter_tiles,
        channel_steps=channel_steps,
        spans=spans,
        positions=positions,
        steps=work.groups * filter_tiles * positions * channel_steps,
        filter_passes=filter_passes,
        passes=work.groups * filter_passes * channel_steps * part.parts,
        in_pads=channel_steps * part.parts * -(-c.m // (c.p * c.t)) == 1,
    )


class Shortage(NamedTuple):
    """Why no candidate fits.

    Those of least rank, and of these of least need, tell what the layer needs at least.
    """

    rank: int
    least: int
    what: str


@dataclass(frozen=True)
class PassNeeds:
    """What candidates need of the machine; arrays that broadcast over the candidates."""

    counts: PassCounts
    inputs_stay: Flags  # whether all inputs of a group stay in the buffer
    banks: Floats
    filter_bytes: Floats
    held: Flags  # whether array, scratch-pads and buffers hold it all
    fits: Flags  # and the steps are few


def measure_rooms(
    work: LayerWork,
    machine: RowStationaryDescription,
    c: PassCandidates,
) -> PassNeeds:
    """The rooms of all candidates."""
    bits = machine.arithmetic.activation_bits
    part = kernel_part(work, machine)
    counts = _count(work, part, c)
    sums = psum_bytes(machine, c.n, c.m, c.e, c.f)
    pixels = c.n * padded(work, 0, c.e, work.kernel[0]) * padded(work, 1, c.f, work.kernel[1])
    step_bytes = pixels * np.minimum(c.q * c.r, work.in_channels // work.groups) * bits / 8
    bank = 1024 * machine.row_stationary.bank_kb
    banks = np.ceil(sums / bank) + np.ceil(step_bytes / bank)
    filter_bytes = c.p * c.t * c.q * c.r * part.pass_weights * machine.arithmetic.weight_bits / 8
    held = _in_pads(machine, part, c) & _in_array(machine, part, c)
    filters_fit = filter_bytes <= machine.buffers.capacity_bytes("weight")
    held = held & filters_fit & (banks <= bank_count(machine))
    return PassNeeds(
        counts=counts,
        inputs_stay=inputs_stay(work, machine, sums),
        banks=banks,
        filter_bytes=filter_bytes,
        held=np.asarray(held),
        fits=np.asarray(held & (counts.steps <= MAX_STEPS)),
    )


def _in_pads(machine: RowStationaryDescription, part: KernelPart, c: PassCandidates) -> Flags:
    """Whether a PE's scratch-pads hold its filters, inputs and sums."""
    pads = machine.row_stationary
    sums = c.p <= pads.psum_words
    inputs = c.q * part.span <= pads.input_words
    filters = c.p * c.q * part.taps <= pads.filter_words
    return np.asarray(sums & inputs & filters)


def _in_array(machine: RowStationaryDescription, part: KernelPart, c: PassCandidates) -> Flags:
    """Whether the array has lanes for all sets."""
    array = machine.pe_array
    below = of_each(c.e, lambda e: sets_of(part.rows, e, array.rows, array.cols)[0])
    beside = of_each(c.e, lambda e: sets_of(part.rows, e, array.rows, array.cols)[1])
    return np.asarray(c.t <= below // c.r * beside)


def of_each(sizes: Ints, value: Callable[[int], int]) -> Ints:
    """A figure of each size, worked out once for equal ones."""
    distinct, index = np.unique(sizes, return_inverse=True)
    return np.array([value(int(size)) for size in distinct], np.int64)[index.reshape(sizes.shape)]


def shortage(work: LayerWork, machine: RowStationaryDescription, rooms: PassNeeds) -> Shortage:
    """What is too small for the layer, or what it needs too much of."""
    layer = work.name
    weight_bytes = machine.buffers.capacity_bytes("weight")
    if rooms.held.any():
        least = int(np.broadcast_to(rooms.counts.steps, rooms.held.shape)[rooms.held].min())
        return Shortage(0, least, f"layer {layer} needs at least {least} steps, expected at most {MAX_STEPS}")
    if rooms.banks.size and rooms.banks.min() > bank_count(machine):
        least = int(np.ceil(rooms.banks.min() * machine.row_stationary.bank_kb))
        what = (
            f"buffers.input_kb + output_kb hold {bank_count(machine)} banks, too few for one row of layer {layer}, "
            f"expected at least {least} kB together"
        )
        return Shortage(3, least, what)
    if rooms.filter_bytes.size and rooms.filter_bytes.min() > weight_bytes:
        least = int(np.ceil(rooms.filter_bytes.min() / 1024))
        what = f"buffers.weight_kb is too small for one pass of layer {layer}, expected at least {least}"
        return Shortage(2, least, what)
    what = f"no mapping of layer {layer} fits scratch-pads, array and buffers at once, expected larger ones"
    return Shortage(1, 0, what)
