"""Interleaved rows with queues: the queue against a cycle-by-cycle count, padding against plain Python, the laws."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.simulator.machines.matrix_vector import MatrixVectorMachine, product_cycles, queue_cycles, stored_weights
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.time.event import event_cycles
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import layer, layers, spatial


def machine(**changes: object) -> MatrixVectorMachine:
    return spatial(
        **{
            "dataflow": "interleaved",
            "zero_handling": "skip_both",
            "window": 4,
            "weight_format": "run_length",
            "pe_array": {"rows": 1, "cols": 4},
            **changes,
        }
    )


def cycle_by_cycle(stored: np.ndarray, places: int) -> int:
    """Lanes, queues and the broadcast, one cycle at a time."""
    lanes = stored.shape[1]
    queues = [deque[int]() for _ in range(lanes)]
    waiting, cycle = deque(range(len(stored))), 0
    while waiting or any(queues):
        if waiting and all(len(queue) < places for queue in queues):
            j = waiting.popleft()
            for lane, queue in enumerate(queues):
                queue.append(max(1, int(stored[j, lane])))
        for queue in queues:
            if queue:
                queue[0] -= 1
                if queue[0] == 0:
                    queue.popleft()
        cycle += 1
    return cycle


@law(100)
@given(st.integers(0, 12), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_queues_counted_cycle_by_cycle(most: int, lanes: int, places: int, seed: int) -> None:
    """Of several draws, some with fewer inputs, at once."""
    rng = np.random.default_rng(seed)
    stored, inputs = rng.integers(0, 6, (3, most, lanes)), np.sort(rng.integers(0, most + 1, 3))
    expected = [cycle_by_cycle(draw[:n], places) for draw, n in zip(stored, inputs, strict=True)]
    assert queue_cycles(stored, inputs, places).tolist() == expected


@law(60)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_long_vectors_in_batches(columns: int, lanes: int, registers: int, seed: int) -> None:
    """Batch after batch as on its own, with one cycle for each input that a lane reads, each sum that it writes."""
    rng, filters = np.random.default_rng(seed), 5
    stored, active = rng.integers(0, 6, (columns, lanes)), rng.random((2, columns)) < 0.5
    array = machine(pe_array={"rows": 1, "cols": lanes}, vector_registers=registers)
    batch, expected = lanes * registers, np.zeros(2, int)
    for first in range(0, columns, batch):
        size = min(batch, columns - first)
        for draw in (0, 1):
            kept = active[draw, first : first + size]
            expected[draw] += cycle_by_cycle(stored[first : first + size][kept], array.window)
        if columns > batch:
            expected += -(-size // lanes) + -(-filters // lanes)
    assert product_cycles(stored, active, filters, array).tolist() == expected.tolist()


@law(60)
@given(st.integers(1, 120), st.integers(1, 5), st.integers(1, 4), st.floats(0, 1), st.integers(0, 99))
def test_padding_counted_zero_by_zero(filters: int, columns: int, lanes: int, density: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((filters, columns)) < density
    nonzeros, stored = stored_weights(mask, lanes, "run_length")
    for column in range(columns):
        for lane in range(lanes):
            values = run_of_zeros = 0
            pending = 0
            for kept in mask[lane::lanes, column]:
                if kept:
                    values, pending, run_of_zeros = values + pending + 1, 0, 0
                    continue
                run_of_zeros += 1
                if run_of_zeros == 16:  # a stored zero ends the run
                    pending, run_of_zeros = pending + 1, 0
            assert stored[column, lane] == values
            assert nonzeros[column, lane] == np.count_nonzero(mask[lane::lanes, column])


@law(60)
@given(layers(), st.integers(1, 9), st.integers(1, 8), st.sampled_from(["ideal", "LPDDR4-3200"]))
def test_laws_of_every_machine(work: LayerWork, lanes: int, window: int, dram: str) -> None:
    array = machine(pe_array={"rows": 1, "cols": lanes}, window=window, dram__type=dram)
    schedule = schedule_layer(work, array)
    d = durations(schedule, array)
    assert pipeline_cycles(d) == event_cycles(d)
    total = run([work], array, engine="fast").total
    parts = ("useful", "imbalance", "edge", "transform", "dram")
    assert total["cycles"] == sum(total[f"{part}_cycles"] for part in parts)
    assert min(total[f"{part}_cycles"] for part in parts) >= 0
    assert total["cycles"] >= total["roofline_cycles"]
    assert lanes * total["compute_cycles"] >= total["effectual_macs"]
    assert total["effectual_macs"] <= work.dense_macs
    assert total["dram_output_bytes"] >= work.outputs


@law(60)
@given(layers(), st.integers(1, 9))
def test_with_all_inputs_there_each_weight_is_multiplied_at_each_position(work: LayerWork, lanes: int) -> None:
    work = replace(work, input_density=np.ones(work.in_channels, np.float32))
    positions = work.batch * work.out_height * work.out_width
    assert work.weights is not None
    expected = np.count_nonzero(work.weights) * positions
    assert schedule_layer(work, machine(pe_array={"rows": 1, "cols": lanes})).effectual_macs == expected


@law(60)
@given(layers(), st.integers(1, 9), st.integers(1, 8))
def test_doubling_the_lanes_never_costs_compute_cycles(work: LayerWork, lanes: int, window: int) -> None:
    """Where the weight buffer holds all filters: each lane then has a part of what one had before."""
    once, twice = (machine(pe_array={"rows": 1, "cols": n}, window=window) for n in (lanes, 2 * lanes))
    assert schedule_layer(work, twice).compute_cycles.sum() <= schedule_layer(work, once).compute_cycles.sum()


def test_a_fully_connected_layer_takes_its_queues_cycles() -> None:
    work = layer(32, 40, 1, 1, padding=0, density=0.3)
    _, stored = stored_weights(work.weights[:, :, 0, 0] != 0, 4, "run_length")
    assert int(schedule_layer(work, machine()).compute_cycles.sum()) == cycle_by_cycle(stored, 4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"buffers\.input_kb .*layer layer"):
        schedule_layer(layer(8, 600, 9, 3), machine(buffers__input_kb=1))
