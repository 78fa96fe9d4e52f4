"""Accuracy of a network as it stands, and pruned in either domain."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from accelsim.arrays import Array
from accelsim.errors import NumericalError
from accelsim.network.graph import Graph
from accelsim.sparsity.joint import JointRegularizer
from accelsim.training.compiled import CompiledNetwork, Execution
from accelsim.training.datasets import Source
from accelsim.training.ops import Op
from accelsim.training.winograd_op import winograd_operations

T = TypeVar("T")


def top1(
    graph: Graph,
    arrays: Mapping[str, Array],
    images: Source,
    *,
    batch: int = 128,
    workers: int = 1,
    operations: Mapping[str, Callable[..., Op]] | None = None,
) -> float:
    """Percent of the images whose largest output is the label.

    Raises NumericalError if an output is not finite: none of them is the largest.
    """
    batch = min(batch, len(images.labels))
    compiled = CompiledNetwork(graph, arrays, batch, execution=Execution(workers=workers), operations=operations)
    hits = 0
    for first in range(0, len(images.labels), batch):
        labels = images.labels[first : first + batch]
        pixels = images.take(np.arange(first, first + len(labels)))
        if len(pixels) < batch:  # the last batch is filled up with zeros that do not count
            pixels = np.concatenate([pixels, np.zeros((batch - len(pixels), *pixels.shape[1:]), np.uint8)])
        logits = compiled.forward(graph.preprocessing.apply(pixels))
        if not np.isfinite(logits).all():
            raise NumericalError(f"{graph.name}: an output is not finite on test images")
        hits += int((logits[: len(labels)].argmax(axis=1) == labels).sum())
    compiled.close()
    return 100 * hits / len(images.labels)


def in_both_domains(
    graph: Graph,
    arrays: Mapping[str, Array],
    images: Source,
    regularizer: JointRegularizer,
    thresholds: tuple[float, float],
    **options: Any,
) -> dict[str, float]:
    """Top-1 in percent, unpruned and pruned in either domain.

    ``unpruned``; ``spatial``: zeros where |w| <= theta_SD; ``winograd``: where |W| <= theta_WD.

    thresholds: (theta_SD, theta_WD).  options: as ``top1``.
    """

    def measure(some: Mapping[str, Array], filters: dict[str, Array]) -> float:
        return top1(graph, some, images, operations=winograd_operations(filters, regularizer.winograd), **options)

    return by_domain(measure, arrays, regularizer, thresholds)


def by_domain(
    measure: Callable[[Mapping[str, Array], dict[str, Array]], T],
    arrays: Mapping[str, Array],
    regularizer: JointRegularizer,
    thresholds: tuple[float, float],
) -> dict[str, T]:
    """What ``measure`` gives, unpruned and pruned in either domain.

    measure: of arrays, and of Winograd-domain filters by layer.
    """
    unpruned = measure(arrays, {})
    pruned = regularizer.pruned_spatial(arrays, thresholds[0])
    return {
        "unpruned": unpruned,
        "spatial": measure(pruned, {}) if thresholds[0] > 0 else unpruned,
        "winograd": measure(arrays, regularizer.pruned_winograd(arrays, thresholds[1])),
    }
