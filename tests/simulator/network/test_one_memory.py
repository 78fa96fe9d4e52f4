"""One memory for maps, tiles, transformed inputs and sums (``buffers.activations: one``)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.hardware.energy import areas, memories, prices, static_mw
from accelsim.hardware.sram import sram
from accelsim.simulator.network.planning import plan_network
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.tiles.search import choose_tiling, choose_with_needs
from accelsim.workload import LayerWork
from tests.laws import law

from ..random_layers import AnyMachine, changed, layer, layers, spatial, where_it_fits, winograd
from ..random_machines import tiled_machines, with_one_memory
from .small import conv, networks, pool

ACCESSES = [
    f"energy__{name}_{way}_pj_per_bit" for name in ("input", "transformed", "output") for way in ("read", "write")
]
SIZES = [1.0, 2.0, 3.0, 6.0, 20.0, 64.0]


@law(50)
@given(layers(), tiled_machines(buffers__shared=False), st.data())
def test_buffers_apart_never_score_below_one_memory_of_their_sum(
    work: LayerWork, machine: AnyMachine, data: st.DataObject
) -> None:
    """A layer by itself, at the same energies: whatever buffers apart hold, one memory holds."""
    sizes = {f"buffers__{name}_kb": data.draw(st.sampled_from(SIZES)) for name in ("input", "transformed", "output")}
    if getattr(machine.buffers, "transformed_kb", 0) == 0:
        del sizes["buffers__transformed_kb"]
    apart = changed(machine, energy__sram_leakage_mw=0.0, **sizes, **dict.fromkeys(ACCESSES, 1.0))
    for mode, same_mode in zip(apart.modes(work), with_one_memory(apart).modes(work), strict=True):
        score = where_it_fits(lambda m=mode: choose_tiling(m, apart)[1])
        assert choose_tiling(same_mode, with_one_memory(apart))[1] <= score * (1 + 1e-12)


@st.composite
def pairs(draw: st.DrawFn) -> AnyMachine:
    """A small machine of either kind that minimises DRAM bytes, its maps in a memory of inputs and outputs."""
    make = draw(st.sampled_from([spatial, winograd]))
    names = ("input", "output") if make is spatial else ("input", "transformed", "output")
    sizes = {f"buffers__{name}_kb": draw(st.sampled_from(SIZES)) for name in names}
    post = {"add": draw(st.booleans()), "pool": draw(st.booleans())}
    return make(**sizes, buffers__activations="shared", post=post, objective="dram")


@law(20)
@given(networks(), pairs(), st.floats(1, 3))
def test_maps_move_least_in_one_memory_and_less_in_a_larger_one(
    works: tuple[LayerWork, ...], machine: AnyMachine, factor: float
) -> None:
    one = with_one_memory(machine)
    larger = changed(one, buffers__output_kb=one.buffers.output_kb * factor)
    of_apart, of_one, of_larger = (
        where_it_fits(lambda m=m: plan_network(works, m, "resident")).placement for m in (machine, one, larger)
    )
    assert of_one.score <= of_apart.score / (1 - of_one.gap) * (1 + 1e-12)
    assert of_larger.score <= of_one.score / (1 - of_larger.gap) * (1 + 1e-12)


@law(20)
@given(networks(pooled_fans=True), pairs(), st.sampled_from(["fused", "resident", "depth-first"]))
def test_no_two_things_share_bytes(works: tuple[LayerWork, ...], machine: AnyMachine, level: str) -> None:
    """Maps at their addresses, tiles of every kind beside them; of two layers at once the tiles of both."""
    machine = with_one_memory(machine)
    capacity = 1024 * sum(
        machine.buffers.sizes_kb[n] for n in ("input", "transformed", "output") if n in machine.buffers.sizes_kb
    )
    planned = where_it_fits(lambda: plan_network(works, machine, level))
    tiles = [
        sum(piece.plan.needs.get(name, 0) for name in ("input", "transformed", "output")) for piece in planned.pieces
    ]
    for p, (piece, part) in enumerate(zip(planned.pieces, planned.parts, strict=True)):
        maps = dict(piece.held)
        taken = tiles[p]
        if part.beside:
            maps |= planned.pieces[p - 1].held
            taken += tiles[p - 1]
        assert taken + sum(maps.values()) <= capacity
    if planned.placement is not None and not planned.stacks:
        for m, at in planned.placement.addresses.items():
            assert 0 <= at <= capacity - planned.sizes[m]
    for t, rows in enumerate(planned.occupancy):
        first = next(p for p, piece in enumerate(planned.pieces) if piece.group == t)
        assert rows["tile_bytes"] == tiles[first]


def test_transformed_inputs_and_sums_take_of_one_memory() -> None:
    """16 channels of 8 x 8, 8 filters: 16 tiles of F(2, 3), each 16 taps of 10 bits a channel and 24 a sum.

    Whole, V is 16 x 16 x 16 x 10 / 8 = 5,120 bytes, M 16 x 8 x 16 x 24 / 8 = 6,144, inputs 1,024, outputs 512.
    """
    work = layer(8, 16, 8)
    sizes = {"buffers__input_kb": 1, "buffers__transformed_kb": 2, "buffers__output_kb": 9.5}
    apart = winograd(**sizes, pe_array__rows=16, pe_array__cols=8, arithmetic__transformed_bits=10, objective="dram")
    one = with_one_memory(apart)  # 12.5 KiB: 12,800 bytes
    tiling, _, needs = choose_with_needs(one.modes(work)[0], one)
    assert tiling.sizes == "n=1 p=8 q=8 k=8 c=16"
    assert {name: needs[name] for name in ("input", "transformed", "output")} == {
        "input": 1024, "transformed": 5120, "output": 6144 + 512,
    }  # fmt: skip
    assert sum(needs[name] for name in ("input", "transformed", "output")) == 12800
    assert choose_with_needs(apart.modes(work)[0], apart)[2]["transformed"] <= 2048
    smaller = changed(one, buffers__output_kb=9.4)
    assert choose_with_needs(smaller.modes(work)[0], smaller)[0].sizes != tiling.sizes


@pytest.mark.parametrize("table", ["gates", "horowitz"])
def test_accesses_cost_what_one_memory_costs(table: str) -> None:
    """128 KiB beside 64 of weights: half of it as one bank, by the CACTI table, for every access but of weights."""
    sizes = {"buffers__input_kb": 56, "buffers__transformed_kb": 40, "buffers__output_kb": 32}
    apart = winograd(**sizes, energy_table=table)
    one = with_one_memory(apart)
    assert one.sram_bytes == apart.sram_bytes
    half = sram(28, 64 * 1024, 128)
    costs, before = prices(one), prices(apart)
    for name in ("input", "transformed", "output"):
        assert costs[f"{name}_read"].pj == half.read_pj_per_bit > before[f"{name}_read"].pj
        assert costs[f"{name}_write"].pj == half.write_pj_per_bit > before[f"{name}_write"].pj
    assert costs["weight_read"] == before["weight_read"]
    assert areas(one)["activation_buffer"].mm2 == 2 * half.area_mm2
    assert not {f"{name}_buffer" for name in ("input", "transformed", "output")} & set(areas(one))
    of_buffers = [2 * sum(memory.leakage_mw for memory in memories(machine).values()) for machine in (apart, one)]
    assert static_mw(one) - static_mw(apart) == pytest.approx(of_buffers[1] - of_buffers[0])
    assert areas(changed(one, area__activation_buffer_mm2=3.0))["activation_buffer"].mm2 == 3.0


def test_a_memory_that_is_too_small_says_so_in_one_line() -> None:
    """One tile of 16 channels and 4 filters, twice: 256 bytes of pixels, 320 of V, 192 of M, 16 of outputs; 1,568."""
    one = winograd(
        buffers__input_kb=1 / 64, buffers__transformed_kb=0, buffers__output_kb=1 / 64, buffers__activations="one"
    )
    keys = r"buffers\.input_kb \+ transformed_kb \+ output_kb is 0\.03125, too small for "
    with pytest.raises(InputError, match=keys + "one tile of layer layer, expected at least 2"):
        schedule_layer(layer(8, 16, 8), one)
    wide = pool("p", ("input",), 16, 64, 3, 2)
    with pytest.raises(InputError, match=keys + "the rows shared by the windows of layer p, expected at least"):
        run([wide], one, engine="fast", level="layers")


def test_weights_have_no_part_of_it() -> None:
    with pytest.raises(InputError, match=r"activations one, expected separate, swap or shared beside shared yes"):
        spatial(buffers__activations="one", buffers__shared=True)


def test_few_ports_serve_all_of_it() -> None:
    """Through 2 banks of 32 bits pass V and sums of the lanes, pixels and V of the transform unit: nothing meets."""
    work = layer(8, 16, 8)
    apart = winograd(buffers__banks=2, buffers__port_bits=32, dram__type="ideal")
    one = with_one_memory(apart)
    few, together = (schedule_layer(work, machine) for machine in (apart, one))
    assert few.tiling == together.tiling
    actions = together.counts
    sums = actions["output_read"] + actions["output_write"] - 2 * 8 * work.outputs
    of_transform = actions["input_read"] + actions["transformed_write"]
    bits = actions["transformed_read"] + sums + of_transform
    assert together.compute_cycles.sum() >= bits / 64 > few.compute_cycles.sum()
    assert together.transform_cycles.sum() >= of_transform / 64 > few.transform_cycles.sum()


def test_a_pooling_by_itself_shares_it() -> None:
    """A pass of 16 channels of 32 x 32 with rows to spare runs in both engines alike."""
    works = [conv("a", ("input",), 4, 16, 32, 3), pool("p", ("a",), 16, 32, 3, 2)]
    machine = with_one_memory(winograd(buffers__input_kb=3, buffers__transformed_kb=1, buffers__output_kb=3))
    fast, event = (run(works, machine, engine=engine, level="layers") for engine in ("fast", "event"))
    assert (fast.layers == event.layers).all(axis=None)
