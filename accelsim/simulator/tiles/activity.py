"""How busy the lanes of a layer are: which share of their products is zero, and of what sign their operands are.

In the spatial domain the operands are zero where their map is, channel by channel, against the weights at their real
places; that no value is zero is taken for a map that no ReLU cut, so of either sign.  Transformed inputs are of either
sign, and zero only where all pixels that enter them are: of a matrix B^T with k_i non-zero entries in row i a share of
d^(k_i k_j) zeros, d that of the pixels, as if by chance.
"""

from functools import lru_cache

import numpy as np

from accelsim.hardware.description import MachineDescription
from accelsim.simulator.tiles.mode import Products
from accelsim.transforms.winograd import cook_toom
from accelsim.workload import LayerWork

SIGNED_FROM = 0.98  # density from which a map counts as never rectified


def spatial_products(work: LayerWork, machine: MachineDescription) -> Products | None:
    """Of a layer as a matrix product.  None unless the machine's energy table depends on it."""
    if machine.energy_table != "gates":
        return None
    signed = float(np.mean(work.input_density)) >= SIGNED_FROM
    if machine.zero_handling in {"gate", "skip_both"}:  # only what is not zero is multiplied
        return Products(1.0, signed)
    found: Products = work.derived.get(
        (spatial_products, machine.zero_handling), lambda: _weighted(work, machine, signed)
    )
    return found


def _weighted(work: LayerWork, machine: MachineDescription, signed: bool) -> Products:
    nonzeros = work.nonzeros()[0]  # (K, C / groups)
    density = np.repeat(work.group_density(), work.out_channels // work.groups, axis=0)
    R, S = work.kernel
    executed = nonzeros.size * R * S if machine.zero_handling == "none" else int(nonzeros.sum())
    return Products(float((nonzeros * density).sum()) / max(executed, 1), signed)


def winograd_products(work: LayerWork, machine: MachineDescription, m: int, executed: int) -> Products | None:
    """Of a layer in the Winograd domain.  executed: multiplies of a tile of all filters."""
    if machine.energy_table != "gates":
        return None
    inputs = transformed_density(m, work.kernel, float(np.mean(work.input_density)))
    if machine.zero_handling != "none":
        return Products(inputs, True)
    kept = int(work.block_nonzeros(m).sum()) / max(executed, 1)
    return Products(inputs * min(kept, 1.0), True)


@lru_cache(maxsize=1024)
def transformed_density(m: int, kernel: tuple[int, int], density: float) -> float:
    """Share of transformed inputs that are not zero, of pixels with this density."""
    entries = [[sum(entry != 0 for entry in row) for row in cook_toom(m, size).B_T] for size in kernel]
    zeros = np.power(1 - density, np.outer(*entries))
    return float(1 - zeros.mean())
