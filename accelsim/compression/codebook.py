"""Fine-tuning after quantization: first what an index stands for, then, if asked for, which index a weight has.

    c_n <- c_n - rate * mean over the weights of index n of dC/dw,   n != 0,      C = E + exp(z_WD) R_WD - alpha z_WD

(Choi et al., arXiv:1802.02271 and 1902.08192; only the Winograd term of the regularizer stays, at its balance
exp(z_WD) R_WD = alpha).  The averaged gradients go through Adam.  Beyond the paper, batch-norm's scales and shifts and
the biases, which a file holds at their own precision anyway, move along, by distillation from the dense network, and
the codebook stays odd (c_-n = -c_n), so that weights that cancel in the Winograd domain go on cancelling.

With a weight rate, the weights themselves go on training, too: the forward pass sees their quantized values, the
gradient passes to them as if quantization were the identity (straight-through, Bengio et al. 2013).  Zeros stay zeros
in both domains: every 2-D filter moves only within the linear space of those that have its zeros
(``accelsim.sparsity.zero_patterns``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Levels
from accelsim.dual.quantizer import Quantizer, codebook_slope, rounded_codebook
from accelsim.errors import NumericalError
from accelsim.network.graph import Graph, Network
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.zero_patterns import ZeroPattern, zero_pattern
from accelsim.training.augment import augment
from accelsim.training.compiled import CompiledNetwork
from accelsim.training.datasets import Source
from accelsim.training.losses import blend, cross_entropy, distillation
from accelsim.training.optimizers import Adam

STATISTICS = ("running_mean", "running_var")
NOTHING = 1 / 8  # of a cell: a Winograd-domain entry up to it is rounding, not a weight


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


class Tuner:
    """The state of one fine-tuning.  ``state()`` and ``restore()`` are what an interrupted one goes on from.

    graph, arrays: the network with batch-norm apart, its weights before quantization.  indices: of each weight array;
    where they are 0 weights stay 0.  quantizer: with a codebook.
    regularizer, winograd_sparsity: the Winograd term.  teacher: the network to distil from.
    """

    def __init__(
        self,
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
    ):
        self.graph, self.images, self.tuning, self.quantizer = graph, images, tuning, quantizer
        self.regularizer, self.winograd_sparsity = regularizer, winograd_sparsity
        self.indices = dict(indices)
        self.arrays = {name: np.array(arrays[name], np.float32) for name in graph.parameters}
        self.masks = {name: (n != 0).astype(np.float32) for name, n in self.indices.items()}
        for name, mask in self.masks.items():
            self.arrays[name] *= mask
        trained = [name for name in self.arrays if name.rpartition(".")[2] not in STATISTICS]
        self.gradients = {name: np.zeros_like(self.arrays[name]) for name in trained}
        self.values = [name for name in trained if name not in self.indices]
        self.moving = list(self.indices) if tuning.weight_rate else []
        self.patterns: dict[str, ZeroPattern] = {}
        if self.moving:
            _, theta = regularizer.thresholds(self.arrays, 0.0, winograd_sparsity)
            theta = min(theta, NOTHING * min(quantizer.cells.values()))
            for layer, W in regularizer.pruned_winograd(self.arrays, theta).items():
                name = f"{layer}.weight"
                self.patterns[name] = zero_pattern(self.masks[name] == 0, W == 0, regularizer.kron[layer])
                self.patterns[name].project(self.arrays[name])
        groups: list[list[NDArray[Any]]]
        groups = [[quantizer.codebook], [self.arrays[n] for n in self.values], [self.arrays[n] for n in self.moving]]
        self.vector = np.concatenate([array.ravel() for group in groups for array in group]).astype(np.float32)
        self.rates = np.repeat(
            np.array([tuning.codebook_rate, tuning.value_rate, tuning.weight_rate], np.float32),
            [sum(array.size for array in group) for group in groups],
        )
        self.cuts = np.cumsum([array.size for group in groups for array in group])[:-1]
        # Rounding alone leaves this much in R_WD: below it there is nothing to pull at.
        self.floor = min(quantizer.cells.values(), default=1.0) ** 2 / 12
        self.compiled = CompiledNetwork(
            graph, self.arrays, tuning.batch, gradients=self.gradients, training=True, workers=tuning.workers
        )
        self.teacher: CompiledNetwork | None = None
        if teacher is not None:
            self.teacher = CompiledNetwork(teacher.graph, teacher.arrays, tuning.batch, workers=tuning.workers)
        self.optimizer = Adam(self.vector.size)
        self.done = 0

    def step(self) -> float:
        """One step; its loss.  Raises NumericalError if the loss is not finite."""
        tuning, regularizer = self.tuning, self.regularizer
        self._install()
        x, labels = _batch(self.graph, self.images, tuning, self.done)
        logits = self.compiled.forward(x)
        loss, slope = cross_entropy(logits, labels)
        if self.teacher is not None:
            soft = distillation(logits, self.teacher.forward(x), tuning.temperature)
            loss, slope = blend((loss, slope), soft, tuning.share)
        if not np.isfinite(loss):
            raise NumericalError(f"fine-tuning step {self.done}: the loss is {loss}")
        self.compiled.backward(slope)
        nothing = {name: np.zeros_like(gradient) for name, gradient in self.gradients.items()}
        R = regularizer.winograd_penalty(self.arrays, self.winograd_sparsity, nothing, -np.inf).value
        z = np.log(tuning.alpha / max(R, self.floor))
        regularizer.winograd_penalty(self.arrays, self.winograd_sparsity, self.gradients, z)
        codebook = codebook_slope(self.quantizer, self.indices, self.gradients)
        slopes = [self.gradients[name] for name in self.values]
        slopes += [self.gradients[name] * self.masks[name] for name in self.moving]
        gradient = np.concatenate([(codebook - codebook[::-1]) / 2, *(array.ravel() for array in slopes)])
        change = np.zeros_like(self.vector)
        rate = 0.5 * (1 + np.cos(np.pi * self.done / tuning.steps))
        self.optimizer.step(change, gradient.astype(np.float32), rate)
        change *= self.rates
        for name, part in zip(self.moving, np.split(change, self.cuts)[1 + len(self.values) :], strict=True):
            if name in self.patterns:
                self.patterns[name].project(part.reshape(self.masks[name].shape))
        self.vector += change
        self.done += 1
        return loss

    def finish(self) -> tuple[dict[str, Array], dict[str, Levels], Quantizer]:
        """(arrays, indices, quantizer): weights decoded, batch-norm unfolded, its statistics averaged anew."""
        L = len(self.quantizer.codebook)
        self.vector[:L] = rounded_codebook(self.vector[:L].astype(np.float64))
        self._install()
        self.close()
        return _with_statistics(self.graph, self.arrays, self.images, self.tuning), self.indices, self.quantizer

    def close(self) -> None:
        """End the threads."""
        self.compiled.close()
        if self.teacher is not None:
            self.teacher.close()

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays, notes): all that ``restore`` needs."""
        statistics = {name: array for name, array in self.arrays.items() if name.rpartition(".")[2] in STATISTICS}
        return {"vector": self.vector, **self.optimizer.state, **statistics}, {"step": self.done}

    def restore(self, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> None:
        """Go on from a ``state``.  Raises ValueError if it is another network's."""
        mine, _ = self.state()
        if {name: array.shape for name, array in mine.items()} != {name: a.shape for name, a in arrays.items()}:
            raise ValueError("the state of another network")
        for name, array in mine.items():
            array[...] = arrays[name]
        self.done = self.optimizer.steps = int(notes["step"])

    def _install(self) -> None:
        """Set the network's arrays, the indices and the codebook to what the vector says."""
        parts = np.split(self.vector, self.cuts)
        self.quantizer = replace(self.quantizer, codebook=parts[0].astype(np.float64))
        L = len(parts[0]) // 2
        for name, part in zip(self.moving, parts[1 + len(self.values) :], strict=True):
            self.indices[name] = self.quantizer.indices(name, part.reshape(self.masks[name].shape)).clip(-L, L)
        for name, n in self.indices.items():
            self.arrays[name][...] = self.quantizer.decode(name, n)
        for name, part in zip(self.values, parts[1:], strict=False):
            self.arrays[name][...] = part.reshape(self.arrays[name].shape)


def fine_tune(
    tuner: Tuner, watch: Callable[[int, float], None] | None = None
) -> tuple[dict[str, Array], dict[str, Levels], Quantizer]:
    """What ``tuner`` has after all its steps.  watch: called with the number of each step done and its loss."""
    while tuner.done < tuner.tuning.steps:
        loss = tuner.step()
        if watch is not None:
            watch(tuner.done, loss)
    return tuner.finish()


def _batch(graph: Graph, images: Source, tuning: Tuning, step: int) -> tuple[Array, Any]:
    rng = np.random.default_rng([tuning.seed, step])
    index = rng.choice(len(images.labels), tuning.batch, replace=False)
    pixels = augment(images.take(index, rng), rng, crop=tuning.crop, flip=tuning.flip)
    return graph.preprocessing.apply(pixels), images.labels[index]


def _with_statistics(graph: Graph, arrays: dict[str, Array], images: Source, tuning: Tuning) -> dict[str, Array]:
    """The arrays with batch-norm statistics averaged over some batches of training images."""
    compiled = CompiledNetwork(graph, arrays, tuning.batch, training=True, workers=tuning.workers)
    for norm in compiled.batch_norms():
        norm.momentum = 1.0
    totals = {name: np.zeros(a.shape) for name, a in arrays.items() if name.rpartition(".")[2] in STATISTICS}
    for step in range(tuning.statistics):
        compiled.forward(_batch(graph, images, replace(tuning, seed=tuning.seed + 1), step)[0])
        for name, total in totals.items():
            total += arrays[name]
    compiled.close()
    means = {name: (total / max(tuning.statistics, 1)).astype(np.float32) for name, total in totals.items()}
    return arrays | (means if tuning.statistics else {})
