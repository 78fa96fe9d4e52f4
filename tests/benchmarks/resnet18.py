"""The pruned ResNet-18 of the simulator's benchmarks: 80 % of its entries zero in both domains."""

import os
from pathlib import Path

import numpy as np

from accelsim.compression.quantize import compressed_network, quantize, spatial_threshold, winograd_threshold
from accelsim.dual.file import write_dual
from accelsim.network import Network
from accelsim.network.weights import load_network
from accelsim.network.zoo import named_graph

SPARSITY = 0.8


def write_model(path: Path) -> str:
    """Write the ``.dual`` file; returns where its weights are from: the folder named by ACCELSIM_DATA, or a seed."""
    graph = named_graph("resnet18-folded")
    data = os.environ.get("ACCELSIM_DATA")
    if data:
        source, network = "real weights", load_network(graph, Path(data) / "weights/resnet18_imagenet_fp16.safetensors")
    else:
        rng = np.random.default_rng(0)
        arrays = {
            name: (rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)
            for name, shape in graph.parameters.items()
        }
        source, network = "random weights", Network(graph, arrays)
    quantized = quantize(network, 0.01, spatial_threshold(network, SPARSITY))
    write_dual(path, compressed_network(quantized, winograd_threshold=winograd_threshold(network, 2, SPARSITY)), "bz2")
    return source
