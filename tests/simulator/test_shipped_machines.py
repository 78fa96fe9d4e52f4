"""Every machine that ships takes any layer: grouped, depthwise, strided, dilated, 1 x 1, fully connected, batches."""

from pathlib import Path

import pytest
from hypothesis import given

from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import schedule_layer
from accelsim.simulator.time.event import event_cycles
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork
from tests.laws import law

from .random_layers import layer, layers

MACHINES = sorted(path.stem for path in Path(__file__).parents[2].glob("hwconfigs/*.yaml"))
KINDS = {
    "grouped": layer(8, 8, 9, 3, groups=2),
    "depthwise": layer(16, 16, 9, 3, groups=16),
    "strided": layer(8, 6, 9, 3, stride=2),
    "dilated": layer(8, 6, 11, 3, dilation=2),
    "1 x 1": layer(24, 40, 7, 1, padding=0, batch=2),
    "fully connected": layer(40, 72, 1, 1, padding=0, batch=3),
    "5 x 5": layer(6, 4, 12, 5, padding=2),
}


@pytest.mark.parametrize("name", MACHINES)
def test_each_kind_of_layer_runs_with_both_engines(name: str) -> None:
    machine = load_hardware(name)
    for kind, work in KINDS.items():
        d = durations(schedule_layer(work, machine), machine)
        assert pipeline_cycles(d) == event_cycles(d) > 0, kind


@pytest.mark.parametrize("name", MACHINES)
@law(8)
@given(work=layers())
def test_random_layers_run_with_both_engines(name: str, work: LayerWork) -> None:
    machine = load_hardware(name)
    schedule = schedule_layer(work, machine)
    d = durations(schedule, machine)
    assert pipeline_cycles(d) == event_cycles(d)
    assert schedule.outputs.n_bytes.sum() >= work.outputs * min(1.0, work.output_density) - 1
