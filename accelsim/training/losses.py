"""Losses with their gradients, all as means over the batch, float32.

Cross-entropy with label smoothing (Szegedy et al. 2016), mean squared error, and distillation
(Hinton et al. 2015): the student's softened probabilities follow a teacher's, scaled by T^2 so that
gradients keep their size.  A hint (Romero et al. 2015) is the output of a layer inside that follows
the teacher's.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array


class Guide(NamedTuple):
    """What a teacher makes of a batch, (N, ...) float32: its output and, if wanted, its hint."""

    output: Array
    hint: Array | None = None


def log_softmax(logits: Array, xp: Any = np) -> Array:
    """log softmax along the classes.  logits: (N, K) float32 -> the same shape."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p: Array = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def cross_entropy(
    logits: Array,
    labels: NDArray[Any],
    smoothing: float = 0.0,
    xp: Any = np,
) -> tuple[float, Array]:
    """(loss, its gradient (N, K)).

    logits: (N, K) float32, labels: (N,) int; smoothing in [0, 1).
    """
    N, K = logits.shape
    target = xp.full((N, K), smoothing / K, np.float32)
    target[xp.arange(N), labels] += np.float32(1 - smoothing)
    log_p = log_softmax(logits, xp)
    return -float((target * log_p).sum()) / N, (xp.exp(log_p) - target) / np.float32(N)


def mean_squared_error(y: Array, target: Array) -> tuple[float, Array]:
    """(loss, its gradient), the mean over all elements.  y, target: the same shape, float32."""
    difference = y - target
    return float((difference * difference).mean()), difference * np.float32(2 / difference.size)


def relative_squared_error(y: Array, target: Array) -> tuple[float, Array]:
    """(|y - target|^2 / |target|^2, its gradient).  y, target: the same shape, float32."""
    difference = y - target
    scale = 1 / max(float((target * target).sum()), 1e-12)
    return float((difference * difference).sum()) * scale, difference * np.float32(2 * scale)


def distillation(
    logits: Array,
    teacher: Array,
    temperature: float,
    xp: Any = np,
) -> tuple[float, Array]:
    """(T^2 KL(teacher || student), its gradient (N, K)) at temperature T.

    logits, teacher: (N, K) float32.
    """
    N = len(logits)
    T = np.float32(temperature)
    log_p = log_softmax(logits / T, xp)
    log_q = log_softmax(teacher / T, xp)
    p = xp.exp(log_p)
    q = xp.exp(log_q)
    return float((q * (log_q - log_p)).sum()) * float(T * T) / N, (p - q) * (T / np.float32(N))


def blend(
    hard: tuple[float, Array],
    soft: tuple[float, Array],
    share: float,
) -> tuple[float, Array]:
    """A loss on the labels, and one on a teacher's outputs, each with its gradient.

    (1 - share) of the one and ``share`` of the other.
    """
    loss = (1 - share) * hard[0] + share * soft[0]
    return loss, np.float32(1 - share) * hard[1] + np.float32(share) * soft[1]
