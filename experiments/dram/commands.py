"""A DRAM command by command: which row is closed and opened when, which burst is on the bus, who waits for whom.

Written to judge the closed form of ``accelsim.hardware.dram`` on types and patterns for which no figures of a published
simulator are at hand; itself judged by those that are (``reports/dram.md``).  One controller a channel, open page: of
the bursts in its queue the one whose command can go out first, the oldest of several, may go (first ready, first come);
a row is closed once no burst in the queue wants it.  JEDEC's rules: tRCD, tRP, tRAS, tRTP, tWR, tRRD (of other and of
the same bank group), tFAW, tCCD, tWTR, CL, CWL, the bus's turns, ranks, and a refresh of each rank every tREFI with all
its banks closed for tRFC.  Times in ns, not rounded to clocks, but one command a clock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from accelsim.hardware.dram_types import DramType

NEVER = -1e9


@dataclass(frozen=True)
class Device:
    """What a controller has to know beyond the type's figures: ns."""

    clock_ns: float
    t_ras_ns: float  # from opening a row to closing it
    t_rtp_ns: float  # from the command to read to closing the row
    t_wr_ns: float  # from written data to closing the row
    t_cwl_ns: float  # from the command to write to the data
    t_rrd_l_ns: float  # between rows opened in one bank group
    bank_groups: int


# DRAMsim3's and Ramulator 2's presets as in ``data/dram.csv``; LPDDR4: JESD209-4, quoted from memory.
DEVICES = {
    "DDR3-1600": Device(1.25, 35, 7.5, 15, 10, 7.5, 1),
    "DDR4-2400": Device(0.833, 32.5, 7.5, 15, 10, 5, 4),
    "LPDDR4-3200": Device(0.625, 42, 7.5, 18, 8.75, 10, 1),
    "LPDDR5-6400": Device(1.25, 42.5, 7.5, 35, 13.75, 5, 4),
    "GDDR6": Device(0.5, 30.2, 2.3, 14.8, 3.4, 4, 4),
    "HBM2": Device(1, 34, 5, 16, 4, 6, 4),
}


@dataclass(frozen=True)
class Burst:
    """One burst that is asked for."""

    address: int
    write: bool


@dataclass
class _Bank:
    row: int = -1  # open, -1 for none
    access: float = NEVER  # from when it may be accessed
    close: float = NEVER  # from when it may be closed
    activate: float = NEVER  # from when a row may be opened


@dataclass
class _Rank:
    banks: list[_Bank]
    opened: list[float] = field(default_factory=lambda: [NEVER] * 4)  # the last four
    opened_in_group: dict[int, float] = field(default_factory=dict)
    accessed_in_group: dict[int, float] = field(default_factory=dict)
    written: float = NEVER  # end of the last written data
    refresh_at: float = inf


@dataclass(frozen=True)
class _Place:
    channel: int
    rank: int
    bank: int
    group: int
    row: int


@dataclass
class _Waiting:
    place: _Place
    write: bool
    since: float


class _Channel:
    """A controller and its ranks."""

    def __init__(self, dram: DramType, device: Device) -> None:
        self.dram = dram
        self.device = device
        self.burst_ns = dram.burst_bytes * dram.inner_channels / dram.bandwidth_gbs
        self.ranks = [_Rank([_Bank() for _ in range(dram.banks)]) for _ in range(dram.ranks)]
        for i, rank in enumerate(self.ranks):
            rank.refresh_at = dram.t_refi_ns * (i + 1) / dram.ranks
        self.queue: list[_Waiting] = []
        self.command_at = NEVER  # from when a command may go out
        self.bus_free = NEVER
        self.last: tuple[bool, int] | None = None  # whether the last data were written, and their rank
        self.activations = 0

    def next_command(self) -> tuple[float, int, str]:
        """When the next command can go out, for which burst of the queue, and which."""
        wanted = {(w.place.rank, w.place.bank, w.place.row) for w in self.queue}
        best = (inf, 0, "")
        asked: set[tuple[int, int]] = set()
        for i, waiting in enumerate(self.queue):
            place = waiting.place
            rank = self.ranks[place.rank]
            bank = rank.banks[place.bank]
            if bank.row == place.row:
                at = self._access_at(waiting, rank, bank)
                name = "access"
            elif (place.rank, place.bank) in asked:
                continue
            elif bank.row >= 0:
                if (place.rank, place.bank, bank.row) in wanted:
                    continue
                at = bank.close
                name = "close"
            else:
                at = self._activate_at(rank, bank, place.group)
                name = "open"
            if bank.row != place.row:
                asked.add((place.rank, place.bank))
            at = max(at, self.command_at, waiting.since)
            if at < best[0] or (at == best[0] and name == "access" and best[2] != "access"):
                best = (at, i, name)
        return best

    def _access_at(self, waiting: _Waiting, rank: _Rank, bank: _Bank) -> float:
        dram = self.dram
        same_group = dram.t_ccd_l_ns if self.device.bank_groups > 1 else 0.0
        at = max(bank.access, rank.accessed_in_group.get(waiting.place.group, NEVER) + same_group)
        latency = self.device.t_cwl_ns if waiting.write else dram.t_cl_ns
        gap = 0.0
        if self.last is not None and self.last != (waiting.write, waiting.place.rank):
            gap = dram.t_rtw_ns if waiting.write != self.last[0] else self.device.clock_ns
        at = max(at, self.bus_free + gap - latency)
        return at if waiting.write else max(at, rank.written + dram.t_wtr_ns)

    def _activate_at(self, rank: _Rank, bank: _Bank, group: int) -> float:
        dram = self.dram
        in_group = rank.opened_in_group.get(group, NEVER) + self.device.t_rrd_l_ns
        return max(bank.activate, rank.opened[-1] + dram.t_rrd_ns, rank.opened[0] + dram.t_faw_ns, in_group)

    def issue(self, at: float, index: int, name: str) -> float | None:
        """Send the command; gives when its data are over, of an access."""
        self.command_at = at + self.device.clock_ns
        waiting = self.queue[index]
        rank = self.ranks[waiting.place.rank]
        bank = rank.banks[waiting.place.bank]
        if name == "close":
            bank.row = -1
            bank.activate = at + self.dram.t_rp_ns
            return None
        if name == "open":
            bank.row = waiting.place.row
            bank.access = at + self.dram.t_rcd_ns
            bank.close = at + self.device.t_ras_ns
            rank.opened = [*rank.opened[1:], at]
            rank.opened_in_group[waiting.place.group] = at
            self.activations += 1
            return None
        del self.queue[index]
        rank.accessed_in_group[waiting.place.group] = at
        end = at + (self.device.t_cwl_ns if waiting.write else self.dram.t_cl_ns) + self.burst_ns
        self.bus_free = end
        self.last = (waiting.write, waiting.place.rank)
        if waiting.write:
            rank.written = end
            bank.close = max(bank.close, end + self.device.t_wr_ns)
        else:
            bank.close = max(bank.close, at + self.device.t_rtp_ns)
        return end

    def refresh(self, now: float) -> None:
        """Refresh the ranks whose time has come: close all banks, then nothing of the rank for tRFC."""
        for rank in self.ranks:
            while rank.refresh_at <= now:
                closed = max(rank.refresh_at, *(b.close if b.row >= 0 else NEVER for b in rank.banks))
                closed = max(closed + self.dram.t_rp_ns, *(b.activate for b in rank.banks))
                for bank in rank.banks:
                    bank.row = -1
                    bank.activate = closed + self.dram.t_rfc_ns
                rank.refresh_at += self.dram.t_refi_ns


@dataclass(frozen=True)
class Run:
    """What a run of bursts took."""

    ns: float
    activations: int


def simulate(dram: DramType, device: Device, bursts: Sequence[Burst], queue: int) -> Run:
    """Serve bursts that enter the controllers in order, so many under way at most.  Every burst ends its whole."""
    channels = [_Channel(dram, device) for _ in range(dram.inner_channels)]
    coming = iter(bursts)
    _enter(dram, device, channels, coming, queue, 0.0)
    ends: list[float] = []  # of bursts under way, data not over yet
    last = 0.0
    while True:
        at, index, name, channel = _first(channels)
        # A place in the queue that is free by then lets a burst in first.
        if ends and ends[0] <= at:
            free_at = heappop(ends)
            _enter(dram, device, channels, coming, 1, free_at)
            continue
        if at == inf:
            break
        if min(rank.refresh_at for rank in channel.ranks) <= at:
            channel.refresh(at)
            continue
        end = channel.issue(at, index, name)
        if end is not None:
            heappush(ends, end)
            last = max(last, end)
    return Run(last, sum(channel.activations for channel in channels))


def _first(channels: Sequence[_Channel]) -> tuple[float, int, str, _Channel]:
    """The command that can go out first, and its channel."""
    found = [(*channel.next_command(), channel) for channel in channels if channel.queue]
    return min(found, key=lambda command: command[0], default=(inf, 0, "", channels[0]))


def _enter(
    dram: DramType, device: Device, channels: Sequence[_Channel], coming: Iterator[Burst], count: int, now: float
) -> None:
    """Let some bursts into the queues."""
    for _, burst in zip(range(count), coming, strict=False):
        place = _place(dram, device, burst.address)
        channels[place.channel].queue.append(_Waiting(place, burst.write, now))


def _place(dram: DramType, device: Device, address: int) -> _Place:
    """Bursts over bank groups; stripes over channels, banks and ranks."""
    burst = address // dram.burst_bytes
    stripe = address // (dram.row_bytes * dram.interleaved_groups)
    stripe, channel = divmod(stripe, dram.inner_channels)
    per_rank = dram.banks // dram.interleaved_groups
    stripe, in_group = divmod(stripe, per_rank)
    row, rank = divmod(stripe, dram.ranks)
    bank = in_group * dram.interleaved_groups + burst % dram.interleaved_groups
    return _Place(channel=channel, rank=rank, bank=bank, group=bank % device.bank_groups, row=row)
