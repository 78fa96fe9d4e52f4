"""What a training recipe says about zeros: how many, in which domain, and how they come about."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.settings import Count, NonNegative, Positive, Section, Seed, Share


class Joint(Section):
    """Zeros in both domains at once (``accelsim.sparsity.joint``),
    pulled for by a regularizer or there from the start.

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

    alpha: Positive = 0.1
    """What exp(z) R tends to."""

    z_rate: NonNegative = 1e-4
    """Adam's learning rate for z."""

    z_start: float | Literal["balanced"] = 10.0
    """The first z; "balanced" is log(alpha / R) of the first step."""

    prune_from: Share | None = None
    """From this share of the training on, the weights that are then up to theta_SD are
    zero for good (what the compression does anyway), and only R_WD goes on."""

    hold: bool = False
    """Instead of regularizing, make the zeros that the first weights have in either
    domain exact and let them stay (``accelsim.sparsity.initial_zeros``)."""

    tiles: dict[str, Annotated[int, Field(ge=0, le=6)]] = Field(default_factory=lambda: {"default": 2})
    """m of F(m, r) by layer name, ``default`` for the others; 0: not by Winograd."""

    exclude: tuple[str, ...] = ()
    """Layers left alone in both domains."""

    @model_validator(mode="after")
    def _has_default(self) -> "Joint":
        if "default" not in self.tiles:
            raise ValueError("tiles: expected a 'default' tile size")
        return self


class Reconstruction(Section):
    """Zeros made layer by layer before the first epoch,
    as many as ``joint`` says (``reconstruction``).
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
