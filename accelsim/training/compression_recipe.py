"""What a compression recipe may say: the YAML files of ``accelsim compress --recipe``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from accelsim.faults import validated
from accelsim.settings import read_settings
from accelsim.training.recipe import Data

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=1000)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(_Section):
    """The dense network: what accuracy is compared with, and the teacher of fine-tuning."""

    network: str
    weights: str


class TuningSettings(_Section):
    """Fine-tuning after quantization (``codebook.Tuning``); its state is saved every ``checkpoint_steps``."""

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    batch: Annotated[int, Field(ge=1, le=4096)] = 128
    codebook_rate: Annotated[float, Field(ge=0, lt=1)] = 4e-3
    value_rate: Annotated[float, Field(ge=0, lt=1)] = 1e-3
    weight_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    alpha: Positive = 0.1
    statistics: Annotated[int, Field(ge=0, le=10_000)] = 50
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    checkpoint_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 100


class SearchSettings(_Section):
    """A cell for each layer: ``factors`` of the common one are tried on so many training images."""

    images: Annotated[int, Field(ge=1, le=10_000)] = 100
    factors: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=16)] = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)


class CompressionRecipe(_Section):
    """How to compress one checkpoint.

    network: of a bare weight file; a checkpoint of ``accelsim train`` and ONNX say it themselves.
    cell: D; by default theta_SD.  relative_cell: D of each array, as a multiple of the root mean square of its weights
    that are not zero; ``budget``: that which the checkpoint's budget gave each.  cells: D of single arrays; search:
    finds them (``ratedistortion``).
    spatial, winograd: sparsities to prune to; by default the checkpoint's.  hold: round weights that cancel in the
    Winograd domain together, so that the zeros there stay exact (``held``; not dithered, not tuned).  fit: on so many
    training images each weight rounded makes up for what those before it lost (``rounding``; not dithered, not tuned);
    bit_price: of a bit then, where the squared error of a whole cell costs 1 (about 0.1 suits a coder).
    correct: biases make up for what the mean output of each channel has lost on the calibration images (``correct``).
    tile: m of F(m, r), for the layers that the checkpoint has in the Winograd domain.  dither: its seed, for dithered
    quantization.  data: training images calibrate (the first ``calibration``) and fine-tune, test images measure;
    without it nothing is measured.  images: sample images beside the model.
    """

    network: str | None = None
    cell: Positive | None = None
    relative_cell: Positive | Literal["budget"] | None = None
    cells: dict[str, Positive] = {}
    search: SearchSettings | None = None
    spatial: Share | None = None
    winograd: Share | None = None
    hold: bool = False
    fit: Annotated[int, Field(ge=1, le=100_000)] | None = None
    bit_price: Annotated[float, Field(ge=0, le=10)] = 0.0
    correct: bool = False
    tile: Annotated[int, Field(ge=1, le=6)] = 2
    dither: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    value_bits: Annotated[int, Field(ge=2, le=24)] = 10
    data: Data | None = None
    calibration: Annotated[int, Field(ge=1, le=100_000)] = 300
    reference: Reference | None = None
    tune: TuningSettings | None = None
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    images: Text | None = None
    provenance: dict[str, Text] = {}

    @model_validator(mode="after")
    def _holds(self) -> "CompressionRecipe":
        if self.hold and (self.dither is not None or self.tune is not None):
            raise ValueError("hold: expected neither dither nor tune, which would move weights that cancel apart")
        if self.fit is not None and (self.dither is not None or self.tune is not None):
            raise ValueError("fit: expected neither dither nor tune, for it chooses the indices itself")
        if self.bit_price and self.fit is None:
            raise ValueError("bit_price: expected the key fit, which rounds at a price")
        for key in ("search", "fit", "correct", "tune"):
            if getattr(self, key) and self.data is None:
                raise ValueError(f"{key}: expected the key data to name its images")
        if self.tune is not None and self.data is not None and self.data.kind == "super_resolution":
            raise ValueError("tune: expected images with labels, not super_resolution")
        return self


def load_compression_recipe(path: Path) -> CompressionRecipe:
    """The recipe in a YAML file.  Raises InputError that names every fault."""
    return validated(path, CompressionRecipe, read_settings(path, "compression recipe"))
