"""Shares by price: how sparse and how coarse each layer is to be, so that a whole network keeps to budgets.

Every layer has some options, each with what it costs: loss, bits in the file, multiplies an image.  Of all ways to take
one option a layer that keep to both budgets, wanted is the one of least total loss:

    minimise  sum_l loss_l(o_l)     subject to  sum_l bits_l(o_l) <= B,  sum_l multiplies_l(o_l) <= M.

At a price for a bit and one for a multiply each layer chooses for itself, the least of loss + price_B bits + price_M
multiplies (Lagrange; Everett 1963): the best there is for what it then costs in all.  Tried are all pairs of prices of
a fine grid that does not depend on the budgets, so that a larger budget never gives a larger loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
PRICES = 300  # of each kind, beside 0
RANGE = 1e-5, 1e3  # of them, where 1 makes the dearest network cost as much as the worst loses


@dataclass(frozen=True)
class Options:
    """What one layer may be.  loss, bits, multiplies: (n,) each."""

    loss: Vector
    bits: Vector
    multiplies: Vector


def choose(layers: Sequence[Options], bits: float, multiplies: float) -> list[int]:
    """Which option each layer takes.

    bits, multiplies: the budgets, of all layers together.  Raises ValueError, saying how far one could come, if no
    pair of prices keeps to both.
    """
    worst = [sum(float(getattr(layer, key).max()) for layer in layers) for key in ("loss", "bits", "multiplies")]
    prices = np.concatenate([[0.0], np.geomspace(*RANGE, PRICES)])
    per_bit, per_multiply = (prices * worst[0] / max(total, 1e-300) for total in worst[1:])
    found: tuple[float, NDArray[np.int64]] | None = None
    least = np.array([np.inf, np.inf])
    for price in per_bit:
        taken = np.stack(
            [
                (layer.loss + price * layer.bits + per_multiply[:, None] * layer.multiplies).argmin(axis=1)
                for layer in layers
            ]
        )  # (layers, prices)
        loss, used_bits, used_multiplies = (
            sum(getattr(layer, key)[own] for layer, own in zip(layers, taken, strict=True))
            for key in ("loss", "bits", "multiplies")
        )
        least = np.minimum(least, [used_bits.min(), used_multiplies.min()])
        fits = np.flatnonzero((used_bits <= bits) & (used_multiplies <= multiplies))
        if fits.size:
            best = fits[loss[fits].argmin()]
            if found is None or loss[best] < found[0]:
                found = float(loss[best]), taken[:, best]
    if found is None:
        raise ValueError(
            f"no choice has at most {bits:.4g} bits and {multiplies:.4g} multiplies; "
            f"the least are {least[0]:.4g} and {least[1]:.4g}, not both at once"
        )
    return [int(option) for option in found[1]]
