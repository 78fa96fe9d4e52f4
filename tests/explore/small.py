"""A small compressed model, images, and sweeps of it that take milliseconds a point."""

from pathlib import Path

import numpy as np
import yaml

from accelsim.compression.quantize import compressed_network, quantize
from accelsim.dual.file import write_dual
from accelsim.network import Graph, Network
from accelsim.network.images import LabelledImages, write_images
from accelsim.network.layers import Flatten, GlobalAveragePool, Linear
from accelsim.network.zoo.builder import Builder


def graph() -> Graph:
    """Two 3 x 3 convolutions, a strided one and ten classes."""
    b = Builder("small", (8, 8, 3))
    b.conv("c1", 8, 3)
    b.conv("c2", 8, 3)
    b.conv("c3", 16, 3, stride=2, padding=1)
    b.add("g", GlobalAveragePool())
    b.add("f", Flatten())
    b.add("fc", Linear(in_features=16, out_features=10))
    return b.graph()


def write_small(folder: Path, seed: int = 0) -> Path:
    """``small.dual`` and ``images.npz`` in a folder; the path of the model."""
    rng = np.random.default_rng(seed)
    g = graph()
    network = Network(g, {k: rng.standard_normal(s).astype(np.float32) * 0.3 for k, s in g.parameters.items()})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.dual"
    write_dual(path, compressed_network(quantize(network, 0.02, 0.2), winograd_threshold=0.2))
    pixels = rng.integers(0, 256, (40, 8, 8, 3), np.uint8)
    write_images(folder / "images.npz", LabelledImages(pixels, rng.integers(0, 10, 40)))
    return path


def write_sweep(folder: Path, **changes: object) -> Path:
    """A sweep of the small model over both kinds at equal lanes: 24 points, unless changed."""
    if not (folder / "small.dual").exists():
        write_small(folder)
    machine = {"pe_array.rows": "rows", "pe_array.cols": "lanes / rows", "dram.bandwidth_gbs": "bandwidth"}
    content = {
        "models": ["small.dual"],
        "axes": {"lanes": [64, 256], "rows": [4, 8, 16], "bandwidth": [3.2, 12.8]},
        "machines": {
            "spatial": {"base": "spatial-16x16", "set": machine},
            "winograd": {"base": "winograd-16x16", "set": machine},
        },
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return path
