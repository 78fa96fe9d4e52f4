"""The training loop: distillation, joint sparsity, checkpoints.

A resumed run continues bit for bit.

Every random choice is drawn from (seed, epoch, step), so a run that stops at any checkpoint and
resumes repeats exactly what an undisturbed run would have done (on the same kind of processor, with
any number of threads).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.arrays import Array, Ints
from accelsim.errors import NumericalError
from accelsim.network.graph import Network
from accelsim.sparsity.joint import JointRegularizer, Penalty
from accelsim.sparsity.moving import MovingZeros
from accelsim.sparsity.zero_patterns import ZeroPattern
from accelsim.training.augment import augment
from accelsim.training.compiled import CompiledNetwork, Execution, Learning, to_host
from accelsim.training.datasets import Source
from accelsim.training.losses import (
    Guide,
    blend,
    cross_entropy,
    distillation,
    mean_squared_error,
    relative_squared_error,
)
from accelsim.training.mover import Mover, project
from accelsim.training.optimizers import Adam, make_optimizer
from accelsim.training.recipe import Recipe
from accelsim.training.schedules import growing, learning_rate
from accelsim.training.statistics import averaged_statistics, is_statistic
from accelsim.training.superresolution import Patches
from accelsim.training.tail import Features


@dataclass(frozen=True)
class StepReport:
    """What one step measured."""

    step: int  # steps done, with this one
    loss: float
    accuracy: float  # percent, or in super-resolution PSNR in dB (of values up to 1)
    rate: float  # the learning rate
    spatial: Penalty | None
    winograd: Penalty | None
    z_sd: float
    z_wd: float


class Trainer:
    """The state of one run.

    ``step()`` makes one step; ``state()`` and ``restore()`` are what a checkpoint holds.

    network: what to train, with its first weights (copied).  teacher: the network to distil from
    (what features of images do not need: they hold what it says).  patterns: zeros that stay, by
    array name.  moving: zeros that do not yet.  xp: the array module.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: Network,
        images: Source | Patches | Features,
        teacher: Network | None = None,
        patterns: Mapping[str, ZeroPattern] | None = None,
        moving: MovingZeros | None = None,
        xp: Any = np,
    ):
        self.recipe = recipe
        self.graph = network.graph
        self.images = images
        self.xp = xp
        self.patterns = dict(patterns or {})
        self._copy_weights(network.arrays)
        self._execution = Execution(workers=recipe.threads, block=recipe.block, xp=xp)
        self._compile(teacher)
        settings = recipe.optimizer
        self.optimizer = make_optimizer(settings.kind, self.values.size, settings.weight_decay, settings.momentum, xp)
        self.mask: Array | None = None  # 1 for each weight, 0 for those pruned for good
        self.regularizer: JointRegularizer | None = None
        self.z = np.zeros(2, np.float32)  # z_SD, z_WD
        self.z_optimizer = Adam(2)
        if recipe.joint is not None and not recipe.joint.hold and moving is None:
            self.regularizer = JointRegularizer(self.graph, recipe.joint.tiles, recipe.joint.exclude, xp)
            if recipe.joint.z_start != "balanced":
                self.z[:] = recipe.joint.z_start
        self.done = 0
        self.steps_per_epoch = len(images) // recipe.batch
        self.total = self.steps_per_epoch * recipe.epochs
        self.end = min(self.total, self.steps_per_epoch * (recipe.stop_after or recipe.epochs))
        self.mover = Mover(moving, recipe.joint, self.total) if moving and recipe.joint else None
        self._order: tuple[int, Ints] = (-1, np.empty(0, np.int64))  # of the images in an epoch

    def _copy_weights(self, first: Mapping[str, Array]) -> None:
        """Lay what is trained out as one vector; arrays and gradients by name are views of it."""
        shapes = self.graph.parameters
        trained = [name for name in shapes if not is_statistic(name)]
        sizes = [int(np.prod(shapes[name])) for name in trained]
        ends = np.cumsum(sizes).tolist()
        self.spans = {name: slice(end - size, end) for name, size, end in zip(trained, sizes, ends, strict=True)}
        self.values: Array = self.xp.empty(ends[-1], np.float32)
        self.gradient: Array = self.xp.zeros(ends[-1], np.float32)
        self.arrays = self._by_name(self.values)
        self.gradients = self._by_name(self.gradient)
        for name in shapes:
            if name in self.spans:
                self.arrays[name][...] = self.xp.asarray(first[name])
            else:
                self.arrays[name] = self.xp.array(first[name], np.float32)
        self.average: Array | None = None if self.recipe.ema is None else self.values.copy()

    def _compile(self, teacher: Network | None) -> None:
        """Compile the network, and the one to distil from."""
        recipe = self.recipe
        self.hint = None if recipe.teacher is None else recipe.teacher.hint
        self.compiled = CompiledNetwork(
            self.graph,
            self.arrays,
            recipe.batch,
            learning=Learning(gradients=self.gradients, training=True, hint=self.hint),
            execution=self._execution,
        )
        self.teacher: CompiledNetwork | None = None
        if teacher is not None:
            fixed = {name: self.xp.asarray(array) for name, array in teacher.arrays.items()}
            self.teacher = CompiledNetwork(
                teacher.graph, fixed, recipe.batch, learning=Learning(hint=self.hint), execution=self._execution
            )

    def sparsity_targets(self) -> tuple[float, float]:
        """(s_SD, s_WD) of the coming step."""
        joint = self.recipe.joint
        if joint is None:
            return 0.0, 0.0
        if self.mover is not None:
            return self.mover.targets(self.done)
        share = growing(self.done / self.total, joint.grow_from, 1.0, joint.grow_until)
        return share * joint.spatial, share * joint.winograd

    def batch(self, step: int) -> tuple[Array, Any, Guide | None]:
        """The images (preprocessed, (N, H, W, C) float32) and labels, or true images, of a step.

        With features of images, also what the teacher says of them.
        """
        recipe = self.recipe
        epoch, i = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            order = np.random.default_rng([recipe.seed, epoch]).permutation(len(self.images))
            self._order = (epoch, order)
        index = self._order[1][i * recipe.batch : (i + 1) * recipe.batch]
        rng = np.random.default_rng([recipe.seed, epoch, i])
        preprocess = self.graph.preprocessing.apply
        if isinstance(self.images, Patches):
            low, high = self.images.pairs(index, rng)
            return preprocess(low), self.xp.asarray(preprocess(high)), None
        if isinstance(self.images, Features):
            x, labels, guide = self.images.take(index, rng)
            if guide is not None:
                hint = None if guide.hint is None else self.xp.asarray(guide.hint)
                guide = Guide(self.xp.asarray(guide.output), hint)
            return x, self.xp.asarray(labels), guide
        data = recipe.data
        pixels = self.images.take(index, rng)
        pixels = augment(pixels, rng, crop=data.crop, flip=data.flip, cutout=data.cutout)
        return preprocess(pixels), self.xp.asarray(self.images.labels[index]), None

    def step(self) -> StepReport:
        """Train on one batch: forward, backward, and the optimiser's step.

        Raises NumericalError, naming the step and the layer, if the loss is not finite.
        """
        recipe = self.recipe
        self._prune()
        taken = self._move_zeros()
        x, target, guide = self.batch(self.done)
        y = self.compiled.forward(x)
        if guide is None and self.teacher is not None:
            output = self.teacher.forward(x)
            guide = Guide(output, None if self.hint is None else self.teacher.hinted())
        loss, accuracy, slope = self._loss(y, target, guide)
        d_hint = None
        if guide is not None and guide.hint is not None and recipe.teacher is not None:
            apart, d_hint = relative_squared_error(self.compiled.hinted(), guide.hint)
            loss += recipe.teacher.hint_weight * apart
            d_hint *= np.float32(recipe.teacher.hint_weight)
        self._check_finite(loss)
        self.compiled.backward(slope, d_hint)
        spatial, winograd = self._regularize()
        rate = self._rate()
        if taken is not None:
            self.values += taken
        self.optimizer.step(self.values, self.gradient, rate)
        self.done += 1
        self._prune()
        self._move_average()
        return StepReport(
            step=self.done,
            loss=loss,
            accuracy=accuracy,
            rate=rate,
            spatial=spatial,
            winograd=winograd,
            z_sd=float(self.z[0]),
            z_wd=float(self.z[1]),
        )

    def _check_finite(self, loss: float) -> None:
        """Raise NumericalError, naming the step and the layer, if the loss is not finite."""
        if np.isfinite(loss):
            return
        try:
            self.compiled.check_finite()
        except NumericalError as error:
            raise NumericalError(f"step {self.done}: the loss is {loss}; {error}") from None
        raise NumericalError(f"step {self.done}: the loss is {loss}, every layer's output is finite")

    def check_weights(self) -> None:
        """Raise NumericalError, naming the step and the array, if what has been learned is not finite."""
        for name, array in self.arrays.items():
            if not bool(self.xp.isfinite(array).all()):
                raise NumericalError(f"step {self.done}: array {name!r} is not finite")

    def _rate(self) -> float:
        """The learning rate of the step under way; steps in the rate come after their milestone."""
        settings = self.recipe.optimizer
        step = self.done if settings.schedule == "step" else self.done + 1
        return learning_rate(step / self.total, settings)

    def _move_average(self) -> None:
        """Let the average of the weights, if there is one, follow them."""
        if self.average is None or self.recipe.ema is None:
            return
        # Short memory while there is little to average.
        decay = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        self.average += np.float32(1 - decay) * (self.values - self.average)
        if self.mask is not None:
            self.average *= self.mask

    def _loss(self, y: Array, target: Any, guide: Guide | None) -> tuple[float, float, Array]:
        """(loss, accuracy, the loss's gradient with respect to the output y).

        But for the hint's part.
        """
        recipe = self.recipe
        teacher = self.recipe.teacher
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
        project(self.arrays, self.patterns)
        if self.mover is not None and self.mover.stay(self.done):
            project(self.arrays, self.mover.zeros.patterns)
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

    def _move_zeros(self) -> Array | None:
        """Put zeros that move into the weights; what is to be given back to these before their step.

        None once the zeros stay, or where none move.
        """
        if self.mover is None or self.mover.stay(self.done):
            return None
        self.mover.choose(self.done, self.arrays, self._by_name(self.optimizer.state["second"]))
        return self.mover.apply(self.values, self.arrays)

    def _by_name(self, flat: Array) -> dict[str, Array]:
        """Views of what is trained, or of what is kept of it: (P,)."""
        return {name: flat[span].reshape(self.graph.parameters[name]) for name, span in self.spans.items()}

    def _regularize(self) -> tuple[Penalty | None, Penalty | None]:
        """Add the regularizer's gradients and move z."""
        joint = self.recipe.joint
        regularizer = self.regularizer
        if joint is None or regularizer is None:
            return None, None
        targets = self.sparsity_targets()
        if self.done == 0 and joint.z_start == "balanced":
            unused = {name: self.xp.zeros_like(gradient) for name, gradient in self.gradients.items()}
            for i, measure in enumerate((regularizer.spatial_penalty, regularizer.winograd_penalty)):
                R = measure(self.arrays, targets[i], unused, 0.0).value
                self.z[i] = np.log(joint.alpha / max(R, 1e-12))
        spatial: Penalty | None = None
        winograd: Penalty | None = None
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
        """The network's arrays as they would be used.

        The moving average of the weights, if the recipe keeps one.
        """
        trained = self._by_name(self.values if self.average is None else self.average)
        arrays = {name: to_host(trained.get(name, self.arrays[name])) for name in self.graph.parameters}
        if self.mover is not None:
            project(arrays, self.mover.zeros.patterns)
        return arrays

    def reestimated(self, batches: int) -> dict[str, Array]:
        """The model with batch-norm statistics averaged over so many augmented batches."""
        model = {name: self.xp.asarray(array) for name, array in self.model().items()}
        compiled = CompiledNetwork(
            self.graph, model, self.recipe.batch, learning=Learning(training=True), execution=self._execution
        )
        steps = self.total or self.steps_per_epoch  # without an epoch, the images of the first one
        images = (self.batch(step)[0] for step in range(min(batches, steps)))
        means = averaged_statistics(compiled, model, images)
        compiled.close()
        return {name: means.get(name, to_host(array)) for name, array in model.items()}

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays, notes): all that ``restore`` needs."""
        arrays = {"values": to_host(self.values), "z": self.z.copy()}
        if self.average is not None:
            arrays["average"] = to_host(self.average)
        if self.mask is not None:
            arrays["kept"] = to_host(self.mask)
        if self.mover is not None:
            arrays |= self.mover.zeros.state()
        for name, array in self.optimizer.state.items():
            arrays[f"optimizer.{name}"] = to_host(array)
        for name, array in self.z_optimizer.state.items():
            arrays[f"z_optimizer.{name}"] = array.copy()
        for name, array in self.arrays.items():
            if name not in self.spans:
                arrays[f"statistics.{name}"] = to_host(array)
        return arrays, {"step": self.done, "network": self.graph.name}

    def restore(self, arrays: dict[str, Array], notes: dict[str, Any]) -> None:
        """Go on from a ``state``.

        Raises ValueError if it is another network's or another optimiser's.
        """
        if "kept" in arrays:
            self.mask = self.xp.asarray(arrays["kept"])
        if self.mover is not None:
            self.mover.zeros.restore(arrays)
        expected, _ = self.state()
        if notes.get("network") != self.graph.name or arrays.keys() != expected.keys():
            found = f"the state of network {notes.get('network')!r}"
            raise ValueError(f"{found}, expected one of {self.graph.name!r}")
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
