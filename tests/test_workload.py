"""From models and tables to layer works."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.errors import InputError
from accelsim.network.table_layer import TableLayer
from accelsim.workload import MAX_DRAWN_WEIGHTS, MAX_WEIGHTS, LayerTable, LayerWork, layer_works

from .simulator.random_layers import random_model

WORKLOADS = sorted(path.stem for path in (Path(__file__).parents[1] / "workloads").glob("*.csv"))

PUBLISHED_MACS = {  # of the convolutions and classifiers, an image
    "alexnet": 724_406_816,  # grouped, He's and Park's count
    "vgg16": 15_470_264_320,
    "resnet18": 1_814_073_344,  # 1.81 G (torchvision)
    "resnet50": 4_089_184_256,
    "mobilenet-v1": 568_740_352,  # 569 M (Howard et al. 2017)
}


def test_resnet20_asks_for_its_convolutions_additions_pool_and_classifier() -> None:
    works = layer_works(random_model("resnet20-cifar10"), batch=3)
    kinds = [work.kind for work in works]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"conv": 19, "add": 9, "pool": 1, "linear": 1}
    assert all(work.batch == 3 for work in works)
    assert sum(work.dense_macs for work in works) == 3 * (40_550_400 + 640)


def test_densities_measured_at_a_layer_are_those_of_the_outputs_before_it() -> None:
    model = random_model("resnet18-folded")
    density = np.linspace(0, 1, 64, dtype=np.float32)
    model.input_density["layer1.0.conv2"] = density  # type: ignore[index]
    works = {work.name: work for work in layer_works(model)}
    assert (works["layer1.0.conv2"].input_density == density).all()
    assert works["layer1.0.conv1"].output_density == pytest.approx(0.5)
    assert works["layer1.0.conv2"].output_density == 1.0


def test_a_batch_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch"):
        layer_works(random_model("resnet20-cifar10"), batch=0)


TABLE = LayerTable(
    "small",
    (
        TableLayer("a", "conv", 16, 32, 14, 14, (3, 3), 1, 1, 2, 0.25, 0.5),
        TableLayer("b", "conv", 32, 32, 14, 14, (3, 3), 2, 1, 1, 0.5, 0.75),
        TableLayer("c", "pool", 32, 32, 7, 7, (7, 7)),
        TableLayer("d", "linear", 32, 10, 1, 1, weight_density=0.1),
    ),
)


def test_a_table_draws_its_zeros_from_the_seed() -> None:
    works = layer_works(TABLE)
    again = layer_works(TABLE)
    other = layer_works(LayerTable(TABLE.name, TABLE.layers, seed=1))
    for i in (0, 1, 3):
        assert (works[i].filters() == again[i].filters()).all()
        assert (works[i].filters() != other[i].filters()).any()
        density = np.count_nonzero(works[i].filters()) / works[i].weights.size
        assert density == pytest.approx(TABLE.layers[i].weight_density, abs=0.05)
    assert works[0].output_density == 0.75
    assert works[0].nonzeros(2).mean() == pytest.approx(0.25, abs=5e-3)  # as sparse in the Winograd domain
    assert works[0].nonzeros(4).mean() == pytest.approx(0.25, abs=5e-3)
    assert works[1].winograd_threshold is None  # stride 2


def test_outputs_are_as_dense_as_the_layer_that_reads_them_finds_them(tmp_path):
    """Not as what stands in the next row: a row that another branch is in between makes no difference."""
    head = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,weight_density,activation_density,inputs"
    first, own = "a,conv,8,8,8,8,1,1,1,1,input", "b,conv,8,8,8,8,1,1,1,0.5,input"
    reader = "c,conv,8,8,8,8,1,1,1,0.25,a"
    machine = accelsim.load_hardware("spatial-16x16", ["activation_format=bitmask"])
    found = []
    for name, rows in (("near", (first, reader, own)), ("far", (first, own, reader))):
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join((head, *rows)))
        works = layer_works(accelsim.load_workload(path))
        assert works[0].output_density == 0.25
        result = accelsim.simulate(path, machine, engine="fast", level="layers")
        found.append(result.layers.set_index("name")["dram_output_bytes"])
    # 512 outputs of 8 bits of which a quarter is not zero, and a bit for each
    assert found[0]["a"] == found[1]["a"] == 512 // 4 + 512 // 8
    (tmp_path / "list.csv").write_text("\n".join((head.removesuffix(",inputs"), *(r[: r.rindex(",")] for r in rows))))
    assert [w.output_density for w in layer_works(accelsim.load_workload(tmp_path / "list.csv"))] == [0.5, 0.25, 0.25]


def test_results_of_tables_are_marked_synthetic() -> None:
    result = accelsim.simulate(TABLE, "spatial-16x16", engine="fast")
    assert result.synthetic
    assert result.to_json()["synthetic"] is True
    assert "synthetic" not in accelsim.simulate(random_model("resnet20-cifar10"), "spatial-16x16").to_json()


def test_a_table_too_large_for_memory_is_refused() -> None:
    for most, density in ((MAX_WEIGHTS, 1.0), (MAX_DRAWN_WEIGHTS, 0.5)):
        size = int(most**0.5)
        for over in (0, 1):
            layer = TableLayer("fc", "linear", size + over, size + over, 1, 1, weight_density=density)
            if not over:
                assert layer_works(LayerTable("large", (layer,)))[0].weights.size <= most
                continue
            with pytest.raises(InputError, match=f"layer fc has {(size + 1) ** 2} weights.*, expected at most {most}"):
                layer_works(LayerTable("large", (layer,)))


@pytest.mark.parametrize("name", sorted(PUBLISHED_MACS))
def test_shipped_tables_have_the_published_macs(name: str) -> None:
    table = accelsim.load_workload(name)
    assert isinstance(table, LayerTable)
    macs = 0
    for layer in table.layers:
        P, Q = layer.output_size
        if layer.kind in ("conv", "linear"):
            weights = layer.out_channels * layer.in_channels // layer.groups * layer.kernel[0] * layer.kernel[1]
            macs += P * Q * weights
    assert macs == PUBLISHED_MACS[name]


def test_the_shipped_tables_are_all_sound() -> None:
    assert len(WORKLOADS) == 11
    for name in WORKLOADS:
        assert isinstance(accelsim.load_workload(name), LayerTable)


@pytest.mark.slow
def test_huge_layers_of_a_table_are_held_one_at_a_time(tmp_path):
    """At every level; the weights of all six alone would take 428 MB."""
    header = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding,groups,weight_density"
    rows = "\n".join(f"l{i},linear,4096,4352,1,1,1,1,1,0,1,0.5" for i in range(6))
    (tmp_path / "t.csv").write_text(f"{header}\n{rows}\n")
    table = accelsim.load_workload(tmp_path / "t.csv")
    machine = accelsim.load_hardware("spatial-16x16")
    for level in ("layers", "resident"):
        tracemalloc.start()
        try:
            result = accelsim.simulate(table, machine, engine="fast", level=level)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert result.total["dense_macs"] == 6 * 4096 * 4352
        assert peak < 260e6


def test_nonzeros_of_channels_are_those_of_all_filters_of_their_group():
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2, (6, 4, 3, 2)).astype(np.float32)
    work = LayerWork("c", "conv", 1, 8, 9, 9, 6, 7, 8, kernel=(3, 2), groups=2, weights=weights)
    expected = [[sum(weights[3 * g : 3 * g + 3, c].ravel() != 0) for c in range(4)] for g in range(2)]
    assert work.channel_nonzeros().tolist() == expected


def test_an_addition_of_three_maps_reads_three(tmp_path) -> None:
    header = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,padding,inputs\n"
    maps = "".join(f"{name},conv,3,16,8,8,3,3,1,input\n" for name in "abc")
    for names, count in (("a;b", 2), ("a;b;c", 3), ("", 2)):
        (tmp_path / "t.csv").write_text(f"{header}{maps}d,add,16,16,8,8,1,1,0,{names}\n")
        found = accelsim.simulate(tmp_path / "t.csv", "spatial-16x16", engine="fast", level="layers")
        read = found.layers.set_index("name").dram_input_bytes["d"]
        assert read == count * 16 * 8 * 8  # bytes of dense maps of 8 bits
