"""How busy the lanes of a layer are.

Which share of their products is zero, and of what sign their operands are.

In the spatial domain the operands are zero where their map is, channel by channel, against the
weights at their real places; that no value is zero is taken for a map that no ReLU cut, so of
either sign.  Transformed inputs are of either sign, and zero only where all pixels that enter them
are: k_i k_j of them where row i of B^T has k_i entries.  Zeros of neighbouring pixels come
together, so that so many pixels are worth (k_i k_j)^0.6 independent ones: fitted on one layer of
ResNet-20 (layer2.0.conv2, F(2, 3): 0.62, F(4, 3): 0.67); others came to 0.46 to 0.8.
"""

from typing import Any

import numpy as np

from accelsim.arrays import Floats
from accelsim.hardware.description import MachineDescription
from accelsim.simulator.tiles.mode import Products
from accelsim.simulator.time.schedule import Number
from accelsim.transforms.decomposition import KernelPiece
from accelsim.transforms.winograd import Points, cook_toom
from accelsim.workload import LayerWork

SIGNED_FROM = 0.98  # density from which a map counts as never rectified
TOGETHER = 0.6


def spatial_products(work: LayerWork, machine: MachineDescription) -> Products | None:
    """Of a layer as a matrix product.  None unless the machine's energy table depends on it."""
    if machine.energy_table != "gates":
        return None
    signed = float(np.mean(work.input_density)) >= SIGNED_FROM
    action = _spatial_action(machine, signed)
    if machine.zero_handling in {"gate", "skip_both"}:  # only what is not zero is multiplied
        return Products(1.0, 1.0, action)
    inputs, weights = work.derived.get(
        (spatial_products, machine.zero_handling), lambda: _spatial_densities(work, machine)
    )
    return Products(inputs, weights, action)


def multiplies(
    macs: Number, products: Products | None, action: str = "mac", holds_weights: bool = False
) -> dict[str, Any]:
    """Multiplies by what their energy depends on: whether the product, and the one before, is zero.

    Products follow one another independently.  All are one action where ``products`` is None.

    action: theirs, ``mac`` or that of a tile size (``mac_f4``).  holds_weights: whether a lane
    keeps its weight, so that one of zero stays still.
    """
    if products is None:
        return {action: macs}
    held = products.weights if holds_weights else 1.0
    met = products.inputs if holds_weights else products.weights * products.inputs
    if action in {"mac", "mac_direct"}:
        action = products.action
    return {
        f"{action}_busy": macs * (held * met**2),
        f"{action}_turning": macs * (held * 2 * met * (1 - met)),
        f"{action}_still": macs * (1 - held + held * (1 - met) ** 2),
    }


def _spatial_action(machine: MachineDescription, signed: bool) -> str:
    """The multiply of a pixel: of either sign, ``signed`` where transformed inputs are no wider, else ``direct``."""
    if not signed:
        return "mac"
    return "signed" if machine.operand_bits == machine.arithmetic.activation_bits else "direct"


def _spatial_densities(work: LayerWork, machine: MachineDescription) -> tuple[float, float]:
    """Shares of inputs, against weights that are not zero, and of multiplied weights that are not zero."""
    nonzeros = work.channel_nonzeros()
    kept = int(nonzeros.sum())
    weights = kept / (work.weights.size if work.weights is not None else 1) if machine.zero_handling == "none" else 1.0
    return float((nonzeros * work.group_density()).sum()) / max(kept, 1), weights


def winograd_products(
    work: LayerWork,
    machine: MachineDescription,
    m: int,
    executed: int,
    parts: tuple[KernelPiece, ...],
    points: Points | None = None,
) -> Products | None:
    """Of a layer in the Winograd domain, or of its parts.

    executed: multiplies of a tile of all filters.
    """
    if machine.energy_table != "gates":
        return None
    inputs: float = work.derived.get(
        (winograd_products, m, points),
        lambda: transformed_density(m, work.kernel, work.input_density.astype(np.float64), points),
    )
    if machine.zero_handling != "none":
        return Products(inputs, 1.0, "signed")
    kept = int(work.block_nonzeros(m, parts, points).sum()) / max(executed, 1)
    return Products(inputs, min(kept, 1.0), "signed")


def transformed_density(
    m: int,
    kernel: tuple[int, int],
    density: Floats,
    points: Points | None = None,
) -> float:
    """Share of transformed inputs that are not zero.  density: of each channel's pixels, (C,)."""
    h, w = ([sum(entry != 0 for entry in row) for row in cook_toom(m, min(size, 3), points).B_T] for size in kernel)
    pixels = np.outer(h, w).reshape(-1) ** TOGETHER
    return float(1 - np.power(1 - density[:, None], pixels).mean())
