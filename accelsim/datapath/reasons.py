"""Why a machine's integers lose too much.

Whose words are too narrow, where it hurts most, how wide they must be.

One unit at a time keeps the width that the machine states while all others have wide words: a unit
whose words alone cost more (answers, or dB of pictures) than the tolerance is named, with the layer
whose own noise is then the largest, and the fewest bits at which its words cost no more than the
tolerance.  If no unit does so alone, they do together: then the one that costs most is named, and
its bits are sought among the others as stated.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats
from accelsim.datapath.probe import WIDE, Probe
from accelsim.dual.model import DualModel
from accelsim.hardware.datapath import Datapath, Integers

IMAGES = 200  # that are looked at, at most
WIDE_SUM = 48
MOST = 14  # bits that are tried
MOST_SUM = 40  # of sums
MOST_TRANSFORMED = 21  # of transformed inputs: those of F(4, 3) and of WIDE activations

UNITS = {
    "weights": "weight_bits",
    "activations": "activation_bits",
    "transformed inputs": "transformed_bits",
    "sums": "accumulator_bits",
}


@dataclass(frozen=True)
class Shortfall:
    """One unit whose words are too narrow."""

    unit: str  # of UNITS
    layer: str  # where its noise is the largest
    bits: int  # as the machine states
    needed: int | None  # the fewest that keep the tolerance; None if none does
    lost_points: float  # what these words alone cost, in points of top-1, or in dB


def shortfalls(
    model: DualModel,
    datapath: Datapath,
    pixels: NDArray[np.uint8],
    score: Callable[[Array], Floats],
    tolerance: float,
    sums_fit: bool,
) -> tuple[Shortfall, ...]:
    """The units whose words are too narrow, the most expensive first; at least one.

    pixels: (N, H, W, C), IMAGES are enough.  score: how good their outputs (N, ...) are, in points
    of top-1 or dB, image by image (N,), and tolerance: how much of it may be lost.  sums_fit: whether no sum was beyond
    its register in a run with the words as stated, and none is cut.
    """
    probe = Probe(model, datapath, pixels, score)
    stated = datapath.integers
    wide = replace(
        stated,
        weight_bits=max(WIDE, stated.weight_bits),
        activation_bits=max(WIDE, stated.activation_bits),
        transformed_bits=None,
        accumulator_bits=WIDE_SUM,
        products="full",
        codebook_bits=None,
    )
    best = dict.fromkeys(UNITS, probe.score(wide))
    lost = {}
    for unit, key in UNITS.items():
        none = getattr(stated, key) is None or (unit == "transformed inputs" and datapath.kind == "spatial")
        if not none and not (unit == "sums" and sums_fit):
            if unit == "sums":
                best[unit] = probe.score(_others(unit, wide, stated))
            lost[unit] = best[unit] - probe.score(_narrow(_others(unit, wide, stated), stated, key))
    worst_first = sorted(lost.items(), key=lambda item: -item[1])
    alone = [unit for unit, points in worst_first if points > tolerance]
    named = []
    for unit in alone or [max(lost, key=lambda unit: lost[unit])]:
        key = UNITS[unit]
        around = _others(unit, wide, stated) if alone else stated

        def holds(bits: int, around: Integers = around, unit: str = unit) -> bool:
            word: dict[str, Any] = {UNITS[unit]: bits}
            words = replace(_narrow(around, stated, UNITS[unit]), **word)
            return best[unit] - probe.score(words) <= tolerance

        bits = getattr(stated, key)
        named.append(
            Shortfall(
                unit=unit,
                layer=probe.noisiest(_narrow(_others(unit, wide, stated), stated, key)),
                bits=bits,
                needed=_fewest(holds, bits, {"sums": MOST_SUM, "transformed inputs": MOST_TRANSFORMED}.get(unit, MOST)),
                lost_points=lost[unit],
            )
        )
    return tuple(named)


def _others(unit: str, wide: Integers, stated: Integers) -> Integers:
    """The words of all other units.

    Wide, but around sums as stated, since wide operands make wide sums.
    """
    return replace(stated, accumulator_bits=WIDE_SUM, products="full") if unit == "sums" else wide


def _narrow(wide: Integers, stated: Integers, key: str) -> Integers:
    """Wide words, but one unit's as stated, with what belongs to it."""
    more = {"weight_bits": ("codebook_bits",), "accumulator_bits": ("products",)}.get(key, ())
    return replace(wide, **{name: getattr(stated, name) for name in (key, *more)})


def _fewest(holds: Callable[[int], bool], bits: int, most: int) -> int | None:
    """The fewest bits above ``bits`` that hold; more bits are taken to hold, too."""
    low = bits + 1
    high = most
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high
