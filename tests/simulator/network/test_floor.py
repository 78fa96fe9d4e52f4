"""What rules out that a network costs less at the level below: bounds that are bounds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.simulator.network.floor import _known, _scored
from accelsim.simulator.network.planning import plan_network
from accelsim.workload import LayerWork, Surroundings
from tests.laws import law

from ..random_layers import AnyMachine, layer, where_it_fits, winograd
from .small import networks
from .test_levels import any_machines


@law(100)
@given(networks(pooled_fans=True), any_machines(), st.booleans())
def test_no_group_scores_less_through_dram_than_its_bound(
    works: tuple[LayerWork, ...], machine: AnyMachine, rides: bool
) -> None:
    planned = where_it_fits(lambda: plan_network(works, machine, "resident"))
    for t in range(len(planned.groups)):
        assert _known(planned, t, rides) <= _scored(planned, t, rides) * (1 + 1e-9)


@pytest.mark.parametrize("output_share", [1.0, 0.25])
def test_maps_on_chip_never_score_more_where_the_best_mode_as_timed_is_not_the_best_as_predicted(
    output_share: float,
) -> None:
    """On chip Winograd is best as timed, through DRAM the direct sum, which is predicted to take less in both."""
    machine = winograd(
        tile=3, hybrid=True, objective="energy", zero_handling="none", pe_array__rows=3, pe_array__cols=1,
        pe_array__taps=16, vector_lanes=1, transform_rate=1, inverse_rate=1, weight_format="dense",
    )  # fmt: skip
    plan = machine.planner(layer(K=8, C=4, size=5))
    through_dram = Surroundings(room=(196_608, 196_608), post_slots=1000, output_share=output_share)
    on_chip = replace(through_dram, input_share=0.0, stores=False)
    assert (plan(on_chip).schedule.mode, plan(through_dram).schedule.mode) == ("winograd-f3", "gemm-os")
    assert plan(on_chip).score <= plan(through_dram).score
