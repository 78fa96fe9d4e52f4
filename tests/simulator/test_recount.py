"""One layer's schedule, counted again step by step in plain Python, from the weights themselves."""

from itertools import pairwise, product
from math import ceil

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from accelsim.hardware.dram import Transfer
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.tiling import Tiling, filter_starts
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import AnyMachine, layer, layers, spatial, winograd

Step = tuple[int, int, int, int]  # weight bytes, input bytes, cycles, output bytes
Map = tuple[int, int, int]  # height, width, channels
ADDITIONS = {3: (32, 24), 5: (144, 64)}  # of F(2, 3): Lavin & Gray, section 4.1.1; of F(2, 5): synthesized transforms


def pieces(size: int, tile: int) -> list[range]:
    return [range(start, min(start + tile, size)) for start in range(0, size, tile)]


def lane_weights(work: LayerWork, machine: AnyMachine) -> list[np.ndarray]:
    """The kept weights as booleans, a (K, C / groups) array for each thing a lane can do in one cycle."""
    assert work.weights is not None
    if machine.kind == "winograd" and work.winograd_threshold is not None:
        taps = work.nonzeros(machine.tile)
        return [taps[t] > 0 for t in range(len(taps))]
    return [work.weights[:, :, r, s] != 0 for r in range(work.kernel[0]) for s in range(work.kernel[1])]


def pixels(work: LayerWork, outputs: range, axis: int) -> int:
    """Input rows (axis 0) or columns (axis 1) under some outputs, padding left out; at the image's end all are left."""
    size, last = ((work.height, work.out_height), (work.width, work.out_width))[axis]
    used = {
        o * work.stride[axis] - work.padding[axis] + tap * work.dilation[axis]
        for o in outputs
        for tap in range(work.kernel[axis])
    }
    low, high = max(0, min(used)), max(used) + 1
    return len(range(low, size if outputs[-1] == last - 1 else min(high, size)))


def step(
    work: LayerWork, machine: AnyMachine, kept: list[np.ndarray], m: int, images: range, rows: range, cols: range,
    filters: range, channels: range,
) -> Step:  # fmt: skip
    per_group = work.out_channels // work.groups
    in_winograd = m > 1
    array = machine.pe_array
    position_lanes = array.rows * (array.taps if machine.kind == "winograd" and not in_winograd else 1)

    # Weights: a bit a position, and 8 bits for each one kept.
    bits = sum(1 + 8 * bool(mask[k, c]) for mask in kept for k in filters for c in channels)

    groups = {k // per_group for k in filters}
    input_bytes = len(images) * pixels(work, rows, 0) * pixels(work, cols, 1) * len(channels) * len(groups)

    # Cycles: every filter group waits for its fullest lane, at every tap group, and takes one cycle at least; a step
    # takes 6 cycles to start and drain.
    tiles = len(images) * ceil(len(rows) / m) * ceil(len(cols) / m)
    cycles = 0
    for group in sorted(groups):
        own = [k for k in filters if k // per_group == group]
        for start in range(0, len(own), array.cols):
            side_by_side = own[start : start + array.cols]
            if in_winograd:
                for tap in range(0, len(kept), array.taps):
                    lanes = [(mask, k) for mask in kept[tap : tap + array.taps] for k in side_by_side]
                    cycles += max(1, *(sum(bool(mask[k, c]) for c in channels) for mask, k in lanes))
            else:
                cycles += max(1, *(sum(bool(mask[k, c]) for mask in kept for c in channels) for k in side_by_side))
    cycles = cycles * ceil(tiles / position_lanes) + 6
    return ceil(bits / 8), input_bytes, cycles, len(images) * len(rows) * len(cols) * len(filters)


def recount(work: LayerWork, machine: AnyMachine, tiling: Tiling) -> tuple[list[Step], int]:
    """Steps in order, an operand loaded where its tile is not yet here; and the multiplies of all."""
    m = machine.tile if machine.kind == "winograd" and work.winograd_threshold is not None else 1
    kept = lane_weights(work, machine)
    per_group, C_g = work.out_channels // work.groups, work.in_channels // work.groups
    if tiling.filters >= per_group:
        filter_tiles = pieces(work.out_channels, tiling.filters)
    else:
        parts = pieces(per_group, tiling.filters)
        filter_tiles = [
            range(g * per_group + part[0], g * per_group + part[-1] + 1) for g in range(work.groups) for part in parts
        ]
    positions = list(
        product(
            pieces(work.batch, tiling.images),
            pieces(work.out_height, tiling.rows),
            pieces(work.out_width, tiling.cols),
        )
    )
    channel_tiles = pieces(C_g, 16 * ceil(tiling.channels / 16))
    order = (
        [(f, p) for f in filter_tiles for p in positions]
        if tiling.weights_first
        else [(f, p) for p in positions for f in filter_tiles]
    )
    steps, macs = [], 0
    weights_here: list[object] = []
    inputs_here: list[object] = []
    for f, p in order:
        for c in channel_tiles:
            weights, inputs, cycles, outputs = step(work, machine, kept, m, *p, f, c)
            first_group, last_group = f[0] // per_group, f[-1] // per_group
            weight_tile, input_tile = (f, c), (p, first_group, last_group, c)
            new_weights, new_inputs = weight_tile not in weights_here, input_tile not in inputs_here
            weights_here = [weight_tile, *(weights_here if tiling.weights_stay else [])]
            inputs_here = [input_tile, *(inputs_here if tiling.inputs_stay else [])]
            ends = c == channel_tiles[-1]
            steps.append((weights * new_weights, inputs * new_inputs, cycles, outputs * ends))
            tiles = len(p[0]) * ceil(len(p[1]) / m) * ceil(len(p[2]) / m)
            macs += tiles * sum(bool(mask[k, ch]) for mask in kept for k in f for ch in c)
    return steps, macs


def machine_of(in_winograd: bool, rows: int, cols: int, taps: int) -> AnyMachine:
    """Of either kind; DRAM rows are so short that tiles take several."""
    array = {"pe_array__rows": rows, "pe_array__cols": cols, "dram__row_bytes": 64}
    return winograd(**array, pe_array__taps=taps) if in_winograd else spatial(**array)


@st.composite
def tilings(draw: st.DrawFn, work: LayerWork, m: int, cols: int) -> Tiling:
    """Any tile of whole m x m tiles and whole groups of filters side by side; operands that stay or do not."""
    per_group = work.out_channels // work.groups
    whole_groups = st.integers(1, work.groups).map(lambda groups: groups * per_group)
    part = st.integers(1, per_group).filter(lambda k: k % cols == 0 or k == per_group)
    rows_of_tile = st.integers(1, work.out_height).map(lambda p: min(work.out_height, -(-p // m) * m))
    cols_of_tile = st.integers(1, work.out_width).map(lambda q: min(work.out_width, -(-q // m) * m))
    return Tiling(
        images=draw(st.integers(1, work.batch)),
        rows=draw(rows_of_tile),
        cols=draw(cols_of_tile),
        filters=draw(st.one_of(whole_groups, part) if per_group >= cols else whole_groups),
        channels=min(16 * draw(st.integers(1, 3)), work.in_channels // work.groups),
        weights_first=draw(st.booleans()),
        weights_stay=draw(st.booleans()),
        inputs_stay=draw(st.booleans()),
    )


ANY_MACHINE = st.builds(machine_of, st.booleans(), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 16]))


@law(80)
@given(layers(), ANY_MACHINE, st.data())
def test_the_schedule_is_the_one_counted_by_hand(work: LayerWork, machine: AnyMachine, data: st.DataObject) -> None:
    mode = machine.modes(work)[0]
    tiling = data.draw(tilings(work, mode.m, machine.pe_array.cols))
    plan = tiled_schedule(mode, tiling, machine)
    steps, macs = recount(work, machine, tiling)
    ours = zip(
        plan.weights.n_bytes.tolist(), plan.inputs.n_bytes.tolist(), plan.compute_cycles.tolist(),
        plan.outputs.n_bytes.tolist(), strict=True,
    )  # fmt: skip
    assert list(ours) == steps
    assert plan.effectual_macs == macs


def request(map_: Map, images: range, channels: range, rows: range, cols: range | None) -> list[int]:
    """First bytes of a tile's pieces: planes of 16 channels, image by image, each plane row by row, a byte a value.

    cols: none of tiles as wide as the map, which are a piece a plane.
    """
    height, width, all_channels = map_
    pixel = min(16, all_channels)
    found = []
    for image in images:
        for block in range(ceil(len(channels) / 16)):
            plane = image * ceil(all_channels / 16) + channels.start // 16 + block
            for row in rows[:1] if cols is None else rows:
                found.append(((plane * height + row) * width + (cols.start if cols else 0)) * pixel)
    return found


def one_plane_after_the_other(images: range, channels: range, all_channels: int) -> bool:
    """Whether a tile's planes are as far apart everywhere as two of one image, and begin with a whole one."""
    return len(images) == 1 or len(channels) == all_channels


def addresses(transfer: Transfer, i: int) -> list[int]:
    """First bytes of the pieces of one request."""
    planes, lines = range(int(transfer.planes[i])), range(int(transfer.lines[i]))
    first, plane, line = (int(getattr(transfer, key)[i]) for key in ("address", "plane_bytes", "line_bytes"))
    return [first + p * plane + q * line for p in planes for q in lines]


def read(work: LayerWork, outputs: range, axis: int) -> range:
    """Rows or columns of the input under some rows or columns of outputs, padding left out."""
    first = max(0, outputs.start * work.stride[axis] - work.padding[axis])
    return range(first, first + pixels(work, outputs, axis))


@law(80)
@given(layers(), ANY_MACHINE, st.data())
def test_requests_and_accesses_are_those_counted_by_hand(
    work: LayerWork, machine: AnyMachine, data: st.DataObject
) -> None:
    """Where each request's pieces lie in DRAM, and how often the layer reads and writes its buffers."""
    mode = machine.modes(work)[0]
    tiling = data.draw(tilings(work, mode.m, machine.pe_array.cols))
    plan = tiled_schedule(mode, tiling, machine)
    K, C_g = work.out_channels, work.in_channels // work.groups
    m, cols = mode.m, machine.pe_array.cols
    kept = lane_weights(work, machine)
    per_group = K // work.groups
    in_winograd = m > 1
    position_lanes = machine.pe_array.rows
    if machine.kind == "winograd" and not in_winograd:
        position_lanes *= machine.pe_array.taps
    whole_width = tiling.cols == work.out_width
    in_map, out_map = (work.height, work.width, work.in_channels), (work.out_height, work.out_width, K)
    positions = list(
        product(
            pieces(work.batch, tiling.images),
            pieces(work.out_height, tiling.rows),
            pieces(work.out_width, tiling.cols),
        )
    )
    filters = [
        range(a, b) for a, b in pairwise([*filter_starts(work.out_channels, work.groups, tiling.filters).tolist(), K])
    ]
    channels = pieces(C_g, 16 * ceil(tiling.channels / 16))
    steps = [(f, p, c) for f in filters for p in positions for c in channels]
    if not tiling.weights_first:
        steps = [(f, p, c) for p in positions for f in filters for c in channels]

    weight_read = transformed_read = tile_channels = 0
    stored_at: dict[object, int] = {}  # first byte of each tile of weights
    stored: dict[int, int] = {}  # bytes from there
    for i, (f, p, c) in enumerate(steps):
        conv_groups = len({k // per_group for k in f})
        if plan.weights.n_bytes[i]:
            assert plan.weights.pieces[i] == 1
            stored_at.setdefault((f, c), int(plan.weights.address[i]))
            assert plan.weights.address[i] == stored_at[f, c]
            stored[stored_at[f, c]] = int(plan.weights.n_bytes[i])
        tiles = len(p[0]) * ceil(len(p[1]) / m) * ceil(len(p[2]) / m)
        if plan.inputs.n_bytes[i]:
            first = f[0] // per_group * C_g + c[0]
            read_channels = range(first, first + len(c) * conv_groups)
            cols_read = None if whole_width else read(work, p[2], 1)
            expected = request(in_map, p[0], read_channels, read(work, p[1], 0), cols_read)
            assert plan.inputs.pieces[i] == len(expected)
            if one_plane_after_the_other(p[0], read_channels, work.in_channels):
                assert addresses(plan.inputs, i) == expected
            tile_channels += tiles * len(c) * conv_groups
        if plan.outputs.n_bytes[i]:
            expected = request(out_map, p[0], range(f[0], f[-1] + 1), p[1], None if whole_width else p[2])
            assert plan.outputs.pieces[i] == len(expected)
            if one_plane_after_the_other(p[0], range(f[0], f[-1] + 1), K):
                assert addresses(plan.outputs, i) == expected
        weight_read += ceil(tiles / position_lanes) * sum(
            1 + 8 * bool(mask[k, x]) for mask in kept for k in f for x in c
        )
        for g in range(work.groups):
            own = [k for k in f if k // per_group == g]
            transformed_read += tiles * len(c) * len(kept) * ceil(len(own) / cols)

    if len(stored_at) == len(filters) * len(channels):  # one behind the other, filters outside
        assert [stored_at[f, c] for f in filters for c in channels] == sorted(stored)
        assert all(a + stored[a] == b for a, b in pairwise(sorted(stored)))
    macs, outputs = plan.effectual_macs, work.outputs
    assert plan.actions["mac"] == macs
    assert plan.actions["weight_read"] == weight_read
    assert plan.actions["index"] == macs
    assert plan.actions["register_bit"] == macs * (8 + (10 if in_winograd else 8))
    if in_winograd:
        tiles = work.batch * ceil(work.out_height / m) * ceil(work.out_width / m)
        assert plan.actions["input_read"] == tile_channels * len(kept) * 8
        assert plan.actions["transformed_write"] == tile_channels * len(kept) * 10
        assert plan.actions["transformed_read"] == transformed_read * 10
        serial = machine.pe_array.taps < len(kept)
        sums = tiles * K * len(kept) * (len(channels) if serial or len(channels) > 1 else 0)
        if work.kernel[0] in ADDITIONS:
            adds_in, adds_out = ADDITIONS[work.kernel[0]]
            assert plan.actions["transform_add"] == tile_channels * adds_in + tiles * K * adds_out
    else:
        sums = outputs * (len(channels) - 1)
    assert plan.actions["output_write"] == plan.actions["output_read"] == outputs * 8 + sums * 24


@law(80)
@given(layers(), st.sampled_from(["weight", "input"]), st.integers(1, 5), st.integers(1, 5), st.data())
def test_accesses_of_arrays_that_hold_weights_or_inputs_are_those_counted_by_hand(
    work: LayerWork, holds: str, rows: int, cols: int, data: st.DataObject
) -> None:
    """A fold is ``rows`` positions of a filter; the sums of all but the last go to the output buffer and come back."""
    assume(holds == "weight" or work.groups == 1)  # see below
    machine = spatial(
        dataflow=f"{holds}_stationary",
        zero_handling="none",
        weight_format="dense",
        pe_array={"rows": rows, "cols": cols},
    )
    mode = machine.modes(work)[0]
    side_by_side = cols if holds == "weight" else 1
    tiling = data.draw(tilings(work, 1, side_by_side))
    plan = tiled_schedule(mode, tiling, machine)
    per_group, C_g = work.out_channels // work.groups, work.in_channels // work.groups
    kernel = work.kernel[0] * work.kernel[1]
    filters = [
        range(a, b)
        for a, b in pairwise(
            [*filter_starts(work.out_channels, work.groups, tiling.filters).tolist(), work.out_channels]
        )
    ]
    weight_read = input_read = sums = 0
    for n, p, q in product(
        pieces(work.batch, tiling.images), pieces(work.out_height, tiling.rows), pieces(work.out_width, tiling.cols)
    ):
        positions = len(n) * len(p) * len(q)
        for f, c in product(filters, pieces(C_g, 16 * ceil(tiling.channels / 16))):
            folds = ceil(kernel * len(c) / rows)
            times = 1 if holds == "weight" else ceil(positions / cols)
            weight_read += times * kernel * len(f) * len(c)
            sums += positions * len(f) * folds
            for g in range(work.groups):
                own = len([k for k in f if k // per_group == g])
                input_read += positions * folds * rows * (ceil(own / cols) if holds == "weight" else 1)
    sums -= work.outputs
    assert plan.actions["weight_read"] == 8 * weight_read
    assert plan.actions["output_write"] == plan.actions["output_read"] == 8 * work.outputs + 24 * sums
    assert plan.actions["input_read"] == 8 * input_read


def test_arrays_that_hold_inputs_read_those_of_every_convolution_group() -> None:
    """Two filters, each on a channel of its own: two inputs for each of 3 x 3 positions."""
    work = layer(2, 2, 3, 1, padding=0, groups=2, density=1.0)
    machine = spatial(dataflow="input_stationary", zero_handling="none", pe_array={"rows": 1, "cols": 4})
    steps = tiled_schedule(machine.modes(work)[0], Tiling(1, 3, 3, 2, 1, False), machine)
    assert steps.inputs.n_bytes.sum() == 2 * 9
    assert steps.actions["input_read"] == 2 * 9 * 8


def test_cells_read_their_weights_once_a_stripe() -> None:
    """64 positions, one at a time, stripes of 16: four reads of 8 x 24 weights; of stripes of 10, seven."""
    work = layer(8, 24, 8, 1, padding=0, density=1.0)
    for stripe, reads in ((16, 4), (10, 7), (1, 64)):
        machine = winograd(
            zero_handling="none",
            weight_format="dense",
            pe_array={"rows": 1, "cols": 8, "taps": 1},
            transform_rate=64,
            inverse_rate=64,
            cells={"channels": 4, "channel_atom": 1, "kernel": None, "stripe": stripe},
        )
        assert tiled_schedule(machine.modes(work)[0], Tiling(1, 8, 8, 8, 24, False), machine).actions[
            "weight_read"
        ] == (reads * 8 * 24 * 8)
