"""The two engines mean the same: the recurrence gives the cycles of the SimPy processes, exactly."""

from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.machines.winograd import WinogradMachine
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.time.event import Span, event_cycles
from accelsim.simulator.time.pipeline import Durations, durations, pipeline_cycles
from accelsim.workload import LayerWork, layer_works
from tests.laws import law

from .random_layers import AnyMachine, changed, layers, random_model
from .random_machines import IDEAL, machines

HWCONFIGS = sorted(Path(__file__).parents[2].glob("hwconfigs/*.yaml"))


@law(250)
@given(layers(), machines())
def test_engines_agree_on_random_layers_and_machines(work: LayerWork, machine: AnyMachine) -> None:
    d = durations(schedule_layer(work, machine), machine)
    assert pipeline_cycles(d) == event_cycles(d)


@law(80)
@given(layers(), machines(dram=IDEAL, decoder=None), st.sampled_from([1, 3, 100]))
def test_the_bus_turns_where_loads_and_stores_alternate(work: LayerWork, machine: AnyMachine, queue: int) -> None:
    """On a memory that takes 3 cycles to turn to writes, 5 back, and nothing else; its bursts are bytes.

    The first ``queue`` bytes stored behind a load pay for the turns, alike.
    """
    ns = machine.ns_per_cycle
    machine = changed(machine, dram__t_rtw_ns=3 * ns, dram__t_cl_ns=2 * ns, dram__t_wtr_ns=3 * ns)
    machine = changed(machine, dram__write_queue_bursts=queue)
    if isinstance(machine, WinogradMachine):
        machine = changed(machine, weight_transform="off_line")
    steps = schedule_layer(work, machine)
    d = durations(steps, machine)
    assert not d.input_load.any()
    assert not d.weight_load.any()
    loads = steps.inputs.n_bytes + steps.weights.n_bytes
    stored = 0  # bytes behind the last load
    for i, n_bytes in enumerate(steps.outputs.n_bytes.tolist()):
        if loads[i + 2 : i + 3].any() or i == 0:
            stored = 0
        paying = min(queue, stored + n_bytes) - min(queue, stored)
        turns = 3 * loads[: i + 3].any() + 5 * loads[i + 3 :].any()
        assert d.store[i] == ceil(Fraction(paying * int(turns), queue))
        stored += n_bytes


@st.composite
def any_durations(draw: st.DrawFn) -> Durations:
    """Steps that no machine plans: any times, any pattern of loads and stores, the last step stores."""
    steps = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    times = [rng.integers(0, draw(st.sampled_from([1, 3, 50])) + 1, steps) for _ in range(6)]
    starts = [rng.random(steps) < draw(st.floats(0, 1)) for _ in range(3)]
    starts[2][-1] = True
    for i, flags in ((0, starts[0]), (1, starts[1]), (5, starts[2])):
        times[i] = times[i] * flags
    return Durations(*times, *starts, transforms=draw(st.booleans()), inverts=draw(st.booleans()))


@law(300)
@given(any_durations())
def test_engines_agree_on_any_schedule(d: Durations) -> None:
    assert pipeline_cycles(d) == event_cycles(d)


@law(100)
@given(any_durations())
def test_the_trace_shows_each_unit_busy_with_one_thing_at_a_time(d: Durations) -> None:
    spans: list[Span] = []
    cycles = event_cycles(d, spans.append)
    for unit in {span.unit for span in spans}:
        own = sorted((span.start, span.start + span.cycles) for span in spans if span.unit == unit)
        assert all(end <= start for (_, end), (start, _) in pairwise(own))
        assert own[-1][1] <= cycles
    lanes = sum(span.cycles for span in spans if span.unit == "lanes")
    assert lanes == d.compute.sum()
    assert sum(span.cycles for span in spans if span.unit == "dma") == d.dma_cycles


@pytest.mark.parametrize("path", HWCONFIGS, ids=lambda path: path.stem)
def test_engines_agree_on_the_shipped_machines(path: Path) -> None:
    works = layer_works(random_model("resnet20-cifar10"))
    by_event, by_fast = (run(works, load_hardware(path), engine=engine) for engine in ("event", "fast"))
    assert (by_event.layers == by_fast.layers).all(axis=None)
