"""Fine-tuning after quantization: the codebook, and if asked for the indices.

First what an index stands for, then which index a weight has.

    c_n <- c_n - rate * mean over the weights of index n of dC/dw,   n != 0,
    C = E + exp(z_WD) R_WD - alpha z_WD

(Choi et al., arXiv:1802.02271 and 1902.08192; only the Winograd term of the regularizer stays, at
its balance exp(z_WD) R_WD = alpha).  The averaged gradients go through Adam.  Beyond the paper,
batch-norm's scales and shifts and the biases, which a file holds at their own precision anyway,
move along, by distillation from the dense network, and the codebook stays odd (c_-n = -c_n), so
that weights that cancel in the Winograd domain go on cancelling.

With a weight rate, the weights themselves go on training, too: the forward pass sees their
quantized values, the gradient passes to them as if quantization were the identity
(straight-through, Bengio et al. 2013).  Zeros stay zeros in both domains: every 2-D filter moves
only within the linear space of those that have its zeros (``accelsim.sparsity.zero_patterns``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.compression.quantize import Quantized
from accelsim.dual.quantizer import codebook_slope, rounded_codebook
from accelsim.errors import NumericalError
from accelsim.network.graph import Network
from accelsim.sparsity.joint import JointRegularizer
from accelsim.sparsity.zero_patterns import ZeroPattern, zero_pattern
from accelsim.training.augment import augment
from accelsim.training.compiled import CompiledNetwork, Execution, Learning
from accelsim.training.datasets import Source
from accelsim.training.losses import blend, cross_entropy, distillation
from accelsim.training.optimizers import Adam
from accelsim.training.statistics import averaged_statistics, is_statistic

NOTHING = 1 / 8  # of a cell: a Winograd-domain entry up to it is rounding, not a weight


@dataclass(frozen=True)
class Tuning:
    """How to fine-tune.  Adam's rates fall to zero over the steps (cosine)."""

    steps: int = 300  # batches
    batch: int = 128  # images a step
    codebook_rate: float = 4e-3  # of what an index stands for, in cells
    value_rate: float = 1e-3  # of batch-norm and biases
    weight_rate: float = 0.0  # of the weights behind the indices; 0 keeps every index
    share: float = 0.7  # of distillation in the loss (``losses``)
    temperature: float = 4.0  # of distillation
    alpha: float = 0.1  # pull of the Winograd term
    winograd_sparsity: float = 0.0  # share of the Winograd-domain weights that it pulls to zero
    statistics: int = 50  # batches that batch-norm's statistics are averaged over at the end
    seed: int = 0
    crop: int = 0  # images are moved by up to so many pixels
    flip: bool = False  # half of the images are mirrored
    workers: int = 1  # threads


class Tuner:
    """The state of one fine-tuning.

    ``state()`` and ``restore()`` are what an interrupted one goes on from.

    network: with batch-norm apart, its weights before quantization.  quantized: the same, with a
    codebook; where its indices are 0 weights stay 0.  regularizer: its Winograd term.  teacher: the
    network to distil from.
    """

    def __init__(
        self,
        network: Network,
        quantized: Quantized,
        images: Source,
        tuning: Tuning,
        regularizer: JointRegularizer,
        teacher: Network | None = None,
    ):
        self.graph = network.graph
        self.images = images
        self.tuning = tuning
        self.regularizer = regularizer
        self.quantizer = quantized.quantizer
        self.indices = dict(quantized.indices)
        self.arrays = {name: np.array(network.arrays[name], np.float32) for name in self.graph.parameters}
        self.masks = {name: (n != 0).astype(np.float32) for name, n in self.indices.items()}
        for name, mask in self.masks.items():
            self.arrays[name] *= mask
        trained = [name for name in self.arrays if not is_statistic(name)]
        self.gradients = {name: np.zeros_like(self.arrays[name]) for name in trained}
        self.values = [name for name in trained if name not in self.indices]
        self.moving = list(self.indices) if tuning.weight_rate else []
        self.patterns = self._patterns() if self.moving else {}
        self._lay_out()
        # Rounding alone leaves this much in R_WD: below it there is nothing to pull at.
        self.floor = min(self.quantizer.cells.values(), default=1.0) ** 2 / 12
        execution = Execution(workers=tuning.workers)
        self.compiled = CompiledNetwork(
            self.graph,
            self.arrays,
            tuning.batch,
            learning=Learning(gradients=self.gradients, training=True),
            execution=execution,
        )
        self.teacher: CompiledNetwork | None = None
        if teacher is not None:
            self.teacher = CompiledNetwork(teacher.graph, teacher.arrays, tuning.batch, execution=execution)
        self.optimizer = Adam(self.vector.size)
        self.done = 0

    def _patterns(self) -> dict[str, ZeroPattern]:
        """The zeros of each layer that Winograd serves, by array name.

        The weights get them exactly.
        """
        regularizer = self.regularizer
        _, theta = regularizer.thresholds(self.arrays, 0.0, self.tuning.winograd_sparsity)
        theta = min(theta, NOTHING * min(self.quantizer.cells.values()))
        patterns = {}
        for layer, W in regularizer.pruned_winograd(self.arrays, theta).items():
            name = f"{layer}.weight"
            patterns[name] = zero_pattern(self.masks[name] == 0, W == 0, regularizer.kron[layer])
            patterns[name].project(self.arrays[name])
        return patterns

    def _lay_out(self) -> None:
        """Lay out all that moves as one vector: the codebook,
        other values, weights; each with its rate.
        """
        tuning = self.tuning
        groups = (
            (tuning.codebook_rate, [self.quantizer.codebook]),
            (tuning.value_rate, [self.arrays[name] for name in self.values]),
            (tuning.weight_rate, [self.arrays[name] for name in self.moving]),
        )
        arrays = [array for _, group in groups for array in group]
        rates = [np.full(array.size, rate, np.float32) for rate, group in groups for array in group]
        self.vector = np.concatenate([array.ravel() for array in arrays]).astype(np.float32)
        self.rates = np.concatenate(rates)
        self.cuts = np.cumsum([array.size for array in arrays])[:-1]

    def _parts(self, vector: Array) -> tuple[Array, dict[str, Array]]:
        """(what belongs to the codebook, to each array by name) in a vector laid out so: views."""
        codebook, *others = np.split(vector, self.cuts)
        names = [*self.values, *self.moving]
        return codebook, {name: part.reshape(self.arrays[name].shape) for name, part in zip(names, others, strict=True)}

    def step(self) -> float:
        """One step; its loss.  Raises NumericalError if the loss is not finite."""
        tuning = self.tuning
        self._install()
        x, labels = self._batch(tuning.seed, self.done)
        logits = self.compiled.forward(x)
        loss, slope = cross_entropy(logits, labels)
        if self.teacher is not None:
            soft = distillation(logits, self.teacher.forward(x), tuning.temperature)
            loss, slope = blend((loss, slope), soft, tuning.share)
        if not np.isfinite(loss):
            raise NumericalError(f"fine-tuning step {self.done}: the loss is {loss}")
        self.compiled.backward(slope)
        self._pull()
        change = np.zeros_like(self.vector)
        rate = 0.5 * (1 + np.cos(np.pi * self.done / tuning.steps))
        self.optimizer.step(change, self._gradient(), rate)
        change *= self.rates
        _, changes = self._parts(change)
        for name, pattern in self.patterns.items():
            pattern.project(changes[name])
        self.vector += change
        self.done += 1
        return loss

    def _pull(self) -> None:
        """Add the Winograd term's gradient at its balance."""
        regularizer = self.regularizer
        sparsity = self.tuning.winograd_sparsity
        unused = {name: np.zeros_like(gradient) for name, gradient in self.gradients.items()}
        R = regularizer.winograd_penalty(self.arrays, sparsity, unused, -np.inf).value
        z = np.log(self.tuning.alpha / max(R, self.floor))
        regularizer.winograd_penalty(self.arrays, sparsity, self.gradients, z)

    def _gradient(self) -> Array:
        """The gradient of all that moves, laid out as the vector."""
        codebook = codebook_slope(self.quantizer, self.indices, self.gradients)
        odd = (codebook - codebook[::-1]) / 2
        values = [self.gradients[name].ravel() for name in self.values]
        weights = [(self.gradients[name] * self.masks[name]).ravel() for name in self.moving]
        return np.concatenate([odd, *values, *weights]).astype(np.float32)

    def finish(self) -> Quantized:
        """The weights decoded, batch-norm unfolded, its statistics averaged anew."""
        tuning = self.tuning
        L = len(self.quantizer.codebook)
        self.vector[:L] = rounded_codebook(self.vector[:L].astype(np.float64))
        self._install()
        self.close()
        compiled = CompiledNetwork(
            self.graph,
            self.arrays,
            tuning.batch,
            learning=Learning(training=True),
            execution=Execution(workers=tuning.workers),
        )
        images = (self._batch(tuning.seed + 1, step)[0] for step in range(tuning.statistics))
        statistics = averaged_statistics(compiled, self.arrays, images)
        compiled.close()
        return Quantized(Network(self.graph, self.arrays | statistics), self.indices, self.quantizer)

    def close(self) -> None:
        """End the threads; the tuner is of no use after."""
        self.compiled.close()
        if self.teacher is not None:
            self.teacher.close()

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays, notes): all that ``restore`` needs."""
        statistics = {name: array for name, array in self.arrays.items() if is_statistic(name)}
        return {"vector": self.vector, **self.optimizer.state, **statistics}, {"step": self.done}

    def restore(self, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> None:
        """Go on from a ``state``.  Raises ValueError if it is another network's."""
        mine, _ = self.state()
        if {name: array.shape for name, array in mine.items()} != {name: a.shape for name, a in arrays.items()}:
            raise ValueError("the state of another network")
        for name, array in mine.items():
            array[...] = arrays[name]
        self.done = int(notes["step"])
        self.optimizer.steps = self.done

    def _install(self) -> None:
        """Set the network's arrays, the indices and the codebook to what the vector says."""
        codebook, arrays = self._parts(self.vector)
        self.quantizer = replace(self.quantizer, codebook=codebook.astype(np.float64))
        L = len(codebook) // 2
        for name in self.moving:
            self.indices[name] = self.quantizer.indices(name, arrays[name]).clip(-L, L)
        for name, n in self.indices.items():
            self.arrays[name][...] = self.quantizer.decode(name, n)
        for name in self.values:
            self.arrays[name][...] = arrays[name]

    def _batch(self, seed: int, step: int) -> tuple[Array, Any]:
        """The images, (N, H, W, C) float32, preprocessed, and labels of a step."""
        rng = np.random.default_rng([seed, step])
        index = rng.choice(len(self.images.labels), self.tuning.batch, replace=False)
        pixels = augment(self.images.take(index, rng), rng, crop=self.tuning.crop, flip=self.tuning.flip)
        return self.graph.preprocessing.apply(pixels), self.images.labels[index]


def fine_tune(tuner: Tuner, watch: Callable[[int, float], None] | None = None) -> Quantized:
    """What ``tuner`` has after all its steps.

    watch: called with the number of each step done and its loss.
    """
    while tuner.done < tuner.tuning.steps:
        loss = tuner.step()
        if watch is not None:
            watch(tuner.done, loss)
    return tuner.finish()
