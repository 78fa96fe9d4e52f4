"""Model variants do what they say, and break-even densities lie where the two machines cost the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.datapath.validate import Datapath, validate
from accelsim.dual.deploy import winograd_convolution
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.explore.breakeven import best_tiles, break_even, crossing
from accelsim.explore.codesign import file_bytes, measure
from accelsim.explore.description import ModelEntry
from accelsim.explore.space import Variant, model_variants
from accelsim.explore.sweep import run_sweep
from accelsim.explore.variants import thresholds, variant_densities, variant_model, variant_works
from accelsim.hardware.datapath import Integers
from accelsim.network import forward
from accelsim.network.images import LabelledImages, read_images, write_images
from tests.explore.small import write_small, write_sweep


def variants(folder: Path, **changes: object) -> list[Variant]:
    return model_variants(ModelEntry.model_validate({"path": "small.dual", **changes}), folder)


@pytest.mark.parametrize(("kind", "m"), [("spatial", None), ("winograd", 2), ("winograd", 4)])
def test_accuracy_is_what_validate_says(tmp_path: Path, kind: str, m: int | None) -> None:
    model = read_dual(write_small(tmp_path))
    (variant,) = variants(tmp_path)
    total, _ = measure(variant, kind, m, tmp_path / "images.npz", None)
    found = validate(model, [Datapath("machine", kind, m)], read_images(tmp_path / "images.npz"))
    assert total["top1"] == found.machines[0].top1
    assert total["file_bytes"] == (tmp_path / "small.dual").stat().st_size


@pytest.mark.parametrize("scope", ["network", "layer"])
def test_a_target_sparsity_is_reached_for_every_tile_size(tmp_path: Path, scope: str) -> None:
    write_small(tmp_path)
    for variant in variants(tmp_path, winograd_sparsity=[0.3, 0.8], scope=scope):
        target = variant.winograd_sparsity
        for m in (2, 4):
            works = [w for w in variant_works(variant, m, 1) if w.winograd_threshold is not None]
            counts = [w.nonzeros(m) for w in works]
            zeros = [1 - c.mean() for c in counts]
            whole = 1 - sum(int(c.sum()) for c in counts) / sum(c.size for c in counts)
            for share in zeros if scope == "layer" else [whole]:
                assert target <= share < target + 0.05
            densities = variant_densities(variant, m)
            assert [1 - densities[w.name] for w in works] == pytest.approx(zeros)


def test_pruned_weights_are_fewer_and_the_file_is_smaller(tmp_path: Path) -> None:
    path = write_small(tmp_path)
    sizes = []
    for variant in variants(tmp_path, spatial_sparsity=[0.0, 0.6, 0.9]):
        arrays = variant_model(variant).network.arrays
        weights = [arrays[f"{name}.weight"] for name in ("c1", "c2", "c3", "fc")]
        zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)
        assert zeros >= variant.spatial_sparsity
        sizes.append(file_bytes(variant))
    assert sizes[0] == path.stat().st_size
    assert sizes[0] > sizes[1] > sizes[2]


def test_thresholds_of_single_layers(tmp_path: Path) -> None:
    write_small(tmp_path)
    (variant,) = variants(tmp_path, winograd_threshold=[0.1], layer_thresholds={"c2": 100.0})
    assert thresholds(variant, 2) == {"c1": 0.1, "c2": 100.0}
    assert variant_densities(variant, 2)["c2"] == 0
    four = variants(tmp_path, layer_thresholds={"c1": [0.0, 0.2], "c2": [0.1, 0.3]})  # lists multiply
    assert [dict(v.layer_thresholds) for v in four] == [
        {"c1": one, "c2": two} for one in (0.0, 0.2) for two in (0.1, 0.3)
    ]
    assert four[1].columns == {"model": "small", "threshold.c1": 0.0, "threshold.c2": 0.3}
    with pytest.raises(InputError, match="'c3' is no convolution that Winograd can serve"):
        variants(tmp_path, layer_thresholds={"c3": 1.0})


@pytest.mark.parametrize(("kind", "m"), [("spatial", None), ("winograd", 2)])
def test_narrow_words_change_answers_and_wide_ones_do_not(tmp_path: Path, kind: str, m: int | None) -> None:
    """Labels that are the answers of the same machine in float32."""
    model = read_dual(write_small(tmp_path))
    (variant,) = variants(tmp_path)
    pixels = read_images(tmp_path / "images.npz").pixels
    x = model.network.graph.preprocessing.apply(pixels)
    convolution = {} if kind == "spatial" else {"convolution": winograd_convolution(model, m=m)}
    answers = forward(model.network, x, **convolution).argmax(axis=1)
    write_images(tmp_path / "own.npz", LabelledImages(pixels, answers))

    def top1(bits: tuple[int, int] | None) -> float:
        datapath = None
        if bits is not None:
            datapath = Datapath("machine", kind, m, integers=Integers(*bits, accumulator_bits=40))
        return float(measure(variant, kind, m, tmp_path / "own.npz", None, datapath)[0]["top1"])

    assert top1(None) == top1((13, 13)) == 100
    assert top1((2, 13)) < 100  # narrow weights, narrow activations
    assert top1((13, 2)) < 100


@pytest.mark.parametrize("m", [2, 4])
def test_the_whole_numbers_of_a_variant_are_those_that_validate_runs(tmp_path: Path, m: int) -> None:
    """A threshold of the variant's own, for all layers or for one, is the datapath's."""
    model = read_dual(write_small(tmp_path))
    machine = Datapath("machine", "winograd", m, integers=Integers(transformed_bits=10))
    images = read_images(tmp_path / "images.npz")
    for threshold in (0.0, 0.3):
        (variant,) = variants(tmp_path, winograd_threshold=[threshold])
        total, _ = measure(variant, "winograd", m, tmp_path / "images.npz", None, machine)
        found = validate(model, [replace(machine, threshold=threshold)], images, arithmetic="integers")
        assert total["top1"] == found.machines[0].top1
        (one,) = variants(tmp_path, layer_thresholds={"c2": 100.0})
        own = replace(machine, layer_thresholds=(("c2", 100.0),))
        total, _ = measure(one, "winograd", m, tmp_path / "images.npz", None, machine)
        assert total["top1"] == validate(model, [own], images, arithmetic="integers").machines[0].top1


@given(st.lists(st.floats(1, 100), min_size=2, max_size=9), st.floats(1, 100))
def test_the_crossing_is_on_the_line_between_its_neighbours(costs: list[float], limit: float) -> None:
    cost = np.sort(np.array(costs))
    density = np.linspace(0.1, 0.9, len(cost))
    at, always = crossing(density, cost, limit)
    if always:
        assert (at, cost[-1] <= limit) == (0.9, True)
    elif at == 0:
        assert cost[0] > limit
    else:
        assert np.interp(at, density, cost) == pytest.approx(limit)


def made_up() -> tuple[pd.DataFrame, pd.DataFrame]:
    """One layer: 100 cycles on the spatial machine; 40 + 100 density at tile 2, 20 + 200 density at tile 4."""
    rows, layers = [{"point": 0, "kind": "spatial", "tile": np.nan, "winograd_sparsity": np.nan}], [(0, None, 100)]
    for tile, start, slope in ((2, 40, 100), (4, 20, 200)):
        for density in (0.2, 0.5, 0.8):
            rows.append({"point": len(rows), "kind": "winograd", "tile": tile, "winograd_sparsity": 1 - density})
            layers.append((len(layers), density, start + slope * density))
    table = pd.DataFrame(rows).assign(status="done", bandwidth_gbs=12.8)
    columns = ["point", "winograd_density", "cycles"]
    return table, pd.DataFrame(layers, columns=columns).assign(name="c1")


def test_break_even_of_a_made_up_layer() -> None:
    table, layers = made_up()
    found = break_even(table, layers, ["bandwidth_gbs"], ["tile"])
    assert found["break_even"].tolist() == pytest.approx([0.6, 0.4])
    assert not found["always"].any()
    assert found["spatial"].tolist() == [100, 100]
    best = break_even(table, layers, ["bandwidth_gbs"])  # the better tile at each density
    assert best["break_even"].tolist() == pytest.approx([0.6])


def test_best_tile_of_a_made_up_layer() -> None:
    table, layers = made_up()
    found = best_tiles(table, layers, ["winograd_sparsity"]).set_index("winograd_sparsity")
    assert found["tile"].tolist() == [2, 2, 2]
    assert found["gain"].tolist() == pytest.approx([60 / 60, 120 / 90, 180 / 120])


def test_more_winograd_sparsity_never_costs_cycles(tmp_path: Path) -> None:
    models = [{"path": "small.dual", "winograd_sparsity": [0.1, 0.5, 0.9]}]
    axes = {"lanes": [16], "rows": [4], "bandwidth": [25.6]}
    done = run_sweep(write_sweep(tmp_path, models=models, axes=axes), tmp_path / "out", workers=1)
    winograd = done.table[done.table["family"] == "winograd"]
    assert winograd["winograd_sparsity"].tolist() == [0.1, 0.5, 0.9]
    assert winograd["cycles"].is_monotonic_decreasing
    assert (done.table["family"] == "spatial").sum() == 1  # it sees no Winograd-domain sparsity
