"""The spatial-domain MAC array: rows x cols lanes on spatial filters.

``output_stationary``: each row computes one output position, each column one filter; a lane accumulates one output.
``weight_stationary``: each column holds weights of one filter, ``rows`` at a time; positions stream past, one a cycle,
and the column's products are summed on the way.

Zero handling: ``none`` multiplies everything; ``gate`` takes as long but holds a lane still where its weight or input
is zero (inputs by their measured density, taken as independent of the weights); ``skip_weights`` streams only the
non-zero weights of each filter, so that filters side by side take as long as the fullest.  ``balance: greedy`` puts
filters of similar fullness side by side.
"""

import numpy as np
from numpy.typing import NDArray

from accelsim.hardware.machine import SpatialMachine, WinogradMachine
from accelsim.simulator.convolution import best_schedule
from accelsim.simulator.mode import Mode
from accelsim.simulator.schedule import Schedule
from accelsim.workload import LayerWork


def plan_spatial(work: LayerWork, machine: SpatialMachine) -> Schedule:
    """The schedule of a conv or linear layer.  Raises InputError if the buffers are too small for one tile."""
    array = machine.pe_array
    if machine.dataflow == "output_stationary":
        mode = gemm_mode(work, machine, "gemm-os", array.rows, array.cols)
    else:
        mode = gemm_mode(work, machine, "gemm-ws", 1, array.cols, reduction_lanes=array.rows)
    return best_schedule([mode], machine)


def gemm_mode(
    work: LayerWork,
    machine: SpatialMachine | WinogradMachine,
    name: str,
    position_lanes: int,
    filter_lanes: int,
    reduction_lanes: int = 1,
) -> Mode:
    """Plain (sparse) matrix multiplication of the layer in the spatial domain."""
    nonzeros = work.nonzeros()
    slots, executed, gated, order = zero_handling(work, machine, nonzeros, work.kernel[0] * work.kernel[1])
    a = machine.arithmetic
    return Mode(
        name=name,
        work=work,
        m=1,
        slots=slots[:, order],
        stored_nonzeros=nonzeros[:, order],
        executed=executed,
        gated=gated,
        position_lanes=position_lanes,
        filter_lanes=filter_lanes,
        tap_lanes=1,
        reduction_lanes=reduction_lanes,
        weight_format=machine.weight_format,
        weight_bits=a.weight_bits,
        activation_bits=a.activation_bits,
        transformed_bits=a.transformed_bits,
        accumulator_bits=a.accumulator_bits,
    )


def zero_handling(
    work: LayerWork, machine: SpatialMachine | WinogradMachine, nonzeros: NDArray[np.int32], positions: int
) -> tuple[NDArray[np.int32], int, int, NDArray[np.int64]]:
    """What the lanes spend on the weights: (slots, executed and gated multiplies a tile, order of the filters).

    nonzeros: (taps, K, C / groups) int32; positions: stored positions of one tap, filter and channel.
    """
    order = np.arange(work.out_channels)
    if machine.zero_handling == "skip_weights":
        if machine.balance == "greedy":
            fullness = nonzeros.sum(axis=(0, 2), dtype=np.int64)
            group = order // (work.out_channels // work.groups)
            order = np.lexsort((-fullness, group))
        return nonzeros, int(nonzeros.sum(dtype=np.int64)), 0, order
    slots = np.full_like(nonzeros, positions)
    total = int(slots.sum(dtype=np.int64))
    if machine.zero_handling == "none":
        return slots, total, 0, order
    per_channel = nonzeros.sum(axis=0, dtype=np.int64).reshape(work.groups, -1, nonzeros.shape[2]).sum(axis=1)
    density = np.broadcast_to(work.input_density, (work.in_channels,))
    # Winograd-domain inputs are dense whatever the density of the pixels.
    kept = per_channel.ravel() * (density if nonzeros.shape[0] == 1 else 1.0)
    executed = round(float(kept.sum()))
    return slots, executed, total - executed, order
