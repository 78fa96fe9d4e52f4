"""A layer's weights as they are stored: bits of each filter and block of channels.

Bits count the index that says where non-zeros go (``hardware.formats``).  On chip and off the
format is the machine's, unless a decoder of the file's own entropy code stands between: then
weights travel in that code.
"""

import numpy as np

from accelsim.arrays import SUM_ERROR, Floats, Ints, round_up
from accelsim.errors import InputError
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.formats import index_bits, stored_values
from accelsim.workload import LayerWork, block_sizes

MANY = 4  # blocks for each count that there may be, from which on bits are looked up


def weight_bits(
    work: LayerWork,
    machine: MachineDescription,
    nonzeros: Ints,
    window: int,
) -> Floats:
    """Stored bits, index included, of each filter and block of input channels: (K, blocks).

    nonzeros: (K, blocks) int64.  window: stored positions of each filter and input channel.
    """
    if len(nonzeros) > 1 and nonzeros.strides[0] == 0:  # all filters are one, seen K times
        return np.broadcast_to(weight_bits(work, machine, nonzeros[:1], window), nonzeros.shape)
    channels = work.in_channels // work.groups
    sizes = block_sizes(channels) * window

    def bits(positions: Ints, nonzeros: Ints) -> Floats:
        values = stored_values(machine.weight_format, positions, nonzeros)
        index = index_bits(machine.weight_format, positions, nonzeros, window * channels)
        return np.asarray(values * machine.arithmetic.weight_bits + index)

    if nonzeros.size <= MANY * int(sizes.max(initial=0)):
        return bits(np.broadcast_to(sizes, nonzeros.shape), nonzeros)
    found = np.empty(nonzeros.shape)
    for blocks in (slice(0, -1), slice(-1, None)):  # the last one may be smaller
        for size in set(sizes[blocks].tolist()):
            of_counts = bits(np.full(size + 1, size), np.arange(size + 1))
            of_counts.take(nonzeros[:, blocks], out=found[:, blocks])
    return found


def filter_bits(work: LayerWork, machine: MachineDescription) -> Floats:
    """Stored bits, index included, of each filter in the spatial domain: (K,).

    Remembered with the layer.
    """

    def count() -> Floats:
        R, S = work.kernel
        bits: Floats = weight_bits(work, machine, work.block_nonzeros()[0], R * S).sum(axis=1)
        return bits

    bits: Floats = work.derived.get((filter_bits, machine.mask_settings), count)
    return bits


def weight_tile_bytes(
    work: LayerWork,
    machine: MachineDescription,
    starts: Ints,
    channels: Ints,
) -> Ints:
    """Stored bytes of each tile of filters and channels: (filter tiles, channel tiles).

    starts: first filter of each tile.  channels: of each channel tile.  A tile of filters is stored
    in one piece; its channels share it evenly.
    """
    tile_bytes = round_up(np.add.reduceat(filter_bits(work, machine), starts) / 8, SUM_ERROR)
    share = np.append(0, channels.cumsum()) / channels.sum()
    return np.asarray(np.diff(np.round(tile_bytes[:, None] * share).astype(np.int64), axis=1))


def coded_bits(work: LayerWork, machine: MachineDescription) -> Floats:
    """Bits of each filter and block of input channels in the file's own code: (K, blocks).

    In all they are as measured there.  A filter's share is not stored: the zero map is spread as
    the entropy of each block's density, the rest evenly over the non-zeros.
    Raises InputError if the layer has no coded bits (it is of a table).
    """
    if work.coded_bits is None:
        missing = f"layer {work.name} has no entropy-coded weights"
        raise InputError(f"{machine.name}: decoder: {missing}, expected a .dual file")
    from scipy.special import xlogy  # only this needs it, and its import is slow

    R, S = work.kernel
    nonzeros = work.block_nonzeros()[0]
    positions = dense_slots(work, nonzeros, R * S)
    d = nonzeros / np.maximum(positions, 1)
    zero_map = positions * -(xlogy(d, d) + xlogy(1 - d, 1 - d)) / np.log(2)
    rest = max(0.0, work.coded_bits - float(zero_map.sum())) / max(1, int(nonzeros.sum()))
    bits = zero_map + rest * nonzeros + 1e-9 * positions
    return np.asarray(bits * (work.coded_bits / bits.sum()))


def dense_slots(work: LayerWork, blocks: Ints, positions: int) -> Ints:
    """Slots of a machine that multiplies everything.

    Each block takes as many as it has channels x positions.

    blocks: an array of the wanted shape, (..., blocks).  positions: stored positions of one tap,
    filter and channel.
    """
    sizes = block_sizes(work.in_channels // work.groups)
    return np.broadcast_to(sizes.astype(np.int64) * positions, blocks.shape)


def executed_macs(work: LayerWork, machine: MachineDescription) -> tuple[int, int]:
    """Multiplies executed, and gated, in the spatial domain.

    They are those for one output position of all filters.
    """
    blocks = work.block_nonzeros()
    if machine.zero_handling == "skip_weights":
        return int(blocks.sum()), 0
    total = int(dense_slots(work, blocks, work.kernel[0] * work.kernel[1]).sum())
    if machine.zero_handling == "none":
        return total, 0
    executed = round(float((work.channel_nonzeros() * work.group_density()).sum()))
    return executed, total - executed if machine.zero_handling == "gate" else 0
