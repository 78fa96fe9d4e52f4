"""The inner join of SparTen: chunks of a bitmask, and full filters paired with empty ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.simulator.machines.stationary import StationaryMachine
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.time.event import event_cycles
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import layer, layers, spatial


def machine(**changes: object) -> StationaryMachine:
    return spatial(**{"zero_handling": "skip_both", "dram__type": "ideal", **changes})


@law(60)
@given(layers(), st.integers(1, 40))
def test_each_chunk_takes_a_cycle_at_least(work: LayerWork, chunk: int) -> None:
    """With all inputs there, the slots of a filter are counted chunk by chunk."""
    work = replace(work, input_density=np.ones(work.in_channels, np.float32))
    mode = machine(chunk=chunk).modes(work)[0]
    for k in range(work.out_channels):
        flat = work.weights[k].transpose(1, 2, 0).ravel() != 0
        expected = sum(max(1, np.count_nonzero(flat[i : i + chunk])) for i in range(0, len(flat), chunk))
        assert mode.slots.counts[0, k].sum() == pytest.approx(expected)


@law(40)
@given(layers(), st.integers(1, 64), st.sampled_from(["none", "greedy", "paired"]))
def test_chunks_never_save_cycles_and_engines_agree(work: LayerWork, chunk: int, balance: str) -> None:
    without, with_chunks = (machine(chunk=size, balance=balance, window=2) for size in (None, chunk))
    slots = [array.modes(work)[0].slots.counts.sum() for array in (without, with_chunks)]
    assert slots[0] <= slots[1] + 1e-9
    d = durations(schedule_layer(work, with_chunks), with_chunks)
    assert pipeline_cycles(d) == event_cycles(d)


@pytest.mark.parametrize("rows", [1, 4, 16, 64])
@pytest.mark.parametrize(("kept", "density"), [(1.0, 0.25), (0.5, 0.5), (0.4, 0.9), (0.4, 0.99)])
def test_rows_wait_for_the_slowest_of_random_joins(rows: int, kept: float, density: float) -> None:
    """One filter, each row with inputs of its own: the mean of the maximum over many draws.

    Rounded up to a cycle; the normal approximation is another one off where nearly all inputs are there.
    """
    work = layer(1, 400, 8, 1, padding=0, density=kept, input_density=density)
    assert work.weights is not None
    rng = np.random.default_rng(1)
    matches = rng.binomial(np.count_nonzero(work.weights), density, (4000, rows))
    array = machine(pe_array={"rows": rows, "cols": 1})
    total = run([work], array, engine="fast").total
    rounds = 64 // rows
    around = 6 * len(schedule_layer(work, array))  # each step starts and drains
    assert total["compute_cycles"] == pytest.approx(rounds * matches.max(axis=1).mean() + around, abs=2 * rounds)
    assert total["compute_cycles"] <= rounds * np.count_nonzero(work.weights) + around
    assert total["effectual_macs"] == pytest.approx(64 * matches.mean(), rel=0.01)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_without_chance_nothing_waits(density: float) -> None:
    """Inputs that are all there leave the weights, none that is there a cycle for each filter group."""
    work = layer(6, 40, 8, 3, density=0.5, input_density=density)
    assert work.weights is not None
    nonzeros = np.count_nonzero(work.weights, axis=(1, 2, 3))
    slowest = max(nonzeros[:4]) + max(nonzeros[4:]) if density else 2
    array = machine(pe_array={"rows": 64, "cols": 4})
    total = run([work], array, engine="fast").total
    around = 6 * len(schedule_layer(work, array))  # each step starts and drains
    assert total["compute_cycles"] == slowest + around  # one round of 64 positions


def test_paired_filters_share_a_lane() -> None:
    """Fullness 8, 7, ..., 1 on four lanes: 8 + 1, 7 + 2, 6 + 3, 5 + 4 are equal, so nothing waits."""
    work = layer(8, 8, 4, 1, padding=0, density=1.0)
    weights = np.zeros_like(work.weights)
    for k in range(8):
        weights[k, : 8 - k] = 1
    work = replace(work, weights=weights)
    cycles = {}
    for balance, window in (("greedy", 2), ("paired", 2)):
        array = spatial(balance=balance, window=window, pe_array={"rows": 16, "cols": 4}, dram__type="ideal")
        cycles[balance] = int(schedule_layer(work, array).compute_cycles.sum()) - 6  # to start and drain
    assert cycles == {"greedy": 8 + 4, "paired": 9}


def test_pairs_are_made_for_each_number_of_columns() -> None:
    """What is kept of a layer's masks for one machine is not taken for another."""
    work = layer(24, 8, 4, 1, padding=0, density=0.5)
    arrays = [spatial(balance="paired", window=2, pe_array={"rows": 16, "cols": cols}) for cols in (4, 8)]
    shared = [array.modes(work)[0].slots.counts for array in arrays]
    fresh = [array.modes(layer(24, 8, 4, 1, padding=0, density=0.5))[0].slots.counts for array in arrays]
    assert all((a == b).all() for a, b in zip(shared, fresh, strict=True))
    assert (shared[0] != shared[1]).any()
