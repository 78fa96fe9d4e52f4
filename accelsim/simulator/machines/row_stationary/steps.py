"""The steps of a layer on a row-stationary array.

There is one for each filter tile, images, columns, strip and channels of a pass: what it loads from
DRAM, how long its passes take (``passes``), what it stores, and what moves on the way.  Rows that
neighbouring strips share come again, unless the buffer holds all inputs of a group.
"""

from dataclasses import replace

import numpy as np

from accelsim.arrays import Ints
from accelsim.hardware.dram import Transfer, behind
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.machines.row_stationary.passes import (
    PassMapping,
    PassSize,
    filters_stay,
    fresh_extents,
    fresh_inputs,
    inputs_stay,
    kernel_part,
    mac_register_bits,
    padded,
    pass_times,
    psum_bytes,
    received_bits,
    whole_cycles,
)
from accelsim.simulator.storage.feature_map import Corner, Extent, input_map, output_map
from accelsim.simulator.storage.weights import executed_macs, weight_tile_bytes
from accelsim.simulator.tiles.activity import multiplies, spatial_products
from accelsim.simulator.tiles.tiling import Axis, first_inputs, input_extents, tile_sizes
from accelsim.simulator.time.schedule import Schedule, changes, untransformed
from accelsim.workload import LayerWork


def schedule_passes(
    work: LayerWork,
    machine: RowStationaryDescription,
    mapping: PassMapping,
) -> Schedule:
    """The steps of the layer for one mapping.

    The mapping must fit the machine (``search``); a given one may be worse than the one searched
    for.
    """
    steps = _Steps(work, machine, mapping)
    weights = steps.weights()
    executed, gated = executed_macs(work, machine)
    positions = work.outputs // work.out_channels
    macs = executed * positions
    idle = gated * positions
    schedule = untransformed(
        mode="row-stationary",
        inputs=steps.loads(),
        weights=weights,
        compute_cycles=steps.cycles(),
        outputs=steps.stores(),
        dram=machine.dram,
        effectual_macs=macs,
        useful_slots=float(macs + idle),
        waiting_slots=0.0,
        actions=steps.actions(macs, idle) | {"weight_write": 8 * float(weights.n_bytes.sum())},
    )
    return replace(schedule, tiling=mapping.sizes, loop_order="m n f e c")


class _Steps:
    """The steps of one layer under one mapping; an array holds one entry a step.

    m, n, f, e, c: filters, images, output columns, output rows and channels.  pass_filters: of a
    full pass.
    high, wide: input rows and columns under the outputs of a pass, padding included; inputs: the
    words there.  loads_filters: whether the passes load theirs into the scratch-pads.  new_inputs:
    whether inputs come from DRAM, ``rows`` x ``cols`` of them.
    """

    def __init__(
        self,
        work: LayerWork,
        machine: RowStationaryDescription,
        mapping: PassMapping,
    ) -> None:
        self.work = work
        self.machine = machine
        self.mapping = mapping
        self.part = kernel_part(work, machine)
        self.pass_filters = mapping.p * mapping.t
        self._cut()
        self._measure_inputs()

    def _cut(self) -> None:
        """Sizes of the tiles of each dimension, and which of them each step works on."""
        work = self.work
        mapping = self.mapping
        self.filter_tiles = tile_sizes(work.out_channels // work.groups, mapping.m)
        self.channel_tiles = tile_sizes(work.in_channels // work.groups, mapping.q * mapping.r)
        images = tile_sizes(work.batch, mapping.n)
        columns = tile_sizes(work.out_width, mapping.f)
        strips = tile_sizes(work.out_height, mapping.e)
        tiles = (self.filter_tiles, images, columns, strips, self.channel_tiles)
        self.shape = (work.groups, *(len(sizes) for sizes in tiles))
        group, i_m, i_n, i_f, i_e, i_c = (index.ravel() for index in np.indices(self.shape))
        self.group = group
        self.i_m = i_m
        self.i_n = i_n
        self.i_f = i_f
        self.i_e = i_e
        self.i_c = i_c
        self.m = self.filter_tiles[i_m]
        self.n = images[i_n]
        self.f = columns[i_f]
        self.e = strips[i_e]
        self.c = self.channel_tiles[i_c]
        self.position = (i_n * len(columns) + i_f) * len(strips) + i_e

    def _measure_inputs(self) -> None:
        """Which steps load filters and inputs, and how many inputs."""
        work = self.work
        machine = self.machine
        mapping = self.mapping
        self.high = padded(work, 0, self.e, self.part.rows)
        self.wide = padded(work, 1, self.f, work.kernel[1])
        self.inputs = self.n * self.high * self.wide * self.c
        self.first_position = self.position == 0
        passes = len(self.channel_tiles) * self.part.parts * -(-mapping.m // self.pass_filters)
        self.loads_filters = self.first_position if passes == 1 else np.ones_like(self.first_position)

        _, _, N, F, E, C = self.shape
        input_tile = (self.group * N * F * E + self.position) * C + self.i_c
        self.new_inputs = changes(input_tile)
        extents = input_extents
        first_row = first_inputs(Axis.of(work, 0), mapping.e)
        first_col = first_inputs(Axis.of(work, 1), mapping.f)
        sums_bytes = psum_bytes(machine, mapping.n, mapping.m, mapping.e, mapping.f)
        if inputs_stay(work, machine, sums_bytes):
            extents = fresh_extents
            first_row = fresh_inputs(work, 0, mapping.e)
            first_col = fresh_inputs(work, 1, mapping.f)
            self.new_inputs = self.new_inputs * (self.i_m == 0)
        self.rows = extents(work, 0, mapping.e)[self.i_e]
        self.cols = extents(work, 1, mapping.f)[self.i_f]
        self.first_row = first_row[self.i_e]
        self.first_col = first_col[self.i_f]

    def cycles(self) -> Ints:
        """Cycles of all passes of each step."""
        full = self.m // self.pass_filters
        rest = self.m % self.pass_filters
        full_pass = self._pass_cycles(np.full_like(self.m, self.pass_filters))
        last_pass = self._pass_cycles(rest)
        return np.asarray(self.part.parts * (full * full_pass + (rest > 0) * last_pass))

    def _pass_cycles(self, filters: Ints) -> Ints:
        """Cycles of one pass of so many filters."""
        size = PassSize(
            filters=filters,
            channels=self.c,
            rows=self.e,
            columns=self.n * self.f,
            high=self.high,
            inputs=self.inputs,
            interleaved=np.asarray(self.mapping.p * self.mapping.q),
        )
        times = pass_times(size, self.machine, self.part, whole_cycles)
        return np.asarray(times.steady + self.loads_filters * times.first_weights + times.ramp)

    def weights(self) -> Transfer:
        """Filters that each step loads from DRAM.

        Those of a tile come once where the buffer holds them or nothing takes their place.
        """
        stay = bool(filters_stay(self.work, self.machine, self.mapping.m))
        once = stay or len(self.channel_tiles) == 1
        new = self.first_position if once else np.ones_like(self.first_position)
        groups = np.arange(0, self.work.out_channels, self.work.out_channels // self.work.groups)
        starts = np.add.outer(groups, np.append(0, self.filter_tiles.cumsum()[:-1])).ravel()
        tiles = weight_tile_bytes(self.work, self.machine, starts, self.channel_tiles)
        tile = self.group * len(self.filter_tiles) + self.i_m, self.i_c
        addresses = behind(tiles.ravel()).reshape(tiles.shape)
        return Transfer.contiguous(tiles[tile] * new, addresses[tile])

    def loads(self) -> Transfer:
        """Inputs that each step loads from DRAM."""
        inputs = input_map(self.work, self.machine)
        whole_width = self.shape[3] == 1
        first_channel = self.group * (self.work.in_channels // self.work.groups)
        channel = first_channel + behind(self.channel_tiles)[self.i_c]
        image = self.i_n * self.mapping.n
        corner = Corner(image=image, channel=channel, row=self.first_row, col=self.first_col)
        extent = Extent(images=self.n, rows=self.rows, cols=self.cols, channels=self.c)
        return inputs.transfer(extent, corner, whole_width=whole_width, when=self.new_inputs)

    def stores(self) -> Transfer:
        """Outputs to DRAM, once their last channel is added."""
        outputs = output_map(self.work, self.machine)
        whole_width = self.shape[3] == 1
        done = (self.i_c == len(self.channel_tiles) - 1).astype(np.int64)
        mapping = self.mapping
        channel = self.group * (self.work.out_channels // self.work.groups) + self.i_m * mapping.m
        corner = Corner(
            image=self.i_n * mapping.n,
            channel=channel,
            row=self.i_e * mapping.e,
            col=self.i_f * mapping.f,
        )
        extent = Extent(images=self.n, rows=self.e, cols=self.f, channels=self.m)
        return outputs.transfer(extent, corner, whole_width=whole_width, when=done)

    def actions(self, macs: int, idle: int) -> dict[str, float]:
        """What moves between buffers, buses and PEs, of all passes.

        macs, idle: multiplies executed and gated.
        """
        a = self.machine.arithmetic
        part = self.part
        mapping = self.mapping
        filters = self.m * self.c * part.weights * self.loads_filters
        filter_words = float(filters.sum())
        filters_received = float((filters * self.e).sum())
        input_rows = self.n * self.wide * self.c * part.rows * self.e * part.parts
        inputs_received = float((input_rows * -(-self.m // mapping.p)).sum())
        received = received_bits(self.machine, filters_received, inputs_received)

        psums = self.n * self.e * self.f * self.m
        psums_out = float((psums * part.parts).sum())
        psums_in = psums_out - float((psums * (self.i_c == 0)).sum())
        hops = part.rows * -(-self.c // mapping.q) - 1
        handed_on = float((psums * part.parts * hops).sum())

        input_words = float((self.inputs * part.parts * -(-self.m // self.pass_filters)).sum())
        loaded_words = float((self.n * self.rows * self.cols * self.c * self.new_inputs).sum())
        return multiplies(macs, spatial_products(self.work, self.machine)) | {
            "gated_mac": idle,
            "register_bit": macs * mac_register_bits(self.machine) + idle * a.activation_bits + received,
            "hop_bit": received + (handed_on + psums_in + psums_out) * a.accumulator_bits,
            "weight_read": filter_words * a.weight_bits,
            "input_read": input_words * a.activation_bits,
            "input_write": loaded_words * a.activation_bits,
            "output_write": psums_out * a.accumulator_bits,
            "output_read": psums_in * a.accumulator_bits + self.work.outputs * a.activation_bits,
        }
