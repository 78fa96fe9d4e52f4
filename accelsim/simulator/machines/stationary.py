"""The spatial-domain MAC array: rows x cols lanes on spatial filters.

``output_stationary``: each row computes one output position, each column one filter; a lane accumulates one output.
``weight_stationary``: each column holds weights of one filter, ``rows`` at a time; positions stream past, one a cycle,
and the column's products are summed on the way.
``input_stationary``: each column holds inputs of one position, ``rows`` at a time; filters stream past, one a cycle.
``row_stationary``, ``cartesian`` and ``interleaved`` are matters of their own, in files of these names.

Zero handling: ``none`` multiplies everything.  ``gate`` takes as long but holds a lane still where its weight or input
is zero (inputs by their measured density, taken as independent of the weights).  ``skip_weights`` streams only the
non-zero weights of each filter, so that filters side by side take as long as the fullest.  ``skip_both`` spends a cycle
only where weight and input are both non-zero (inner join of bitmasks, as SparTen): the weights' mask is the real one,
the inputs' is taken as random with the measured density of each channel, so the count of each lane is binomial and the
slowest of the lanes side by side its expected maximum.  ``balance: greedy`` puts filters of similar fullness side by
side; ``balance: paired`` gives each lane a full filter and behind it an empty one, worth a window of 2.  With ``chunk``
an inner join spends a cycle at least on each chunk of so many bitmask positions.  ``window``: how many filters a column
may run ahead before it waits.

Left out: conflicts of operand fetches; without ``chunk``, the inner join's own start-up.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from accelsim.arrays import Floats, Ints
from accelsim.errors import InputError
from accelsim.hardware.formats import index_bits, stored_values
from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.tiles.mode import Feed, Mode, Stationary
from accelsim.workload import CHANNEL_BLOCK, LayerWork, keep

Slots = tuple[Ints | Floats, Floats | None, Ints | None]


def spatial_modes(work: LayerWork, machine: SpatialMachine) -> list[Mode]:
    """The one way in which the array executes a conv or linear layer: its dataflow."""
    rows, cols, feed = machine.pe_array.rows, machine.pe_array.cols, machine.pe_array.feed
    match machine.dataflow:
        case "output_stationary":
            return [gemm_mode(work, machine, "gemm-os", rows, cols, feed=feed)]
        case "weight_stationary":
            return [gemm_mode(work, machine, "gemm-ws", 1, cols, rows, stationary="weight", feed=feed)]
        case "input_stationary":
            return [gemm_mode(work, machine, "gemm-is", cols, 1, rows, stationary="input", feed=feed)]
        case "interleaved":
            raise ValueError("matrix-vector products have no mode: interleaved.plan_interleaved")
        case "cartesian":
            raise ValueError("Cartesian products of planar tiles have no mode: cartesian.plan_cartesian")
        case "row_stationary":
            raise ValueError("a row-stationary array works in passes: row_mapping.plan_row_stationary")


def gemm_mode(
    work: LayerWork,
    machine: SpatialMachine | WinogradMachine,
    name: str,
    position_lanes: int,
    filter_lanes: int,
    reduction_lanes: int = 1,
    *,
    stationary: Stationary = "output",
    feed: Feed = "broadcast",
) -> Mode:
    """Plain (sparse) matrix multiplication of the layer in the spatial domain."""
    # Counted once for all arrays and buffers.
    mode = keep(work.kept, ("gemm", machine.mask_settings), lambda: _gemm_mode(work, machine))
    return replace(
        mode,
        name=name,
        position_lanes=position_lanes,
        filter_lanes=filter_lanes,
        reduction_lanes=reduction_lanes,
        stationary=stationary,
        feed=feed,
    )


def _gemm_mode(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> Mode:
    """The same on a single lane."""
    blocks = work.block_nonzeros()
    order = filter_order(work, machine, blocks)
    R, S = work.kernel
    slots, variance, most = _slots(work, machine, blocks, R * S)
    executed, gated = executed_macs(work, machine)
    stored = weight_bits(work, machine, blocks.sum(axis=0), R * S)[order]
    return Mode(
        name="gemm",
        work=work,
        m=1,
        slots=slots[:, order],
        variance=None if variance is None else variance[:, order],
        most=None if most is None else most[:, order],
        executed=executed,
        gated=gated,
        stored_bits=stored,
        dram_bits=stored if machine.decoder is None else coded_bits(work, machine)[order],
        position_lanes=1,
        filter_lanes=1,
        tap_lanes=1,
        reduction_lanes=1,
        transformed_bits=machine.arithmetic.activation_bits,
        **operand_settings(work, machine),
        window=machine.window,
        decoder_rate=0.0 if machine.decoder is None else machine.decoder.symbols_per_cycle,
    )


def coded_bits(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> Floats:
    """Bits of each filter and block of input channels in the file's own code: (K, blocks), in all as measured there.

    A filter's share is not stored: the zero map is spread as the entropy of each block's density, the rest evenly over
    the non-zeros.  Raises InputError if the layer has no coded bits (it is of a table).
    """
    if work.coded_bits is None:
        raise InputError(
            f"{machine.name}: decoder: layer {work.name} has no entropy-coded weights, expected a .dual file"
        )
    R, S = work.kernel
    nonzeros = work.block_nonzeros()[0]
    positions = dense_slots(work, nonzeros, R * S)
    d = nonzeros / np.maximum(positions, 1)
    zero_map = positions * -(xlogy(d, d) + xlogy(1 - d, 1 - d)) / np.log(2)
    rest = max(0.0, work.coded_bits - float(zero_map.sum())) / max(1, int(nonzeros.sum()))
    bits = zero_map + rest * nonzeros + 1e-9 * positions
    return np.asarray(bits * (work.coded_bits / bits.sum()))


def weight_bits(work: LayerWork, machine: SpatialMachine | WinogradMachine, nonzeros: Ints, window: int) -> Floats:
    """Stored bits, index included, of each filter and block of input channels: (K, blocks).

    nonzeros: (K, blocks) int64.  window: stored positions of each filter and input channel.
    """
    channels = work.in_channels // work.groups
    in_block = np.minimum(CHANNEL_BLOCK, channels - np.arange(0, channels, CHANNEL_BLOCK))
    positions = np.broadcast_to(in_block * window, nonzeros.shape)
    values = stored_values(machine.weight_format, positions, nonzeros)
    index = index_bits(machine.weight_format, positions, nonzeros, window * channels)
    return np.asarray(values * machine.arithmetic.weight_bits + index)


def filter_bits(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> Floats:
    """Stored bits, index included, of each filter in the spatial domain: (K,).  Kept."""
    R, S = work.kernel
    return keep(
        work.kept, ("filter bits", machine.mask_settings),
        lambda: weight_bits(work, machine, work.block_nonzeros()[0], R * S).sum(axis=1),
    )  # fmt: skip


def weight_tile_bytes(work: LayerWork, machine: SpatialMachine, starts: Ints, channels: Ints) -> Ints:
    """Stored bytes of each tile of filters and channels: (filter tiles, channel tiles).

    starts: first filter of each tile.  channels: of each channel tile.  A tile of filters is stored in one piece; its
    channels share it evenly.
    """
    of_tile = np.ceil(np.add.reduceat(filter_bits(work, machine), starts) / 8 - 1e-6)
    share = np.append(0, channels.cumsum()) / channels.sum()
    return np.asarray(np.diff(np.round(of_tile[:, None] * share).astype(np.int64), axis=1))


def operand_settings(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> dict[str, Any]:
    """The fields of a ``Mode`` that say how the machine stores weights, activations and sums, by name."""
    a = machine.arithmetic
    return {
        "weight_format": machine.weight_format,
        "weight_bits": a.weight_bits,
        "activation_bits": a.activation_bits,
        "accumulator_bits": a.accumulator_bits,
        "input_bits": activation_bits(machine, work.input_density),
        "output_bits": activation_bits(machine, work.output_density),
    }


def activation_bits(machine: SpatialMachine | WinogradMachine, density: ArrayLike) -> float:
    """Bits of an activation in DRAM, index included, on average over channels of these densities.

    A packed run-length code is used only where it is smaller than the plain values.
    """
    if machine.activation_format == "dense":
        return float(machine.arithmetic.activation_bits)
    positions = 1 << 20  # many: an average
    nonzeros = np.asarray(density, np.float64) * positions
    values = stored_values(machine.activation_format, positions, nonzeros)
    index = index_bits(machine.activation_format, positions, nonzeros, positions)
    bits = (values * machine.arithmetic.activation_bits + index) / positions
    if machine.activation_format == "packed_run_length":
        bits = np.minimum(bits, machine.arithmetic.activation_bits)
    return float(bits.mean())


def filter_order(work: LayerWork, machine: SpatialMachine | WinogradMachine, blocks: Ints) -> Ints | slice:
    """Filters in the order in which they occupy the lanes, as an index.  blocks: (taps, K, blocks) non-zeros."""
    if machine.balance == "none" or machine.zero_handling not in {"skip_weights", "skip_both"}:
        return slice(None)
    fullness = blocks.sum(axis=(0, 2))
    per_group = work.out_channels // work.groups
    order = np.lexsort((-fullness, np.arange(work.out_channels) // per_group))
    if machine.balance == "paired":
        lanes = machine.pe_array.cols
        return np.concatenate([_paired(order[g : g + per_group], lanes) for g in range(0, len(order), per_group)])
    return order


def _paired(order: Ints, lanes: int) -> Ints:
    """Filters from full to empty -> as many as there are lanes of the fullest, the emptiest behind them, and so on."""
    parts = []
    while len(order):
        rest = order[lanes:]
        parts += [order[:lanes], rest[::-1][:lanes]]
        order = rest[: max(0, len(rest) - lanes)]
    return np.concatenate(parts)


def dense_slots(work: LayerWork, blocks: Ints, positions: int) -> Ints:
    """Slots of a machine that multiplies everything.  positions: stored positions of one tap, filter and channel."""
    channels = work.in_channels // work.groups
    in_block = np.minimum(CHANNEL_BLOCK, channels - np.arange(0, channels, CHANNEL_BLOCK))
    return np.broadcast_to(in_block.astype(np.int64) * positions, blocks.shape)


def _slots(work: LayerWork, machine: SpatialMachine | WinogradMachine, blocks: Ints, positions: int) -> Slots:
    """What the lanes spend on the weights: slots, and of expected values their variance and their bound."""
    if machine.zero_handling == "skip_weights":
        return blocks, None, None
    if machine.zero_handling == "skip_both":
        density = _group_density(work)
        mean, variance = _weighted_blocks(work, density, density * (1 - density))
        if isinstance(machine, SpatialMachine) and machine.chunk is not None:
            chunks, empty = _empty_chunks(work, machine.chunk)
            share = dense_slots(work, blocks, 1) / (work.in_channels // work.groups)
            return mean + empty[:, None] * share, variance, blocks + np.ceil(chunks * share).astype(np.int64)
        return mean, variance, blocks
    return dense_slots(work, blocks, positions), None, None


def _weighted_blocks(work: LayerWork, *of_channel: Floats) -> list[Floats]:
    """Non-zeros of each filter and block of channels, each channel's times a figure: (1, K, blocks) for each figure.

    of_channel: figures, (groups, C / groups) each.
    """
    groups, channels = of_channel[0].shape
    padding = [(0, 0), (0, -channels % CHANNEL_BLOCK)]
    nonzeros = work.nonzeros()[0]
    nonzeros = np.pad(nonzeros, padding) if padding[1][1] else nonzeros
    nonzeros = nonzeros.reshape(groups, work.out_channels // groups, -1, CHANNEL_BLOCK)
    figures = [np.pad(x, padding).reshape(groups, -1, CHANNEL_BLOCK) for x in of_channel]
    return [np.einsum("gkbc,gbc->gkb", nonzeros, x).reshape(1, work.out_channels, -1) for x in figures]


def _empty_chunks(work: LayerWork, size: int) -> tuple[int, Floats]:
    """Chunks of a filter, and of each filter those expected to have no match: (K,).

    A chunk is ``size`` positions of a filter laid out kernel position by kernel position, channels innermost.
    """
    assert work.weights is not None
    (R, S), per_group = work.kernel, work.out_channels // work.groups
    # Logarithm of the probability that an input is zero; of inputs that are all there, as good as none.
    misses = np.tile(np.log1p(-np.minimum(_group_density(work), 1 - 1e-15)), R * S)
    pad = -misses.shape[1] % size
    misses = np.pad(misses, [(0, 0), (0, pad)]).reshape(work.groups, -1, size)
    empty = []
    for g in range(work.groups):  # a group at a time: the whole layer's would take eight times its weights
        kept = (work.weights[g * per_group : (g + 1) * per_group] != 0).transpose(0, 2, 3, 1).reshape(per_group, -1)
        chunks = np.pad(kept, [(0, 0), (0, pad)]).reshape(per_group, -1, size)
        empty.append(np.exp(np.einsum("kns,ns->kn", chunks, misses[g])).sum(axis=1))
    return misses.shape[1], np.concatenate(empty)


def executed_macs(work: LayerWork, machine: SpatialMachine | WinogradMachine) -> tuple[int, int]:
    """Multiplies executed, and gated, for one output position of all filters, in the spatial domain."""
    blocks = work.block_nonzeros()
    if machine.zero_handling == "skip_weights":
        return int(blocks.sum()), 0
    total = int(dense_slots(work, blocks, work.kernel[0] * work.kernel[1]).sum())
    if machine.zero_handling == "none":
        return total, 0
    of_channel = work.nonzeros().reshape(work.groups, work.out_channels // work.groups, -1).sum(axis=1)
    executed = round(float((of_channel * _group_density(work)).sum()))
    return executed, total - executed if machine.zero_handling == "gate" else 0


def _group_density(work: LayerWork) -> Floats:
    """Density of the inputs of each convolution group: (groups, C / groups)."""
    of_group = np.broadcast_to(work.input_density, (work.in_channels,)).reshape(work.groups, -1)
    return of_group.astype(np.float64)
