"""A timeline of the event engine in the Trace Event Format of Chrome, which ui.perfetto.dev and chrome://tracing read.

One track a unit (DMA, input transform, lanes, inverse transform) and one for the layers.  ``ts`` and ``dur`` are
microseconds of simulated time, cycles x the clock period; cycles stand in ``args``.
"""

from typing import Any

from accelsim.dual.model import DualModel
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.run import check_event_steps, schedule_layer
from accelsim.simulator.time.event import UNITS, Span, event_cycles
from accelsim.simulator.time.pipeline import durations
from accelsim.workload import LayerTable, layer_works


def trace(model: DualModel | LayerTable, machine: Machine, batch: int = 1) -> dict[str, Any]:
    """The timeline of one run, as the object to write as JSON.

    Raises InputError if a buffer is too small, or a layer has too many steps.
    """
    name = model.name if isinstance(model, LayerTable) else model.network.graph.name
    us = machine.ns_per_cycle / 1e3
    tracks = ("layers", *UNITS)
    events: list[dict[str, Any]] = [_name("process_name", 0, f"{name} on {machine.name}")]
    for track, unit in enumerate(tracks):
        events += [_name("thread_name", track, unit)]
        events += [{"ph": "M", "name": "thread_sort_index", "pid": 0, "tid": track, "args": {"sort_index": track}}]
    now = 0
    for work in layer_works(model, batch):
        spans: list[Span] = []
        schedule = schedule_layer(work, machine)
        check_event_steps(work, schedule)
        cycles = event_cycles(durations(schedule, machine), spans.append)
        events.append(_span("layers", work.name, now, cycles, tracks, us))
        events += [_span(s.unit, f"{work.name}: {s.task}", now + s.start, s.cycles, tracks, us) for s in spans]
        now += cycles
    return {"displayTimeUnit": "ns", "traceEvents": events}


def _name(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": 0, "tid": track, "args": {"name": name}}


def _span(unit: str, name: str, start: int, cycles: int, tracks: tuple[str, ...], us: float) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": unit,
        "pid": 0,
        "tid": tracks.index(unit),
        "ts": start * us,
        "dur": cycles * us,
        "args": {"start_cycle": start, "cycles": cycles},
    }
