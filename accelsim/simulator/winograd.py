"""The Winograd-domain accelerator: taps x rows x cols lanes on Winograd-domain filters.

Each row works on one m x m tile of outputs, each column on one filter, and ``taps`` of the n x n taps are worked on at
a time (1: tap-serial; n^2: tap-parallel).  A lane walks through the input channels of its tap and filter, skipping
zero weights as the machine's zero handling says; lanes side by side wait for the fullest at every tap group.  Inputs
pass through the input transform unit once for each load of a tile, results through the inverse transform unit.
Weights are transformed and pruned off line and stored with n^2 positions a filter and channel.

Layers that Winograd cannot serve run on the same lanes as a sparse matrix multiplication in the spatial domain:
taps x rows positions by cols filters.
"""

import numpy as np

from accelsim.hardware.machine import WinogradMachine
from accelsim.simulator.mode import Mode
from accelsim.simulator.spatial import activation_bits, dense_slots, filter_order, gemm_mode, weight_bits
from accelsim.winograd import tile_additions
from accelsim.workload import LayerWork


def winograd_modes(work: LayerWork, machine: WinogradMachine) -> list[Mode]:
    """The ways in which the machine executes a conv or linear layer: Winograd, or GEMM where that does not apply."""
    array = machine.pe_array
    if work.winograd_threshold is None:
        return [gemm_mode(work, machine, "gemm-os", array.taps * array.rows, array.cols)]
    return [winograd_mode(work, machine)]


def winograd_mode(work: LayerWork, machine: WinogradMachine) -> Mode:
    """F(m x m, R x S) with the machine's tile size m.

    Gating counts zero weights only: Winograd-domain inputs are dense whatever the density of the pixels.
    """
    m, array, a = machine.tile, machine.pe_array, machine.arithmetic
    blocks = work.block_nonzeros(m)
    order = filter_order(work, machine, blocks)
    dense, kept = dense_slots(work, blocks, 1), int(blocks.sum())
    skips = machine.zero_handling == "skip_weights"
    # In CSR each tap of a filter is a row of its own, so that its lane finds it.
    rows = blocks if machine.weight_format == "csr" else blocks.sum(axis=0, keepdims=True)
    stored = np.sum([weight_bits(work, machine, row, len(blocks) // len(rows)) for row in rows], axis=0)[order]
    _, adds_in, adds_out = tile_additions(m, work.kernel)
    return Mode(
        name=f"winograd-f{m}",
        work=work,
        m=m,
        slots=(blocks if skips else dense)[:, order],
        executed=int(dense.sum()) if machine.zero_handling == "none" else kept,
        gated=int(dense.sum()) - kept if machine.zero_handling == "gate" else 0,
        stored_bits=stored,
        dram_bits=stored,
        position_lanes=array.rows,
        filter_lanes=array.cols,
        tap_lanes=array.taps,
        reduction_lanes=1,
        weight_format=machine.weight_format,
        weight_bits=a.weight_bits,
        activation_bits=a.activation_bits,
        transformed_bits=a.transformed_bits,
        accumulator_bits=a.accumulator_bits,
        input_bits=activation_bits(machine, float(np.mean(work.input_density))),
        output_bits=activation_bits(machine, work.output_density),
        window=machine.window,
        transform_rate=machine.transform_rate,
        inverse_rate=machine.inverse_rate,
        transform_adds=(adds_in, adds_out),
    )
