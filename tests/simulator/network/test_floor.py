"""What rules out that a network costs less at the level below: bounds that are bounds."""

from hypothesis import given
from hypothesis import strategies as st

from accelsim.simulator.network.floor import _known, _scored
from accelsim.simulator.network.planning import plan_network
from accelsim.workload import LayerWork
from tests.laws import law

from ..random_layers import AnyMachine, where_it_fits
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
