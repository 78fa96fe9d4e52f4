"""From one layer, one machine and one tiling to what the RTL's host writes: settings, steps, DMA program, memory.

The loops over tiles are written out here once more, on their own: only the tile sizes come from the simulator.  Weights
lie in DRAM in the order in which the lanes use them, inputs tile by tile as (row, column, channel), outputs likewise.
Word numbers are those of hdl/machine_pkg.sv.
"""

from dataclasses import dataclass
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from accelsim.simulator.tiles.tiling import Tiling
from accelsim.workload import CHANNEL_BLOCK

STEP_WORDS, DMA_WORDS, SETTINGS, TAP_SHIFT = 22, 3, 64, 16
INPUT, WEIGHT, OUTPUT = 0, 1, 2


@dataclass(frozen=True)
class Layer:
    """One convolution in whole numbers.

    x: (H, W, C) int8.  w: (taps, K, C, R, S) integers below 128: one tap and the kernel in the spatial domain, n^2 taps
    and a 1 x 1 kernel in the Winograd domain.  y: (P, Q, K) int64, what the machine must store before rounding.
    m, n: Winograd tile sizes, 1 and 1 in the spatial domain.  tap_shifts: (taps,).
    """

    x: NDArray[np.int8]
    w: NDArray[np.int32]
    y: NDArray[np.int64]
    kernel: tuple[int, int]
    stride: int
    padding: int
    m: int
    tap_shifts: NDArray[np.int64]
    out_shift: int


@dataclass(frozen=True)
class Array:
    """The lanes: rows, columns, taps side by side; whether zero weights are skipped.

    window: positions of an operand window, 0 without.  stream_rate: tile-channels a cycle that are transformed on their
    way into the windows, 0 where inputs come as they are.
    """

    rows: int
    cols: int
    tap_lanes: int
    skip: bool
    window: int = 0
    winograd: bool = False
    stream_rate: int = 0


@dataclass(frozen=True)
class Program:
    """What the host writes (int32 words), the DRAM's bytes, and the expected outputs in the order they are stored."""

    settings: NDArray[np.int32]
    steps: NDArray[np.int32]
    requests: NDArray[np.int32]
    memory: NDArray[np.uint8]
    raw: NDArray[np.int64]
    output_base: int
    dma_bytes: tuple[int, int, int]


def index_fields(channels: int, kernel: tuple[int, int]) -> tuple[int, int, int]:
    """Bits of the channel, kernel row and kernel column in a weight's index."""
    c, r, s = (ceil(log2(size)) if size > 1 else 0 for size in (channels, *kernel))
    return c, r, s


def build(layer: Layer, array: Array, tiling: Tiling) -> Program:
    """The program of a layer.  tiling: from ``accelsim.simulator.tiles.tiling.choose``, with one image."""
    H, W, C = layer.x.shape
    P, Q, K = layer.y.shape
    taps, (R, S) = len(layer.w), layer.w.shape[3:]
    fields = index_fields(C, (R, S))
    record_bits = 8 + sum(fields) if array.skip else 8
    count_bits = length_bits(min(tiling.channels, C), (R, S))
    if array.window:
        count_bits = ceil(log2(max(map(len, windows(min(tiling.channels, C), R * S, array.window))) + 1))
    k_tiles = [(k, min(tiling.filters, K - k)) for k in range(0, K, tiling.filters)]
    c_tiles = [(c, min(tiling.channels, C - c)) for c in range(0, C, tiling.channels)]
    positions = [
        (p, min(tiling.rows, P - p), q, min(tiling.cols, Q - q))
        for p in range(0, P, tiling.rows)
        for q in range(0, Q, tiling.cols)
    ]
    k_range, pos_range = range(len(k_tiles)), range(len(positions))
    order = (
        [(k, t, c) for k in k_range for t in pos_range for c in range(len(c_tiles))]
        if tiling.weights_first
        else [(k, t, c) for t in pos_range for k in k_range for c in range(len(c_tiles))]
    )

    memory: list[NDArray[np.uint8]] = []
    addresses: dict[tuple[int, ...], int] = {}
    sizes: dict[tuple[int, ...], int] = {}
    header: dict[tuple[int, ...], int] = {}

    def place(key: tuple[int, ...], data: NDArray[np.uint8]) -> None:
        addresses[key], sizes[key] = sum(map(len, memory)), len(data)
        memory.append(data)

    for t, (p, height, q, width) in enumerate(positions):
        top, bottom = extent(p, height, layer.stride, layer.padding, layer.kernel[0], H, P)
        left, right = extent(q, width, layer.stride, layer.padding, layer.kernel[1], W, Q)
        for c, (c0, depth) in enumerate(c_tiles):
            place((INPUT, t, c), layer.x[top:bottom, left:right, c0 : c0 + depth].reshape(-1).view(np.uint8))
    for k, (k0, filters) in enumerate(k_tiles):
        for c, (c0, depth) in enumerate(c_tiles):
            part = layer.w[:, k0 : k0 + filters, c0 : c0 + depth]
            data, header[k, c] = weight_image(part, array, fields, count_bits)
            place((WEIGHT, k, c), data)
    output_base = sum(map(len, memory))
    raw, outputs = [], {}
    for key in dict.fromkeys((k, t) for k, t, _ in order):
        (p, height, q, width), (k0, filters) = positions[key[1]], k_tiles[key[0]]
        outputs[key] = output_base + sum(map(len, raw))
        raw.append(layer.y[p : p + height, q : q + width, k0 : k0 + filters].reshape(-1))

    # Steps.
    steps = np.zeros((len(order), STEP_WORDS), np.int64)
    loads: list[list[tuple[int, int, int]]] = []
    stores: list[tuple[int, int, int] | None] = []
    counts = {INPUT: -1, WEIGHT: -1, OUTPUT: -1}
    for i, (k, t, c) in enumerate(order):
        before = order[i - 1] if i else None
        requests = []
        if before is None or (before[1], before[2]) != (t, c):
            counts[INPUT] += 1
            requests.append((INPUT, addresses[INPUT, t, c], sizes[INPUT, t, c]))
        if before is None or (before[0], before[2]) != (k, c):
            counts[WEIGHT] += 1
            requests.append((WEIGHT, addresses[WEIGHT, k, c], sizes[WEIGHT, k, c]))
        loads.append(requests)
        first, last = c == 0, c == len(c_tiles) - 1
        counts[OUTPUT] += first
        after = order[i + 1] if i + 1 < len(order) else None
        (p, height, q, width), (_, filters), (_, depth) = positions[t], k_tiles[k], c_tiles[c]
        stores.append((OUTPUT, outputs[k, t], height * width * filters) if last else None)
        top, bottom = extent(p, height, layer.stride, layer.padding, layer.kernel[0], H, P)
        left, right = extent(q, width, layer.stride, layer.padding, layer.kernel[1], W, Q)
        tiles_h, tiles_w = -(-height // layer.m), -(-width // layer.m)
        flags = (
            first
            + 2 * last
            + 4 * (after is None or (after[1], after[2]) != (t, c))
            + 8 * (after is None or (after[0], after[2]) != (k, c))
        )
        steps[i] = [
            flags, counts[INPUT], counts[WEIGHT], counts[OUTPUT], 0, 0,
            bottom - top, right - left, depth, filters, height, width,
            top - (p * layer.stride - layer.padding), left - (q * layer.stride - layer.padding),
            tiles_h * tiles_w, -(-tiles_h * tiles_w // array.rows), array.rows // width, array.rows % width,
            depth * R * S, header[k, c], tiles_w,
            len(windows(depth, R * S, array.window)) if array.window else 1,
        ]  # fmt: skip
    new_input = [i for i, requests in enumerate(loads) if requests and requests[0][0] == INPUT]
    finished = [i for i, store in enumerate(stores) if store]
    for column, marked in ((4, new_input), (5, finished)):
        for here, following in zip(marked, [*marked[1:], len(order)], strict=True):
            steps[here, column] = following

    # The DMA's program: loads of steps 0 and 1, then for each step i the loads of step i + 2 and its store.
    program = [request for requests in loads[:2] for request in requests]
    for i, store in enumerate(stores):
        program += loads[i + 2] if i + 2 < len(loads) else []
        program += [store] if store else []

    settings = np.zeros(SETTINGS, np.int64)
    fill = -(-min(array.window, C) * array.rows // array.stream_rate) if array.stream_rate else 0
    settings[:12] = [
        len(program), layer.stride, record_bits, count_bits, fields[1], fields[2], R, S, layer.out_shift, finished[0],
        len(order), fill,
    ]  # fmt: skip
    settings[TAP_SHIFT : TAP_SHIFT + taps] = layer.tap_shifts
    moved = [sum(size for kind, _, size in program if kind == wanted) for wanted in (INPUT, WEIGHT, OUTPUT)]
    return Program(
        settings.astype(np.int32),
        steps.astype(np.int32),
        np.array(program, np.int32),
        np.concatenate(memory),
        np.concatenate(raw),
        output_base,
        (moved[0], moved[1], moved[2]),
    )


def extent(start: int, length: int, stride: int, padding: int, kernel: int, size: int, outputs: int) -> tuple[int, int]:
    """Rows (or columns) of the image that a tile of outputs reads; the last tile reads to the edge."""
    first = start * stride - padding
    end = size if start + length == outputs else first + (length - 1) * stride + kernel
    return max(first, 0), min(end, size)


def windows(channels: int, positions_each: int, size: int) -> list[range]:
    """The positions of each operand window: within a block of 16 channels, or several whole blocks."""
    block = CHANNEL_BLOCK * positions_each
    granule = max(1, size // block) * block
    total = channels * positions_each
    found = []
    for low in range(0, total, granule):
        high = min(low + granule, total)
        found += [range(start, min(start + size, high)) for start in range(low, high, min(size, granule))]
    return found


def length_bits(channels: int, kernel: tuple[int, int]) -> int:
    """Bits of the field that holds the length of one stream: enough for each block of 16 channels on its own, added up.

    So a layer's tables take as many bits however its channels are cut into tiles.
    """
    blocks = [min(CHANNEL_BLOCK, channels - start) for start in range(0, channels, CHANNEL_BLOCK)]
    return sum(ceil(log2(block * kernel[0] * kernel[1] + 1)) for block in blocks)


def weight_image(
    w: NDArray[np.int32], array: Array, fields: tuple[int, int, int], count_bits: int
) -> tuple[NDArray[np.uint8], int]:
    """The bytes of one weight tile, and the bits of the table in front.  w: (taps, K, C, R, S)."""
    if array.window:
        return windowed_image(w, array, fields, count_bits)
    taps, K = w.shape[:2]
    lengths, records = [], []
    for k0 in range(0, K, array.cols):
        for t0 in range(0, taps, array.tap_lanes):
            for tap in range(t0, min(t0 + array.tap_lanes, taps)):
                for k in range(k0, min(k0 + array.cols, K)):
                    stream = w[tap, k].transpose(1, 2, 0)  # (R, S, C)
                    if array.skip:
                        r, s, c = np.nonzero(stream)
                        index = (c << (fields[1] + fields[2])) | (r << fields[2]) | s
                        records.append((stream[r, s, c] & 0xFF) | (index << 8))
                        lengths.append(len(r))
                    else:
                        records.append(stream.reshape(-1) & 0xFF)
    values = np.concatenate(records)
    if not array.skip:
        return values.astype(np.uint8), 0
    record_bits = 8 + sum(fields)
    table = to_bits(np.array(lengths), count_bits)
    return np.packbits(np.concatenate([table, to_bits(values, record_bits)]), bitorder="little"), len(table)


def windowed_image(
    w: NDArray[np.int32], array: Array, fields: tuple[int, int, int], count_bits: int
) -> tuple[NDArray[np.uint8], int]:
    """``weight_image`` of streams that are cut into operand windows, channels outermost."""
    taps, K, C, R, S = w.shape
    lengths, records = [], []
    for k0 in range(0, K, array.cols):
        for t0 in range(0, taps, array.tap_lanes):
            for window in windows(C, R * S, array.window):
                for tap in range(t0, min(t0 + array.tap_lanes, taps)):
                    for k in range(k0, min(k0 + array.cols, K)):
                        stream = w[tap, k].reshape(-1)
                        kept = np.array([p for p in window if stream[p]], np.int64)
                        c, r, s = np.unravel_index(kept, (C, R, S))
                        index = (c << (fields[1] + fields[2])) | (r << fields[2]) | s
                        records.append((stream[kept] & 0xFF) | (index << 8))
                        lengths.append(len(kept))
    table = to_bits(np.array(lengths), count_bits)
    values = to_bits(np.concatenate(records), 8 + sum(fields))
    return np.packbits(np.concatenate([table, values]), bitorder="little"), len(table)


def to_bits(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Each value as ``width`` bits, least significant first, one after the other."""
    return ((values[:, None] >> np.arange(width)) & 1).astype(np.uint8).reshape(-1)


def stimulus(name: str, program: Program, stored: NDArray[np.int8]) -> bytes:
    """The harness's input for one case (see harness.cpp)."""
    label = np.frombuffer(name.encode(), np.uint8)
    parts = [counted(label), np.int32(STEP_WORDS).tobytes(), np.int32(DMA_WORDS).tobytes()]
    parts += [counted(program.settings), counted(program.steps), counted(program.requests), counted(program.memory)]
    parts += [counted(program.raw), counted(stored), np.int32(program.output_base).tobytes()]
    return b"".join(parts)


def counted(values: NDArray[np.generic]) -> bytes:
    """Number of elements, then the elements, little-endian."""
    return np.int32(values.size).tobytes() + np.ascontiguousarray(values).tobytes()
