"""One layer's schedule, counted again step by step in plain Python, from the weights themselves."""

from itertools import product
from math import ceil

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.workload import LayerWork

from .random_layers import AnyMachine, layers, spatial, winograd

Step = tuple[int, int, int, int]  # weight bytes, input bytes, cycles, output bytes


def pieces(size: int, tile: int) -> list[range]:
    return [range(start, min(start + tile, size)) for start in range(0, size, tile)]


def lane_weights(work: LayerWork, machine: AnyMachine) -> list[np.ndarray]:
    """The kept weights as booleans, a (K, C / groups) array for each thing a lane can do in one cycle."""
    assert work.weights is not None
    if machine.kind == "winograd" and work.winograd_threshold is not None:
        taps = work.nonzeros(machine.tile)
        return [taps[t] > 0 for t in range(len(taps))]
    return [work.weights[:, :, r, s] != 0 for r in range(work.kernel[0]) for s in range(work.kernel[1])]


def step(
    work: LayerWork, machine: AnyMachine, kept: list[np.ndarray], m: int, images: range, rows: range, cols: range,
    filters: range, channels: range,
) -> Step:  # fmt: skip
    K, P, Q = work.out_channels, work.out_height, work.out_width
    per_group = K // work.groups
    in_winograd = m > 1
    array = machine.pe_array
    position_lanes = array.rows * (array.taps if machine.kind == "winograd" and not in_winograd else 1)

    # Weights: a bit a position, and 8 bits for each one kept.
    bits = sum(1 + 8 * bool(mask[k, c]) for mask in kept for k in filters for c in channels)

    # Inputs: the pixels under the tile's outputs, padding left out; at the image's end all that is left.
    def pixels(outputs: range, axis: int, size: int, last: int) -> set[int]:
        used = {
            o * work.stride[axis] - work.padding[axis] + tap * work.dilation[axis]
            for o in outputs
            for tap in range(work.kernel[axis])
        }
        low, high = max(0, min(used)), max(used) + 1
        return set(range(low, size if outputs[-1] == last else min(high, size)))

    high, wide = pixels(rows, 0, work.height, P - 1), pixels(cols, 1, work.width, Q - 1)
    groups = {k // per_group for k in filters}
    input_bytes = len(images) * len(high) * len(wide) * len(channels) * len(groups)

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


@settings(max_examples=80, deadline=None)
@given(layers(), st.booleans(), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 16]), st.data())
def test_the_schedule_is_the_one_counted_by_hand(
    work: LayerWork, in_winograd: bool, rows: int, cols: int, taps: int, data: st.DataObject
) -> None:
    machine: AnyMachine
    if in_winograd:
        machine = winograd(pe_array__rows=rows, pe_array__cols=cols, pe_array__taps=taps)
    else:
        machine = spatial(pe_array__rows=rows, pe_array__cols=cols)
    mode = machine.modes(work)[0]
    per_group = work.out_channels // work.groups
    whole_groups = st.integers(1, work.groups).map(lambda groups: groups * per_group)
    part = st.integers(1, per_group).filter(lambda k: k % cols == 0 or k == per_group)
    rows_of_tile = st.integers(1, work.out_height).map(lambda p: min(work.out_height, -(-p // mode.m) * mode.m))
    cols_of_tile = st.integers(1, work.out_width).map(lambda q: min(work.out_width, -(-q // mode.m) * mode.m))
    tiling = Tiling(
        images=data.draw(st.integers(1, work.batch)),
        rows=data.draw(rows_of_tile),
        cols=data.draw(cols_of_tile),
        filters=data.draw(st.one_of(whole_groups, part) if per_group >= cols else whole_groups),
        channels=min(16 * data.draw(st.integers(1, 3)), work.in_channels // work.groups),
        weights_first=data.draw(st.booleans()),
        weights_stay=data.draw(st.booleans()),
        inputs_stay=data.draw(st.booleans()),
    )
    plan = tiled_schedule(mode, tiling, machine)
    steps, macs = recount(work, machine, tiling)
    ours = zip(
        plan.weights.n_bytes.tolist(), plan.inputs.n_bytes.tolist(), plan.compute_cycles.tolist(),
        plan.outputs.n_bytes.tolist(), strict=True,
    )  # fmt: skip
    assert list(ours) == steps
    assert plan.effectual_macs == macs
