"""Networks on machines: laws of the levels, and that both engines mean the same."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accelsim
from accelsim.network.graph import Graph
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.network.batches import passes_to_try
from accelsim.simulator.network.groups import groups_of
from accelsim.simulator.network.places import DRAM
from accelsim.simulator.network.planning import LEVELS, plan_network
from accelsim.simulator.network.timing import _least_cycles, _without_dram, time_network
from accelsim.simulator.pricing import Pricing
from accelsim.simulator.result import COUNT_COLUMNS, ENERGY_COLUMNS
from accelsim.simulator.run import _as_network, run
from accelsim.simulator.time.event import event_times
from accelsim.simulator.time.program import Part, one_after_the_other, program_of, programs_apart
from accelsim.simulator.time.recurrence import cycles_apart, program_times
from accelsim.workload import LayerWork, layer_works
from tests.laws import ALL, LEAST, law

from ..random_layers import AnyMachine, changed, random_model, spatial, where_it_fits, winograd
from ..random_machines import machines
from .small import conv, networks, pool, without_wiring

HWCONFIGS = sorted(Path(__file__).parents[3].glob("hwconfigs/*.yaml"))
BOTH = {"add": True, "pool": True}
NETWORK_LEVELS = LEVELS[1:]


@st.composite
def any_machines(draw: st.DrawFn) -> AnyMachine:
    """Machines of all families, with whatever they can do with maps."""
    machine = draw(machines())
    wanted = draw(st.sampled_from(["separate", "swap", "shared", "one"]))
    post = {"add": draw(st.booleans()), "pool": draw(st.booleans())}
    if wanted == "one" and hasattr(machine.buffers, "shared"):
        machine = changed(machine, buffers__shared=False)
    return changed(machine, buffers__activations=wanted, post=post)


def both_kinds(**changes: object) -> list[AnyMachine]:
    """A small machine of each kind that can do all."""
    common = {"buffers__activations": "shared", "post": BOTH, **changes}
    return [spatial(**common), winograd(**common)]


@law(120)
@given(networks(pooled_fans=True), any_machines(), st.sampled_from(NETWORK_LEVELS))
def test_engines_agree(works: tuple[LayerWork, ...], machine: AnyMachine, level: str) -> None:
    fast = where_it_fits(lambda: run(works, machine, engine="fast", level=level))
    event = run(works, machine, engine="event", level=level)
    assert (fast.layers == event.layers).all(axis=None)


@law(100)
@given(networks(), any_machines(), st.data())
def test_engines_agree_on_programs_with_any_waits(
    works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject
) -> None:
    parts = some_parts(works, machine, data)
    p = program_of(parts, machine)
    fast, event = program_times(p), event_times(p)
    assert fast.computed.tolist() == event.computed.tolist()
    assert fast.finished.tolist() == event.finished.tolist()
    assert fast.end == event.end


@law(60)
@given(networks(pooled_fans=True), any_machines(), st.booleans())
def test_parts_one_after_the_other_take_what_each_takes_by_itself(
    works: tuple[LayerWork, ...], machine: AnyMachine, without_dram: bool
) -> None:
    parts = where_it_fits(lambda: plan_network(works, machine, "resident")).parts
    whole, apart = one_after_the_other(parts, machine), programs_apart(parts, machine)
    if without_dram:
        whole, *apart = map(_without_dram, (whole, *apart))
    cycles = cycles_apart(whole).tolist()
    assert cycles == [event_times(p).end for p in apart]
    assert all(least <= took for least, took in zip(_least_cycles(whole).tolist(), cycles, strict=True))


def some_parts(works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject) -> list[Part]:
    """The parts of a network, beside one another where chance says."""
    planned = where_it_fits(lambda: plan_network(works, machine, "resident"))
    return [
        replace(part, beside=data.draw(st.booleans()), weights_beside=data.draw(st.booleans()))
        for part in planned.parts
    ]


@law(60)
@given(networks(), any_machines(), st.data(), st.floats(1, 8))
def test_a_faster_memory_never_costs_cycles(
    works: tuple[LayerWork, ...], machine: AnyMachine, data: st.DataObject, factor: float
) -> None:
    parts = some_parts(works, machine, data)
    rate = machine.dram.timing.bandwidth_gbs
    if not np.isfinite(rate):
        return
    faster = changed(machine, dram__bandwidth_gbs=min(1e6, rate * factor))
    assert program_times(program_of(parts, faster)).end <= program_times(program_of(parts, machine)).end


@law(60)
@given(networks(), any_machines())
def test_overlap_never_costs_cycles(works: tuple[LayerWork, ...], machine: AnyMachine) -> None:
    """The same parts, each when the one before is done, take no fewer cycles."""
    planned = where_it_fits(lambda: plan_network(works, machine, "resident"))
    apart = [replace(part, on_chip=(), in_dram=(), beside=False, weights_beside=False) for part in planned.parts]
    one_by_one = sum(program_times(program_of([part], machine)).end for part in apart)
    timed = time_network(planned, machine, "resident", "fast")
    assert sum(row.cycles for row in timed) <= one_by_one


@law(80)
@given(networks(pooled_fans=True), any_machines(), st.sampled_from(NETWORK_LEVELS))
def test_parts_sum_to_wholes(works: tuple[LayerWork, ...], machine: AnyMachine, level: str) -> None:
    result = where_it_fits(lambda: run(works, machine, engine="fast", level=level))
    layers, total = result.layers, result.total
    for column in (*COUNT_COLUMNS, *ENERGY_COLUMNS):
        assert layers[column].sum() == total[column], column
    assert (layers["dram_read_bytes"] == layers["dram_weight_bytes"] + layers["dram_input_bytes"]).all()
    parts = sum(layers[f"{part}_cycles"] for part in ("useful", "imbalance", "edge", "transform", "dram"))
    assert (parts == layers["cycles"]).all()
    assert (layers[["stall_cycles", "transform_cycles", "dram_cycles"]] >= 0).all(axis=None)
    assert total["cycles"] >= max(total["compute_cycles"], total["roofline_cycles"])
    assert list(layers["name"]) == [work.name for work in works]


COSTS = {  # by objective
    "cycles": lambda total: total["cycles"],
    "dram": lambda total: total["dram_read_bytes"] + total["dram_write_bytes"],
    "energy": lambda total: total["energy_pj"],
    "edp": lambda total: total["energy_pj"] * total["cycles"],
}


@law(100, quick=LEAST)
@given(networks(pooled_fans=True), any_machines(), st.sampled_from([1.0, 2.0, 4.0, 16.0]))
def test_no_level_is_worse_than_the_one_below(works: tuple[LayerWork, ...], machine: AnyMachine, kb: float) -> None:
    """By the machine's objective, in large buffers and where maps take the room that tiles would like to have."""
    tight = machine if kb == 16 else where_it_fits(lambda: changed(machine, buffers__input_kb=kb))
    cost = COSTS[machine.objective]
    totals = [
        where_it_fits(lambda level=level: run(works, tight, engine="fast", level=level).total) for level in LEVELS
    ]
    for below, above in pairwise(totals):
        assert cost(above) <= cost(below) * (1 + 1e-6), machine.objective  # energies are rounded


def test_a_pooling_passes_by_itself_where_its_layer_is_quicker_without_it_in_a_buffer_with_the_weights() -> None:
    """Transformed inputs of F(6, 3) need more than the inputs' 2 KB, less than those with the weights' 192."""
    machine = winograd(
        tile=6,
        pe_array={"rows": 2, "cols": 2, "taps": 36},
        transform_rate=3,
        inverse_rate=7,
        window=2,
        hybrid=True,
        polyphase=True,
        vector_lanes=1,
        weight_format="run_length",
        balance="greedy",
        post={"pool": True},
        dram={"type": "ideal"},
        arithmetic={"number": "fp16", "accumulator_bits": 16, "transformed_bits": 8},
        buffers={"weight_kb": 192, "input_kb": 2, "transformed_kb": 192, "output_kb": 512, "shared": True},
    )
    works = (conv("0.right", ("input",), 3, 32, 6), conv("1.conv", ("0.right",), 32, 16, 6))
    works += (pool("1.pool", ("1.conv",), 16, 6, 6, 6), conv("last", ("1.pool",), 16, 5, 1, 1))
    by_level = [run(works, machine, engine="fast", level=level).total["cycles"] for level in ("layers", "fused")]
    assert by_level[1] <= by_level[0]


@law(60)
@given(networks(), any_machines())
def test_without_anything_that_rides_or_stays_fused_is_layers(
    works: tuple[LayerWork, ...], machine: AnyMachine
) -> None:
    memory = (
        "one" if machine.buffers.activations == "one" else "separate"
    )  # of which tiles by themselves have more, too
    plain = changed(machine, post={}, buffers__activations=memory)
    layers = where_it_fits(lambda: run(works, plain, engine="fast", level="layers"))
    for other in (
        run(works, plain, engine="fast", level="fused"),
        run(without_wiring(works), machine, engine="fast", level="fused"),
    ):
        common = list(layers.layers.columns)
        assert (layers.layers[common] == other.layers[common]).all(axis=None)


@law(60)
@given(networks(), st.sampled_from([0, 1]), st.sampled_from([2.0, 3.0, 5.0, 9.0, 64.0]), st.floats(1, 3))
def test_more_memory_on_chip_never_moves_more(
    works: tuple[LayerWork, ...], kind: int, kb: float, factor: float
) -> None:
    """Of machines that minimise DRAM bytes, the search is exact; rounding apart, a byte a request that is cut anew."""
    smaller = both_kinds(objective="dram", buffers__input_kb=kb, buffers__output_kb=kb)[kind]
    larger = changed(smaller, buffers__input_kb=kb * factor, buffers__output_kb=kb * factor)
    moved = [where_it_fits(lambda m=m: run(works, m, engine="fast", level="resident")).total for m in (smaller, larger)]
    placed = [plan_network(works, m, "resident").placement for m in (smaller, larger)]
    assert placed[1].score <= placed[0].score
    few, many = (total["dram_read_bytes"] + total["dram_write_bytes"] for total in moved)
    assert many <= few * 1.01 + 8


@law(80)
@given(networks(), any_machines())
def test_bytes_are_at_least_weights_input_and_output(works: tuple[LayerWork, ...], machine: AnyMachine) -> None:
    machine = changed(machine, weight_format="dense", activation_format="dense", decoder=None) if hasattr(
        machine, "decoder"
    ) else changed(machine, weight_format="dense", activation_format="dense")  # fmt: skip
    total = where_it_fits(lambda: run(works, machine, engine="fast", level="resident")).total
    bits = machine.arithmetic
    weights = sum(work.weights.size for work in works if work.weights is not None) * bits.weight_bits
    first, last = works[0], works[-1]
    given_in = first.batch * first.height * first.width * first.in_channels * bits.activation_bits
    least = (weights + given_in + last.outputs * bits.activation_bits) / 8
    assert total["dram_read_bytes"] + total["dram_write_bytes"] >= least - 1


@law(60)
@given(networks(), st.sampled_from([0, 1]))
def test_where_everything_fits_only_weights_input_and_output_move(works: tuple[LayerWork, ...], kind: int) -> None:
    sizes = {f"buffers__{name}_kb": 4096 for name in ("weight", "input", "output")}
    machine = both_kinds(objective="dram", weight_format="dense", **sizes)[kind]
    if kind:
        machine = changed(machine, buffers__transformed_kb=4096)
    total = run(works, machine, engine="fast", level="resident").total
    planned = plan_network(works, machine, "resident")
    assert planned.placement is not None
    in_dram = [t for t, at in planned.placement.places.items() if at == DRAM]
    assert sorted(in_dram) == [len(planned.groups) - 1, len(planned.groups)]  # from outside; the network's output
    weights = sum(int(plan.schedule.weights.n_bytes.sum()) for plan in planned.plans)
    stored = sum(
        work.weights.size * (16 / 9 if kind and work.winograd_threshold is not None else 1)
        for work in works
        if work.weights is not None
    )  # F(2, 3) has 16 entries for 9 weights
    assert weights == pytest.approx(stored, rel=1e-12)
    first, last = works[0], works[-1]
    readers = sum("input" in (work.sources or ()) for work in works)
    assert total["dram_write_bytes"] == last.outputs
    assert total["dram_read_bytes"] - weights == readers * first.height * first.width * first.in_channels


@pytest.mark.slow
@law(25)
@given(st.sampled_from([2, 3, 4]).flatmap(lambda n: networks(most=2, batch=n)), any_machines())
def test_a_batch_takes_the_better_of_images_inside_layers_and_layers_inside_images(
    works: tuple[LayerWork, ...], machine: AnyMachine
) -> None:
    """Never worse than all at once, or one by one; every multiply is there; both engines agree."""
    result = where_it_fits(lambda: run(works, machine, engine="fast", level="resident"))
    objective = {"cycles": lambda t: t["cycles"], "energy": lambda t: t["energy_pj"]}.get(machine.objective)
    pricing = Pricing.of(machine)
    tries = {
        passes: _as_network(pricing, "fast", plan_network(works, machine, "resident", passes))
        for passes in passes_to_try(works)
    }
    assert set(tries) == {p for p in range(1, works[0].batch + 1) if works[0].batch % p == 0}
    if objective is not None:
        assert objective(result.total) <= min(objective(one.total) for one in tries.values())
    for one in tries.values():
        assert one.total["dense_macs"] == sum(work.dense_macs for work in works)
    event = run(works, machine, engine="event", level="resident")
    assert (event.layers == result.layers).all(axis=None)


def test_passes_load_weights_once_where_all_of_them_fit() -> None:
    works = layer_works(random_model("resnet20-cifar10", density=0.1), batch=4)
    machine = changed(load_hardware("spatial-16x16"), buffers__weight_kb=512)
    planned = plan_network(works, machine, "resident", passes=4)
    assert planned.weights_stay
    once = sum(int(plan.schedule.weights.n_bytes.sum()) for plan in planned.plans)
    rows = time_network(planned, machine, "resident", "fast")
    assert sum(int(row.schedule.weights.n_bytes.sum()) for row in rows) == once
    tight = plan_network(works, changed(machine, buffers__weight_kb=32), "resident", passes=4)
    assert not tight.weights_stay


@pytest.mark.parametrize("kind", [0, 1])
def test_a_pooling_of_concatenated_maps_rides_on_each_of_its_layers(kind: int) -> None:
    """Two convolutions of 6 x 6 pixels, pooled 2 x 2 together: a quarter of each one's outputs is stored and read."""
    works = (
        conv("left", ("input",), 8, 4, 6, 1),
        conv("right", ("input",), 8, 20, 6),
        pool("both", ("left", "right"), 24, 6, 2, 2),
        conv("last", ("both",), 24, 5, 3, 1),
    )
    machine = both_kinds()[kind]
    layers = run(works, machine, engine="fast", level="fused").layers.set_index("name")
    assert list(layers.index) == ["left", "right", "both", "last"]
    assert layers.loc["left", "dram_output_bytes"] == 4 * 9
    assert layers.loc["right", "dram_output_bytes"] == 20 * 9
    assert layers.loc["last", "dram_input_bytes"] == 24 * 9
    row = layers.loc["both"]
    assert row["mode"] == "on left, right"
    assert row["cycles"] == row["dram_read_bytes"] == row["dram_write_bytes"] == 0
    assert row["sram_read_bytes"] == 24 * 9 * (4 + 1)  # each window's pixels, and by the DMA
    assert row["sram_write_bytes"] == 24 * 9
    resident = run(works, machine, engine="event", level="resident").layers.set_index("name")
    assert resident.loc["both", "output_place"] == "chip"
    assert resident["dram_write_bytes"].sum() == 5 * 9


def test_what_rides_on_what_in_resnet20() -> None:
    works = layer_works(random_model("resnet20-cifar10"))
    groups = groups_of(works, load_hardware("spatial-16x16").post)
    riders = {works[group.head].name: [works[r].name for r in group.riders] for group in groups if group.riders}
    assert len(riders) == 9  # an addition for each block
    assert riders["layer1.0.conv2"] == ["layer1.0.add"]
    assert riders["layer3.2.conv2"] == ["layer3.2.add", "pool"]
    operands = {works[group.head].name: group.operands for group in groups}
    assert operands["layer1.1.conv2"] == ("layer1.0.add",)
    assert not any(group.riders for group in groups_of(works, load_hardware("eyeriss").post))


@pytest.fixture(scope="module")
def works(resnet8: Graph) -> tuple[LayerWork, ...]:
    """ResNet-20; in ``make test`` ResNet-8, which has every kind of step that the shipped machines fuse."""
    return layer_works(random_model("resnet20-cifar10" if ALL else resnet8.name))


def dear(path: Path) -> tuple[pytest.MarkDecorator, ...]:
    """The machines whose schedules take seconds are left to ``make test-all``."""
    return (pytest.mark.slow,) if path.stem.startswith("scnn") else ()


@pytest.mark.parametrize("path", [pytest.param(path, marks=dear(path), id=path.stem) for path in HWCONFIGS])
def test_engines_agree_on_the_shipped_machines(path: Path, works: tuple[LayerWork, ...]) -> None:
    machine = load_hardware(path)
    by_layers = run(works, machine, engine="fast").total
    for level in NETWORK_LEVELS:
        by_event, by_fast = (run(works, machine, engine=engine, level=level) for engine in ("event", "fast"))
        assert (by_event.layers == by_fast.layers).all(axis=None)
        # Tilings of layers by themselves are chosen as timed, those of networks by their score, which may miss by a
        # little.
        assert by_fast.total["cycles"] <= 1.02 * by_layers["cycles"]
        assert by_fast.total["energy_pj"] <= 1.02 * by_layers["energy_pj"]


def test_a_machine_with_a_choice_takes_the_quicker_way_where_maps_stay_on_chip() -> None:
    """One that may run any layer directly, too, is no slower than one of the same lanes that may not."""
    works = layer_works(accelsim.load_model("resnet20-cifar10"))
    hybrid = load_hardware("winograd-16x16", ["hybrid=true"])
    plain = load_hardware("winograd-16x16")
    cycles = [run(works, machine, engine="fast", level="resident").total["cycles"] for machine in (hybrid, plain)]
    assert cycles[0] <= cycles[1]
