"""Buffers with few ports."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.simulator.tiles.ports import lane_bits
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.search import choose_tiling
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import AnyMachine, changed, layer, layers, spatial
from .random_machines import tiled_machines


@law(60)
@given(layers(), tiled_machines(buffers__banks=None), st.sampled_from([1, 2, 8]))
def test_accesses_pass_through_the_ports_and_more_banks_never_cost_cycles(
    work: LayerWork, machine: AnyMachine, banks: int
) -> None:
    """At a fixed mapping; what is moved and multiplied does not change."""
    mode = machine.modes(work)[0]
    tiling, _ = choose_tiling(mode, machine)
    few, more, free = (changed(machine, buffers__banks=n, buffers__port_bits=32) for n in (banks, 2 * banks, None))
    plans = [tiled_schedule(mode, tiling, m) for m in (few, more, free)]
    bits = max(lane_bits(mode, plans[0].actions, machine.buffers).values())
    needed = max(bits / (32 * banks), int(plans[2].compute_cycles.sum()))
    assert needed - 1 <= plans[0].compute_cycles.sum() <= needed + len(plans[0])  # in whole cycles of each step
    for fewer, better in ((plans[0], plans[1]), (plans[1], plans[2])):
        assert (fewer.compute_cycles >= better.compute_cycles).all()
        assert (fewer.transform_cycles >= better.transform_cycles).all()
        assert fewer.actions == better.actions
    assert pipeline_cycles(durations(plans[0], machine)) >= pipeline_cycles(durations(plans[2], machine))


@law(40)
@given(layers(), tiled_machines(buffers__banks=1, buffers__port_bits=16))
def test_parts_of_the_cycles_still_sum(work: LayerWork, machine: AnyMachine) -> None:
    row = run([work], machine, engine="fast").total
    parts = ("useful", "imbalance", "edge", "transform", "dram")
    assert row["cycles"] == sum(row[f"{part}_cycles"] for part in parts)
    assert (run([work], machine, engine="event").layers == run([work], machine, engine="fast").layers).all(axis=None)


def test_dataflows_with_buses_of_their_own_take_no_banks() -> None:
    with pytest.raises(
        InputError, match=r"buffers\.banks: no key of dataflow row_stationary, but of dataflow output_stationary"
    ):
        load_hardware("eyeriss", ["buffers.banks=2"])


def test_a_dense_layer_reads_each_weight_once_a_round() -> None:
    """4 x 4 lanes, 16 channels of 3 x 3 weights of 8 bits, 16 outputs, 4 filters: one round, so 16 x 9 x 4 bytes."""
    machine = spatial(zero_handling="none", weight_format="dense", buffers__port_bits=8, dram__type="ideal")
    work = layer(4, 16, 2, 3, density=1.0)
    free, bound = (run([work], m, engine="fast").total for m in (machine, changed(machine, buffers__banks=1)))
    assert free["compute_cycles"] == 16 * 9 + 6
    assert bound["compute_cycles"] == np.ceil(16 * 9 * 4)
