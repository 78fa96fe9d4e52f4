"""Every way to cut the output positions of a layer into tiles: sizes, and what their tiles read and hold.

These depend on the layer's shape alone, so layers of equal shape share them, on all machines.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from accelsim.arrays import Ints
from accelsim.simulator.tiles.tiling import Axis, balanced_cuts, extents


@dataclass(frozen=True, eq=False)
class Positions:
    """Combinations of tile sizes of images, rows and columns, the columns' size changing fastest: (cuts,) int64.

    sizes: images, rows and columns of a tile.  m: outputs of an m x m tile.
    batch, height, width: of the whole layer's outputs.  in_high: input rows of the largest tile; in_pixels: its pixels,
    padding left out.  all_pixels: of all tiles together.
    """

    m: int
    batch: int
    height: int
    width: int
    sizes: tuple[Ints, Ints, Ints]
    in_high: Ints
    in_pixels: Ints
    all_pixels: Ints

    @cached_property
    def count(self) -> Ints:
        """Tiles of the layer."""
        n, p, q = self.sizes
        return np.asarray(-(-self.batch // n) * -(-self.height // p) * -(-self.width // q))

    @cached_property
    def outputs(self) -> Ints:
        """Outputs a filter of the largest tile."""
        n, p, q = self.sizes
        return n * p * q

    @cached_property
    def tiles(self) -> Ints:
        """m x m tiles of the largest tile."""
        n, p, q = self.sizes
        return np.asarray(n * -(-p // self.m) * -(-q // self.m))

    @property
    def all_tiles(self) -> int:
        """m x m tiles of the whole layer."""
        return self.batch * -(-self.height // self.m) * -(-self.width // self.m)


@lru_cache(maxsize=1 << 10)
def positions(batch: int, m: int, vertical: Axis, horizontal: Axis) -> Positions:
    """The cuts of a layer's output positions into tiles of whole m x m tiles."""
    cuts = (balanced_cuts(batch, 1), balanced_cuts(vertical.outputs, m), balanced_cuts(horizontal.outputs, m))
    n, p, q = (grid.ravel() for grid in np.meshgrid(*(np.array(cut, np.int64) for cut in cuts), indexing="ij"))
    i, j = (np.searchsorted(cut, size) for cut, size in zip(cuts[1:], (p, q), strict=True))
    rows, cols = (
        [extents(axis, size) for size in cut] for axis, cut in zip((vertical, horizontal), cuts[1:], strict=True)
    )
    high, wide = (np.array([extent.max() for extent in some]) for some in (rows, cols))
    all_high, all_wide = (np.array([extent.sum() for extent in some]) for some in (rows, cols))
    return Positions(
        m, batch, vertical.outputs, horizontal.outputs, (n, p, q), high[i], n * high[i] * wide[j],
        batch * all_high[i] * all_wide[j],
    )  # fmt: skip


@lru_cache(maxsize=1 << 12)
def rounds(cuts: Positions, lanes: int) -> Ints:
    """Rounds of ``lanes`` position lanes over all tiles of the layer, remainders included: (cuts,) int64."""
    whole_sizes, granules = (cuts.batch, cuts.height, cuts.width), (1, cuts.m, cuts.m)
    parts = [
        ((size // tile, -(-tile // granule)), (np.int64(size % tile > 0), -(-(size % tile) // granule)))
        for size, tile, granule in zip(whole_sizes, cuts.sizes, granules, strict=True)
    ]
    total = np.zeros_like(cuts.count)
    for n_count, n_tiles in parts[0]:
        for p_count, p_tiles in parts[1]:
            for q_count, q_tiles in parts[2]:
                total += n_count * p_count * q_count * -(-(n_tiles * p_tiles * q_tiles) // lanes)
    return total
