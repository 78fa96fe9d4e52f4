"""What a Winograd machine can do besides F(m, 3) on layers at stride 1."""

import numpy as np
import pytest

from accelsim.hardware.load import load_hardware
from accelsim.network.forward import convolve as direct
from accelsim.network.layers import Conv
from accelsim.simulator.run import modes, run
from accelsim.winograd import convolve
from accelsim.workload import POLYPHASES

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
    gemm, split = modes(work, machine)
    assert (gemm.name, split.name, split.taps) == ("gemm-os", "winograd-f2-polyphase", 25)
    assert split.executed * 4 * 4 == 25 / 36 * (gemm.executed * 8 * 8)


def test_the_polyphase_split_is_the_same_convolution() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 12, 12, 3)).astype(np.float32), rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    expected = direct(x, w, Conv(in_channels=3, out_channels=4, kernel=(3, 3), stride=(2, 2)))
    parts = [convolve(np.ascontiguousarray(x[:, a::2, b::2]), w[:, :, a::2, b::2], 2) for a, b in POLYPHASES]
    split = sum(part[:, :5, :5] for part in parts)
    assert expected.shape == split.shape
    np.testing.assert_allclose(split, expected, rtol=1e-4, atol=1e-4)


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
    assert [mode.name for mode in modes(work, winograd(tile=6))] == ["gemm-os"]
    assert load_hardware("winograd-16x16").hybrid is False
