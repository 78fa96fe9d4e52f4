"""The training loop: distillation, joint sparsity, checkpoints, and a resume that continues bit for bit.

Every random choice is drawn from (seed, epoch, step), so a run that stops at any checkpoint and resumes repeats exactly
what an undisturbed run would have done (on the same kind of processor, with any number of threads).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.arrays import Array
from accelsim.errors import NumericalError
from accelsim.network.graph import Graph, Network
from accelsim.sparsity.joint import JointRegularizer, Penalty
from accelsim.sparsity.zero_patterns import ZeroPattern
from accelsim.training.augment import augment
from accelsim.training.compiled import CompiledNetwork
from accelsim.training.datasets import Source
from accelsim.training.losses import (
    Guide,
    blend,
    cross_entropy,
    distillation,
    mean_squared_error,
    relative_squared_error,
)
from accelsim.training.optimizers import Adam, make_optimizer
from accelsim.training.recipe import Recipe
from accelsim.training.schedules import growing, learning_rate
from accelsim.training.superresolution import Patches
from accelsim.training.tail import Features

STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class StepReport:
    """What one step measured.  accuracy: percent, or in super-resolution PSNR in dB (of values up to 1)."""

    step: int
    loss: float
    accuracy: float
    rate: float
    spatial: Penalty | None
    winograd: Penalty | None
    z_sd: float
    z_wd: float


class Trainer:
    """The state of one run.  ``step()`` makes one step; ``state()`` and ``restore()`` are what a checkpoint holds.

    graph, arrays: the network to train and its first weights (copied).  teacher: the network to distil from (what
    features of images do not need: they hold what it says).  patterns: zeros that stay, by array name.
    """

    def __init__(
        self,
        recipe: Recipe,
        graph: Graph,
        arrays: dict[str, Array],
        images: Source | Patches | Features,
        teacher: Network | None = None,
        xp: Any = np,
        patterns: Mapping[str, ZeroPattern] | None = None,
    ):
        self.recipe, self.graph, self.images, self.xp = recipe, graph, images, xp
        trained = [name for name in graph.parameters if name.rpartition(".")[2] not in STATISTICS]
        sizes = [int(np.prod(graph.parameters[name])) for name in trained]
        ends = np.cumsum(sizes).tolist()
        self.values: Array = xp.empty(ends[-1], np.float32)
        self.gradient: Array = xp.zeros(ends[-1], np.float32)
        self.average: Array | None = None
        self.arrays: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.spans = {n: slice(e - s, e) for n, s, e in zip(trained, sizes, ends, strict=True)}
        for name, span in self.spans.items():
            shape = graph.parameters[name]
            self.arrays[name] = self.values[span].reshape(shape)
            self.gradients[name] = self.gradient[span].reshape(shape)
            self.arrays[name][...] = xp.asarray(arrays[name])
        for name in graph.parameters:
            if name not in self.spans:
                self.arrays[name] = xp.array(arrays[name], np.float32)
        if recipe.ema is not None:
            self.average = self.values.copy()
        settings = recipe.optimizer
        self.optimizer = make_optimizer(settings.kind, ends[-1], settings.weight_decay, settings.momentum, xp)
        options = {"workers": recipe.threads, "block": recipe.block, "xp": xp}
        self.hint = None if recipe.teacher is None else recipe.teacher.hint
        guided = options | {"hint": self.hint}
        self.compiled = CompiledNetwork(
            graph, self.arrays, recipe.batch, gradients=self.gradients, training=True, **guided
        )
        self.teacher = None
        if teacher is not None:
            fixed = {name: xp.asarray(array) for name, array in teacher.arrays.items()}
            self.teacher = CompiledNetwork(teacher.graph, fixed, recipe.batch, **guided)
        self.regularizer: JointRegularizer | None = None
        self.mask: Array | None = None  # 1 for each weight, 0 for those pruned for good
        self.z = np.zeros(2, np.float32)  # z_SD, z_WD
        self.z_optimizer = Adam(2)
        self.patterns = dict(patterns or {})
        if recipe.joint is not None and not recipe.joint.hold:
            self.regularizer = JointRegularizer(graph, recipe.joint.tiles, recipe.joint.exclude, xp)
            if recipe.joint.z_start != "balanced":
                self.z[:] = recipe.joint.z_start
        self.done = 0
        self.steps_per_epoch = len(images) // recipe.batch
        self.total = self.steps_per_epoch * recipe.epochs
        self.end = min(self.total, self.steps_per_epoch * (recipe.stop_after or recipe.epochs))
        self._order: tuple[int, np.ndarray[Any, Any]] = (-1, np.empty(0, np.int64))

    def sparsity_targets(self) -> tuple[float, float]:
        """(s_SD, s_WD) of the coming step."""
        joint = self.recipe.joint
        if joint is None:
            return 0.0, 0.0
        share = growing(self.done / self.total, joint.grow_from, 1.0, joint.grow_until)
        return share * joint.spatial, share * joint.winograd

    def batch(self) -> tuple[Array, Any, Guide | None]:
        """The images (preprocessed, (N, H, W, C) float32) and labels, or true images, of the coming step.

        With features of images, also what the teacher says of them.
        """
        recipe = self.recipe
        epoch, i = divmod(self.done, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([recipe.seed, epoch]).permutation(len(self.images)))
        index = self._order[1][i * recipe.batch : (i + 1) * recipe.batch]
        rng = np.random.default_rng([recipe.seed, epoch, i])
        data = recipe.data
        if isinstance(self.images, Patches):
            low, high = self.images.pairs(index, rng)
            return self.graph.preprocessing.apply(low), self.xp.asarray(self.graph.preprocessing.apply(high)), None
        if isinstance(self.images, Features):
            x, labels, guide = self.images.take(index, rng)
            if guide is not None:
                hint = None if guide.hint is None else self.xp.asarray(guide.hint)
                guide = Guide(self.xp.asarray(guide.output), hint)
            return x, self.xp.asarray(labels), guide
        pixels = augment(self.images.take(index, rng), rng, crop=data.crop, flip=data.flip, cutout=data.cutout)
        return self.graph.preprocessing.apply(pixels), self.xp.asarray(self.images.labels[index]), None

    def step(self) -> StepReport:
        """One step.  Raises NumericalError, naming the step and the layer, if the loss is not finite."""
        recipe, settings = self.recipe, self.recipe.optimizer
        self._prune()
        x, target, guide = self.batch()
        y = self.compiled.forward(x)
        if guide is None and self.teacher is not None:
            guide = Guide(self.teacher.forward(x), None if self.hint is None else self.teacher.hinted())
        loss, accuracy, slope = self._loss(y, target, guide)
        d_hint = None
        if guide is not None and guide.hint is not None and recipe.teacher is not None:
            apart, d_hint = relative_squared_error(self.compiled.hinted(), guide.hint)
            loss += recipe.teacher.hint_weight * apart
            d_hint *= np.float32(recipe.teacher.hint_weight)
        if not np.isfinite(loss):
            try:
                self.compiled.check_finite()
            except NumericalError as error:
                raise NumericalError(f"step {self.done}: the loss is {loss}; {error}") from None
            raise NumericalError(f"step {self.done}: the loss is {loss}, every layer's output is finite")
        self.compiled.backward(slope, d_hint)
        spatial, winograd = self._regularize()
        rate = learning_rate(
            (self.done + 1) / self.total if settings.schedule != "step" else self.done / self.total,
            settings.rate,
            settings.schedule,
            warmup=settings.warmup,
            milestones=settings.milestones,
            gamma=settings.gamma,
            final=settings.final,
        )
        self.optimizer.step(self.values, self.gradient, rate)
        self.done += 1
        self._prune()
        if self.average is not None and recipe.ema is not None:
            decay = min(recipe.ema, (1 + self.done) / (10 + self.done))  # short memory while there is little to average
            self.average += np.float32(1 - decay) * (self.values - self.average)
            if self.mask is not None:
                self.average *= self.mask
        return StepReport(self.done, loss, accuracy, rate, spatial, winograd, float(self.z[0]), float(self.z[1]))

    def _loss(self, y: Array, target: Any, guide: Guide | None) -> tuple[float, float, Array]:
        """(loss, accuracy, the loss's gradient with respect to the output y), but for the hint's part."""
        recipe, teacher = self.recipe, self.recipe.teacher
        if isinstance(self.images, Patches):
            loss, slope = mean_squared_error(y, target)
            accuracy = -10 * float(np.log10(max(loss, 1e-12)))
        else:
            loss, slope = cross_entropy(y, target, recipe.smoothing, self.xp)
            accuracy = 100 * float((y.argmax(axis=1) == target).mean())
        if guide is not None and teacher is not None:
            if isinstance(self.images, Patches):
                soft = mean_squared_error(y, guide.output)
            else:
                soft = distillation(y, guide.output, teacher.temperature, self.xp)
            loss, slope = blend((loss, slope), soft, teacher.share)
        return loss, accuracy, slope

    def _prune(self) -> None:
        """Keep zeros; choose those of the spatial domain once the recipe's moment has come."""
        for name, pattern in self.patterns.items():
            pattern.project(self.arrays[name])
        joint = self.recipe.joint
        if joint is None or self.regularizer is None or joint.prune_from is None:
            return
        if self.mask is None and self.done >= joint.prune_from * self.total:
            theta, _ = self.regularizer.thresholds(self.arrays, joint.spatial, 0.0)
            self.mask = self.xp.ones_like(self.values)
            for name in self.regularizer.spatial:
                span = self.spans[f"{name}.weight"]
                self.mask[span] = self.xp.abs(self.values[span]) > theta
        if self.mask is not None:
            self.values *= self.mask

    def _regularize(self) -> tuple[Penalty | None, Penalty | None]:
        """Add the regularizer's gradients and move z."""
        joint, regularizer = self.recipe.joint, self.regularizer
        if joint is None or regularizer is None:
            return None, None
        targets = self.sparsity_targets()
        if self.done == 0 and joint.z_start == "balanced":
            nothing = {name: self.xp.zeros_like(gradient) for name, gradient in self.gradients.items()}
            for i, measure in enumerate((regularizer.spatial_penalty, regularizer.winograd_penalty)):
                self.z[i] = np.log(joint.alpha / max(measure(self.arrays, targets[i], nothing, 0.0).value, 1e-12))
        spatial = winograd = None
        if joint.mode != "wd" and self.mask is None:
            spatial = regularizer.spatial_penalty(self.arrays, targets[0], self.gradients, float(self.z[0]))
        if joint.mode != "sd":
            winograd = regularizer.winograd_penalty(self.arrays, targets[1], self.gradients, float(self.z[1]))
        slopes = [
            np.exp(z) * penalty.value - joint.alpha if penalty is not None else 0.0
            for z, penalty in zip(self.z.tolist(), (spatial, winograd), strict=True)
        ]
        self.z_optimizer.step(self.z, np.array(slopes, np.float32), joint.z_rate)
        return spatial, winograd

    def replace(self, arrays: Mapping[str, Array]) -> None:
        """Go on from other weights, by name."""
        for name, array in arrays.items():
            self.arrays[name][...] = self.xp.asarray(array)
        if self.average is not None:
            self.average[...] = self.values

    def model(self) -> dict[str, Array]:
        """The network's arrays as they would be used: the moving average of the weights, if the recipe keeps one."""
        flat = self.values if self.average is None else self.average
        host = self._to_host
        trained = {name: host(flat[span]).reshape(self.graph.parameters[name]) for name, span in self.spans.items()}
        return {name: trained[name] if name in trained else host(self.arrays[name]) for name in self.graph.parameters}

    def reestimated(self, batches: int) -> dict[str, Array]:
        """``model`` with batch-norm statistics averaged over so many batches of augmented training images."""
        model = {name: self.xp.asarray(array) for name, array in self.model().items()}
        options = {"workers": self.recipe.threads, "block": self.recipe.block, "xp": self.xp}
        compiled = CompiledNetwork(self.graph, model, self.recipe.batch, training=True, **options)
        totals = {name: np.zeros(array.shape) for name, array in model.items() if name.rpartition(".")[2] in STATISTICS}
        done = self.done
        for norm in compiled.batch_norms():
            norm.momentum = 1.0
        for i in range(batches):
            self.done = i % self.total
            compiled.forward(self.batch()[0])
            for name, total in totals.items():
                total += self._to_host(model[name])
        self.done = done
        compiled.close()
        means = {name: (total / max(batches, 1)).astype(np.float32) for name, total in totals.items()}
        return {name: means.get(name, self._to_host(array)) for name, array in model.items()}

    def _to_host(self, array: Array) -> Array:
        get: Callable[[], Array] | None = getattr(array, "get", None)  # CuPy's way back to the host
        return get() if get is not None else array.copy()

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays, notes): all that ``restore`` needs."""
        arrays = {"values": self._to_host(self.values), "z": self.z.copy()}
        if self.average is not None:
            arrays["average"] = self._to_host(self.average)
        if self.mask is not None:
            arrays["kept"] = self._to_host(self.mask)
        for name, array in self.optimizer.state.items():
            arrays[f"optimizer.{name}"] = self._to_host(array)
        for name, array in self.z_optimizer.state.items():
            arrays[f"z_optimizer.{name}"] = array.copy()
        for name, array in self.arrays.items():
            if name not in self.spans:
                arrays[f"statistics.{name}"] = self._to_host(array)
        return arrays, {"step": self.done, "network": self.graph.name}

    def restore(self, arrays: dict[str, Array], notes: dict[str, Any]) -> None:
        """Go on from a ``state``.  Raises ValueError if it is another network's or another optimiser's."""
        if "kept" in arrays:
            self.mask = self.xp.asarray(arrays["kept"])
        expected, _ = self.state()
        if notes.get("network") != self.graph.name or arrays.keys() != expected.keys():
            raise ValueError(f"the state of network {notes.get('network')!r}, expected one of {self.graph.name!r}")
        for name, array in expected.items():
            if arrays[name].shape != array.shape:
                raise ValueError(f"array {name!r} has shape {arrays[name].shape}, expected {array.shape}")
        self.values[...] = self.xp.asarray(arrays["values"])
        self.z[...] = arrays["z"]
        if self.average is not None:
            self.average[...] = self.xp.asarray(arrays["average"])
        for name, array in self.optimizer.state.items():
            array[...] = self.xp.asarray(arrays[f"optimizer.{name}"])
        for name, array in self.z_optimizer.state.items():
            array[...] = arrays[f"z_optimizer.{name}"]
        for name, array in self.arrays.items():
            if name not in self.spans:
                array[...] = self.xp.asarray(arrays[f"statistics.{name}"])
        self.done = self.optimizer.steps = self.z_optimizer.steps = int(notes["step"])
