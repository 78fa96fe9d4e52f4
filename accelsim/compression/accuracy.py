"""Accuracy or PSNR of a compressed file on test images, in both domains.

The dense network's own stands beside it.
"""

from typing import Any

from accelsim.dual.deploy import winograd_model
from accelsim.dual.model import DualModel
from accelsim.network.graph import Network
from accelsim.training.datasets import Source
from accelsim.training.evaluate import top1
from accelsim.training.psnr import psnr_by_set
from accelsim.training.superresolution import Photographs
from accelsim.training.winograd_op import winograd_operations


def measure(
    model: DualModel,
    test: Source | Photographs,
    reference: Network | None,
    workers: int,
) -> dict[str, float]:
    """The dense network, and the decoded file in each domain, on the test images.

    Top-1 in percent (``top1_spatial`` ...), or of photographs PSNR by set in dB
    (``psnr_set5_spatial`` ...).
    """
    graph = model.network.graph
    arrays = model.network.arrays
    if isinstance(test, Photographs):
        filters: dict[str, Any] = {"filters": winograd_model(model), "tiles": model.winograd_m}
        figures = {} if reference is None else {"reference": psnr_by_set(reference.graph, reference.arrays, test)}
        figures["spatial"] = psnr_by_set(graph, arrays, test)
        figures["winograd"] = psnr_by_set(graph, arrays, test, **filters)
        return {
            f"psnr_{name}_{domain}": round(value, 4)
            for domain, by_set in figures.items()
            for name, value in by_set.items()
        }
    operations = winograd_operations(winograd_model(model), dict(model.winograd_m))
    accuracy = {}
    if reference is not None:
        accuracy["top1_reference"] = top1(reference.graph, reference.arrays, test, workers=workers)
    accuracy["top1_spatial"] = top1(graph, arrays, test, workers=workers)
    accuracy["top1_winograd"] = top1(graph, arrays, test, workers=workers, operations=operations)
    return {name: round(value, 4) for name, value in accuracy.items()}
