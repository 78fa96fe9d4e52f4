"""What a training recipe says about zeros: how many, in which domain, and how they come about."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.settings import Count, Positive, Section, Seed, Share, refuse_unused

NO_BUDGET = 1.000001  # a ratio or a cost reduction that nobody asked for: it limits nothing
BelowOne = Annotated[float, Field(ge=0, lt=1)]


class Moving(Section):
    """Zeros that are exact in both domains at every step, their places chosen anew (``accelsim.sparsity.moving``)."""

    every: Count = 50
    """Steps from one choice of places to the next."""

    pull: Share = 0.02
    """The share of what a zero takes from its weight that is gone for good, each step: 0 lets such
    weights gather all their gradients, 1 none."""

    like: str | None = None
    """Weights, a path as in ``Data``: every layer gets as many zeros as it has there, in either domain,
    such as a reconstruction to a budget gave it, and the cells of that.
    By default ``spatial`` and ``winograd`` are shared out by LAMP scores of the first weights."""


class Joint(Section):
    """Zeros in both domains at once (``accelsim.sparsity.joint``).

    A regularizer pulls for them, they are there from the start, or they move.

    C = E + exp(z_SD) R_SD + exp(z_WD) R_WD - alpha (z_SD + z_WD), with z learned.
    """

    mode: Literal["sd", "wd", "joint"] = "joint"
    """The domains that are made sparse: spatial, Winograd, or both."""

    spatial: Share = 0.8
    """s_SD: the share of zeros in the spatial domain to aim at,
    and to prune to when the network is measured.
    """

    winograd: Share = 0.8
    """s_WD: the share of zeros in the Winograd domain to aim at,
    and to prune to when the network is measured.
    """

    grow_from: Share = 1.0
    """The targets at the start of the training, as a share of themselves."""

    grow_until: Share = 0.0
    """The share of the training after which the targets have grown to themselves."""

    alpha: Annotated[float, Field(gt=0, le=1e6)] = 0.1
    """What exp(z) R tends to, up to 1e6."""

    z_rate: Annotated[float, Field(ge=0, le=100)] = 1e-4
    """Adam's learning rate for z, 0 to 100."""

    z_start: Annotated[float, Field(ge=-100, le=100)] | Literal["balanced"] = 10.0
    """The first z; "balanced" is log(alpha / R) of the first step."""

    prune_from: Share | None = None
    """From this share of the training on, the weights that are then up to theta_SD are
    zero for good (what the compression does anyway), and only R_WD goes on."""

    hold: bool | Literal["exact"] = False
    """Instead of regularizing, make the zeros that the first weights have in either
    domain exact and let them stay (``accelsim.sparsity.initial_zeros``); ``exact``: those of the
    Winograd domain are exact already, as a reconstruction to a budget leaves them."""

    moving: Moving | None = None
    """Instead of regularizing, put zeros where they cost least, ``grow_from`` of them at first and all
    at ``grow_until``, and move them until then; from there on they stay."""

    tiles: dict[str, Annotated[int, Field(ge=0, le=6)]] = Field(default_factory=lambda: {"default": 2})
    """m of F(m, r) by layer name, ``default`` for the others; 0: not by Winograd."""

    exclude: tuple[str, ...] = ()
    """Layers left alone in both domains."""

    @model_validator(mode="after")
    def _has_default(self) -> "Joint":
        if "default" not in self.tiles:
            raise ValueError("tiles: expected a 'default' tile size")
        return self

    @model_validator(mode="after")
    def _moves(self) -> "Joint":
        if self.moving is None:
            return self
        if self.hold:
            raise ValueError("moving: expected no hold, which lets zeros stay where they are")
        if not 0 < self.grow_until < 1:
            raise ValueError(
                f"grow_until: {self.grow_until:g}, expected a share between 0 and 1, until which zeros are moving"
            )
        refuse_unused(self, ("alpha", "z_rate", "z_start", "prune_from"), "with moving")
        if self.moving.like is not None:
            refuse_unused(self, ("spatial", "winograd"), "with moving.like")
        return self


class Budget(Section):
    """What a reconstructed network may cost.

    How sparse each layer gets follows (``accelsim.training.prices``).
    """

    ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)] = NO_BUDGET
    """Of the file, at least: bytes of all parameters in float32 over those of the file; by default as it comes."""

    cost_reduction: Annotated[float, Field(gt=1, allow_inf_nan=False)] = NO_BUDGET
    """Dense MACs of the unmodified network over multiplies in the Winograd domain, at least; by default as it comes."""

    machine: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """A machine, a bare name as ``accelsim machines`` lists them, or a file, whose path starts at the recipe's
    folder: with ``cycles``, ``latency`` or ``energy`` of an image on it in the place of ``cost_reduction``."""

    cycles: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """The cycles that an image may take on the machine."""

    latency: Annotated[str, Field(max_length=100)] | None = None
    """The time that an image may take on the machine, such as ``5ms``."""

    energy: Annotated[str, Field(max_length=100)] | None = None
    """The energy that an image may take on the machine, such as ``200uJ``."""

    images: Count = 48
    """Training images, apart from those that layers are fitted to, on which losses are measured."""

    iterations: Annotated[int, Field(ge=1, le=1000)] = 15
    """Iterations of ADMM, to measure with."""

    polish: Annotated[int, Field(ge=0, le=1000)] = 8
    """Steps of the conjugate gradients that follow, to measure with."""

    zeros: Annotated[tuple[BelowOne, ...], Field(min_length=2, max_length=20)] = (0.3, 0.55, 0.75, 0.87)
    """The shares of zeros that each layer is measured at, increasing."""

    cells: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=20)] = (0.2, 0.3, 0.45, 0.65, 0.9, 1.2, 1.6)
    """Cells of quantization to choose from,
    as multiples of the root mean square of a layer's weights that are not zero.
    """

    @model_validator(mode="after")
    def _increases(self) -> "Budget":
        if list(self.zeros) != sorted(set(self.zeros)):
            raise ValueError(f"zeros: {list(self.zeros)}, expected increasing shares")
        return self

    @model_validator(mode="after")
    def _asks_a_machine_for_one_thing(self) -> "Budget":
        wanted = [key for key in ("cycles", "latency", "energy") if getattr(self, key) is not None]
        if self.machine is None and wanted:
            raise ValueError(f"{wanted[0]}: expected the key machine, which an image takes it on")
        if self.machine is not None and len(wanted) != 1:
            raise ValueError("machine: expected one of cycles, latency and energy beside it, such as latency: 5ms")
        if self.machine is not None and self.cost_reduction > NO_BUDGET:
            raise ValueError(f"{wanted[0]}: expected no cost_reduction, whose place it takes")
        return self


class Reconstruction(Section):
    """Zeros made layer by layer before the first epoch (``reconstruction``).

    As many as ``joint`` says, or ``budget``.
    """

    images: Count = 512
    """Training images that layers are fitted to, drawn at random."""

    positions: Count = 100
    """Random positions of each image that a layer is fitted to."""

    iterations: Annotated[int, Field(ge=1, le=1000)] = 30
    """Iterations of ADMM."""

    polish: Annotated[int, Field(ge=0, le=1000)] = 15
    """Steps of the conjugate gradients that follow."""

    spatial_pull: Positive = 1.0
    """ADMM's penalty on what differs from the copy with zeros in the spatial domain,
    where a weight's output has weight 1."""

    winograd_pull: Positive = 1.0
    """ADMM's penalty on what differs from the copy with zeros in the Winograd domain."""

    damping: Positive = 0.03
    """Pull towards the dense weights."""

    seed: Seed = 0
    """Seed of the choice of images and positions."""

    budget: Budget | None = None
    """Decides how many zeros each layer gets instead of ``joint``;
    they are then exact in both domains.
    """
