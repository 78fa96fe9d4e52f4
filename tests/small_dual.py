"""A small compressed network with every kind of layer work, written by the library's own writer, and images for it."""

from pathlib import Path

import numpy as np

from accelsim.dual.file import CompressedNetwork, write_dual
from accelsim.dual.quantizer import Quantizer
from accelsim.network import INPUT, Graph, Node
from accelsim.network.layers import Add, Conv, Flatten, GlobalAveragePool, Linear, MaxPool, Relu

ROOT = Path(__file__).parents[1]
MACHINES = sorted(path.stem for path in (ROOT / "hwconfigs").glob("*.yaml"))

# Of each layer of the graph below: dense MACs by hand, outputs x filter size.
DENSE_MACS = {
    "conv1": 12 * 12 * 8 * (3 * 3 * 3),
    "conv2": 12 * 12 * 8 * (3 * 3 * 8),
    "add": 0,
    "pool": 0,
    "down": 3 * 3 * 16 * (3 * 3 * 8),
    "mean": 0,
    "classes": 10 * 16,
}
PARAMETERS = 8 * 27 + 8 * 72 + 16 * 72 + 10 * 16 + 10


def small_graph() -> Graph:
    """12 x 12 RGB images, 10 classes: two 3 x 3 convolutions with a shortcut, pooling, a stride, a linear layer."""

    def conv(name: str, source: str, channels: tuple[int, int], stride: int = 1) -> Node:
        layer = Conv(
            in_channels=channels[0],
            out_channels=channels[1],
            kernel=(3, 3),
            padding=(1, 1),
            stride=(stride, stride),
        )
        return Node(name=name, layer=layer, inputs=(source,))

    nodes = (
        conv("conv1", INPUT, (3, 8)),
        Node(name="relu1", layer=Relu(), inputs=("conv1",)),
        conv("conv2", "relu1", (8, 8)),
        Node(name="add", layer=Add(), inputs=("conv2", "relu1")),
        Node(name="pool", layer=MaxPool(kernel=(2, 2), stride=(2, 2)), inputs=("add",)),
        conv("down", "pool", (8, 16), stride=2),
        Node(name="relu2", layer=Relu(), inputs=("down",)),
        Node(name="mean", layer=GlobalAveragePool(), inputs=("relu2",)),
        Node(name="flat", layer=Flatten(), inputs=("mean",)),
        Node(name="classes", layer=Linear(in_features=16, out_features=10), inputs=("flat",)),
    )
    return Graph(name="small", input_shape=(12, 12, 3), nodes=nodes)


def write_small(path: Path, images: str = "images.npz") -> Path:
    """The network with 60 % zeros, weights of -3 to 3 steps of 1/16."""
    graph = small_graph()
    rng = np.random.default_rng(7)
    indices, values = {}, {}
    for name, shape in graph.parameters.items():
        if name.endswith(".weight"):
            indices[name] = (rng.integers(-3, 4, shape) * (rng.random(shape) < 0.4)).astype(np.int32)
        else:
            values[name] = rng.standard_normal(shape).astype(np.float32)
    compressed = CompressedNetwork(
        graph=graph,
        indices=indices,
        quantizer=Quantizer(dict.fromkeys(indices, 1 / 16), np.zeros(0), None),
        values=values,
        winograd_m={"conv1": 2, "conv2": 2},
        winograd_threshold=0.04,  # entries are multiples of 1/64
        accuracy={"top1_reference": 50.0},
        provenance={"images": images} if images else {},
        parameters=PARAMETERS,
    )
    write_dual(path, compressed)
    return path


def write_images(path: Path, labels: np.ndarray | None = None, reference: np.ndarray | None = None) -> Path:
    """20 random pictures with random labels, or those given; reference: what the uncompressed network answered."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
    arrays = {"images": pixels, "labels": rng.integers(0, 10, 20) if labels is None else labels}
    np.savez(path, **arrays, **({} if reference is None else {"reference": reference}))
    return path
