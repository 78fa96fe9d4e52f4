"""Cuts of a layer into regions of the output plane, groups of filters and parts of the channels.

A layer too large for the input RAMs or the accumulators is cut into regions, each loaded with its
halo.  Where a region's channels do not all fit, they come in parts, again for every group of
filters.  All cuts are by powers of two; of a large layer those with the fewest steps are left
(``tiles.few_steps``).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from accelsim.arrays import Ints
from accelsim.errors import InputError
from accelsim.simulator.machines.cartesian.description import CartesianDescription
from accelsim.simulator.storage.feature_map import activation_bits
from accelsim.simulator.tiles.few_steps import few_steps
from accelsim.simulator.tiles.tiling import input_extents, tile_sizes
from accelsim.workload import LayerWork


@dataclass(frozen=True)
class Cut:
    """One way to cut a layer: regions of the output plane, and what comes with each of them."""

    heights: Ints  # outputs of each row of regions
    widths: Ints  # outputs of each column of regions
    in_heights: Ints  # inputs that each row of regions reads
    in_widths: Ints  # inputs that each column of regions reads
    filters: int  # of a group, as many as the accumulators hold
    channels: Ints  # of each part of a convolution group's channels
    # all channels of a region come once, else its parts come again for every group of filters
    stay: bool

    def first_filters(self, work: LayerWork) -> Ints:
        """First filter of each group; none spans two convolution groups."""
        per_group = work.out_channels // work.groups
        first_of_conv_group = np.arange(0, work.out_channels, per_group)
        return np.add.outer(first_of_conv_group, np.arange(0, per_group, self.filters)).ravel()

    def steps(self, work: LayerWork) -> int:
        """Steps of the layer."""
        groups_of_filters = work.groups * -(-(work.out_channels // work.groups) // self.filters)
        regions = work.batch * len(self.heights) * len(self.widths)
        return regions * groups_of_filters * len(self.channels)


@dataclass(frozen=True)
class Regions:
    """Regions of the output plane.

    Heights and widths of what each gives and of what it reads, (regions,) each.
    """

    high: Ints
    wide: Ints
    in_high: Ints
    in_wide: Ints


def layer_cuts(work: LayerWork, machine: CartesianDescription) -> list[Cut]:
    """Cuts by powers of two of the output rows and columns that fit input RAMs and accumulators, in few steps."""
    rows = machine.pe_array.rows
    cols = machine.pe_array.cols
    room = machine.buffers.capacity_bytes("input") / (rows * cols)
    bits = activation_bits(machine, work.input_density)
    group_channels = work.in_channels // work.groups
    found = []
    for parts_h, parts_w in product(_powers(work.out_height), _powers(work.out_width)):
        high = -(-work.out_height // parts_h)
        wide = -(-work.out_width // parts_w)
        in_heights = input_extents(work, 0, high)
        in_widths = input_extents(work, 1, wide)
        pe_high = -(-int(in_heights.max()) // rows)
        pe_wide = -(-int(in_widths.max()) // cols)
        if not pe_high * pe_wide:  # outputs of padding alone: parts so small make no region
            continue
        fitting = int(room / (pe_high * pe_wide * bits / 8))
        sums = _accumulators(work, 0, pe_high, high) * _accumulators(work, 1, pe_wide, wide)
        if fitting < 1 or sums > machine.cartesian.accumulators:
            continue
        # Parts of powers of two nest, so that a larger RAM never splits channels that a smaller one
        # kept together.
        channels = group_channels if fitting >= group_channels else 1 << fitting.bit_length() - 1
        found.append(
            Cut(
                heights=tile_sizes(work.out_height, high),
                widths=tile_sizes(work.out_width, wide),
                in_heights=in_heights,
                in_widths=in_widths,
                filters=min(machine.cartesian.accumulators // sums, work.out_channels // work.groups),
                channels=tile_sizes(group_channels, channels),
                stay=fitting >= work.in_channels,
            )
        )
    if not found:
        raise InputError(
            f"{machine.name}: buffers.input_kb is {machine.buffers.input_kb:g}, too small for one output of layer "
            f"{work.name}, expected a larger one"
        )
    return few_steps(found, [cut.steps(work) for cut in found], work.name, machine)


def _powers(size: int) -> list[int]:
    """1, 2, 4, ... parts, and one output each."""
    return sorted({*(1 << i for i in range(size.bit_length()) if 1 << i <= size), size})


def _accumulators(work: LayerWork, axis: int, inputs: int, outputs: int) -> int:
    """Outputs along one axis, of those of a region, to which a run of inputs adds."""
    reach = work.dilation[axis] * (work.kernel[axis] - 1)
    return min((inputs - 1 + reach) // work.stride[axis] + 1, outputs)
