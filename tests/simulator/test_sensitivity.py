"""The same runs under all energy tables."""

import pytest

from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.simulator.sensitivity import least, sensitivity
from accelsim.workload import layer_works

from .random_layers import random_model


def test_only_arithmetic_is_priced_anew() -> None:
    works = layer_works(random_model("resnet20-cifar10"))
    machines = [load_hardware(name) for name in ("spatial-16x16", "winograd-16x16")]
    table = sensitivity(works, machines).set_index(["table", "machine"])
    for machine in machines:
        own = run(works, machine, engine="fast", level="resident").total  # gates is the default
        gates, horowitz, aladdin = (table.loc[(name, machine.name)] for name in ("gates", "horowitz", "aladdin"))
        assert gates["energy_pj"] == own["energy_pj"]
        assert aladdin["energy_pj"] - horowitz["energy_pj"] == pytest.approx(
            aladdin["energy_mac_pj"] - horowitz["energy_mac_pj"]
        )
    # 28 nm, 8 x 8 -> 24 bits: the multiplier alone, 0.2 -> 0.91 of 0.31 pJ.
    spatial = table.xs("spatial-16x16", level="machine")["energy_mac_pj"]
    assert spatial["aladdin"] / spatial["horowitz"] == pytest.approx(1.02 / 0.31)
    assert (table.xs("spatial-16x16", level="machine")["ratio"] == 1).all()


def test_the_least_energy_under_each_table_and_machines_of_one_name() -> None:
    works = layer_works(random_model("resnet20-cifar10"))
    machine = load_hardware("spatial-16x16")
    dear = load_hardware("spatial-16x16", ["dram.type=DDR3-1600"])
    table = sensitivity(works, [dear, machine])
    assert list(table["machine"]) == ["spatial-16x16", "spatial-16x16 (2)"] * 3
    assert least(table) == dict.fromkeys(("gates", "horowitz", "aladdin"), "spatial-16x16 (2)")
