"""The DRAM against the timings and currents of datasheets, and against a count of rows and bursts by hand."""

import csv
from dataclasses import asdict, replace
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.hardware.dram import Requests, Transfer, busiest_share, opened_rows, request_ns, rows_may_bound
from accelsim.hardware.dram_types import TIMINGS, DramType, dram_sources, dram_types
from accelsim.hardware.parts import Dram

DDR4 = dram_types()["DDR4-2400"]
LPDDR4 = dram_types()["LPDDR4-3200"]
REAL = sorted(set(dram_types()) - {"ideal"})


def reads(*bursts: int, rows: int = 0, writes: tuple[bool, ...] = (), share: float = 1.0) -> Requests:
    """Requests of so many bursts each."""
    return Requests(
        bursts=np.array(bursts, np.int64),
        rows=np.full(len(bursts), rows),
        writes=np.array(writes or (False,) * len(bursts), bool),
        share=np.full(len(bursts), share),
    )


def test_every_figure_has_a_source_and_every_type_all_figures() -> None:
    with (resources.files("accelsim.hardware") / "data" / "dram.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len({(row["type"], row["quantity"]) for row in rows}) == len(rows) == len(dram_types()) * len(asdict(DDR4))
    assert all(row["unit"] and len(row["source"]) > 2 for row in rows)
    assert all(set(sources) == set(asdict(DDR4)) for sources in dram_sources().values())
    names = ("rcd", "rp", "cl", "rrd", "faw", "ccd_l", "wtr", "rtw", "rfc", "refi")
    assert TIMINGS == tuple(f"t_{name}_ns" for name in names)


@pytest.mark.parametrize(
    ("name", "gbs", "burst", "refresh"),
    [
        ("DDR4-2400", 19.2, 64, 0.045),
        ("LPDDR4-3200", 12.8, 64, 448 / 6246),
        ("LPDDR5-6400", 12.8, 32, 0.054),
        ("HBM2", 256, 64, 260 / 3900),
    ],
)
def test_presets(name: str, gbs: float, burst: int, refresh: float) -> None:
    dram = dram_types()[name]
    assert (dram.bandwidth_gbs, dram.burst_bytes) == (gbs, burst)
    assert dram.refresh == pytest.approx(refresh, rel=0.01)
    # A burst of one channel: BL / 2 clocks.
    assert dram.burst_ns == pytest.approx(
        {"DDR4-2400": 4 * 0.833, "LPDDR4-3200": 5, "HBM2": 2}.get(name, 2.5), rel=1e-3
    )


def current_pj(chips: float, volts: float, milliamperes_ns: float) -> float:
    """Energy of a current over a time."""
    return chips * volts * milliamperes_ns


@pytest.mark.parametrize(
    ("name", "chips", "volts", "idd0", "idd2n", "idd3n", "t_ras"),
    [
        ("DDR3-1600", 8, 1.35, 67, 36, 51, 35.0),
        ("DDR4-2400", 8, 1.2, 48, 34, 43, 39 * 0.833),
        ("HBM2", 1, 1.2, 65, 40, 55, 34.0),
    ],
)
def test_opening_a_row_costs_what_the_currents_say(
    name: str, chips: int, volts: float, idd0: float, idd2n: float, idd3n: float, t_ras: float
) -> None:
    """IDD0 over tRC, less standby with the row open over tRAS and closed over tRP (DRAMsim3's presets)."""
    dram = dram_types()[name]
    charge = idd0 * (t_ras + dram.t_rp_ns) - idd3n * t_ras - idd2n * dram.t_rp_ns
    assert dram.activate_pj == pytest.approx(current_pj(chips, volts, charge), rel=0.005)
    ranks = {"HBM2": 8}.get(name, chips)  # channels of a stack
    assert dram.standby_mw == pytest.approx(ranks * volts * idd3n, rel=0.005)


@pytest.mark.parametrize(
    ("name", "chips", "volts", "idd3n", "idd4r", "idd4w", "idd5"),
    [
        ("DDR3-1600", 8, 1.35, 51, 125, 125, 245),
        ("DDR4-2400", 8, 1.2, 43, 135, 123, 250),
        ("HBM2", 1, 1.2, 55, 390, 500, 250),
    ],
)
def test_moving_bits_and_refresh_cost_what_the_currents_say(
    name: str, chips: int, volts: float, idd3n: float, idd4r: float, idd4w: float, idd5: float
) -> None:
    dram = dram_types()[name]
    for current, pj_per_bit in ((idd4r, dram.read_pj_per_bit), (idd4w, dram.write_pj_per_bit)):
        burst_pj = current_pj(chips, volts, (current - idd3n) * dram.burst_ns)
        assert pj_per_bit == pytest.approx(burst_pj / (8 * dram.burst_bytes), rel=0.005)
    refresh = current_pj(chips * dram.inner_channels, volts, idd5 - idd3n) * dram.refresh
    assert dram.refresh_mw == pytest.approx(refresh, rel=0.01)


@pytest.mark.parametrize(("name", "pj_per_bit"), [("LPDDR5-6400", 5), ("GDDR6", 6.75)])
def test_energy_of_three_bursts_an_activation_is_the_published_average(name: str, pj_per_bit: float) -> None:
    dram = dram_types()[name]
    bits = 8 * 3 * dram.burst_bytes
    of_bit = dram.read_pj_per_bit + dram.read_io_pj_per_bit
    assert (dram.activate_pj + bits * of_bit) / bits == pytest.approx(pj_per_bit, rel=1e-3)


def test_streaming_ddr4_costs_5_4_and_1_2_pj_a_bit_of_standby_and_refresh() -> None:
    """DRAMsim3, two ranks: of 19.2 GB/s less refresh."""
    gbit_s = 8 * 19.2 * (1 - 350 / 7800)
    assert DDR4.standby_mw * DDR4.ranks / gbit_s == pytest.approx(5.4, rel=0.05)
    assert DDR4.refresh_mw * DDR4.ranks / gbit_s == pytest.approx(1.2, rel=0.05)


@pytest.mark.parametrize(
    ("name", "amperes", "volts", "bits_per_s"), [("DDR4-2400", 1.2 / 94, 1.2, 2.4e9), ("GDDR6", 1.35 / 100, 1.35, 16e9)]
)
def test_io_is_the_power_of_a_terminated_line(name: str, amperes: float, volts: float, bits_per_s: float) -> None:
    """Current flows for one level, half of the bits."""
    assert dram_types()[name].read_io_pj_per_bit == pytest.approx(0.5 * amperes * volts / bits_per_s * 1e12, rel=2e-3)


def test_a_stream_reaches_the_peak_rate_less_refresh() -> None:
    """A megabyte in requests of 1 KB, all of one row's latency: DRAMsim3 57,177 ns, Ramulator 2.1 57,377."""
    ns = request_ns(DDR4, 1, reads(*[16] * 1024)).sum()
    assert ns == pytest.approx(((1 << 20) / 19.2 + 2 * 14.16) / (1 - 350 / 7800), rel=1e-9)
    assert ns == pytest.approx(57177, rel=0.001)


def test_rows_take_four_an_activation_window_where_data_are_short() -> None:
    """4,096 bursts of a row each, one rank: Ramulator 2.1 22,905.8 ns."""
    ns = request_ns(replace(DDR4, ranks=1), 1, reads(*[1] * 4096, rows=1)).sum()
    assert ns == pytest.approx((4096 * 21.66 / 4 + 28.32) / (1 - 350 / 7800))
    assert ns == pytest.approx(22905.8, rel=0.02)


def test_a_badly_mapped_stream_waits_for_its_bank_group() -> None:
    """tCCD_L is 6 clocks, a burst 4."""
    bad = replace(DDR4, interleaved_groups=1)
    good_ns, bad_ns = (request_ns(dram, 1, reads(1 << 16)).sum() for dram in (DDR4, bad))
    assert good_ns / bad_ns == pytest.approx(4 / 6, rel=0.01)


def test_the_bus_turns_where_writes_follow_reads_and_back() -> None:
    """tRTW before and tWTR + CL behind the first 32 bursts written; requests of no bytes are none."""
    writes = (False, True, False, True, True, False)
    ns = request_ns(DDR4, 1, reads(1, 32, 0, 30, 14, 1, writes=writes)) * (1 - DDR4.refresh)
    burst = 64 / 19.2
    turns = 1.67 + 7.5 + 14.16
    assert ns == pytest.approx([28.32 + burst, turns + 32 * burst, 0, 30 * burst, 14 * burst, burst])
    two_stacks = reads(1, 32, 1, writes=(False, True, False), share=1 / 16)
    shared = request_ns(dram_types()["HBM2"], 2, two_stacks) * (1 - 260 / 3900)
    assert shared == pytest.approx([28 + 2 / 16, (2 + 8 + 14 + 32 * 2) / 16, 2 / 16])
    assert request_ns(dram_types()["ideal"], 1, reads(1, 1, writes=(True, False))).sum() == 0
    assert request_ns(DDR4, 1, reads(0, 0)).tolist() == [0, 0]


def test_fewer_writes_than_a_controller_gathers_share_turns() -> None:
    """Of 8, 16 and 128 bursts a quarter, a half of turns and whole ones are paid, as they come to 32."""
    bursts = (16, 1, 8, 1, 8, 8, 1, 128, 8, 1, 8)
    writes = (True, False, True, False, True, True, False, True, True, False, True)
    ns = request_ns(DDR4, 1, reads(*bursts, writes=writes)) * (1 - DDR4.refresh)
    there = 1.67
    back = 7.5 + 14.16
    both = there + back
    turned = ns - np.array(bursts) * 64 / 19.2
    first = 28.32 + back / 2  # nothing is read before, or behind the last one
    assert turned == pytest.approx([first, 0, both / 4, 0, both / 4, both / 4, 0, both, 0, 0, there / 4], abs=1e-9)
    alone = replace(DDR4, write_queue_bursts=1)
    ns = request_ns(alone, 1, reads(*bursts, writes=writes)) * (1 - DDR4.refresh)
    turned = ns - np.array(bursts) * 64 / 19.2
    assert turned == pytest.approx([28.32 + back, 0, both, 0, both, 0, 0, both, 0, 0, there], abs=1e-9)


def test_runs_that_are_served_apart_have_no_turn_between_them() -> None:
    requests = replace(reads(32, 32, 32, 32, writes=(False, True, False, True)), run=np.array([0, 0, 1, 1]))
    turned = request_ns(DDR4, 1, requests) * (1 - DDR4.refresh) - 32 * 64 / 19.2
    assert turned == pytest.approx([28.32, 1.67, 28.32, 1.67])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=30), st.integers(1, 100), st.data())
def test_leaving_out_a_load_makes_no_other_request_dearer(
    asked: list[tuple[int, bool]], queue: int, data: st.DataObject
) -> None:
    """Other than the one that is now the first, by less than the one before it took."""
    dram = replace(DDR4, write_queue_bursts=queue)
    bursts, writes = (list(column) for column in zip(*asked, strict=True))
    out = data.draw(st.sets(st.sampled_from([i for i, write in enumerate(writes) if not write] or [0])))
    fewer = [0 if i in out and not writes[i] else n for i, n in enumerate(bursts)]
    whole, rest = (request_ns(dram, 1, reads(*n, writes=writes)) for n in (bursts, fewer))
    there = np.flatnonzero(fewer)
    assert (rest[there[1:]] <= whole[there[1:]] * (1 + 1e-12)).all()
    assert rest[: there[0] + 1 if len(there) else 0].sum() <= whole[: there[0] + 1 if len(there) else 0].sum() * (
        1 + 1e-12
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=30), st.integers(1, 100), st.data())
def test_neither_shorter_requests_nor_a_longer_queue_cost_time(
    asked: list[tuple[int, bool]], queue: int, data: st.DataObject
) -> None:
    """Together.  A shorter write leaves more of a turn to those behind it."""
    bursts, writes = (list(column) for column in zip(*asked, strict=True))
    one = replace(DDR4, write_queue_bursts=queue)
    longer = replace(DDR4, write_queue_bursts=queue + data.draw(st.integers(0, 100)))
    ns = request_ns(one, 1, reads(*bursts, writes=writes)).sum()
    assert request_ns(longer, 1, reads(*bursts, writes=writes)).sum() <= ns * (1 + 1e-12)
    fewer = [data.draw(st.integers(0, n)) for n in bursts]
    assert request_ns(one, 1, reads(*fewer, writes=writes)).sum() <= ns * (1 + 1e-12)


def one(n_bytes: int, address: int = 0, planes: int = 1, pitch: int = 0, lines: int = 1, line: int = 0) -> Transfer:
    """One request."""
    figures = (n_bytes, address, planes, pitch, lines, line)
    names = ("n_bytes", "address", "planes", "plane_bytes", "lines", "line_bytes")
    return Transfer(**{name: np.array([figure]) for name, figure in zip(names, figures, strict=True)})


def test_bursts_are_those_that_a_request_touches() -> None:
    assert one(64, 32).bursts(64).tolist() == [2]
    assert one(64, 64).bursts(64).tolist() == [1]
    assert one(65, 64).bursts(64).tolist() == [2]
    assert one(0).bursts(64).tolist() == [0]
    # 112 bytes of each line of 448, 7 lines: all begin 48 bytes behind a burst, and touch three of them.
    assert one(7 * 112, 112, lines=7, line=448).bursts(64).tolist() == [21]


@settings(deadline=None)
@given(
    st.integers(0, 300), st.integers(1, 300), st.integers(1, 6), st.integers(0, 500), st.integers(1, 6),
    st.integers(0, 500), st.sampled_from([1, 8, 64]),
)  # fmt: skip
def test_bursts_of_many_pieces_are_right_on_average(
    address: int, piece: int, planes: int, pitch: int, lines: int, line: int, burst: int
) -> None:
    """Not above what any places of the pieces could touch, nor below what their bytes fill; exact where all pieces
    begin alike."""
    pieces = planes * lines
    asked = one(piece * pieces, address, planes, pitch, lines, line).bursts(burst)[0]
    starts = [address + p * pitch + q * line for p in range(planes) for q in range(lines)]
    touched = [(s + piece - 1) // burst - s // burst + 1 for s in starts]
    if len({s % burst for s in starts}) == 1 and pitch % burst == 0 and line % burst == 0:
        assert asked == sum(touched)
    assert pieces * (-(-piece // burst)) <= asked + pieces * (burst > 1)
    assert asked <= pieces * ((piece - 2) // burst + 2)


def rows_by_hand(dram: DramType, channels: int, bursts: list[tuple[int, int]]) -> int:
    """Rows opened by bursts (tensor, address) one after the other, bank by bank."""
    groups = dram.interleaved_groups
    stripes = dram.banks * dram.ranks * dram.inner_channels * channels // groups
    held: dict[tuple[int, int], tuple[int, int]] = {}
    opened = 0
    for tensor, address in bursts:
        stripe = address // (dram.row_bytes * groups)
        bank = stripe % stripes, address // dram.burst_bytes % groups
        opened += held.get(bank) != (tensor, stripe)
        held[bank] = tensor, stripe
    return opened


@settings(deadline=None)
@given(st.data())
def test_rows_opened_are_those_of_a_walk_through_all_bursts(data: st.DataObject) -> None:
    """Small rows and few banks, several tensors, requests of lines that meet or miss whole rows; each request visits
    its bursts plane by plane, line by line."""
    groups = data.draw(st.sampled_from([1, 2, 4]))
    dram = replace(DDR4, row_bytes=256, banks=4 * groups, ranks=data.draw(st.integers(1, 2)), interleaved_groups=groups)
    channels = data.draw(st.integers(1, 2))
    steps = data.draw(st.integers(1, 5))
    stripe = 256 * groups
    tensors = []
    for _ in range(2):
        requests = []
        for _ in range(steps):
            lines = data.draw(st.integers(1, 3))
            piece = 64 * data.draw(st.integers(1, 12))
            gap = data.draw(st.sampled_from([0, stripe + piece])) + piece  # adjacent, or a stripe and more apart
            planes = data.draw(st.integers(0, 2))
            pitch = 64 * data.draw(st.integers(0, 60))
            address = 64 * data.draw(st.integers(0, 100))
            requests.append((piece * planes * lines, address, planes, pitch, lines, gap))
        columns = np.array(requests, np.int64).T
        names = ("n_bytes", "address", "planes", "plane_bytes", "lines", "line_bytes")
        tensors.append(Transfer(**dict(zip(names, columns, strict=True))))
    order = np.array(data.draw(st.permutations(range(2 * steps))))
    opened = opened_rows(dram, channels, tensors, order)
    walked: list[tuple[int, int]] = []
    before = 0
    for index in order.tolist():
        tensor, i = divmod(index, steps)
        t = tensors[tensor]
        piece = int(t.n_bytes[i]) // max(1, int(t.planes[i] * t.lines[i]))
        for plane in range(int(t.planes[i])):
            for line in range(int(t.lines[i])):
                first = int(t.address[i] + plane * t.plane_bytes[i] + line * t.line_bytes[i])
                walked += [(tensor, first + at) for at in range(0, piece, 64)]
        now = rows_by_hand(dram, channels, walked)
        assert opened[tensor, i] == now - before
        before = now
    bursts = Transfer.of_all(tensors).bursts(64)
    if not rows_may_bound(dram, Transfer.of_all(tensors), bursts).any():
        assert (opened.ravel() * dram.activate_gap_ns <= bursts * dram.burst_ns).all()


@settings(deadline=None)
@given(st.data())
def test_the_busiest_channel_is_that_of_a_count_burst_by_burst(data: st.DataObject) -> None:
    """Requests of lines and planes that meet or miss each other, of two runs; then of channels that divide these."""
    groups, inner = data.draw(st.sampled_from([(1, 1), (2, 1), (1, 4), (4, 2)]))
    dram = replace(DDR4, row_bytes=256, interleaved_groups=groups, inner_channels=inner)
    channels = data.draw(st.integers(1, 4))
    steps = data.draw(st.integers(1, 4))
    tensors = []
    for _ in range(2):
        sizes = [st.integers(0, 3), st.integers(0, 4000), st.integers(1, 3), st.integers(0, 3000), st.integers(1, 900)]
        drawn = np.array([data.draw(st.tuples(*sizes, st.integers(0, 9000))) for _ in range(steps)], np.int64).T
        planes, plane, lines, gap, piece, address = drawn
        line = piece + gap * data.draw(st.integers(0, 1))
        tensors.append(Transfer(piece * planes * lines, address, planes, plane, lines, line))
    run = np.array(data.draw(st.lists(st.integers(0, 1), min_size=steps, max_size=steps)))
    counted = np.zeros((int(run.max()) + 1, channels * inner))
    for t in tensors:
        for i in range(steps):
            for plane in range(int(t.planes[i])):
                for line in range(int(t.lines[i])):
                    first = int(t.address[i] + plane * t.plane_bytes[i] + line * t.line_bytes[i])
                    piece = int(t.n_bytes[i] // (t.planes[i] * t.lines[i]))
                    if t.lines[i] > 1 and t.line_bytes[i] == piece:  # one piece
                        if line:
                            continue
                        piece *= int(t.lines[i])
                    for burst in range(first // 64, (first + piece - 1) // 64 + 1):
                        counted[run[i], burst * 64 // (256 * groups) % (channels * inner)] += 1
    total = counted.sum(axis=1)
    expected = np.where(total > 0, counted.max(axis=1) / np.maximum(total, 1), 1)
    found = busiest_share(dram, channels, tensors, run)
    assert found == pytest.approx(expected)
    assert (busiest_share(dram, 3 * channels, tensors, run) <= found + 1e-12).all()


def test_a_run_takes_as_long_as_its_busiest_channel() -> None:
    """HBM2's stripes of 1 KB: of requests of 1 KB all 8 KB apart one channel moves all, of 17 in a row three of 17."""
    hbm2 = dram_types()["HBM2"]
    apart = Transfer.contiguous(np.full(4, 1024), 8192 * np.arange(4))
    in_a_row = Transfer.contiguous(np.full(17, 1024))
    for tensor, share in ((apart, 1.0), (in_a_row, 3 / 17)):
        run = np.zeros(len(tensor.n_bytes), np.int64)
        assert busiest_share(hbm2, 1, [tensor], run).tolist() == [share]
    assert busiest_share(hbm2, 2, [apart], np.zeros(4, np.int64)).tolist() == [0.5]
    # 64 bursts of 2 ns each, one after the other.
    ns = request_ns(hbm2, 1, reads(16, 16, 16, 16, share=1.0)).sum()
    assert ns * (1 - hbm2.refresh) == pytest.approx(128 + 28)


def test_many_requests_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.random.default_rng(0).integers(0, 1 << 20, 3000) * 64
    scattered = Transfer.contiguous(np.full(3000, 640), places)
    order = np.arange(3000)
    at_once = opened_rows(LPDDR4, 1, [scattered], order)
    monkeypatch.setattr("accelsim.hardware.dram.TOUCHES_AT_ONCE", 50)
    assert (opened_rows(LPDDR4, 1, [scattered], order) == at_once).all()
    assert 2700 < at_once.sum() < 3000 * 1.2  # rows of 64 KB side by side out of 64 MB: few meet an open one


@settings(deadline=None)
@given(
    st.sampled_from(REAL), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 50), st.booleans()), min_size=1),
    st.sampled_from(["bandwidth_gbs", "channels", "ranks", *TIMINGS]), st.floats(1, 4),
)  # fmt: skip
def test_no_request_of_a_faster_dram_takes_longer(
    name: str, asked: list[tuple[int, int, bool]], what: str, times: float
) -> None:
    bursts, rows, writes = (np.array(column) for column in zip(*asked, strict=True))
    dram = dram_types()[name]
    requests = Requests(
        bursts=bursts.astype(np.int64),
        rows=np.minimum(rows, bursts),
        writes=writes.astype(bool),
        share=np.full(len(bursts), 1 / dram.inner_channels),
    )
    better = requests
    channels = 1
    faster = dram
    if what == "channels":
        channels = 2
        better = replace(requests, share=requests.share / min(times, 2))
    elif what == "ranks":
        faster = replace(dram, ranks=2 * dram.ranks)
    elif what in ("bandwidth_gbs", "t_refi_ns"):
        faster = replace(dram, **{what: getattr(dram, what) * times})
    else:
        faster = replace(dram, **{what: getattr(dram, what) / times})
    slow, fast = request_ns(dram, 1, requests), request_ns(faster, channels, better)
    assert (fast <= slow * (1 + 1e-12)).all()
    assert (request_ns(dram_types()["ideal"], 1, requests) <= fast).all()
    assert ((slow > 0) == (requests.bursts > 0)).all()
    assert (slow >= requests.bursts * dram.burst_bytes / dram.bandwidth_gbs - 1e-9).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 1 << 12)), min_size=1, max_size=30))
def test_more_banks_never_open_more_rows(asked: list[tuple[int, int]]) -> None:
    addresses, sizes = (np.array(column, np.int64) for column in zip(*asked, strict=True))
    tensor = Transfer.contiguous(sizes, addresses)
    few = replace(LPDDR4, row_bytes=128, banks=2)
    order = np.arange(len(asked))
    counts = [
        int(opened_rows(dram, channels, [tensor], order).sum())
        for dram, channels in ((few, 1), (replace(few, banks=4), 1), (replace(few, ranks=4), 1), (few, 8))
    ]
    assert counts == sorted(counts, reverse=True)


def test_every_figure_can_be_replaced() -> None:
    own = {
        "bandwidth_gbs": 1.5, "burst_bytes": 16, "row_bytes": 512, "ranks": 3, "banks": 5, "interleaved_groups": 1,
        "write_queue_bursts": 2,
        "t_rcd_ns": 1.0, "t_rp_ns": 2.0, "t_cl_ns": 3.0, "t_rrd_ns": 4.0, "t_faw_ns": 5.0, "t_ccd_l_ns": 6.0,
        "t_wtr_ns": 7.0, "t_rtw_ns": 8.0, "t_rfc_ns": 9.0, "t_refi_ns": 1000.0,
    }  # fmt: skip
    timing = Dram(type="DDR4-2400", **own).timing
    assert {key: getattr(timing, key) for key in own} == own
    assert timing.read_io_pj_per_bit == DDR4.read_io_pj_per_bit
    assert set(own) == {key for key in Dram.model_fields if key not in {"type", "channels"}}


def test_bank_groups_keep_pace_with_a_rate_of_ones_own() -> None:
    """tCCD_L is so many clocks."""
    slow = Dram(type="DDR4-2400", bandwidth_gbs=9.6, interleaved_groups=1).timing
    assert slow.t_ccd_l_ns == 10
    assert slow.burst_ns == 10


def test_refresh_leaves_time() -> None:
    with pytest.raises(ValueError, match="t_rfc_ns is 950"):
        Dram(type="DDR4-2400", t_rfc_ns=950, t_refi_ns=1000)
