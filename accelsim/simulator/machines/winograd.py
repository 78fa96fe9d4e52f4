"""The Winograd-domain accelerator: taps x rows x cols lanes on Winograd-domain filters.

Each row works on one m x m tile of outputs, each column on one filter, and ``taps`` of the n x n
taps are worked on at a time (1: tap-serial; n^2: tap-parallel).  A lane walks through the input
channels of its tap and filter, skipping zero weights as the machine's zero handling says; lanes
side by side wait for the fullest at every tap group.  Inputs pass through the input transform unit
once for each load of a tile, results through the inverse transform unit.  Weights are transformed
and pruned off line and stored with n^2 positions a filter and channel; or they come in the file's
spatial form and are transformed and pruned on chip as they arrive (``weight_transform: on_chip``).

A layer at a stride can be split into layers at stride 1 on every stride-th row and column
(``polyphase``): 25 multiplies for 36 where the kernel is 3 x 3, the stride 2 and m = 2.  A kernel
beyond ``largest_kernel`` can be split into smaller ones (``transforms.decomposition``;
``datapath.pieces`` computes it).  Each piece passes through the transform units by itself.  Filters
of pieces are not pruned in the Winograd domain, so the result is exact.  The mapping runs a split
layer as a plain matrix multiplication where that scores lower.

Layers that Winograd cannot serve run on the same lanes as a sparse matrix multiplication in the
spatial domain: taps x rows positions by cols filters.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from accelsim.arrays import Flags
from accelsim.hardware import gates
from accelsim.hardware.datapath import Datapath
from accelsim.hardware.parts import Count
from accelsim.hardware.price import Area, Price
from accelsim.hardware.selection import SUM_SOURCE, accumulate_pj, lane_inverse_um2
from accelsim.hardware.technology import (
    ARITHMETIC_TABLES,
    ENERGY_FACTORS,
    LOGIC_AREA_SOURCE,
    NODE_SOURCE,
    add_pj,
    mac_pj,
    node_factor,
    transform_um2,
)
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.winograd_domain import TileSize, WinogradDescription
from accelsim.simulator.storage.weights import coded_bits, dense_slots, weight_bits
from accelsim.simulator.tiles.activity import winograd_products
from accelsim.simulator.tiles.description import SkippingDescription
from accelsim.simulator.tiles.gemm import filter_order, gemm_mode
from accelsim.simulator.tiles.mode import LaneArray, Mode, Slots, SlotSums, TransformUnits, operand_widths
from accelsim.simulator.tiles.schedule import best_planner, best_schedule, check_steps
from accelsim.simulator.tiles.selection import serve_together
from accelsim.simulator.time.plan import Planner
from accelsim.simulator.time.schedule import Schedule
from accelsim.transforms.adders import exact_bits, inverse_unit, serial_inverse_additions, tile_additions
from accelsim.transforms.decomposition import KernelPiece, pieces
from accelsim.transforms.winograd import POINTS, Points
from accelsim.workload import LayerWork, filters_in_order, over_taps

MAX_POINTS = len(POINTS)
LANE_INVERSE_CYCLES = 2  # a finished tap into its row of outputs, the row into the m x m
STREAM_CYCLES = 2  # the two passes of a transform


class WinogradMachine(WinogradDescription, SkippingDescription, Machine):
    """Lanes that skip zero weights tap by tap, between an input and an inverse transform unit."""

    zero_handling: Literal["none", "gate", "skip_weights"] = "skip_weights"
    """What lanes do about zero weights; Winograd-domain inputs are dense.  Default: skip_weights."""
    polyphase: bool = False
    """Whether layers at a stride may run by Winograd, as several at stride 1.  Default: no."""
    largest_kernel: Annotated[int, Field(ge=2, le=11)] | None = None
    """The largest kernel of the transform units; larger ones may run as several.  Default: no
    limit."""
    weight_transform: Literal["off_line", "on_chip"] = "off_line"
    """Where filters are transformed.  Default: off_line."""
    weight_transform_rate: Count = 4
    """Filter-channels that an on-chip filter transform takes a cycle.  Default: 4."""
    tiles: tuple[TileSize, ...] | None = None
    """Tile sizes m that the machine has, the best for each layer is taken.  Default: ``tile``
    alone, at 10 bits."""
    input_transform: Literal["stored", "streamed"] = "stored"
    """Where transformed inputs go: into a buffer, or to the lanes for each group of filters.
    Default: stored."""
    inverse: Literal["unit", "lane"] = "unit"
    """Where sums are transformed back: in a unit behind a buffer, or in registers of the lanes.
    Default: unit."""

    @model_validator(mode="after")
    def _check(self) -> "WinogradMachine":
        faults = []
        if self.window > 1 and self.zero_handling != "skip_weights":
            faults.append("window over 1 expects zero_handling skip_weights")
        if self.decoder is not None and self.weight_transform != "on_chip":
            faults.append("decoder expects weight_transform on_chip: the file holds spatial weights")
        faults += self.lane_faults(output_stationary=True)
        streamed = self.input_transform == "streamed"
        if self.buffers.transformed_kb == 0 and not streamed and not self.buffers.one_memory:
            faults.append(
                "buffers.transformed_kb 0 expects cells, or input_transform streamed, which need no room, or "
                "buffers.activations one"
            )
        if streamed and self.buffers.transformed_kb > 0:
            faults.append("input_transform streamed expects buffers.transformed_kb 0")
        if streamed and self.operand_window is None:
            faults.append("input_transform streamed expects an operand_window, which it fills")
        if streamed and (self.polyphase or self.largest_kernel is not None):
            faults.append("input_transform streamed expects polyphase no and no largest_kernel")
        if self.tiles is not None and not self.tiles:
            faults.append("tiles [], expected at least one tile size")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def lanes(self) -> int:
        """Multipliers of the whole array."""
        return self.pe_array.taps * self.pe_array.rows * self.pe_array.cols

    @property
    def tile_sizes(self) -> tuple[int, ...]:
        """Tile sizes m, the smallest first."""
        return (self.tile,) if self.tiles is None else tuple(sorted(set(self.tiles)))

    @property
    def lists_tiles(self) -> bool:
        """Whether ``tiles`` is there."""
        return self.tiles is not None

    def tap_bits(self, m: int, kernel: tuple[int, int] = (3, 3)) -> int:
        """Bits of a transformed input of F(m x m, R x S).

        One width for all kernels; with a list of tile sizes those that are exact, or as stated
        where that is less.
        """
        if self.tiles is None:
            return super().tap_bits(m)
        exact = exact_bits(m, kernel, self.arithmetic.activation_bits, self.points_of(m))
        return min(exact, self.arithmetic.transformed_bits or exact)

    @property
    def operand_bits(self) -> int:
        """Bits of a transformed input at the tile size that needs most."""
        return max(self.tap_bits(m) for m in self.tile_sizes)

    @property
    def window_count(self) -> int:
        """Operand windows side by side: one for each tap that is worked on at a time."""
        return self.pe_array.taps

    @property
    def datapath(self) -> Datapath:
        """Winograd convolution with the machine's largest tile size, of kernels up to the largest of its units."""
        return replace(super().datapath, m=self.tile_sizes[-1], largest_kernel=self.largest_kernel)

    def own_prices(self) -> dict[str, Price]:
        """Prices of transforms at the lanes, and of multiplies narrower than the lanes of several tile sizes."""
        a = self.arithmetic
        node = self.node_nm
        found = super().own_prices()
        source = f"{ARITHMETIC_TABLES[self.published_table].source}; {NODE_SOURCE}"
        if self.input_transform == "streamed":
            pj = add_pj(self.published_table, self.operand_bits, node)
            found["stream_add"] = Price(pj, "pJ", "transform", source)
        if self.inverse == "lane":
            pj = accumulate_pj(self.published_table, a.accumulator_bits, node)
            found["lane_inverse_add"] = Price(pj, "pJ", "transform", SUM_SOURCE)
        if self.energy_table == "gates":
            return found | self._gate_prices()
        if self.tiles is not None:
            widths = {f"mac_f{m}": self.tap_bits(m) for m in self.tile_sizes}
            widths["mac_direct"] = a.activation_bits
            for name, bits in widths.items():
                pj = mac_pj(self.published_table, a.number, a.weight_bits, bits, a.accumulator_bits, node)
                found[name] = Price(pj, "pJ", "mac", source)
        return found

    def _gate_prices(self) -> dict[str, Price]:
        """Additions at the lanes and multiplies of each tile size, as gates say."""
        a = self.arithmetic
        scale = node_factor(ENERGY_FACTORS, self.node_nm)
        source = f"{gates.SOURCE}; {NODE_SOURCE}"
        found = {}
        if self.input_transform == "streamed":
            found["stream_add"] = Price(gates.adder_pj(self.operand_bits) * scale, "pJ", "transform", source)
        if self.inverse == "lane":
            pj = gates.adder_pj(a.accumulator_bits) + a.accumulator_bits * gates.register_bit_pj()
            found["lane_inverse_add"] = Price(pj * scale, "pJ", "transform", source)
        if self.tiles is not None:
            for m in self.tile_sizes:
                bits = self.tap_bits(m)
                lane = gates.lane_energy(a.weight_bits, bits, a.accumulator_bits, signed=True)
                quoted = mac_pj("horowitz", a.number, a.weight_bits, bits, a.accumulator_bits, self.node_nm)
                for state in gates.STATES:
                    pj = getattr(lane, state) * scale if a.number == "int" else quoted
                    found[f"mac_f{m}_{state}"] = Price(pj, "pJ", "mac", source)
        return found

    def own_areas(self) -> dict[str, Area]:
        """Transform units; where the lanes transform results, their registers and adders instead of a unit."""
        found = super().own_areas()
        if self.inverse == "lane":
            del found["inverse_transform"]
            array = self.pe_array
            sums = self.filters_per_lane * self.outputs_per_lane
            m = self.tile_sizes[-1]
            bits = self.arithmetic.accumulator_bits
            if array.taps == 1:
                of_lane = lane_inverse_um2(m, sums, bits, self.node_nm)
            else:  # an adder tree behind the taps side by side
                tree = inverse_unit(m, bits, self.points_of(m))
                of_lane = transform_um2(tree.adder_bits, tree.twin_bits, sums * m * m * bits, self.node_nm)
            mm2 = array.rows * array.cols * of_lane / 1e6
            found["lane_inverse"] = Area(mm2, LOGIC_AREA_SOURCE)
        return found

    def schedule(self, work: LayerWork) -> Schedule:
        """The steps of the layer in its best mode, at its best tiling."""
        return best_schedule(work, self)

    def planner(self, work: LayerWork) -> Planner:
        """Plans of the layer: the best mode's in each surroundings."""
        return best_planner(work, self)

    def prepare(self, works: Sequence[LayerWork]) -> None:
        """Serve the operand windows of all layers side by side, where lanes have them."""
        if self.operand_window is not None:
            serve_together(mode for work in works if work.weights is not None for mode in self.modes(work))

    def check(self, work: LayerWork) -> None:
        """Refuse a layer none of whose tilings fits in MAX_STEPS steps."""
        check_steps(work, self)

    def modes(self, work: LayerWork) -> tuple[Mode, ...]:
        """The ways in which the machine executes a layer: Winograd, or GEMM where that does not apply."""
        largest = self.largest_kernel
        whole = largest is None or max(work.kernel) <= largest
        if work.winograd_threshold is not None and whole:
            served = tuple(winograd_mode(work, self, m=m) for m in self.tile_sizes if _has_points(m, work.kernel))
            if served:
                return (*served, self._gemm(work)) if self.hybrid else served
        gemm = self._gemm(work)
        split = self.polyphase if max(work.stride) > 1 else not whole
        if split and work.kind == "conv" and work.dilation == (1, 1) and min(work.kernel) >= 2:
            parts = pieces(work.kernel, work.stride, largest)
            sizes = [m for m in self.tile_sizes if all(_has_points(m, piece.size) for piece in parts)]
            return (gemm, *(winograd_mode(work, self, parts, m=m) for m in sizes))
        return (gemm,)

    def _gemm(self, work: LayerWork) -> Mode:
        """The layer in the spatial domain, on the same lanes."""
        array = self.pe_array
        lanes = LaneArray(positions=array.taps * array.rows, filters=array.cols, **self.lanes_by_zeros)
        gemm = gemm_mode(work, self, "gemm-os", lanes)
        return gemm if self.tiles is None else replace(gemm, mac_action="mac_direct")


def _has_points(m: int, kernel: tuple[int, int]) -> bool:
    """Whether there are interpolation points enough for F(m, r) of the kernel's longer side."""
    return m + max(kernel) - 1 <= MAX_POINTS + 1


def winograd_mode(
    work: LayerWork, machine: WinogradMachine, parts: tuple[KernelPiece, ...] = (), m: int | None = None
) -> Mode:
    """F(m x m, R x S), by default of the machine's ``tile``.

    Or of each of the pieces that the layer is split into.

    Gating counts zero weights only: Winograd-domain inputs are dense whatever the density of the
    pixels.
    """
    if m is None:
        m = machine.tile
    # Counted once for all arrays and buffers.
    bits = machine.tap_bits(m, max([piece.size for piece in parts] or [work.kernel]))
    key = (winograd_mode, parts, m, bits, machine.mask_settings)
    mode: Mode = work.derived.get(key, lambda: _on_one_lane(work, machine, parts, m))
    return replace(
        mode,
        work=work.without_weights(),
        operand_bits=bits,
        lanes=_lanes(work, machine, mode),
        products=winograd_products(work, machine, m, mode.executed, parts, machine.points_of(m)),
        units=_units(work, machine, mode),
        weight_reuse=machine.outputs_per_lane,
        mac_action="mac" if machine.tiles is None else f"mac_f{m}",
        mask=None if machine.operand_window is None else partial(_mask, work, machine, parts, m),
    )


def _lanes(work: LayerWork, machine: WinogradMachine, mode: Mode) -> LaneArray:
    """Lanes in the Winograd domain, and what transforms at the lanes cost them in time.

    The lanes hand a window over when the next one is filled, and start a step when the first one
    is.  A lane has one set of adders for all of its filters: it adds a finished tap's sums one
    filter a cycle behind the next tap's multiplies, so that a tap takes at least as long, with all
    its windows.  The last ones of a step are added behind the start of the next one; that they
    stand a cycle later for each filter but the first is left out.
    """
    array = machine.pe_array
    tap = 1
    fill = 1
    start = 0
    if machine.inverse == "lane":
        tap = machine.filters_per_lane
        start += LANE_INVERSE_CYCLES
    if machine.input_transform == "streamed" and machine.operand_window is not None:
        channels = min(machine.operand_window.positions, work.in_channels // work.groups)
        fill = -(-channels * array.rows // machine.transform_rate) + STREAM_CYCLES
        start += fill
    return LaneArray(
        positions=array.rows,
        filters=array.cols,
        taps=array.taps,
        window_cycles=fill,
        tap_cycles=tap,
        start_cycles=start,
        **machine.lanes_by_zeros,
    )


def _units(work: LayerWork, machine: WinogradMachine, mode: Mode) -> TransformUnits:
    """Transform units of the machine's rates, or the same work done at the lanes."""
    in_lanes = machine.inverse == "lane"
    streamed = machine.input_transform == "streamed"
    adds = mode.units.inverse_adds
    if in_lanes and machine.pe_array.taps < mode.taps:
        adds += mode.units.serial_more_adds
    return replace(
        mode.units,
        input_rate=0 if streamed else machine.transform_rate,
        inverse_rate=0 if in_lanes else machine.inverse_rate,
        weight_rate=machine.weight_transform_rate if machine.weight_transform == "on_chip" else 0,
        inverse_adds=adds,
        streamed=streamed,
        in_lanes=in_lanes,
    )


def _on_one_lane(work: LayerWork, machine: WinogradMachine, parts: tuple[KernelPiece, ...], m: int) -> Mode:
    """The layer on a single lane, whatever the array and the rates of its units."""
    points = machine.points_of(m)
    blocks = work.block_nonzeros(m, parts, points)
    order = filter_order(work, machine, blocks)
    dense = dense_slots(work, blocks, 1)
    nonzeros = int(blocks.sum())
    counts = blocks if machine.zero_handling == "skip_weights" else dense
    # In CSR each tap of a filter is a row of its own, so that its lane finds it.
    rows = blocks if machine.weight_format == "csr" else over_taps(blocks)[None]
    window = len(blocks) // len(rows)
    of_rows = [weight_bits(work, machine, row, window) for row in rows]
    stored = filters_in_order(of_rows[0] if len(of_rows) == 1 else np.sum(of_rows, axis=0), order)
    dram_bits = stored
    on_chip = machine.weight_transform == "on_chip"
    if on_chip:  # weights travel in the file's spatial form
        window = work.kernel[0] * work.kernel[1]
        dram_bits = filters_in_order(weight_bits(work, machine, over_taps(work.block_nonzeros()), window), order)
    if machine.decoder is not None:
        dram_bits = coded_bits(work, machine)[order]
    split = "" if not parts else "-polyphase" if max(work.stride) > 1 else "-split"
    return Mode(
        name=f"winograd-f{m}{split}",
        work=work.without_weights(),
        m=m,
        slots=Slots(filters_in_order(counts, order)),
        executed=int(dense.sum()) if machine.zero_handling == "none" else nonzeros,
        gated=int(dense.sum()) - nonzeros if machine.zero_handling == "gate" else 0,
        stored_bits=stored,
        dram_bits=dram_bits,
        widths=operand_widths(work, machine),
        operand_bits=machine.operand_bits,
        units=_additions([piece.size for piece in parts] or [work.kernel], m, points, on_chip),
        decoder_rate=0.0 if machine.decoder is None else machine.decoder.symbols_per_cycle,
        slots_are_dense=machine.zero_handling != "skip_weights",
        sums=SlotSums.of(work, winograd_mode, parts, m, machine.mask_settings),
    )


def _mask(work: LayerWork, machine: WinogradMachine, parts: tuple[KernelPiece, ...], m: int) -> Flags:
    """Channels of each tap and filter that lanes spend a slot on: (taps, K, C / groups)."""
    points = machine.points_of(m)
    mask = work.mask(m, parts, points)
    if machine.zero_handling != "skip_weights":
        return np.ones_like(mask)
    return mask[:, filter_order(work, machine, work.block_nonzeros(m, parts, points))]


def _additions(kernels: list[tuple[int, int]], m: int, points: Points | None, on_chip: bool) -> TransformUnits:
    """Additions of the transforms of a layer, or of its pieces, on units of rate 1."""
    additions = [tile_additions(m, kernel, points) for kernel in kernels]
    weight_adds, input_adds, inverse_adds = np.sum(additions, axis=0).tolist()
    return TransformUnits(
        input_rate=1,
        inverse_rate=1,
        input_adds=input_adds,
        inverse_adds=inverse_adds + (len(kernels) - 1) * m * m,  # the pieces' outputs are added up
        weight_adds=weight_adds if on_chip else 0,
        phases=len(kernels),
        serial_more_adds=sum(serial_inverse_additions(m, kernel, points) for kernel in kernels) - inverse_adds,
    )
