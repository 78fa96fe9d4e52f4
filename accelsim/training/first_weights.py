"""The weights that a training starts from: random ones, the identity, or those of a file."""

from pathlib import Path

import numpy as np

from accelsim.arrays import Array
from accelsim.errors import InputError
from accelsim.network.graph import Graph, Network
from accelsim.network.layers import BatchNorm, Conv, Relu
from accelsim.network.weights import read_weights


def initial_arrays(graph: Graph, seed: int) -> dict[str, Array]:
    """Random first weights: normal for convolutions, 1 and 0 for batch-norm.

    Normal with the variance of He et al. 2015, by fan out.
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    norms = {node.name for node in graph.nodes if isinstance(node.layer, BatchNorm)}
    for name, shape in graph.parameters.items():
        node, _, key = name.rpartition(".")
        if key == "weight" and len(shape) == 4:
            scale = np.sqrt(2 / (shape[0] * shape[2] * shape[3]))
            arrays[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
        elif key == "weight" and len(shape) == 2:
            arrays[name] = rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(shape[1]))
        else:
            scale_of_norm = key == "weight" and (node in norms or len(shape) == 1)
            arrays[name] = np.full(shape, key == "running_var" or scale_of_norm, np.float32)
    return arrays


def identity_arrays(graph: Graph, seed: int) -> dict[str, Array]:
    """Random first weights that hand on the first channel of every convolution's input.

    The last convolution does only that, so that the network starts as the identity wherever its
    input is not negative. Raises InputError if the network is not one chain of convolutions.
    """
    convs = [node.name for node in graph.nodes if isinstance(node.layer, Conv)]
    if not convs or not all(isinstance(node.layer, Conv | Relu) for node in graph.nodes):
        raise InputError(f"start: identity, expected a network of convolutions and ReLU only, got {graph.name}")
    arrays = initial_arrays(graph, seed)
    for name in convs:
        w = arrays[f"{name}.weight"]
        w[:1] = 0
        w[0, 0, w.shape[2] // 2, w.shape[3] // 2] = 1
    return arrays


def start_arrays(graph: Graph, path: Path) -> dict[str, Array]:
    """The graph's arrays from a .safetensors or .npz file.

    1 x 1 convolutions that it lacks, with their batch-norm, start as the identity (the projection
    that arXiv:1902.08192 adds to ResNet-18).  Raises InputError if any other array is missing or an
    array does not fit.
    """
    arrays = read_weights(path)
    identities = {
        node.name
        for node in graph.nodes
        if isinstance(node.layer, Conv) and node.layer.kernel == (1, 1) and f"{node.name}.weight" not in arrays
    }
    identities |= {
        node.name for node in graph.nodes if isinstance(node.layer, BatchNorm) and identities.issuperset(node.inputs)
    }
    for name, shape in graph.parameters.items():
        node, _, key = name.rpartition(".")
        if node in identities and name not in arrays:
            square = key == "weight" and len(shape) == 4
            one = key in ("weight", "running_var")
            arrays[name] = np.eye(*shape[:2], dtype=np.float32).reshape(shape) if square else np.full(shape, one, "f4")
    try:
        return dict(Network(graph, arrays).arrays)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
