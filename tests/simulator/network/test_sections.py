"""Sections of a network, each of which takes the batch in passes of its own."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.report.trace import trace
from accelsim.simulator.network.planning import plan_network
from accelsim.simulator.network.sections import cheapest_sections, cuts_of
from accelsim.simulator.run import run, run_network
from accelsim.workload import LayerTable, LayerWork
from tests.laws import law

from ..random_layers import AnyMachine, where_it_fits
from .small import add, conv, networks
from .test_levels import any_machines, both_kinds


def costs_of(count: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.integers(0, 20).map(float), min_size=count, max_size=count)


@law(60)
@given(st.data(), st.integers(1, 6), st.sets(st.sampled_from([1, 2, 4]), min_size=1))
def test_sections_are_the_cheapest_of_all(data: st.DataObject, layers: int, passes: set[int]) -> None:
    """Against all divisions, one number of passes for each stretch between two cuts."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, layers - 1)))) if layers > 1 else [])
    costs = {p: data.draw(costs_of(layers)) for p in sorted(passes)}
    between = {(cut, p, q): float(data.draw(st.integers(0, 9))) for cut in cuts for p in passes for q in passes}
    edges = [0, *cuts, layers]

    def cost(chosen: tuple[int, ...]) -> float:
        stretches = zip(pairwise(edges), chosen, strict=True)
        switches = zip(cuts, pairwise(chosen), strict=True)
        return sum(sum(costs[p][a:b]) for (a, b), p in stretches) + sum(
            between[cut, p, q] for cut, (p, q) in switches if p != q
        )

    found = cheapest_sections(cuts, costs, between)
    assert [section.first for section in found] == [0, *(section.end for section in found[:-1])]
    assert found[-1].end == layers
    assert all(one.passes != other.passes for one, other in pairwise(found))
    of_stretch = tuple(next(s.passes for s in found if s.first <= a < s.end) for a in edges[:-1])
    assert cost(of_stretch) == min(cost(chosen) for chosen in product(passes, repeat=len(edges) - 1))


def test_a_network_is_cut_where_one_map_leads_on() -> None:
    """Not within a residual branch, not behind a map that somebody reads later on."""
    works = (
        conv("a", ("input",), 4, 8, 6),
        conv("b", ("a",), 8, 8, 6),
        add("sum", ("b", "a"), 8, 6),
        conv("c", ("sum",), 8, 8, 6),
        conv("d", ("c",), 8, 8, 6),
        conv("e", ("d", "c"), 16, 4, 6),
    )
    assert cuts_of(plan_network(works, both_kinds()[0], "resident")) == [1, 3, 4]


def classifier(batch: int) -> tuple[LayerWork, ...]:
    """Two convolutions on 8 x 8 pixels and one of 8 x 8, as a fully connected layer: 64 kB of weights for 64 scores."""
    rng = np.random.default_rng(0)

    def dense(work: LayerWork, **more: object) -> LayerWork:
        weights = rng.random(work.weights.shape, np.float32) + 1
        return replace(work, weights=weights, winograd_threshold=None, input_density=np.ones(1, np.float32), **more)

    return (
        dense(conv("a", ("input",), 4, 32, 8, batch=batch)),
        dense(conv("b", ("a",), 32, 16, 8, batch=batch)),
        dense(conv("scores", ("b",), 16, 64, 8, 8, batch=batch), out_height=1, out_width=1, padding=(0, 0)),
    )


FEW = {"buffers__weight_kb": 32, "buffers__input_kb": 3, "buffers__output_kb": 3}


def test_few_images_where_maps_are_large_and_all_at_once_where_weights_are() -> None:
    """Four images, 6 kB for maps: those of an image stay on chip, and 65,536 weights are loaded once.

    By hand: four inputs of 256 bytes, weights of 1,152 and 4,608, a map of 4 x 1,024 out and in again, 4 x 64 scores.
    All images at once the first map of 4 x 2,048 goes through DRAM, too; in passes the many weights come in each.
    """
    machine = both_kinds(objective="dram", weight_format="dense", **FEW)[0]
    ran = run_network(classifier(4), machine, "fast", "resident")
    assert ran.total["dram_read_bytes"] == 4 * 256 + 1152 + 4608 + 4 * 1024 + 65536
    assert ran.total["dram_write_bytes"] == 4 * 1024 + 4 * 64
    assert [len(planned.layers) for planned in ran.sections] == [2, 1]
    assert ran.sections[0].passes > ran.sections[1].passes == 1
    assert ran.total["passes"] == ran.sections[0].passes


@law(25)
@given(st.sampled_from([2, 3, 4]).flatmap(lambda n: networks(most=2, batch=n)), any_machines())
def test_sections_follow_one_another(works: tuple[LayerWork, ...], machine: AnyMachine) -> None:
    """Every layer is there once, both engines agree, and a network in one section is the network itself."""
    result = where_it_fits(lambda: run_network(works, machine, "fast", "resident"))
    assert [row["name"] for row in result.rows] == [work.name for work in works]
    assert result.total["cycles"] == sum(row["cycles"] for row in result.rows)
    event = run_network(works, machine, "event", "resident")
    assert event.rows == result.rows
    assert result.total["sections"] == len(result.sections)
    assert sum(len(planned.layers) for planned in result.sections) == len(works)


def test_the_timeline_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections stand behind one another in the trace: the last span ends with the run's last cycle."""
    machine = both_kinds(objective="dram", weight_format="dense", **FEW)[0]
    monkeypatch.setattr("accelsim.report.trace.layer_works", lambda _, batch: classifier(batch))
    total = run(classifier(4), machine, engine="fast", level="resident").total
    assert total["sections"] == 2
    events = trace(LayerTable("a classifier", ()), machine, batch=4)["traceEvents"]
    spans = [event["args"] for event in events if event["ph"] == "X"]
    assert max(span["start_cycle"] + span["cycles"] for span in spans) == total["cycles"]
