"""What every kind of layer has: a frozen, validated record with a shape rule, and what shape rules share.

Shapes are without the batch: (H, W, C) for images, (F,) for vectors, and any other number of sizes
for what networks reshape in between.
"""

from typing import Annotated

from pydantic import Field

from accelsim.settings import Section

Shape = tuple[int, ...]
Size = Annotated[int, Field(ge=1, le=1 << 20)]
Padding = Annotated[int, Field(ge=0, le=1 << 16)]


class LayerRecord(Section):
    """One layer's settings.  Frozen; unknown keys are refused, and so is what only looks like a number."""

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        """Shape of the output.  Raises ValueError if the inputs do not fit."""
        return only(inputs)

    def parameters(self) -> dict[str, Shape]:
        """Name and shape of each stored array."""
        return {}


def only(inputs: tuple[Shape, ...]) -> Shape:
    """The one input's shape.  Raises ValueError if there are more or none."""
    if len(inputs) != 1:
        raise ValueError(f"expected one input, got {len(inputs)}")
    return inputs[0]


def image(shape: Shape) -> tuple[int, int, int]:
    """(H, W, C).  Raises ValueError if it is none."""
    if len(shape) != 3:
        raise ValueError(f"expected an image (H, W, C), got {shape}")
    return shape[0], shape[1], shape[2]


def with_channels(shape: Shape, channels: int) -> Shape:
    """The shape, whose last size must be that.  Raises ValueError if not."""
    if shape[-1] != channels:
        raise ValueError(f"expected {channels} channels, got {shape[-1]}")
    return shape
