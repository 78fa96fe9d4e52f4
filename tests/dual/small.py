"""A small network with every kind of array that a .dual file holds."""

import numpy as np

from accelsim.compression.quantize import compressed_network, quantize
from accelsim.dual.file import CompressedNetwork
from accelsim.network import INPUT, Graph, Network, Node
from accelsim.network.layers import BatchNorm, Conv, Flatten, GlobalAveragePool, Linear, Relu


def small_graph() -> Graph:
    """Two convolutions (one grouped and strided), batch-norm, a linear layer, on 8 x 8 images."""
    nodes = (
        Node(name="a", layer=Conv(in_channels=3, out_channels=8, kernel=(3, 3), padding=(1, 1)), inputs=(INPUT,)),
        Node(name="a_norm", layer=BatchNorm(channels=8), inputs=("a",)),
        Node(name="a_relu", layer=Relu(), inputs=("a_norm",)),
        Node(
            name="b",
            layer=Conv(in_channels=8, out_channels=12, kernel=(5, 5), padding=(2, 2), groups=2, bias=True),
            inputs=("a_relu",),
        ),
        Node(
            name="c",
            layer=Conv(in_channels=12, out_channels=6, kernel=(3, 3), stride=(2, 2), bias=True),
            inputs=("b",),
        ),
        Node(name="pool", layer=GlobalAveragePool(), inputs=("c",)),
        Node(name="flat", layer=Flatten(), inputs=("pool",)),
        Node(name="d", layer=Linear(in_features=6, out_features=4), inputs=("flat",)),
    )
    return Graph(name="small", input_shape=(8, 8, 3), nodes=nodes)


def small_network(seed: int = 0) -> Network:
    """Random weights; variances are positive."""
    rng = np.random.default_rng(seed)
    graph = small_graph()
    arrays = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in graph.parameters.items()}
    arrays["a_norm.running_var"] = rng.uniform(0.5, 2, 8).astype(np.float32)
    return Network(graph, arrays)


def small_images(seed: int = 1, count: int = 6) -> np.ndarray:
    """(N, 8, 8, 3) float32."""
    return np.random.default_rng(seed).normal(0, 1, (count, 8, 8, 3)).astype(np.float32)


def small_compressed(seed: int = 0, dither: int | None = None) -> CompressedNetwork:
    """The network pruned at 0.2 and quantized with cell 0.1."""
    quantized = quantize(small_network(seed), 0.1, 0.2, seed=dither)
    return compressed_network(
        quantized,
        winograd_threshold=0.05,
        calibration=small_images(),
        provenance={"data": "none"},
    )
