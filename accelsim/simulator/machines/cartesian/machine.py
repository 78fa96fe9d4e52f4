"""Cartesian products of sparse operands.

Planar tiles of the input stay, weights are broadcast, as SCNN does.

Each of rows x cols processing elements (PEs) holds a tile of the input plane, all channels,
compressed.  Filters come in groups of as many as its accumulators hold; for each channel of a group
a PE multiplies ``inputs`` of its non-zero inputs by ``weights`` non-zero weights a cycle, all with
all, and scatters the products into accumulator banks.

PEs wait for the slowest after every group (a barrier), where they exchange the sums of their halos
(``elements``).  A layer too large for the input RAMs or the accumulators is cut (``cuts``); weights
come again for each region unless they all fit.  Of all cuts the one is taken whose slower one of
lanes and DMA, or DRAM bytes, energy or energy x cycles, is lowest, as the machine's objective says.
``zero_handling: none`` is the dense twin.

Source: Parashar et al., SCNN, ISCA 2017; parts of the channels are ours.  Left out: contention of
accumulator banks (the paper: rare with two banks a multiplier), the exchange of halos itself,
inputs left on chip by the layer before (each layer loads its inputs).  Products at the image's edge
that no output takes count as work, as there.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from accelsim.arrays import Ints
from accelsim.hardware.dram import Transfer, behind
from accelsim.simulator.machines.cartesian.cuts import Cut, Regions, layer_cuts
from accelsim.simulator.machines.cartesian.description import CartesianDescription
from accelsim.simulator.machines.cartesian.elements import DenseLayer, SparseLayer, StepCycles
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.storage.feature_map import Corner, Extent, input_map, output_map
from accelsim.simulator.storage.weights import filter_bits, weight_tile_bytes
from accelsim.simulator.tiles.activity import multiplies, spatial_products
from accelsim.simulator.tiles.tiling import Axis, first_inputs
from accelsim.simulator.time.objective import best
from accelsim.simulator.time.schedule import Schedule, untransformed
from accelsim.workload import LayerWork

STEP_CYCLES = 2  # to hand over a group's accumulators, double-buffered, and start the next


class CartesianMachine(CartesianDescription, Machine):
    """A planar array whose elements multiply all non-zero inputs of a tile by all non-zero weights of a channel."""

    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of a conv or linear layer by its best cut.

        Raises InputError if the input RAMs hold no part of the layer, or every cut has too many
        steps (``few_steps``).
        """
        cuts = layer_cuts(work, self)
        layer = DenseLayer(work, self) if self.zero_handling == "none" else SparseLayer(work, self)
        schedules = (_schedule(layer, cut) for cut in cuts)
        return best(schedules, self)

    def check(self, work: LayerWork) -> None:
        """Refuse a layer all of whose cuts have too many steps (``few_steps``)."""
        layer_cuts(work, self)


def _region_cycles(layer: DenseLayer | SparseLayer, cut: Cut) -> StepCycles:
    """Cycles of each step of an image: (regions, groups of filters, parts of the channels).

    Regions of one size share them.
    """
    both_heights = np.stack([cut.heights, cut.in_heights])
    both_widths = np.stack([cut.widths, cut.in_widths])
    heights, of_row = np.unique(both_heights, axis=1, return_inverse=True)
    widths, of_col = np.unique(both_widths, axis=1, return_inverse=True)
    high, in_high = np.repeat(heights, widths.shape[1], axis=1)
    wide, in_wide = np.tile(widths, heights.shape[1])
    cycles = layer.step_cycles(Regions(high=high, wide=wide, in_high=in_high, in_wide=in_wide), cut)
    places = np.add.outer(of_row * widths.shape[1], of_col).ravel()
    return StepCycles(slowest=cycles.slowest[places], mean=cycles.mean[places])


@dataclass(frozen=True)
class _Places:
    """Which parts each step works on, (steps,) each."""

    image: Ints
    region: Ints  # of the output plane, row by row
    row: Ints  # of regions
    col: Ints  # of regions
    group: Ints  # of filters
    channel: Ints  # part of the channels


def _schedule(layer: DenseLayer | SparseLayer, cut: Cut) -> Schedule:
    """Steps: images, then regions, then groups of filters, then parts of the channels."""
    work = layer.work
    machine = layer.machine
    cycles = _region_cycles(layer, cut)
    indices = np.indices((work.batch, *cycles.slowest.shape))
    image, region, group, channel = (index.ravel() for index in indices)
    row, col = np.divmod(region, len(cut.widths))
    at = _Places(image=image, region=region, row=row, col=col, group=group, channel=channel)
    inputs = _inputs(layer, cut, at)
    weights, stay = _weights(layer, cut, at)
    compute = np.maximum(cycles.slowest[region, group, channel].astype(np.int64), 1) + STEP_CYCLES
    macs = layer.macs(cut, int(compute.sum()))
    waiting = float((cycles.slowest - cycles.mean).sum()) * work.batch
    schedule = untransformed(
        mode=layer.mode,
        inputs=inputs,
        weights=weights,
        compute_cycles=compute,
        outputs=_outputs(layer, cut, at),
        dram=machine.dram,
        effectual_macs=macs,
        useful_slots=float(macs),
        waiting_slots=waiting * machine.lanes,
        actions=_actions(layer, cut, macs, (inputs, weights)),
    )
    filters = max(_group_filters(work, cut))
    sizes = f"n=1 p={max(cut.heights)} q={max(cut.widths)} k={filters} c={max(cut.channels)}"
    staying = [f"{name} stay" for name, there in (("weights", stay), ("inputs", cut.stay)) if there]
    return replace(schedule, tiling=sizes, loop_order="; ".join(["n pq k c", *staying]))


def _group_filters(work: LayerWork, cut: Cut) -> Ints:
    """Filters of each group."""
    return np.diff(np.append(cut.first_filters(work), work.out_channels))


def _inputs(layer: DenseLayer | SparseLayer, cut: Cut, at: _Places) -> Transfer:
    """Inputs of each step from DRAM: a region's with its first step, or its parts with every step."""
    work = layer.work
    first_row = first_inputs(Axis.of(work, 0), int(cut.heights[0]))
    first_col = first_inputs(Axis.of(work, 1), int(cut.widths[0]))
    if cut.stay:
        new = ((at.group == 0) & (at.channel == 0)).astype(np.int64)
        channels = np.full_like(at.group, work.in_channels)
        first_channel = np.zeros_like(at.group)
    else:
        new = np.ones_like(at.group)
        channels = cut.channels[at.channel]
        filters = cut.first_filters(work)[at.group]
        conv_group = filters // (work.out_channels // work.groups)
        first_channel = conv_group * (work.in_channels // work.groups)
        first_channel = first_channel + behind(cut.channels)[at.channel]
    extent = Extent(
        images=1,
        rows=cut.in_heights[at.row],
        cols=cut.in_widths[at.col],
        channels=channels,
    )
    corner = Corner(
        image=at.image,
        channel=first_channel,
        row=first_row[at.row],
        col=first_col[at.col],
    )
    whole_width = len(cut.widths) == 1
    inputs = input_map(work, layer.machine)
    return inputs.transfer(extent, corner, whole_width=whole_width, when=new)


def _outputs(layer: DenseLayer | SparseLayer, cut: Cut, at: _Places) -> Transfer:
    """Outputs of each step to DRAM, once their last channel is added."""
    work = layer.work
    last = (at.channel == len(cut.channels) - 1).astype(np.int64)
    extent = Extent(
        images=1,
        rows=cut.heights[at.row],
        cols=cut.widths[at.col],
        channels=_group_filters(work, cut)[at.group],
    )
    corner = Corner(
        image=at.image,
        channel=cut.first_filters(work)[at.group],
        row=behind(cut.heights)[at.row],
        col=behind(cut.widths)[at.col],
    )
    whole_width = len(cut.widths) == 1
    outputs = output_map(work, layer.machine)
    return outputs.transfer(extent, corner, whole_width=whole_width, when=last)


def _weights(layer: DenseLayer | SparseLayer, cut: Cut, at: _Places) -> tuple[Transfer, bool]:
    """Weights of each step from DRAM, and whether they all stay after the first region."""
    work = layer.work
    tile_bytes = weight_tile_bytes(work, layer.machine, cut.first_filters(work), cut.channels)
    stay = int(tile_bytes.sum()) <= layer.machine.buffers.capacity_bytes("weight")
    first_region = (at.image == 0) & (at.region == 0)
    new = (first_region | (not stay)).astype(np.int64)
    addresses = behind(tile_bytes.ravel()).reshape(tile_bytes.shape)
    tile = at.group, at.channel
    return Transfer.contiguous(tile_bytes[tile] * new, addresses[tile]), stay


def _actions(
    layer: DenseLayer | SparseLayer,
    cut: Cut,
    macs: int,
    loads: tuple[Transfer, Transfer],
) -> dict[str, float]:
    """What the layer does on the chip.  loads: of inputs and weights."""
    work = layer.work
    machine = layer.machine
    a = machine.arithmetic
    inputs, weights = loads
    loaded_bits = 8 * int(inputs.n_bytes.sum())
    products = machine.cartesian.weights * machine.cartesian.inputs
    operand_bits = (a.weight_bits + a.activation_bits) / sqrt(products)
    regions = len(cut.heights) * len(cut.widths)
    filter_groups = len(cut.first_filters(work)) // work.groups
    return multiplies(macs, spatial_products(work, machine)) | {
        "register_bit": macs * (2 * a.accumulator_bits + operand_bits),
        "index": macs if layer.indexed else 0,
        "weight_read": work.batch * regions * float(filter_bits(work, machine).sum()),
        "weight_write": 8 * int(weights.n_bytes.sum()),
        "input_read": loaded_bits * (filter_groups if cut.stay else 1),
        "input_write": loaded_bits,
        "output_write": work.outputs * a.activation_bits,
        "output_read": work.outputs * a.activation_bits,
    }
