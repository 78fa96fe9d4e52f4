"""Scales of a machine's whole numbers, found once on calibration images and kept with the model."""

from typing import Annotated

from pydantic import Field

from accelsim.settings import Section

Text = Annotated[str, Field(max_length=200)]
Unit = Annotated[float, Field(ge=2.0**-100, le=2.0**100)]
Shift = Annotated[int, Field(ge=0, le=64)]
Row = Annotated[list[Shift], Field(min_length=1, max_length=32)]
MOST = 16  # calibrations that a file holds


class Calibration(Section):
    """What was found for one arithmetic.

    Names are those of feature maps and layers of the graph.
    """

    arithmetic: Annotated[dict[Text, str | int | float | None], Field(max_length=32)]
    """All of a machine that decides what it computes, by key."""

    images: Annotated[int, Field(ge=1, le=10_000_000)]
    """How many images it was found on."""

    units: dict[Text, Unit]
    """What one stands for, of the input and of each feature map with a scale of its own."""

    input_shifts: dict[Text, Annotated[list[Row], Field(min_length=1, max_length=32)]] = Field(default_factory=dict)
    """Bits that the transformed inputs of a layer lose, tap by tap, where any do."""

    sum_shifts: dict[Text, Shift] = Field(default_factory=dict)
    """Bits that the products of a layer lose, where any do."""
