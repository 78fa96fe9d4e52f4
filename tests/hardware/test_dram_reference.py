"""The DRAM's times, rows and commands beside DRAMsim3 and Ramulator 2.1 (``experiments/dram/reference.csv``), and
beside single commands."""

import pytest

from accelsim.hardware.dram_types import dram_types
from experiments.comparisons.row import errors
from experiments.dram.commands import DEVICES, Burst, simulate
from experiments.dram.compare import UNDER_WAY, judged, published
from experiments.dram.patterns import OTHERS, bursts_of, modelled

CASES = list(published())


def test_times_are_within_5_percent_on_average_and_15_at_worst() -> None:
    assert len(CASES) == 18  # six patterns: DRAMsim3 on two types, Ramulator 2.1 on one
    mean, worst = errors([(case.model.ns, case.ns) for case in CASES])
    assert mean < 5
    assert worst < 15


def test_commands_of_ddr4_cost_what_dramsim3_says() -> None:
    """By the same currents; where a tensor stays open refreshes open rows again, which the model leaves out."""
    pairs = [(c.model.command_pj, c.command_pj) for c in CASES if c.command_pj and c.type_name == "DDR4-2400"]
    assert len(pairs) == 6
    assert max(errors(pairs)) < 2


def test_rows_are_those_that_dramsim3_opens_where_refreshes_open_none_again() -> None:
    """4,096 bursts at random, and 1 MiB: 128 rows of 8 KB, 256 of 4 KB."""
    found = {(case.type_name, case.label): case for case in CASES if case.simulator == "DRAMsim3"}
    for name in ("DDR4-2400", "LPDDR4-3200"):
        scattered = found[name, "64 B at random in 64 MB"]
        assert scattered.model.rows == pytest.approx(scattered.rows, rel=0.01)
    assert found["DDR4-2400", "stream, 64 KB requests"].model.rows == 128
    assert found["LPDDR4-3200", "stream, 1 KB requests"].model.rows == 256


def test_single_commands_keep_to_the_timings() -> None:
    """DDR4: a first read waits for tRCD and CL; its row's next burst follows in tCCD_L, another group's at once."""
    dram, device = dram_types()["DDR4-2400"], DEVICES["DDR4-2400"]
    burst = 64 / 19.2
    one = simulate(dram, device, [Burst(0, False)], 64)
    assert one.ns == pytest.approx(2 * 14.16 + burst)
    same_group = simulate(dram, device, [Burst(0, False), Burst(256, False)], 64)
    assert same_group.ns - one.ns == pytest.approx(5)
    other_group = simulate(dram, device, [Burst(0, False), Burst(64, False)], 64)
    assert other_group.ns - one.ns == pytest.approx(burst, abs=1)  # rows tRRD apart, commands a clock
    other_row = simulate(dram, device, [Burst(0, False), Burst(1 << 24, False)], 64)
    assert other_row.ns - one.ns == pytest.approx(32.5 + 14.16, abs=0.01)  # tRAS, tRP in front of the second
    assert (same_group.activations, other_row.activations) == (1, 2)
    turned = simulate(dram, device, [Burst(0, True), Burst(64, False)], 64)
    assert turned.ns >= 14.16 + 10 + burst + 7.5 + 14.16 + burst  # tRCD, CWL, data, tWTR, CL, data


def test_small_requests_by_turns_share_turns_of_the_bus() -> None:
    """1 KB is read, 1 KB is written: single commands gather bursts before they turn."""
    pattern = next(p for p in OTHERS if p.name == "read 1 KB, write 1 KB")
    pairs = [(case.model.ns, case.commands.ns) for case in judged([pattern])]
    assert len(pairs) == 6  # types
    mean, worst = errors(pairs)
    assert mean < 5
    assert worst < 15


@pytest.mark.parametrize("name", ["DDR3-1600", "LPDDR4-3200", "GDDR6"])
def test_the_model_is_close_to_single_commands_on_a_layer(name: str) -> None:
    """Filters, tiles of a map and of outputs by turns; types and pattern not in the reference."""
    dram = dram_types()[name]
    pattern = next(p for p in OTHERS if p.name.startswith("tiles of inputs"))
    run = simulate(dram, DEVICES[name], bursts_of(dram, pattern), UNDER_WAY * dram.inner_channels)
    model = modelled(dram, pattern)
    assert model.ns == pytest.approx(run.ns, rel=0.06)
    assert model.rows == pytest.approx(run.activations, rel=0.2)
