"""A faster DRAM never costs cycles: whole networks on shipped machines, every layer on its own."""

import re
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accelsim
from accelsim.hardware.dram_types import dram_types
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import run
from accelsim.workload import LayerWork, layer_works
from tests.laws import ALL, law

from .random_layers import AnyMachine, changed, layers, where_it_fits
from .random_machines import machines

ROOT = Path(__file__).parents[2]
MACHINES = sorted(path.stem for path in (ROOT / "hwconfigs").glob("*.yaml"))
PAIR = ("spatial-16x16", "winograd-16x16")
REPEATED = re.compile(r"layer\d\.[12]\.")


@lru_cache(maxsize=1)
def works() -> tuple[LayerWork, ...]:
    """ResNet-20, from its file; in ``make test`` the first block of each stage, of whose shapes the others are."""
    every = layer_works(accelsim.load_model(ROOT / "models" / "resnet20-cifar10.dual"))
    return tuple(work for work in every if ALL or not REPEATED.match(work.name))


def cycles(machine: Machine) -> list[int]:
    """Of each layer."""
    return [int(c) for c in run(works(), machine, engine="fast").layers["cycles"]]


def settings_of(machine: Machine) -> dict[str, list[str]]:
    """Overrides by what they improve, each faster than the one before and than the machine as it is."""
    dram = machine.dram
    timing = dram.timing
    rate = timing.bandwidth_gbs
    faster = {
        "bandwidth": [f"dram.bandwidth_gbs={rate * times!r}" for times in (1.1, 1.5, 2.0, 3.0, 4.0)],
        "channels": [f"dram.channels={dram.channels * times}" for times in (2, 4, 8)],
        "banks": [f"dram.banks={timing.banks * times}" for times in (2, 4)],
        "ranks": [f"dram.ranks={timing.ranks * times}" for times in (2, 4)],
    }
    for name in ("t_rcd_ns", "t_rp_ns", "t_cl_ns", "t_wtr_ns", "t_rtw_ns", "t_rrd_ns", "t_faw_ns", "t_rfc_ns"):
        faster[name] = [f"dram.{name}={getattr(timing, name) * share!r}" for share in (0.5, 0.0)]
    return faster


@pytest.mark.parametrize("name", PAIR)
def test_nothing_of_the_dram_costs_cycles_where_it_is_faster(name: str) -> None:
    machine = accelsim.load_hardware(name)
    as_it_is = cycles(machine)
    for overrides in settings_of(machine).values():
        before = as_it_is
        for override in overrides:
            now = cycles(accelsim.load_hardware(name, [override]))
            assert all(a <= b for a, b in zip(now, before, strict=True)), override
            before = now


@pytest.mark.parametrize("name", [name for name in MACHINES if name not in PAIR])
def test_more_bandwidth_never_costs_cycles_on_any_shipped_machine(name: str) -> None:
    """Where cycles are the objective, which the law is about."""
    plain = accelsim.load_hardware(name, ["objective=cycles"])
    rate = plain.dram.timing.bandwidth_gbs
    before = cycles(plain)
    for override in (f"dram.bandwidth_gbs={rate * 1.7!r}", f"dram.bandwidth_gbs={rate * 4!r}", "dram.type=ideal"):
        rest = ["dram.bandwidth_gbs=1000000"] if "ideal" in override and plain.dram.bandwidth_gbs else []
        now = cycles(accelsim.load_hardware(name, ["objective=cycles", override, *rest]))
        assert all(a <= b for a, b in zip(now, before, strict=True)), override
        before = now


@law(60)
@given(
    layers(),
    machines(objective="cycles"),
    st.floats(1, 8),
    st.sampled_from(["bandwidth", "banks", "channels", "ideal"]),
)
def test_the_mapping_of_a_faster_dram_is_never_slower(
    work: LayerWork, machine: AnyMachine, times: float, what: str
) -> None:
    if what == "bandwidth":
        faster = changed(machine, dram__bandwidth_gbs=min(machine.dram.timing.bandwidth_gbs * times, 1e6))
    elif what == "channels":
        faster = changed(machine, dram__channels=machine.dram.channels * round(times))  # those of before, divided
    elif what == "banks":
        faster = changed(machine, dram__banks=2 * machine.dram.timing.banks)
    else:
        faster = changed(machine, dram={"type": "ideal"})
    if machine.dram.type == "ideal" and what == "bandwidth" and machine.dram.bandwidth_gbs is None:
        faster = machine
    slow, fast = (where_it_fits(lambda m=m: run([work], m, engine="fast").total["cycles"]) for m in (machine, faster))
    assert fast <= slow


def test_a_better_memory_is_no_slower_than_a_worse_one() -> None:
    """By what they move at best: ideal, HBM2, GDDR6, DDR4, LPDDR4."""
    totals = [
        sum(cycles(accelsim.load_hardware("spatial-16x16", [f"dram.type={name}"])))
        for name in ("ideal", "HBM2", "GDDR6", "DDR4-2400", "LPDDR4-3200")
    ]
    assert totals == sorted(totals)
    assert set(dram_types()) > {"ideal", "HBM2", "GDDR6", "DDR4-2400", "LPDDR4-3200"}
