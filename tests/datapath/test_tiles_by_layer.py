"""The fastest machine of shipped ResNet-20 at 256 lanes takes F(4, 3) or F(2, 3) by layer, and its integers hold."""

import os
from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.datapath.calibrate import calibrate
from accelsim.datapath.program import build
from accelsim.datapath.runs import float_outputs, integer_outputs
from accelsim.simulator.layer_tiles import datapath_on
from accelsim.training.datasets import load_split
from accelsim.training.recipe import Data

MODEL = Path(__file__).parents[2] / "models" / "resnet20-cifar10-winograd.dual"
MIXED = "winograd-tuned-tiles-16x16"
LANES = [f"pe_array.{key}" for key in ("taps=4", "rows=4", "cols=16")]  # four taps of a 4 x 4 tile at a time


@pytest.mark.slow
def test_two_tile_sizes_are_faster_than_either_and_than_the_spatial_machine():
    """Equal lanes, SRAM, DRAM and clock.  One tile of 4 x 4 leaves 12 of 16 rows empty on maps of 8 x 8."""
    sweep = {
        "spatial": ("spatial-tuned-16x16", []),
        "F(2, 3)": ("winograd-tuned-16x16", []),
        "F(4, 3)": (MIXED, ["tiles=[4]"]),
        "F(4, 3), four taps": (MIXED, ["tiles=[4]", *LANES]),
        "both": (MIXED, []),
    }
    machines = {name: accelsim.load_hardware(base, keys) for name, (base, keys) in sweep.items()}
    assert {machine.lanes for machine in machines.values()} == {256}
    model = accelsim.load_model(MODEL)
    cycles = {name: int(accelsim.simulate(model, m, engine="fast").total["cycles"]) for name, m in machines.items()}
    print(cycles)
    assert min(cycles, key=lambda name: cycles[name]) == "both"
    assert cycles["F(4, 3), four taps"] < cycles["F(2, 3)"] < cycles["spatial"]


@pytest.mark.slow
@pytest.mark.big_data
def test_its_integers_lose_less_than_a_point_on_all_test_images():
    """8-bit weights, activations and taps, against the same file in float32; scales from 256 training images."""
    if not os.environ.get("ACCELSIM_DATA"):
        pytest.skip("ACCELSIM_DATA names no data folder")
    model = accelsim.load_model(MODEL)
    data = Data(kind="cifar10", path="cifar10")
    train, test = (load_split(data, split, (32, 32, 3), 10) for split in ("train", "test"))
    pixels = test.take(np.arange(len(test)))
    datapath = datapath_on(model, accelsim.load_hardware(MIXED))
    assert {m for _, m in datapath.layer_m} == {0, 2, 4}
    program = build(model, datapath, calibrate(model, datapath, train.take(np.arange(256))))
    exact = float_outputs(model.network, pixels, None).argmax(axis=1) == test.labels
    whole = integer_outputs(program, model.network, pixels)[0].argmax(axis=1) == test.labels
    print(f"float32 {100 * exact.mean():.2f} %, integers {100 * whole.mean():.2f} %")
    assert 100 * (exact.mean() - whole.mean()) < 1.0
