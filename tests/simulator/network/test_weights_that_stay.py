"""``buffers.weights: stay``: weights that all fit together are there from the run before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accelsim
from accelsim.simulator.network.planning import plan_network
from accelsim.simulator.run import run
from accelsim.simulator.time.schedule import without_weights
from accelsim.workload import LayerWork
from tests.laws import law

from ..random_layers import AnyMachine, changed, where_it_fits, winograd
from .small import conv, networks
from .test_levels import COSTS, any_machines, both_kinds


@law(40)
@given(networks(), any_machines(), st.sampled_from(["resident", "depth-first"]))
def test_weights_that_stay_never_cost_anything(works: tuple[LayerWork, ...], machine: AnyMachine, level: str) -> None:
    """By the machine's objective; ``event`` and ``fast`` agree; all weights are loaded, or none."""
    cost = COSTS[machine.objective]
    loaded = where_it_fits(lambda: run(works, machine, engine="fast", level=level))
    keeps = changed(machine, buffers__weights="stay")
    stay = run(works, keeps, engine="fast", level=level)
    assert cost(stay.total) <= cost(loaded.total)
    assert (run(works, keeps, engine="event", level=level).layers == stay.layers).all(axis=None)
    if stay.total["dram_weight_bytes"]:
        assert (stay.layers == loaded.layers).all(axis=None)
    else:
        assert set(stay.layers["weight_place"]) <= {"stay", ""}


@law(30)
@given(networks(), any_machines(), st.sampled_from(["layers", "fused"]))
def test_below_resident_every_run_loads_its_weights(
    works: tuple[LayerWork, ...], machine: AnyMachine, level: str
) -> None:
    loaded = where_it_fits(lambda: run(works, machine, engine="fast", level=level))
    stay = run(works, changed(machine, buffers__weights="stay"), engine="fast", level=level)
    assert (stay.layers == loaded.layers).all(axis=None)


@law(40)
@given(networks(), st.sampled_from([0, 1]))
def test_where_everything_fits_only_input_and_output_move(works: tuple[LayerWork, ...], kind: int) -> None:
    sizes = {f"buffers__{name}_kb": 4096 for name in ("weight", "input", "output")}
    machine = both_kinds(objective="dram", buffers__weights="stay", **sizes)[kind]
    if kind:
        machine = changed(machine, buffers__transformed_kb=4096)
    total = run(works, machine, engine="fast", level="resident").total
    first = works[0]
    readers = sum("input" in (work.sources or ()) for work in works)
    assert total["dram_read_bytes"] == readers * first.height * first.width * first.in_channels
    assert total["dram_write_bytes"] == works[-1].outputs


def test_all_weights_must_fit_together() -> None:
    """Two layers of 16 x 16 x 9 dense bytes: 4,608 bytes stay in 4.5 kB, and not in a byte less."""
    works = (conv("a", ("input",), 16, 16, 8), conv("b", ("a",), 16, 16, 8))
    machine = both_kinds(weight_format="dense", buffers__weights="stay")[0]
    for kb, there in ((4.5, 0), (4.5 - 1 / 1024, 4608)):
        total = run(works, changed(machine, buffers__weight_kb=kb), engine="fast", level="resident").total
        assert total["dram_weight_bytes"] == there


@pytest.mark.parametrize("keys", [{"weight_transform": "on_chip"}, {"decoder": {"symbols_per_cycle": 1}}])
def test_weights_that_are_there_are_neither_decoded_nor_transformed(keys: dict[str, object]) -> None:
    """What is left to transform is what a machine does whose weights come transformed."""
    works = (conv("a", ("input",), 8, 12, 9), conv("b", ("a",), 12, 16, 9))
    machine = winograd(**{"weight_transform": "on_chip", **keys})
    there = plan_network(works, machine, "resident", weights="there")
    off_line = plan_network(works, winograd(), "resident", weights="there")
    for plan, plain in zip(there.plans, off_line.plans, strict=True):
        assert plan.schedule.mode == "winograd-f2"
        assert plan.whole.counts["transform_add"] > plan.schedule.counts["transform_add"]
        assert plan.schedule.counts["transform_add"] == plain.schedule.counts["transform_add"]
        assert plan.schedule.counts.get("decode_symbol", 0.0) == 0
        assert without_weights(plan.schedule).counts == plan.schedule.counts


def test_resnet20_moves_its_image_and_ten_scores() -> None:
    """On a machine of 96 kB for weights: 32 x 32 x 3 pixels, and rows of the first tiles again."""
    kept, loaded = (
        accelsim.simulate("resnet20-cifar10", accelsim.load_hardware("spatial-tuned-16x16", keys), engine="fast").total
        for keys in (["buffers.weights=stay"], [])
    )
    assert kept["dram_weight_bytes"] == 0
    assert 3072 <= kept["dram_read_bytes"] < 2 * 3072
    assert kept["dram_write_bytes"] == 10
    assert kept["energy_pj"] < loaded["energy_pj"]
    assert kept["cycles"] < loaded["cycles"]
