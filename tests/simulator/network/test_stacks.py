"""Networks whose layers run in stripes: any stack that there could be, not only those that the search takes."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from accelsim.dual.file import read_dual
from accelsim.loading import load_hardware
from accelsim.network.graph import Network
from accelsim.network.tabulate import tabulate
from accelsim.network.zoo import named_graph
from accelsim.simulator.network import planning
from accelsim.simulator.network.planning import Planned, plan_network
from accelsim.simulator.network.stack_search import _intervals
from accelsim.simulator.network.stacks import Stack, StackPlans
from accelsim.simulator.network.timing import time_network
from accelsim.simulator.run import run
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.search import choose_tiling
from accelsim.simulator.time.event import event_times
from accelsim.simulator.time.program import Program, Waits, program_of
from accelsim.simulator.time.recurrence import program_times
from accelsim.workload import LayerTable, LayerWork, layer_works
from tests.laws import law
from tests.small_dual import ROOT

from ..random_layers import AnyMachine, changed, spatial, where_it_fits, winograd
from ..test_recount import recount
from .small import conv, networks, without_wiring

BOTH = {"add": True, "pool": True}


@st.composite
def machines(draw: st.DrawFn) -> AnyMachine:
    """A small machine of either kind, whose memory holds few maps."""
    kb = draw(st.sampled_from([1.0, 2.0, 3.0, 6.0]))
    post = {"add": draw(st.booleans()), "pool": draw(st.booleans())}
    rooms = {"buffers__input_kb": kb, "buffers__output_kb": kb}
    rooms["buffers__activations"] = draw(st.sampled_from(["shared", "one"]))
    rooms["buffers__weight_kb"] = draw(st.sampled_from([4.0, 64.0]))
    make = draw(st.sampled_from([spatial, winograd]))
    if make is winograd and rooms["buffers__activations"] == "one":
        rooms["buffers__transformed_kb"] = kb
    return make(**rooms, post=post, objective=draw(st.sampled_from(["cycles", "dram", "energy", "edp"])))


def in_stripes(works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject) -> Planned:
    """The network with a stack drawn from all."""

    def some(plans: StackPlans, single: list[float]) -> list[Stack]:
        wanted = list(_intervals(plans.context))
        if not wanted:
            reject()
        first, last = data.draw(st.sampled_from(wanted))
        rows = plans.context.shapes[plans.context.groups[last].last].out_height
        stack = Stack(first, last, data.draw(st.integers(1, rows)), data.draw(st.booleans()), data.draw(st.booleans()))
        if not np.isfinite(plans.score(stack)) or plans.addresses([stack]) is None:
            reject()
        return [stack]

    with patch.object(planning, "find_stacks", some):
        return where_it_fits(lambda: plan_network(works, machine, "depth-first"))


@law(60)
@given(networks(pooled_fans=True), machines(), st.data())
def test_engines_agree_on_stripes(works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject) -> None:
    planned = in_stripes(works, machine, data)
    whole = program_of(planned.all_parts, machine)
    fast, event = program_times(whole), event_times(whole)
    assert fast.computed.tolist() == event.computed.tolist()
    assert fast.end == event.end
    by_fast, by_event = (time_network(planned, machine, "depth-first", engine) for engine in ("fast", "event"))
    assert [row.cycles for row in by_fast] == [row.cycles for row in by_event]
    for row in by_fast:  # of a pooling in parts, too, that rides on several groups in stripes
        assert {len(moved.n_bytes) for moved in row.schedule.transfers} == {len(row.schedule)}


@law(40)
@given(networks(), machines(), st.data())
def test_no_two_maps_or_line_buffers_overlap(
    works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject
) -> None:
    """In any piece the bytes at all addresses of what is held there are apart, and tiles find room beside them."""
    planned = in_stripes(works, machine, data)
    one = machine.buffers.activations == "one"
    sizes = machine.buffers.sizes_kb
    together = ["input", "output"] + (["transformed"] if one and "transformed" in sizes else [])
    capacity = sum(1024 * sizes[name] for name in together)
    for piece in planned.pieces:
        tiles = sum(piece.plan.needs.get(name, 0) for name in together)
        assert sum(piece.held.values()) + tiles <= capacity


def rows_needed(work: LayerWork, rows: range) -> range:
    """Rows of input that rows of a layer's output read: the last one of all reads to the end, as in a layer."""
    reach = work.dilation[0] * (work.kernel[0] - 1) + 1
    found = {
        y
        for p in rows
        for y in range(p * work.stride[0] - work.padding[0], p * work.stride[0] - work.padding[0] + reach)
        if 0 <= y < work.height
    }
    return range(min(found), work.height if rows[-1] == work.out_height - 1 else max(found) + 1)


@law(40)
@given(networks(most=3), machines(), st.data())
def test_every_byte_of_a_stack_is_the_one_counted_by_hand(
    works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject
) -> None:
    """Element by element: inputs stripe by stripe, weights as often, inner maps never, outputs once."""
    planned = in_stripes(works, machine, data)
    (stack,) = planned.stacks
    timed = time_network(planned, machine, "depth-first", "fast")
    inside = {works[planned.groups[t].last].name for t in range(stack.first, stack.last)}
    by_name = {work.name: work for work in works}
    for t in stack.groups:
        group = planned.groups[t]
        work = works[group.head]
        loaded = weights = read = written = 0
        there: set[int] = set()  # rows of the input that stripes above have read
        for number, piece in enumerate(planned.of_group[t]):
            assert not (set(work.sources or ()) & inside and piece.around.input_share == 1)
            first = piece.lines.rows[piece.stripe][group.head].first
            rows = range(first, piece.lines.rows[piece.stripe][group.head].end)
            needed = rows_needed(work, rows)
            top = max(0, work.padding[0] - first * work.stride[0])
            stripe = replace(work, height=len(needed), out_height=len(rows), padding=(top, work.padding[1]))
            mode = machine.modes(stripe.amid(piece.around))[0]
            tiling, _ = choose_tiling(mode, machine)
            steps, _ = recount(stripe, machine, tiling)
            every = sum(inputs for _, inputs, _, _ in steps)
            from_dram = [  # of each input channel, whether it has to be loaded
                source not in inside and (source not in by_name or _in_dram(planned, source))
                for source in work.sources
                for _ in range(by_name[source].out_channels if source in by_name else work.in_channels)
            ]
            new = len(needed) if not stack.keeps else len(set(needed) - there)
            there |= set(needed)
            loaded += -(-every * sum(from_dram) * new // (len(from_dram) * len(needed)))
            weights += 0 if stack.weights_stay and number else sum(w for w, _, _, _ in steps)
            plain = tiled_schedule(mode, tiling, machine).actions
            read += plain["input_read"]
            written += plain["output_write"]
        actions = timed[group.head].schedule.actions
        schedule = timed[group.head].schedule
        assert int(schedule.weights.n_bytes.sum()) == weights
        assert int(schedule.inputs.n_bytes.sum()) == loaded
        assert actions["input_read"] == read
        assert actions["output_write"] == written
        assert actions["input_write"] == pytest.approx(8 * loaded, abs=8 * len(planned.of_group[t]))
        last = works[group.last]
        stores = t == stack.last and _in_dram(planned, last.name)
        assert int(schedule.outputs.n_bytes.sum()) == (last.outputs if stores else 0)


def _in_dram(planned: Planned, name: str) -> bool:
    assert planned.placement is not None
    return planned.placement.places[planned.by_name[name]] == 0


@law(40)
@given(networks(), machines(), st.data())
def test_what_is_kept_is_multiplied_once(
    works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject
) -> None:
    planned = in_stripes(works, machine, data)
    (stack,) = planned.stacks
    stripes = time_network(planned, machine, "depth-first", "fast")
    wholes = time_network(where_it_fits(lambda: plan_network(works, machine, "resident")), machine, "resident", "fast")
    for one, other in zip(stripes, wholes, strict=True):
        if stack.keeps and machine.kind == "spatial":
            assert one.schedule.effectual_macs == other.schedule.effectual_macs
        else:  # rows computed again; tiles of two rows that end in a row too few
            assert one.schedule.effectual_macs >= other.schedule.effectual_macs


@law(60)
@given(networks(), machines())
def test_depth_first_is_never_worse_than_resident(works: tuple[LayerWork, ...], machine: AnyMachine) -> None:
    stripes, wholes = (
        where_it_fits(lambda level=level: run(works, machine, engine="fast", level=level).total)
        for level in ("depth-first", "resident")
    )
    cost = {
        "cycles": lambda total: total["cycles"],
        "dram": lambda total: total["dram_read_bytes"] + total["dram_write_bytes"],
        "energy": lambda total: total["energy_pj"],
        "edp": lambda total: total["energy_pj"] * total["cycles"],
    }[machine.objective]
    assert cost(stripes) <= cost(wholes)


@pytest.mark.parametrize("make", [spatial, winograd])
def test_maps_that_do_not_fit_stay_on_chip_as_lines(make) -> None:  # type: ignore[no-untyped-def]
    """Two layers of 48 x 48 x 16 bytes, 36 KB a map, in 16 KB: output and weights move once, the map never."""
    works = (conv("a", ("input",), 16, 16, 48), conv("b", ("a",), 16, 16, 48))
    rooms = {"buffers__input_kb": 8, "buffers__output_kb": 8, "buffers__activations": "shared"}
    machine = make(**rooms, post=BOTH, objective="dram", weight_format="dense")
    result = run(works, machine, engine="event", level="depth-first")
    assert result.total["stacks"] == 1
    layers = result.layers.set_index("name")
    assert layers.loc["a", "output_place"] == layers.loc["b", "input_place"] == "lines"
    assert result.total["dram_write_bytes"] == 48 * 48 * 16
    assert layers.loc["b", "dram_input_bytes"] == 0
    taps = 16 if make is winograd else 9
    assert layers["dram_weight_bytes"].sum() == 2 * 16 * 16 * taps
    resident = run(works, machine, engine="fast", level="resident").total
    assert resident["dram_write_bytes"] == 2 * 48 * 48 * 16


@pytest.mark.slow
def test_super_resolution_of_a_whole_picture_moves_input_output_and_weights_once() -> None:
    """By hand: 1920 x 1080 bytes in and out, 112,480 weights of 8 bits with a bit each of a mask; maps have 66 MB."""
    graph = named_graph("ct-srcnn9")
    rows = tabulate(Network(graph, {name: np.ones(shape, np.float32) for name, shape in graph.parameters.items()}), {})
    names = ["input", *(row.name for row in rows)]
    chain = tuple(replace(row, inputs=(before,)) for row, before in zip(rows, names, strict=False))
    rooms = ["buffers.input_kb=1536", "buffers.output_kb=1536", "buffers.activations=shared", "objective=dram"]
    machine = load_hardware("spatial-64x64", rooms)
    result = run(layer_works(LayerTable("ct-srcnn9", chain)), machine, engine="fast", level="depth-first")
    assert result.total["stacks"] == 1
    assert result.layers["dram_input_bytes"].sum() == result.total["dram_write_bytes"] == 1920 * 1080
    assert result.layers["dram_weight_bytes"].sum() == 112_480 * 9 // 8


def test_a_list_of_layers_has_no_stacks() -> None:
    works = without_wiring((conv("a", ("input",), 16, 16, 48), conv("b", ("a",), 16, 16, 48)))
    machine = changed(spatial(post=BOTH, objective="dram"), buffers__activations="shared", buffers__input_kb=8)
    assert run(works, machine, engine="fast", level="depth-first").total["stacks"] == 0


def test_what_is_read_on_chip_is_waited_for_beside_what_is_loaded() -> None:
    """By hand: a part with inputs from DRAM (cycles 15 to 25), weights (25 to 30) and a map that is finished at 165.

    The first part loads for 15 cycles, its lanes take 100, its vector lanes 50; then the second one's lanes 20, its
    store 7.
    """
    none = np.array([0, 0])
    no = np.array([False, False])
    yes = np.array([True, True])
    program = Program(
        loads=np.array([[10, 10], [5, 5], [0, 0]]),
        loaded=np.array([yes, yes, no]),
        arrival=none,
        store=np.array([0, 7]),
        stores=np.array([False, True]),
        transform=none,
        compute=np.array([100, 20]),
        output=np.array([50, 0]),
        input_starts=yes,
        output_ends=yes,
        transforms=no,
        inverts=no,
        order=np.array([0, 2, 1, 3, 7]),
        first=np.array([0, 1]),
        waits=Waits(weights=none - 1, inputs=none - 1, finished=((), (0,)), stored=none - 1),
    )
    for times in (program_times(program), event_times(program)):
        assert times.computed.tolist() == [115, 185]
        assert times.finished.tolist() == [165, 185]
        assert times.end == 192


def test_a_pooling_in_parts_rides_on_layers_in_stripes() -> None:
    """SqueezeNet pools the concatenation of two layers, which run in stripes on this machine."""
    works = layer_works(read_dual(ROOT / "models" / "squeezenet11-imagenet.dual"))
    machine = load_hardware("winograd-tuned-16x16")
    stripes, wholes = (run(works, machine, engine="fast", level=level) for level in ("depth-first", "resident"))
    pooled = stripes.layers.set_index("name").loc["pool3"]
    assert pooled["mode"] == "on fire3/expand1x1, fire3/expand3x3"
    assert pooled["energy_sram_pj"] > 0
    assert stripes.total["energy_pj"] == pytest.approx(stripes.layers["energy_pj"].sum())
    edp = [result.total["energy_pj"] * result.total["cycles"] for result in (stripes, wholes)]
    assert machine.objective == "edp"
    assert edp[0] <= edp[1]
