"""Batch-norm's statistics, measured anew once the weights stand still.

Over batches of training images.

While a network trains, its running statistics are averages over weights that were still moving.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from accelsim.arrays import Array
from accelsim.training.compiled import CompiledNetwork, to_host

STATISTICS = ("running_mean", "running_var")


def is_statistic(name: str) -> bool:
    """Whether the array of that name is measured, not trained."""
    return name.rpartition(".")[2] in STATISTICS


def averaged_statistics(
    compiled: CompiledNetwork, arrays: Mapping[str, Array], batches: Iterable[Array]
) -> dict[str, Array]:
    """The mean over the batches of each batch-norm statistic, by array name; none without a batch.

    compiled: the network, compiled for training on ``arrays``, whose statistics are overwritten.
    batches: (N, H, W, C) float32 each, preprocessed.
    """
    for norm in compiled.batch_norms():
        norm.momentum = 1.0
    totals = {name: np.zeros(array.shape) for name, array in arrays.items() if is_statistic(name)}
    count = 0
    for images in batches:
        compiled.forward(images)
        count += 1
        for name, total in totals.items():
            total += to_host(arrays[name])
    if not count:
        return {}
    return {name: (total / count).astype(np.float32) for name, total in totals.items()}
