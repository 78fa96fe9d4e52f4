"""Whole networks with branches counted again in plain Python: every byte to and from DRAM, and what maps on chip save.

Each convolution is counted tile by tile, element by element, as ``tests/simulator/test_recount.py`` does; then every
map is followed from the layer that writes it to those that read it, channel by channel.
"""

import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st

from accelsim.simulator.network.places import DRAM
from accelsim.simulator.network.planning import Planned
from accelsim.simulator.network.timing import time_network
from accelsim.simulator.run import run_network
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.search import choose_tiling, choose_tilings
from accelsim.workload import LayerWork
from tests.laws import law

from ..random_layers import AnyMachine, spatial, where_it_fits, winograd
from ..test_recount import recount
from .small import networks

BOTH = {"add": True, "pool": True}


@st.composite
def machines(draw: st.DrawFn) -> AnyMachine:
    """A small machine of either kind whose memory holds some maps and not others."""
    kb = draw(st.sampled_from([1.0, 2.0, 3.0, 6.0, 64.0]))
    post = {"add": draw(st.booleans()), "pool": draw(st.booleans())}
    rooms = {"buffers__input_kb": kb, "buffers__output_kb": kb, "buffers__activations": "shared"}
    make = draw(st.sampled_from([spatial, winograd]))
    return make(**rooms, post=post, objective=draw(st.sampled_from(["cycles", "dram", "energy"])))


def on_chip(planned: Planned) -> set[str]:
    """Names of the layers whose outputs stay on chip, those of what rides on them standing for all of a group."""
    places = {} if planned.placement is None else planned.placement.places
    return {
        planned.shapes[group.last].name
        for t, group in enumerate(planned.groups)
        if places.get(t, DRAM) != DRAM
    }  # fmt: skip


def channels_from_dram(work: LayerWork, by_name: dict[str, LayerWork], chip: set[str]) -> list[bool]:
    """Of each input channel, whether it has to be loaded: the sources one behind the other."""
    found: list[bool] = []
    for source in work.sources or ():
        count = by_name[source].out_channels if source in by_name else work.in_channels
        found += [source not in chip] * count
    return found


def windows(work: LayerWork) -> int:
    """Operands of a pooling, one by one."""
    count = 0
    for _ in range(work.batch * work.out_channels):
        for p in range(work.out_height):
            for q in range(work.out_width):
                for r in range(work.kernel[0]):
                    for s in range(work.kernel[1]):
                        y, x = p * work.stride[0] + r, q * work.stride[1] + s
                        count += y < work.height and x < work.width
    return count


@law(60)
@given(networks(most=3), machines(), st.sampled_from(["fused", "resident"]))
def test_every_byte_and_access_of_a_network_is_the_one_counted_by_hand(
    works: tuple[LayerWork, ...], machine: AnyMachine, level: str
) -> None:
    ran = where_it_fits(lambda: run_network(works, machine, "fast", level))
    (planned,) = ran.sections  # through DRAM, where that costs less
    assume(planned.passes == 1)
    result = pd.DataFrame(ran.rows).set_index("name")
    timed = time_network(planned, machine, level, "fast")
    chip = on_chip(planned)
    by_name = {work.name: work for work in works}
    for t, group in enumerate(planned.groups):
        head, last = works[group.head], works[group.last]
        row, actions = result.loc[head.name], timed[group.head].schedule.actions
        stays = last.name in chip
        stored = 0 if stays else last.outputs
        from_dram = channels_from_dram(head, by_name, chip)
        if head.weights is None:
            # Every element of every source once, and for an addition of each.
            loaded = head.batch * head.height * head.width * sum(from_dram)
            sums = 0
        else:
            mode = machine.modes(head.amid(planned.arounds[t]))[0]
            said = planned.plans[t].whole  # by its score, or at ``fused`` as timed
            every_tiling = [choose_tiling(mode, machine)[0], *choose_tilings(mode, machine)]
            tiling = next(t for t in every_tiling if (t.sizes, t.order) == (said.tiling, said.loop_order))
            steps, _ = recount(head, machine, tiling)
            every = sum(inputs for _, inputs, _, _ in steps)
            loaded = every * sum(from_dram) // len(from_dram)
            assert row["dram_weight_bytes"] == sum(weights for weights, _, _, _ in steps)
            plain = tiled_schedule(mode, tiling, machine).actions
            sums = plain["output_read"] - 8 * head.outputs  # partial sums, counted by hand in the other test
            assert actions["weight_read"] == plain["weight_read"]
            assert actions["input_read"] == plain["input_read"]
        pooled = any(works[rider].kind == "pool" for rider in group.riders)
        assert row["dram_input_bytes"] == loaded
        assert row["dram_output_bytes"] == stored
        assert actions["input_write"] == 8 * loaded
        assert actions["output_write"] == sums + 8 * head.outputs
        assert actions["output_read"] == sums + (0 if stays or pooled else 8 * head.outputs)
        _check_riders(planned, t, works, chip, result, timed)


def _check_riders(planned, t, works, chip, result, timed) -> None:  # type: ignore[no-untyped-def]
    """What rides loads its second operands, reads them, and holds the lines of a pooling."""
    group = planned.groups[t]
    operands = list(group.operands)
    carrier = works[group.head].name
    for rider in group.riders:
        work, actions = works[rider], timed[rider].schedule.actions
        row = result.loc[work.name]
        assert row["cycles"] == row["dram_output_bytes"] == row["dram_weight_bytes"] == 0
        if work.kind == "add":
            others = [source for source in work.sources if source != carrier]
            assert others == operands[: len(others)]
            loaded = sum(work.outputs for source in others if source not in chip)
            assert row["dram_input_bytes"] == loaded
            assert actions["input_write"] == 8 * loaded
            assert actions["input_read"] == 8 * work.outputs * len(others)
        else:
            assert row["dram_input_bytes"] == 0
            stored = 0 if work.name in chip else work.outputs
            assert actions["output_write"] == 8 * work.outputs
            assert actions["output_read"] == 8 * (windows(work) + stored)
        carrier = work.name
