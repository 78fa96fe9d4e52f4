"""Depth-first stacks on DeFiNES's FSRCNN: bytes against sums over the shapes that its paper states."""

import pytest

from experiments.comparisons import defines


def test_the_shapes_are_those_of_the_paper() -> None:
    """Its table of workloads: 15.6 KB of weights, the largest map 28.5 MB."""
    weights = sum(
        row.out_channels * row.in_channels * row.kernel[0] * row.kernel[1] for row in defines.network().layers
    )
    assert round(weights / 1024, 1) == 15.6
    assert round(56 * 550 * 970 / 2**20, 1) == 28.5


@pytest.mark.slow
def test_all_maps_stay_on_chip_depth_first() -> None:
    """Nothing but weights, input and output moves, each once: to the byte."""
    theirs = defines.published_bytes(defines.network().layers)
    ours = defines.our_bytes(defines.network())
    assert theirs == {"layers": 190_292_516, "depth-first": 8_849_988}
    assert theirs["layers"] <= ours["layers"] < 1.02 * theirs["layers"]
    assert theirs["depth-first"] == ours["depth-first"]
