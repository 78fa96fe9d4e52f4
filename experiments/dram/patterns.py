"""Patterns of requests: those of the reference figures, and others for judging."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Flags, Ints
from accelsim.hardware.dram import Requests, Transfer, busiest_share, opened_rows, request_ns
from accelsim.hardware.dram_types import DramType
from experiments.dram.commands import Burst

MB = 1 << 20
APART = 64 * MB  # between the tensors' first bytes
CHANNELS = 16  # of a plane of a map


@dataclass(frozen=True)
class Pattern:
    """Requests for parts of some tensors, and the order in which they are served.

    order: an index into the requests of all tensors laid end to end.  writes: whether a tensor is written.
    """

    name: str
    tensors: Sequence[Transfer]
    writes: Sequence[bool]
    order: Ints

    @property
    def is_write(self) -> Flags:
        """Of each request in order."""
        each = [np.full(len(t.n_bytes), w) for t, w in zip(self.tensors, self.writes, strict=True)]
        return np.concatenate(each)[self.order]

    def field(self, name: str) -> Ints:
        """A field of ``Transfer`` of each request in order."""
        return np.concatenate([getattr(tensor, name) for tensor in self.tensors])[self.order]

    def bits(self, write: bool) -> int:
        """Read or written."""
        return 8 * int(self.field("n_bytes")[self.is_write == write].sum())


@dataclass(frozen=True)
class Modelled:
    """What the model says of a pattern."""

    ns: float
    rows: int  # opened
    command_pj: float  # rows, reads, writes and refreshes, without I/O
    standby_pj: float


def modelled(dram: DramType, pattern: Pattern) -> Modelled:
    """Time and energy of a pattern by ``accelsim.hardware.dram``."""
    rows = opened_rows(dram, 1, pattern.tensors, pattern.order).ravel()[pattern.order]
    bursts = np.concatenate([tensor.bursts(dram.burst_bytes) for tensor in pattern.tensors])[pattern.order]
    run = np.zeros(len(pattern.tensors[0].n_bytes), np.int64)
    share = busiest_share(dram, 1, pattern.tensors, run).repeat(len(bursts))
    requests = Requests(bursts=bursts, rows=rows, writes=pattern.is_write, share=share)
    ns = float(request_ns(dram, 1, requests).sum())
    moved = pattern.bits(False) * dram.read_pj_per_bit + pattern.bits(True) * dram.write_pj_per_bit
    opened = int(rows.sum())
    return Modelled(
        ns=ns,
        rows=opened,
        command_pj=opened * dram.activate_pj + moved + dram.refresh_mw * dram.ranks * ns,
        standby_pj=dram.standby_mw * dram.ranks * ns,
    )


def bursts_of(dram: DramType, pattern: Pattern) -> list[Burst]:
    """All bursts of a pattern, in order."""
    requests = len(pattern.order) // len(pattern.tensors)
    found = []
    for index in pattern.order.tolist():
        tensor, i = divmod(index, requests)
        t = pattern.tensors[tensor]
        if not t.n_bytes[i]:
            continue
        piece = -(-int(t.n_bytes[i]) // int(t.pieces[i]))
        for plane in range(int(t.planes[i])):
            for line in range(int(t.lines[i])):
                first = int(t.address[i] + plane * t.plane_bytes[i] + line * t.line_bytes[i]) + tensor * APART
                for burst in range(first // dram.burst_bytes, (first + piece - 1) // dram.burst_bytes + 1):
                    found.append(Burst(burst * dram.burst_bytes, pattern.writes[tensor]))
    return found


def reads(name: str, tensor: Transfer) -> Pattern:
    """Reads of one tensor."""
    return Pattern(name, [tensor], [False], np.arange(len(tensor.n_bytes)))


def stream(total: int, request: int) -> Transfer:
    """A tensor from its first byte to its last."""
    return Transfer.contiguous(np.full(total // request, request))


def tiles(width: int, channels: int, high: int, wide: int, times: int) -> Transfer:
    """Tiles of a square map of ``channels`` channels, row by row of tiles, the map several times."""
    down, across = width // high, width // wide
    row, col = (np.tile(index.ravel(), times) for index in np.indices((down, across)))
    each = np.ones(times * down * across, np.int64)
    line = width * CHANNELS
    return Transfer(
        n_bytes=each * high * wide * channels,
        address=row * high * line + col * wide * CHANNELS,
        planes=each * (channels // CHANNELS),
        plane_bytes=each * width * line,
        lines=each * high,
        line_bytes=each * line,
    )


def planes(width: int, channels: int, times: int) -> Transfer:
    """One plane of a square map a request, the map several times."""
    size = width * width * CHANNELS
    count = channels // CHANNELS
    return Transfer.contiguous(np.full(times * count, size), np.tile(np.arange(count) * size, times))


def alternating(name: str, read: int, write: int, requests: int) -> Pattern:
    """Reads of one tensor and writes of another by turns."""
    tensors = [stream(requests * read, read), stream(requests * write, write)]
    return Pattern(name, tensors, [False, True], np.arange(2 * requests).reshape(2, requests).T.ravel())


def at_random(size: int, requests: int, seed: int = 0) -> Transfer:
    """Requests anywhere in 64 MiB."""
    places = np.random.default_rng(seed).integers(0, APART // size, requests)
    return Transfer.contiguous(np.full(requests, size), places * size)


def layer_like(name: str) -> Pattern:
    """Filters, then tiles of a 28 x 28 x 64 map, each followed by a tile of outputs, for each of four groups."""
    inputs = tiles(28, 64, 7, 28, 4)
    steps = len(inputs.n_bytes)
    new = (np.arange(steps) % 4 == 0).astype(np.int64)
    weights = Transfer.contiguous(new * 9216)
    outputs = Transfer.contiguous(np.full(steps, 28 * 7 * CHANNELS))
    order = np.arange(3 * steps).reshape(3, steps).T.ravel()
    return Pattern(name, [weights, inputs, outputs], [False, False, True], order)


# As ``reference.csv`` calls them.
REFERENCE: dict[str, Callable[[], Pattern]] = {
    "stream, 64 KB requests": lambda: reads("stream", stream(MB, 1 << 16)),
    "stream, 1 KB requests": lambda: reads("stream", stream(MB, 1 << 10)),
    "14 rows x 28 of 56x56x64": lambda: reads("tiles", tiles(56, 64, 14, 28, 6)),
    "one plane of 14x14x512 each": lambda: reads("planes", planes(14, 512, 8)),
    "read 4 KB, write 4 KB": lambda: alternating("turns", 4096, 4096, 128),
    "64 B at random in 64 MB": lambda: reads("random", at_random(64, 4096)),
}

# For judging, on all types.
OTHERS = (
    reads("stream of 256 KB", stream(MB // 4, 1 << 13)),
    reads("7 rows x 7 of 28x28x256", tiles(28, 256, 7, 7, 1)),
    reads("8 rows x 14 of 112x112x16", tiles(112, 16, 8, 14, 1)),
    alternating("read 12 KB, write 4 KB", 12288, 4096, 16),
    alternating("read 1 KB, write 1 KB", 1024, 1024, 64),
    layer_like("tiles of inputs, filters and outputs of a layer"),
    reads("512 B at random in 64 MB", at_random(512, 512)),
)

# Small requests by turns, on all types.
TURNS = (
    alternating("read 512 B, write 512 B", 512, 512, 128),
    alternating("read 640 B, write 2,560 B", 640, 2560, 48),
    alternating("read 1,536 B, write 1,536 B", 1536, 1536, 48),
    alternating("read 2,560 B, write 1,280 B", 2560, 1280, 40),
    alternating("read 5 KB, write 320 B", 5120, 320, 40),
)

HALF_A_STACK: dict[str, float] = {"inner_channels": 4, "bandwidth_gbs": 128.0}
# Of several channels: type, how many times its channels, what is replaced of it, and the pattern.
SEVERAL: tuple[tuple[str, int, dict[str, float], Pattern], ...] = (
    ("HBM2", 1, {}, reads("256 B at random, seed 7", at_random(256, 768, 7))),
    ("HBM2", 1, {}, reads("1,536 B at random, seed 8", at_random(1536, 192, 8))),
    ("HBM2", 1, {"row_bytes": 2048}, reads("640 B at random, seed 12", at_random(640, 300, 12))),
    ("HBM2", 1, HALF_A_STACK, reads("7 rows x 14 of 28x28x128", tiles(28, 128, 7, 14, 1))),
    ("LPDDR4-3200", 2, {}, reads("2 KB at random, seed 9", at_random(2048, 64, 9))),
    ("LPDDR4-3200", 4, {}, reads("1 KB at random, seed 10", at_random(1024, 128, 10))),
    ("LPDDR4-3200", 2, {}, reads("14 rows x 14 of 56x56x32", tiles(56, 32, 14, 14, 1))),
    ("DDR4-2400", 4, {}, reads("4 KB at random, seed 11", at_random(4096, 32, 11))),
    ("GDDR6", 2, {}, reads("768 B at random, seed 13", at_random(768, 256, 13))),
)
