"""Off-chip memory: how long requests take, and which rows they open.

One DRAM serves one DMA engine, open page, requests in order, two in its queue: while the data of
one flow, the rows of the next are opened in other banks.  Writes are posted: the controller gathers
``write_queue_bursts`` of them before it turns the bus, so fewer pay a share of a turn.  So a run of
requests takes

    ns = (max(bursts at the peak rate, rows newly opened x max(tRRD, tFAW / 4))
          + turns of the bus + tRP + tRCD once) / (1 - tRFC / tREFI)

where the bus turns from reading to writing in tRTW and back in tWTR + CL.  Both are paid by the
writes (``turn_ns``).  The larger of data and rows is taken request by request.  Channels work side
by side, but a run of requests takes as long as the busiest of them: its share of the run's bursts,
counted from the addresses, is that of data and rows; turns are shared evenly.  A row is opened
where it is not the one that its bank holds open.  Consecutive bursts alternate over bank groups
(``interleaved_groups``); stripes of one row in each group go around channels, ranks and banks, each
tensor from the first bank on.  Where bursts stay in one group each takes tCCD_L at least.

Left out: that a bank has to wait for tRC between two of its rows, that gathered writes open fewer
rows, rows opened again after a refresh (under 1 % of the energy), a power-down while nothing is
asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from accelsim.arrays import Flags, Floats, Ints
from accelsim.hardware.dram_types import DramType

TOUCHES_AT_ONCE = 1 << 20  # rows that requests touch, looked at together: some ten MB


@dataclass(frozen=True)
class Transfer:
    """Requests for parts of one tensor, as int64 arrays of one shape.

    A request is ``planes`` x ``lines`` pieces of equal size, each of consecutive addresses.
    """

    n_bytes: Ints  # of each request, 0 for none
    address: Ints  # of its first byte, from the tensor's first
    planes: Ints  # parts of the tensor that it meets
    plane_bytes: Ints  # from its piece in a plane to that in the next
    lines: Ints  # pieces in each plane
    line_bytes: Ints  # from a piece in a plane to the next

    @staticmethod
    def contiguous(n_bytes: ArrayLike, address: ArrayLike | None = None) -> "Transfer":
        """Requests of one piece each.

        Without addresses each begins where the one before it ends.
        """
        size = np.asarray(n_bytes, np.int64)
        some = (size > 0).astype(np.int64)
        start = behind(size) if address is None else np.asarray(address, np.int64) * some
        none = np.zeros_like(size)
        return Transfer(
            n_bytes=size,
            address=start,
            planes=some,
            plane_bytes=none,
            lines=some,
            line_bytes=none,
        )

    @staticmethod
    def of_all(transfers: "Sequence[Transfer]") -> "Transfer":
        """The requests of several tensors laid end to end, as flat arrays."""
        return Transfer(
            n_bytes=np.concatenate([transfer.n_bytes for transfer in transfers]),
            address=np.concatenate([transfer.address for transfer in transfers]),
            planes=np.concatenate([transfer.planes for transfer in transfers]),
            plane_bytes=np.concatenate([transfer.plane_bytes for transfer in transfers]),
            lines=np.concatenate([transfer.lines for transfer in transfers]),
            line_bytes=np.concatenate([transfer.line_bytes for transfer in transfers]),
        )

    @cached_property
    def pieces(self) -> Ints:
        """Runs of consecutive addresses of each request."""
        return self.planes * self.lines

    @cached_property
    def piece_bytes(self) -> Ints:
        """Bytes of each of them, rounded up."""
        return np.asarray(-(-self.n_bytes // np.maximum(self.pieces, 1)))

    def bursts(self, burst_bytes: int) -> Ints:
        """Bursts that hold a byte of each request, rounded up.

        Of many pieces that lie differently: on average.
        """
        # Pieces begin at their request's address and any number of these steps behind it.
        between_planes = np.where(self.planes > 1, self.plane_bytes, 0)
        between_lines = np.where(self.lines > 1, self.line_bytes, 0)
        steps = np.gcd(np.gcd(between_planes, between_lines), burst_bytes)
        behind_first = (self.address % steps + self.piece_bytes - 1) // steps * steps  # on average
        bursts = self.pieces - (-self.pieces * behind_first // burst_bytes)
        return np.where(self.n_bytes > 0, bursts, 0)

    def some(self, which: slice) -> "Transfer":
        """Some of the requests."""
        return Transfer(**{name: getattr(self, name)[which] for name in Transfer.__dataclass_fields__})

    def part(self, share: float) -> "Transfer":
        """This share of each request, at least a byte and a plane of it.

        Of a share of 0 nothing is left.
        """
        if share == 1:
            return self
        n_bytes = np.ceil(share * self.n_bytes).astype(np.int64)
        planes = np.ceil(share * self.planes).astype(np.int64)
        return replace(self, n_bytes=n_bytes, planes=planes)


def behind(sizes: Ints) -> Ints:
    """Where each of some sizes begins if they lie one behind the other."""
    return np.asarray(sizes.cumsum() - sizes)


def rows_may_bound(dram: DramType, requests: Transfer, bursts: Ints) -> Flags:
    """Whether opening rows may take longer than the data of each request.

    bursts: of each request.
    """
    stripe_bytes = dram.row_bytes * dram.interleaved_groups
    whole = requests.line_bytes - requests.piece_bytes < stripe_bytes
    spans = requests.lines
    plane_bytes = spans * requests.line_bytes + requests.piece_bytes
    span_bytes = np.where(whole, plane_bytes, requests.piece_bytes)
    stripes = requests.planes * np.where(whole, 1, spans) * (span_bytes // stripe_bytes + 2)
    rows = np.minimum(stripes * dram.interleaved_groups, bursts)
    return np.asarray(rows * dram.activate_gap_ns > bursts * dram.burst_ns)


@dataclass(frozen=True)
class Requests:
    """Requests in the order in which they are served: (requests,); those of no bursts are none."""

    bursts: Ints
    rows: Ints  # newly opened
    writes: Flags  # from the chip to the DRAM
    # of all bursts of its run that the run's busiest channel moves, 1 / channels to 1
    share: Floats
    run: Ints | None = None  # to which each belongs, where several are served apart; None: all are one

    def begins(self, some: Ints) -> Flags:
        """Which of some requests are the first of their run.  some: in order."""
        first: Flags = np.arange(len(some)) == 0
        if self.run is not None:
            first[1:] = np.diff(self.run[some]) != 0
        return np.asarray(first)


def request_ns(dram: DramType, channels: int, requests: Requests) -> Floats:
    """Time of each request.

    Data or rows, whichever takes longer, a write's share of turns of the bus, and what the first
    one of a run waits for.  Without some loads, and with rows and shares as they are, no other
    request takes longer, but for one that is now the first of its run, and that by less than the
    first one took.

    channels: DRAMs side by side.
    """
    data_ns = requests.bursts * (dram.burst_ns * requests.share)
    rows_ns = requests.rows * (dram.activate_gap_ns * requests.share)
    some = np.flatnonzero(requests.bursts)
    ns = np.zeros(len(requests.bursts))
    begins = requests.begins(some)
    turns_ns = turn_ns(dram, requests.bursts[some], requests.writes[some], begins)
    ns[some] = np.maximum(data_ns, rows_ns)[some] + turns_ns / (channels * dram.inner_channels)
    ns[some[begins]] += dram.first_row_ns
    return ns / (1 - dram.refresh)


def turn_ns(dram: DramType, bursts: Ints, writes: Flags, begins: Flags) -> Floats:
    """Turns of one channel's bus that each request pays for: (requests,) ns; reads pay none.

    The bus turns to writes that something was read before, and back where something is read behind
    them, in the same run.  Of w bursts written between reads, min(1, w / q) of both turns is paid,
    q = ``write_queue_bursts``, by each of the writes what it adds to that:

        (min(q, bursts written from the last read up to this write, with it)
         - min(q, those without it)) / q

    So leaving out reads makes no write dearer: where it joins two sets of writes, those of the
    second one have more before them, and the increments of min(q, w) fall with w; where nothing is
    read any more before or behind writes, they pay less.  And leaving out or shortening a write
    makes the sum of all no larger, for min(q, w) neither falls with w nor grows for two sets
    that are joined: min(q, v + w) <= min(q, v) + min(q, w).

    bursts, writes, begins: (requests,), at least one burst each; the first of each run begins it.
    """
    changes = begins | np.append(True, writes[1:] != writes[:-1])[: len(writes)]
    of = np.cumsum(changes) - 1
    first = begins[changes]
    turns_to = np.where(first, 0, dram.t_rtw_ns)
    turns_back = np.where(np.append(first[1:], True)[: len(first)], 0, dram.write_to_read_ns)
    total = np.cumsum(bursts)
    before = (total - bursts)[changes][of]
    queue = dram.write_queue_bursts
    share = (np.minimum(queue, total - before) - np.minimum(queue, total - bursts - before)) / queue
    return np.asarray(writes * share * (turns_to + turns_back)[of])


def busiest_share(dram: DramType, channels: int, tensors: Sequence[Transfer], run: Ints) -> Floats:
    """Share of the bursts of each run that its busiest channel moves: (runs,).

    1 where nothing is moved.  It never grows where channels become a multiple of what they were.

    run: to which each request of a tensor belongs, from 0; the same for every tensor.
    """
    side_by_side = channels * dram.inner_channels
    runs = int(run.max(initial=-1)) + 1
    if side_by_side == 1:
        return np.ones(runs)
    asked = Transfer.of_all(tensors)
    run_of = np.tile(run, len(tensors))
    stripe = max(1, dram.row_bytes * dram.interleaved_groups // dram.burst_bytes)  # in bursts
    parts = asked.pieces * np.minimum(side_by_side + 1, asked.piece_bytes // (stripe * dram.burst_bytes) + 2)
    even = np.zeros(runs)  # bursts of each channel alike
    further = np.zeros(runs * side_by_side)
    for requests in _chunks(np.cumsum(parts)):
        request, first, bursts = _pieces(asked, requests, dram.burst_bytes)
        rounds, rest = np.divmod(bursts, stripe * side_by_side)
        even += np.bincount(run_of[request], rounds * stripe, runs)
        piece, nth = _repeated(np.where(rest > 0, (first + rest - 1) // stripe - first // stripe + 1, 0))
        at = first[piece] // stripe + nth
        count = np.minimum(first[piece] + rest[piece], (at + 1) * stripe) - np.maximum(first[piece], at * stripe)
        channel = run_of[request[piece]] * side_by_side + at % side_by_side
        further += np.bincount(channel, count, len(further))
    moved = even[:, None] + further.reshape(runs, side_by_side)
    total = moved.sum(axis=1)
    return np.where(total > 0, moved.max(axis=1) / np.maximum(total, 1), 1.0)


def _pieces(asked: Transfer, requests: slice, burst_bytes: int) -> tuple[Ints, Ints, Ints]:
    """Runs of consecutive addresses of some requests.

    Whose, the first burst, and how many bursts.
    """
    joined = asked.line_bytes[requests] == asked.piece_bytes[requests]
    lines = np.where(joined, np.minimum(asked.lines[requests], 1), asked.lines[requests])
    of_request, nth = _repeated(asked.planes[requests] * lines * (asked.n_bytes[requests] > 0))
    request = of_request + requests.start
    plane, line = np.divmod(nth, lines[of_request])
    address = asked.address[request] + plane * asked.plane_bytes[request] + line * asked.line_bytes[request]
    n_bytes = asked.piece_bytes[request] * np.where(joined, asked.lines[requests], 1)[of_request]
    first = address // burst_bytes
    return request, first, (address + n_bytes - 1) // burst_bytes - first + 1


def opened_rows(dram: DramType, channels: int, tensors: Sequence[Transfer], order: Ints) -> Ints:
    """Rows that each request newly opens: (tensors, requests of each) int64.

    order: in which the requests are served, as an index into those of all tensors laid end to end;
    those that it leaves out are none.
    """
    spans = _Spans.of(dram, tensors, order)
    touched_stripes = spans.count * (spans.n_bytes // spans.stripe_bytes + 2)
    at_once = np.cumsum(touched_stripes * dram.interleaved_groups)
    opened = np.zeros(len(order), np.int64)
    banks = np.zeros(0, np.int64)  # that were used, and the row that each holds open
    rows = np.zeros(0, np.int64)
    all_banks = dram.banks * dram.ranks * dram.inner_channels * channels
    stripes = max(1, all_banks // dram.interleaved_groups)
    for requests in _chunks(at_once):
        touched = spans.touched(requests, stripes)
        held = len(banks)
        banks = np.concatenate([banks, touched.bank])
        rows = np.concatenate([rows, touched.row])
        by_bank = np.argsort(banks, kind="stable")
        banks = banks[by_bank]
        rows = rows[by_bank]
        same_bank = banks[1:] == banks[:-1]
        new = np.append(True, ~same_bank | (rows[1:] != rows[:-1]))[: len(banks)]
        opens = np.zeros(len(banks))
        opens[by_bank] = new
        opened += np.bincount(touched.request, opens[held:], len(order)).astype(np.int64)
        last = np.append(~same_bank, True)[: len(banks)]
        banks = banks[last]
        rows = rows[last]
    found = np.zeros((len(tensors), len(tensors[0].n_bytes)), np.int64)
    found.reshape(-1)[order] = opened
    return found


def _chunks(running_total: Ints) -> Iterator[slice]:
    """Requests some at a time, TOUCHES_AT_ONCE or one request.

    running_total: of what they touch at most.
    """
    first = 0
    while first < len(running_total):
        before = int(running_total[first - 1]) if first else 0
        last = int(np.searchsorted(running_total, before + TOUCHES_AT_ONCE, side="right"))
        yield slice(first, max(last, first + 1))
        first = max(last, first + 1)


@dataclass(frozen=True)
class _Touched:
    """Rows that requests touch, in order."""

    request: Ints
    bank: Ints
    row: Ints


@dataclass(frozen=True)
class _Spans:
    """Requests in order, each as spans of addresses in which no row is left out: (requests,)."""

    tensor: Ints
    tensors: int
    address: Ints
    count: Ints  # spans of a request
    in_plane: Ints  # spans of a plane
    plane_bytes: Ints
    line_bytes: Ints
    n_bytes: Ints  # of a span
    burst_bytes: int
    stripe_bytes: int  # a row in each of the groups that bursts alternate over
    groups: int

    @staticmethod
    def of(dram: DramType, tensors: Sequence[Transfer], order: Ints) -> "_Spans":
        """Lines of a plane are one span where they leave no whole stripe between them."""

        asked = Transfer.of_all(tensors)
        stripe_bytes = dram.row_bytes * dram.interleaved_groups
        piece = asked.piece_bytes
        joined = asked.line_bytes - piece < stripe_bytes
        lines = np.where(joined, 1, asked.lines)
        requests = len(tensors[0].n_bytes)
        return _Spans(
            tensor=order // requests,
            tensors=len(tensors),
            address=asked.address[order],
            count=(asked.planes * lines * (asked.n_bytes > 0))[order],
            in_plane=lines[order],
            plane_bytes=asked.plane_bytes[order],
            line_bytes=asked.line_bytes[order],
            n_bytes=np.where(joined, (asked.lines - 1) * asked.line_bytes + piece, piece)[order],
            burst_bytes=dram.burst_bytes,
            stripe_bytes=stripe_bytes,
            groups=dram.interleaved_groups,
        )

    def touched(self, requests: slice, stripes: int) -> _Touched:
        """Rows that some of the requests touch.  stripes: that can be open at once."""
        of_request, nth = _repeated(self.count[requests])
        request = of_request + requests.start
        plane, line = np.divmod(nth, self.in_plane[request])
        in_tensor = plane * self.plane_bytes[request] + line * self.line_bytes[request]
        first = self.address[request] + in_tensor
        last = first + self.n_bytes[request] - 1
        span, nth = _repeated(last // self.stripe_bytes - first // self.stripe_bytes + 1)
        stripe = first[span] // self.stripe_bytes + nth
        begin = np.maximum(first[span], stripe * self.stripe_bytes) // self.burst_bytes
        end = np.minimum(last[span], (stripe + 1) * self.stripe_bytes - 1) // self.burst_bytes
        part, nth = _repeated(np.minimum(end - begin + 1, self.groups))
        group = (begin[part] + nth) % self.groups
        tensor = self.tensor[request[span[part]]]
        return _Touched(
            request=request[span[part]],
            bank=stripe[part] % stripes * self.groups + group,
            row=stripe[part] * self.tensors + tensor,
        )


def _repeated(counts: Ints) -> tuple[Ints, Ints]:
    """0 as often as the first count says, 1 as the second, and so on.

    And how many of the same came before each.
    """
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - behind(counts)[index]
