"""The mappings of a layer on a row-stationary array that are tried (``passes`` says what a mapping is).

All combinations of
- strips e that cut the output rows evenly and whose sets fit the array, with as many sets r x t as it holds;
- channels q and filters p of a PE that cut what is left of the layer evenly, the largest ones that the pads hold;
- tiles of m filters, of images and of columns.
"""

from dataclasses import dataclass

import numpy as np

from accelsim.arrays import Flags, Ints
from accelsim.simulator.machines.row_stationary.description import RowStationaryDescription
from accelsim.simulator.machines.row_stationary.passes import PassMapping, kernel_part, sets_of
from accelsim.simulator.tiles.tiling import balanced_cuts
from accelsim.workload import LayerWork

LARGEST_CUTS = 8  # cuts of filters and channels that are tried, the largest ones
# how many tiles of filters are tried
FILTER_TILES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 1 << 20)
# how many parts of the columns are tried; last: single columns
COLUMN_PARTS = (1, 2, 3, 4, 5, 6, 8, 16, 64, 1 << 20)


@dataclass(frozen=True)
class PassCandidates:
    """Letters of ``PassMapping`` as int64 arrays that broadcast over (passes, image tiles, column tiles)."""

    e: Ints
    p: Ints
    q: Ints
    r: Ints
    t: Ints
    m: Ints
    n: Ints
    f: Ints

    @staticmethod
    def of(mapping: PassMapping) -> "PassCandidates":
        """The candidates that are this one alone."""
        letters = {letter: np.full((1, 1, 1), getattr(mapping, letter), np.int64) for letter in "epqrtmnf"}
        return PassCandidates(**letters)

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many passes, image tiles and column tiles."""
        return len(self.e), len(self.n), len(self.f)

    def mapping(self, index: tuple[np.intp, ...]) -> PassMapping:
        """The candidate at an index of the broadcast shape."""
        shape = np.broadcast_shapes(self.m.shape, self.n.shape, self.f.shape, self.e.shape)
        letters = {letter: int(np.broadcast_to(getattr(self, letter), shape)[index]) for letter in "epqrtmnf"}
        return PassMapping(**letters)

    def image_tiles(self, some: slice) -> "PassCandidates":
        """Those with some of the image tiles."""
        return PassCandidates(
            e=self.e,
            p=self.p,
            q=self.q,
            r=self.r,
            t=self.t,
            m=self.m,
            n=self.n[some],
            f=self.f,
        )

    def some(self, passes: Flags, image_tiles: Flags) -> "PassCandidates":
        """Those with some of the passes and some of the image tiles."""
        of_passes = {letter: getattr(self, letter)[passes] for letter in "epqrtm"}
        return PassCandidates(**of_passes, n=self.n[image_tiles], f=self.f)


def all_candidates(work: LayerWork, machine: RowStationaryDescription) -> PassCandidates:
    """All combinations (module docstring)."""
    filters = work.out_channels // work.groups
    passes = _passes(work, machine)
    in_pass = passes[:, 1] * passes[:, 4]
    count = -(-filters // in_pass)
    m = np.minimum(-(-count[:, None] // np.array(FILTER_TILES)) * in_pass[:, None], filters)
    distinct = np.diff(m, axis=1, prepend=0) != 0
    passes = np.column_stack([passes[np.nonzero(distinct)[0]], m[distinct]])
    e, p, q, r, t, m = passes.T[:, :, None, None]
    n = np.array(balanced_cuts(work.batch, 1), np.int64)[:, None]
    f = np.unique(-(-work.out_width // np.array(COLUMN_PARTS)))
    return PassCandidates(e=e, p=p, q=q, r=r, t=t, m=m, n=n, f=f)


def _passes(work: LayerWork, machine: RowStationaryDescription) -> Ints:
    """All e, p, q, r, t that fit array and scratch-pads: (candidates, 5)."""
    pads = machine.row_stationary
    part = kernel_part(work, machine)
    array = machine.pe_array
    filters = work.out_channels // work.groups
    channels = work.in_channels // work.groups
    found: list[tuple[int, ...]] = []
    for e in balanced_cuts(work.out_height, 1):
        below, beside = sets_of(part.rows, e, array.rows, array.cols)
        stacked = range(1, min(channels, below) + 1)
        for r, t in sorted({(r, min(filters, below // r * beside)) for r in stacked}):
            for q in _largest(-(-channels // r), pads.input_words // part.span):
                room = min(pads.psum_words, pads.filter_words // (q * part.taps))
                found += [(e, p, q, r, t) for p in _largest(-(-filters // t), room)]
    return np.array(found, np.int64).reshape(-1, 5)


def _largest(size: int, most: int) -> list[int]:
    """The largest even cuts of a dimension that are no more than ``most``."""
    return [cut for cut in balanced_cuts(size, 1) if cut <= most][-LARGEST_CUTS:]
