"""What of a machine decides the numbers that it computes."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Domain = Literal["spatial", "winograd"]
Scales = Literal["power_of_two", "multiply_shift"]
WeightScales = Literal["tensor", "channel"]
Calibration = Literal["max", "percentile", "least_error"]
Overflow = Literal["wrap", "saturate"]
TapScales = Literal["one", "per_tap"]
Products = Literal["full", "truncated"]


@dataclass(frozen=True)
class Integers:
    """The whole numbers of one machine.

    Widths in bits, sign included, and how real values are scaled to them.
    """

    weight_bits: int = 8  # of a weight, in the domain that it is multiplied in
    activation_bits: int = 8  # of an element of a feature map
    accumulator_bits: int = 24  # of a sum of products
    # of a transformed input; None: as many as the transform can need
    transformed_bits: int | None = None
    # a unit of a tensor is 2^e, or any number, by a multiplier and a shift
    scales: Scales = "multiply_shift"
    multiplier_bits: int = 16  # of that multiplier
    # one scale for a layer's weights, or one for each filter
    weight_scales: WeightScales = "channel"
    calibration: Calibration = "least_error"  # which range of activations has no saturation
    percentile: float = 99.99  # of calibration ``percentile``: this share of the values, in percent
    overflow: Overflow = "wrap"  # what becomes of a sum beyond its width
    products: Products = "full"  # all bits of a product are summed, or those alone that fit the sum
    # weights are indices into 2^weight_bits values of so many bits; None: numbers
    codebook_bits: int | None = None
    tap_scales: TapScales = "per_tap"  # of Winograd taps: one scale, or one for each tap


@dataclass(frozen=True)
class Datapath:
    """The arithmetic of one machine, as far as it changes a network's outputs (``accelsim.datapath`` runs it)."""

    machine: str  # its name
    kind: Domain  # in which domain convolutions that Winograd can serve are computed
    m: int | None = None  # of F(m x m, r x r), instead of the model's own
    # Winograd-domain entries up to it are zero, instead of the model's own
    threshold: float | None = None
    # of the transform units; larger ones run in pieces that are not pruned
    largest_kernel: int | None = None
    # of single layers by name, instead of ``threshold``
    layer_thresholds: tuple[tuple[str, float], ...] = ()
    # m of single layers by name, instead of ``m``; 0: direct sums
    layer_m: tuple[tuple[str, int], ...] = ()
    # of single layers by name, instead of ``weight_bits``
    layer_weight_bits: tuple[tuple[str, int], ...] = ()
    number: Literal["int", "fp16", "fp32"] = "int"  # what a lane multiplies
    integers: Integers = Integers()  # of a machine of whole numbers
    # of interpolation by m, where not the default ones
    points: tuple[tuple[int, tuple[Fraction, ...]], ...] = ()

    def points_of(self, m: int) -> tuple[Fraction, ...] | None:
        """Interpolation points of F(m x m, r x r); None: the default ones."""
        return dict(self.points).get(m)
