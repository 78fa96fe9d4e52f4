"""What an action costs and what a part covers, each with the source of its figure."""

from dataclasses import dataclass
from typing import Literal

EnergyPart = Literal["mac", "transform", "register", "sram", "dram", "static"]
ENERGY_PARTS: tuple[EnergyPart, ...] = ("mac", "transform", "register", "sram", "dram", "static")


@dataclass(frozen=True)
class Price:
    """Energy of one action."""

    pj: float
    unit: str  # pJ an action, a bit or an access
    part: EnergyPart  # of the result's columns ``energy_PART_pj``
    source: str


@dataclass(frozen=True)
class Area:
    """Area of one part of a machine."""

    mm2: float
    source: str
