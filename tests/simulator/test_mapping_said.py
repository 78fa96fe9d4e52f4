"""What a result says of a layer's tiling is what its steps did: tiles of these sizes, in this order."""

import math
import re

import pytest

import accelsim
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import schedule_layer
from accelsim.workload import layer_works

MACHINES = ("spatial-16x16", "winograd-16x16", "systolic-ws-32x32", "eyeriss", "scnn-like", "eie-like", "nvdla-small")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_layer_with_weights_says_its_tiling(machine: str) -> None:
    result = accelsim.simulate("resnet20-cifar10", machine, engine="fast", level="layers")
    weighted = result.layers[result.layers["kind"].isin(["conv", "linear"])]
    assert weighted["tiling"].str.fullmatch(r"\w=\d+( \w=\d+)+").all()
    assert (weighted["loop_order"] != "").all()


@pytest.mark.parametrize("buffers", [(), ("buffers.weight_kb=2", "buffers.input_kb=4", "buffers.output_kb=8")])
def test_the_tiles_of_the_sizes_said_are_the_steps(buffers: tuple[str, ...]) -> None:
    model = accelsim.load_model("resnet20-cifar10")
    machine = load_hardware("spatial-16x16", buffers)
    for work in layer_works(model, 2):
        if work.kind != "conv":
            continue
        schedule = schedule_layer(work, machine)
        size = {letter: int(value) for letter, value in re.findall(r"(\w)=(\d+)", schedule.tiling)}
        whole = {
            "n": work.batch,
            "p": work.out_height,
            "q": work.out_width,
            "k": work.out_channels,
            "c": work.in_channels,
        }
        assert len(schedule) == math.prod(-(-whole[letter] // size[letter]) for letter in whole)
