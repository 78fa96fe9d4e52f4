"""Shares by price: how sparse and how coarse each layer is to be.

So that a whole network keeps to budgets.

Every layer has some options, each with what it costs: loss, bits in the file, multiplies an image.
Of all ways to take one option a layer that keep to both budgets, wanted is the one of least total
loss:

    minimise  sum_l loss_l(o_l)
    subject to  sum_l bits_l(o_l) <= B,  sum_l multiplies_l(o_l) <= M.

At a price for a bit and one for a multiply each layer chooses for itself, the least of loss +
price_B bits + price_M multiplies (Lagrange; Everett 1963): the best there is for what it then costs
in all.  Tried are all pairs of prices of a fine grid that does not depend on the budgets, so that a
larger budget never gives a larger loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Floats, Ints

PRICES = 300  # of each kind, beside 0
RANGE = (1e-5, 1e3)  # of them, where 1 makes the dearest network cost as much as the worst loses


@dataclass(frozen=True)
class Options:
    """What one layer may be."""

    loss: Floats  # (n,) what each option loses
    bits: Floats  # (n,) in the file
    multiplies: Floats  # (n,) an image


def choose(layers: Sequence[Options], bits: float, multiplies: float) -> list[int]:
    """Which option each layer takes.

    bits, multiplies: the budgets, of all layers together.
    Raises ValueError, saying how far one could come, if no pair of prices keeps to both.
    """
    prices = np.concatenate([[0.0], np.geomspace(*RANGE, PRICES)])
    worst = sum(float(layer.loss.max()) for layer in layers)
    most_bits = sum(float(layer.bits.max()) for layer in layers)
    most_multiplies = sum(float(layer.multiplies.max()) for layer in layers)
    per_bit = prices * worst / max(most_bits, 1e-300)
    per_multiply = prices * worst / max(most_multiplies, 1e-300)
    least_loss = np.inf
    found: Ints | None = None
    least = np.array([np.inf, np.inf])
    for price in per_bit:
        # (layers, prices of a multiply)
        taken = np.stack([_cheapest(layer, price, per_multiply) for layer in layers])
        chosen = list(zip(layers, taken, strict=True))
        loss = np.sum([layer.loss[own] for layer, own in chosen], axis=0)
        used_bits = np.sum([layer.bits[own] for layer, own in chosen], axis=0)
        used_multiplies = np.sum([layer.multiplies[own] for layer, own in chosen], axis=0)
        least = np.minimum(least, [used_bits.min(), used_multiplies.min()])
        fits = np.flatnonzero((used_bits <= bits) & (used_multiplies <= multiplies))
        if fits.size:
            best = fits[loss[fits].argmin()]
            if loss[best] < least_loss:
                least_loss = float(loss[best])
                found = taken[:, best]
    if found is None:
        limits = ((bits, "bits of weights"), (multiplies, "multiplies"))
        asked = " and ".join(f"{max(most, 0):.4g} {what}" for most, what in limits if np.isfinite(most))
        raise ValueError(
            f"no choice has at most {asked}; the least are {least[0]:.4g} and {least[1]:.4g}, not both at once"
        )
    return [int(option) for option in found]


def _cheapest(layer: Options, per_bit: float, per_multiply: Floats) -> Ints:
    """The option that one layer takes at each price of a multiply: (prices,)."""
    costs = layer.loss + per_bit * layer.bits + per_multiply[:, None] * layer.multiplies
    return np.asarray(costs.argmin(axis=1))
