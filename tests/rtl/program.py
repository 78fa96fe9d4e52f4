"""From layers, a machine and tilings to what the RTL's host writes: settings, steps, DMA program, memory.

The loops over tiles and the order of the DMA are written out here once more, on their own: only the tile sizes come
from the simulator, and of a chain where its maps lie and which tiles find room beside others.  Weights lie in DRAM in
the order in which the lanes use them, inputs tile by tile as (row, column, channel), outputs likewise; maps on chip as
(row, column, channel).  Word numbers are those of hdl/machine_pkg.sv.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from accelsim.datapath.integer import requantize
from accelsim.simulator.tiles.tiling import Tiling
from accelsim.workload import CHANNEL_BLOCK

STEP_WORDS, DMA_WORDS, SETTINGS, TAP_SHIFT = 33, 5, 64, 16
INPUT, WEIGHT, OUTPUT = 0, 1, 2
IN_BYTES = 65536  # of one slot of input tiles
W_BYTES = 32768  # of one slot of weight tiles; two layers that follow one another have slots of their own
X_SIZE = 4096  # rounds x channels of one slot of transformed inputs
OUTPUT_SLOT = 65536  # values of one slot of output tiles
AHEAD = 2  # steps whose tiles are loaded before a step is done

Request = tuple[int, int, int, int, int]  # kind, address, bytes, place in the buffer, what it waits for


@dataclass(frozen=True)
class Layer:
    """One convolution in whole numbers.

    x: (H, W, C) int8.  w: (taps, K, C, R, S) integers below 128: one tap and the kernel in the spatial domain, n^2 taps
    and a 1 x 1 kernel in the Winograd domain.  y: (P, Q, K) int64, what the machine must store before rounding, with
    what an addition adds at a left shift of operand_shift.
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
    relu: bool = False
    operand_shift: int = 0

    def stored(self, raw: NDArray[np.int64]) -> NDArray[np.int8]:
        """Values behind the output path."""
        values = requantize(raw, self.out_shift)
        return np.maximum(values, 0) if self.relu else values


@dataclass(frozen=True)
class Array:
    """The lanes: rows, columns, taps side by side; whether zero weights are skipped; filters that a lane sums up.

    window: positions of an operand window, 0 without.  stream_rate: tile-channels a cycle that are transformed on their
    way into the windows, 0 where inputs come as they are.  layers: that the machine has settings of.
    """

    rows: int
    cols: int
    tap_lanes: int
    skip: bool
    filters_each: int = 1
    window: int = 0
    winograd: bool = False
    stream_rate: int = 0
    layers: int = 1


@dataclass(frozen=True)
class Place:
    """How a layer of a chain is cut, where its maps lie, and what it waits for.

    source, operand, target: first byte of the input map, of the map that is added and of the output map in the map
    memory; None: DRAM (source, target), no addition (operand).  reads: earlier layers whose maps it reads on chip.
    beside, weights_beside: whether its tiles, its weights, find room beside those of the layer before.
    """

    tiling: Tiling
    source: int | None = None
    operand: int | None = None
    target: int | None = None
    reads: tuple[int, ...] = ()
    beside: bool = False
    weights_beside: bool = False


@dataclass(frozen=True)
class Link:
    """A layer of a chain in its place."""

    layer: Layer
    place: Place


@dataclass(frozen=True)
class Mark:
    """What must be so when a layer of the chain has been worked on.

    steps, tiles: of outputs, up to its end.  map_at: first byte of its map, -1 in DRAM.  map: (P Q K,) int8.
    """

    steps: int
    tiles: int
    map_at: int
    map: NDArray[np.int8]


@dataclass(frozen=True)
class Program:
    """What the host writes (int32 words), the DRAM's bytes, and the expected outputs in the order they are stored."""

    settings: NDArray[np.int32]
    steps: NDArray[np.int32]
    requests: NDArray[np.int32]
    memory: NDArray[np.uint8]
    raw: NDArray[np.int64]
    stored: NDArray[np.int8]
    output_base: int
    marks: tuple[Mark, ...]


@dataclass
class _Memory:
    """DRAM, filled tile by tile."""

    parts: list[NDArray[np.uint8]] = field(default_factory=list)
    size: int = 0

    def put(self, data: NDArray[np.uint8]) -> tuple[int, int]:
        """Address and bytes of what is put behind all else."""
        self.parts.append(data)
        self.size += len(data)
        return self.size - len(data), len(data)


class _Cut:
    """A layer in tiles: of outputs, filters and channels, in their order."""

    def __init__(self, layer: Layer, array: Array, tiling: Tiling) -> None:
        self.layer = layer
        self.array = array
        self.H, self.W, self.C = layer.x.shape
        self.P, self.Q, self.K = layer.y.shape
        self.fields = index_fields(self.C, layer.w.shape[3:])
        self.filters = [(k, min(tiling.filters, self.K - k)) for k in range(0, self.K, tiling.filters)]
        self.channels = [(c, min(tiling.channels, self.C - c)) for c in range(0, self.C, tiling.channels)]
        self.positions = [
            (p, min(tiling.rows, self.P - p), q, min(tiling.cols, self.Q - q))
            for p in range(0, self.P, tiling.rows)
            for q in range(0, self.Q, tiling.cols)
        ]
        k_range, pos_range, c_range = (range(len(cut)) for cut in (self.filters, self.positions, self.channels))
        self.order = (
            [(k, t, c) for k in k_range for t in pos_range for c in c_range]
            if tiling.weights_first
            else [(k, t, c) for t in pos_range for k in k_range for c in c_range]
        )
        self.new_inputs = _first_uses([(t, c) for _, t, c in self.order], tiling.inputs_stay)
        self.new_weights = _first_uses([(k, c) for k, _, c in self.order], tiling.weights_stay)
        self.count_bits = length_bits(self.channels[0][1], layer.w.shape[3:])
        if array.window:
            self.count_bits = ceil(log2(max(map(len, self.windows(self.channels[0][1]))) + 1))

    def windows(self, depth: int) -> list[range]:
        """The operand windows of so many channels."""
        R, S = self.layer.w.shape[3:]
        return windows(depth, R * S, self.array.window)

    def extents(self, t: int) -> tuple[int, int, int, int]:
        """Rows and columns of the input that a tile of outputs reads: top, bottom, left, right."""
        layer = self.layer
        p, height, q, width = self.positions[t]
        rows = extent(p, height, layer.stride, layer.padding, layer.kernel[0], self.H, self.P)
        cols = extent(q, width, layer.stride, layer.padding, layer.kernel[1], self.W, self.Q)
        return *rows, *cols

    def input_tile(self, t: int, c: int) -> NDArray[np.uint8]:
        """Bytes of an input tile."""
        top, bottom, left, right = self.extents(t)
        c0, depth = self.channels[c]
        return self.layer.x[top:bottom, left:right, c0 : c0 + depth].reshape(-1).view(np.uint8)

    def weight_tile(self, k: int, c: int) -> tuple[NDArray[np.uint8], int]:
        """Bytes of a weight tile, and bits of the table in front."""
        (k0, filters), (c0, depth) = self.filters[k], self.channels[c]
        part = self.layer.w[:, k0 : k0 + filters, c0 : c0 + depth]
        return weight_image(part, self.array, self.fields, self.count_bits)

    def outputs(self, k: int, t: int) -> NDArray[np.int64]:
        """What a tile of outputs must hold."""
        (p, height, q, width), (k0, filters) = self.positions[t], self.filters[k]
        return self.layer.y[p : p + height, q : q + width, k0 : k0 + filters].reshape(-1)

    def rounds(self, t: int) -> int:
        """Rounds of the rows of lanes on a tile of outputs."""
        _, height, _, width = self.positions[t]
        return -(-(-(-height // self.layer.m) * -(-width // self.layer.m)) // self.array.rows)

    def settings(self) -> list[int]:
        """Settings of the layer, but for the numbers of the whole program."""
        found = [0] * SETTINGS
        array, layer = self.array, self.layer
        fill = -(-min(array.window, self.C) * array.rows // array.stream_rate) if array.stream_rate else 0
        record_bits = 8 + sum(self.fields) if array.skip else 8
        R, S = layer.w.shape[3:]
        found[1:9] = [layer.stride, record_bits, self.count_bits, *self.fields[1:], R, S, layer.out_shift]
        found[11:14] = [fill, int(layer.relu), layer.operand_shift]
        found[TAP_SHIFT : TAP_SHIFT + len(layer.w)] = layer.tap_shifts.tolist()
        return found


def _first_uses(tiles: list[tuple[int, int]], stay: bool) -> list[bool]:
    """Which steps load their tile: those that use another one than the step before, if it has not come and stayed."""
    seen: set[tuple[int, int]] = set()
    found = []
    for i, tile in enumerate(tiles):
        found.append(i == 0 or (tile != tiles[i - 1] and not (stay and tile in seen)))
        seen.add(tile)
    return found


class _Slots:
    """Places of tiles in a buffer: two slots in turn, or, for those that stay, one behind the other."""

    def __init__(self, base: int, slot: int, stay: bool) -> None:
        self.base = base
        self.slot = slot
        self.stay = stay
        self.count = 0
        self.taken = 0
        self.of_tile: dict[tuple[int, int], int] = {}

    def take(self, tile: tuple[int, int], size: int) -> int:
        """The place of a tile that comes."""
        place = self.base + (self.taken if self.stay else self.count % 2 * self.slot)
        self.count += 1
        self.taken += size
        if (self.taken if self.stay else 2 * size) > 2 * self.slot:
            raise ValueError(f"a tile of {size} finds no room in two slots of {self.slot}")
        self.of_tile[tile] = place
        return place


def build(layer: Layer, array: Array, tiling: Tiling) -> Program:
    """The program of one layer.  tiling: from ``accelsim.simulator.tiles.search``, with one image."""
    return build_chain([Link(layer, Place(tiling))], array)


def build_chain(links: Sequence[Link], array: Array) -> Program:
    """The program of a chain of layers; the first one's inputs come from DRAM, the last one's outputs go there."""
    builder = _Builder(links, array)
    for number in range(len(links)):
        builder.add(number)
    return builder.program()


class _Builder:
    """A program as it grows, layer by layer."""

    def __init__(self, links: Sequence[Link], array: Array) -> None:
        self.links = links
        self.array = array
        self.cuts = [_Cut(link.layer, array, link.place.tiling) for link in links]
        self.places = [link.place for link in links]
        self.memory = _Memory()
        self.steps: list[list[int]] = []
        self.loads: list[list[Request]] = []
        self.tile_of: list[tuple[int, int] | None] = []  # of the steps that finish a tile which is stored
        self.new_inputs: list[int] = []  # steps
        self.finishing: list[int] = []  # steps
        self.loaded = {INPUT: -1, WEIGHT: -1}  # tiles so far
        self.marks: list[Mark] = []
        self.first_steps: list[int] = []

    def add(self, number: int) -> None:
        """All steps of a layer, and their loads."""
        layer, place, cut = self.links[number].layer, self.places[number], self.cuts[number]
        self.first_steps.append(len(self.steps))
        tiling = place.tiling
        inputs = _Slots(0, IN_BYTES, tiling.inputs_stay)
        weights = _Slots(number % 2 * 2 * W_BYTES, W_BYTES, tiling.weights_stay)
        transformed = _Slots(0, X_SIZE, tiling.inputs_stay)
        addresses: dict[tuple[int, int, int], tuple[int, int]] = {}
        headers: dict[tuple[int, int], int] = {}
        after = self._after(number)
        for i, (k, t, c) in enumerate(cut.order):
            requests: list[Request] = []
            if cut.new_inputs[i]:
                self.new_inputs.append(len(self.steps))
                transformed.take((t, c), cut.rounds(t) * cut.channels[c][1] * self._transforms)
                if place.source is None:
                    if (INPUT, t, c) not in addresses:
                        addresses[INPUT, t, c] = self.memory.put(cut.input_tile(t, c))
                    address, size = addresses[INPUT, t, c]
                    requests.append((INPUT, address, size, inputs.take((t, c), size), 0))
                if place.source is None or self._transforms:
                    self.loaded[INPUT] += 1
            if cut.new_weights[i]:
                if (WEIGHT, k, c) not in addresses:
                    data, headers[k, c] = cut.weight_tile(k, c)
                    addresses[WEIGHT, k, c] = self.memory.put(data)
                address, size = addresses[WEIGHT, k, c]
                requests.append((WEIGHT, address, size, weights.take((k, c), size), self._weights_wait(number)))
                self.loaded[WEIGHT] += 1
            self.loads.append(requests)
            at = (inputs.of_tile.get((t, c), 0), weights.of_tile[k, c], transformed.of_tile[t, c])
            self._step(number, i, at, headers[k, c], after)
        target = -1 if place.target is None else place.target
        expected = layer.stored(layer.y).reshape(-1)[: 0 if place.target is None else None]
        self.marks.append(Mark(len(self.steps), len(self.finishing), target, expected))

    @property
    def _transforms(self) -> bool:
        return self.array.winograd and not self.array.stream_rate

    def _after(self, number: int) -> int:
        """Output tiles that must be finished before a layer may start."""
        place = self.places[number]
        before = [*place.reads, *([] if place.beside or number == 0 else [number - 1])]
        return max((self.marks[earlier].tiles for earlier in before), default=0)

    def _weights_wait(self, number: int) -> int:
        """Steps that the lanes must have done before a layer's weights are loaded."""
        border = number - 1 if self.places[number].weights_beside else number
        return self.first_steps[max(border, 0)]

    def _step(self, number: int, i: int, at: tuple[int, int, int], header: int, after: int) -> None:
        """The words of the i-th step of a layer.  at: places of its inputs, weights and transformed inputs."""
        layer, place, cut = self.links[number].layer, self.places[number], self.cuts[number]
        array = self.array
        k, t, c = cut.order[i]
        top, bottom, left, right = cut.extents(t)
        (p, height, q, width), (k0, filters), (c0, depth) = cut.positions[t], cut.filters[k], cut.channels[c]
        R, S = layer.w.shape[3:]
        ends = i + 1 == len(cut.order)
        first, last = c == 0, c == len(cut.channels) - 1
        on_chip = place.source is not None
        flags = [
            first,
            last,
            (ends or cut.new_inputs[i + 1]) and (self._transforms or not on_chip),
            ends or cut.new_weights[i + 1],
            place.target is None,
            place.operand is not None,
            on_chip,
        ]
        source = (at[0], right - left, depth)
        if place.source is not None:
            source = (place.source + (top * cut.W + left) * cut.C + c0, cut.W, cut.C)
        in_map = (p * cut.Q + q) * cut.K + k0
        tiles_h, tiles_w = -(-height // layer.m), -(-width // layer.m)
        self.tile_of.append((k, t) if last and place.target is None else None)
        self.steps.append([
            sum(flag << bit for bit, flag in enumerate(flags)), self.loaded[INPUT], self.loaded[WEIGHT],
            len(self.finishing), 0, 0,
            bottom - top, right - left, depth, filters, height, width,
            top - (p * layer.stride - layer.padding), left - (q * layer.stride - layer.padding),
            tiles_h * tiles_w, cut.rounds(t), array.rows // tiles_w, array.rows % tiles_w,
            depth * R * S, header, tiles_w, len(cut.windows(depth)) if array.window else 1,
            number, after, *source, at[1], at[2],
            (place.target or 0) + in_map, cut.Q, cut.K, (place.operand or 0) + in_map,
        ])  # fmt: skip
        if last:
            self.finishing.append(len(self.steps) - 1)

    def _requests(self, stores: dict[int, Request]) -> list[Request]:
        """The DMA's program: the loads of steps 0 and 1; then for each step i the loads of step i + 2, those that have
        waited for its lanes, and its store."""
        found = [request for requests in self.loads[:AHEAD] for request in requests]
        waiting: list[tuple[int, Request]] = []
        for i in range(len(self.steps)):
            for request in self.loads[i + AHEAD] if i + AHEAD < len(self.loads) else []:
                if request[4] > i:
                    waiting.append((request[4], request))
                else:
                    found.append(request)
            found += [request for until, request in waiting if until == i + 1]
            found += [stores[i]] if i in stores else []
        return found

    def program(self) -> Program:
        """What the host writes."""
        for column, marked in ((4, self.new_inputs), (5, self.finishing)):
            for here, following in zip(marked, [*marked[1:], len(self.steps)], strict=True):
                self.steps[here][column] = following
        output_base = self.memory.size
        raw: list[NDArray[np.int64]] = []
        stores: dict[int, Request] = {}
        address = output_base
        tile = -1
        for i in self.finishing:
            tile += 1
            stored = self.tile_of[i]
            if stored is not None:
                raw.append(self.cuts[-1].outputs(*stored))
                stores[i] = (OUTPUT, address, len(raw[-1]), tile % 2 * OUTPUT_SLOT, tile + 1)
                address += len(raw[-1])
        requests = self._requests(stores)
        of_layers = [cut.settings() for cut in self.cuts]
        of_layers += [of_layers[-1]] * (self.array.layers - len(of_layers))
        settings = np.array(of_layers)
        settings[0, [0, 9, 10]] = len(requests), self.finishing[0], len(self.steps)
        values = np.concatenate(raw)
        return Program(
            settings=settings.reshape(-1).astype(np.int32),
            steps=np.array(self.steps, np.int32),
            requests=np.array(requests, np.int32),
            memory=np.concatenate(self.memory.parts),
            raw=values,
            stored=self.links[-1].layer.stored(values),
            output_base=output_base,
            marks=tuple(self.marks),
        )


def index_fields(channels: int, kernel: tuple[int, ...]) -> tuple[int, int, int]:
    """Bits of the channel, kernel row and kernel column in a weight's index."""
    c, r, s = (ceil(log2(size)) if size > 1 else 0 for size in (channels, *kernel))
    return c, r, s


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


def length_bits(channels: int, kernel: tuple[int, ...]) -> int:
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
    group = array.cols * array.filters_each
    for k0 in range(0, K, group):
        for t0 in range(0, taps, array.tap_lanes):
            for tap in range(t0, min(t0 + array.tap_lanes, taps)):
                for k in range(k0, min(k0 + group, K)):
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
    group = array.cols * array.filters_each
    for k0 in range(0, K, group):
        for t0 in range(0, taps, array.tap_lanes):
            for window in windows(C, R * S, array.window):
                for tap in range(t0, min(t0 + array.tap_lanes, taps)):
                    for k in range(k0, min(k0 + group, K)):
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


def stimulus(name: str, program: Program) -> bytes:
    """The harness's input for one case (see harness.cpp)."""
    label = np.frombuffer(name.encode(), np.uint8)
    parts = [counted(label), np.array([STEP_WORDS, DMA_WORDS, SETTINGS], np.int32).tobytes()]
    parts += [counted(program.settings), counted(program.steps), counted(program.requests), counted(program.memory)]
    parts += [counted(program.raw), counted(program.stored), np.int32(program.output_base).tobytes()]
    parts.append(np.int32(len(program.marks)).tobytes())
    for mark in program.marks:
        parts += [np.array([mark.steps, mark.tiles, mark.map_at], np.int32).tobytes(), counted(mark.map)]
    return b"".join(parts)


def counted(values: NDArray[np.generic]) -> bytes:
    """Number of elements, then the elements, little-endian."""
    return np.int32(values.size).tobytes() + np.ascontiguousarray(values).tobytes()
