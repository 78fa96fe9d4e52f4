"""The Winograd-domain accelerator: taps x rows x cols lanes on Winograd-domain filters.

Each row works on one m x m tile of outputs, each column on one filter, and ``taps`` of the n x n taps are worked on at
a time (1: tap-serial; n^2: tap-parallel).  A lane walks through the input channels of its tap and filter, skipping
zero weights as the machine's zero handling says; lanes side by side wait for the fullest at every tap group.  Inputs
pass through the input transform unit once for each load of a tile, results through the inverse transform unit.
Weights are transformed and pruned off line and stored with n^2 positions a filter and channel.

Layers that Winograd cannot serve run on the same lanes as a sparse matrix multiplication in the spatial domain:
taps x rows positions by cols filters.
"""

from accelsim.hardware.machine import WinogradMachine
from accelsim.simulator.convolution import best_schedule
from accelsim.simulator.mode import Mode
from accelsim.simulator.schedule import Schedule
from accelsim.simulator.spatial import gemm_mode, zero_handling
from accelsim.winograd import tile_additions
from accelsim.workload import LayerWork


def plan_winograd(work: LayerWork, machine: WinogradMachine) -> Schedule:
    """The schedule of a conv or linear layer.  Raises InputError if the buffers are too small for one tile."""
    array = machine.pe_array
    if work.winograd_threshold is None:
        return best_schedule([gemm_mode(work, machine, "gemm-os", array.taps * array.rows, array.cols)], machine)
    return best_schedule([winograd_mode(work, machine)], machine)


def winograd_mode(work: LayerWork, machine: WinogradMachine) -> Mode:
    """F(m x m, R x S) with the machine's tile size m."""
    m, array, a = machine.tile, machine.pe_array, machine.arithmetic
    nonzeros = work.nonzeros(m)
    slots, executed, gated, order = zero_handling(work, machine, nonzeros, 1)
    _, adds_in, adds_out = tile_additions(m, work.kernel)
    return Mode(
        name=f"winograd-f{m}",
        work=work,
        m=m,
        slots=slots[:, order],
        stored_nonzeros=nonzeros[:, order],
        executed=executed,
        gated=gated,
        position_lanes=array.rows,
        filter_lanes=array.cols,
        tap_lanes=array.taps,
        reduction_lanes=1,
        weight_format=machine.weight_format,
        weight_bits=a.weight_bits,
        activation_bits=a.activation_bits,
        transformed_bits=a.transformed_bits,
        accumulator_bits=a.accumulator_bits,
        transform_rate=machine.transform_rate,
        inverse_rate=machine.inverse_rate,
        transform_adds=(adds_in, adds_out),
    )
