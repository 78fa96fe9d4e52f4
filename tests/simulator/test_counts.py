"""Multiply counts against published figures and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.workload import LayerWork, layer_works
from tests.laws import law

from .random_layers import layer, layers, random_model, spatial, winograd

LAW = law(60)


@pytest.mark.parametrize("lanes", ["16x16", "32x32"])
def test_dense_machines_execute_the_published_macs_of_resnet20(lanes: str) -> None:
    """40.55 M multiply-accumulates in the convolutions (He et al. 2016 count 41 M with the classifier)."""
    works = layer_works(random_model("resnet20-cifar10"))
    for name, domain in ((f"spatial-dense-{lanes}", "spatial"), (f"winograd-dense-{lanes}", "winograd")):
        layers = run(works, load_hardware(name), engine="fast").layers
        conv = layers[layers["kind"] == "conv"]
        assert conv["dense_macs"].sum() == 40_550_400
        if domain == "spatial":
            assert conv["effectual_macs"].sum() == 40_550_400
        else:
            # Stride 1 in tiles of 2 x 2 outputs, 16 multiplies for 36; the two at stride 2 in the spatial domain.
            strided = 16 * 16 * 16 * 9 * 32 + 8 * 8 * 32 * 9 * 64
            assert conv["effectual_macs"].sum() == (40_550_400 - strided) * 16 // 36 + strided


@pytest.mark.parametrize(
    ("network", "dense", "f2"),
    [("resnet18-folded", 1_814_073_344, 1_026_307_072), ("resnet18-pooled-folded", 2_347_140_096, None)],
)
def test_dense_machines_execute_the_published_macs_of_resnet18(network: str, dense: int, f2: int | None) -> None:
    """1814.1 M; by F(2,3) with edge tiles padded 1026.3 M (own count from the published shapes)."""
    works = layer_works(random_model(network))
    spatial_total = run(works, load_hardware("spatial-dense-32x32"), engine="fast").total
    assert spatial_total["effectual_macs"] == spatial_total["dense_macs"]
    assert spatial_total["dense_macs"] == pytest.approx(dense, rel=1e-4)
    if f2:
        winograd_total = run(works, load_hardware("winograd-dense-32x32"), engine="fast").total
        assert winograd_total["effectual_macs"] == pytest.approx(f2, rel=1e-4)


@LAW
@given(layers())
def test_spatial_macs_are_nonzeros_times_positions(work: LayerWork) -> None:
    positions = work.batch * work.out_height * work.out_width
    assert work.weights is not None
    dense = run([work], spatial(zero_handling="none"), engine="fast").total
    assert dense["effectual_macs"] == dense["dense_macs"] == positions * work.weights.size
    sparse = run([work], spatial(zero_handling="skip_weights"), engine="fast").total
    assert sparse["effectual_macs"] == positions * np.count_nonzero(work.weights)


@LAW
@given(layers(winograd=True), st.sampled_from([2, 3, 4, 6]))
def test_winograd_macs_are_nonzeros_times_padded_tiles(work: LayerWork, m: int) -> None:
    n = m + work.kernel[0] - 1
    tiles = work.batch * -(-work.out_height // m) * -(-work.out_width // m)
    buffers = {f"buffers__{name}_kb": 1024 for name in ("weight", "input", "transformed", "output")}
    dense = run([work], winograd(tile=m, zero_handling="none", **buffers), engine="fast").total
    K, C = work.out_channels, work.in_channels // work.groups
    assert dense["effectual_macs"] == n**2 * tiles * K * C
    sparse = run([work], winograd(tile=m, **buffers), engine="fast").total
    assert sparse["effectual_macs"] == tiles * int(work.nonzeros(m).sum())


def test_the_winograd_mask_is_that_of_the_transformed_filters() -> None:
    """F(2,3) with the matrix of Lavin & Gray, written out."""
    work = layer(5, 7, threshold=0.4, density=0.6, seed=3)
    G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    assert work.weights is not None
    W = np.einsum("ir,kcrs,js->ijkc", G, work.weights.astype(np.float64), G).astype(np.float32)
    assert (work.nonzeros(2) == (np.abs(W) > np.float32(0.4)).reshape(16, 5, 7)).all()


@LAW
@given(layers())
def test_gated_and_joined_macs_are_the_expected_ones(work: LayerWork) -> None:
    """Inputs taken as independent of the weights: non-zero weights x positions x input density."""
    positions = work.batch * work.out_height * work.out_width
    assert work.weights is not None
    expected = positions * round(float(np.count_nonzero(work.weights) * work.input_density[0]))
    for handling in ("gate", "skip_both"):
        total = run([work], spatial(zero_handling=handling), engine="fast").total
        assert total["effectual_macs"] == pytest.approx(expected, abs=positions)
