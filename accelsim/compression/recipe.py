"""What a compression recipe may say: the YAML files of ``accelsim compress --recipe``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.faults import validated
from accelsim.files import COMPRESSION_RECIPE
from accelsim.settings import BelowOne, Positive, Section, Seed, Threads, read_settings, refuse_unused
from accelsim.training.networks import beside_in
from accelsim.training.recipe import Data

ImageCount = Annotated[int, Field(ge=1, le=100_000)]
Key = Annotated[str, Field(min_length=1, max_length=200)]
Steps = Annotated[int, Field(ge=1, le=1_000_000)]
Text = Annotated[str, Field(max_length=1000)]


class Reference(Section):
    """The dense network: what accuracy is compared with, and the teacher of fine-tuning."""

    network: str
    """The network: a name of the zoo, or an .onnx or .dual file, whose path starts at the recipe's folder."""

    weights: str | None = None
    """The weights of that network, a path as in ``Data``; by default those of its own file."""


class TuningSettings(Section):
    """Fine-tuning after quantization (``accelsim.compression.codebook``)."""

    steps: Steps = 300
    """Batches, over which Adam's rates fall to zero (cosine)."""

    batch: Annotated[int, Field(ge=1, le=4096)] = 128
    """Images a step."""

    codebook_rate: BelowOne = 4e-3
    """Adam's rate for what an index stands for, in cells."""

    value_rate: BelowOne = 1e-3
    """Adam's rate for batch-norm and biases."""

    weight_rate: BelowOne = 0.0
    """Adam's rate for the weights behind the indices; 0 keeps every index."""

    alpha: Positive = 0.1
    """Pull of the Winograd term."""

    statistics: Annotated[int, Field(ge=0, le=10_000)] = 50
    """Batches that batch-norm's statistics are averaged over at the end."""

    seed: Seed = 0
    """Seed of the images drawn and of their changes."""

    checkpoint_steps: Steps = 100
    """Steps between the states that an interrupted fine-tuning goes on from."""


class SearchSettings(Section):
    """A cell for each layer (``accelsim.compression.ratedistortion``)."""

    images: Annotated[int, Field(ge=1, le=10_000)] = 100
    """The first training images, on which cells are tried."""

    factors: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=16)] = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
    """Multiples of the common cell that are tried."""


def is_file_name(text: str) -> bool:
    """Whether a text names a file, and no folder on the way to it."""
    return text not in ("", ".", "..") and Path(text).name == text and "\0" not in text


class CompressionRecipe(Section):
    """How to compress one checkpoint."""

    network: str | None = None
    """The network of a bare weight file, as in ``reference``; other checkpoints say it themselves."""

    cell: Positive | None = None
    """D, the cell size; by default theta_SD."""

    relative_cell: Positive | Literal["budget"] | None = None
    """D of each array, as a multiple of the root mean square of its weights that are not zero;
    ``budget``: the multiple that the checkpoint's budget gave each."""

    coarser: Positive = 1.0
    """Factor on the cells that ``relative_cell`` gives: for a file of a certain size."""

    cells: dict[str, Positive] = Field(default_factory=dict)
    """D of single arrays, by name."""

    search: SearchSettings | None = None
    """Find D of each array by what it costs and saves."""

    spatial: BelowOne | None = None
    """Share of zeros in the spatial domain to prune to; by default the checkpoint's."""

    winograd: BelowOne | None = None
    """Share of zeros in the Winograd domain to prune to; by default the checkpoint's."""

    hold: bool = False
    """Round weights that cancel in the Winograd domain together, so that the zeros there stay exact
    (``accelsim.sparsity.whole_filters``; not dithered, not tuned)."""

    fit: ImageCount | None = None
    """On so many training images each weight rounded makes up for what those before it lost
    (``accelsim.compression.rounding``; not dithered, not tuned)."""

    rounded: str | None = None
    """A ``.dual`` file, its path as in ``Data``: ``fit`` leaves the layers that have its very weights as they are."""

    bit_price: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Price of a bit in ``fit``, where the squared error of a whole cell costs 1; about 0.1 suits a
    coder (``accelsim.sparsity.bitprice``)."""

    correct: bool = False
    """Biases make up for what the mean output of each channel has lost on the calibration images
    (``accelsim.compression.correct``)."""

    tile: Annotated[int, Field(ge=1, le=6)] = 2
    """m of F(m, r), for the layers that the checkpoint has in the Winograd domain."""

    dither: Seed | None = None
    """Seed of dithered quantization; without it quantization is uniform."""

    value_bits: Annotated[int, Field(ge=2, le=24)] = 10
    """Bits of each bias, scale and shift."""

    data: Data | None = None
    """Training images calibrate and fine-tune, test images measure; without it nothing is measured.
    """

    calibration: ImageCount = 300
    """The first training images, on which input densities are measured."""

    reference: Reference | None = None
    """The dense network."""

    tune: TuningSettings | None = None
    """Fine-tune after quantization."""

    workers: Threads = 2
    """Threads; results do not depend on them."""

    images: Text | None = None
    """Sample images beside the model, for its provenance."""

    provenance: dict[Key, Text] = Field(default_factory=dict)
    """Free text that the file carries, by key."""

    @model_validator(mode="after")
    def _holds(self) -> "CompressionRecipe":
        if self.hold and (self.dither is not None or self.tune is not None):
            raise ValueError("hold: expected neither dither nor tune, which would move weights that cancel apart")
        if self.fit is not None and (self.dither is not None or self.tune is not None):
            raise ValueError("fit: expected neither dither nor tune, for it chooses the indices itself")
        if self.bit_price and self.fit is None:
            raise ValueError("bit_price: expected the key fit, which rounds at a price")
        if self.rounded is not None and self.fit is None:
            raise ValueError("rounded: expected the key fit, which rounds the other layers")
        if self.cell is not None and self.relative_cell is not None:
            raise ValueError("cell: expected no relative_cell beside it, which takes its place")
        if self.images is not None and not is_file_name(self.images):
            raise ValueError(f"images: {self.images[:60]!r}, expected the name of a file beside the model")
        if self.images is not None and "images" in self.provenance:
            raise ValueError("provenance.images: is the key images, expected it there alone")
        if self.coarser != 1 and self.relative_cell is None:
            raise ValueError("coarser: expected the key relative_cell, whose cells it multiplies")
        if self.data is None:
            refuse_unused(self, ("calibration", "reference"), "without data")
        for key in ("search", "fit", "correct", "tune"):
            if getattr(self, key) and self.data is None:
                raise ValueError(f"{key}: expected the key data to name its images")
        if self.tune is not None and self.data is not None and self.data.kind == "super_resolution":
            raise ValueError("tune: expected images with labels, not super_resolution")
        return self


def load_compression_recipe(path: Path) -> CompressionRecipe:
    """The recipe in a YAML file.  Raises InputError that names every fault."""
    recipe = beside_in(validated(path, CompressionRecipe, read_settings(path, COMPRESSION_RECIPE)), path)
    if recipe.reference is None:
        return recipe
    return recipe.model_copy(update={"reference": beside_in(recipe.reference, path)})
