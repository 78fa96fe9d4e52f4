"""The Winograd-domain accelerator: taps x rows x cols lanes on Winograd-domain filters.

Each row works on one m x m tile of outputs, each column on one filter, and ``taps`` of the n x n taps are worked on at
a time (1: tap-serial; n^2: tap-parallel).  A lane walks through the input channels of its tap and filter, skipping
zero weights as the machine's zero handling says; lanes side by side wait for the fullest at every tap group.  Inputs
pass through the input transform unit once for each load of a tile, results through the inverse transform unit.
Weights are transformed and pruned off line and stored with n^2 positions a filter and channel; or they come in the
file's spatial form and are transformed and pruned on chip as they arrive (``weight_transform: on_chip``).

A layer at a stride can be split into layers at stride 1 on every stride-th row and column (``polyphase``): 25
multiplies for 36 where the kernel is 3 x 3, the stride 2 and m = 2.  A kernel beyond ``largest_kernel`` can be split
into smaller ones (``transforms.decomposition``; ``datapath.pieces`` computes it).  Each piece passes through the
transform units by itself.  Filters of pieces are not pruned in the Winograd domain, so the result is exact.  The
mapping runs a split layer as a plain matrix multiplication where that scores lower.

Layers that Winograd cannot serve run on the same lanes as a sparse matrix multiplication in the spatial domain:
taps x rows positions by cols filters.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from accelsim.hardware.machine import WinogradMachine
from accelsim.simulator.machines.stationary import (
    coded_bits,
    dense_slots,
    filter_order,
    gemm_mode,
    operand_settings,
    weight_bits,
)
from accelsim.simulator.tiles.mode import Mode
from accelsim.transforms.adders import tile_additions
from accelsim.transforms.decomposition import Piece, pieces
from accelsim.transforms.winograd import POINTS
from accelsim.workload import LayerWork, keep

MAX_POINTS = len(POINTS)


def winograd_modes(work: LayerWork, machine: WinogradMachine) -> list[Mode]:
    """The ways in which the machine executes a conv or linear layer: Winograd, or GEMM where that does not apply."""
    array = machine.pe_array
    gemm = partial(gemm_mode, work, machine, "gemm-os", array.taps * array.rows, array.cols)
    largest = machine.largest_kernel
    whole = largest is None or max(work.kernel) <= largest
    if work.winograd_threshold is not None and whole and _has_points(machine, work.kernel):
        return [winograd_mode(work, machine), *([gemm()] if machine.hybrid else [])]
    split = machine.polyphase if max(work.stride) > 1 else not whole
    if split and work.kind == "conv" and work.dilation == (1, 1) and min(work.kernel) >= 2:
        parts = pieces(work.kernel, work.stride, largest)
        if all(_has_points(machine, piece.size) for piece in parts):
            return [gemm(), winograd_mode(work, machine, parts)]
    return [gemm()]


def _has_points(machine: WinogradMachine, kernel: tuple[int, int]) -> bool:
    """Whether there are interpolation points enough for F(m, r) of the kernel's longer side."""
    return machine.tile + max(kernel) - 1 <= MAX_POINTS + 1


def winograd_mode(work: LayerWork, machine: WinogradMachine, parts: tuple[Piece, ...] = ()) -> Mode:
    """F(m x m, R x S) with the machine's tile size m; or of each of the pieces that the layer is split into.

    Gating counts zero weights only: Winograd-domain inputs are dense whatever the density of the pixels.
    """
    array = machine.pe_array
    # Counted once for all arrays and buffers.
    mode = keep(work.kept, ("winograd", parts, machine.mask_settings), lambda: _winograd_mode(work, machine, parts))
    return replace(
        mode,
        position_lanes=array.rows,
        filter_lanes=array.cols,
        tap_lanes=array.taps,
        transform_rate=machine.transform_rate,
        inverse_rate=machine.inverse_rate,
        weight_transform_rate=machine.weight_transform_rate if machine.weight_transform == "on_chip" else 0,
    )


def _winograd_mode(work: LayerWork, machine: WinogradMachine, parts: tuple[Piece, ...]) -> Mode:
    """The same on a single lane, with transform units of rate 1."""
    m = machine.tile
    blocks = work.block_nonzeros(m, parts)
    order = filter_order(work, machine, blocks)
    dense, kept = dense_slots(work, blocks, 1), int(blocks.sum())
    skips = machine.zero_handling == "skip_weights"
    # In CSR each tap of a filter is a row of its own, so that its lane finds it.
    rows = blocks if machine.weight_format == "csr" else blocks.sum(axis=0, keepdims=True)
    stored = np.sum([weight_bits(work, machine, row, len(blocks) // len(rows)) for row in rows], axis=0)[order]
    kernels = [piece.size for piece in parts] or [work.kernel]
    adds_w, adds_in, adds_out = np.sum([tile_additions(m, kernel) for kernel in kernels], axis=0).tolist()
    adds_out += (len(kernels) - 1) * m * m  # the pieces' outputs are added up
    on_chip = machine.weight_transform == "on_chip"
    dram_bits = stored
    if on_chip:  # weights travel in the file's spatial form
        window = work.kernel[0] * work.kernel[1]
        dram_bits = weight_bits(work, machine, work.block_nonzeros().sum(axis=0), window)[order]
    if machine.decoder is not None:
        dram_bits = coded_bits(work, machine)[order]
    return Mode(
        name=f"winograd-f{m}" + ("" if not parts else "-polyphase" if max(work.stride) > 1 else "-split"),
        work=work,
        m=m,
        slots=(blocks if skips else dense)[:, order],
        executed=int(dense.sum()) if machine.zero_handling == "none" else kept,
        gated=int(dense.sum()) - kept if machine.zero_handling == "gate" else 0,
        stored_bits=stored,
        dram_bits=dram_bits,
        position_lanes=1,
        filter_lanes=1,
        tap_lanes=1,
        reduction_lanes=1,
        transformed_bits=machine.arithmetic.transformed_bits,
        **operand_settings(work, machine),
        window=machine.window,
        transform_rate=1,
        inverse_rate=1,
        transform_adds=(adds_in, adds_out),
        phases=len(kernels),
        weight_transform_adds=adds_w if on_chip else 0,
        decoder_rate=0.0 if machine.decoder is None else machine.decoder.symbols_per_cycle,
    )
