"""A training recipe: one YAML file that says all that a run needs,
so that the same file gives the same bytes.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.faults import validated
from accelsim.files import TRAINING_RECIPE
from accelsim.settings import (
    BelowOne,
    Count,
    Positive,
    Section,
    Seed,
    Share,
    Threads,
    read_settings,
    refuse_unused,
)
from accelsim.sparsity.recipe import NO_BUDGET, Joint, Reconstruction
from accelsim.training.networks import beside_in, is_file, machine_beside


class Data(Section):
    """What to train on, and how the images are changed on the way."""

    kind: Literal["cifar10", "folder", "npz", "archives", "super_resolution"]
    """How the images lie on disk.

    cifar10: the lossless mosaics ``{train,test}_NN.webp``.  folder: ImageNet's layout,
    ``train/CLASS/IMAGE`` and ``val/CLASS/IMAGE``, random parts of them in training.  npz: arrays
    train_images, train_labels, test_images and test_labels.  archives: zip files listed in
    ``labels.csv``, whose ``calibration`` rows are trained on.
    super_resolution: ``train91.zip``, ``set5.zip`` and ``set14.zip``
    (``accelsim.training.superresolution``), whose luminance is trained on by its mean squared
    error.
    """

    path: str
    """Where; a relative path starts at the folder named by ACCELSIM_DATA,
    ``./`` at the working directory.
    """

    scale: Annotated[int, Field(ge=2, le=8)] = 3
    """Super-resolution: images are reduced by it and enlarged again."""

    patch: Annotated[int, Field(ge=8, le=512)] = 48
    """Super-resolution: the side of a training patch in pixels; each comes in 8 orientations."""

    crop: Annotated[int, Field(ge=0, le=64)] = 0
    """Training images are moved by up to so many pixels each way."""

    flip: bool = False
    """Half of the training images are mirrored."""

    cutout: Annotated[int, Field(ge=0, le=224)] = 0
    """The side in pixels of a square of each training image that is covered."""

    limit: Count | None = None
    """Use only the first so many images (patches) of each split."""

    test_limit: Count | None = None
    """Use only the first so many images of the test split."""

    @model_validator(mode="after")
    def _all_is_used(self) -> "Data":
        if self.kind == "super_resolution":
            refuse_unused(self, ("crop", "flip", "cutout", "test_limit"), "with kind super_resolution")
        else:
            refuse_unused(self, ("scale", "patch"), f"with kind {self.kind}")
        return self


class OptimizerSettings(Section):
    """The optimiser of the weights,
    and its learning rate over the training (``accelsim.training.schedules``).
    """

    kind: Literal["sgd", "adam"] = "adam"
    """SGD with Nesterov's momentum, or Adam."""

    rate: Positive = 1e-3
    """The largest learning rate."""

    momentum: BelowOne = 0.9
    """Momentum of SGD; Adam's first beta."""

    weight_decay: Share = 0.0
    """This share of the weights is added to their gradient."""

    schedule: Literal["constant", "step", "cosine", "one_cycle"] = "cosine"
    """How the learning rate moves."""

    warmup: BelowOne = 0.0
    """The share of the training over which the rate climbs."""

    milestones: tuple[Share, ...] = (0.5, 0.75)
    """Shares of the training at which ``step`` multiplies the rate."""

    gamma: Positive = 0.1
    """What ``step`` multiplies the rate by."""

    final: Share = 0.0
    """The rate that ``cosine`` and ``one_cycle`` end at, as a share of the largest."""

    @model_validator(mode="after")
    def _all_is_used(self) -> "OptimizerSettings":
        unused = {"constant": ("milestones", "gamma", "final"), "step": ("final",)}
        refuse_unused(self, unused.get(self.schedule, ("milestones", "gamma")), f"with schedule {self.schedule}")
        return self


class Teacher(Section):
    """Distillation: loss = (1 - share) cross-entropy + share T^2 KL(teacher || student).

    For super-resolution: (1 - share) |y - truth|^2 + share |y - teacher|^2, means over the pixels.
    """

    network: str
    """The network to follow, as in ``Recipe``."""

    weights: str | None = None
    """The weights of that network, a path as in ``Data``; by default those of its own file."""

    temperature: Annotated[float, Field(ge=0.01, le=1000)] = 4.0
    """T, 0.01 to 1,000, which outputs are divided by before the softmax."""

    share: Share = 0.7
    """How much the teacher counts beside the labels."""

    hint: str | None = None
    """A node, in both networks of one shape, whose output follows the teacher's: the loss has, too,
    hint_weight |student's - teacher's|^2 / |teacher's|^2 (Romero et al. 2015)."""

    hint_weight: Annotated[float, Field(gt=0, le=1e9)] = 20.0
    """How much the hint counts in the loss."""

    @model_validator(mode="after")
    def _all_is_used(self) -> "Teacher":
        if self.hint is None:
            refuse_unused(self, ("hint_weight",), "without hint")
        return self


class Recipe(Section):
    """The recipe of one training run."""

    network: str
    """The network to train: a name of the zoo, or an .onnx or .dual file.  Its path starts at the recipe's folder."""

    start: str | None = None
    """The first weights: a .safetensors or .npz file, a path as in ``Data``.

    Without it they are those of the network's own file, or random.  ``identity``: random, but the
    network's first channel carries its input to the output as it is, to which all else adds nothing
    yet (super-resolution then starts as bicubic enlargement).
    """

    data: Data
    """The images."""

    epochs: Annotated[int, Field(ge=0, le=10_000_000)]
    """The length of all schedules; 0 leaves it at ``reconstruction``."""

    stop_after: Count | None = None
    """End after so many of the epochs."""

    batch: Count = 128
    """Images a step."""

    seed: Seed = 0
    """Seed of the first weights, of the order of the images and of their changes."""

    smoothing: BelowOne = 0.0
    """The share of a label that is spread over all classes."""

    optimizer: OptimizerSettings = OptimizerSettings()
    """How the weights move."""

    teacher: Teacher | None = None
    """The network to distil from."""

    joint: Joint | None = None
    """Zeros to aim at; without it the network stays dense."""

    reconstruction: Reconstruction | None = None
    """How the zeros come about before the first epoch."""

    train_from: str | None = None
    """A node; only it and what comes after it are trained, on what the layers before make of the
    images as they are and, with ``data.flip``, mirrored (``accelsim.training.tail``)."""

    head: str | None = None
    """A ``.dual`` file, its path as in ``Data``: the layers before ``train_from`` have its weights, so that what is
    trained makes up for their rounding."""

    ema: BelowOne | None = None
    """Decay of the weights' moving average, which then is the checkpoint."""

    reestimate: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Batches over which the checkpoint's batch-norm statistics are measured anew; no more than the
    training has, since they would only come again."""

    checkpoint_steps: Count | None = None
    """Steps between the states that a killed run resumes from,
    beside that of every epoch's end, when the model is measured and written, too."""

    log_steps: Count = 20
    """Steps between the rows of the log."""

    interim_images: Count = 2000
    """Test images measured at the end of every epoch but the last, after which all are."""

    threads: Threads = 2
    """Threads of the training; results do not depend on them."""

    block: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Images that pass through the layers together,
    a matter of speed; by default as many as suit the layers.
    """

    @model_validator(mode="after")
    def _has_targets(self) -> "Recipe":
        if self.reconstruction is not None and self.joint is None:
            raise ValueError("reconstruction: expected the key joint to say how sparse")
        budget = None if self.reconstruction is None else self.reconstruction.budget
        if budget is not None and budget.machine is None and max(budget.ratio, budget.cost_reduction) <= NO_BUDGET:
            raise ValueError("reconstruction.budget: expected a ratio, a cost_reduction or a machine's budget")
        starts = self.start is not None or is_file(self.network)
        if self.joint is not None and self.joint.hold and (self.reconstruction is not None or not starts):
            raise ValueError(
                "joint.hold: expected first weights that are sparse (key start or a file as network, no reconstruction)"
            )
        moves = self.joint is not None and self.joint.moving is not None
        if moves and (self.reconstruction is not None or self.optimizer.kind != "adam"):
            raise ValueError("joint.moving: expected optimizer.kind adam and no reconstruction")
        if self.train_from is not None and (self.data.kind == "super_resolution" or self.reconstruction is not None):
            raise ValueError("train_from: expected images with labels and no reconstruction")
        if self.train_from is not None and (self.data.crop or self.data.cutout or self.reestimate):
            raise ValueError("train_from: expected no data.crop, data.cutout or reestimate")
        if self.data.kind == "super_resolution":
            refuse_unused(self, ("smoothing",), "with data.kind super_resolution")
        if self.stop_after is not None and self.stop_after > self.epochs:
            raise ValueError(f"stop_after: {self.stop_after}, expected at most the {self.epochs} of epochs")
        if self.head is not None and self.train_from is None:
            raise ValueError("head: expected the key train_from to say which layers it is for")
        return self


def load_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file.  Raises InputError that names every fault."""
    recipe = beside_in(validated(path, Recipe, read_settings(path, TRAINING_RECIPE)), path)
    if recipe.teacher is not None:
        recipe = recipe.model_copy(update={"teacher": beside_in(recipe.teacher, path)})
    settings = recipe.reconstruction
    if settings is None or settings.budget is None or settings.budget.machine is None:
        return recipe
    budget = settings.budget.model_copy(update={"machine": machine_beside(path, settings.budget.machine)})
    return recipe.model_copy(update={"reconstruction": settings.model_copy(update={"budget": budget})})
