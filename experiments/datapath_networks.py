"""The networks of reports/datapath.md, each with images to find scales on, images to measure, and what is measured.

Files of ``models/`` as they ship, files that recipes make and nobody ships, by their paths (ResNet-18, CT-SRCNN), and
dense networks of the data folder, nothing pruned: ResNet-18, and VDSR for super-resolution.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import accelsim
from accelsim.arrays import Floats
from accelsim.datapath.calibrate import IMAGES as CALIBRATION_IMAGES
from accelsim.datapath.pictures import gives_pictures, psnr
from accelsim.dual.model import DualModel, winograd_eligible
from accelsim.network import Graph, Network
from accelsim.network.weights import load_network
from accelsim.network.zoo import named_graph
from accelsim.training.datasets import load_split, resolve
from accelsim.training.recipe import Data
from accelsim.training.superresolution import Photographs, Plane, photographs
from experiments.paths import MODELS

DATA = {"cifar10": Data(kind="cifar10", path="cifar10"), "imagenet": Data(kind="archives", path="imagenet")}
PICTURES = Data(kind="super_resolution", path="sr", scale=3)
DENSE = {
    "resnet18-dense": ("resnet18-folded", "resnet18_imagenet_fp16.safetensors"),
    "vdsr-dense": ("vdsr", "vdsr.npz"),
}
CROP = 228  # pixels a side of a picture's middle: the shortest side of all 19
SMALL = 48  # of a training picture's
FEW, LARGE = 32, 64  # pictures, and images of ImageNet, that scales are found on


@dataclass(frozen=True)
class Problem:
    """One network and what it is measured by."""

    model: DualModel
    training: NDArray[Any]  # (N, H, W, C), that scales are found on
    pixels: NDArray[Any]  # (N, H, W, C), that it is measured on
    score: Callable[[NDArray[Any]], Floats]  # of outputs, one a picture: 100 where right and 0 where wrong, or dB
    unit: str  # of the scores' mean

    def first(self, count: int | None) -> "Problem":
        """The same on the first ``count`` pictures; None for all."""
        return self if count is None else replace(self, pixels=self.pixels[:count])


def problem(name: str) -> Problem:
    """A network of ``DENSE``, a file of ``models/``, or one by its path.

    Raises InputError if it is none of them.
    """
    if name in DENSE:
        graph, file = DENSE[name]
        network = load_network(named_graph(graph), resolve("weights") / file)
        model = DualModel(network, {node.name: 2 for node in network.graph.nodes if winograd_eligible(node)}, 0.0)
    else:
        model = accelsim.load_model(name if name.endswith(".dual") else MODELS / f"{name}.dual")
    return _super_resolver(model) if gives_pictures(model) else _classifier(model)


def _classifier(model: DualModel) -> Problem:
    """On the test images of CIFAR-10 or of the data folder's part of ImageNet."""
    graph = model.network.graph
    data = DATA["cifar10" if graph.input_shape[0] == 32 else "imagenet"]
    classes = graph.shapes[graph.nodes[-1].name][-1]
    training, test = (load_split(data, split, graph.input_shape, classes) for split in ("train", "test"))

    def score(y: NDArray[Any]) -> Floats:
        right: Floats = 100.0 * (y.argmax(axis=1) == test.labels[: len(y)])
        return right

    few = training.take(np.arange(CALIBRATION_IMAGES if data.kind == "cifar10" else LARGE))
    return Problem(model, few, test.take(np.arange(len(test))), score, "top-1, %")


def _super_resolver(model: DualModel) -> Problem:
    """On the middles of Set5's and Set14's pictures, enlarged threefold; scales from those of training images."""
    folder = resolve(PICTURES.path)
    training, _ = _middles(photographs(PICTURES, folder, ("train91",)), SMALL)
    pixels, targets = _middles(photographs(PICTURES, folder), CROP)
    graph: Graph = model.network.graph.with_input_shape((CROP, CROP, 1))
    sized = replace(model, network=Network(graph, model.network.arrays))
    scale = graph.preprocessing.scale

    def score(y: NDArray[Any]) -> Floats:
        return psnr(y * scale, targets[: len(y)])

    return Problem(sized, training[:FEW], pixels, score, "PSNR, dB")


def _middles(pictures: Photographs, side: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Enlarged pictures and what they should be, where they are large enough: (N, side, side, 1)."""

    def middle(plane: Plane) -> Plane:
        top, left = ((size - side) // 2 for size in plane.shape)
        return plane[top : top + side, left : left + side, None]

    pairs = [
        (middle(low), middle(pictures.high[name][file]))
        for name, planes in pictures.low.items()
        for file, low in planes.items()
        if min(low.shape) >= side
    ]
    low, high = (np.stack(planes) for planes in zip(*pairs, strict=True))
    return low.astype(np.float32), high.astype(np.uint8)


def known() -> list[str]:
    """Names of all networks that need no path."""
    return [*(path.stem for path in sorted(Path(MODELS).glob("*.dual"))), *DENSE]
