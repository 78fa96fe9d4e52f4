"""A training recipe: one YAML file that says all that a run needs, so that the same file gives the same bytes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from accelsim.faults import validated
from accelsim.settings import read_settings

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Section):
    """What to train on: ``kind`` and where, as a path (relative paths start at the folder named by ACCELSIM_DATA).

    cifar10: the lossless mosaics ``{train,test}_NN.webp``.  folder: ImageNet's layout, ``train/CLASS/IMAGE`` and
    ``val/CLASS/IMAGE``, random parts of them in training.  npz: arrays train_images, train_labels, test_images and
    test_labels.  archives: zip files listed in ``labels.csv``, whose ``calibration`` rows are trained on.
    super_resolution: ``train91.zip``, ``set5.zip`` and ``set14.zip``; luminance reduced by ``scale`` and enlarged again
    (``superresolution``), trained on in patches of ``patch`` pixels in 8 orientations by their mean squared error.
    crop, flip, cutout: as ``augment``.  limit: use only the first so many images (patches) of each split; test_limit:
    of the test split.
    """

    kind: Literal["cifar10", "folder", "npz", "archives", "super_resolution"]
    path: str
    scale: Annotated[int, Field(ge=2, le=8)] = 3
    patch: Annotated[int, Field(ge=8, le=512)] = 48
    crop: Annotated[int, Field(ge=0, le=64)] = 0
    flip: bool = False
    cutout: Annotated[int, Field(ge=0, le=224)] = 0
    limit: Count | None = None
    test_limit: Count | None = None


class OptimizerSettings(_Section):
    """The optimiser of the weights, and its learning rate over the training (see ``schedules``)."""

    kind: Literal["sgd", "adam"] = "adam"
    rate: Positive = 1e-3
    momentum: Share = 0.9
    weight_decay: NonNegative = 0.0
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = "cosine"
    warmup: Share = 0.0
    milestones: tuple[Share, ...] = (0.5, 0.75)
    gamma: Positive = 0.1
    final: Share = 0.0


class Teacher(_Section):
    """Distillation: loss = (1 - share) cross-entropy + share T^2 KL(teacher || student).

    For super-resolution: (1 - share) |y - truth|^2 + share |y - teacher|^2, means over the pixels.
    hint: a node, in both networks of one shape, whose output follows the teacher's: the loss has, too,
    hint_weight |student's - teacher's|^2 / |teacher's|^2 (Romero et al. 2015).
    """

    network: str
    weights: str
    temperature: Positive = 4.0
    share: Share = 0.7
    hint: str | None = None
    hint_weight: Positive = 20.0


class Joint(_Section):
    """The joint-sparsity regularizer (``accelsim.compression.joint``).

    mode: the domains that are regularized.  spatial, winograd: the sparsity targets s_SD and s_WD; both are also what
    the evaluation prunes to.  grow_from, grow_until: the targets start at this share of themselves and grow until this
    share of the training.  alpha: what exp(z) R tends to.  z_rate: Adam's rate for z.  z_start: its first value;
    "balanced" is log(alpha / R) of the first step.  prune_from: from this share of the training on, the weights that
    are then up to theta_SD are zero for good (what the compression does anyway), and only R_WD goes on.
    hold: no regularizer; the zeros that the first weights have in either domain are made exact and stay (``hold``);
    ``exact``: those of the Winograd domain are exact already, as a reconstruction to a budget leaves them.
    tiles: m of F(m, r) by layer name, ``default`` for the others; 0: not by Winograd.  exclude: layers left alone in
    both domains.
    """

    mode: Literal["sd", "wd", "joint"] = "joint"
    spatial: Share = 0.8
    winograd: Share = 0.8
    grow_from: Share = 1.0
    grow_until: Share = 0.0
    alpha: Positive = 0.1
    z_rate: NonNegative = 1e-4
    z_start: float | Literal["balanced"] = 10.0
    prune_from: Share | None = None
    hold: bool | Literal["exact"] = False
    tiles: dict[str, Annotated[int, Field(ge=0, le=6)]] = {"default": 2}
    exclude: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_default(self) -> "Joint":
        if "default" not in self.tiles:
            raise ValueError("tiles: expected a 'default' tile size")
        return self


class Budget(_Section):
    """What a reconstructed network may cost, in place of sparsities; how sparse each layer gets follows (``prices``).

    ratio: of the file, at least.  cost_reduction: dense MACs of the unmodified network over multiplies in the Winograd
    domain, at least.  images: calibration images, kept apart from those reconstructed from, that losses are measured
    on.  iterations, polish: as of ``Reconstruction``, to measure with.  zeros: shares measured, increasing.  cells: of
    quantization, relative to the root mean square of a layer's weights that are not zero.
    """

    ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    cost_reduction: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    images: Count = 48
    iterations: Annotated[int, Field(ge=1, le=1000)] = 15
    polish: Annotated[int, Field(ge=0, le=1000)] = 8
    zeros: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=2, max_length=20)] = (
        *(0.3, 0.55, 0.75, 0.87),
    )
    cells: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=20)] = (0.2, 0.3, 0.45, 0.65, 0.9, 1.2)

    @model_validator(mode="after")
    def _increases(self) -> "Budget":
        if list(self.zeros) != sorted(set(self.zeros)):
            raise ValueError(f"zeros: {list(self.zeros)}, expected increasing shares")
        return self


class Reconstruction(_Section):
    """Layer-wise reconstruction to the sparsities of ``joint`` before the first epoch (``reconstruction``).

    images: of the training split, the first so many.  positions: random ones of each image that a layer is fitted to.
    iterations, polish: of ADMM and of the conjugate gradients after it.  spatial_pull, winograd_pull: ADMM's penalties,
    where a weight's output has weight 1.  damping: pull towards the dense weights.  budget: decides on each layer's
    sparsity instead of ``joint``.
    """

    images: Count = 512
    positions: Count = 100
    iterations: Annotated[int, Field(ge=1, le=1000)] = 30
    polish: Annotated[int, Field(ge=0, le=1000)] = 15
    spatial_pull: Positive = 1.0
    winograd_pull: Positive = 1.0
    damping: Positive = 0.03
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    budget: Budget | None = None


class Recipe(_Section):
    """One training run.

    start: a .safetensors or .npz file of first weights (a path as in ``Data``; ``./`` begins at the working directory);
    without it they are random, or ``identity``: random, but the network's first channel carries its input to the
    output as it is, to which all else adds nothing yet (super-resolution then starts as bicubic enlargement).
    epochs: the length of all schedules.  stop_after: end after so many of them.  smoothing: of the labels.
    reconstruction: before the first epoch; ``epochs: 0`` leaves it at that.
    train_from: a node; only it and what comes after it are trained, on what the layers before make of the images as
    they are and, with ``data.flip``, mirrored (``tail``).
    ema: decay of the weights' moving average, which then is the checkpoint.  reestimate: batches over which the
    checkpoint's batch-norm statistics are measured anew.  checkpoint_steps: steps between the states that a
    killed run resumes from, beside that of every epoch's end, when the model is measured and written, too.
    block: images that pass through the layers together, a matter of speed (``Plan`` has a default).  threads: as many
    as you like, the results are the same.  interim_images: of the test split, measured at the end of every epoch but
    the last, after which all are.
    """

    network: str
    start: str | None = None
    data: Data
    epochs: Annotated[int, Field(ge=0, le=10_000_000)]
    stop_after: Count | None = None
    batch: Count = 128
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    optimizer: OptimizerSettings = OptimizerSettings()
    teacher: Teacher | None = None
    joint: Joint | None = None
    reconstruction: Reconstruction | None = None
    train_from: str | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None
    reestimate: Annotated[int, Field(ge=0, le=100_000)] = 0
    checkpoint_steps: Count | None = None
    log_steps: Count = 20
    interim_images: Count = 2000
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    block: Annotated[int, Field(ge=1, le=1024)] | None = None

    @model_validator(mode="after")
    def _has_targets(self) -> "Recipe":
        if self.reconstruction is not None and self.joint is None:
            raise ValueError("reconstruction: expected the key joint to say how sparse")
        if self.joint is not None and self.joint.hold and (self.reconstruction is not None or self.start is None):
            raise ValueError("joint.hold: expected first weights that are sparse (key start, no reconstruction)")
        if self.train_from is not None and (self.data.kind == "super_resolution" or self.reconstruction is not None):
            raise ValueError("train_from: expected images with labels and no reconstruction")
        if self.train_from is not None and (self.data.crop or self.data.cutout or self.reestimate):
            raise ValueError("train_from: expected no data.crop, data.cutout or reestimate")
        return self


def load_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file.  Raises InputError that names every fault."""
    return validated(path, Recipe, read_settings(path, "training recipe"))
