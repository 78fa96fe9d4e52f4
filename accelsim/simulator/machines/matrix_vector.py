"""Matrix-vector products on lanes that hold interleaved rows of the matrix, with a queue of inputs each, as EIE does.

Filter k of a tile belongs to lane k mod lanes, which stores its weights column by column.  Non-zero
inputs are broadcast, one a cycle, into queues of ``window`` places, one before each lane; a lane
works off the oldest input, a stored weight of its column a cycle (one cycle at least), and the
broadcast waits while any queue is full:

    t[j] = max(t[j - 1] + 1, max over lanes of f[j - window, lane])        input j is broadcast
    f[j, lane] = max(f[j - 1, lane], t[j]) + max(1, stored[j, lane])       the lane is done with it

So ``window`` is how many inputs a lane may run ahead of the slowest; where other dataflows set a
barrier after every window, here the window slides.  With ``vector_registers`` a lane holds that
many inputs of a vector, zeros included: a longer one is worked off in batches, with a barrier after
each; before it each lane reads its inputs of the batch from its activation memory, after it it
writes its sums there, a value a cycle.

Weight masks are the real ones; run-length coding pads runs of over 15 rows of a lane within a
column with stored zeros, counted one by one.  Inputs are drawn: ``DRAWS`` vectors (or one for each
output position, if those are fewer) by each channel's density, from a fixed seed; other positions
take their average.  A convolution is one such product for each output position.

A tile holds as many filters as half the weight buffer does (each lane its own, as EIE holds whole
layers); the output rows of a tile, and whether weights or inputs change last, are searched for by
the machine's objective.

Source: Han et al., EIE, ISCA 2016 (recurrences ours, after its description; so is a value a cycle).
Left out: the detection of non-zeros and the pipeline's four stages, reading the column pointers,
the codebook of shared weights.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

import numpy as np

from accelsim.arrays import Flags, Floats, Ints, round_up
from accelsim.errors import InputError
from accelsim.hardware.dram import Transfer, behind
from accelsim.hardware.formats import RUN_BITS
from accelsim.hardware.parts import Count, PeArray
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.storage.feature_map import Corner, Extent, activation_bits, input_map, output_map
from accelsim.simulator.storage.weights import filter_bits, weight_tile_bytes
from accelsim.simulator.tiles.activity import multiplies, spatial_products
from accelsim.simulator.tiles.description import RunAhead
from accelsim.simulator.tiles.few_steps import few_steps
from accelsim.simulator.tiles.tiling import Axis, balanced_cuts, first_inputs, input_extents, tile_sizes
from accelsim.simulator.time.objective import best
from accelsim.simulator.time.schedule import Schedule, changes, untransformed
from accelsim.workload import LayerWork

DRAWS = 4
AT_ONCE = 1 << 24  # weights of drawn columns and lanes that are looked at together, at most


class MatrixVectorMachine(Machine):
    """Lanes that hold interleaved rows of a sparse matrix, each behind a queue of non-zero inputs."""

    kind: Literal["spatial"]
    """Always ``spatial``."""
    dataflow: Literal["interleaved"]
    """Always ``interleaved``."""
    zero_handling: Literal["skip_both"]
    """Zero weights are not stored, zero inputs not broadcast: always ``skip_both``."""
    pe_array: PeArray
    """Lanes; rows and columns mean nothing but their product."""
    window: RunAhead = 1
    """Places of the queue before each lane.  Default: 1."""
    vector_registers: Count | None = None
    """Inputs that a lane holds; longer vectors come in batches.  Default: all of them."""

    @property
    def lanes(self) -> int:
        """Multipliers of the whole array."""
        return self.pe_array.rows * self.pe_array.cols

    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of a conv or linear layer by its best rows and order.

        Raises InputError if its rows do not fit the input buffer, or need too many steps
        (``few_steps``).
        """
        first_filters = _first_filters(work, self)
        fitting = _fitting_rows(work, self, len(first_filters))
        products = _tile_products(work, self, first_filters)
        orders = (True, False) if len(products.first_filters) > 1 else (True,)
        schedules = (
            _schedule(work, self, products, rows, weights_first) for rows in fitting for weights_first in orders
        )
        return best(schedules, self)

    def check(self, work: LayerWork) -> None:
        """Refuse a layer that needs too many steps however many rows a tile has (``few_steps``)."""
        _fitting_rows(work, self, len(_first_filters(work, self)))


@dataclass(frozen=True)
class _TileProducts:
    """One output position of each tile of filters, on average over the drawn inputs: (tiles,)."""

    first_filters: Ints
    cycles: Floats  # rounded up
    stored: Floats  # weights read, padding zeros among them
    products: Floats


def queue_cycles(stored: Ints, inputs: Ints, places: int) -> Ints:
    """Cycles until all lanes are done with each draw: (draws,) int64.

    stored: (draws, inputs, lanes) weights of each broadcast input.  inputs: (draws,) how many of
    these there are, the rest stands for nothing.  places: of a queue.
    """
    draws, broadcasts, lanes = stored.shape
    work = np.maximum(stored.transpose(1, 0, 2), 1)
    done = np.zeros((draws, lanes), np.int64)
    sent = np.full(draws, -1)
    # when each input has left all queues; the last: never
    freed = np.zeros((broadcasts + 1, draws), np.int64)
    for j in range(broadcasts):
        sent = np.maximum(sent + 1, freed[j - places]) if j >= places else sent + 1
        np.maximum(done, sent[:, None], out=done)
        done += work[j]
        done.max(axis=1, out=freed[j])
    return np.asarray(np.where(inputs > 0, freed[inputs - 1, np.arange(draws)], 0))


def product_cycles(stored: Ints, active: Flags, filters: int, machine: MatrixVectorMachine) -> Ints:
    """Cycles of one matrix-vector product, batch after batch: (draws,) int64.

    stored: (columns, lanes) weights of each column and lane.  active: (draws, columns) the non-zero
    inputs.
    """
    cycles: Ints = _cycles_of_tiles(stored[None], active[None], np.array([filters]), machine)[0]
    return cycles


def _cycles_of_tiles(
    stored: Ints,
    active: Flags,
    filters: Ints,
    machine: MatrixVectorMachine,
) -> Ints:
    """``product_cycles`` of several matrices: (tiles, draws) int64.

    stored: (tiles, columns, lanes).  active: (tiles, draws, columns).  filters: (tiles,).
    """
    tiles, columns, lanes = stored.shape
    draws = active.shape[1]
    batch = columns if machine.vector_registers is None else min(columns, lanes * machine.vector_registers)
    sizes = tile_sizes(columns, batch)
    padded = np.zeros((tiles, draws, len(sizes), batch), bool)
    padded.reshape(tiles, draws, -1)[:, :, :columns] = active
    inputs = padded.sum(axis=3)
    order = np.argsort(~padded, axis=3, kind="stable")[..., : int(inputs.max())]
    column = np.minimum(order + (np.arange(len(sizes)) * batch)[:, None], columns - 1)
    of_inputs = stored[np.arange(tiles)[:, None, None, None], column]
    of_inputs = of_inputs.reshape(inputs.size, order.shape[3], lanes)
    cycles = queue_cycles(of_inputs, inputs.ravel(), machine.window).reshape(inputs.shape).sum(axis=2)
    if len(sizes) > 1:  # each batch is brought to the lanes, and its sums are taken away
        cycles += (-(-sizes // lanes)).sum() - len(sizes) * (-filters // lanes)[:, None]
    return np.asarray(cycles)


def stored_weights(mask: Flags, lanes: int, fmt: str) -> tuple[Ints, Ints]:
    """Non-zero weights, and those stored with padding zeros, of each column and lane.

    (columns, lanes) both.

    mask: (filters, columns) of non-zero weights.
    """
    filters, columns = mask.shape
    rows = -(-filters // lanes)
    if filters < rows * lanes:
        mask = np.concatenate([mask, np.zeros((rows * lanes - filters, columns), bool)])
    by_row = mask.reshape(rows, lanes, columns)
    number = np.int16 if rows < 1 << 15 else np.int64  # no count is beyond the rows
    nonzeros = np.zeros((lanes, columns), number)
    for row in by_row:
        nonzeros += row
    stored = nonzeros
    if fmt in RUN_BITS and rows > 1 << RUN_BITS[fmt]:
        stored = nonzeros.copy()
        last = np.where(by_row[0], number(0), number(-1))
        for i, row in enumerate(by_row[1:], start=1):
            zeros = (i - 1) - last  # in front of each non-zero
            stored += (zeros >> RUN_BITS[fmt]) * row
            np.copyto(last, i, where=row)
    return np.ascontiguousarray(nonzeros.T), np.ascontiguousarray(stored.T)


def _first_filters(work: LayerWork, machine: MatrixVectorMachine) -> Ints:
    """First filter of each tile of filters, each of them half a weight buffer at most."""
    per_group = work.out_channels // work.groups
    largest_bytes = float(filter_bits(work, machine).max()) / 8
    room = machine.buffers.half_bytes("weight")
    fitting = (k for k in balanced_cuts(per_group, machine.lanes) if k * largest_bytes <= room)
    filters = max(fitting, default=min(machine.lanes, per_group))
    conv_groups = np.arange(0, work.out_channels, per_group)
    return np.add.outer(conv_groups, np.arange(0, per_group, filters)).ravel()


def _fitting_rows(work: LayerWork, machine: MatrixVectorMachine, filter_tiles: int) -> list[int]:
    """Sizes of tiles of output rows whose inputs are half the input buffer at most, and whose steps are few."""
    bits = activation_bits(machine, work.input_density)
    row_bytes = work.width * (work.in_channels // work.groups) * bits / 8
    room = machine.buffers.half_bytes("input")
    cuts = balanced_cuts(work.out_height, 1)
    fitting = [rows for rows in cuts if input_extents(work, 0, rows).max() * row_bytes <= room]
    if not fitting:
        raise InputError(
            f"{machine.name}: buffers.input_kb is {machine.buffers.input_kb:g}, too small for one output row of layer "
            f"{work.name}, expected a larger one"
        )
    steps = [filter_tiles * work.batch * -(-work.out_height // rows) for rows in fitting]
    return few_steps(fitting, steps, work.name, machine)


def _tile_products(work: LayerWork, machine: MatrixVectorMachine, starts: Ints) -> _TileProducts:
    """Draw inputs, and count one output position of each tile of filters."""
    flags = work.flags()
    per_group = work.out_channels // work.groups
    window = work.kernel[0] * work.kernel[1]
    densities = work.group_density()
    draws = min(DRAWS, work.batch * work.out_height * work.out_width)
    ends = np.append(starts[1:], work.out_channels)
    chances = np.random.default_rng(0).random((draws, densities.shape[1] * window))
    at_once = max(1, AT_ONCE // max(1, chances.size * machine.lanes))
    found = []
    for first in range(0, len(starts), at_once):
        some = slice(first, first + at_once)
        active = chances < np.repeat(densities[starts[some] // per_group], window, axis=1)[:, None]
        masks = [flags[start:end].reshape(end - start, -1) for start, end in zip(starts[some], ends[some], strict=True)]
        counts = [stored_weights(mask, machine.lanes, machine.weight_format) for mask in masks]
        stored = np.stack([of_tile for _, of_tile in counts])
        cycles = _cycles_of_tiles(stored, active, (ends - starts)[some], machine)
        for drawn, inputs, (nonzeros, weights) in zip(cycles, active, counts, strict=True):
            mean = ceil(drawn.mean())
            reads = float((inputs @ weights.sum(axis=1)).mean())
            products = float((inputs @ nonzeros.sum(axis=1)).mean())
            found.append((mean, min(reads, mean * machine.lanes), products))
    return _TileProducts(starts, *np.array(found, np.float64).T)


def _schedule(
    work: LayerWork,
    machine: MatrixVectorMachine,
    tiles: _TileProducts,
    rows: int,
    weights_first: bool,
) -> Schedule:
    """Steps: tiles of filters, then images and rows; or these the other way round."""
    K = work.out_channels
    channels = work.in_channels // work.groups
    starts = tiles.first_filters
    tile_filters = np.diff(np.append(starts, K))
    conv_group = starts // (K // work.groups)
    out_rows = tile_sizes(work.out_height, rows)
    in_rows = input_extents(work, 0, rows)

    # One row a step: k counts tiles of filters, t images and tiles of rows.
    sizes = len(starts), work.batch * len(out_rows)
    first, second = (index.ravel() for index in np.indices(sizes if weights_first else sizes[::-1]))
    k, t = (first, second) if weights_first else (second, first)
    high = out_rows[t % len(out_rows)]
    positions = high * work.out_width

    weight_bytes = weight_tile_bytes(work, machine, starts, np.array([channels]))[:, 0]
    stay = not weights_first and int(weight_bytes.sum()) <= machine.buffers.capacity_bytes("weight")
    new_weights = (t == 0).astype(np.int64) if stay else changes(k)
    new_inputs = changes(t * work.groups + conv_group[k])
    in_high = in_rows[t % len(out_rows)]
    every = np.ones_like(k)
    image, band = np.divmod(t, len(out_rows))
    first_row = first_inputs(Axis.of(work, 0), rows)[band]
    in_corner = Corner(image=image, channel=conv_group[k] * channels, row=first_row, col=0)
    out_corner = Corner(image=image, channel=starts[k], row=band * rows, col=0)
    in_extent = Extent(images=1, rows=in_high, cols=work.width, channels=channels)
    out_extent = Extent(images=1, rows=high, cols=work.out_width, channels=tile_filters[k])
    inputs = input_map(work, machine).transfer(in_extent, in_corner, whole_width=True, when=new_inputs)
    outputs = output_map(work, machine).transfer(out_extent, out_corner, whole_width=True, when=every)
    weights = Transfer.contiguous(weight_bytes[k] * new_weights, behind(weight_bytes)[k])
    compute = np.maximum(1, round_up(tiles.cycles[k] * positions))
    macs = int((tiles.products[k] * positions).sum())
    read = int((tiles.stored[k] * positions).sum())
    schedule = untransformed(
        mode="matrix-vector",
        inputs=inputs,
        weights=weights,
        compute_cycles=compute,
        outputs=outputs,
        dram=machine.dram,
        effectual_macs=macs,
        useful_slots=float(macs),
        waiting_slots=float(machine.lanes * int(compute.sum()) - read),
        actions=_actions(work, machine, macs, read, float(positions.sum()), (inputs, weights)),
    )
    tile = f"n=1 p={rows} q={work.out_width} k={int(tile_filters.max())} c={channels}"
    loops = "k np" if weights_first else "np k"
    return replace(schedule, tiling=tile, loop_order=f"{loops}; weights stay" if stay else loops)


def _actions(
    work: LayerWork,
    machine: MatrixVectorMachine,
    macs: int,
    read: int,
    positions: float,
    loads: tuple[Transfer, Transfer],
) -> dict[str, float]:
    """What the layer does on the chip.

    read: stored weights that are read.  positions: output positions, over all tiles of filters.
    loads: of inputs and weights.
    """
    inputs, weights = loads
    a = machine.arithmetic
    window = work.kernel[0] * work.kernel[1]
    channels = work.in_channels // work.groups
    return multiplies(macs, spatial_products(work, machine)) | {
        "register_bit": macs * 2 * a.accumulator_bits,
        "index": macs,
        "weight_read": read * (a.weight_bits + RUN_BITS.get(machine.weight_format, 0)),
        "weight_write": 8 * int(weights.n_bytes.sum()),
        "input_read": positions * window * channels * a.activation_bits,
        "input_write": 8 * int(inputs.n_bytes.sum()),
        "output_write": work.outputs * a.activation_bits,
        "output_read": work.outputs * a.activation_bits,
    }
