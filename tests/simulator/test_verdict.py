"""Verdicts and their bands: what moves under each assumption, and which of them turn a winner."""

from math import sqrt

import pandas as pd
import pytest

import accelsim
from accelsim.report.band import band_files
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.simulator.verdict import CHIPS, band, verdicts
from accelsim.workload import layer_works

from .random_layers import random_model


def frame(rows):
    return pd.DataFrame(
        [
            {"assumption": a, "case": case, "machine": m, "energy_ratio": e, "latency_ratio": t}
            for a, case, pair in rows
            for m, e, t in pair
        ]
    )


def test_a_verdict_says_its_band_and_what_turns_it():
    one = ("first", 1.0, 1.0)
    cases = frame(
        [
            ("none", "as described", [one, ("second", 0.8, 1.2)]),
            ("wires", "wires", [one, ("second", 0.7, 1.3)]),
            ("clock", "half the clock", [one, ("second", 1.1, 0.9)]),
        ]
    )
    (energy,) = verdicts(cases, "energy")
    assert energy.sentence == (
        "second takes 0.80 of the energy of first, 0.70 to 1.10 over 2 assumptions; turned by half the clock"
    )
    (time,) = verdicts(cases, "latency")
    assert (time.least, time.most, time.turned_by) == (0.9, 1.3, ("half the clock",))
    (alone,) = verdicts(cases.iloc[:4], "energy")
    assert alone.sentence.endswith("0.70 to 0.80 over 1 assumptions; nothing turns it")


def test_each_assumption_moves_what_it_is_about_and_nothing_else():
    works = layer_works(random_model("resnet20-cifar10"))
    machines = [load_hardware(name) for name in ("spatial-16x16", "winograd-16x16")]
    cases = band(works, machines).set_index(["case", "machine"])
    for machine in machines:
        own = run(works, machine, engine="fast").total
        at = cases.xs(machine.name, level="machine")
        assert at.loc["as described", "energy_pj"] == own["energy_pj"]
        for factor, case in ((-0.5, "half the DRAM energy"), (1.0, "twice the DRAM energy")):
            more = at.loc[case, "energy_pj"] - own["energy_pj"]
            assert more == pytest.approx(factor * own["energy_dram_pj"], rel=1e-6)
        wires = at.loc["wires to the buffers", "energy_pj"] - own["energy_pj"]
        for factor in CHIPS:
            more = at.loc[f"{factor:g} of the on-chip energy", "energy_pj"] - own["energy_pj"]
            assert more == pytest.approx((factor - 1) * (own["energy_pj"] - own["energy_dram_pj"]))
        bits = 8 * (own["sram_read_bytes"] + own["sram_write_bytes"])
        assert wires == pytest.approx(bits * 0.081 * sqrt(own["area_mm2"]) / 2)  # 0.2 pF/mm, 0.9 V
        assert at.loc["half the clock", "latency_ms"] > own["latency_ms"] > at.loc["twice the clock", "latency_ms"]
        assert at.loc["table aladdin", "energy_pj"] > at.loc["table horowitz", "energy_pj"]


def test_a_verdict_needs_two_machines():
    with pytest.raises(accelsim.InputError, match="expected at least two"):
        accelsim.band(random_model("resnet20-cifar10"), ["spatial-16x16"])


def test_the_plot_is_the_same_every_time():
    works = layer_works(random_model("resnet20-cifar10"))[:2]
    cases = band(works, [load_hardware("spatial-16x16"), load_hardware("winograd-16x16")])
    files = band_files(cases)
    assert set(files) == {"band.csv", "band.png", "band.svg"}
    assert files == band_files(cases)
