"""The tile size that each layer is computed at is the one that its cycles are counted at."""

import numpy as np

import accelsim
from accelsim.datapath.floating import machine_tiles
from accelsim.dual.model import DualModel
from accelsim.network import INPUT, Graph, Network, Node
from accelsim.network.images import LabelledImages, write_images
from accelsim.network.layers import Conv, Flatten, GlobalAveragePool, Linear, Relu
from accelsim.simulator.layer_tiles import datapath_on, layer_tiles
from accelsim.workload import layer_works


def two_sizes_of_maps() -> DualModel:
    """16 x 16 outputs, where tiles of 4 x 4 fill 16 rows of lanes, and 8 x 8, where tiles of 2 x 2 do."""
    nodes = (
        Node(name="large", layer=Conv(in_channels=3, out_channels=64, kernel=(3, 3), padding=(1, 1)), inputs=(INPUT,)),
        Node(name="r", layer=Relu(), inputs=("large",)),
        Node(name="down", layer=Conv(in_channels=64, out_channels=64, kernel=(1, 1), stride=(2, 2)), inputs=("r",)),
        Node(
            name="small", layer=Conv(in_channels=64, out_channels=64, kernel=(3, 3), padding=(1, 1)), inputs=("down",)
        ),
        Node(name="gap", layer=GlobalAveragePool(), inputs=("small",)),
        Node(name="flat", layer=Flatten(), inputs=("gap",)),
        Node(name="fc", layer=Linear(in_features=64, out_features=3), inputs=("flat",)),
    )
    graph = Graph(name="sizes", input_shape=(16, 16, 3), nodes=nodes)
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in graph.parameters.items()}
    return DualModel(Network(graph, arrays), {"large": 2, "small": 2}, 0.0)


def test_validate_computes_each_layer_at_the_tile_size_that_simulate_takes(tmp_path):
    model = two_sizes_of_maps()
    machine = accelsim.load_hardware("winograd-tuned-tiles-16x16")
    modes = dict(accelsim.simulate(model, machine).layers[["name", "mode"]].to_numpy().tolist())
    assert {modes["large"], modes["small"]} == {"winograd-f4", "winograd-f2"}
    images = tmp_path / "images.npz"
    pixels = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    labels = np.zeros(4, np.int64)
    write_images(images, LabelledImages(pixels, labels, labels))
    found = accelsim.validate(model, [machine], images).machines[0]
    computed = {layer.name: layer.mode for layer in found.layers}
    assert {name: computed[name] for name in ("large", "small")} == {name: modes[name] for name in ("large", "small")}


def test_one_tile_size_is_that_of_all_layers_and_a_hybrid_machine_may_take_none():
    model = two_sizes_of_maps()
    works = layer_works(model, 1)
    assert layer_tiles(works, accelsim.load_hardware("winograd-tuned-16x16")) == ()
    assert layer_tiles(works, accelsim.load_hardware("spatial-tuned-16x16")) == ()
    hybrid = accelsim.load_hardware("winograd-tuned-16x16", ["hybrid=true", "tile=6"])
    found = dict(layer_tiles(works, hybrid))
    modes = dict(accelsim.simulate(model, hybrid).layers[["name", "mode"]].to_numpy().tolist())
    assert found == {name: 6 if modes[name] == "winograd-f6" else 0 for name in ("large", "down", "small")}
    datapath = datapath_on(model, hybrid)
    assert machine_tiles(model, datapath) == {name: m for name, m in found.items() if m}
