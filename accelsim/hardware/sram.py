"""Energy, area and leakage of an on-chip SRAM, by log-log interpolation of a CACTI 7 table.

``data/sram_cacti.csv`` holds our own CACTI 7 runs (one bank, one read-write port).  Between its
capacities and port widths every figure is interpolated linearly in logarithms, beyond the largest
capacity or port the nearest entry's slope is continued; between its nodes 65, 45, 32 and 22 nm it
is interpolated linearly in nm.  Below 22 nm, down to 7 nm, energy scales from the 22 nm entry with
the square root of the feature size (wires shrink, their capacitance a length hardly does), leakage
with the feature size and area with its square.  Left out: the cell type, which moves energy about
2x and leakage 1000x or more; leakage is therefore also an explicit parameter of the machine.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import product

import numpy as np

from accelsim.arrays import Floats

SOURCE = "CACTI 7 table (accelsim/hardware/data/sram_cacti.csv), log-log interpolation"
NODES_NM = (22, 32, 45, 65)
SMALLEST_KB = 0.5  # a smaller memory costs what this one costs


@dataclass(frozen=True)
class Sram:
    """One memory: its capacity and port, and what an access of one port word costs."""

    capacity_bytes: int
    port_bits: int
    read_pj: float
    write_pj: float
    area_mm2: float
    leakage_mw: float

    @property
    def read_pj_per_bit(self) -> float:
        """Energy of a read, a bit of a full port word."""
        return self.read_pj / self.port_bits

    @property
    def write_pj_per_bit(self) -> float:
        """Energy of a write, a bit of a full port word."""
        return self.write_pj / self.port_bits


@lru_cache(maxsize=1)
def _table() -> tuple[list[Floats], Floats]:
    """Logs of the nodes in nm, capacities in KB and port bits.

    There, log (read pJ, write pJ, area mm2, leakage mW).
    """
    path = resources.files("accelsim.hardware") / "data" / "sram_cacti.csv"
    with path.open() as stream:
        rows = np.log(np.loadtxt(stream, delimiter=",", skiprows=1))
    axes: list[Floats] = [np.unique(rows[:, column]) for column in range(3)]
    values = np.full((*(len(axis) for axis in axes), 4), np.nan)
    values[tuple(np.searchsorted(axis, rows[:, i]) for i, axis in enumerate(axes))] = rows[:, 3:7]
    # The smallest memories were not run with the widest ports: continue the slope of their two
    # widest.
    for port in range(2, len(axes[2])):
        rise = values[:, :, port - 1] - values[:, :, port - 2]
        slope = rise / (axes[2][port - 1] - axes[2][port - 2])
        continued = values[:, :, port - 1] + slope * (axes[2][port] - axes[2][port - 1])
        values[:, :, port] = np.where(np.isnan(values[:, :, port]), continued, values[:, :, port])
    return axes, values


def _interpolated(query: Floats) -> Floats:
    """The table's values at some points, linear along each axis and beyond its ends.

    (n, 3) -> (n, 4).

    ``scipy.interpolate.RegularGridInterpolator`` gives the same to the bit, but is slow to import.
    """
    axes, values = _table()
    corners = []
    for axis, at in zip(axes, query.T, strict=True):
        below = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, len(axis) - 2)
        share = (at - axis[below]) / (axis[below + 1] - axis[below])
        corners.append(((below, 1 - share), (below + 1, share)))
    found = np.zeros((len(query), values.shape[-1]))
    for corner in product(*corners):
        places, weights = zip(*corner, strict=True)
        found = found + values[places] * (weights[0] * weights[1] * weights[2])[:, None]
    return found


@lru_cache(maxsize=4096)
def sram(node_nm: int, capacity_bytes: int, port_bits: int) -> Sram:
    """The memory of that capacity and port at a node between 7 and 65 nm.

    Raises ValueError if the node is outside the range or a size is not positive.
    """
    if not 7 <= node_nm <= 65:
        raise ValueError(f"no SRAM figures for {node_nm} nm, expected 7 to 65")
    if capacity_bytes < 1 or port_bits < 1:
        got = f"{capacity_bytes} bytes, {port_bits} bits"
        raise ValueError(f"an SRAM needs a positive capacity and port, got {got}")
    kb = max(capacity_bytes / 1024, SMALLEST_KB)
    query = np.log([[node, kb, port_bits] for node in NODES_NM])
    at_nodes = np.exp(_interpolated(query))
    figures = np.array([np.interp(node_nm, NODES_NM, column) for column in at_nodes.T])
    shrink = min(1.0, node_nm / NODES_NM[0])
    figures *= (shrink**0.5, shrink**0.5, shrink**2, shrink)
    read_pj, write_pj, area_mm2, leakage_mw = (float(figure) for figure in figures)
    return Sram(capacity_bytes, port_bits, read_pj, write_pj, area_mm2, leakage_mw)
