"""What a Winograd machine can do besides F(m, 3) on layers at stride 1."""

import pytest

from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.tiling import Tiling

from .random_layers import layer, winograd

ROOMY = {f"buffers__{name}_kb": 4096 for name in ("weight", "input", "transformed", "output")}


@pytest.mark.parametrize(
    ("m", "kernel", "multiplies"), [(2, 3, 16), (4, 3, 36), (6, 3, 64), (2, 5, 36), (4, 5, 64), (2, 7, 64)]
)
@pytest.mark.parametrize("taps", [1, 16, 64])
def test_multiplies_a_tile(m: int, kernel: int, multiplies: int, taps: int) -> None:
    """n^2 with n = m + r - 1, tap-serial and tap-parallel (Lavin & Gray 2016)."""
    work = layer(4, 8, 12, kernel, padding=kernel // 2, density=1.0)
    total = run([work], winograd(tile=m, zero_handling="none", pe_array__taps=taps, **ROOMY), engine="fast").total
    assert total["effectual_macs"] == multiplies * (12 // m) ** 2 * 4 * 8


def test_a_polyphase_split_takes_25_multiplies_for_36() -> None:
    """3 x 3 at stride 2 by F(2,2) and F(2,1)."""
    work = layer(4, 16, 16, 3, stride=2, density=1.0)
    machine = winograd(polyphase=True, zero_handling="none", **ROOMY)
    gemm, split = machine.modes(work)
    assert (gemm.name, split.name, split.taps) == ("gemm-os", "winograd-f2-polyphase", 25)
    assert split.executed * 4 * 4 == 25 / 36 * (gemm.executed * 8 * 8)


def test_each_phase_passes_the_transform_units_by_itself_and_is_added_up() -> None:
    """3 x 3 at stride 2 on 8 x 8 outputs, 16 tiles: F(2,2) x F(2,2), twice F(2,2) x F(2,1), and F(2,1) x F(2,1).

    F(2,2) = 3 taps: 2 additions of inputs (x0 - x1, x2 - x1) and 2 of outputs in each 1-D pass; F(2,1): none.
    """
    machine = winograd(polyphase=True, zero_handling="none", transform_rate=1, inverse_rate=1, **ROOMY)
    split = machine.modes(layer(4, 16, 16, 3, stride=2, density=1.0))[1]
    steps = tiled_schedule(split, Tiling(1, 8, 8, 4, 16, False), machine)
    assert steps.transform_cycles.tolist() == [16 * 16 * 4 + 3]
    assert steps.inverse_cycles.tolist() == [16 * 4 * 4 + 3]
    inputs = (
        2 * 3 + 2 * 3 + 2 * (2 * 2) + 0
    )  # both passes of the square piece; one pass over 2 lines of the oblong ones
    outputs = 2 * 3 + 2 * 2 + 2 * (2 * 2) + 0 + 3 * 2 * 2  # and three sums of 2 x 2 outputs
    assert steps.actions["transform_add"] == 16 * (16 * inputs + 4 * outputs)


@pytest.mark.parametrize(
    ("kernel", "stride", "largest", "taps", "name"),
    [
        # F(2, r) of each piece, (r + 1)^2 multiplies a tile of 2 x 2 outputs:
        (5, 1, 3, (3 + 4) ** 2, "winograd-f2-split"),  # 2 + 3 taps a side
        (7, 1, 3, (3 + 3 + 4) ** 2, "winograd-f2-split"),  # 2 + 2 + 3
        (11, 1, 3, (3 + 4 + 4 + 4) ** 2, "winograd-f2-split"),  # 2 + 3 + 3 + 3
        (7, 2, None, (5 + 4) ** 2, "winograd-f2-polyphase"),  # ResNet's first layer: phases of 4 and 3
        (11, 4, None, (4 + 4 + 4 + 3) ** 2, "winograd-f2-polyphase"),  # AlexNet's: phases of 3, 3, 3 and 2
        (5, 2, None, (4 + 3) ** 2, "winograd-f2-polyphase"),
    ],
)
def test_multiplies_of_kernels_in_pieces(kernel: int, stride: int, largest: int | None, taps: int, name: str) -> None:
    work = layer(4, 16, 24, kernel, stride=stride, padding=kernel // 2, density=1.0)
    machine = winograd(polyphase=True, largest_kernel=largest, zero_handling="none", **ROOMY)
    gemm, split = machine.modes(work)
    assert (gemm.name, split.name, split.taps) == ("gemm-os", name, taps)
    assert split.executed == taps * 4 * 16
    assert gemm.executed == kernel**2 * 4 * 16


def test_kernels_that_the_units_take_are_not_split() -> None:
    work = layer(4, 16, 12, 5, padding=2)
    assert [mode.name for mode in winograd(largest_kernel=5).modes(work)] == ["winograd-f2"]
    assert [mode.name for mode in winograd().modes(work)] == ["winograd-f2"]


def test_a_split_layer_runs_as_gemm_where_that_scores_lower() -> None:
    """5 x 5 in pieces takes 49 multiplies for 100; with 3 % of the weights the transformed pieces are too full."""
    full, sparse = (layer(16, 32, 16, 5, padding=2, density=density) for density in (1.0, 0.03))
    machine = winograd(largest_kernel=3, **{**ROOMY, "transform_rate": 64, "inverse_rate": 64})
    assert schedule_layer(full, machine).mode == "winograd-f2-split"
    assert schedule_layer(sparse, machine).mode == "gemm-os"


def test_a_machine_with_a_choice_takes_the_lower_score() -> None:
    """A hybrid is never worse than the better of its modes, by the score that it minimises."""
    dense_in_winograd = layer(32, 32, 16, 3, density=0.1, threshold=0.0)
    sparse_in_both = layer(32, 32, 16, 3, density=1.0, threshold=2.0)
    hybrid = winograd(hybrid=True, **ROOMY)
    results = [run([work], hybrid, engine="fast").layers for work in (dense_in_winograd, sparse_in_both)]
    assert [result["mode"][0] for result in results] == ["gemm-os", "winograd-f2"]
    for work, result in zip((dense_in_winograd, sparse_in_both), results, strict=True):
        only_winograd = run([work], winograd(**ROOMY), engine="fast").layers
        assert result["cycles"][0] <= 1.02 * only_winograd["cycles"][0]


def test_filters_transformed_on_chip_travel_in_their_spatial_form() -> None:
    """9 instead of 16 positions a filter and channel (dense format); the transform costs additions and maybe time."""
    work = layer(32, 32, 12, 3, density=1.0)
    off_line, on_chip, slow = (
        run([work], winograd(zero_handling="none", weight_format="dense", **ROOMY, **keys), engine="fast").total
        for keys in (
            {},
            {"weight_transform": "on_chip", "weight_transform_rate": 64},
            {"weight_transform": "on_chip", "weight_transform_rate": 1},
        )
    )
    assert off_line["dram_weight_bytes"] == 32 * 32 * 16
    assert on_chip["dram_weight_bytes"] == 32 * 32 * 9
    assert on_chip["energy_transform_pj"] > off_line["energy_transform_pj"]
    assert slow["cycles"] >= on_chip["cycles"]
    assert slow["roofline_cycles"] >= 32 * 32  # a filter-channel a cycle


def test_kernels_beyond_the_known_points_run_as_gemm() -> None:
    work = layer(2, 2, 30, 15, padding=0)
    assert [mode.name for mode in winograd(tile=6).modes(work)] == ["gemm-os"]
    assert load_hardware("winograd-16x16").hybrid is False
