"""DRAM times against the presets of DRAMsim3 and Ramulator 2: DDR4-2400, tRCD = tRP = CL = 14.1 ns, 64 B bursts,
8 KB rows, 19.2 GB/s, tRFC / tREFI = 4.5 %; a row hit costs 17.4 ns and a conflict 45.6 ns."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.dram import DRAM_TYPES, Transfer, transfer_ns, turnaround_ns
from accelsim.hardware.parts import Dram

DDR4 = DRAM_TYPES["DDR4-2400"]


def requests(n_bytes: int, pieces: int = 1, rows: int = 1) -> Transfer:
    return Transfer(np.array([n_bytes]), np.array([pieces]), np.array([rows]))


def test_a_conflict_costs_precharge_and_activation_beyond_a_hit() -> None:
    hit, conflict = 17.4, 45.6
    burst = 64 / 19.2
    ours = transfer_ns(DDR4, 1, requests(64))[0] * (1 - DDR4.refresh)
    assert ours - burst == pytest.approx(conflict - hit, rel=0.001)


def test_a_long_stream_reaches_the_peak_rate_less_refresh_and_row_misses() -> None:
    n_bytes = 1 << 24
    stream = Transfer.contiguous(n_bytes, DDR4.row_bytes)
    efficiency = n_bytes / 19.2 / float(transfer_ns(DDR4, 1, stream))
    assert efficiency == pytest.approx((1 - 0.045) * (1 / (1 + 28.2 / (8192 / 19.2))))
    assert 0.88 < efficiency < 0.90


@pytest.mark.parametrize(
    ("name", "gbs", "burst"), [("DDR4-2400", 19.2, 64), ("LPDDR5-6400", 12.8, 32), ("HBM2", 256, 32)]
)
def test_presets(name: str, gbs: float, burst: int) -> None:
    assert (DRAM_TYPES[name].bandwidth_gbs, DRAM_TYPES[name].burst_bytes) == (gbs, burst)
    assert DRAM_TYPES[name].row_miss_ns == pytest.approx({"LPDDR5-6400": 37.5}.get(name, 28.1), rel=0.01)


@pytest.mark.parametrize(("name", "pj_per_bit"), [("LPDDR4-3200", 8), ("DDR3-1600", 70), ("HBM2", 3.9)])
def test_energy_of_three_bursts_an_activation_is_the_published_average(name: str, pj_per_bit: float) -> None:
    dram = DRAM_TYPES[name]
    bits = 8 * 3 * dram.burst_bytes
    of_bit = dram.move_pj_per_bit + dram.io_pj_per_bit
    assert (dram.activate_pj + bits * of_bit) / bits == pytest.approx(pj_per_bit)


def test_the_parts_of_hbm2_are_the_published_ones() -> None:
    """1.21 to open rows, 2.24 to move, 0.3 for I/O of 3.9 pJ/bit; what is not told apart (0.15) counts as moving."""
    dram = DRAM_TYPES["HBM2"]
    assert dram.activate_pj / (8 * 3 * dram.burst_bytes) == pytest.approx(1.21, rel=0.01)
    assert dram.move_pj_per_bit == pytest.approx(2.24 + 0.15, rel=0.02)
    assert dram.io_pj_per_bit == 0.3


@pytest.mark.parametrize(
    ("name", "amperes", "volts", "bits_per_s"), [("DDR4-2400", 1.2 / 94, 1.2, 2.4e9), ("GDDR6", 1.35 / 100, 1.35, 16e9)]
)
def test_io_is_the_power_of_a_terminated_line(name: str, amperes: float, volts: float, bits_per_s: float) -> None:
    """Current flows for one level, half of the bits."""
    assert DRAM_TYPES[name].io_pj_per_bit == pytest.approx(0.5 * amperes * volts / bits_per_s * 1e12)


@pytest.mark.parametrize("name", sorted(DRAM_TYPES))
def test_no_part_is_negative(name: str) -> None:
    dram = DRAM_TYPES[name]
    assert min(dram.activate_pj, dram.move_pj_per_bit, dram.io_pj_per_bit) >= 0


@given(st.sampled_from(sorted(DRAM_TYPES)), st.integers(0, 1 << 20), st.integers(1, 8), st.integers(1, 8))
def test_more_bytes_and_rows_take_longer_and_more_channels_do_not(name: str, n: int, pieces: int, rows: int) -> None:
    dram = DRAM_TYPES[name]
    one = transfer_ns(dram, 1, requests(n, pieces, rows))[0]
    assert (one == 0) == (n == 0 or name == "ideal")
    assert transfer_ns(dram, 1, requests(n + 64 * pieces, pieces, rows))[0] >= one
    assert transfer_ns(dram, 1, requests(n, pieces, rows + 1))[0] >= one
    assert transfer_ns(dram, 2, requests(n, pieces, rows))[0] <= one
    if n and name != "ideal":  # whole bursts never take less than the bytes at the peak rate
        assert one >= n / dram.bandwidth_gbs


def test_a_turn_of_the_bus_costs_its_gap_and_no_turn_none() -> None:
    """DRAMsim3's DDR4-2400: 2 clocks before a write; tWTR_L + CL = 9 + 16 clocks of 0.833 ns before a read."""
    writes = np.array([False, False, True, True, False, True])
    gaps = turnaround_ns(DDR4, writes)
    assert gaps[[0, 1, 3]].tolist() == [0, 0, 0]
    assert gaps[[2, 5]] == pytest.approx(2 * 0.833, abs=0.05)
    assert gaps[4] == pytest.approx(25 * 0.833, abs=0.05)
    assert turnaround_ns(DRAM_TYPES["ideal"], writes).sum() == 0
    assert turnaround_ns(DDR4, np.zeros(0, bool)).shape == (0,)


def test_rows_opened_ahead_hide_behind_the_data() -> None:
    """A sequential stream then loses its first row and refresh alone; scattered bursts one row each tFAW / 4."""
    ahead = replace(DDR4, bank_overlap=True)
    n_bytes = 1 << 24
    stream = float(transfer_ns(ahead, 1, Transfer.contiguous(n_bytes, DDR4.row_bytes)))
    assert stream * (1 - 0.045) == pytest.approx(n_bytes / 19.2 + 28.2)
    scattered = transfer_ns(ahead, 1, requests(64 * 1000, 1000, 1000))[0] * (1 - 0.045)
    assert scattered == pytest.approx(28.2 + 999 * 26 / 4 * 0.833, rel=0.01)


@given(st.sampled_from(sorted(DRAM_TYPES)), st.integers(1, 1 << 20), st.integers(1, 64), st.integers(1, 4))
def test_opening_rows_ahead_never_takes_longer(name: str, n: int, rows: int, channels: int) -> None:
    dram = DRAM_TYPES[name]
    conservative, ahead = (
        transfer_ns(replace(dram, bank_overlap=overlap), channels, requests(n, 1, rows))[0] for overlap in (False, True)
    )
    assert ahead <= conservative
    assert ahead >= conservative / (rows + 1)


def test_every_figure_can_be_replaced() -> None:
    own = {
        "bandwidth_gbs": 1.5, "burst_bytes": 16, "row_bytes": 512, "row_miss_ns": 3.0, "refresh": 0.25,
        "read_to_write_ns": 4.0, "write_to_read_ns": 5.0, "activate_gap_ns": 6.0, "bank_overlap": True,
    }  # fmt: skip
    timing = Dram(type="DDR4-2400", **own).timing
    assert {key: getattr(timing, key) for key in own} == own
    assert timing.io_pj_per_bit == DDR4.io_pj_per_bit
