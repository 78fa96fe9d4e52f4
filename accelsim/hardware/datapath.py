"""What of a machine decides the numbers that it computes."""

from dataclasses import dataclass
from typing import Literal

Domain = Literal["spatial", "winograd"]


@dataclass(frozen=True)
class Datapath:
    """The arithmetic of one machine, as far as it changes a network's outputs (``accelsim.datapath`` runs it)."""

    machine: str  # its name
    kind: Domain  # in which domain convolutions that Winograd can serve are computed
    m: int | None = None  # of F(m x m, r x r), instead of the model's own
    threshold: float | None = None  # Winograd-domain entries up to it are zero, instead of the model's own
    largest_kernel: int | None = None  # of the transform units; larger ones run in pieces that are not pruned
