"""A convolution or fully connected layer as a plain, sparse matrix product in the spatial domain.

Zero handling: ``none`` multiplies everything.  ``gate`` takes as long but holds a lane still where
its weight or input is zero (inputs by their measured density, taken as independent of the weights).
``skip_weights`` streams only the non-zero weights of each filter, so that filters side by side take
as long as the fullest.  ``skip_both`` spends a cycle only where weight and input are both non-zero
(inner join of bitmasks, as SparTen): the weights' mask is the real one, the inputs' is taken as
random with the measured density of each channel, so the count of each lane is binomial and the
slowest of the lanes side by side its expected maximum.  ``balance: greedy`` puts filters of similar
fullness side by side; ``balance: paired`` gives each lane a full filter and behind it an empty one,
worth a window of 2.  With ``chunk`` an inner join spends a cycle at least on each chunk of so many
bitmask positions.

Left out: conflicts of operand fetches, but for machines with an ``operand_window`` (``selection``);
without ``chunk``, the inner join's own start-up.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from accelsim.arrays import Flags, Floats, Ints
from accelsim.simulator.storage.weights import coded_bits, dense_slots, executed_macs, weight_bits
from accelsim.simulator.tiles.activity import spatial_products
from accelsim.simulator.tiles.description import SkippingDescription
from accelsim.simulator.tiles.mode import LaneArray, Mode, Slots, SlotSums, operand_widths
from accelsim.workload import CHANNEL_BLOCK, LayerWork, filters_in_order, over_taps


def gemm_mode(work: LayerWork, machine: SkippingDescription, name: str, lanes: LaneArray) -> Mode:
    """Plain (sparse) matrix multiplication of the layer in the spatial domain."""
    # Counted once for all arrays and buffers.
    key = (gemm_mode, machine.mask_settings)
    mode: Mode = work.derived.get(key, lambda: _on_one_lane(work, machine))
    return replace(
        mode,
        name=name,
        work=work.without_weights(),
        lanes=lanes,
        products=spatial_products(work, machine),
        weight_reuse=lanes.outputs_each,
        mask=None if lanes.operands is None else partial(_mask, work, machine),
    )


def filter_order(work: LayerWork, machine: SkippingDescription, blocks: Ints) -> Ints | slice:
    """Filters in the order in which they occupy the lanes, as an index.

    blocks: (taps, K, blocks) non-zeros.
    """
    if machine.balance == "none" or machine.zero_handling not in {"skip_weights", "skip_both"}:
        return slice(None)
    fullness = blocks.sum(axis=(0, 2))
    per_group = work.out_channels // work.groups
    order = np.lexsort((-fullness, np.arange(work.out_channels) // per_group))
    if machine.balance == "paired":
        lanes = machine.pe_array.cols
        starts = range(0, len(order), per_group)
        return np.concatenate([_paired(order[g : g + per_group], lanes) for g in starts])
    return order


def _paired(order: Ints, lanes: int) -> Ints:
    """Filters from full to empty -> as many as there are lanes of the fullest, the emptiest behind them, and so on."""
    parts = []
    while len(order):
        rest = order[lanes:]
        parts += [order[:lanes], rest[::-1][:lanes]]
        order = rest[: max(0, len(rest) - lanes)]
    return np.concatenate(parts)


def _on_one_lane(work: LayerWork, machine: SkippingDescription) -> Mode:
    """The layer on a single lane, whatever the array."""
    blocks = work.block_nonzeros()
    order = filter_order(work, machine, blocks)
    R, S = work.kernel
    slots = _slots(work, machine, blocks, R * S)
    executed, gated = executed_macs(work, machine)
    stored = filters_in_order(weight_bits(work, machine, over_taps(blocks), R * S), order)
    return Mode(
        name="gemm",
        work=work.without_weights(),
        m=1,
        slots=Slots(
            counts=filters_in_order(slots.counts, order),
            variance=None if slots.variance is None else filters_in_order(slots.variance, order),
            most=None if slots.most is None else filters_in_order(slots.most, order),
        ),
        executed=executed,
        gated=gated,
        stored_bits=stored,
        dram_bits=stored if machine.decoder is None else coded_bits(work, machine)[order],
        widths=operand_widths(work, machine),
        operand_bits=machine.arithmetic.activation_bits,
        decoder_rate=0.0 if machine.decoder is None else machine.decoder.symbols_per_cycle,
        slots_are_dense=machine.zero_handling in {"none", "gate"},
        sums=SlotSums.of(work, gemm_mode, machine.mask_settings),
    )


def _mask(work: LayerWork, machine: SkippingDescription) -> Flags:
    """Positions of each filter that lanes spend a slot on, channel by channel.

    (1, K, C / groups R S).
    """
    flags = work.flags().reshape(1, work.out_channels, -1)
    if machine.zero_handling == "skip_weights":
        return flags[:, filter_order(work, machine, work.block_nonzeros())]
    return np.ones(flags.shape, np.bool_)


def _slots(work: LayerWork, machine: SkippingDescription, blocks: Ints, positions: int) -> Slots:
    """What the lanes spend on the weights, filters as they come.  positions: R S."""
    if machine.zero_handling == "skip_weights":
        return Slots(blocks)
    if machine.zero_handling != "skip_both":
        return Slots(dense_slots(work, blocks, positions))
    density = work.group_density()
    mean = _weighted_blocks(work, density)
    variance = _weighted_blocks(work, density * (1 - density))
    if machine.chunk_size is None:
        return Slots(mean, variance, blocks)
    chunks, empty = _empty_chunks(work, machine.chunk_size)
    share = dense_slots(work, blocks, 1) / (work.in_channels // work.groups)
    most = blocks + np.ceil(chunks * share).astype(np.int64)
    return Slots(mean + empty[:, None] * share, variance, most)


def _weighted_blocks(work: LayerWork, weight: Floats) -> Floats:
    """Non-zeros of each filter and block of channels, each channel's times a figure.

    (1, K, blocks).

    weight: the figure of each channel, (groups, C / groups).
    """
    groups, channels = weight.shape
    padding = [(0, 0), (0, -channels % CHANNEL_BLOCK)]
    nonzeros = work.nonzeros()[0]
    if channels % CHANNEL_BLOCK:
        nonzeros = np.pad(nonzeros, padding)
    nonzeros = nonzeros.reshape(groups, work.out_channels // groups, -1, CHANNEL_BLOCK)
    weights = np.pad(weight, padding).reshape(groups, -1, CHANNEL_BLOCK)
    sums = np.einsum("gkbc,gbc->gkb", nonzeros, weights)
    return np.asarray(sums.reshape(1, work.out_channels, -1))


def _empty_chunks(work: LayerWork, size: int) -> tuple[int, Floats]:
    """Chunks of a filter, and of each filter those expected to have no match: (K,).

    A chunk is ``size`` positions of a filter laid out kernel position by kernel position, channels
    innermost.
    """
    flags = work.flags()
    R, S = work.kernel
    per_group = work.out_channels // work.groups
    # Logarithm of the probability that an input is zero; of inputs that are all there, as good as
    # none.
    misses = np.tile(np.log1p(-np.minimum(work.group_density(), 1 - 1e-15)), R * S)
    pad = -misses.shape[1] % size
    misses = np.pad(misses, [(0, 0), (0, pad)]).reshape(work.groups, -1, size)
    empty = []
    for g in range(work.groups):
        # a group at a time: the whole layer's would take eight times its weights
        filters = flags[g * per_group : (g + 1) * per_group]
        mask = filters.transpose(0, 2, 3, 1).reshape(per_group, -1)
        chunks = np.pad(mask, [(0, 0), (0, pad)]).reshape(per_group, -1, size)
        empty.append(np.exp(np.einsum("kns,ns->kn", chunks, misses[g])).sum(axis=1))
    return misses.shape[1], np.concatenate(empty)
