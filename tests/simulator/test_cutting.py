"""Layers that fit no tile are cut further: the same sums, the bytes of a plain recount, both engines alike."""

import re
from itertools import product

import numpy as np
import pytest

import accelsim
from accelsim.errors import InputError
from accelsim.simulator.run import run
from accelsim.simulator.tiles.cutting import in_pieces
from accelsim.workload import LayerWork

DENSE = ("weight_format=dense", "zero_handling=none", "activation_format=dense", "pe_array.rows=4", "pe_array.cols=4")
SMALL = (*DENSE, "buffers={weight_kb: 0.75, input_kb: 1, output_kb: 0.5}")


def layer(kernel=(6, 10), size=(13, 19), channels=(3, 8), stride=(1, 1), groups=1, **more):
    """A dense layer without padding."""
    (C, K), (R, S) = channels, kernel
    weights = np.random.default_rng(1).normal(size=(K, C // groups, R, S)).astype(np.float32)
    P, Q = ((n - taps) // step + 1 for n, taps, step in zip(size, kernel, stride, strict=True))
    return LayerWork(
        name="large",
        kind="conv",
        batch=1,
        in_channels=C,
        height=size[0],
        width=size[1],
        out_channels=K,
        out_height=P,
        out_width=Q,
        kernel=kernel,
        stride=stride,
        groups=groups,
        weights=weights,
        **more,
    )


def convolve(x, weights, stride, outputs, groups=1):
    """A convolution as it is defined, tap by tap.  x: (C, H, W), weights: (K, C / groups, R, S) -> (K, P, Q)."""
    (K, C, R, S), (P, Q) = weights.shape, outputs
    y = np.zeros((K, P, Q))
    for k, c, r, s in product(range(K), range(C), range(R), range(S)):
        channel = k // (K // groups) * C + c
        rows, cols = (
            slice(at, at + step * (n - 1) + 1, step) for at, step, n in zip((r, s), stride, (P, Q), strict=True)
        )
        y[k] += weights[k, c, r, s] * x[channel, rows, cols]
    return y


def shifted(x, work, cut, groups):
    """The windows of the map that the pieces read, as channels: group by group, piece by piece, top left first."""
    per_group = len(x) // groups
    windows = []
    for g, i, j in product(
        range(groups), range(0, work.kernel[0], cut.kernel[0]), range(0, work.kernel[1], cut.kernel[1])
    ):
        windows += list(x[g * per_group : (g + 1) * per_group, i : i + cut.height, j : j + cut.width])
    return np.array(windows)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("size", [(6, 10), (3, 5), (1, 10), (2, 1), (1, 1)])
def test_pieces_sum_up_to_the_layer(size, stride, groups):
    work = layer(channels=(4, 6), stride=stride, groups=groups, size=(14, 19))
    cut = in_pieces(work, *size)
    x = np.random.default_rng(2).normal(size=(4, work.height, work.width))
    outputs = work.out_height, work.out_width
    whole = convolve(x, work.weights, stride, outputs, groups)
    parts = convolve(shifted(x, work, cut, groups), cut.weights, stride, outputs, groups)
    np.testing.assert_allclose(parts, whole, atol=1e-12)
    assert cut.dense_macs == work.dense_macs


def recount(work, cut, schedule):
    """DRAM bytes of weights, inputs and outputs, and partial sums, of the loops that a schedule names."""
    tile = {key: int(value) for key, value in re.findall(r"([a-z])=(\d+)", schedule.tiling)}
    loops, _, stay = schedule.loop_order.partition("; ")
    (R, S), (rows, cols) = cut.kernel, work.stride
    P, Q, K, C = work.out_height, work.out_width, work.out_channels, cut.in_channels
    positions = list(product(range(0, P, tile["p"]), range(0, Q, tile["q"])))
    filters = list(range(0, K, tile["k"]))
    channel_tile = -(-tile["c"] // 16) * 16
    outer = product(filters, positions) if loops.startswith("k") else ((k, at) for at in positions for k in filters)
    weights = inputs = outputs = sums = 0
    held_weights = held_inputs = None
    seen_weights, seen_inputs = set(), set()
    for k, (p, q) in outer:
        for c in range(0, C, channel_tile):
            n_c, n_k = min(channel_tile, C - c), min(tile["k"], K - k)
            high, wide = min(tile["p"], P - p), min(tile["q"], Q - q)
            if held_weights != (k, c) and not ("weights" in stay and (k, c) in seen_weights):
                weights += n_k * n_c * R * S
            if held_inputs != (p, q, c) and not ("inputs" in stay and (p, q, c) in seen_inputs):
                inputs += n_c * ((high - 1) * rows + R) * ((wide - 1) * cols + S)
            held_weights, held_inputs = (k, c), (p, q, c)
            seen_weights.add(held_weights)
            seen_inputs.add(held_inputs)
            last = c + channel_tile >= C
            sums += 0 if last else high * wide * n_k
            outputs += high * wide * n_k if last else 0
    return weights, inputs, outputs, sums


@pytest.mark.parametrize("objective", ["cycles", "dram", "energy"])
@pytest.mark.parametrize(
    ("kernel", "size", "channels", "stride"),
    [
        ((6, 10), (13, 19), (3, 8), (1, 1)),
        ((11, 11), (31, 31), (5, 12), (2, 2)),
        ((1, 120), (40, 120), (1, 24), (1, 1)),
    ],
)
def test_bytes_and_sums_are_those_of_a_plain_recount(kernel, size, channels, stride, objective):
    work = layer(kernel, size, channels, stride)
    machine = accelsim.load_hardware("spatial-16x16", [*SMALL, f"objective={objective}"])
    schedule = machine.schedule(work)
    assert schedule.mode == "gemm-os-cut"
    cut = next(cut for cut in (in_pieces(work, r, s) for r, s in divisors(kernel)) if alone(cut, machine))
    weights, inputs, outputs, sums = recount(work, cut, schedule)
    assert int(schedule.weights.n_bytes.sum()) == weights
    assert int(schedule.inputs.n_bytes.sum()) == inputs
    assert int(schedule.outputs.n_bytes.sum()) == outputs == work.outputs
    assert schedule.counts["output_write"] == outputs * 8 + sums * machine.arithmetic.accumulator_bits
    assert schedule.effectual_macs == work.dense_macs


def divisors(kernel):
    """Equal pieces of a kernel, the largest first, of equal ones the widest."""
    sizes = [(r, s) for r in range(1, kernel[0] + 1) for s in range(1, kernel[1] + 1)]
    whole = [(r, s) for r, s in sizes if kernel[0] % r == 0 and kernel[1] % s == 0]
    return sorted(whole, key=lambda size: (-size[0] * size[1], -size[1]))


def alone(cut, machine):
    """Whether the machine runs a layer in one of its own modes, uncut."""
    try:
        return machine.schedule(cut).mode == "gemm-os"
    except InputError:
        return False


@pytest.mark.parametrize("level", ["layers", "resident"])
@pytest.mark.parametrize("machine", ["spatial-tuned-16x16", "winograd-tuned-16x16"])
def test_both_engines_run_a_layer_of_many_taps(machine, level):
    machine = accelsim.load_hardware(machine)
    work = layer((1, 3136), (64, 3136), (1, 64))
    fast, event = (run([work], machine, engine=engine, level=level) for engine in ("fast", "event"))
    assert fast.total["cycles"] == event.total["cycles"]
    assert fast.layers["mode"][0] == "gemm-os-cut"
    assert fast.total["effectual_macs"] == work.dense_macs


def test_a_window_that_is_too_wide_is_used_in_part():
    """F(2x2, 5x5) of 64 channels: 32 filters x 32 channels x 36 taps, twice, are 72 KB; of 16 channels 36 KB."""
    machine = accelsim.load_hardware("winograd-tuned-16x16")
    assert 2 * 32 * 32 * 36 > 1024 * machine.buffers.weight_kb > 2 * 32 * 16 * 36
    work = layer((5, 5), (34, 64), (64, 32), winograd_threshold=0.0)
    fast, event = (run([work], machine, engine=engine) for engine in ("fast", "event"))
    assert fast.layers["mode"][0] == "winograd-f2"
    assert fast.total["cycles"] == event.total["cycles"]
    wide = accelsim.load_hardware("winograd-tuned-16x16", ["buffers.weight_kb=96"])
    assert run([work], wide, engine="fast").total["effectual_macs"] == fast.total["effectual_macs"]


def test_a_layer_that_fits_is_not_cut():
    machine = accelsim.load_hardware("spatial-16x16", [*DENSE, "buffers={weight_kb: 8, input_kb: 4, output_kb: 2}"])
    assert machine.schedule(layer()).mode == "gemm-os"


def test_buffers_that_hold_no_piece_are_told_of_as_before():
    machine = accelsim.load_hardware("spatial-16x16", [*DENSE, "buffers.weight_kb=0.0625"])
    with pytest.raises(InputError, match=r"buffers\.weight_kb is 0\.0625, too small for one tile of layer large"):
        machine.schedule(layer())
