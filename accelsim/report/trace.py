"""A timeline of the event engine in the Trace Event Format of Chrome, which ui.perfetto.dev and chrome://tracing read.

One track a unit (DMA, input transform, lanes, inverse transform) and one for the layers.  ``ts``
and ``dur`` are microseconds of simulated time, cycles x the clock period; cycles stand in ``args``.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from accelsim.dual.model import DualModel
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.network.planning import Level, Planned
from accelsim.simulator.network.timing import overlapped
from accelsim.simulator.run import check_event_steps, level_of, run_network, schedule_layer
from accelsim.simulator.time.event import UNITS, Span, event_cycles, event_times
from accelsim.simulator.time.pipeline import durations
from accelsim.simulator.time.program import programs_apart
from accelsim.workload import LayerTable, layer_works, made_once


def trace(
    model: DualModel | LayerTable,
    machine: Machine,
    batch: int = 1,
    level: str = "resident",
) -> dict[str, Any]:
    """The timeline of one run, as the object to write as JSON.

    As a network (``level``) layers overlap: the track ``layers`` shows whose turn the lanes are at,
    and what rides on a layer's outputs is part of it.
    Raises InputError if a buffer is too small, or a layer has too many steps.
    """
    name = model.name if isinstance(model, LayerTable) else model.network.graph.name
    us = machine.ns_per_cycle / 1e3
    tracks = ("layers", *UNITS)
    events: list[dict[str, Any]] = [_name("process_name", 0, f"{name} on {machine.name}")]
    for track, unit in enumerate(tracks):
        events += [_name("thread_name", track, unit)]
        events += [{"ph": "M", "name": "thread_sort_index", "pid": 0, "tid": track, "args": {"sort_index": track}}]
    if level != "layers":
        for start, name, own, cycles in _network(model, machine, batch, level_of(level)):
            events.append(_span("layers", name, start, cycles, tracks, us))
            events += [_span(s.unit, f"{name}: {s.task}", s.start, s.cycles, tracks, us) for s in own]
        return {"displayTimeUnit": "ns", "traceEvents": events}
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


def _network(
    model: DualModel | LayerTable, machine: Machine, batch: int, level: Level
) -> Iterator[tuple[int, str, list[Span], int]]:
    """The timeline of each group of layers, one after the other.

    When the lanes turn to it, its layers' names, its spans, and cycles until they leave it.
    """
    works = made_once(layer_works(model, batch))
    start = 0
    for planned in run_network(works, machine, "fast", level).sections:
        end = start
        for begins, name, spans, cycles in _section(planned, machine):
            end = max(end, start + begins + cycles, *(start + span.start + span.cycles for span in spans))
            yield start + begins, name, [replace(span, start=start + span.start) for span in spans], cycles
        start = end


def _section(planned: Planned, machine: Machine) -> Iterator[tuple[int, str, list[Span], int]]:
    """The same of one section of the network, from its own first cycle on."""
    groups = [planned.groups[piece.group] for piece in planned.pieces]
    layers = [" + ".join(planned.shapes[i].name for i in (group.head, *group.riders)) for group in groups]
    names = layers * planned.passes
    whole = overlapped(planned, machine, planned.level)
    found: list[list[Span]] = [[] for _ in names]
    if whole is not None:
        cycles = event_times(whole, lambda span: found[span.part].append(span)).spans.tolist()
        starts = [sum(cycles[:t]) for t in range(len(cycles))]
    else:
        starts = []
        cycles = []
        for t, program in enumerate(programs_apart(planned.all_parts, machine)):
            starts.append(sum(cycles))
            own: list[Span] = []
            cycles.append(event_times(program, own.append).end)
            found[t] = [replace(span, start=span.start + starts[t]) for span in own]
    yield from zip(starts, names, found, cycles, strict=True)


def _name(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": 0, "tid": track, "args": {"name": name}}


def _span(
    unit: str,
    name: str,
    start: int,
    cycles: int,
    tracks: tuple[str, ...],
    us: float,
) -> dict[str, Any]:
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
