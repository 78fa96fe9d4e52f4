"""Keys, prices and areas of machines that compute in the Winograd domain.

What the families ``winograd`` and ``cells`` share: a tile size, transformed inputs in words of
their own, an input and an inverse transform unit.  Prices and areas of the units are of F(m x m,
3 x 3), by measured gates or by published adders.
"""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.hardware import gates
from accelsim.hardware.datapath import Datapath, TapScales
from accelsim.hardware.parts import Arithmetic, Bits, Count, PeArray
from accelsim.hardware.price import Area, Price
from accelsim.hardware.technology import (
    AREA_FACTORS,
    ENERGY_FACTORS,
    LOGIC_AREA_SOURCE,
    NODE_SOURCE,
    node_factor,
    transform_um2,
)
from accelsim.simulator.tiles.description import TiledBuffers, TiledDescription
from accelsim.transforms.adders import (
    UnitBits,
    exact_bits,
    input_unit,
    inverse_unit,
)
from accelsim.transforms.points import StatedPoints, completed
from accelsim.transforms.winograd import Points

KilobytesOrNone = Annotated[float, Field(ge=0, le=1 << 20)]
TileSize = Annotated[int, Field(ge=2, le=6)]  # m of F(m x m, r x r)


class WinogradArray(PeArray):
    """Lanes of a Winograd array: a row works on one tile, a column on one filter."""

    taps: Count = 1
    """Taps worked on at a time, 1: tap-serial, n^2: tap-parallel.  Default: 1."""


class WinogradArithmetic(Arithmetic):
    """Word widths, with that of transformed inputs."""

    transformed_bits: Bits | None = None
    """Bits of a transformed input.  Default: exact for 3 x 3 kernels; of 8-bit inputs 10 in F(2, 3), 15 in F(4, 3)."""
    tap_scales: TapScales = "per_tap"
    """One scale for all taps of transformed filters and inputs (``one``), or ``per_tap``.  Default: per_tap."""


class WinogradBuffers(TiledBuffers):
    """Global buffers, with one of transformed inputs."""

    transformed_kb: KilobytesOrNone
    """Transformed inputs, 1024 bytes; 0 only where they need no room of their own (cells, input_transform streamed,
    activations one)."""


class WinogradDescription(TiledDescription):
    """Keys of machines that compute in the Winograd domain."""

    kind: Literal["winograd"]
    """Always ``winograd``."""
    tile: TileSize = 2
    """m of F(m x m, r x r), outputs a tile and dimension.  Default: 2."""
    pe_array: WinogradArray
    """Lanes."""
    arithmetic: WinogradArithmetic = WinogradArithmetic()
    """Word widths.  Default: 8-bit integers, 10 bits transformed, 24-bit sums."""
    buffers: WinogradBuffers
    """Global buffers."""
    transform_rate: Count
    """Tile-channels that the input transform unit takes a cycle."""
    inverse_rate: Count
    """Tile-filters that the inverse transform unit gives a cycle."""
    points: StatedPoints = ()
    """Interpolation points by m, the m + 1 of 3 x 3 kernels or more, such as ``{4: ["0", "1", "-1", "1/2", "-2"]}``;
    larger kernels take the default ones behind them.  Default: the first of 0, 1, -1, 2, -2, 1/2, -1/2, 4, ..."""
    hybrid: bool = False
    """Whether any layer may run as a plain matrix product where that scores lower.  Default: no."""

    @model_validator(mode="after")
    def _check_points(self) -> "WinogradDescription":
        own = self.tile_sizes
        others = [str(m) for m, _ in self.points if m not in own]
        if others:
            raise ValueError(f"points: of tile size {others[0]}, expected {' or '.join(map(str, own))}")
        return self

    def points_of(self, m: int) -> Points | None:
        """Interpolation points of F(m x m, r x r) for any r, the stated ones first; None.

        The default ones.
        """
        stated = dict(self.points).get(m)
        return None if stated is None else completed(stated)

    @property
    def tile_sizes(self) -> tuple[int, ...]:
        """Tile sizes m, the smallest first."""
        return (self.tile,)

    @property
    def lists_tiles(self) -> bool:
        """Whether the machine has a list of tile sizes, each with prices of its own."""
        return False

    def tap_bits(self, m: int, kernel: tuple[int, int] = (3, 3)) -> int:
        """Bits of a transformed input of F(m x m, R x S).

        One width for all kernels, as stated or exact for 3 x 3.
        """
        stated = self.arithmetic.transformed_bits
        if stated is not None:
            return stated
        return exact_bits(m, (3, 3), self.arithmetic.activation_bits, self.points_of(m))

    @property
    def operand_bits(self) -> int:
        """Bits of a transformed input."""
        return self.tap_bits(self.tile)

    @property
    def datapath(self) -> Datapath:
        """Winograd convolution with the machine's tile size."""
        return self._winograd_datapath(self.tile, None if self.lists_tiles else self.tap_bits(self.tile))

    def _winograd_datapath(self, m: int, bits: int | None) -> Datapath:
        """At one tile size, transformed inputs of so many bits.

        bits: as stated; None: as each layer needs.
        """
        plain = super().datapath
        integers = replace(plain.integers, transformed_bits=self.arithmetic.transformed_bits or bits)
        points = tuple((size, completed(own)) for size, own in self.points)
        return replace(plain, kind="winograd", m=m, integers=integers, points=points)

    @property
    def streams(self) -> int:
        """Streams of weights: one a tap and column."""
        return self.pe_array.taps * self.pe_array.cols

    def _units(self, m: int) -> tuple[UnitBits, UnitBits]:
        """What an input and an inverse transform of F(m x m, 3 x 3) are made of."""
        a = self.arithmetic
        points = self.points_of(m)
        return (
            input_unit(m, a.activation_bits, self.operand_bits, points),
            inverse_unit(m, a.accumulator_bits, points),
        )

    @property
    def unit_register_bits(self) -> int:
        """Flip-flops between the passes of all transform units."""
        forward, inverse = self._units(self.tile_sizes[-1])
        into = self.transform_rate * forward.register_bits
        return into + self.inverse_rate * inverse.register_bits

    def own_prices(self) -> dict[str, Price]:
        """A tile through either transform unit, where it was measured."""
        if self.energy_table != "gates":
            return super().own_prices()
        scale = node_factor(ENERGY_FACTORS, self.node_nm)
        source = f"{gates.SOURCE}; {NODE_SOURCE}"
        found = super().own_prices()
        for m in self.tile_sizes:
            forward, inverse = self._units(m)
            into = gates.transform_pj("input", m, forward.adder_bits) * scale
            out = gates.transform_pj("inverse", m, inverse.adder_bits) * scale
            size = f"_f{m}" if self.lists_tiles else ""
            found[f"input_tile{size}"] = Price(into, "pJ/tile", "transform", source)
            found[f"inverse_tile{size}"] = Price(out, "pJ/tile", "transform", source)
        return found

    def own_areas(self) -> dict[str, Area]:
        """Transform units as F(m x m, 3 x 3) needs them."""
        m = self.tile_sizes[-1]
        node = self.node_nm
        forward, inverse = self._units(m)
        if self.energy_table == "gates":
            scale = node_factor(AREA_FACTORS, node)
            one_um2 = gates.transform_um2("input", m, forward.adder_bits) * scale
            other_um2 = gates.transform_um2("inverse", m, inverse.adder_bits) * scale
        else:
            one_um2 = transform_um2(*forward, node)
            other_um2 = transform_um2(*inverse, node)
        units = {
            "input_transform": self.transform_rate * one_um2 / 1e6,
            "inverse_transform": self.inverse_rate * other_um2 / 1e6,
        }
        own = {name: Area(mm2, LOGIC_AREA_SOURCE) for name, mm2 in units.items()}
        return own | super().own_areas()
