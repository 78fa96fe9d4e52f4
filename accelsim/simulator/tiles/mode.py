"""One way of a machine to run one convolution as a matrix product on lanes.

What spatial and Winograd machines share.

Both kinds do the same thing in different domains.  The filters are (taps, K, C) matrices of slots,
one slot a multiply that a lane must spend: in the spatial domain there is one tap and up to R S
slots an input channel; in the Winograd domain of F(m x m, R x S) there are n^2 taps and at most one
slot.  How lanes spend their slots: ``lanes``.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from numpy.typing import NDArray

from accelsim.arrays import Flags, Floats, Ints
from accelsim.hardware.description import MachineDescription
from accelsim.hardware.formats import Format
from accelsim.memo import Memo, shallow
from accelsim.simulator.storage.feature_map import activation_bits
from accelsim.simulator.tiles.tiling import Axis, LayerShape, group_starts
from accelsim.workload import CHANNEL_BLOCK, LayerWork, Surroundings

Stationary = Literal["output", "weight", "input"]
Feed = Literal["broadcast", "systolic", "mesh"]
REMEMBERED = 256  # sums over the filters of a mode, of each kind


@dataclass(frozen=True)
class OperandWidths:
    """How a machine stores weights, activations and sums."""

    weight_format: Format
    weight_bits: int
    activation_bits: int  # on chip
    accumulator_bits: int
    input_bits: float  # of an activation in DRAM, on average, index included
    output_bits: float  # the same of an output


def operand_widths(work: LayerWork, machine: MachineDescription) -> OperandWidths:
    """The widths of a layer's operands on a machine."""
    a = machine.arithmetic
    return OperandWidths(
        weight_format=machine.weight_format,
        weight_bits=a.weight_bits,
        activation_bits=a.activation_bits,
        accumulator_bits=a.accumulator_bits,
        input_bits=activation_bits(machine, work.input_density),
        output_bits=activation_bits(machine, work.output_density),
    )


@dataclass(frozen=True)
class Products:
    """What the lanes' products are like, as far as energy depends on it (``hardware.gates``)."""

    inputs: float  # share of operands that are not zero, against weights that are not zero
    weights: float  # share of executed multiplies whose weight is not zero
    action: str  # ``mac`` of what a ReLU left; of either sign ``signed``, or ``direct`` where pixels are narrower


@dataclass(frozen=True)
class Window:
    """Operand vectors that the lanes choose from (``selection``)."""

    positions: int  # of a filter's non-zeros, or channels of a tap
    banks: int  # each gives one vector a cycle


@dataclass(frozen=True)
class LaneArray:
    """How many lanes work on what, side by side, and what they hold still."""

    positions: int = 1  # tiles of outputs
    filters: int = 1
    taps: int = 1
    # channels whose products are summed on the way: rows that hold weights or inputs
    reduction: int = 1
    stationary: Stationary = "output"
    feed: Feed = "broadcast"  # how operands reach the lanes (``overhead``)
    # pairs of filter and tap group that a lane may do before it waits for the others
    window: int = 1
    filters_each: int = 1  # filters that a lane sums up at a time, for each operand that it reads
    outputs_each: int = 1  # positions that a lane sums up at a time, for each weight that it reads
    operands: Window | None = None  # that the lanes choose from; None: every operand is at hand
    # that a window (or, without windows, a group of filters and taps) takes at least
    window_cycles: int = 1
    tap_cycles: int = 1  # that a group of filters and taps takes at least, with all its windows
    start_cycles: int = 0  # of a step, beyond what all arrays take (``overhead``)

    @property
    def sums_each(self) -> int:
        """Sums that a lane holds."""
        return self.filters_each * self.outputs_each

    @property
    def filter_group(self) -> int:
        """Filters that are worked on at a time."""
        return self.filters * self.filters_each


@dataclass(frozen=True)
class TransformUnits:
    """Transforms of inputs, results and weights.

    Rates of units (0: there is none), and additions.
    """

    input_rate: int = 0  # tile-channels a cycle
    inverse_rate: int = 0  # tile-filters a cycle
    weight_rate: int = 0  # filter-channels a cycle, transformed as they arrive
    input_adds: int = 0  # of one tile-channel
    inverse_adds: int = 0  # of one tile-filter
    weight_adds: int = 0  # of one filter-channel
    serial_more_adds: int = 0  # of one tile-filter, where taps come one after the other
    # transforms of each tile-channel and tile-filter: 4 of a stride-2 layer in four pieces
    phases: int = 1
    # inputs are transformed between buffer and lanes, anew for each group of filters and taps
    streamed: bool = False
    in_lanes: bool = False  # the lanes add finished taps into their outputs


@dataclass(frozen=True)
class Slots:
    """Multiplies that lanes must spend on a tile of outputs: (taps, K, blocks of input channels).

    Filters in the order in which they occupy the lanes.
    """

    counts: Ints | Floats  # float64 where they are expected values
    variance: Floats | None = None  # of expected values
    most: Ints | None = None  # expected values are never more


@dataclass(frozen=True)
class SlotSums:
    """Sums over a mode's filters at the groupings asked for so far.

    Modes of the same slots and bits share them.
    """

    running: Memo[tuple[NDArray[Any], ...]] = field(default_factory=lambda: Memo(1))
    by_lane: Memo[tuple[NDArray[Any], ...]] = field(default_factory=lambda: Memo(1))
    lane_cycles: Memo[Ints] = field(default_factory=lambda: Memo(REMEMBERED))
    least_cycles: Memo[Ints] = field(default_factory=lambda: Memo(REMEMBERED))
    waiting_slots: Memo[float] = field(default_factory=lambda: Memo(REMEMBERED))
    tile_bytes: Memo[Ints] = field(default_factory=lambda: Memo(REMEMBERED))
    largest_tile_bytes: Memo[tuple[Ints, Ints]] = field(default_factory=lambda: Memo(REMEMBERED))
    served: Memo["Served"] = field(default_factory=lambda: Memo(REMEMBERED))

    @staticmethod
    def of(work: LayerWork, *key: Hashable) -> "SlotSums":
        """Of one mode of a layer, which remembers what operand windows make of its masks longer than the mode."""
        return SlotSums(served=work.counted.get((SlotSums, *key), lambda: Memo(REMEMBERED)))


@dataclass(frozen=True)
class Served:
    """What operand windows make of a layer's masks, for one round of position lanes.

    cycles: (tap groups, filter groups, channel blocks); a window's stand with its first block of
    channels.  fetches: operand vectors read from the windows.  loads: operands that columns take
    in, each by all its rows.
    """

    cycles: Ints
    fetches: int
    loads: int


@dataclass(frozen=True, eq=False)
class Mode:
    """One way of one machine to execute one convolution or fully connected layer."""

    name: str
    work: LayerWork  # without its weights
    m: int  # outputs a tile and dimension
    slots: Slots
    # multiplies a tile of outputs of all filters; fewer than the slots where lanes are gated
    executed: int
    gated: int  # slots a tile of outputs in which a lane is held still
    stored_bits: Floats  # (K, blocks) bits of the weights on chip, index included
    dram_bits: Floats  # (K, blocks) bits of the weights off chip
    widths: OperandWidths
    operand_bits: int  # of what a lane multiplies a weight by
    lanes: LaneArray = LaneArray()
    units: TransformUnits = TransformUnits()
    # weights that a decoder of the file's entropy code gives a cycle, 0 without one
    decoder_rate: float = 0.0
    # None: the energy table does not ask (``activity``), or lanes are cells'
    products: Products | None = None
    cell_products: Products | None = None  # the same of cells, which have no streams of weights
    # rounds of position lanes for which a lane (or a cell) holds the weights that it read
    weight_reuse: int = 1
    slots_are_dense: bool = False  # whether lanes spend a slot on every position, zero or not
    # (taps, K, positions): non-zeros of each filter, in the slots' order
    mask: Callable[[], Flags] | None = None
    # what a multiply-accumulate of these widths is called in the price list
    mac_action: str = "mac"
    sums: SlotSums = field(default_factory=SlotSums, repr=False)
    # of its tilings, whatever its surroundings, by machine
    groundwork: Memo[Any] = field(default_factory=lambda: Memo(1), init=False, repr=False)

    def amid(self, around: Surroundings) -> "Mode":
        """The same mode in other surroundings; its shape and what was computed of its tilings are shared."""
        assert self.shape is not None  # once for all copies
        other = shallow(self)
        object.__setattr__(other, "work", self.work.amid(around))
        return other

    @property
    def of_tile_size(self) -> str:
        """What the names of actions end in that cost by the tile size.

        Nothing where the machine has but one.
        """
        return self.mac_action.removeprefix("mac")

    @property
    def transforms(self) -> bool:
        """Whether the layer passes through transform units.

        Cells transform on the fly (additions alone).
        """
        return self.units.input_rate > 0

    @property
    def inverts(self) -> bool:
        """Whether results pass through an inverse transform unit."""
        return self.units.inverse_rate > 0

    @property
    def tap_groups(self) -> int:
        """Groups of taps that are worked on one after the other."""
        return -(-self.taps // self.lanes.taps)

    @property
    def arrival_cycles(self) -> float:
        """Cycles that the weights of a filter-channel take to be decoded and transformed as they arrive."""
        decode = self.kernel_size / self.decoder_rate if self.decoder_rate else 0.0
        transform = 1 / self.units.weight_rate if self.units.weight_rate else 0.0
        return max(decode, transform)

    @property
    def kernel_size(self) -> int:
        """Taps of the kernel, R S."""
        return self.work.kernel[0] * self.work.kernel[1]

    @property
    def taps(self) -> int:
        """Winograd-domain taps of a filter; 1 in the spatial domain."""
        return int(self.slots.counts.shape[0])

    @property
    def positions_each(self) -> int:
        """Positions of a filter's tap that one input channel has: R S in the spatial domain, 1 in the Winograd one."""
        return self.kernel_size if self.m == 1 else 1

    @property
    def channel_granule(self) -> int:
        """Channels in multiples of which a layer is cut.

        Whole operand windows, where these hold several blocks.
        """
        window = self.lanes.operands
        if window is None:
            return CHANNEL_BLOCK
        return max(1, window.positions // self.positions_each // CHANNEL_BLOCK) * CHANNEL_BLOCK

    @property
    def group_channels(self) -> int:
        """Input channels of one convolution group: C / groups."""
        return self.work.in_channels // self.work.groups

    @property
    def group_starts(self) -> Ints:
        """First filter of each group of filters that work side by side.

        None spans two convolution groups.
        """
        return group_starts(self.work.out_channels, self.work.groups, self.lanes.filter_group)

    @cached_property
    def shape(self) -> LayerShape:
        """All that decides which tilings there are and what their tiles hold, but for the weights."""
        work = self.work
        return LayerShape(
            batch=work.batch,
            in_channels=work.in_channels,
            out_channels=work.out_channels,
            groups=work.groups,
            vertical=Axis.of(work, 0),
            horizontal=Axis.of(work, 1),
            m=self.m,
            filter_lanes=self.lanes.filter_group,
            channel_granule=self.channel_granule,
            taps=self.taps,
            activation_bits=self.widths.activation_bits,
            transformed_bits=self.operand_bits if self.transforms else 0,
            inverts=self.inverts,
            accumulator_bits=self.widths.accumulator_bits,
            input_bits=self.widths.input_bits,
            output_bits=self.widths.output_bits,
            lanes_hold_outputs=self.lanes.stationary == "output",
        )
