"""Fine-tuning after quantization: first what an index stands for, then, if asked for, which index a weight has.

    c_n <- c_n - rate * mean over the weights of index n of dC/dw,   n != 0,      C = E + exp(z_WD) R_WD - alpha z_WD

(Choi et al., arXiv:1802.02271 and 1902.08192; only the Winograd term of the regularizer stays, at its balance
exp(z_WD) R_WD = alpha).  The averaged gradients go through Adam.  Beyond the paper, batch-norm's scales and shifts and
the biases, which a file holds at their own precision anyway, move along, by distillation from the dense network.

With a weight rate, the weights themselves go on training, too: the forward pass sees their quantized values, the
gradient passes to them as if quantization were the identity (straight-through, Bengio et al. 2013).  Zeros stay zeros.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.compression.joint import JointRegularizer
from accelsim.compression.quantize import Levels, Quantizer, codebook_slope, rounded_codebook
from accelsim.errors import NumericalError
from accelsim.network.graph import Graph, Network
from accelsim.training.augment import augment
from accelsim.training.datasets import Source
from accelsim.training.kernels import Array
from accelsim.training.losses import cross_entropy, distillation
from accelsim.training.optimizers import Adam
from accelsim.training.plan import Plan

STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Tuning:
    """How to fine-tune: ``steps`` batches of ``batch`` images, Adam's rates falling to zero (cosine).

    weight_rate: of the weights behind the indices; 0 keeps every index.  codebook_rate: in cells.  value_rate: of
    batch-norm and biases.  share, temperature: of distillation (``losses``).  alpha: pull of the Winograd term.
    statistics: batches that batch-norm's statistics are averaged over at the end.
    """

    steps: int = 300
    batch: int = 128
    codebook_rate: float = 4e-3
    value_rate: float = 1e-3
    weight_rate: float = 0.0
    share: float = 0.7
    temperature: float = 4.0
    alpha: float = 0.1
    statistics: int = 50
    seed: int = 0
    crop: int = 0
    flip: bool = False
    workers: int = 1


def fine_tune(
    graph: Graph,
    arrays: Mapping[str, Array],
    indices: Mapping[str, Levels],
    quantizer: Quantizer,
    images: Source,
    tuning: Tuning,
    *,
    regularizer: JointRegularizer,
    winograd_sparsity: float,
    teacher: Network | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[dict[str, Array], dict[str, Levels], Quantizer]:
    """(arrays, indices, quantizer) after fine-tuning: weights decoded, batch-norm unfolded.

    graph, arrays: the network with batch-norm apart, its weights before quantization.  indices: of each weight array;
    where they are 0 weights stay 0.  quantizer: with a codebook.
    regularizer, winograd_sparsity: the Winograd term.  watch: called with the step and its loss.
    Raises NumericalError if the loss is not finite.
    """
    indices = dict(indices)
    current = {name: np.array(arrays[name], np.float32) for name in graph.parameters}
    kept = {name: (n != 0).astype(np.float32) for name, n in indices.items()}
    moving = list(indices) if tuning.weight_rate else []
    trained = [name for name in current if name.rpartition(".")[2] not in STATISTICS]
    gradients = {name: np.zeros_like(current[name]) for name in trained}
    values = [name for name in trained if name not in indices]
    groups: list[list[NDArray[Any]]]
    groups = [[quantizer.codebook], [current[name] for name in values], [arrays[name] * kept[name] for name in moving]]
    vector = np.concatenate([array.ravel() for group in groups for array in group]).astype(np.float32)
    rates = np.repeat(
        np.array([tuning.codebook_rate, tuning.value_rate, tuning.weight_rate], np.float32),
        [sum(array.size for array in group) for group in groups],
    )
    parts = np.split(vector, np.cumsum([array.size for group in groups for array in group])[:-1])
    L = len(quantizer.codebook) // 2
    options: dict[str, Any] = {"workers": tuning.workers}
    plan = Plan(graph, current, tuning.batch, gradients=gradients, training=True, **options)
    guide = None if teacher is None else Plan(teacher.graph, teacher.arrays, tuning.batch, **options)
    optimizer = Adam(vector.size)
    steps = np.zeros_like(vector)
    nothing = {name: np.zeros_like(gradient) for name, gradient in gradients.items()}

    def install() -> None:
        nonlocal quantizer
        quantizer = replace(quantizer, codebook=parts[0].astype(np.float64))
        for name, part in zip(moving, parts[1 + len(values) :], strict=True):
            indices[name] = quantizer.indices(name, part.reshape(kept[name].shape)).clip(-L, L)
        for name, n in indices.items():
            current[name][...] = quantizer.decode(name, n)
        for name, part in zip(values, parts[1:], strict=False):
            current[name][...] = part.reshape(current[name].shape)

    for step in range(tuning.steps):
        install()
        x, labels = _batch(graph, images, tuning, step)
        logits = plan.forward(x)
        loss, slope = cross_entropy(logits, labels)
        if guide is not None:
            soft, soft_slope = distillation(logits, guide.forward(x), tuning.temperature)
            loss = (1 - tuning.share) * loss + tuning.share * soft
            slope = np.float32(1 - tuning.share) * slope + np.float32(tuning.share) * soft_slope
        if not np.isfinite(loss):
            raise NumericalError(f"fine-tuning step {step}: the loss is {loss}")
        plan.backward(slope)
        R = regularizer.winograd_penalty(current, winograd_sparsity, nothing, -np.inf).value
        regularizer.winograd_penalty(current, winograd_sparsity, gradients, np.log(tuning.alpha / max(R, 1e-12)))
        codebook_gradient = codebook_slope(quantizer, indices, gradients)
        slopes = [*(gradients[name] for name in values), *(gradients[name] * kept[name] for name in moving)]
        gradient = np.concatenate([codebook_gradient, *(array.ravel() for array in slopes)]).astype(np.float32)
        steps[...] = 0
        optimizer.step(steps, gradient, 0.5 * (1 + np.cos(np.pi * step / tuning.steps)))
        vector += rates * steps
        if watch is not None:
            watch(step, loss)
    parts[0][...] = rounded_codebook(parts[0].astype(np.float64))
    install()
    plan.close()
    if guide is not None:
        guide.close()
    return _with_statistics(graph, current, images, tuning), indices, quantizer


def _batch(graph: Graph, images: Source, tuning: Tuning, step: int) -> tuple[Array, Any]:
    rng = np.random.default_rng([tuning.seed, step])
    index = rng.choice(len(images.labels), tuning.batch, replace=False)
    pixels = augment(images.take(index, rng), rng, crop=tuning.crop, flip=tuning.flip)
    return graph.preprocessing.apply(pixels), images.labels[index]


def _with_statistics(graph: Graph, arrays: dict[str, Array], images: Source, tuning: Tuning) -> dict[str, Array]:
    """The arrays with batch-norm statistics averaged over some batches of training images."""
    plan = Plan(graph, arrays, tuning.batch, training=True, workers=tuning.workers)
    for norm in plan.batch_norms():
        norm.momentum = 1.0
    totals = {name: np.zeros(a.shape) for name, a in arrays.items() if name.rpartition(".")[2] in STATISTICS}
    for step in range(tuning.statistics):
        plan.forward(_batch(graph, images, replace(tuning, seed=tuning.seed + 1), step)[0])
        for name, total in totals.items():
            total += arrays[name]
    plan.close()
    means = {name: (total / max(tuning.statistics, 1)).astype(np.float32) for name, total in totals.items()}
    return arrays | (means if tuning.statistics else {})
