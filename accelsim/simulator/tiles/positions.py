"""Every way to cut the output positions of a layer into tiles.

Sizes, and what their tiles read and hold.

These depend on the layer's shape alone, so layers of equal shape share them, on all machines.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from accelsim.arrays import Ints
from accelsim.simulator.tiles.tiling import Axis, balanced_cuts, extents


@dataclass(frozen=True, eq=False)
class PositionCuts:
    """Combinations of tile sizes of images, rows and columns, the columns' size changing fastest.

    (cuts,) int64.
    """

    m: int  # outputs of an m x m tile, a dimension
    batch: int  # images of the layer
    height: int  # of the layer's outputs
    width: int  # of the layer's outputs
    sizes: tuple[Ints, Ints, Ints]  # images, rows and columns of a tile
    in_high: Ints  # input rows of the largest tile
    in_pixels: Ints  # of the largest tile, padding left out
    all_pixels: Ints  # of all tiles together

    @cached_property
    def count(self) -> Ints:
        """Tiles of the layer."""
        images, rows, cols = self.sizes
        down = -(-self.height // rows)
        across = -(-self.width // cols)
        return np.asarray(-(-self.batch // images) * down * across)

    @cached_property
    def outputs(self) -> Ints:
        """Outputs a filter of the largest tile."""
        images, rows, cols = self.sizes
        return images * rows * cols

    @cached_property
    def tiles(self) -> Ints:
        """m x m tiles of the largest tile."""
        images, rows, cols = self.sizes
        return np.asarray(images * -(-rows // self.m) * -(-cols // self.m))

    def some(self, which: slice | Ints) -> "PositionCuts":
        """The cuts of a range, or of indices."""
        images, rows, cols = self.sizes
        return replace(
            self,
            sizes=(images[which], rows[which], cols[which]),
            in_high=self.in_high[which],
            in_pixels=self.in_pixels[which],
            all_pixels=self.all_pixels[which],
        )

    @property
    def all_tiles(self) -> int:
        """m x m tiles of the whole layer."""
        return self.batch * -(-self.height // self.m) * -(-self.width // self.m)


@lru_cache(maxsize=1 << 10)
def position_cuts(batch: int, m: int, vertical: Axis, horizontal: Axis) -> PositionCuts:
    """The cuts of a layer's output positions into tiles of whole m x m tiles."""
    image_cuts = balanced_cuts(batch, 1)
    row_cuts = balanced_cuts(vertical.outputs, m)
    col_cuts = balanced_cuts(horizontal.outputs, m)
    grid = np.meshgrid(*(np.array(cuts, np.int64) for cuts in (image_cuts, row_cuts, col_cuts)), indexing="ij")
    images, rows, cols = (sizes.ravel() for sizes in grid)
    row_extents = [extents(vertical, size) for size in row_cuts]
    col_extents = [extents(horizontal, size) for size in col_cuts]
    i = np.searchsorted(row_cuts, rows)
    j = np.searchsorted(col_cuts, cols)
    in_high = np.array([extent.max() for extent in row_extents])[i]
    in_wide = np.array([extent.max() for extent in col_extents])[j]
    all_high = np.array([extent.sum() for extent in row_extents])[i]
    all_wide = np.array([extent.sum() for extent in col_extents])[j]
    return PositionCuts(
        m=m,
        batch=batch,
        height=vertical.outputs,
        width=horizontal.outputs,
        sizes=(images, rows, cols),
        in_high=in_high,
        in_pixels=images * in_high * in_wide,
        all_pixels=batch * all_high * all_wide,
    )


@lru_cache(maxsize=1 << 12)
def rounds(cuts: PositionCuts, lanes: int) -> Ints:
    """Rounds of ``lanes`` position lanes over all tiles of the layer, remainders included.

    (cuts,) int64.
    """
    images, rows, cols = (
        _whole_and_rest(size, tile, granule)
        for size, tile, granule in zip(
            (cuts.batch, cuts.height, cuts.width), cuts.sizes, (1, cuts.m, cuts.m), strict=True
        )
    )
    total = np.zeros_like(cuts.count)
    for image_count, image_tiles in images:
        for row_count, row_tiles in rows:
            for col_count, col_tiles in cols:
                tiles = image_tiles * row_tiles * col_tiles
                total += image_count * row_count * col_count * -(-tiles // lanes)
    return total


def _whole_and_rest(
    size: int,
    tile: Ints,
    granule: int,
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """How many whole tiles, and of the one that remains (0 or 1), each with its size in granules."""
    rest = size % tile
    return (size // tile, -(-tile // granule)), ((rest > 0).astype(np.int64), -(-rest // granule))
